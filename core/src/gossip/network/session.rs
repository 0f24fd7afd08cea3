//! What gossip knows of one session: the keys that went over it, and how much its peer may still
//! ask of this node.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use crate::gossip::author::AuthorKey;
use crate::gossip::limits::{
    ANSWER_INTERVAL, ANSWERS_BURST, EVIDENCE_BURST, EVIDENCE_INTERVAL, KEYS_SENT_MAX,
    STRANGER_INTERVAL, STRANGERS_BURST, UNPROVEN_KEYS_MAX,
};
use crate::identity::AgentId;
use crate::overlay::TopicId;
use crate::support::{BoundedMap, TokenBucket};

/// A session with a peer.
#[derive(Debug)]
pub(in crate::gossip) struct Session {
    /// The authors whose keys the peer has.
    known_keys: BoundedMap<AgentId, ()>,
    /// Keys that the peer sent and under which no batch has verified, the oldest first.
    unproven_keys: VecDeque<AuthorKey>,
    /// The topics of which batches went over the session, in either direction.
    topics: BTreeSet<TopicId>,
    /// Limits the answers to the peer's key requests.
    answers: TokenBucket,
    /// Limits the evidence of the peer that is checked.
    evidence: TokenBucket,
    /// Limits the authors that the peer introduces.
    strangers: TokenBucket,
    /// Whether the peer violated the protocol, so that its session is about to end.
    is_closing: bool,
}

impl Session {
    pub(in crate::gossip) fn new(now: Instant) -> Self {
        Self {
            known_keys: BoundedMap::new(KEYS_SENT_MAX),
            unproven_keys: VecDeque::new(),
            topics: BTreeSet::new(),
            answers: TokenBucket::new(ANSWERS_BURST, ANSWER_INTERVAL, now),
            evidence: TokenBucket::new(EVIDENCE_BURST, EVIDENCE_INTERVAL, now),
            strangers: TokenBucket::new(STRANGERS_BURST, STRANGER_INTERVAL, now),
            is_closing: false,
        }
    }

    /// Returns whether the peer may lack the key of an author.
    pub(in crate::gossip) fn lacks_key(&self, author: &AgentId) -> bool {
        self.known_keys.peek(author).is_none()
    }

    /// Notes that the peer has the key of an author. Returns whether more keys are known now: a
    /// full set replaces its oldest entry.
    pub(in crate::gossip) fn note_key(&mut self, author: AgentId) -> bool {
        let before = self.known_keys.len();
        self.known_keys.insert(author, ());
        self.known_keys.len() > before
    }

    /// Forgets which keys the peer has. They are sent again.
    pub(in crate::gossip) fn forget_known_keys(&mut self) {
        self.known_keys = BoundedMap::new(KEYS_SENT_MAX);
    }

    /// Returns how many authors' keys the peer is known to have.
    pub(in crate::gossip) fn known_keys_len(&self) -> usize {
        self.known_keys.len()
    }

    /// Keeps a key that the peer sent until a batch verifies under it. The oldest one makes room.
    pub(in crate::gossip) fn keep_unproven(&mut self, key: AuthorKey) {
        if !self.unproven_keys.iter().any(|kept| kept.id() == key.id()) {
            if self.unproven_keys.len() >= UNPROVEN_KEYS_MAX {
                self.unproven_keys.pop_front();
            }
            self.unproven_keys.push_back(key);
        }
    }

    /// Returns an unproven key that the peer sent.
    pub(in crate::gossip) fn unproven(&self, author: &AgentId) -> Option<&AuthorKey> {
        self.unproven_keys.iter().find(|key| key.id() == *author)
    }

    /// Drops an unproven key, once it is proven.
    pub(in crate::gossip) fn forget_unproven(&mut self, author: &AgentId) {
        self.unproven_keys.retain(|key| key.id() != *author);
    }

    /// Notes that a batch of a topic went over the session.
    pub(in crate::gossip) fn note_topic(&mut self, topic: TopicId) {
        self.topics.insert(topic);
    }

    /// Forgets a topic that the node left.
    pub(in crate::gossip) fn forget_topic(&mut self, topic: &TopicId) {
        self.topics.remove(topic);
    }

    /// Returns whether batches of a topic went over the session.
    pub(in crate::gossip) fn has_topic(&self, topic: &TopicId) -> bool {
        self.topics.contains(topic)
    }

    /// Returns whether one more key request of the peer may be answered, and counts it.
    pub(in crate::gossip) fn take_answer(&mut self, now: Instant) -> bool {
        self.answers.take(now)
    }

    /// Returns whether one more piece of evidence of the peer may be checked, and counts it.
    pub(in crate::gossip) fn take_evidence(&mut self, now: Instant) -> bool {
        self.evidence.take(now)
    }

    /// Returns whether the peer may introduce one more author, and counts it.
    pub(in crate::gossip) fn take_stranger(&mut self, now: Instant) -> bool {
        self.strangers.take(now)
    }

    /// Returns whether the session is about to end because the peer violated the protocol.
    pub(in crate::gossip) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Marks the session as about to end. Returns whether it was not marked before.
    pub(in crate::gossip) fn begin_closing(&mut self) -> bool {
        !std::mem::replace(&mut self.is_closing, true)
    }
}
