//! Hash functions: SHA-256 (FIPS 180-4) for identities, BLAKE3 for content, SipHash-1-3 for
//! short tags that only have to be unpredictable to strangers.
//!
//! A SipHash value has 64 bits: it masks and tells apart, it never authenticates.

use std::fmt;

use sha2::Digest;
use siphasher::sip::SipHasher13;
use subtle::ConstantTimeEq;

/// The length of a SHA-256 or BLAKE3 hash in bytes.
pub const HASH_LEN: usize = 32;

/// Returns the SHA-256 hash of the data.
pub fn sha256(data: &[u8]) -> [u8; HASH_LEN] {
    sha2::Sha256::digest(data).into()
}

/// Returns the BLAKE3 hash of the data.
pub fn blake3(data: &[u8]) -> [u8; HASH_LEN] {
    ::blake3::hash(data).into()
}

/// Returns the keyed BLAKE3 hash of the data: a message authentication code.
pub fn blake3_keyed(key: &[u8; 32], data: &[u8]) -> [u8; HASH_LEN] {
    ::blake3::keyed_hash(key, data).into()
}

/// Compares a computed authentication code with a claimed one, in constant time.
pub fn equal(computed: &[u8], claimed: &[u8]) -> bool {
    computed.ct_eq(claimed).into()
}

/// Returns the SipHash-1-3 value of the data.
pub fn siphash(key: &[u8; 16], data: &[u8]) -> u64 {
    SipHasher13::new_with_key(key).hash(data)
}

/// A SHA-256 computation over data that arrives in pieces.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Starts a computation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Returns the hash of all pieces.
    pub fn finish(self) -> [u8; HASH_LEN] {
        self.0.finalize().into()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sha256").finish_non_exhaustive()
    }
}

/// A BLAKE3 computation over data that arrives in pieces.
#[derive(Clone, Default)]
pub struct Blake3(::blake3::Hasher);

impl Blake3 {
    /// Starts a computation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a keyed computation: see [`blake3_keyed`].
    pub fn keyed(key: &[u8; 32]) -> Self {
        Self(::blake3::Hasher::new_keyed(key))
    }

    /// Adds a piece.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Returns the hash of all pieces.
    pub fn finish(&self) -> [u8; HASH_LEN] {
        self.0.finalize().into()
    }
}

impl fmt::Debug for Blake3 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Blake3").finish_non_exhaustive()
    }
}
