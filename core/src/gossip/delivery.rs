//! What is known of authors in a topic, and the delivery of their batches in order.
//!
//! A batch that comes too early waits for those before it. What waits, and what is remembered of
//! authors, counts against the node's share for ordering, as do the batches of a peer that wait for
//! keys: when it is used up, the author or peer that holds the most gives way. An author that gives
//! way, that was silent for [`SILENCE_MAX`], or that has to make room in its topic is known from
//! then on by how far it was heard alone.

use std::time::{Duration, Instant};

use super::batch::VerifiedBatch;
use super::limits::{
    AUTHOR_COST, GAP_TIME, PULL_AGAIN, SILENCE_MAX, SWEEP_INTERVAL, TOPIC_WAITING_BYTES_MAX,
};
use super::order::{self, Order, Place, Relation, Roots, Subscribed};
use super::past::Mark;
use super::state::{Room, State, Timer};
use super::time::millis;
use super::{Context, Event, MessageId, Output, Topic};
use crate::gossip::Counter;
use crate::identity::AgentId;
use crate::overlay::TopicId;
use crate::session::Peer;

/// Who holds what counts against the share for ordering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder<P> {
    /// An author in a topic.
    Author(TopicId, AgentId),
    /// A peer: its batches that wait for keys, and the authors whose keys it has.
    Peer(P),
}

/// What is known of an author in a topic.
#[derive(Debug)]
pub(super) struct Author<P> {
    /// The newest stream.
    stream: u64,
    /// Its latest batches.
    roots: Roots,
    /// How far it is delivered, while the topic is subscribed to.
    order: Option<Order>,
    /// What is missing.
    gap: Option<Gap<P>>,
    /// The latest time of a batch, in milliseconds since the Unix epoch.
    time: u64,
    /// When the last batch came.
    heard_at: Instant,
}

impl<P> Author<P> {
    /// Compares a batch with those of its stream that came; none came of another.
    pub(super) fn relate(&self, root: &super::batch::Root, hash: &[u8; 32]) -> Relation {
        if root.stream == self.stream { self.roots.relate(root, hash) } else { Relation::New }
    }

    /// How far it was heard, if it was.
    fn mark(&self) -> Option<Mark> {
        let place = self.order.as_ref()?.delivered_to()?;
        Some(Mark { stream: self.stream, place, time: self.time, heard_at: self.heard_at })
    }

    fn cost(&self) -> usize {
        AUTHOR_COST + self.roots.cost() + self.order.as_ref().map_or(0, Order::cost)
    }
}

/// Missing batches that are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap<P> {
    /// The first sequence that is missing.
    sequence: u64,
    /// When it was noticed.
    since: Instant,
    /// Who has what comes after it.
    peer: P,
    /// Whether they were asked twice.
    is_asked_again: bool,
}

impl<P: Peer> State<P> {
    /// Compares a batch with those of its author that came, and remembers it.
    pub(super) fn relate(
        &mut self,
        context: &mut Context<'_, P>,
        batch: &VerifiedBatch,
    ) -> Relation {
        let (root, hash) = (batch.root(), batch.hash());
        let (topic, author) = (root.topic, root.author);
        let Some(room) = self.topics.get(&topic) else { return Relation::New };
        match room.authors.get(&author) {
            Some(known) if root.stream < known.stream => return Relation::New,
            Some(known) if root.stream == known.stream => {
                let relation = known.relate(root, hash);
                if relation != Relation::New {
                    return relation;
                }
            }
            Some(_) | None => self.begin(context, topic, author, root.stream),
        }
        let Some(room) = self.topics.get_mut(&topic) else { return Relation::New };
        if let Some(known) = room.authors.get_mut(&author) {
            let is_first = known.roots.is_empty();
            known.roots.insert(root, hash);
            known.time = known.time.max(root.time);
            known.heard_at = context.now;
            if !is_first {
                room.authors.touch(&author);
            }
        }
        self.count_author(topic, author);
        Relation::New
    }

