//! The topics that the node is in: their authors, and the delivery of their batches in order.
//!
//! A batch that arrives early waits in the [`ReorderBuffer`] of its author. The peer that sent it is
//! asked for what is missing at once, and again after [`PULL_AGAIN`]. After [`GAP_TIME`] the gap is
//! reported as missed, and delivery continues behind it.
//!
//! # Invariants
//!
//! - What is delivered of one author in one topic is in order and at most once, even if the author
//!   is evicted or the topic is left and subscribed to again in between: an author leaves a
//!   [watermark](DeliveryWatermarks).
//! - A gap is reported before anything behind it is delivered.
//! - Nothing waits of a blocked author.
//!
//! # Limits
//!
//! [`AUTHORS_MAX`](crate::gossip::AUTHORS_MAX) in each topic; those of the buffers, of the
//! watermarks and of what waits in a topic. [`Topics::held`] is what all authors count against the
//! share of memory for ordering.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::author::Author;
use super::reorder::{ReorderBuffer, ResumePoint, StreamPosition};
use super::seen::Relation;
use super::topic::{Subscription, TopicState};
use super::watermarks::DeliveryWatermarks;
use crate::crypto::hash::HASH_LEN;
use crate::gossip::batch::{Root, VerifiedBatch};
use crate::gossip::delivery::deliver;
use crate::gossip::limits::{BLOCKED_MAX, GAP_TIME, PULL_AGAIN, SWEEP_INTERVAL};
use crate::gossip::network::Network;
use crate::gossip::time::millis;
use crate::gossip::{Context, Counter, Topic};
use crate::identity::AgentId;
use crate::overlay::TopicId;
use crate::session::Peer;
use crate::support::{Deadline, Shares, TimerName, Timers};

/// An author in a topic.
pub(super) type Subject = (TopicId, AgentId);

/// Missing batches of an author are requested again, or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GapTimer(TopicId, AgentId);

impl TimerName for GapTimer {
    fn name(&self) -> &'static str {
        "gap"
    }
}

/// The topics that the node is in.
#[derive(Debug)]
pub(in crate::gossip) struct Topics<P> {
    topics: BTreeMap<TopicId, TopicState<P>>,
    /// The agents that are not delivered.
    blocked: BTreeSet<AgentId>,
    /// Of authors that are no longer known in a topic.
    watermarks: DeliveryWatermarks,
    /// What each author counts.
    held: Shares<Subject>,
    /// When silent authors were last evicted.
    swept_at: Option<Instant>,
    timers: Timers<GapTimer>,
}

impl<P: Peer> Topics<P> {
    /// Makes the topics of a node that is in none.
    pub(super) fn new() -> Self {
        Self {
            topics: BTreeMap::new(),
            blocked: BTreeSet::new(),
            watermarks: DeliveryWatermarks::new(),
            held: Shares::default(),
            swept_at: None,
            timers: Timers::default(),
        }
    }

    /// Returns a topic, if the node is in it.
    pub(super) fn get(&self, topic: &TopicId) -> Option<&TopicState<P>> {
        self.topics.get(topic)
    }

