//! Consent: a binding as the proof that an agent presented its user's certificate.
//!
//! A certificate alone proves what a user says of an agent, and anyone can say anything. A binding
//! that contains it is signed by the agent, which thereby agreed. That stays true when the binding
//! ended, so neither its time nor its machine matters here.

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::binding::{BINDING_SIZE_MAX, BindingBody};
use super::certificate::AgentCertificate;
use super::document;
use super::ids::AgentId;
use super::keys::{Domain, verify};
use crate::crypto::signature::{BadSignature, SIGNATURE_LEN, Signature, VerifyingKey};
use crate::wire::{BoundedBytes, DecodeError};

/// A binding with a certificate, parsed and not verified. Its serde form is its bytes.
#[derive(Clone, Debug)]
pub(super) struct Consent {
    agent_key: VerifyingKey,
    certificate: AgentCertificate,
    signature: Signature,
    bytes: Bytes,
}

impl Consent {
    /// Reads a binding without believing it. One without a certificate for its agent is refused.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let opened = document::open::<BindingBody>(bytes)?;
        let BindingBody { agent_key, certificate, .. } = opened.statement;
        let certificate = certificate
            .filter(|certificate| certificate.agent() == AgentId::of(&agent_key))
            .ok_or(DecodeError::InvalidField)?;
        let bytes = Bytes::copy_from_slice(bytes);
        Ok(Self { agent_key, certificate, signature: opened.signature, bytes })
    }

    /// Checks the signatures of the agent and of the user.
    pub(super) fn verify(&self) -> Result<(), BadSignature> {
        let record = &self.bytes[..self.bytes.len() - SIGNATURE_LEN];
        verify(Domain::AgentBinding, &self.agent_key, record, &self.signature)?;
        self.certificate.check_signature().map_err(|_| BadSignature)
    }

    /// Returns the key of the agent that is claimed to consent.
    pub(super) fn agent_key(&self) -> &VerifyingKey {
        &self.agent_key
    }

    /// Returns the key of the user whose certificate it is claimed to be.
    pub(super) fn user_key(&self) -> &VerifyingKey {
        self.certificate.user_key()
    }
}

impl Serialize for Consent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for Consent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = BoundedBytes::<BINDING_SIZE_MAX>::deserialize(deserializer)?;
        Self::parse(&bytes).map_err(D::Error::custom)
    }
}
