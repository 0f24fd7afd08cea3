//! Certificates: a human user states that an agent is theirs.
//!
//! An [`AgentCertificate`] is parsed and not verified: it says what its issuer claims. Only
//! [`AgentCertificate::verify`] makes a [`ProvenUser`] of it. A certificate goes with the agent's
//! bindings; an agent without one belongs to nobody in particular.

use std::time::Duration;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::CLOCK_SKEW_MAX;
use super::document::{self, KEY_FIELD_SIZE, NUMBER_FIELD_SIZE_MAX, Statement};
use super::ids::{AgentId, ID_LEN, UserId};
use super::keys::{Domain, UserKey, verify};
use crate::crypto::signature::{SIGNATURE_LEN, Signature, VerifyingKey};
use crate::wire::{BoundedBytes, DecodeError, Versioned};

/// The greatest size of a certificate in bytes.
pub const CERTIFICATE_SIZE_MAX: usize = document::size_max::<CertificateBody>();

/// What the user states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CertificateBody {
    /// The key that signs.
    user_key: VerifyingKey,
    /// The agent that is theirs.
    agent: AgentId,
    /// Since when, in seconds since the Unix epoch.
    issued_at: u64,
    /// The last second for which it holds, if it ends by itself.
    expires_at: Option<u64>,
}

impl Versioned for CertificateBody {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 1 + KEY_FIELD_SIZE + ID_LEN + 2 * NUMBER_FIELD_SIZE_MAX + 1;
}

impl Statement for CertificateBody {
    const DOMAIN: Domain = Domain::AgentCertificate;
}

/// Why a certificate does not prove a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is about another agent.
    #[error("the certificate is for agent {}", found.short())]
    WrongAgent {
        /// The agent that it is about.
        found: AgentId,
    },
    /// It was issued in the future.
    #[error("the certificate holds from second {issued_at} only")]
    NotYetValid {
        /// Since when it holds, in seconds since the Unix epoch.
        issued_at: u64,
    },
    /// Its time is over.
    #[error("the certificate expired at second {expires_at}")]
    Expired {
        /// Until when it held, in seconds since the Unix epoch.
        expires_at: u64,
    },
    /// The user did not sign it.
    #[error("the certificate is not signed by its user")]
    BadSignature,
}

/// A user as proven by a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenUser {
    /// The user.
    pub user: UserId,
    /// Their public key.
    pub key: VerifyingKey,
    /// The last second for which the certificate holds, if it ends by itself.
    pub expires_at: Option<u64>,
}

/// A user's word for an agent, parsed and not verified. Its serde form is its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentCertificate {
    body: CertificateBody,
    signature: Signature,
    bytes: Bytes,
}

impl AgentCertificate {
    /// States that the agent is the user's from the second `issued_at` to the second `expires_at`,
    /// both since the Unix epoch. See [`UserKey::sign`] for the randomness.
    pub fn issue(
        user: &UserKey,
        agent: AgentId,
        issued_at: u64,
        expires_at: Option<u64>,
        randomness: &[u8; 32],
    ) -> Self {
        let body =
            CertificateBody { user_key: user.public().clone(), agent, issued_at, expires_at };
        let bytes = document::seal(&body, |domain, record| user.sign(domain, record, randomness));
        Self::parse(&bytes).expect("a certificate that was made can be parsed")
    }

    /// Reads a certificate without believing it.
    ///
    /// # Errors
    ///
    /// If the bytes are not the one form of a certificate.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let opened = document::open::<CertificateBody>(bytes)?;
        let bytes = Bytes::copy_from_slice(bytes);
        Ok(Self { body: opened.statement, signature: opened.signature, bytes })
    }

    /// Checks that the certificate holds for the agent at this time.
    ///
    /// # Errors
    ///
    /// A [`CertificateError`] if it does not.
    pub fn verify(
        &self,
        agent: &AgentId,
        unix_time: Duration,
    ) -> Result<ProvenUser, CertificateError> {
        self.check(agent, unix_time)?;
        self.check_signature()?;
        Ok(ProvenUser {
            user: self.user(),
            key: self.body.user_key.clone(),
            expires_at: self.body.expires_at,
        })
    }

    /// Returns the bytes that go over the network.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the user who is claimed to have issued it.
    pub fn user(&self) -> UserId {
        UserId::of(&self.body.user_key)
    }

    /// Returns the agent that it is about.
    pub fn agent(&self) -> AgentId {
        self.body.agent
    }

    /// Returns the last second for which it holds, if it ends by itself.
    pub fn expires_at(&self) -> Option<u64> {
        self.body.expires_at
    }

    /// Returns the key of the user who is claimed to have issued it.
    pub(super) fn user_key(&self) -> &VerifyingKey {
        &self.body.user_key
    }

    /// Checks everything but the signature.
    pub(super) fn check(
        &self,
        agent: &AgentId,
        unix_time: Duration,
    ) -> Result<(), CertificateError> {
        let CertificateBody { agent: found, issued_at, expires_at, .. } = self.body;
        let (seconds, skew) = (unix_time.as_secs(), CLOCK_SKEW_MAX.as_secs());
        if found != *agent {
            return Err(CertificateError::WrongAgent { found });
        }
        if issued_at > seconds.saturating_add(skew) {
            return Err(CertificateError::NotYetValid { issued_at });
        }
        match expires_at {
            Some(expires_at) if seconds > expires_at.saturating_add(skew) => {
                Err(CertificateError::Expired { expires_at })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks the signature alone.
    pub(super) fn check_signature(&self) -> Result<(), CertificateError> {
        let record = &self.bytes[..self.bytes.len() - SIGNATURE_LEN];
        verify(Domain::AgentCertificate, &self.body.user_key, record, &self.signature)
            .map_err(|_| CertificateError::BadSignature)
    }
}

impl Serialize for AgentCertificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for AgentCertificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = BoundedBytes::<CERTIFICATE_SIZE_MAX>::deserialize(deserializer)?;
        Self::parse(&bytes).map_err(D::Error::custom)
    }
}
