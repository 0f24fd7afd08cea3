//! The keys under which batches verified.
//!
//! A batch names its author by the hash of the key. Keys that have not proven anything stay in a
//! few slots of the session that brought them. Anybody can make any number of keys, and those must
//! not evict proven ones.

use crate::gossip::author::AuthorKey;
use crate::gossip::limits::AUTHOR_KEYS_MAX;
use crate::identity::AgentId;
use crate::support::BoundedMap;

/// The node's own key and at most [`AUTHOR_KEYS_MAX`] proven keys of others. The least recently used
/// one is evicted.
#[derive(Debug)]
pub(super) struct AuthorKeys {
    own: AuthorKey,
    proven: BoundedMap<AgentId, AuthorKey>,
}

impl AuthorKeys {
    /// Makes a set with the node's own key.
    pub(super) fn new(own: AuthorKey) -> Self {
        Self { own, proven: BoundedMap::new(AUTHOR_KEYS_MAX) }
    }

    /// Returns the id of the node's own agent.
    pub(super) fn own_id(&self) -> AgentId {
        self.own.id()
    }

    /// Returns a proven key and marks it as used.
    pub(super) fn get(&mut self, author: &AgentId) -> Option<&AuthorKey> {
        if *author == self.own.id() {
            return Some(&self.own);
        }
        self.proven.get_mut(author).map(|key| &*key)
    }

    /// Returns a proven key without marking it as used.
    pub(super) fn peek(&self, author: &AgentId) -> Option<&AuthorKey> {
        if *author == self.own.id() { Some(&self.own) } else { self.proven.peek(author) }
    }

    /// Keeps a key under which a batch verified.
    pub(super) fn insert(&mut self, key: AuthorKey) {
        if key.id() != self.own.id() {
            self.proven.insert(key.id(), key);
        }
    }
}
