//! ML-DSA-65 signatures (FIPS 204), pure and with an empty context.
//!
//! A [`SigningKey`] is made from a seed of 32 bytes and signs with randomness that the caller
//! gives. A [`VerifyingKey`] and a [`Signature`] are byte strings of an exact length: every such
//! string is a key, and whether it is a signature only [`VerifyingKey::verify`] can tell. They are
//! kept as bytes, never expanded, since a node knows many keys and checks each of them rarely.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::octets::Octets;
use super::{Backend, Selected};

/// The length of a verifying key in bytes.
pub const VERIFYING_KEY_LEN: usize = 1952;
/// The length of a signature in bytes.
pub const SIGNATURE_LEN: usize = 3309;
/// The length of the seed of a signing key in bytes.
pub const SIGNING_SEED_LEN: usize = 32;

/// The bytes are not a verifying key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a verifying key has {VERIFYING_KEY_LEN} bytes, not {len}")]
pub struct InvalidKey {
    /// How many bytes there were.
    pub len: usize,
}

/// The signature is not one that the key's owner made for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match the key and the message")]
pub struct BadSignature;

/// A private key. Clones share one wiped-on-drop secret.
#[derive(Clone)]
pub struct SigningKey {
    secret: Arc<<Selected as Backend>::SigningKey>,
    verifying_key: VerifyingKey,
}

impl SigningKey {
    /// Makes the key that belongs to the seed.
    pub fn from_seed(seed: &[u8; SIGNING_SEED_LEN]) -> Self {
        let (secret, verifying_key) = Selected::signing_key(seed);
        Self { secret: Arc::new(secret), verifying_key: VerifyingKey(Octets::new(verifying_key)) }
    }

    /// Returns the public half.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// Signs a message.
    ///
    /// The randomness hardens the computation against faults and side channels; the signature is
    /// secure with any, and the same randomness gives the same signature.
    pub fn sign(&self, message: &[u8], randomness: &[u8; 32]) -> Signature {
        Signature(Octets::new(Selected::sign(&self.secret, message, randomness)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("verifying_key", &self.verifying_key)
            .finish_non_exhaustive()
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VerifyingKey(Octets<VERIFYING_KEY_LEN>);

impl VerifyingKey {
    /// Takes the encoded form (FIPS 204, algorithm 22).
    ///
    /// # Errors
    ///
    /// If the length is wrong: every string of the right length is a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidKey> {
        Octets::from_slice(bytes).map(Self).ok_or(InvalidKey { len: bytes.len() })
    }

    /// Returns the encoded form.
    pub fn as_bytes(&self) -> &[u8; VERIFYING_KEY_LEN] {
        self.0.as_bytes()
    }

    /// Checks that the key's owner signed the message.
    ///
    /// # Errors
    ///
    /// If they did not.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        if Selected::verify(self.as_bytes(), message, signature.as_bytes()) {
            Ok(())
        } else {
            Err(BadSignature)
        }
    }
}

/// A signature, or what claims to be one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Signature(Octets<SIGNATURE_LEN>);

impl Signature {
    /// Takes the encoded form (FIPS 204, algorithm 26).
    ///
    /// # Errors
    ///
    /// If the length is wrong. Anything else is found by [`VerifyingKey::verify`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSignature> {
        Octets::from_slice(bytes).map(Self).ok_or(BadSignature)
    }

    /// Returns the encoded form.
    pub fn as_bytes(&self) -> &[u8; SIGNATURE_LEN] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_verifies_under_its_own_key_and_message_only() {
        let key = SigningKey::from_seed(&[1; 32]);
        let other = SigningKey::from_seed(&[2; 32]);
        let signature = key.sign(b"message", &[3; 32]);
        assert_eq!(key.verifying_key().verify(b"message", &signature), Ok(()));
        assert_eq!(key.verifying_key().verify(b"another", &signature), Err(BadSignature));
        assert_eq!(other.verifying_key().verify(b"message", &signature), Err(BadSignature));
    }

    #[test]
    fn randomness_changes_a_signature_and_nothing_else_does() {
        let key = SigningKey::from_seed(&[1; 32]);
        assert_eq!(key.sign(b"message", &[3; 32]), key.sign(b"message", &[3; 32]));
        assert_ne!(key.sign(b"message", &[3; 32]), key.sign(b"message", &[4; 32]));
    }

    #[test]
    fn keys_and_signatures_have_one_length() {
        for len in [0, 1951, 1953] {
            assert_eq!(VerifyingKey::from_bytes(&vec![0; len]), Err(InvalidKey { len }));
        }
        for len in [0, 3308, 3310] {
            assert_eq!(Signature::from_bytes(&vec![0; len]), Err(BadSignature), "{len} bytes");
        }
        let key = SigningKey::from_seed(&[1; 32]);
        let bytes = key.verifying_key().as_bytes();
        assert_eq!(VerifyingKey::from_bytes(bytes).as_ref(), Ok(key.verifying_key()));
        let signature = key.sign(b"message", &[3; 32]);
        assert_eq!(Signature::from_bytes(signature.as_bytes()), Ok(signature));
    }

    #[test]
    fn debug_of_a_signing_key_shows_the_public_half_only() {
        let key = SigningKey::from_seed(&[1; 32]);
        let public = format!("{:?}", key.verifying_key());
        assert_eq!(public.len(), "VerifyingKey(01234567…)".len());
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ verifying_key: {public}, .. }}"));
    }
}
