//! The two keys of an endpoint: for stateless resets and for address tokens.
//!
//! Both are derived from the machine key, so they outlive a restart: a node that was restarted
//! can tell its peers at once that their connections are gone.

use quinn_proto::crypto::{AeadKey, CryptoError, HandshakeTokenKey, HmacKey};

use crate::crypto::aead;
use crate::crypto::hash::blake3_keyed;

/// Derives the token with which a peer recognises a stateless reset (RFC 9000 §10.3).
pub(super) struct ResetKey(pub(super) [u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&blake3_keyed(&self.0, data));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let expected = blake3_keyed(&self.0, data);
        if crate::crypto::hash::equal(&expected, signature) { Ok(()) } else { Err(CryptoError) }
    }
}

/// Seals the tokens that prove an address (RFC 9000 §8.1). Each token has a key of its own, made
/// from its random part, so that the nonce can be constant.
pub(super) struct TokenKey(pub(super) [u8; 32]);

impl HandshakeTokenKey for TokenKey {
    fn aead_from_hkdf(&self, random_bytes: &[u8]) -> Box<dyn AeadKey> {
        let key = blake3_keyed(&self.0, random_bytes);
        Box::new(SealedToken(aead::AeadKey::new(aead::Algorithm::ChaCha20Poly1305, &key)))
    }
}

struct SealedToken(aead::AeadKey);

const TOKEN_NONCE: [u8; 12] = [0; 12];

impl AeadKey for SealedToken {
    fn seal(&self, data: &mut Vec<u8>, additional_data: &[u8]) -> Result<(), CryptoError> {
        *data = self.0.seal(&TOKEN_NONCE, additional_data, data);
        Ok(())
    }

    fn open<'a>(
        &self,
        data: &'a mut [u8],
        additional_data: &[u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        let opened = self.0.open(&TOKEN_NONCE, additional_data, data).map_err(|_| CryptoError)?;
        let (target, _) = data.split_at_mut_checked(opened.len()).ok_or(CryptoError)?;
        target.copy_from_slice(&opened);
        Ok(target)
    }
}
