//! The state: sessions, topics, and the way between the overlay and the parts of this module.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::author::AuthorKey;
use super::batch::{self, Batch};
use super::delivery::{Author, Holder, deliver};
use super::frames::{self, Frame};
use super::keys::Keys;
use super::limits::{
    AUTHORS_MAX, BLOCKED_MAX, EQUIVOCATORS_MAX, KNOWN_KEY_COST, PUBLISHER_TIME, TOPICS_MAX,
};
use super::network::Network;
use super::past::Past;
use super::proof::Proof;
use super::publisher::Publisher;
use super::time::millis;
use super::{Context, Held, Input, MessageId, Output, PublishId, RequestError, Topic, TopicInfo};
use crate::gossip::Counter;
use crate::identity::{AgentId, AgentKey};
use crate::overlay::{self, TopicId};
use crate::session::{self, Peer};
use crate::support::{
    BoundedMap, Counts, Deadline, MemoryBudget, Rng, Shares, TieredMap, TimerName, Timers,
};

/// What is to happen later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Missing batches are asked for again, or given up.
    Gap(TopicId, AgentId),
    /// A batch has waited long enough for a key.
    Parked,
    /// The node published nothing to the topic for long.
    Leave(TopicId),
}

impl TimerName for Timer {
    fn name(&self) -> &'static str {
        match self {
            Self::Gap(..) => "gap",
            Self::Parked => "key",
            Self::Leave(_) => "leave",
        }
    }
}

/// A topic that the node is in.
#[derive(Debug)]
pub(super) struct Room<P> {
    pub(super) topic: Topic,
    /// When the subscription began, if there is one.
    pub(super) since: Option<Instant>,
    /// What the wall clock showed when it began.
    pub(super) since_unix: Duration,
    /// What is known of those who publish; those that published one batch make room first.
    pub(super) authors: TieredMap<AgentId, Author<P>>,
    /// The size of what waits for its turn.
    pub(super) waiting_bytes: usize,
}

/// The gossip of one node.
#[derive(Debug)]
pub struct State<P> {
    pub(super) publisher: Publisher,
    pub(super) network: Network<P>,
    pub(super) topics: BTreeMap<TopicId, Room<P>>,
    pub(super) keys: Keys<P>,
    /// The authors that are not delivered.
    pub(super) blocked: BTreeSet<AgentId>,
    /// The authors that are no longer heard in a topic.
    pub(super) equivocators: BoundedMap<(TopicId, AgentId), ()>,
    /// How far authors were heard that are no longer known in their topic.
    pub(super) past: Past,
    /// What authors and peers hold, as it counts against the share for ordering.
    pub(super) held: Shares<Holder<P>>,
    /// The share for ordering.
    pub(super) held_max: usize,
    /// When authors were last looked for that are silent.
    pub(super) swept_at: Option<Instant>,
    pub(super) timers: Timers<Timer>,
    is_shut_down: bool,
}

impl<P: Peer> State<P> {
    /// Makes the state of a node that is in no topic. Its messages are signed by `key`.
    pub fn new(
        config: overlay::Config,
        memory: MemoryBudget,
        key: AgentKey,
        me: P,
        rng: Rng,
    ) -> Self {
        let own = AuthorKey::new(key.public().clone());
        Self {
            publisher: Publisher::new(key),
            network: Network::new(config, memory, me, rng.fork("overlay")),
            topics: BTreeMap::new(),
            keys: Keys::new(own),
            blocked: BTreeSet::new(),
            equivocators: BoundedMap::new(EQUIVOCATORS_MAX),
            past: Past::new(),
            held: Shares::default(),
            held_max: memory.ordering(),
            swept_at: None,
            timers: Timers::default(),
            is_shut_down: false,
        }
    }

    /// Handles an input.
    ///
    /// # Panics
    ///
    /// If something is published or subscribed to of which [`State::check_publish`] or
    /// [`State::check_subscribe`] returns an error.
    pub fn handle(&mut self, context: &mut Context<'_, P>, input: Input<P>) {
        if self.is_shut_down {
            return;
        }
        match input {
            Input::Session(event) => self.handle_session(context, event),
            Input::Subscribe { topic } => self.handle_subscribe(context, &topic),
            Input::Unsubscribe { topic } => self.handle_unsubscribe(context, topic.id()),
            Input::Publish { id, topic, payload } => {
                self.handle_publish(context, id, &topic, payload);
            }
            Input::SetBlocked { agent, blocked } => self.set_blocked(context, agent, blocked),
            Input::Timeout => self.handle_timeout(context),
            Input::ShutDown => self.shut_down(context),
        }
        self.drain(context);
    }