    /// Returns the topics in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicId, &TopicState<P>)> {
        self.topics.iter()
    }

    /// Returns how many topics there are.
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Returns how many authors are known, counted once for each topic.
    pub(super) fn authors_len(&self) -> usize {
        self.topics.values().map(|topic| topic.authors.len()).sum()
    }

    /// Returns how many bytes of batches wait for delivery.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.topics.values().map(TopicState::waiting_bytes).sum()
    }

    /// Returns what all authors count, in bytes.
    pub(super) fn held(&self) -> usize {
        self.held.total()
    }

    /// Returns the author that counts the most, with what it counts.
    pub(super) fn largest(&self) -> Option<(usize, Subject)> {
        self.held.largest().map(|&subject| (self.held.of(&subject), subject))
    }

    /// Returns when the first gap timer is due.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.timers.deadline()
    }

    /// Enters a topic. Returns whether the node was not in it.
    pub(super) fn enter(&mut self, id: TopicId, name: &Topic) -> bool {
        let is_new = !self.topics.contains_key(&id);
        if is_new {
            self.topics.insert(id, TopicState::new(name.clone()));
        }
        is_new
    }

    /// Leaves a topic and forgets its authors.
    pub(super) fn leave(&mut self, id: TopicId) {
        let Some(topic) = self.topics.remove(&id) else { return };
        for (&author, _) in topic.authors.iter() {
            self.held.set((id, author), 0);
        }
    }

    /// Begins to deliver the messages of a topic that the node is in. Returns whether it did not.
    pub(super) fn subscribe(&mut self, id: &TopicId, now: Instant, unix_time: Duration) -> bool {
        let topic = self.topics.get_mut(id).filter(|topic| !topic.is_subscribed());
        let is_new = topic.is_some();
        if let Some(topic) = topic {
            topic.subscription = Some(Subscription { since: now, since_unix: unix_time });
        }
        is_new
    }

    /// Ends the delivery of a topic and notes how far its authors were delivered.
    pub(super) fn unsubscribe(&mut self, context: &Context<'_, P>, id: TopicId) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        topic.unsubscribe();
        let time = (context.now, millis(context.unix_time));
        let authors: Vec<AgentId> = topic.authors.iter().map(|(&author, _)| author).collect();
        for author in authors {
            let Some(topic) = self.topics.get_mut(&id) else { return };
            let is_frequent = topic.authors.is_used_often(&author);
            let Some(known) = topic.authors.get_mut(&author) else { continue };
            if let Some(watermark) = known.watermark() {
                self.watermarks.note(time, (id, author), watermark, is_frequent);
            }
            known.end_delivery();
            self.timers.cancel(&GapTimer(id, author));
            self.account((id, author));
        }
    }

    /// Returns whether a batch was received and its author is known.
    pub(super) fn has_seen(&self, root: &Root, hash: &[u8; HASH_LEN]) -> bool {
        let topic = self.topics.get(&root.topic);
        let known = topic.and_then(|topic| topic.authors.get(&root.author));
        known.is_some_and(|known| known.relate(root, hash) == Relation::Known)
    }

    /// Returns whether an author is known in a topic, or was.
    pub(super) fn is_known(&self, subject: &Subject) -> bool {
        let topic = self.topics.get(&subject.0);
        topic.is_some_and(|topic| topic.authors.get(&subject.1).is_some())
            || self.watermarks.contains(subject)
    }

    /// Compares a batch with those of its author that were received, and remembers it.
    pub(super) fn relate(
        &mut self,
        context: &mut Context<'_, P>,
        batch: &VerifiedBatch,
    ) -> Relation {
        let (root, hash) = (batch.root(), batch.hash());
        let (id, author) = (root.topic, root.author);
        let Some(topic) = self.topics.get(&id) else { return Relation::New };
        match topic.authors.get(&author) {
            Some(known) if root.stream < known.stream() => return Relation::New,
            Some(known) if root.stream == known.stream() => {
                let relation = known.relate(root, hash);
                if relation != Relation::New {
                    return relation;
                }
            }
            Some(_) | None => self.begin_stream(context, (id, author), root.stream),
        }
        let Some(topic) = self.topics.get_mut(&id) else { return Relation::New };
        if let Some(known) = topic.authors.get_mut(&author) {
            let is_first = known.note_seen(batch, context.now);
            if !is_first {
                topic.authors.touch(&author);
            }
        }
        self.account((id, author));
        Relation::New
    }

    /// Begins a stream of an author. What is missing of the stream before it is given up.
    pub(in crate::gossip) fn begin_stream(
        &mut self,
        context: &mut Context<'_, P>,
        subject: Subject,
        stream: u64,
    ) {
        let (id, author) = subject;
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let earlier = topic.authors.remove(&author);
        let is_known = earlier.is_some();
        let mut delivered = None;
        if let Some(mut earlier) = earlier {
            topic.finish(context, author, &mut earlier, self.blocked.contains(&author));
            self.timers.cancel(&GapTimer(id, author));
            delivered = earlier.watermark();
        }
        let resume_point = |since| match delivered {
            // All of the new stream was published in this subscription.
            Some(_) => ResumePoint::Position(StreamPosition::START),
            None => self.watermarks.resume_point(context.now, subject, stream, since),
        };
        let subscription = topic.subscription;
        let buffer = subscription.map(|since| ReorderBuffer::new(resume_point(since.since)));
        let known = Author::new(stream, buffer, context.now);
        let evicted = topic.authors.insert(author, known);
        if is_known {
            topic.authors.touch(&author);
        }
        if let Some((evicted, known)) = evicted {
            context.count(Counter::AuthorsForgotten);
            self.forget(context, (id, evicted), known, false);
        }
    }

    /// Puts a batch into the buffer of its author. It is dropped if its stream is not the newest,
    /// or `is_superseded` by a stream of this run.
    pub(super) fn enqueue(
        &mut self,
        context: &mut Context<'_, P>,
        batch: VerifiedBatch,
        is_repair: bool,
        is_superseded: bool,
    ) {
        let root = batch.root();
        let Some(topic) = self.topics.get_mut(&root.topic) else { return };
        let Some(subscription) = topic.subscription else { return };
        let Some(known) = topic.authors.get_mut(&root.author) else { return };
        if root.stream != known.stream() || is_superseded {
            return context.count(Counter::BatchesPast);
        }
        let buffer = known.buffer_or_insert_with(|| {
            let subject = (root.topic, root.author);
            let (now, stream) = (context.now, root.stream);
            let since = subscription.since;
            ReorderBuffer::new(self.watermarks.resume_point(now, subject, stream, since))
        });
        let before = buffer.waiting_bytes();
        buffer.insert(batch, is_repair, subscription.time(context.now, context.unix_time));
        let after = buffer.waiting_bytes();
        topic.replace_waiting(before, after);
    }

    /// Delivers what is next of an author, and requests what is missing from a peer that has what
    /// follows it.
    pub(super) fn deliver_ready(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        subject: Subject,
        peer: P,
    ) {
        let (id, author) = subject;
        let is_blocked = self.blocked.contains(&author);
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let missing = topic.deliver_ready(context, author, is_blocked);
        self.account(subject);
        self.await_missing(context, network, subject, missing, peer);
    }

    /// Delivers a batch that this node published, if the topic is subscribed to.
    pub(super) fn deliver_own(&self, context: &mut Context<'_, P>, batch: &VerifiedBatch) {
        let root = batch.root();
        let topic = self.topics.get(&root.topic).filter(|topic| topic.is_subscribed());
        if let Some(topic) = topic {
            deliver(context, topic.name(), self.blocked.contains(&root.author), batch);
        }
    }

    /// Ends the stream of an author, which becomes unknown and leaves no watermark: what waits is
    /// delivered, and gaps are reported.
    pub(super) fn finish_stream(&mut self, context: &mut Context<'_, P>, subject: Subject) {
        let (id, author) = subject;
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let Some(mut known) = topic.authors.remove(&author) else { return };
        topic.finish(context, author, &mut known, self.blocked.contains(&author));
        self.timers.cancel(&GapTimer(id, author));
        self.held.set(subject, 0);
    }

    /// Evicts an author, which leaves a watermark: what waits is delivered, and gaps are reported.
    pub(in crate::gossip) fn evict(&mut self, context: &mut Context<'_, P>, subject: Subject) {
        let (id, author) = subject;
        if let Some(topic) = self.topics.get_mut(&id) {
            let is_frequent = topic.authors.is_used_often(&author);
            if let Some(known) = topic.authors.remove(&author) {
                self.forget(context, subject, known, is_frequent);
            }
        }
        self.held.set(subject, 0);
    }

    /// Drops an author that equivocated, which leaves a watermark. What waits is not delivered.
    pub(super) fn drop_author(&mut self, context: &Context<'_, P>, subject: Subject) {
        let (id, author) = subject;
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let Some(known) = topic.authors.remove(&author) else { return };
        topic.replace_waiting(known.waiting_bytes(), 0);
        if let Some(watermark) = known.watermark() {
            let time = (context.now, millis(context.unix_time));
            self.watermarks.note(time, subject, watermark, true);
        }
        self.timers.cancel(&GapTimer(id, author));
        self.held.set(subject, 0);
    }

    /// Blocks or unblocks an agent. What waits of a blocked one is never delivered.
    pub(super) fn set_blocked(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        agent: AgentId,
        is_blocked: bool,
    ) {
        if !is_blocked {
            self.blocked.remove(&agent);
            return;
        }
        if self.blocked.len() >= BLOCKED_MAX && !self.blocked.contains(&agent) {
            return context.count(Counter::BlocksOverLimit);
        }
        self.blocked.insert(agent);
        let gaps = self.topics.iter().filter_map(|(&id, topic)| {
            let gap = topic.authors.get(&agent)?.gap()?;
            Some((id, gap.peer))
        });
        for (id, peer) in gaps.collect::<Vec<_>>() {
            self.deliver_ready(context, network, (id, agent), peer);
        }
    }

    /// Handles the first gap timer that is due at `at`. Returns whether there was one.
    pub(super) fn handle_timeout(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        at: Instant,
    ) -> bool {
        let Some(GapTimer(id, author)) = self.timers.pop_due(at) else { return false };
        self.handle_gap(context, network, (id, author));
        true
    }

    /// Evicts the authors whose batches no node accepts any more, now and then.
    pub(super) fn sweep(&mut self, context: &mut Context<'_, P>) {
        let is_due = self.swept_at.is_none_or(|at| context.now >= at + SWEEP_INTERVAL);
        if !is_due {
            return;
        }
        self.swept_at = Some(context.now);
        let mut silent = Vec::new();
        for (&id, topic) in &self.topics {
            let authors = topic.authors.iter().filter(|(_, known)| known.is_silent(context.now));
            silent.extend(authors.map(|(&author, _)| (id, author)));
        }
        for subject in silent {
            self.evict(context, subject);
        }
    }

    /// Handles that the wall clock was set.
    pub(super) fn clock_was_set(&mut self, unix_millis: u64) {
        self.watermarks.clock_was_set(unix_millis);
    }

    /// Returns whether an author is known in a topic, for tests.
    #[cfg(test)]
    pub(in crate::gossip) fn has_author(&self, (id, author): &Subject) -> bool {
        self.topics.get(id).is_some_and(|topic| topic.authors.get(author).is_some())
    }

    /// The watermarks, for tests.
    #[cfg(test)]
    pub(in crate::gossip) fn watermarks_mut(&mut self) -> &mut DeliveryWatermarks {
        &mut self.watermarks
    }

    /// Requests the missing batches of an author, unless that was done.
    fn await_missing(
        &mut self,
        context: &Context<'_, P>,
        network: &mut Network<P>,
        (id, author): Subject,
        missing: Option<u64>,
        peer: P,
    ) {
        let topic = self.topics.get_mut(&id);
        let Some(known) = topic.and_then(|topic| topic.authors.get_mut(&author)) else { return };
        if !known.note_missing(missing, context.now, peer) {
            return;
        }
        if missing.is_none() {
            return self.timers.cancel(&GapTimer(id, author));
        }
        self.timers.set(GapTimer(id, author), context.now + PULL_AGAIN);
        network.pull(context, id, peer);
    }

    /// Missing batches of an author did not arrive for a while.
    fn handle_gap(
        &mut self,
        context: &mut Context<'_, P>,
        network: &mut Network<P>,
        subject: Subject,
    ) {
        let (id, author) = subject;
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let Some(known) = topic.authors.get_mut(&author) else { return };
        let Some(&gap) = known.gap() else { return };
        if !known.request_again() {
            self.timers.set(GapTimer(id, author), gap.since + GAP_TIME);
            return network.pull(context, id, gap.peer);
        }
        topic.skip_gap(context, author, self.blocked.contains(&author));
        self.deliver_ready(context, network, subject, gap.peer);
    }

    fn forget(
        &mut self,
        context: &mut Context<'_, P>,
        subject: Subject,
        mut known: Author<P>,
        is_frequent: bool,
    ) {
        let (id, author) = subject;
        let Some(topic) = self.topics.get_mut(&id) else { return };
        topic.finish(context, author, &mut known, self.blocked.contains(&author));
        if let Some(watermark) = known.watermark() {
            let time = (context.now, millis(context.unix_time));
            self.watermarks.note(time, subject, watermark, is_frequent);
        }
        self.timers.cancel(&GapTimer(id, author));
        self.held.set(subject, 0);
    }

    /// Accounts for what an author holds now.
    fn account(&mut self, subject: Subject) {
        let topic = self.topics.get(&subject.0);
        let known = topic.and_then(|topic| topic.authors.get(&subject.1));
        self.held.set(subject, known.map_or(0, Author::cost));
    }
}
