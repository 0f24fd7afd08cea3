//! The one generator of a node, forked by name so that a new draw in one module never shifts the
//! draws of another.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A portable, seeded generator (ChaCha12).
#[derive(Clone)]
pub struct Rng {
    seed: [u8; 32],
    inner: ChaCha12Rng,
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rng").finish_non_exhaustive()
    }
}

impl Rng {
    /// Makes the root generator of a node from its seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed, inner: ChaCha12Rng::from_seed(seed) }
    }

    /// Makes an independent generator. It depends on this generator's seed and the name alone,
    /// never on how much was drawn so far.
    pub fn fork(&self, name: &str) -> Self {
        // FNV-1a picks the stream; ChaCha keeps the streams of one seed independent.
        let stream = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut parent = ChaCha12Rng::from_seed(self.seed);
        parent.set_stream(stream);
        let mut seed = [0; 32];
        parent.fill_bytes(&mut seed);
        Self::from_seed(seed)
    }

    /// Fills the buffer with random bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.inner.fill_bytes(buffer);
    }

    /// Draws an array of random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// Draws a 32-bit number.
    pub fn next_u32(&mut self) -> u32 {
        self.inner.next_u32()
    }

    /// Draws a 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }

    /// Draws a number below `bound`, without bias beyond 2⁻⁶⁴ × `bound`.
    ///
    /// # Panics
    ///
    /// If `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no member");
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of a 128-bit product fits 64 bits")
    }
}
