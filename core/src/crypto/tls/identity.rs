//! Raw ML-DSA-65 keys in TLS: how they are shown, proven and checked.

use std::any::Any;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName,
    SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime, alg_id,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureAlgorithm, SignatureScheme,
};

use crate::crypto::entropy;
use crate::crypto::hash::sha256;
use crate::crypto::signature::{Signature, SigningKey, VerifyingKey};

/// The DER that precedes the key in a SubjectPublicKeyInfo (RFC 9881): sequence of 1970 bytes,
/// algorithm id-ml-dsa-65, bit string of 1953 bytes without unused bits.
const SPKI_PREFIX: [u8; 22] = [
    0x30, 0x82, 0x07, 0xb2, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03,
    0x12, 0x03, 0x82, 0x07, 0xa1, 0x00,
];

fn spki(key: &VerifyingKey) -> Vec<u8> {
    [&SPKI_PREFIX[..], key.as_bytes()].concat()
}

fn parse_spki(der: &[u8]) -> Option<VerifyingKey> {
    let key = der.strip_prefix(&SPKI_PREFIX)?;
    VerifyingKey::from_bytes(key).ok()
}

/// The end of each server name that names a machine.
const NAME_SUFFIX: &str = ".x0x";

/// The server name for a peer whose machine is not known yet.
const UNKNOWN_NAME: &str = "unknown.x0x";

/// Returns the server name under which a peer is dialled: for a known machine its id in hex, cut
/// into two labels. It stays within this client.
pub fn server_name(machine: Option<&[u8; 32]>) -> String {
    let Some(id) = machine else { return UNKNOWN_NAME.to_owned() };
    let (head, tail) = id.split_at(16);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("m{}.m{}{NAME_SUFFIX}", hex(head), hex(tail))
}

/// Returns the machine id in a server name, if it names one.
pub(super) fn named_machine(name: &ServerName<'_>) -> Option<[u8; 32]> {
    let ServerName::DnsName(name) = name else { return None };
    let (head, tail) = name.as_ref().strip_suffix(NAME_SUFFIX)?.split_once('.')?;
    let hex = [head.strip_prefix('m')?, tail.strip_prefix('m')?].concat();
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut id = [0; 32];
    for (index, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(id)
}

/// Returns the key that a peer proved, from what the QUIC session calls its identity.
pub fn peer_key(identity: Box<dyn Any>) -> Option<VerifyingKey> {
    let shown = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    match &shown[..] {
        [only] => parse_spki(only),
        _ => None,
    }
}

/// This node's own key, for both roles.
#[derive(Debug)]
pub(super) struct OwnKey(Arc<CertifiedKey>);

impl OwnKey {
    pub(super) fn new(key: &SigningKey) -> Self {
        let shown = vec![CertificateDer::from(spki(key.verifying_key()))];
        Self(Arc::new(CertifiedKey::new(shown, Arc::new(TlsKey(key.clone())))))
    }
}

impl ResolvesServerCert for OwnKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

impl ResolvesClientCert for OwnKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A signing key in the form that TLS asks for.
#[derive(Clone, Debug)]
struct TlsKey(SigningKey);

impl rustls::sign::SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let known = offered.contains(&SignatureScheme::ML_DSA_65);
        known.then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(spki(self.0.verifying_key())))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        // ML-DSA has no code of the older kind, which nothing of TLS 1.3 reads.
        SignatureAlgorithm::Unknown(255)
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let randomness = entropy::draw_array()?;
        Ok(self.0.sign(message, &randomness).as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ML_DSA_65
    }
}

/// Checks what a peer shows and proves.
///
/// A server must have the key of the machine that the name names; any client with a well-formed
/// key is let through, since whom it belongs to is decided above TLS.
#[derive(Debug)]
pub(super) struct PeerVerifier;

const BAD_KEY: Error = Error::InvalidCertificate(CertificateError::BadEncoding);

impl PeerVerifier {
    fn shown_key(
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
    ) -> Result<VerifyingKey, Error> {
        if !more.is_empty() {
            return Err(BAD_KEY);
        }
        parse_spki(shown).ok_or(BAD_KEY)
    }

    fn proven(
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ML_DSA_65 {
            return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
        }
        let key = parse_spki(shown).ok_or(BAD_KEY)?;
        Signature::from_bytes(signed.signature())
            .and_then(|signature| key.verify(message, &signature))
            .map(|()| HandshakeSignatureValid::assertion())
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = Self::shown_key(end_entity, intermediates)?;
        match named_machine(server_name) {
            Some(id) if sha256(key.as_bytes()) != id => {
                Err(Error::InvalidCertificate(CertificateError::NotValidForName))
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::proven(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_65]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::shown_key(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::proven(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_65]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// ML-DSA-65 in the provider's table of algorithms.
#[derive(Debug)]
pub(super) struct MlDsa65;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_gives_its_machine_back() {
        let id = std::array::from_fn(|index| index as u8 * 7);
        let parse = |name: String| named_machine(&ServerName::try_from(name).unwrap());
        assert_eq!(parse(server_name(Some(&id))), Some(id));
        assert_eq!(parse(server_name(None)), None);
        assert_eq!(parse(format!("m{}.m{}.x0x", "0".repeat(31), "0".repeat(32))), None);
    }

    #[test]
    fn a_key_has_one_form_only() {
        let key = SigningKey::from_seed(&[3; 32]).verifying_key().clone();
        let der = spki(&key);
        assert_eq!(der.len(), SPKI_PREFIX.len() + key.as_bytes().len());
        assert_eq!(parse_spki(&der), Some(key));
        assert_eq!(parse_spki(&der[..der.len() - 1]), None);
        assert_eq!(parse_spki(&[&der[..], &[0]].concat()), None);
        for index in 0..SPKI_PREFIX.len() {
            let mut other = der.clone();
            other[index] ^= 1;
            assert_eq!(parse_spki(&other), None, "byte {index}");
        }
    }
}