    /// Begins a stream of an author; what is missing of the stream before it will not come.
    pub(super) fn begin(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
        author: AgentId,
        stream: u64,
    ) {
        let Some(room) = self.topics.get_mut(&topic) else { return };
        let earlier = room.authors.remove(&author);
        let is_known = earlier.is_some();
        let mut heard = None;
        if let Some(mut earlier) = earlier {
            room.finish(context, author, &mut earlier, self.blocked.contains(&author));
            self.timers.cancel(&Timer::Gap(topic, author));
            heard = earlier.mark();
        }
        let subject = (topic, author);
        let past = |since| match heard {
            // All of the new stream was published in this subscription.
            Some(_) => order::Past::Place(Place::START),
            None => self.past.of(context.now, subject, stream, since),
        };
        let known = Author {
            stream,
            roots: Roots::default(),
            order: room.since.map(|since| Order::new(past(since))),
            gap: None,
            time: 0,
            heard_at: context.now,
        };
        let forgotten = room.authors.insert(author, known);
        if is_known {
            room.authors.touch(&author);
        }
        if let Some((forgotten, known)) = forgotten {
            context.count(Counter::AuthorsForgotten);
            self.forget(context, topic, forgotten, known, false);
        }
    }

    /// Puts a batch into the order of its stream.
    pub(super) fn order(
        &mut self,
        context: &mut Context<'_, P>,
        batch: VerifiedBatch,
        is_repair: bool,
    ) {
        let root = batch.root();
        let Some(room) = self.topics.get_mut(&root.topic) else { return };
        let Some(since) = room.since else { return };
        let Some(known) = room.authors.get_mut(&root.author) else { return };
        let is_past_own = root.author == self.publisher.agent()
            && self.publisher.streams_mut().is_superseded(&root.topic, root.stream);
        if root.stream != known.stream || is_past_own {
            return context.count(Counter::BatchesPast);
        }
        let order = known.order.get_or_insert_with(|| {
            let subject = (root.topic, root.author);
            Order::new(self.past.of(context.now, subject, root.stream, since))
        });
        // The monotonic clock may stand still while the host sleeps.
        let elapsed = context.now.saturating_duration_since(since);
        let elapsed = elapsed.max(context.unix_time.saturating_sub(room.since_unix));
        let ago = millis(elapsed + Duration::from_nanos(999_999));
        let at = millis(context.unix_time).saturating_sub(ago);
        let before = order.waiting_bytes();
        order.take(batch, is_repair, Subscribed { at, ago });
        room.waiting_bytes = room.waiting_bytes - before + order.waiting_bytes();
    }

    /// Delivers what is next of an author, and waits for what is missing.
    pub(super) fn proceed(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
        author: AgentId,
        peer: P,
    ) {
        let is_blocked = self.blocked.contains(&author);
        let Some(room) = self.topics.get_mut(&topic) else { return };
        let Some(known) = room.authors.get_mut(&author) else { return };
        let Some(order) = &mut known.order else { return };
        loop {
            while let Some(batch) = order.next() {
                room.waiting_bytes -= batch.size();
                deliver(context, &room.topic, is_blocked, &batch);
            }
            // Nothing has to wait of an author that nobody hears.
            let may_wait =
                !is_blocked && !order.is_full() && room.waiting_bytes <= TOPIC_WAITING_BYTES_MAX;
            if may_wait {
                break;
            }
            let Some(missed) = order.skip() else { break };
            lag(context, &room.topic, author, if is_blocked { 0 } else { missed });
        }
        let missing = order.gap();
        self.count_author(topic, author);
        self.wait_for(context, (topic, author), missing, peer);
    }

    /// Asks for what is missing of an author, unless that was done.
    fn wait_for(
        &mut self,
        context: &mut Context<'_, P>,
        (topic, author): (TopicId, AgentId),
        missing: Option<u64>,
        peer: P,
    ) {
        let Some(room) = self.topics.get_mut(&topic) else { return };
        let Some(known) = room.authors.get_mut(&author) else { return };
        if missing == known.gap.as_ref().map(|gap| gap.sequence) {
            return;
        }
        known.gap = missing.map(|sequence| Gap {
            sequence,
            since: context.now,
            peer,
            is_asked_again: false,
        });
        if known.gap.is_none() {
            return self.timers.cancel(&Timer::Gap(topic, author));
        }
        self.timers.set(Timer::Gap(topic, author), context.now + PULL_AGAIN);
        self.network.pull(context, topic, peer);
    }

