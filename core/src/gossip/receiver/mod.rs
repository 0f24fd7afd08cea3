//! The receiver's half: a batch is verified, forwarded, and delivered in its turn.
//!
//! ```text
//! well formed? → not too old? → new? → key → author known, or may be introduced? → signature
//!     → not in the future? → author not an equivocator? → consistent with what it signed before?
//!     → overlay (to others) → reorder buffer → delivered
//! ```
//!
//! The cheap checks come first. A peer can cost one signature check for each forged batch, after
//! which its session ends.
//!
//! # How it is driven
//!
//! [`Receiver::receive`] for each batch from the overlay, [`Receiver::receive_key`] and
//! [`Receiver::receive_evidence`] for the frames of gossip itself, [`Receiver::handle_timeout`] at
//! [`Receiver::deadline`], and [`Receiver::enforce_budget`] after each input. What is wanted of
//! peers goes through the [`Network`]; events go to the context.
//!
//! # Invariants
//!
//! - A batch is neither delivered nor forwarded before the signature of its author was checked.
//! - Only batches that their authors signed count as seen. Others cost nothing to make, and would
//!   evict what is known.
//! - An author that equivocates in a topic is reported once, and no longer accepted there.
//! - Every receipt from the overlay is answered by accept or reject.
//!
//! # Limits
//!
//! [`EQUIVOCATORS_MAX`], and those of [`KeyExchange`] and [`Topics`]. What these two hold counts against
//! the node's share of memory for ordering. While that is exceeded, the author or peer that holds
//! the most is evicted.

mod author;
mod key_exchange;
mod keys;
mod parked;
mod reorder;
mod seen;
mod topic;
mod topics;
mod watermarks;

use std::time::{Duration, Instant};

use bytes::Bytes;

use key_exchange::KeyExchange;
use parked::Parked;
#[cfg(test)]
pub(super) use reorder::{ResumePoint, StreamPosition};
use seen::Relation;
use topic::TopicState;
use topics::{Subject, Topics};
#[cfg(test)]
pub(super) use watermarks::{DeliveryWatermarks, Watermark};

use super::author::AuthorKey;
use super::batch::{Batch, VerifiedBatch};
use super::limits::{AGE_MAX, EQUIVOCATORS_MAX};
use super::network::{Network, Session};
use super::publisher::OwnStreams;
use super::time::millis;
use super::{Context, Counter, Event, Output, Topic, evidence};
use crate::identity::{AgentId, CLOCK_SKEW_MAX};
use crate::overlay::{Fault, ItemId, Receipt, TopicId};
use crate::session::Peer;
use crate::support::{BoundedMap, Deadline};

/// What this node receives.
#[derive(Debug)]
pub(super) struct Receiver<P> {
    keys: KeyExchange<P>,
    topics: Topics<P>,
    /// The authors that equivocated in a topic.
    equivocators: BoundedMap<Subject, ()>,
    /// The share of memory for ordering, in bytes.
    held_max: usize,
}

/// The author or peer that holds the most of the share of memory for ordering.
enum Holder<P> {
    Author(Subject),
    Peer(P),
}

impl<P: Peer> Receiver<P> {
    /// Makes the half of a node that is in no topic. `held_max` is its share of memory for
    /// ordering, in bytes.
    pub(super) fn new(own: AuthorKey, held_max: usize) -> Self {
        Self {
            keys: KeyExchange::new(own),
            topics: Topics::new(),
            equivocators: BoundedMap::new(EQUIVOCATORS_MAX),
            held_max,
        }
    }

    // Topics.

    /// Enters a topic. Returns whether the node was not in it.
    pub(super) fn enter(&mut self, id: TopicId, name: &Topic) -> bool {
        self.topics.enter(id, name)
    }

    /// Leaves a topic and forgets its authors.
    pub(super) fn leave(&mut self, id: TopicId) {
        self.topics.leave(id);
    }

    /// Begins to deliver the messages of a topic that the node is in. Returns whether it did not.
    pub(super) fn subscribe(&mut self, id: &TopicId, now: Instant, unix_time: Duration) -> bool {
        self.topics.subscribe(id, now, unix_time)
    }

    /// Ends the delivery of a topic.
    pub(super) fn unsubscribe(&mut self, context: &Context<'_, P>, id: TopicId) {
        self.topics.unsubscribe(context, id);
    }

    /// Returns a topic that the node is in.
    pub(super) fn topic(&self, id: &TopicId) -> Option<&TopicState<P>> {
        self.topics.get(id)
    }

