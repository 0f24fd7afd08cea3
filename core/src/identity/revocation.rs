//! Revocations: an agent withdraws some of its bindings, or itself, for good.
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

use super::document::{self, KEY_FIELD_SIZE, NUMBER_FIELD_SIZE_MAX, Statement};
use super::ids::AgentId;
use super::keys::{AgentKey, Domain, verify};
use crate::crypto::signature::{SIGNATURE_LEN, Signature, VerifyingKey};
use crate::wire::{DecodeError, Versioned};

/// The greatest size of a revocation in bytes.
pub const REVOCATION_SIZE_MAX: usize = document::size_max::<RevocationBody>();

/// Of how many agents a set holds revocations, unless it is told otherwise.
pub const REVOCATIONS_MAX: usize = 4096;

/// What is withdrawn. The later variant is the stronger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RevocationKind {
    /// All bindings whose sequence is less than this.
    BindingsBelow(u64),
    /// The agent: it has no valid binding ever again.
    Agent,
}

/// What the agent states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RevocationBody {
    /// The key that signs.
    agent_key: VerifyingKey,
    /// What it withdraws.
    kind: RevocationKind,
    /// When, in seconds since the Unix epoch.
    issued_at: u64,
}

impl Versioned for RevocationBody {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 1 + KEY_FIELD_SIZE + 1 + 2 * NUMBER_FIELD_SIZE_MAX;
}

impl Statement for RevocationBody {
    const DOMAIN: Domain = Domain::Revocation;
}

/// Why a revocation is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// The agent did not sign it.
    #[error("the revocation is not signed by its agent")]
    BadSignature,
    /// The set is full.
    #[error("revocations of {limit} agents are known already")]
    Full {
        /// How many agents the set has room for.
        limit: usize,
    },
}

/// An agent's withdrawal, parsed and not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    body: RevocationBody,
    signature: Signature,
    bytes: Bytes,
}

impl Revocation {
    /// Withdraws what `kind` says, at the second `issued_at` since the Unix epoch. See
    /// [`AgentKey::sign`] for the randomness.
    pub fn issue(
        agent: &AgentKey,
        kind: RevocationKind,
        issued_at: u64,
        randomness: &[u8; 32],
    ) -> Self {
        let body = RevocationBody { agent_key: agent.public().clone(), kind, issued_at };
        let bytes = document::seal(&body, |domain, record| agent.sign(domain, record, randomness));
        Self::parse(&bytes).expect("a revocation that was made can be parsed")
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

    /// Checks that the agent signed it.
    ///
    /// # Errors
    ///
    /// [`RevocationError::BadSignature`] if it did not.
    pub fn verify(&self) -> Result<ProvenRevocation, RevocationError> {
        let record = &self.bytes[..self.bytes.len() - SIGNATURE_LEN];
        verify(Domain::Revocation, &self.body.agent_key, record, &self.signature)
            .map_err(|_| RevocationError::BadSignature)?;
        let RevocationBody { kind, issued_at, .. } = self.body;
        Ok(ProvenRevocation { agent: self.agent(), kind, issued_at })
    }

    /// Returns the bytes that go over the network.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the agent that is claimed to have issued it.
    pub fn agent(&self) -> AgentId {
        AgentId::of(&self.body.agent_key)
    }
}

/// A withdrawal that the agent signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenRevocation {
    agent: AgentId,
    kind: RevocationKind,
    issued_at: u64,
}

impl ProvenRevocation {
    /// Returns the agent.
    pub fn agent(&self) -> AgentId {
        self.agent
    }

    /// Returns what it withdrew.
    pub fn kind(&self) -> RevocationKind {
        self.kind
    }

    /// Returns when it says that it did so, in seconds since the Unix epoch.
    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }
}

/// What is known to be withdrawn.
#[derive(Clone, Debug)]
pub struct RevocationSet {
    /// The strongest withdrawal of each agent.
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

    /// Adds a withdrawal; tells whether the set knows more than before.
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

    /// Tells whether a binding of the agent with this sequence is withdrawn.
    pub fn revokes(&self, agent: &AgentId, sequence: u64) -> bool {
        match self.kinds.get(agent) {
            Some(&RevocationKind::BindingsBelow(bound)) => sequence < bound,
            Some(RevocationKind::Agent) => true,
            None => false,
        }
    }

    /// Returns how many agents withdrew something.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Tells whether none did.
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
        ProvenRevocation { agent: AgentId(id), kind, issued_at: 0 }
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
