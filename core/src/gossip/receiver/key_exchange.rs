//! How the keys of authors travel, and the batches that wait for one.
//!
//! A batch names its author by the hash of the key. The sender of a batch sends the key ahead of it,
//! once in each session. A node that lacks the key of a batch requests it from the sender and lets
//! the batch wait.
//!
//! # Limits
//!
//! Those of [`AuthorKeys`], [`ParkedBatches`] and the [`Session`]. What each peer counts against the
//! share of memory for ordering is returned by [`KeyExchange::held`].

use std::time::Instant;

use super::keys::AuthorKeys;
use super::parked::{Parked, ParkedBatches, parked_cost};
use crate::gossip::author::AuthorKey;
use crate::gossip::batch::Batch;
use crate::gossip::limits::KNOWN_KEY_COST;
use crate::gossip::network::{Network, Session};
use crate::gossip::{Context, Counter};
use crate::identity::AgentId;
use crate::overlay::Receipt;
use crate::session::Peer;
use crate::support::{Deadline, Shares};

/// The keys of authors, and the batches that wait for one.
#[derive(Debug)]
pub(super) struct KeyExchange<P> {
    keys: AuthorKeys,
    parked: ParkedBatches<P>,
    /// What each peer counts: its parked batches, and the keys that it is known to have.
    held: Shares<P>,
}

impl<P: Peer> KeyExchange<P> {
    /// Makes an exchange that knows the node's own key.
    pub(super) fn new(own: AuthorKey) -> Self {
        let (keys, parked) = (AuthorKeys::new(own), ParkedBatches::new());
        Self { keys, parked, held: Shares::default() }
    }

    /// Returns the id of the node's own agent.
    pub(super) fn own_id(&self) -> AgentId {
        self.keys.own_id()
    }

    /// Returns a proven key, without marking it as used.
    pub(super) fn proven(&self, author: &AgentId) -> Option<&AuthorKey> {
        self.keys.peek(author)
    }

    /// Returns a proven key, or an unproven one that came over the session.
    pub(super) fn find(
        &mut self,
        session: Option<&Session>,
        author: &AgentId,
    ) -> Option<AuthorKey> {
        self.keys.get(author).or_else(|| session?.unproven(author)).cloned()
    }

    /// Notes that a batch verified under a key that came over the session.
    pub(super) fn prove(&mut self, session: Option<&mut Session>, key: &AuthorKey) {
        if self.keys.get(&key.id()).is_none() {
            if let Some(session) = session {
                session.forget_unproven(&key.id());
            }
            self.keys.insert(key.clone());
        }
    }

    /// Sends the key of an author ahead of a batch, if it is proven.
    pub(super) fn send_key(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        peer: P,
        author: AgentId,
    ) {
        if let Some(key) = self.keys.get(&author) {
            network.send_key(context, peer, key);
            self.note_key(network, peer, author);
        }
    }

    /// Answers a key request, as often as its sender may ask and while its send window is open.
    pub(super) fn answer(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        peer: P,
        author: AgentId,
    ) {
        let Some(session) = network.session_mut(&peer) else { return };
        let key = self.keys.get(&author).filter(|_| session.take_answer(context.now));
        if key.is_some_and(|key| network.try_send_key(context, peer, key)) {
            self.note_key(network, peer, author);
        } else {
            context.count(Counter::KeysRefused);
        }
    }

    /// Takes a key that a peer sent. Returns the batches that waited for it, the oldest first.
    pub(super) fn learn(
        &mut self,
        network: &mut Network<P>,
        peer: P,
        key: &AuthorKey,
    ) -> Vec<Parked<P>> {
        self.note_key(network, peer, key.id());
        if self.keys.get(&key.id()).is_none()
            && let Some(session) = network.session_mut(&peer)
        {
            session.keep_unproven(key.clone());
        }
        self.take(|parked| parked.batch.root().author == key.id())
    }

    /// Lets a batch wait for the key of its author, which is requested from the batch's sender
    /// unless it was.
    ///
    /// # Errors
    ///
    /// The receipt, if too much waits, or if the key cannot be requested.
    pub(super) fn park(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        receipt: Receipt<P>,
        batch: Batch,
    ) -> Result<(), Receipt<P>> {
        let (peer, author) = (receipt.peer, batch.root().author);
        let cost = parked_cost(&batch);
        let can_request = network.can_send(&peer);
        let must_request = self.parked.park(context.now, receipt, batch, can_request)?;
        self.held.add(peer, cost);
        if must_request {
            context.count(Counter::KeysAsked);
            network.request_key(context, peer, &author);
        }
        Ok(())
    }

    /// Takes the batches that have waited for too long.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Parked<P>> {
        self.take(|parked| parked.is_expired(now))
    }

    /// Takes the batches of a peer and forgets which keys it has. They are sent again.
    pub(super) fn release_peer(&mut self, network: &mut Network<P>, peer: P) -> Vec<Parked<P>> {
        let parked = self.take(|parked| parked.receipt.peer == peer);
        if let Some(session) = network.session_mut(&peer) {
            session.forget_known_keys();
        }
        self.held.set(peer, 0);
        parked
    }

    /// Returns how many batches wait.
    pub(super) fn parked_len(&self) -> usize {
        self.parked.len()
    }

    /// Returns what all peers count, in bytes.
    pub(super) fn held(&self) -> usize {
        self.held.total()
    }

    /// Returns the peer that counts the most, with what it counts.
    pub(super) fn largest(&self) -> Option<(usize, P)> {
        self.held.largest().map(|&peer| (self.held.of(&peer), peer))
    }

    /// Returns when [`Self::take_expired`] has something to take.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.parked.deadline().map(|at| Deadline { at, timer: "key" })
    }

    fn take(&mut self, matches: impl Fn(&Parked<P>) -> bool) -> Vec<Parked<P>> {
        let taken = self.parked.take(matches);
        for parked in &taken {
            self.held.sub(parked.receipt.peer, parked.cost());
        }
        taken
    }

    /// Notes that a peer has the key of an author.
    fn note_key(&mut self, network: &mut Network<P>, peer: P, author: AgentId) {
        if network.session_mut(&peer).is_some_and(|session| session.note_key(author)) {
            self.held.add(peer, KNOWN_KEY_COST);
        }
    }
}
