//! Raw ML-DSA-65 public keys in TLS: how a node shows its own and checks its peer's.
//!
//! What certificates are elsewhere is here the `SubjectPublicKeyInfo` of the key (RFC 9881): 22
//! fixed bytes and then the key. Exactly these bytes are accepted, in no other encoding. A peer
//! proves that it owns the key by a signature with the scheme `mldsa65` (0x0905,
//! draft-ietf-tls-mldsa) over the handshake.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName,
    SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime, alg_id,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureAlgorithm,
    SignatureScheme,
};

use super::name::{Expected, expected};
use crate::crypto::entropy::draw;
use crate::crypto::hash::sha256;
use crate::crypto::signature::{Signature, SigningKey, VerifyingKey};

/// What stands before the key in its `SubjectPublicKeyInfo`.
const SPKI_PREFIX: [u8; 22] = [
    0x30, 0x82, 0x07, 0xb2, // SEQUENCE of 1970 bytes
    0x30, 0x0b, // SEQUENCE of 11 bytes: the algorithm, without parameters
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12, // id-ml-dsa-65
    0x03, 0x82, 0x07, 0xa1, 0x00, // BIT STRING of 1953 bytes, no unused bits
];

/// The signatures that are accepted: ML-DSA-65 and no other.
pub(super) const ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[&MlDsa65],
    mapping: &[(SignatureScheme::ML_DSA_65, &[&MlDsa65])],
};

/// Returns the key that a peer proved to own, given the identity that a connection reports.
///
/// QUIC reports a `Vec<CertificateDer<'static>>`, here of one raw key.
pub fn peer_key(identity: Box<dyn Any>) -> Option<VerifyingKey> {
    match identity.downcast::<Vec<CertificateDer<'static>>>().ok()?.as_slice() {
        [spki] => parse_spki(spki),
        _ => None,
    }
}

pub(super) fn encode_spki(key: &VerifyingKey) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), key.as_bytes()].concat()
}

pub(super) fn parse_spki(spki: &[u8]) -> Option<VerifyingKey> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    VerifyingKey::from_bytes(key).ok()
}

/// The key that a node shows to its peers.
#[derive(Clone)]
pub(super) struct Shown(Arc<CertifiedKey>);

/// Prepares the node's key for showing.
pub(super) fn shown(key: &SigningKey) -> Shown {
    let spki = CertificateDer::from(encode_spki(key.verifying_key()));
    Shown(Arc::new(CertifiedKey::new(vec![spki], Arc::new(TlsSigningKey(key.clone())))))
}

impl Shown {
    pub(super) fn client(self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.0))
    }

    pub(super) fn server(self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.0))
    }
}

#[derive(Clone, Debug)]
struct TlsSigningKey(SigningKey);

impl rustls::sign::SigningKey for TlsSigningKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        if offered.contains(&SignatureScheme::ML_DSA_65) {
            Some(Box::new(self.clone()))
        } else {
            None
        }
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(encode_spki(self.0.verifying_key()).into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        // TLS 1.2 had a number for each algorithm; ML-DSA came too late to get one.
        SignatureAlgorithm::Unknown(0)
    }
}

impl Signer for TlsSigningKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message, &*draw()?).as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ML_DSA_65
    }
}

#[derive(Debug)]
struct MlDsa65;

impl SignatureVerificationAlgorithm for MlDsa65 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_bytes(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ML_DSA_65
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ML_DSA_65
    }
}

/// Checks what a peer shows: one raw key and nothing with it.
fn verify_shown(
    spki: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
) -> Result<VerifyingKey, Error> {
    match (parse_spki(spki), others) {
        (Some(key), []) => Ok(key),
        _ => Err(CertificateError::BadEncoding.into()),
    }
}

fn verify_signature(
    message: &[u8],
    spki: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, signed, &ALGORITHMS)
}

fn refuse_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is never offered".into()))
}

/// How many peers of one node proved their key with a signature.
///
/// QUIC does not report whether a handshake was a resumption, in which nothing is signed. A caller that
/// compares the count before and after knows.
#[derive(Clone, Debug, Default)]
pub struct Proofs(Arc<AtomicU64>);

impl Proofs {
    /// Returns the count so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self, proven: &Result<HandshakeSignatureValid, Error>) {
        if proven.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Checks the server's key against the name that the client called.
#[derive(Debug)]
pub(super) struct ServerVerifier(pub(super) Proofs);

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        spki: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = verify_shown(spki, others)?;
        match expected(&server_name.to_str()) {
            Some(Expected::Machine(id)) if sha256(key.as_bytes()) == id => {}
            Some(Expected::Anyone) => {}
            Some(Expected::Machine(_)) | None => {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _spki: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let proven = verify_signature(message, spki, signed);
        self.0.note(&proven);
        proven
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts every client that has a key.
#[derive(Debug)]
pub(super) struct ClientVerifier(pub(super) Proofs);

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        spki: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        verify_shown(spki, others)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _spki: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let proven = verify_signature(message, spki, signed);
        self.0.note(&proven);
        proven
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::signature::VERIFYING_KEY_LEN;

    #[test]
    fn only_the_exact_encoding_of_a_key_is_accepted() {
        let key = SigningKey::from_seed(&[1; 32]).verifying_key().clone();
        let good = encode_spki(&key);
        assert_eq!(good.len(), SPKI_PREFIX.len() + VERIFYING_KEY_LEN);
        assert_eq!(parse_spki(&good), Some(key.clone()));
        assert_eq!(verify_shown(&good.clone().into(), &[]), Ok(key));

        for index in 0..SPKI_PREFIX.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert_eq!(parse_spki(&bad), None, "byte {index} changed");
        }
        for len in [0, 21, 22, good.len() - 1] {
            assert_eq!(parse_spki(&good[..len]), None, "cut to {len} bytes");
        }
        assert_eq!(parse_spki(&[good.as_slice(), &[0]].concat()), None, "one byte more");
        let two = verify_shown(&good.clone().into(), &[good.into()]);
        assert_eq!(two, Err(CertificateError::BadEncoding.into()), "two keys");
    }

    #[test]
    fn the_prefix_agrees_with_the_registered_algorithm() {
        assert_eq!(&SPKI_PREFIX[6..17], alg_id::ML_DSA_65.as_ref());
    }

    #[test]
    fn a_peer_without_exactly_one_key_has_no_identity() {
        let key = SigningKey::from_seed(&[1; 32]).verifying_key().clone();
        let spki = CertificateDer::from(encode_spki(&key));
        let cases: [(&str, Box<dyn Any>, Option<VerifyingKey>); 4] = [
            ("one key", Box::new(vec![spki.clone()]), Some(key)),
            ("no key", Box::new(Vec::<CertificateDer<'static>>::new()), None),
            ("two keys", Box::new(vec![spki.clone(), spki]), None),
            ("another type", Box::new(7_u32), None),
        ];
        for (case, identity, expected) in cases {
            assert_eq!(peer_key(identity), expected, "{case}");
        }
    }
}
