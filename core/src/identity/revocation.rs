//! Revocations: an agent's bindings, or the agent itself, are withdrawn for good.
//!
//! The agent signs a revocation, or the user who certified it does, so that a user whose agent was
//! stolen can end it. Anyone can certify any agent, so the word of a user counts only with the
//! agent's consent: the revocation of a user contains a binding by which the agent presented the
//! user's certificate. When the two hold does not matter; an agent that ever presented a
//! certificate lets its issuer revoke it for ever.
//!
//! A [`Revocation`] is parsed and not verified; [`Revocation::verify`] makes a
//! [`ProvenRevocation`] of it, and only that enters a [`RevocationSet`]. Revocations never expire
//! and their order does not matter: of two, the stronger holds.
//!
//! # Limits
//!
//! A full set refuses revocations of further agents and forgets none. Anyone can make agents and
//! revoke them, so the owner should offer it revocations only of agents that matter to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::binding::BINDING_SIZE_MAX;
use super::consent::Consent;
use super::document::{self, NUMBER_FIELD_SIZE_MAX, Statement};
use super::ids::{AgentId, UserId};
use super::keys::{AgentKey, Domain, UserKey, verify};
use crate::crypto::signature::{SIGNATURE_LEN, Signature, VerifyingKey};
use crate::wire::{DecodeError, Versioned};

/// The greatest size of a revocation in bytes.
pub const REVOCATION_SIZE_MAX: usize = document::size_max::<RevocationBody>();

/// Of how many agents a set holds revocations, unless configured otherwise.
pub const REVOCATIONS_MAX: usize = 4096;

/// What is withdrawn. The later variant is the stronger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RevocationKind {
    /// All bindings whose sequence is less than this.
    BindingsBelow(u64),
    /// The agent: it has no valid binding ever again.
    Agent,
}

/// Who signs.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Authority {
    /// The agent, with this key.
    Agent(VerifyingKey),
    /// The user whose certificate is in this binding of the agent.
    User(Consent),
}

/// What is stated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RevocationBody {
    /// Who signs.
    authority: Authority,
    /// What is withdrawn.
    kind: RevocationKind,
    /// When, in seconds since the Unix epoch.
    issued_at: u64,
}

impl Versioned for RevocationBody {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 1 + 1 + 2 + BINDING_SIZE_MAX + 1 + 2 * NUMBER_FIELD_SIZE_MAX;
}

impl Statement for RevocationBody {
    const DOMAIN: Domain = Domain::Revocation;
}

/// Why a revocation is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// The issuer that it names did not sign it.
    #[error("the revocation is not signed by its agent or user")]
    BadSignature,
    /// The binding in it does not prove that the agent presented the user's certificate.
    #[error("the revocation does not prove that its user certified the agent")]
    NoConsent,
    /// The set is full.
    #[error("revocations of {limit} agents are known already")]
    Full {
        /// How many agents the set has room for.
        limit: usize,
    },
}

/// A withdrawal, parsed and not verified.
#[derive(Clone, Debug)]
pub struct Revocation {
    body: RevocationBody,
    signature: Signature,
    bytes: Bytes,
}

impl Revocation {
    /// Withdraws what `kind` says for the agent, at the second `issued_at` since the Unix epoch.
    /// See [`AgentKey::sign`] for the randomness.
    pub fn issue(
        agent: &AgentKey,
        kind: RevocationKind,
        issued_at: u64,
        randomness: &[u8; 32],
    ) -> Self {
        let authority = Authority::Agent(agent.public().clone());
        let body = RevocationBody { authority, kind, issued_at };
        Self::seal(&body, |domain, record| agent.sign(domain, record, randomness))
    }

    /// As [`Self::issue`], for the user whose certificate is in `binding`, the bytes of any
    /// binding of the agent.
    ///
    /// # Errors
    ///
    /// [`RevocationError::NoConsent`] if there is no certificate of the user in the binding, or if
    /// it is not properly signed.
    pub fn issue_as_user(
        user: &UserKey,
        binding: &[u8],
        kind: RevocationKind,
        issued_at: u64,
        randomness: &[u8; 32],
    ) -> Result<Self, RevocationError> {
        let consent = Consent::parse(binding).map_err(|_| RevocationError::NoConsent)?;
        if consent.user_key() != user.public() || consent.verify().is_err() {
            return Err(RevocationError::NoConsent);
        }
        let body = RevocationBody { authority: Authority::User(consent), kind, issued_at };
        Ok(Self::seal(&body, |domain, record| user.sign(domain, record, randomness)))
    }

