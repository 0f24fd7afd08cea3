//! ML-KEM-768 key encapsulation (FIPS 203).
//!
//! A [`DecapsulationKey`] is made from a seed of 64 bytes (`d ‖ z`). An [`EncapsulationKey`] has
//! passed the checks of FIPS 203 §7.2; a [`Ciphertext`] only has the right length, because a
//! wrong one gives a secret that nobody else knows (implicit rejection), not an error.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::octets::Octets;
use super::{Backend, Selected};

/// The length of the seed of a decapsulation key in bytes.
pub const DECAPSULATION_SEED_LEN: usize = 64;
/// The length of an encapsulation key in bytes.
pub const ENCAPSULATION_KEY_LEN: usize = 1184;
/// The length of a ciphertext in bytes.
pub const CIPHERTEXT_LEN: usize = 1088;
/// The length of a shared secret in bytes.
pub const SHARED_SECRET_LEN: usize = 32;

/// The bytes are not an encapsulation key: the length or a coefficient is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an encapsulation key")]
pub struct InvalidKey;

/// The bytes are not a ciphertext: the length is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ciphertext has {CIPHERTEXT_LEN} bytes, not {len}")]
pub struct InvalidCiphertext {
    /// How many bytes there were.
    pub len: usize,
}

/// A private key.
pub struct DecapsulationKey {
    secret: <Selected as Backend>::DecapsulationKey,
    encapsulation_key: EncapsulationKey,
}

impl DecapsulationKey {
    /// Makes the key that belongs to the seed.
    pub fn from_seed(seed: &[u8; DECAPSULATION_SEED_LEN]) -> Self {
        let (secret, encapsulation_key) = Selected::decapsulation_key(seed);
        Self { secret, encapsulation_key: EncapsulationKey(Octets::new(encapsulation_key)) }
    }

    /// Returns the public half.
    pub fn encapsulation_key(&self) -> &EncapsulationKey {
        &self.encapsulation_key
    }

    /// Recovers the secret that a ciphertext carries.
    pub fn decapsulate(&self, ciphertext: &Ciphertext) -> SharedSecret {
        SharedSecret(Zeroizing::new(Selected::decapsulate(&self.secret, ciphertext.as_bytes())))
    }
}

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DecapsulationKey")
            .field("encapsulation_key", &self.encapsulation_key)
            .finish_non_exhaustive()
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncapsulationKey(Octets<ENCAPSULATION_KEY_LEN>);

impl EncapsulationKey {
    /// Takes the encoded form and checks it (FIPS 203 §7.2).
    ///
    /// # Errors
    ///
    /// If the length is wrong or a coefficient is not reduced.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidKey> {
        let octets = Octets::from_slice(bytes).ok_or(InvalidKey)?;
        if Selected::is_encapsulation_key(octets.as_bytes()) {
            Ok(Self(octets))
        } else {
            Err(InvalidKey)
        }
    }

    /// Returns the encoded form.
    pub fn as_bytes(&self) -> &[u8; ENCAPSULATION_KEY_LEN] {
        self.0.as_bytes()
    }

    /// Makes a shared secret, and a ciphertext that carries it to the key's owner.
    ///
    /// The message must be random, secret, and used once: the secret follows from it.
    pub fn encapsulate(&self, message: &[u8; 32]) -> (Ciphertext, SharedSecret) {
        let (ciphertext, secret) = Selected::encapsulate(self.as_bytes(), message);
        (Ciphertext(Octets::new(ciphertext)), SharedSecret(Zeroizing::new(secret)))
    }
}

/// A shared secret on its way to the owner of an encapsulation key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ciphertext(Octets<CIPHERTEXT_LEN>);

impl Ciphertext {
    /// Takes the encoded form.
    ///
    /// # Errors
    ///
    /// If the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCiphertext> {
        Octets::from_slice(bytes).map(Self).ok_or(InvalidCiphertext { len: bytes.len() })
    }

    /// Returns the encoded form.
    pub fn as_bytes(&self) -> &[u8; CIPHERTEXT_LEN] {
        self.0.as_bytes()
    }
}

/// A secret that both sides know. Wiped when dropped.
#[derive(Clone)]
pub struct SharedSecret(Zeroizing<[u8; SHARED_SECRET_LEN]>);

impl SharedSecret {
    /// Returns the secret bytes.
    pub fn as_bytes(&self) -> &[u8; SHARED_SECRET_LEN] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SharedSecret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_learn_the_same_secret_and_nobody_else_does() {
        let key = DecapsulationKey::from_seed(&[1; 64]);
        let other = DecapsulationKey::from_seed(&[2; 64]);
        let (ciphertext, secret) = key.encapsulation_key().encapsulate(&[3; 32]);
        assert_eq!(key.decapsulate(&ciphertext).as_bytes(), secret.as_bytes());
        assert_ne!(other.decapsulate(&ciphertext).as_bytes(), secret.as_bytes());
    }

    #[test]
    fn keys_are_checked_and_ciphertexts_have_one_length() {
        for len in [0, 1183, 1184 + 1] {
            assert_eq!(EncapsulationKey::from_bytes(&vec![0; len]), Err(InvalidKey), "{len} bytes");
        }
        assert_eq!(EncapsulationKey::from_bytes(&[0xff; 1184]), Err(InvalidKey), "not reduced");
        for len in [0, 1087, 1089] {
            let result = Ciphertext::from_bytes(&vec![0; len]);
            assert_eq!(result, Err(InvalidCiphertext { len }));
        }
        let key = DecapsulationKey::from_seed(&[1; 64]);
        let public = key.encapsulation_key();
        assert_eq!(EncapsulationKey::from_bytes(public.as_bytes()).as_ref(), Ok(public));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = DecapsulationKey::from_seed(&[1; 64]);
        let (_, secret) = key.encapsulation_key().encapsulate(&[3; 32]);
        let public = format!("{:?}", key.encapsulation_key());
        let expected = format!("DecapsulationKey {{ encapsulation_key: {public}, .. }}");
        assert_eq!(format!("{key:?}"), expected);
        assert_eq!(format!("{secret:?}"), "SharedSecret { .. }");
    }
}
