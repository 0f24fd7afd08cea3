//! The public key of an author, with the agent id that it hashes to.

use crate::crypto::signature::VerifyingKey;
use crate::identity::AgentId;

/// The key of an author, with its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorKey {
    id: AgentId,
    key: VerifyingKey,
}

impl AuthorKey {
    /// Takes a key and hashes it once.
    pub fn new(key: VerifyingKey) -> Self {
        Self { id: AgentId::of(&key), key }
    }

    /// Returns the id of the agent whose key this is.
    pub fn id(&self) -> AgentId {
        self.id
    }

    /// Returns the key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }
}