    /// Reads a revocation without believing it.
    ///
    /// # Errors
    ///
    /// If the bytes are not the one form of a revocation.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let opened = document::open::<RevocationBody>(bytes)?;
        let bytes = Bytes::copy_from_slice(bytes);
        Ok(Self { body: opened.statement, signature: opened.signature, bytes })
    }

    /// Checks that the agent signed it, or its user with the agent's consent.
    ///
    /// # Errors
    ///
    /// [`RevocationError::BadSignature`] or [`RevocationError::NoConsent`] if not.
    pub fn verify(&self) -> Result<ProvenRevocation, RevocationError> {
        let record = &self.bytes[..self.bytes.len() - SIGNATURE_LEN];
        let signer = match &self.body.authority {
            Authority::Agent(key) => key,
            Authority::User(consent) => consent.user_key(),
        };
        verify(Domain::Revocation, signer, record, &self.signature)
            .map_err(|_| RevocationError::BadSignature)?;
        if let Authority::User(consent) = &self.body.authority {
            consent.verify().map_err(|_| RevocationError::NoConsent)?;
        }
        let RevocationBody { kind, issued_at, .. } = self.body;
        Ok(ProvenRevocation { agent: self.agent(), user: self.user(), kind, issued_at })
    }

    /// Returns the bytes that go over the network.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the agent that is claimed to be concerned.
    pub fn agent(&self) -> AgentId {
        match &self.body.authority {
            Authority::Agent(key) => AgentId::of(key),
            Authority::User(consent) => AgentId::of(consent.agent_key()),
        }
    }

    /// Returns the user who is claimed to have issued it, unless it is the agent.
    pub fn user(&self) -> Option<UserId> {
        match &self.body.authority {
            Authority::Agent(_) => None,
            Authority::User(consent) => Some(UserId::of(consent.user_key())),
        }
    }

    fn seal(body: &RevocationBody, sign: impl FnOnce(Domain, &[u8]) -> Signature) -> Self {
        let bytes = document::seal(body, sign);
        Self::parse(&bytes).expect("a revocation that was made can be parsed")
    }
}

/// A withdrawal by the agent, or by its user with its consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenRevocation {
    agent: AgentId,
    user: Option<UserId>,
    kind: RevocationKind,
    issued_at: u64,
}

impl ProvenRevocation {
    /// Returns the agent.
    pub fn agent(&self) -> AgentId {
        self.agent
    }

    /// Returns the user who issued it, unless it is the agent.
    pub fn user(&self) -> Option<UserId> {
        self.user
    }

    /// Returns what is withdrawn.
    pub fn kind(&self) -> RevocationKind {
        self.kind
    }

    /// Returns when it says that it was issued, in seconds since the Unix epoch.
    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }
}

/// What is known to be withdrawn.
#[derive(Clone, Debug)]
pub struct RevocationSet {
    /// The strongest withdrawal for each agent.
    kinds: BTreeMap<AgentId, RevocationKind>,
    /// How many agents there may be.
    limit: usize,
}

impl Default for RevocationSet {
    fn default() -> Self {
        Self::with_limit(REVOCATIONS_MAX)
    }
}

impl RevocationSet {
    /// Makes an empty set for at most `limit` agents.
    pub fn with_limit(limit: usize) -> Self {
        Self { kinds: BTreeMap::new(), limit }
    }

    /// Adds a withdrawal; returns whether the set knows more than before.
    ///
    /// # Errors
    ///
    /// [`RevocationError::Full`] if the agent is new and there is no room for it.
    pub fn insert(&mut self, revocation: &ProvenRevocation) -> Result<bool, RevocationError> {
        let ProvenRevocation { agent, kind, .. } = *revocation;
        if let Some(known) = self.kinds.get_mut(&agent) {
            let stronger = kind > *known;
            *known = kind.max(*known);
            return Ok(stronger);
        }
        if self.kinds.len() >= self.limit {
            return Err(RevocationError::Full { limit: self.limit });
        }
        self.kinds.insert(agent, kind);
        Ok(true)
    }

    /// Returns whether a binding of the agent with this sequence is withdrawn.
    pub fn revokes(&self, agent: &AgentId, sequence: u64) -> bool {
        match self.kinds.get(agent) {
            Some(&RevocationKind::BindingsBelow(bound)) => sequence < bound,
            Some(RevocationKind::Agent) => true,
            None => false,
        }
    }

    /// Returns for how many agents something is withdrawn.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Returns whether nothing is withdrawn.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(number: u64, kind: RevocationKind) -> ProvenRevocation {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        ProvenRevocation { agent: AgentId(id), user: None, kind, issued_at: 0 }
    }

    #[test]
    fn a_full_set_refuses_new_agents_and_strengthens_known_ones() {
        let mut set = RevocationSet::default();
        let weak = RevocationKind::BindingsBelow(3);
        let count = u64::try_from(REVOCATIONS_MAX).unwrap();
        for number in 0..count {
            assert_eq!(set.insert(&proven(number, weak)), Ok(true));
        }
        let full = Err(RevocationError::Full { limit: REVOCATIONS_MAX });
        assert_eq!(set.insert(&proven(count, RevocationKind::Agent)), full);
        assert_eq!(set.insert(&proven(0, RevocationKind::Agent)), Ok(true));
        assert_eq!(set.len(), REVOCATIONS_MAX);
        assert!(set.revokes(&proven(0, weak).agent, u64::MAX));
    }

    #[test]
    fn of_two_revocations_the_stronger_holds_in_either_order() {
        let kinds = [3, 5].map(RevocationKind::BindingsBelow);
        for order in [[0, 1], [1, 0]] {
            let mut set = RevocationSet::default();
            let changed = order.map(|at| set.insert(&proven(1, kinds[at])).unwrap());
            assert_eq!(changed, [true, order == [0, 1]]);
            let agent = proven(1, kinds[0]).agent;
            assert_eq!([4, 5].map(|sequence| set.revokes(&agent, sequence)), [true, false]);
            assert!(!set.revokes(&proven(2, kinds[0]).agent, 0));
        }
    }
}