    /// Missing batches did not come for a while.
    pub(super) fn handle_gap(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
        author: AgentId,
    ) {
        let Some(room) = self.topics.get_mut(&topic) else { return };
        let Some(known) = room.authors.get_mut(&author) else { return };
        let Some(gap) = &mut known.gap else { return };
        if !std::mem::replace(&mut gap.is_asked_again, true) {
            let (peer, at) = (gap.peer, gap.since + GAP_TIME);
            self.timers.set(Timer::Gap(topic, author), at);
            return self.network.pull(context, topic, peer);
        }
        let peer = gap.peer;
        if let Some(missed) = known.order.as_mut().and_then(Order::skip) {
            let missed = if self.blocked.contains(&author) { 0 } else { missed };
            lag(context, &room.topic, author, missed);
        }
        self.proceed(context, topic, author, peer);
    }

    /// An agent is blocked: what of it waits is never delivered.
    pub(super) fn silence(&mut self, context: &mut Context<'_, P>, author: AgentId) {
        let gaps = self.topics.iter().filter_map(|(&topic, room)| {
            let gap = room.authors.get(&author)?.gap.as_ref()?;
            Some((topic, gap.peer))
        });
        for (topic, peer) in gaps.collect::<Vec<_>>() {
            self.proceed(context, topic, author, peer);
        }
    }

    /// Delivers nothing more of a topic, and remembers how far its authors were heard.
    pub(super) fn close(&mut self, context: &Context<'_, P>, topic: TopicId) {
        let Some(room) = self.topics.get_mut(&topic) else { return };
        (room.since, room.waiting_bytes) = (None, 0);
        let time = (context.now, millis(context.unix_time));
        let authors: Vec<AgentId> = room.authors.iter().map(|(&author, _)| author).collect();
        for author in authors {
            let Some(room) = self.topics.get_mut(&topic) else { return };
            let is_frequent = room.authors.is_used_often(&author);
            let Some(known) = room.authors.get_mut(&author) else { continue };
            if let Some(mark) = known.mark() {
                self.past.note(time, (topic, author), mark, is_frequent);
            }
            (known.gap, known.order) = (None, None);
            self.timers.cancel(&Timer::Gap(topic, author));
            self.count_author(topic, author);
        }
    }

    /// Forgets the authors of a topic that is left.
    pub(super) fn drop_authors(&mut self, room: &Room<P>, topic: TopicId) {
        for (&author, _) in room.authors.iter() {
            self.held.set(Holder::Author(topic, author), 0);
        }
    }

    /// Forgets an author but for how far it was heard: what waits is delivered, and what is missing
    /// is told.
    pub(super) fn retire(&mut self, context: &mut Context<'_, P>, topic: TopicId, author: AgentId) {
        let Some(room) = self.topics.get_mut(&topic) else { return };
        let is_frequent = room.authors.is_used_often(&author);
        if let Some(known) = room.authors.remove(&author) {
            self.forget(context, topic, author, known, is_frequent);
        }
    }

    fn forget(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
        author: AgentId,
        mut known: Author<P>,
        is_frequent: bool,
    ) {
        let Some(room) = self.topics.get_mut(&topic) else { return };
        room.finish(context, author, &mut known, self.blocked.contains(&author));
        if let Some(mark) = known.mark() {
            let time = (context.now, millis(context.unix_time));
            self.past.note(time, (topic, author), mark, is_frequent);
        }
        self.timers.cancel(&Timer::Gap(topic, author));
        self.held.set(Holder::Author(topic, author), 0);
    }

