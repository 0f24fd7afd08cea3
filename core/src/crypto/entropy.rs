//! Randomness for TLS, from the node's seed.
//!
//! The TLS library asks for randomness through static hooks, yet each node has a generator of its
//! own and many nodes share a thread. So a node lends its generator to the thread for the length
//! of one call: [`Entropy::scope`] parks it where the hooks find it and takes it back, also when the
//! call panics. Outside a scope the hooks fail, and with them the handshake; they never fall back
//! to the operating system.

use std::cell::Cell;

use rustls::crypto::GetRandomFailed;

use crate::support::Rng;

thread_local! {
    static PARKED: Cell<Option<Box<Rng>>> = const { Cell::new(None) };
}

/// A node's generator for TLS.
#[derive(Debug)]
pub struct Entropy(Option<Box<Rng>>);

impl Entropy {
    /// Makes the source from a generator.
    pub fn new(rng: Rng) -> Self {
        Self(Some(Box::new(rng)))
    }

    /// Runs a call that may need randomness.
    ///
    /// # Panics
    ///
    /// If it is called within a scope.
    pub fn scope<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let outer = PARKED.replace(self.0.take());
        assert!(outer.is_none(), "scopes of randomness do not nest");
        let _taken_back = TakeBack(self);
        call()
    }
}

struct TakeBack<'a>(&'a mut Entropy);

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        self.0.0 = PARKED.take();
    }
}

/// Draws from the generator that is lent to this thread.
///
/// # Errors
///
/// If none is.
pub(super) fn draw(buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
    let mut rng = PARKED.take().ok_or(GetRandomFailed)?;
    rng.fill(buffer);
    PARKED.set(Some(rng));
    Ok(())
}

/// Draws an array, see [`draw`].
pub(super) fn draw_array<const N: usize>() -> Result<[u8; N], GetRandomFailed> {
    let mut bytes = [0; N];
    draw(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randomness_exists_only_within_a_scope() {
        assert!(draw_array::<4>().is_err());
        let mut entropy = Entropy::new(Rng::from_seed([1; 32]));
        let first = entropy.scope(|| draw_array::<4>().unwrap());
        let second = entropy.scope(|| draw_array::<4>().unwrap());
        assert!(draw_array::<4>().is_err());
        let mut rng = Rng::from_seed([1; 32]);
        assert_eq!([first, second], [rng.bytes(), rng.bytes()]);
    }

    #[test]
    fn a_panic_within_a_scope_gives_the_generator_back() {
        let mut entropy = Entropy::new(Rng::from_seed([1; 32]));
        let call = std::panic::AssertUnwindSafe(|| entropy.scope(|| panic!("within")));
        assert!(std::panic::catch_unwind(call).is_err());
        assert!(entropy.scope(draw_array::<4>).is_ok());
    }
}