    /// Returns the topics that the node is in, in the order of their ids.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&TopicId, &TopicState<P>)> {
        self.topics.iter()
    }

    /// Returns how many topics the node is in.
    pub(super) fn topics_len(&self) -> usize {
        self.topics.len()
    }

    // Batches.

    /// Handles a batch that the overlay received.
    pub(super) fn receive(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        streams: &mut OwnStreams,
        receipt: Receipt<P>,
        bytes: Bytes,
    ) {
        context.count(Counter::BatchesReceived);
        if let Some(session) = network.session_mut(&receipt.peer) {
            session.note_topic(receipt.topic);
        }
        match Batch::parse(bytes) {
            Ok(batch) if batch.root().topic == receipt.topic && batch.stamp() == receipt.stamp => {
                self.find_key(context, network, streams, receipt, batch);
            }
            Ok(_) | Err(_) => {
                let counter = Counter::BatchesForged;
                refuse(context, network, receipt, Fault::Forged, counter);
            }
        }
    }

    /// Handles a key that a peer sent. Batches that wait for it are verified.
    pub(super) fn receive_key(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        streams: &mut OwnStreams,
        peer: P,
        key: &AuthorKey,
    ) {
        for Parked { receipt, batch, .. } in self.keys.learn(network, peer, key) {
            match self.precheck(context, &receipt, &batch) {
                Ok(()) => self.verify(context, network, streams, receipt, batch, key),
                Err(counter) => refuse(context, network, receipt, Fault::Unwanted, counter),
            }
        }
    }

    /// Delivers a batch that this node published, if the topic is subscribed to.
    pub(super) fn deliver_own(&self, context: &mut Context<'_, P>, batch: &VerifiedBatch) {
        self.topics.deliver_own(context, batch);
    }

    /// Ends the delivery of an earlier run of this node's agent, before a stream of this run begins:
    /// what was received of the earlier run is delivered before what this run publishes, or never.
    pub(super) fn finish_own_stream(&mut self, context: &mut Context<'_, P>, topic: TopicId) {
        self.topics.finish_stream(context, (topic, self.keys.own_id()));
    }

    /// Blocks or unblocks an agent.
    pub(super) fn set_blocked(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        agent: AgentId,
        is_blocked: bool,
    ) {
        self.topics.set_blocked(context, network, agent, is_blocked);
    }

    // Keys.

    /// Returns a proven key.
    pub(super) fn proven_key(&self, author: &AgentId) -> Option<&AuthorKey> {
        self.keys.proven(author)
    }

    /// Sends the key of an author ahead of a batch, if it is proven.
    pub(super) fn send_key(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        peer: P,
        author: AgentId,
    ) {
        self.keys.send_key(context, network, peer, author);
    }

    /// Answers a key request, as often as its sender may ask and while its send window is open.
    pub(super) fn answer_key_request(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        peer: P,
        author: AgentId,
    ) {
        self.keys.answer(context, network, peer, author);
    }

    // Equivocation.

    /// Handles evidence that a peer sent.
    pub(super) fn receive_evidence(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        peer: P,
        bytes: &Bytes,
    ) {
        let Some(session) = network.session_mut(&peer) else { return };
        let proven = match evidence::Parsed::parse(bytes) {
            Ok(parsed) => {
                let subject = parsed.subject();
                if self.topics.get(&subject.0).is_none()
                    || self.equivocators.peek(&subject).is_some()
                    || !session.take_evidence(context.now)
                {
                    return context.count(Counter::EvidenceIgnored);
                }
                parsed.verify()
            }
            Err(error) => Err(error),
        };
        match proven {
            Ok(proven) => {
                let subject = (proven.topic, proven.author);
                self.report_equivocation(context, network, subject, bytes, Some(peer));
            }
            Err(_) => network.ban(context, peer, "evidence proves nothing"),
        }
    }

    // Time, sessions and memory.

    /// Returns when [`Self::handle_timeout`] has something to do.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let deadlines = [self.topics.deadline(), self.keys.deadline()];
        deadlines.into_iter().flatten().min_by_key(|deadline| deadline.at)
    }

    /// Handles the first timer that is due at `at`: of a gap, then of a key. Returns whether there
    /// was one.
    pub(super) fn handle_timeout(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        at: Instant,
    ) -> bool {
        if self.topics.handle_timeout(context, network, at) {
            return true;
        }
        let is_due = self.keys.deadline().is_some_and(|deadline| deadline.at <= at);
        if is_due {
            give_up(context, network, self.keys.take_expired(context.now));
        }
        is_due
    }

    /// Evicts silent authors, now and then.
    pub(super) fn sweep(&mut self, context: &mut Context<'_, P>) {
        self.topics.sweep(context);
    }

    /// Handles that the wall clock was set.
    pub(super) fn clock_was_set(&mut self, unix_time: Duration) {
        self.topics.clock_was_set(millis(unix_time));
    }

    /// Refuses what a peer has waiting and forgets which keys it has. They are sent again.
    pub(super) fn release_peer(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        peer: P,
    ) {
        let parked = self.keys.release_peer(network, peer);
        give_up(context, network, parked);
    }

    /// Keeps to the share of memory for ordering: while it is exceeded, the largest holder is
    /// evicted. Returns whether anything was.
    pub(super) fn enforce_budget(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
    ) -> bool {
        let is_over = self.held() > self.held_max;
        while self.held() > self.held_max
            && let Some(holder) = self.largest_holder()
        {
            context.count(Counter::HoldersOverBudget);
            match holder {
                Holder::Author(subject) => self.topics.evict(context, subject),
                Holder::Peer(peer) => self.release_peer(context, network, peer),
            }
        }
        is_over
    }

    /// Returns what counts against the share of memory for ordering, in bytes.
    pub(super) fn held(&self) -> usize {
        self.topics.held() + self.keys.held()
    }

    /// Returns how many authors are known, counted once for each topic.
    pub(super) fn authors_len(&self) -> usize {
        self.topics.authors_len()
    }

    /// Returns how many bytes of batches wait for earlier ones.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.topics.waiting_bytes()
    }

    /// Returns how many batches wait for a key.
    pub(super) fn parked_len(&self) -> usize {
        self.keys.parked_len()
    }

    /// The topics, for tests.
    #[cfg(test)]
    pub(super) fn topics_mut(&mut self) -> &mut Topics<P> {
        &mut self.topics
    }

    /// Finds the key of a batch, or lets the batch wait for it.
    fn find_key(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        streams: &mut OwnStreams,
        receipt: Receipt<P>,
        batch: Batch,
    ) {
        if let Err(counter) = self.precheck(context, &receipt, &batch) {
            return refuse(context, network, receipt, Fault::Unwanted, counter);
        }
        let (peer, author) = (receipt.peer, batch.root().author);
        if let Some(key) = self.keys.find(network.session(&peer), &author) {
            return self.verify(context, network, streams, receipt, batch, &key);
        }
        if let Err(receipt) = self.keys.park(context, network, receipt, batch) {
            let counter = Counter::BatchesWithoutKey;
            refuse(context, network, receipt, Fault::Unchecked, counter);
        }
    }

    /// The checks that cost nothing. A batch that is refused here is too old to be noted as seen, or
    /// was verified before.
    ///
    /// # Errors
    ///
    /// The counter of the reason.
    fn precheck(
        &self,
        context: &Context<'_, P>,
        receipt: &Receipt<P>,
        batch: &Batch,
    ) -> Result<(), Counter> {
        let oldest = millis(context.unix_time.saturating_sub(AGE_MAX));
        if self.topics.get(&receipt.topic).is_none() || batch.root().time < oldest {
            Err(Counter::BatchesUnwanted)
        } else if self.topics.has_seen(batch.root(), batch.hash()) {
            Err(Counter::BatchesDuplicate)
        } else {
            Ok(())
        }
    }

    /// Checks the signature of a batch, then lets the overlay forward it and delivers it in its
    /// turn.
    fn verify(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        streams: &mut OwnStreams,
        receipt: Receipt<P>,
        batch: Batch,
        key: &AuthorKey,
    ) {
        let (topic, author, peer) = (receipt.topic, batch.root().author, receipt.peer);
        if !self.may_introduce(context.now, network.session_mut(&peer), &(topic, author)) {
            let counter = Counter::StrangersOverLimit;
            return refuse(context, network, receipt, Fault::Unchecked, counter);
        }
        let Ok(batch) = batch.verify(key) else {
            let counter = Counter::BatchesForged;
            return refuse(context, network, receipt, Fault::Forged, counter);
        };
        self.keys.prove(network.session_mut(&peer), key);
        context.count(Counter::BatchesVerified);
        let (stream, count) = (batch.root().stream, batch.root().count);
        context.count_many(Counter::MessagesReceived, count.into());
        let is_own = author == self.keys.own_id();
        if is_own {
            streams.observe(&topic, stream);
        }
        let is_echo = is_own && streams.is_current(&topic, stream);
        if let Err(counter) = self.validate(context, network, key, &batch, is_echo) {
            return refuse(context, network, receipt, Fault::Unwanted, counter);
        }
        let (item, is_repair) = (batch.item(), receipt.is_repair);
        network.accept(context, receipt, item);
        let is_superseded = is_own && streams.is_superseded(&topic, stream);
        self.topics.enqueue(context, batch, is_repair, is_superseded);
        self.topics.deliver_ready(context, network, (topic, author), peer);
    }

    /// Returns whether the author of a batch is known in the topic, or its sender may introduce it.
    fn may_introduce(
        &self,
        now: Instant,
        session: Option<&mut Session>,
        subject: &Subject,
    ) -> bool {
        let is_known = self.topics.is_known(subject)
            || self.equivocators.peek(subject).is_some()
            || subject.1 == self.keys.own_id();
        is_known || session.is_none_or(|session| session.take_stranger(now))
    }

    /// Decides whether a batch that its author signed is accepted. `is_echo` says that this run
    /// signed it.
    ///
    /// # Errors
    ///
    /// The counter of the reason.
    fn validate(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        key: &AuthorKey,
        batch: &VerifiedBatch,
        is_echo: bool,
    ) -> Result<(), Counter> {
        let root = batch.root();
        let newest = millis(context.unix_time.saturating_add(CLOCK_SKEW_MAX));
        if root.time > newest || self.equivocators.peek(&(root.topic, root.author)).is_some() {
            return Err(Counter::BatchesUnwanted);
        }
        if is_echo {
            return Err(Counter::BatchesDuplicate);
        }
        match self.topics.relate(context, batch) {
            Relation::New => Ok(()),
            Relation::Known => Err(Counter::BatchesDuplicate),
            Relation::Excludes(other) => {
                self.prove_equivocation(context, network, key, batch, &other);
                Err(Counter::BatchesUnwanted)
            }
        }
    }

    /// Proves that an author equivocates, if the other batch is still kept.
    fn prove_equivocation(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        key: &AuthorKey,
        batch: &Batch,
        other: &ItemId,
    ) {
        let (topic, author) = (batch.root().topic, batch.root().author);
        let Some(other) = network.item(&topic, other) else { return };
        let Ok(other) = Batch::parse(other) else { return };
        if let Some(evidence) = evidence::prove(key, batch, &other) {
            self.report_equivocation(context, network, (topic, author), &evidence, None);
        }
    }

    /// Accepts no more batches of an author in a topic, and reports it to the application and to
    /// the peers in the topic.
    fn report_equivocation(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        subject: Subject,
        evidence: &Bytes,
        from: Option<P>,
    ) {
        let (id, author) = subject;
        let Some(topic) = self.topics.get(&id) else { return };
        let topic = topic.name().clone();
        context.count(Counter::Equivocations);
        self.equivocators.insert(subject, ());
        self.topics.drop_author(context, subject);
        let event = Event::Equivocated { topic, author, evidence: evidence.clone() };
        context.emit(Output::Event(event));
        network.broadcast_evidence(context, &id, evidence, from);
    }

    /// Returns who holds the most; a peer before an author that holds as much.
    fn largest_holder(&self) -> Option<Holder<P>> {
        let peer = self.keys.largest();
        let held_by_peer = peer.map_or(0, |(held, _)| held);
        match self.topics.largest() {
            Some((held, subject)) if held > held_by_peer => Some(Holder::Author(subject)),
            Some(_) | None => peer.map(|(_, peer)| Holder::Peer(peer)),
        }
    }
}

/// Counts why a batch is refused, and rejects it.
fn refuse<P: Peer>(
    context: &mut Context<'_, P>,
    network: &mut Network<P>,
    receipt: Receipt<P>,
    fault: Fault,
    counter: Counter,
) {
    context.count(counter);
    network.reject(context, receipt, fault);
}

/// Refuses batches whose key did not arrive.
fn give_up<P: Peer>(
    context: &mut Context<'_, P>,
    network: &mut Network<P>,
    batches: Vec<Parked<P>>,
) {
    for parked in batches {
        let counter = Counter::BatchesWithoutKey;
        refuse(context, network, parked.receipt, Fault::Unchecked, counter);
    }
}
