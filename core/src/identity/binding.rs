//! Bindings: an agent states that it lives on a machine.
//!
//! A connection proves the machine at its other end. The agents on it present bindings to that
//! machine, which a [`BindingVerifier`] checks; what it returns, a [`ProvenAgent`], may speak for
//! the agent on this connection until the binding ends. A binding may carry a certificate, which
//! proves the agent's user as well; a binding whose certificate does not hold proves nothing.
//!
//! # Sequence
//!
//! An agent gives each binding that replaces earlier ones a greater sequence. A verifier that has seen
//! a sequence refuses lesser ones, so a machine that an agent left cannot speak for it with an old
//! binding. The sequence is kept for each pair of agent and machine.
//!
//! # Order of the checks
//!
//! Size and form, machine, length of the validity, time, revocations, sequence, certificate except
//! for its signature, and then the two signatures, which are the costly part. Bindings whose
//! signatures were found good are remembered; the other checks are made each time.
//!
//! # Limits
//!
//! [`BINDING_SIZE_MAX`], [`BINDING_VALIDITY_MAX`] and [`VERIFIED_BINDINGS_MAX`].

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::CLOCK_SKEW_MAX;
use super::certificate::{AgentCertificate, CERTIFICATE_SIZE_MAX, CertificateError};
use super::document::{self, KEY_FIELD_SIZE, NUMBER_FIELD_SIZE_MAX, Statement};
use super::ids::{AgentId, ID_LEN, MachineId, UserId};
use super::keys::{AgentKey, Domain, verify};
use super::revocation::{ProvenRevocation, RevocationError, RevocationSet};
use crate::crypto::hash::{HASH_LEN, blake3};
use crate::crypto::signature::VerifyingKey;
use crate::support::BoundedMap;
use crate::wire::{DecodeError, Versioned};

/// The greatest size of a binding in bytes.
pub const BINDING_SIZE_MAX: usize = document::size_max::<BindingBody>();

/// How long a node makes its bindings valid.
pub const BINDING_VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a binding may be valid at most.
pub const BINDING_VALIDITY_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How many bindings a verifier remembers to have good signatures, unless configured otherwise.
pub const VERIFIED_BINDINGS_MAX: usize = 1024;

/// A span of time, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// The first second.
    pub not_before: u64,
    /// The last second, later than the first.
    pub not_after: u64,
}

impl Validity {
    /// Returns the span of [`BINDING_VALIDITY`] that starts at `unix_time`.
    pub fn starting_at(unix_time: Duration) -> Self {
        let not_before = unix_time.as_secs();
        Self { not_before, not_after: not_before.saturating_add(BINDING_VALIDITY.as_secs()) }
    }

    /// Returns how long it is, or `None` if it ends before it starts.
    fn length(self) -> Option<Duration> {
        let seconds = self.not_after.checked_sub(self.not_before)?;
        (seconds > 0).then_some(Duration::from_secs(seconds))
    }
}

/// What the agent states.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BindingBody {
    /// The key that signs.
    pub(super) agent_key: VerifyingKey,
    /// The machine on which the agent lives.
    machine: MachineId,
    /// When the binding holds.
    validity: Validity,
    /// Its place among the agent's bindings.
    sequence: u64,
    /// The word of the agent's user.
    pub(super) certificate: Option<AgentCertificate>,
}

impl Versioned for BindingBody {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize =
        1 + KEY_FIELD_SIZE + ID_LEN + 3 * NUMBER_FIELD_SIZE_MAX + 1 + 2 + CERTIFICATE_SIZE_MAX;
}

impl Statement for BindingBody {
    const DOMAIN: Domain = Domain::AgentBinding;
}

/// A binding that this node made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentBinding {
    bytes: Bytes,
}

impl AgentBinding {
    /// States that the agent lives on the machine. See [`AgentKey::sign`] for the randomness.
    ///
    /// A certificate that does not hold for the agent makes a binding that nobody accepts: check
    /// it first, with [`AgentCertificate::verify`].
    ///
    /// # Panics
    ///
    /// If the validity is empty or longer than [`BINDING_VALIDITY_MAX`].
    pub fn issue(
        agent: &AgentKey,
        machine: MachineId,
        validity: Validity,
        sequence: u64,
        certificate: Option<AgentCertificate>,
        randomness: &[u8; 32],
    ) -> Self {
        let length = validity.length().expect("a binding is valid for some time");
        assert!(length <= BINDING_VALIDITY_MAX, "a binding of {} s", length.as_secs());
        let agent_key = agent.public().clone();
        let body = BindingBody { agent_key, machine, validity, sequence, certificate };
        let bytes = document::seal(&body, |domain, record| agent.sign(domain, record, randomness));
        Self { bytes }
    }

    /// Returns the bytes that go over the network.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Why a binding proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// The bytes are not the one form of a binding.
    #[error("the binding cannot be read: {0}")]
    Malformed(DecodeError),
    /// It is for another machine.
    #[error("the binding is for machine {}", found.short())]
    WrongMachine {
        /// The machine that it is for.
        found: MachineId,
    },
    /// It is valid for longer than allowed.
    #[error("the binding is valid for {seconds} s (at most {})", BINDING_VALIDITY_MAX.as_secs())]
    TooLong {
        /// For how long, in seconds.
        seconds: u64,
    },
    /// Its time has not come.
    #[error("the binding holds from second {not_before} only")]
    NotYetValid {
        /// When it does, in seconds since the Unix epoch.
        not_before: u64,
    },
    /// Its time is over.
    #[error("the binding expired at second {not_after}")]
    Expired {
        /// When it did, in seconds since the Unix epoch.
        not_after: u64,
    },
    /// The agent or its user withdrew it.
    #[error("the binding is revoked")]
    Revoked,
    /// The agent made a later one.
    #[error("the binding is older than one with sequence {known}")]
    Superseded {
        /// The least sequence that is acceptable.
        known: u64,
    },
    /// The certificate in it does not hold.
    #[error("the certificate of the binding does not hold: {0}")]
    BadCertificate(CertificateError),
    /// The agent did not sign it.
    #[error("the binding is not signed by its agent")]
    BadSignature,
}

