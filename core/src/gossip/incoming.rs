//! Receiving: a batch is checked, goes on to others, and waits for its turn to be delivered.
//!
//! ```text
//! well formed? → not too old? → new? → key → author known, or room for another? → signature
//!     → not ahead of time? → author heard? → no contradiction → overlay (to others) → order
//!     → delivered
//! ```
//!
//! The cheap checks come first, so a peer can cost one signature check for each forged batch, after
//! which its session ends. Nothing is noted as seen that its author did not sign, so that nobody can
//! fill what is known with batches that cost nothing.

use std::time::Instant;

use bytes::Bytes;

use super::author::AuthorKey;
use super::batch::{Batch, Root, VerifiedBatch};
use super::delivery::Holder;
use super::keys::{self, Parked};
use super::limits::AGE_MAX;
use super::order::Relation;
use super::state::{State, Timer};
use super::time::millis;
use super::{Context, Event, Output, evidence};
use crate::gossip::Counter;
use crate::identity::{AgentId, CLOCK_SKEW_MAX};
use crate::overlay::{Fault, ItemId, Receipt, TopicId};
use crate::session::Peer;

impl<P: Peer> State<P> {
    /// Looks at a batch that came.
    pub(super) fn receive(
        &mut self,
        context: &mut Context<'_, P>,
        receipt: Receipt<P>,
        bytes: Bytes,
    ) {
        context.count(Counter::BatchesReceived);
        if let Some(session) = self.network.session_mut(&receipt.peer) {
            session.note_topic(receipt.topic);
        }
        match Batch::parse(bytes) {
            Ok(batch) if batch.root().topic == receipt.topic && batch.stamp() == receipt.stamp => {
                self.judge(context, receipt, batch);
            }
            Ok(_) | Err(_) => self.refuse(context, receipt, Fault::Forged, Counter::BatchesForged),
        }
    }

    /// A key came.
    pub(super) fn handle_key(&mut self, context: &mut Context<'_, P>, peer: P, key: AuthorKey) {
        self.note_key(peer, key.id());
        if self.keys.proven(&key.id()).is_none()
            && let Some(session) = self.network.session_mut(&peer)
        {
            session.keep_unproven(key.clone());
        }
        let waiting = self.keys.take(|parked| parked.batch.root().author == key.id());
        for Parked { receipt, batch, .. } in waiting {
            self.held.sub(Holder::Peer(receipt.peer), keys::parked_cost(&batch));
            match self.precheck(context, &receipt, batch.root(), batch.hash()) {
                Ok(()) => self.admit(context, receipt, batch, &key),
                Err(counter) => self.refuse(context, receipt, Fault::Unwanted, counter),
            }
        }
        self.set_parked_timer();
    }

    /// Gives up all that a peer has waiting, and forgets which keys it has: they are sent again.
    pub(super) fn empty(&mut self, context: &mut Context<'_, P>, peer: P) {
        self.drop_parked(context, |parked| parked.receipt.peer == peer);
        if let Some(session) = self.network.session_mut(&peer) {
            session.forget_known_keys();
        }
    }

    /// Gives up batches whose key does not come.
    pub(super) fn drop_late(&mut self, context: &mut Context<'_, P>) {
        let late = self.keys.take_late(context.now);
        self.give_up_parked(context, late);
    }

    /// Gives up batches that wait for a key.
    pub(super) fn drop_parked(
        &mut self,
        context: &mut Context<'_, P>,
        is_over: impl Fn(&Parked<P>) -> bool,
    ) {
        let over = self.keys.take(is_over);
        self.give_up_parked(context, over);
    }

    fn give_up_parked(&mut self, context: &mut Context<'_, P>, parked: Vec<Parked<P>>) {
        for Parked { receipt, batch, .. } in parked {
            self.held.sub(Holder::Peer(receipt.peer), keys::parked_cost(&batch));
            let counter = Counter::BatchesWithoutKey;
            self.refuse(context, receipt, Fault::Unchecked, counter);
        }
        self.set_parked_timer();
    }

    fn set_parked_timer(&mut self) {
        match self.keys.deadline() {
            Some(at) => self.timers.set(Timer::Parked, at),
            None => self.timers.cancel(&Timer::Parked),
        }
    }

    fn refuse(
        &mut self,
        context: &mut Context<'_, P>,
        receipt: Receipt<P>,
        fault: Fault,
        counter: Counter,
    ) {
        context.count(counter);
        self.network.reject(context, receipt, fault);
    }

    /// Finds the key of a batch, or lets it wait for it.
    fn judge(&mut self, context: &mut Context<'_, P>, receipt: Receipt<P>, batch: Batch) {
        if let Err(counter) = self.precheck(context, &receipt, batch.root(), batch.hash()) {
            return self.refuse(context, receipt, Fault::Unwanted, counter);
        }
        let (peer, author) = (receipt.peer, batch.root().author);
        let session = self.network.session(&peer);
        let key = self.keys.proven(&author).or_else(|| session?.unproven(&author)).cloned();
        if let Some(key) = key {
            return self.admit(context, receipt, batch, &key);
        }
        let can_ask = self.network.can_send(&peer);
        let cost = keys::parked_cost(&batch);
        let parked = self.keys.park(context.now, receipt, batch, can_ask);
        if parked.is_ok() {
            self.held.add(Holder::Peer(peer), cost);
        }
        match parked {
            Ok(true) => {
                context.count(Counter::KeysAsked);
                self.network.request_key(context, peer, &author);
            }
            Ok(false) => {}
            Err(receipt) => {
                let counter = Counter::BatchesWithoutKey;
                self.refuse(context, receipt, Fault::Unchecked, counter);
            }
        }
        self.set_parked_timer();
    }

