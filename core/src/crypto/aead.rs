//! Authenticated encryption: AES-256-GCM (NIST SP 800-38D) and ChaCha20-Poly1305 (RFC 8439).
//!
//! The caller must never use a nonce twice with one key: with these algorithms that gives the key
//! away.

use std::fmt;

use super::{Backend, Selected};

/// The length of the secret key of either algorithm in bytes.
pub const KEY_LEN: usize = 32;
/// The length of a nonce in bytes.
pub const NONCE_LEN: usize = 12;
/// How many bytes a sealed message has more than its plaintext.
pub const TAG_LEN: usize = 16;

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// AES-256 in Galois/counter mode: the faster one where the processor has AES instructions.
    Aes256Gcm,
    /// ChaCha20 with Poly1305: fast and free of timing leaks on every processor.
    ChaCha20Poly1305,
}

/// The message was not sealed with this key, nonce and associated data, or was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed message is not authentic")]
pub struct OpenError;

/// A secret key.
pub struct AeadKey {
    algorithm: Algorithm,
    secret: <Selected as Backend>::AeadKey,
}

impl AeadKey {
    /// Prepares a key.
    pub fn new(algorithm: Algorithm, key: &[u8; KEY_LEN]) -> Self {
        Self { algorithm, secret: Selected::aead_key(algorithm, key) }
    }

    /// Encrypts the plaintext, and authenticates it together with the associated data `aad`.
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(plaintext.len() + TAG_LEN);
        buffer.extend_from_slice(plaintext);
        Selected::seal(&self.secret, nonce, aad, &mut buffer);
        buffer
    }

    /// Checks and decrypts what [`seal`](Self::seal) made.
    ///
    /// # Errors
    ///
    /// If anything differs from what was sealed.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        let mut buffer = sealed.to_vec();
        if Selected::open(&self.secret, nonce, aad, &mut buffer) {
            Ok(buffer)
        } else {
            Err(OpenError)
        }
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AeadKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_opens() {
        for algorithm in [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305] {
            let key = AeadKey::new(algorithm, &[1; 32]);
            let other = AeadKey::new(algorithm, &[2; 32]);
            let sealed = key.seal(&[3; 12], b"aad", b"plaintext");
            assert_eq!(sealed.len(), b"plaintext".len() + TAG_LEN);
            assert_eq!(key.open(&[3; 12], b"aad", &sealed), Ok(b"plaintext".to_vec()));

            let changed = [&sealed[..sealed.len() - 1], &[!sealed[sealed.len() - 1]]].concat();
            let cases = [
                ("key", other.open(&[3; 12], b"aad", &sealed)),
                ("nonce", key.open(&[4; 12], b"aad", &sealed)),
                ("associated data", key.open(&[3; 12], b"", &sealed)),
                ("tag", key.open(&[3; 12], b"aad", &changed)),
                ("length", key.open(&[3; 12], b"aad", &sealed[..TAG_LEN - 1])),
            ];
            for (case, result) in cases {
                assert_eq!(result, Err(OpenError), "{algorithm:?}: another {case}");
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = AeadKey::new(Algorithm::Aes256Gcm, &[1; 32]);
        assert_eq!(format!("{key:?}"), "AeadKey { algorithm: Aes256Gcm, .. }");
    }
}
