//! Keys of authors, batches that wait for one, and what each session knows.
//!
//! A batch names its author by the hash of the key. A node keeps the keys under which a batch
//! verified, and forgets the one that was used least recently. Keys that came and have not proven
//! anything are kept in a few slots of the peer that sent them, so strangers, who can make as many
//! keys as they like, cannot crowd out proven ones.

use std::collections::VecDeque;
use std::time::Instant;

use super::author::AuthorKey;
use super::batch::Batch;
use super::limits::{
    AUTHOR_KEYS_MAX, PARKED_BYTES_MAX, PARKED_COST, PARKED_PEER_BATCHES_MAX, PARKED_PEER_BYTES_MAX,
    PARKED_TIME,
};
use super::network::Session;
use crate::identity::AgentId;
use crate::overlay::Receipt;
use crate::support::BoundedMap;

/// A batch whose author's key is not known.
#[derive(Debug)]
pub(super) struct Parked<P> {
    pub(super) receipt: Receipt<P>,
    pub(super) batch: Batch,
    /// When it is given up.
    until: Instant,
}

/// What a batch that waits for a key counts.
pub(super) fn parked_cost(batch: &Batch) -> usize {
    batch.size() + PARKED_COST
}

/// The keys that a node knows, and what waits for others.
#[derive(Debug)]
pub(super) struct Keys<P> {
    /// The node's own.
    own: AuthorKey,
    /// The keys under which a batch verified.
    proven: BoundedMap<AgentId, AuthorKey>,
    /// What waits, the oldest first.
    parked: VecDeque<Parked<P>>,
    /// The size of what waits.
    parked_bytes: usize,
}

impl<P: Copy + Eq> Keys<P> {
    pub(super) fn new(own: AuthorKey) -> Self {
        let proven = BoundedMap::new(AUTHOR_KEYS_MAX);
        Self { own, proven, parked: VecDeque::new(), parked_bytes: 0 }
    }

    /// Returns a key that proved itself.
    pub(super) fn proven(&mut self, author: &AgentId) -> Option<&AuthorKey> {
        if *author == self.own.id() {
            return Some(&self.own);
        }
        self.proven.get_mut(author).map(|key| &*key)
    }

    /// Returns a key that proved itself, without marking it as used.
    pub(super) fn peek(&self, author: &AgentId) -> Option<&AuthorKey> {
        if *author == self.own.id() { Some(&self.own) } else { self.proven.peek(author) }
    }

    /// Notes that a batch verified under a key that a peer sent.
    pub(super) fn prove(&mut self, session: Option<&mut Session>, key: AuthorKey) {
        if let Some(session) = session {
            session.forget_unproven(&key.id());
        }
        if key.id() != self.own.id() {
            self.proven.insert(key.id(), key);
        }
    }

    /// Lets a batch wait for the key of its author. Tells whether the peer is to be asked for it,
    /// or gives the receipt back if too much waits, or the peer would have to be asked and cannot.
    pub(super) fn park(
        &mut self,
        now: Instant,
        receipt: Receipt<P>,
        batch: Batch,
        can_ask: bool,
    ) -> Result<bool, Receipt<P>> {
        let (peer, author) = (receipt.peer, batch.root().author);
        let (mut count, mut bytes, mut is_asked) = (0, batch.size(), false);
        for parked in self.parked.iter().filter(|parked| parked.receipt.peer == peer) {
            count += 1;
            bytes += parked.batch.size();
            is_asked |= parked.batch.root().author == author;
        }
        if !(is_asked || can_ask)
            || count >= PARKED_PEER_BATCHES_MAX
            || bytes > PARKED_PEER_BYTES_MAX
            || self.parked_bytes + batch.size() > PARKED_BYTES_MAX
        {
            return Err(receipt);
        }
        self.parked_bytes += batch.size();
        self.parked.push_back(Parked { receipt, batch, until: now + PARKED_TIME });
        Ok(!is_asked)
    }

    /// Takes what need not wait any longer: what `is_over` says, in the order in which it came.
    pub(super) fn take(&mut self, is_over: impl Fn(&Parked<P>) -> bool) -> Vec<Parked<P>> {
        if !self.parked.iter().any(&is_over) {
            return Vec::new();
        }
        let parked = std::mem::take(&mut self.parked);
        let (over, parked) = parked.into_iter().partition::<VecDeque<_>, _>(is_over);
        self.parked = parked;
        self.parked_bytes -= over.iter().map(|parked| parked.batch.size()).sum::<usize>();
        over.into()
    }

    /// Takes what waited for too long.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<Parked<P>> {
        self.take(|parked| parked.until <= now)
    }

    /// Returns how many batches wait.
    pub(super) fn parked_len(&self) -> usize {
        self.parked.len()
    }

    /// Returns when the next batch has waited for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.parked.front().map(|parked| parked.until)
    }
}