    fn handle_session(&mut self, context: &mut Context<'_, P>, event: session::Event<P>) {
        match &event {
            session::Event::Frame { peer, frame } => {
                return self.handle_frame(context, *peer, frame);
            }
            session::Event::Opened(opened) => {
                self.end_session(context, opened.peer);
                self.network.open_session(opened.peer, context.now);
            }
            session::Event::Closed { peer } => self.end_session(context, *peer),
            session::Event::Moved { .. }
            | session::Event::Writable { .. }
            | session::Event::ConnectFailed { .. } => {}
        }
        self.network.handle(context, overlay::Input::Session(event));
    }

    /// Signs and sends what has waited long enough. Due once after a batch of inputs.
    pub fn settle(&mut self, context: &mut Context<'_, P>) {
        self.sign_due(context, false);
        self.drain(context);
    }

    /// The wall clock was set.
    pub fn handle_wall_time(&mut self, context: &mut Context<'_, P>) {
        let now = millis(context.unix_time);
        self.past.clock_was_set(now);
        self.publisher.clock_was_set(context);
    }

    /// Tells whether a topic can be subscribed to.
    ///
    /// # Errors
    ///
    /// [`RequestError::TooManyTopics`].
    pub fn check_subscribe(&self, topic: &Topic) -> Result<(), RequestError> {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic.id()) {
            return Err(RequestError::TooManyTopics);
        }
        Ok(())
    }

    /// Tells whether a message can be published.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if it is too large, too much waits, or there are too many topics.
    pub fn check_publish(&self, topic: &Topic, size: usize) -> Result<(), RequestError> {
        self.publisher.check(size)?;
        self.check_subscribe(topic)
    }

    /// Chooses how long the messages of a busy author collect in a topic that the node is in, at
    /// most [`WINDOW_MAX`](super::WINDOW_MAX). It holds until the node leaves the topic.
    pub fn set_window(&mut self, topic: &Topic, window: Duration) {
        let topic = topic.id();
        if self.topics.contains_key(&topic) {
            self.publisher.set_window(topic, window);
        }
    }

    /// Tells whether the messages of a topic are delivered.
    pub fn is_subscribed(&self, topic: &Topic) -> bool {
        self.topics.get(&topic.id()).is_some_and(|room| room.since.is_some())
    }

    /// Returns the topics that the node is in.
    pub fn topics(&self) -> impl Iterator<Item = TopicInfo> {
        self.topics.iter().map(|(id, room)| {
            let usage = self.network.usage(id).unwrap_or_default();
            TopicInfo {
                topic: room.topic.clone(),
                is_subscribed: room.since.is_some(),
                neighbours: usage.neighbours,
                eager: usage.eager,
                passive: usage.passive,
                history_items: usage.history_items,
                history_bytes: usage.history_bytes,
            }
        })
    }

    /// Returns what proves to anybody that an author published a message, while the node has it:
    /// the encoded form of a [`Proof`].
    pub fn prove(&self, topic: &Topic, message: MessageId) -> Option<Bytes> {
        let bytes = self.network.item(&topic.id(), &message.batch)?;
        let batch = Batch::parse(bytes).ok()?;
        let key = self.keys.peek(&batch.root().author)?;
        Some(Proof::of(key, &batch, message.index)?.encode())
    }

    /// Returns what the node holds for authors and peers.
    pub fn held(&self) -> Held {
        let rooms = self.topics.values();
        Held {
            ordering_bytes: self.held.total(),
            authors: rooms.clone().map(|room| room.authors.len()).sum(),
            waiting_bytes: rooms.map(|room| room.waiting_bytes).sum(),
            batches_without_key: self.keys.parked_len(),
            keys_of_peers: self.network.known_keys_len(),
            messages_unsigned: self.publisher.pending_len(),
        }
    }

    /// Returns what the overlay holds for its peers and topics.
    pub fn overlay_held(&self) -> overlay::Held {
        self.network.overlay_held()
    }

    /// Returns what the overlay counted.
    pub fn overlay_counts(&self) -> &Counts<overlay::Counter> {
        self.network.overlay_counts()
    }

    /// Returns when to handle [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Deadline> {
        [self.own_deadline(), self.network.deadline()].into_iter().flatten().min()
    }

    /// Returns when gossip itself has something to do, without the overlay.
    pub(super) fn own_deadline(&self) -> Option<Deadline> {
        if self.is_shut_down {
            return None;
        }
        let deadlines = [self.publisher.deadline(), self.timers.deadline()];
        deadlines.into_iter().flatten().min_by_key(|deadline| deadline.at)
    }

    /// Handles what the overlay wants until it wants nothing, and keeps to what may be held.
    pub(super) fn drain(&mut self, context: &mut Context<'_, P>) {
        loop {
            while let Some(output) = self.network.pop_output() {
                self.handle_output(context, output);
            }
            if !self.give_way(context) {
                return;
            }
        }
    }

    fn handle_output(&mut self, context: &mut Context<'_, P>, output: overlay::Output<P>) {
        match output {
            overlay::Output::Session(request) => self.handle_request(context, request),
            overlay::Output::Received { receipt, bytes } => {
                self.receive(context, receipt, bytes);
            }
            overlay::Output::Lonely { topic: _ } => context.emit(Output::Lonely),
        }
    }

    fn handle_request(&mut self, context: &mut Context<'_, P>, request: session::Request<P>) {
        match request {
            session::Request::Send { peer, header, payload } => {
                self.send(context, peer, header.as_slice(), payload);
            }
            session::Request::Violation { peer, rule } => {
                self.network.protocol_violation(context, peer, rule);
            }
            session::Request::Connect { .. } | session::Request::Release { .. } => {
                context.emit(Output::Session(request));
            }
        }
    }

    /// Enters a topic, if the node is not in it.
    pub(super) fn enter(&mut self, context: &mut Context<'_, P>, topic: &Topic) -> TopicId {
        let id = topic.id();
        if let Entry::Vacant(place) = self.topics.entry(id) {
            place.insert(Room {
                topic: topic.clone(),
                since: None,
                since_unix: Duration::ZERO,
                authors: TieredMap::new(AUTHORS_MAX),
                waiting_bytes: 0,
            });
            self.network.join(context, id);
            self.timers.set(Timer::Leave(id), context.now + PUBLISHER_TIME);
        }
        id
    }

    fn handle_frame(&mut self, context: &mut Context<'_, P>, peer: P, frame: &Bytes) {
        let Some(session) = self.network.session(&peer) else {
            return context.count(Counter::FramesUnknown);
        };
        if session.is_closing() {
            return;
        }
        match frames::decode(frame) {
            Ok(Frame::Overlay(frame)) => {
                let event = session::Event::Frame { peer, frame };
                self.network.handle(context, overlay::Input::Session(event));
            }
            Ok(Frame::Key(key)) => self.handle_key(context, peer, AuthorKey::new(key)),
            Ok(Frame::KeyRequest(author)) => self.answer_key(context, peer, &author),
            Ok(Frame::Evidence(evidence)) => self.handle_evidence(context, peer, &evidence),
            Err(violation) => self.network.ban(context, peer, violation.0),
        }
    }

    /// Sends a frame of the overlay, and before a batch the key of its author.
    fn send(&mut self, context: &mut Context<'_, P>, peer: P, header: &[u8], item: Bytes) {
        if let Some(session) = self.network.session_mut(&peer)
            && let Some((author, topic)) = batch::peek(&item)
        {
            session.note_topic(topic);
            if session.lacks_key(&author)
                && let Some(key) = self.keys.proven(&author)
            {
                self.network.send_key(context, peer, key);
                self.note_key(peer, author);
            }
        }
        self.network.send_overlay(context, peer, header, item);
    }

    fn answer_key(&mut self, context: &mut Context<'_, P>, peer: P, author: &AgentId) {
        let Some(session) = self.network.session_mut(&peer) else { return };
        let key = self.keys.proven(author).filter(|_| session.take_answer(context.now));
        if key.is_some_and(|key| self.network.try_send_key(context, peer, key)) {
            self.note_key(peer, *author);
        } else {
            context.count(Counter::KeysRefused);
        }
    }

    /// Notes that a peer has the key of an author.
    pub(super) fn note_key(&mut self, peer: P, author: AgentId) {
        if self.network.session_mut(&peer).is_some_and(|session| session.note_key(author)) {
            self.held.add(Holder::Peer(peer), KNOWN_KEY_COST);
        }
    }

    fn end_session(&mut self, context: &mut Context<'_, P>, peer: P) {
        if self.network.session(&peer).is_some() {
            self.empty(context, peer);
            self.network.close_session(&peer);
            self.held.set(Holder::Peer(peer), 0);
        }
    }

    fn handle_subscribe(&mut self, context: &mut Context<'_, P>, topic: &Topic) {
        assert_eq!(self.check_subscribe(topic), Ok(()), "the caller checks before it subscribes");
        let id = self.enter(context, topic);
        if let Some(room) = self.topics.get_mut(&id)
            && room.since.is_none()
        {
            (room.since, room.since_unix) = (Some(context.now), context.unix_time);
            self.timers.cancel(&Timer::Leave(id));
        }
    }

    fn handle_unsubscribe(&mut self, context: &mut Context<'_, P>, id: TopicId) {
        if self.topics.get(&id).is_none_or(|room| room.since.is_none()) {
            return;
        }
        self.close(context, id);
        let stays = self.publisher.published_at(&id).map(|at| at + PUBLISHER_TIME);
        match stays.filter(|&stays| stays > context.now) {
            Some(stays) => self.timers.set(Timer::Leave(id), stays),
            None => self.leave(context, id),
        }
    }

    fn leave(&mut self, context: &mut Context<'_, P>, id: TopicId) {
        if let Some(room) = self.topics.remove(&id) {
            self.drop_authors(&room, id);
        }
        self.publisher.leave(&id);
        self.timers.cancel(&Timer::Leave(id));
        self.network.leave(context, id);
    }

    fn set_blocked(&mut self, context: &mut Context<'_, P>, agent: AgentId, blocked: bool) {
        if !blocked {
            self.blocked.remove(&agent);
        } else if self.blocked.len() < BLOCKED_MAX || self.blocked.contains(&agent) {
            self.blocked.insert(agent);
            self.silence(context, agent);
        } else {
            context.count(Counter::BlocksOverLimit);
        }
    }

    fn handle_timeout(&mut self, context: &mut Context<'_, P>) {
        self.network.handle(context, overlay::Input::Timeout);
        while let Some(at) = self.own_deadline().map(|due| due.at).filter(|&at| at <= context.now) {
            // Of several timers that are due at one time, those of the publisher come first.
            if self.publisher.handle_timeout(at) {
                continue;
            }
            let Some(timer) = self.timers.pop_due(at) else { continue };
            match timer {
                Timer::Gap(topic, author) => self.handle_gap(context, topic, author),
                Timer::Parked => self.drop_late(context),
                Timer::Leave(topic) => self.leave_idle(context, topic),
            }
        }
        self.sweep(context);
    }

    fn leave_idle(&mut self, context: &mut Context<'_, P>, id: TopicId) {
        if self.topics.get(&id).is_none_or(|room| room.since.is_some()) {
            return;
        }
        let stays = self.publisher.published_at(&id).map(|at| at + PUBLISHER_TIME);
        match stays.filter(|&stays| stays > context.now) {
            Some(stays) => self.timers.set(Timer::Leave(id), stays),
            None => self.leave(context, id),
        }
    }

    fn shut_down(&mut self, context: &mut Context<'_, P>) {
        self.sign_due(context, true);
        let topics: Vec<TopicId> = self.topics.keys().copied().collect();
        for topic in topics {
            self.leave(context, topic);
        }
        self.is_shut_down = true;
    }

    /// Signs and publishes the messages that are due; all of them if `is_last`.
    fn sign_due(&mut self, context: &mut Context<'_, P>, is_last: bool) {
        let mut last = None;
        while let Some(topic) = self.publisher.next_unsigned(last) {
            while self.publisher.is_due(context, &self.network, topic, is_last) {
                self.publish_batch(context, topic);
            }
            last = Some(topic);
        }
        self.publisher.acknowledge(context);
    }

    fn publish_batch(&mut self, context: &mut Context<'_, P>, topic: TopicId) {
        let own = self.publisher.agent();
        if !self.publisher.has_stream(&topic)
            && let Some(room) = self.topics.get_mut(&topic)
            && let Some(mut earlier) = room.authors.remove(&own)
        {
            // What came of an earlier run is told before what this run says, or never.
            room.finish(context, own, &mut earlier, self.blocked.contains(&own));
            self.timers.cancel(&Timer::Gap(topic, own));
            self.held.set(Holder::Author(topic, own), 0);
        }
        let batch = self.publisher.sign_batch(context, topic);
        if let Some(room) = self.topics.get(&topic).filter(|room| room.since.is_some()) {
            deliver(context, &room.topic, self.blocked.contains(&own), &batch);
        }
        self.network.publish(context, topic, batch.item());
        self.drain(context);
    }

    fn handle_publish(
        &mut self,
        context: &mut Context<'_, P>,
        id: PublishId,
        topic: &Topic,
        payload: Bytes,
    ) {
        let checked = self.check_publish(topic, payload.len());
        assert_eq!(checked, Ok(()), "the caller checks before it publishes");
        let topic_id = self.enter(context, topic);
        self.publisher.publish(context, id, topic_id, payload);
    }
}
