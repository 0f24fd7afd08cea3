//! The native back-end: for each operation the fastest implementation that accepts a seed.
//!
//! `libcrux` makes keys, signs, encapsulates and decapsulates (AVX2 and NEON, chosen at run time).
//! `aws-lc-rs` verifies signatures and does the AEADs; it cannot sign or encapsulate for us,
//! because it draws its own randomness there.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use libcrux_ml_dsa::ml_dsa_65::{self, MLDSA65SigningKey};
use libcrux_ml_kem::mlkem768::{self, MlKem768PrivateKey, MlKem768PublicKey};
use zeroize::Zeroize;

use super::aead::Algorithm;
use super::backend::Backend;
use super::kem::{
    CIPHERTEXT_LEN, DECAPSULATION_SEED_LEN, ENCAPSULATION_KEY_LEN, SHARED_SECRET_LEN,
};
use super::signature::{SIGNATURE_LEN, SIGNING_SEED_LEN, VERIFYING_KEY_LEN};

/// The back-end in verified Rust, C and assembly.
#[derive(Clone, Copy, Debug)]
pub struct Native;

/// A private signing key.
#[expect(missing_debug_implementations, reason = "it holds a secret")]
pub struct SigningKey(Box<MLDSA65SigningKey>);

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

/// A private decapsulation key.
#[expect(missing_debug_implementations, reason = "it holds a secret")]
pub struct DecapsulationKey(Box<MlKem768PrivateKey>);

impl Drop for DecapsulationKey {
    fn drop(&mut self) {
        self.0[0..].zeroize();
    }
}

impl Backend for Native {
    type SigningKey = SigningKey;
    type DecapsulationKey = DecapsulationKey;
    type AeadKey = LessSafeKey;

    fn signing_key(seed: &[u8; SIGNING_SEED_LEN]) -> (Self::SigningKey, [u8; VERIFYING_KEY_LEN]) {
        let pair = ml_dsa_65::generate_key_pair(*seed);
        (SigningKey(Box::new(pair.signing_key)), *pair.verification_key.as_ref())
    }

    fn sign(key: &Self::SigningKey, message: &[u8], randomness: &[u8; 32]) -> [u8; SIGNATURE_LEN] {
        let signature = ml_dsa_65::sign(&key.0, message, &[], *randomness)
            .expect("814 rejected attempts in a row are less likely than a broken computer");
        *signature.as_ref()
    }

    fn verify(
        key: &[u8; VERIFYING_KEY_LEN],
        message: &[u8],
        signature: &[u8; SIGNATURE_LEN],
    ) -> bool {
        UnparsedPublicKey::new(&ML_DSA_65, key).verify(message, signature).is_ok()
    }

    fn decapsulation_key(
        seed: &[u8; DECAPSULATION_SEED_LEN],
    ) -> (Self::DecapsulationKey, [u8; ENCAPSULATION_KEY_LEN]) {
        let (key, encapsulation_key) = mlkem768::generate_key_pair(*seed).into_parts();
        (DecapsulationKey(Box::new(key)), encapsulation_key.into())
    }

    fn is_encapsulation_key(key: &[u8; ENCAPSULATION_KEY_LEN]) -> bool {
        mlkem768::validate_public_key(&MlKem768PublicKey::from(key))
    }

    fn encapsulate(
        key: &[u8; ENCAPSULATION_KEY_LEN],
        message: &[u8; 32],
    ) -> ([u8; CIPHERTEXT_LEN], [u8; SHARED_SECRET_LEN]) {
        let (ciphertext, secret) = mlkem768::encapsulate(&MlKem768PublicKey::from(key), *message);
        (ciphertext.into(), secret)
    }

    fn decapsulate(
        key: &Self::DecapsulationKey,
        ciphertext: &[u8; CIPHERTEXT_LEN],
    ) -> [u8; SHARED_SECRET_LEN] {
        mlkem768::decapsulate(&key.0, &ciphertext.into())
    }

    fn aead_key(algorithm: Algorithm, key: &[u8; 32]) -> Self::AeadKey {
        let algorithm = match algorithm {
            Algorithm::Aes256Gcm => &AES_256_GCM,
            Algorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        LessSafeKey::new(UnboundKey::new(algorithm, key).expect("both take keys of 32 bytes"))
    }

    fn seal(key: &Self::AeadKey, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(aad), buffer)
            .expect("a message is far below the limits of the AEAD");
    }

    fn open(key: &Self::AeadKey, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) -> bool {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let Ok(plaintext) = key.open_in_place(nonce, Aad::from(aad), buffer) else {
            return false;
        };
        let len = plaintext.len();
        buffer.truncate(len);
        true
    }
}