/// An agent that proved to live on the machine at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenAgent {
    /// The agent.
    pub agent: AgentId,
    /// Its public key.
    pub key: VerifyingKey,
    /// The sequence of the binding.
    pub sequence: u64,
    /// The last second since the Unix epoch for which the binding and its certificate both hold.
    pub not_after: u64,
    /// The agent's user, if the binding carries a certificate.
    pub user: Option<UserId>,
}

/// Verifies bindings.
#[derive(Clone, Debug)]
pub struct BindingVerifier {
    /// The bindings whose signatures were found good, by the BLAKE3 hash of their bytes.
    verified: BoundedMap<[u8; HASH_LEN], BindingBody>,
    /// What is withdrawn.
    revocations: RevocationSet,
}

impl Default for BindingVerifier {
    fn default() -> Self {
        Self::new(VERIFIED_BINDINGS_MAX, RevocationSet::default())
    }
}

impl BindingVerifier {
    /// Makes a verifier that remembers at most `limit` bindings.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub fn new(limit: usize, revocations: RevocationSet) -> Self {
        Self { verified: BoundedMap::new(limit), revocations }
    }

    /// Checks that a binding proves an agent on this machine at this time.
    ///
    /// `sequence_min` tells, for an agent, the least sequence that is acceptable.
    ///
    /// # Errors
    ///
    /// A [`BindingError`] if the binding proves nothing.
    pub fn verify(
        &mut self,
        bytes: &[u8],
        machine: &MachineId,
        unix_time: Duration,
        sequence_min: impl Fn(&AgentId) -> u64,
    ) -> Result<ProvenAgent, BindingError> {
        let size_max = BINDING_SIZE_MAX;
        if bytes.len() > size_max {
            let error = DecodeError::TooLarge { size: bytes.len(), size_max };
            return Err(BindingError::Malformed(error));
        }
        let hash = blake3(bytes);
        if let Some(body) = self.verified.get_mut(&hash) {
            return body.check(machine, unix_time, &self.revocations, sequence_min);
        }
        let opened = document::open::<BindingBody>(bytes).map_err(BindingError::Malformed)?;
        let body = opened.statement;
        let proven = body.check(machine, unix_time, &self.revocations, sequence_min)?;
        verify(Domain::AgentBinding, &body.agent_key, opened.record, &opened.signature)
            .map_err(|_| BindingError::BadSignature)?;
        if let Some(certificate) = &body.certificate {
            certificate.check_signature().map_err(BindingError::BadCertificate)?;
        }
        self.verified.insert(hash, body);
        Ok(proven)
    }

    /// Takes account of a withdrawal; returns whether it was news.
    ///
    /// # Errors
    ///
    /// [`RevocationError::Full`] if there is no room for it.
    pub fn revoke(&mut self, revocation: &ProvenRevocation) -> Result<bool, RevocationError> {
        self.revocations.insert(revocation)
    }

    /// Returns what is known to be withdrawn.
    pub fn revocations(&self) -> &RevocationSet {
        &self.revocations
    }

    /// Returns how many bindings are remembered.
    pub fn remembered(&self) -> usize {
        self.verified.len()
    }
}

impl BindingBody {
    /// Checks everything but the signatures. The result is proven once they are good.
    fn check(
        &self,
        machine: &MachineId,
        unix_time: Duration,
        revocations: &RevocationSet,
        sequence_min: impl Fn(&AgentId) -> u64,
    ) -> Result<ProvenAgent, BindingError> {
        self.check_place_and_time(machine, unix_time)?;
        let agent = AgentId::of(&self.agent_key);
        let sequence = self.sequence;
        if revocations.revokes(&agent, sequence) {
            return Err(BindingError::Revoked);
        }
        let known = sequence_min(&agent);
        if sequence < known {
            return Err(BindingError::Superseded { known });
        }
        let mut not_after = self.validity.not_after;
        if let Some(certificate) = &self.certificate {
            certificate.check(&agent, unix_time).map_err(BindingError::BadCertificate)?;
            not_after = not_after.min(certificate.expires_at().unwrap_or(not_after));
        }
        let user = self.certificate.as_ref().map(AgentCertificate::user);
        Ok(ProvenAgent { agent, key: self.agent_key.clone(), sequence, not_after, user })
    }

    fn check_place_and_time(
        &self,
        machine: &MachineId,
        unix_time: Duration,
    ) -> Result<(), BindingError> {
        let Validity { not_before, not_after } = self.validity;
        let (seconds, skew) = (unix_time.as_secs(), CLOCK_SKEW_MAX.as_secs());
        let malformed = BindingError::Malformed(DecodeError::InvalidField);
        let length = self.validity.length().ok_or(malformed)?;
        if self.machine != *machine {
            return Err(BindingError::WrongMachine { found: self.machine });
        }
        if length > BINDING_VALIDITY_MAX {
            return Err(BindingError::TooLong { seconds: length.as_secs() });
        }
        if not_before > seconds.saturating_add(skew) {
            return Err(BindingError::NotYetValid { not_before });
        }
        if seconds > not_after.saturating_add(skew) {
            return Err(BindingError::Expired { not_after });
        }
        Ok(())
    }
}
