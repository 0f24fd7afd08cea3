//! Randomness for TLS, drawn from the generator of the node that is running.
//!
//! `rustls` reaches its randomness through `&'static` objects, which know no node. Yet every node
//! has a generator of its own, and many nodes live on one thread. So a node owns an [`Entropy`]
//! and runs whatever may end up in TLS inside [`Entropy::scope`]: the scope parks the generator in
//! a thread-local slot, the static hooks draw from the slot, and the generator returns to its
//! owner when the scope ends, also by a panic. Entering and leaving moves one pointer each.
//!
//! Outside a scope the hooks fail; they never fall back to the operating system. The QUIC
//! library panics when TLS cannot start a connection, so connecting outside a scope does too.

use std::cell::RefCell;

use rustls::crypto::{GetRandomFailed, SecureRandom};
use zeroize::Zeroizing;

use crate::support::Rng;

thread_local! {
    static PARKED: RefCell<Option<Box<Rng>>> = const { RefCell::new(None) };
}

/// The generator that a node lends to TLS.
#[derive(Debug)]
pub struct Entropy {
    /// The generator; it is absent only while a scope runs.
    rng: Option<Box<Rng>>,
}

impl Entropy {
    /// Takes a generator that nothing else draws from.
    pub fn new(rng: Rng) -> Self {
        Self { rng: Some(Box::new(rng)) }
    }

    /// Runs a function that may call into TLS.
    ///
    /// # Panics
    ///
    /// If another scope is active on this thread: one node's work never runs inside another's.
    pub fn scope<R>(&mut self, run: impl FnOnce() -> R) -> R {
        PARKED.with_borrow_mut(|parked| {
            assert!(parked.is_none(), "a scope of entropy inside another");
            *parked = self.rng.take();
        });
        let _unpark = Unpark { home: &mut self.rng };
        run()
    }
}

/// Takes the parked generator home when a scope ends.
struct Unpark<'a> {
    home: &'a mut Option<Box<Rng>>,
}

impl Drop for Unpark<'_> {
    fn drop(&mut self) {
        *self.home = PARKED.take();
    }
}

/// Fills the buffer from the parked generator.
fn fill(buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
    PARKED.with_borrow_mut(|parked| match parked {
        Some(rng) => {
            rng.fill(buffer);
            Ok(())
        }
        None => Err(GetRandomFailed),
    })
}

/// Draws random bytes from the parked generator. They are wiped when they are dropped.
pub(super) fn draw<const N: usize>() -> Result<Zeroizing<[u8; N]>, GetRandomFailed> {
    let mut bytes = Zeroizing::new([0; N]);
    fill(bytes.as_mut_slice())?;
    Ok(bytes)
}

/// What `rustls` draws from.
#[derive(Debug)]
pub(super) struct ScopedRandom;

impl SecureRandom for ScopedRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        fill(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn entropy(seed: u8) -> Entropy {
        Entropy::new(Rng::from_seed([seed; 32]))
    }

    #[test]
    fn outside_a_scope_there_is_no_randomness() {
        assert!(draw::<8>().is_err());
        entropy(1).scope(|| assert!(draw::<8>().is_ok()));
        assert!(draw::<8>().is_err());
        assert!(ScopedRandom.fill(&mut [0; 8]).is_err());
    }

    #[test]
    fn scopes_of_two_nodes_on_one_thread_draw_from_their_own_generators() {
        let (mut one, mut two) = (entropy(1), entropy(2));
        let mut drawn = Vec::new();
        for _ in 0..2 {
            drawn.push(*one.scope(|| draw::<16>().unwrap()));
            drawn.push(*two.scope(|| draw::<16>().unwrap()));
        }
        let expected = [Rng::from_seed([1; 32]), Rng::from_seed([2; 32])]
            .map(|mut rng| [rng.bytes::<16>(), rng.bytes::<16>()]);
        assert_eq!(drawn, [expected[0][0], expected[1][0], expected[0][1], expected[1][1]]);
    }

    #[test]
    fn a_panic_in_a_scope_returns_the_generator() {
        let mut entropy = entropy(1);
        catch_unwind(AssertUnwindSafe(|| entropy.scope(|| panic!("as planned")))).unwrap_err();
        assert!(draw::<8>().is_err());
        assert!(entropy.scope(|| draw::<8>().is_ok()));
    }

    #[test]
    fn a_scope_inside_another_panics_and_leaves_both_intact() {
        let (mut outer, mut inner) = (entropy(1), entropy(2));
        outer.scope(|| {
            catch_unwind(AssertUnwindSafe(|| inner.scope(|| ()))).unwrap_err();
            let expected: [u8; 8] = Rng::from_seed([1; 32]).bytes();
            assert_eq!(*draw::<8>().unwrap(), expected);
        });
        inner.scope(|| assert!(draw::<8>().is_ok()));
    }
}
