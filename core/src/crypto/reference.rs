//! The reference back-end: `ml-dsa`, `ml-kem`, `aes-gcm` and `chacha20poly1305`, all pure Rust.
//!
//! It is always compiled, runs wherever Rust does, and decides what is right: [`super::Backend`]s
//! that are faster must agree with it byte for byte. A signing key is kept expanded (64 KiB),
//! because expanding it costs a quarter of signing; everything public is kept as bytes.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use ml_dsa::{EncodedVerifyingKey, ExpandedSigningKey, MlDsa65};
use ml_kem::{Decapsulate, Key, KeyExport};
use zeroize::Zeroizing;

use super::aead::Algorithm;
use super::backend::Backend;
use super::kem::{
    CIPHERTEXT_LEN, DECAPSULATION_SEED_LEN, ENCAPSULATION_KEY_LEN, SHARED_SECRET_LEN,
};
use super::signature::{SIGNATURE_LEN, SIGNING_SEED_LEN, VERIFYING_KEY_LEN};

/// The first two bytes of what pure ML-DSA signs: no pre-hash, and a context of zero bytes.
const EMPTY_CONTEXT: &[u8] = &[0, 0];

/// The back-end in pure Rust.
#[derive(Clone, Copy, Debug)]
pub struct Reference;

/// A secret key of one of the two AEADs.
#[expect(missing_debug_implementations, reason = "it holds a secret")]
pub struct AeadKey(AeadKeyInner);

enum AeadKeyInner {
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(ChaCha20Poly1305),
}

impl Backend for Reference {
    type SigningKey = Box<ExpandedSigningKey<MlDsa65>>;
    type DecapsulationKey = ml_kem::DecapsulationKey768;
    type AeadKey = AeadKey;

    fn signing_key(seed: &[u8; SIGNING_SEED_LEN]) -> (Self::SigningKey, [u8; VERIFYING_KEY_LEN]) {
        let seed = Zeroizing::new(ml_dsa::B32::from(*seed));
        let pair = ml_dsa::SigningKey::<MlDsa65>::from_seed(&seed);
        let verifying_key: &ml_dsa::VerifyingKey<MlDsa65> = pair.as_ref();
        (Box::new(pair.expanded_key().clone()), verifying_key.encode().into())
    }

    fn sign(key: &Self::SigningKey, message: &[u8], randomness: &[u8; 32]) -> [u8; SIGNATURE_LEN] {
        let randomness = Zeroizing::new(ml_dsa::B32::from(*randomness));
        key.sign_internal(&[EMPTY_CONTEXT, message], &randomness).encode().into()
    }

    fn verify(
        key: &[u8; VERIFYING_KEY_LEN],
        message: &[u8],
        signature: &[u8; SIGNATURE_LEN],
    ) -> bool {
        // The signature is decoded first: it costs little and unmasks most forgeries.
        let Ok(signature) = ml_dsa::Signature::<MlDsa65>::try_from(signature.as_slice()) else {
            return false;
        };
        let key = EncodedVerifyingKey::<MlDsa65>::from(*key);
        ml_dsa::VerifyingKey::<MlDsa65>::decode(&key).verify_with_context(message, &[], &signature)
    }

    fn decapsulation_key(
        seed: &[u8; DECAPSULATION_SEED_LEN],
    ) -> (Self::DecapsulationKey, [u8; ENCAPSULATION_KEY_LEN]) {
        let seed = Zeroizing::new(ml_kem::Seed::from(*seed));
        let key = ml_kem::DecapsulationKey768::from_seed(*seed);
        let encapsulation_key = key.encapsulation_key().to_bytes().into();
        (key, encapsulation_key)
    }

    fn is_encapsulation_key(key: &[u8; ENCAPSULATION_KEY_LEN]) -> bool {
        ml_kem::EncapsulationKey768::new(&Key::<ml_kem::EncapsulationKey768>::from(*key)).is_ok()
    }

    fn encapsulate(
        key: &[u8; ENCAPSULATION_KEY_LEN],
        message: &[u8; 32],
    ) -> ([u8; CIPHERTEXT_LEN], [u8; SHARED_SECRET_LEN]) {
        let key = ml_kem::EncapsulationKey768::new(&Key::<ml_kem::EncapsulationKey768>::from(*key))
            .expect("the key passed the modulus check");
        let message = Zeroizing::new(ml_kem::B32::from(*message));
        let (ciphertext, secret) = key.encapsulate_deterministic(&message);
        (ciphertext.into(), secret.into())
    }

    fn decapsulate(
        key: &Self::DecapsulationKey,
        ciphertext: &[u8; CIPHERTEXT_LEN],
    ) -> [u8; SHARED_SECRET_LEN] {
        key.decapsulate(&(*ciphertext).into()).into()
    }

    fn aead_key(algorithm: Algorithm, key: &[u8; 32]) -> Self::AeadKey {
        let key = key.into();
        AeadKey(match algorithm {
            Algorithm::Aes256Gcm => AeadKeyInner::Aes256Gcm(Box::new(Aes256Gcm::new(key))),
            Algorithm::ChaCha20Poly1305 => {
                AeadKeyInner::ChaCha20Poly1305(ChaCha20Poly1305::new(key))
            }
        })
    }

    fn seal(key: &Self::AeadKey, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) {
        match &key.0 {
            AeadKeyInner::Aes256Gcm(key) => key.encrypt_in_place(nonce.into(), aad, buffer),
            AeadKeyInner::ChaCha20Poly1305(key) => key.encrypt_in_place(nonce.into(), aad, buffer),
        }
        .expect("a message is far below the limits of the AEAD");
    }

    fn open(key: &Self::AeadKey, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) -> bool {
        match &key.0 {
            AeadKeyInner::Aes256Gcm(key) => key.decrypt_in_place(nonce.into(), aad, buffer),
            AeadKeyInner::ChaCha20Poly1305(key) => key.decrypt_in_place(nonce.into(), aad, buffer),
        }
        .is_ok()
    }
}