    /// The checks that cost nothing. An error says how a refusal is counted. What is refused here is
    /// too old to be noted as seen, or was checked before.
    fn precheck(
        &self,
        context: &Context<'_, P>,
        receipt: &Receipt<P>,
        root: &Root,
        hash: &[u8; 32],
    ) -> Result<(), Counter> {
        let oldest = millis(context.unix_time.saturating_sub(AGE_MAX));
        let room = self.topics.get(&receipt.topic).filter(|_| root.time >= oldest);
        let room = room.ok_or(Counter::BatchesUnwanted)?;
        let known = room.authors.get(&root.author);
        if known.is_some_and(|known| known.relate(root, hash) == Relation::Known) {
            return Err(Counter::BatchesDuplicate);
        }
        Ok(())
    }

    /// Takes room of a peer for a batch of an author that is not known in the topic, if there is any.
    fn may_introduce(&mut self, now: Instant, peer: &P, subject: (TopicId, AgentId)) -> bool {
        let (topic, author) = subject;
        let room = self.topics.get(&topic);
        let is_known = room.is_some_and(|room| room.authors.get(&author).is_some())
            || self.past.contains(&subject)
            || self.equivocators.peek(&subject).is_some()
            || author == self.publisher.agent();
        is_known || self.network.session_mut(peer).is_none_or(|session| session.take_stranger(now))
    }

    /// Checks the signature of a batch and takes it.
    fn admit(
        &mut self,
        context: &mut Context<'_, P>,
        receipt: Receipt<P>,
        batch: Batch,
        key: &AuthorKey,
    ) {
        let (topic, author, peer) = (receipt.topic, batch.root().author, receipt.peer);
        if !self.may_introduce(context.now, &peer, (topic, author)) {
            let counter = Counter::StrangersOverLimit;
            return self.refuse(context, receipt, Fault::Unchecked, counter);
        }
        let Ok(batch) = batch.verify(key) else {
            let counter = Counter::BatchesForged;
            return self.refuse(context, receipt, Fault::Forged, counter);
        };
        if self.keys.proven(&author).is_none() {
            self.keys.prove(self.network.session_mut(&peer), key.clone());
        }
        context.count(Counter::BatchesVerified);
        let count = batch.root().count.into();
        context.count_many(Counter::MessagesReceived, count);
        if author == self.publisher.agent() {
            self.publisher.streams_mut().observe(&topic, batch.root().stream);
        }
        if let Some(counter) = self.reason_to_refuse(context, key, &batch) {
            return self.refuse(context, receipt, Fault::Unwanted, counter);
        }
        let (item, is_repair) = (batch.item(), receipt.is_repair);
        self.network.accept(context, receipt, item);
        self.order(context, batch, is_repair);
        self.proceed(context, topic, author, peer);
    }

    /// Tells why a batch that its author signed is not taken, if so.
    fn reason_to_refuse(
        &mut self,
        context: &mut Context<'_, P>,
        key: &AuthorKey,
        batch: &VerifiedBatch,
    ) -> Option<Counter> {
        let root = batch.root();
        let newest = millis(context.unix_time.saturating_add(CLOCK_SKEW_MAX));
        if root.time > newest || self.equivocators.peek(&(root.topic, root.author)).is_some() {
            return Some(Counter::BatchesUnwanted);
        }
        if root.author == self.publisher.agent()
            && self.publisher.streams_mut().is_current(&root.topic, root.stream)
        {
            return Some(Counter::BatchesDuplicate);
        }
        match self.relate(context, batch) {
            Relation::Known => Some(Counter::BatchesDuplicate),
            Relation::Excludes(other) => {
                self.accuse(context, key, batch, &other);
                Some(Counter::BatchesUnwanted)
            }
            Relation::New => None,
        }
    }

    /// Proves that an author contradicts itself, if the other batch is still there.
    fn accuse(
        &mut self,
        context: &mut Context<'_, P>,
        key: &AuthorKey,
        batch: &Batch,
        other: &ItemId,
    ) {
        let topic = batch.root().topic;
        let Some(other) = self.network.item(&topic, other) else { return };
        let Ok(other) = Batch::parse(other) else { return };
        if let Some(evidence) = evidence::accuse(key, batch, &other) {
            self.expose(context, topic, batch.root().author, &evidence, None);
        }
    }

    /// Evidence came.
    pub(super) fn handle_evidence(&mut self, context: &mut Context<'_, P>, peer: P, bytes: &Bytes) {
        let Some(session) = self.network.session_mut(&peer) else { return };
        let proven = match evidence::Parsed::parse(bytes) {
            Ok(parsed) => {
                let subject = parsed.subject();
                if !self.topics.contains_key(&subject.0)
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
            Ok(proven) => self.expose(context, proven.topic, proven.author, bytes, Some(peer)),
            Err(_) => self.network.ban(context, peer, "evidence proves nothing"),
        }
    }

    /// Stops hearing an author, and tells the application and the peers in the topic.
    fn expose(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
        author: AgentId,
        evidence: &Bytes,
        from: Option<P>,
    ) {
        let Some(room) = self.topics.get(&topic) else { return };
        let name = room.topic.clone();
        context.count(Counter::Equivocations);
        self.equivocators.insert((topic, author), ());
        self.expel(context, topic, author);
        let proof = evidence.clone();
        context.emit(Output::Event(Event::Equivocated { topic: name, author, evidence: proof }));
        self.network.broadcast_evidence(context, &topic, evidence, from);
    }
}
