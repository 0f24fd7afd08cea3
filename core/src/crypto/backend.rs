//! The narrow interface between the protocol's own key types and an implementation of their
//! arithmetic.
//!
//! Every operation is a pure function of its arguments: whatever randomness the standards ask for
//! is an argument. So two back-ends that follow the standards give the same bytes, and tests and
//! benchmarks can be written once for all of them. The protocol uses [`super::Selected`] through
//! the types of [`super::signature`], [`super::kem`] and [`super::aead`].

use super::aead::Algorithm;
use super::kem::{
    CIPHERTEXT_LEN, DECAPSULATION_SEED_LEN, ENCAPSULATION_KEY_LEN, SHARED_SECRET_LEN,
};
use super::signature::{SIGNATURE_LEN, SIGNING_SEED_LEN, VERIFYING_KEY_LEN};

/// An implementation of ML-DSA-65, ML-KEM-768 and the two AEADs.
pub trait Backend {
    /// A private signing key, in the form that signs fastest. Wipes itself when dropped.
    type SigningKey: Send + Sync;
    /// A private decapsulation key. Wipes itself when dropped.
    type DecapsulationKey: Send + Sync;
    /// A secret key of an AEAD. Wipes itself when dropped.
    type AeadKey: Send + Sync;

    /// Makes a key pair: ML-DSA.KeyGen_internal (FIPS 204, algorithm 6).
    fn signing_key(seed: &[u8; SIGNING_SEED_LEN]) -> (Self::SigningKey, [u8; VERIFYING_KEY_LEN]);

    /// Signs with an empty context: ML-DSA.Sign (FIPS 204, algorithm 2) with the given `rnd`.
    fn sign(key: &Self::SigningKey, message: &[u8], randomness: &[u8; 32]) -> [u8; SIGNATURE_LEN];

    /// Checks a signature made with an empty context: ML-DSA.Verify (FIPS 204, algorithm 3).
    fn verify(
        key: &[u8; VERIFYING_KEY_LEN],
        message: &[u8],
        signature: &[u8; SIGNATURE_LEN],
    ) -> bool;

    /// Makes a key pair from `d ‖ z`: ML-KEM.KeyGen_internal (FIPS 203, algorithm 16).
    fn decapsulation_key(
        seed: &[u8; DECAPSULATION_SEED_LEN],
    ) -> (Self::DecapsulationKey, [u8; ENCAPSULATION_KEY_LEN]);

    /// Returns whether a key passes the modulus check of FIPS 203 §7.2.
    fn is_encapsulation_key(key: &[u8; ENCAPSULATION_KEY_LEN]) -> bool;

    /// Encapsulates: ML-KEM.Encaps_internal (FIPS 203, algorithm 17) with the given `m`.
    ///
    /// # Panics
    ///
    /// May panic if the key does not pass [`is_encapsulation_key`](Self::is_encapsulation_key).
    fn encapsulate(
        key: &[u8; ENCAPSULATION_KEY_LEN],
        message: &[u8; 32],
    ) -> ([u8; CIPHERTEXT_LEN], [u8; SHARED_SECRET_LEN]);

    /// Decapsulates: ML-KEM.Decaps (FIPS 203, algorithm 21). A ciphertext that was tampered with
    /// gives an unpredictable secret.
    fn decapsulate(
        key: &Self::DecapsulationKey,
        ciphertext: &[u8; CIPHERTEXT_LEN],
    ) -> [u8; SHARED_SECRET_LEN];

    /// Prepares a key of an AEAD.
    fn aead_key(algorithm: Algorithm, key: &[u8; 32]) -> Self::AeadKey;

    /// Encrypts the buffer in place and appends the tag.
    fn seal(key: &Self::AeadKey, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>);

    /// Decrypts the buffer in place and removes the tag. If it returns `false` the buffer holds
    /// nothing meaningful.
    #[must_use]
    fn open(key: &Self::AeadKey, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) -> bool;
}