    /// Forgets an author that is no longer heard; what waits of it is not delivered.
    pub(super) fn expel(&mut self, context: &Context<'_, P>, topic: TopicId, author: AgentId) {
        let Some(room) = self.topics.get_mut(&topic) else { return };
        let Some(known) = room.authors.remove(&author) else { return };
        room.waiting_bytes -= known.order.as_ref().map_or(0, Order::waiting_bytes);
        if let Some(mark) = known.mark() {
            let time = (context.now, millis(context.unix_time));
            self.past.note(time, (topic, author), mark, true);
        }
        self.timers.cancel(&Timer::Gap(topic, author));
        self.held.set(Holder::Author(topic, author), 0);
    }

    /// Retires the authors of whom nobody takes any more what they said, now and then.
    pub(super) fn sweep(&mut self, context: &mut Context<'_, P>) {
        let is_due = self.swept_at.is_none_or(|at| context.now >= at + SWEEP_INTERVAL);
        if !is_due {
            return;
        }
        self.swept_at = Some(context.now);
        let now = context.now;
        let is_silent =
            |known: &Author<P>| now.saturating_duration_since(known.heard_at) > SILENCE_MAX;
        let mut silent = Vec::new();
        for (&topic, room) in &self.topics {
            let of_room = room.authors.iter().filter(|(_, known)| is_silent(known));
            silent.extend(of_room.map(|(&author, _)| (topic, author)));
        }
        for (topic, author) in silent {
            self.retire(context, topic, author);
        }
    }

    /// Keeps to the share for ordering: while too much is held, who holds the most gives way. Tells
    /// whether anybody had to.
    pub(super) fn give_way(&mut self, context: &mut Context<'_, P>) -> bool {
        let is_over = self.held.total() > self.held_max;
        while self.held.total() > self.held_max
            && let Some(&holder) = self.held.largest()
        {
            context.count(Counter::HoldersOverBudget);
            match holder {
                Holder::Author(topic, author) => self.retire(context, topic, author),
                Holder::Peer(peer) => self.empty(context, peer),
            }
            // Whatever it had is gone.
            self.held.set(holder, 0);
        }
        is_over
    }

    fn count_author(&mut self, topic: TopicId, author: AgentId) {
        let known = self.topics.get(&topic).and_then(|room| room.authors.get(&author));
        self.held.set(Holder::Author(topic, author), known.map_or(0, Author::cost));
    }
}

impl<P> Room<P> {
    /// Ends the stream of an author: what waits is delivered, and what is missing is told.
    pub(super) fn finish(
        &mut self,
        context: &mut Context<'_, P>,
        author: AgentId,
        known: &mut Author<P>,
        is_blocked: bool,
    ) {
        let Some(order) = &mut known.order else { return };
        loop {
            while let Some(batch) = order.next() {
                self.waiting_bytes -= batch.size();
                deliver(context, &self.topic, is_blocked, &batch);
            }
            let Some(missed) = order.skip() else { return };
            lag(context, &self.topic, author, if is_blocked { 0 } else { missed });
        }
    }
}

/// Delivers the messages of a batch.
pub(super) fn deliver<P>(
    context: &mut Context<'_, P>,
    topic: &Topic,
    is_blocked: bool,
    batch: &VerifiedBatch,
) {
    let root = batch.root();
    if is_blocked {
        return context.count_many(Counter::MessagesBlocked, root.count.into());
    }
    context.count_many(Counter::MessagesDelivered, root.count.into());
    let published_at = Duration::from_millis(root.time);
    for (index, payload) in (0..).zip(batch.payloads()) {
        context.emit(Output::Event(Event::Received {
            topic: topic.clone(),
            author: root.author,
            payload,
            published_at,
            message: MessageId { batch: batch.id(), index },
        }));
    }
}

/// Tells that messages were missed.
fn lag<P>(context: &mut Context<'_, P>, topic: &Topic, author: AgentId, missed: u64) {
    if missed > 0 {
        context.count_many(Counter::MessagesLagged, missed);
        context.emit(Output::Event(Event::Lagged { topic: topic.clone(), author, missed }));
    }
}
