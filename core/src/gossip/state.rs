//! The state of gossip: the two halves, the network, and the topics that the node enters and leaves.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::author::AuthorKey;
use super::batch::{self, Batch};
use super::frames::{self, Frame};
use super::limits::{PUBLISHER_TIME, TOPICS_MAX};
use super::network::Network;
use super::proof::Proof;
use super::publisher::Publisher;
use super::receiver::Receiver;
use super::{
    Context, Counter, Held, Input, MessageId, Output, PublishId, RequestError, Topic, TopicInfo,
};
use crate::identity::AgentKey;
use crate::overlay::{self, TopicId};
use crate::session::{self, Peer};
use crate::support::{Counts, Deadline, MemoryBudget, Rng, TimerName, Timers};

/// The node may leave a topic that it only publishes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LeaveTimer(TopicId);

impl TimerName for LeaveTimer {
    fn name(&self) -> &'static str {
        "leave"
    }
}

/// The gossip of one node.
#[derive(Debug)]
pub struct State<P> {
    publisher: Publisher,
    receiver: Receiver<P>,
    network: Network<P>,
    timers: Timers<LeaveTimer>,
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
            receiver: Receiver::new(own, memory.ordering()),
            network: Network::new(config, memory, me, rng.fork("overlay")),
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
            Input::Subscribe { topic } => self.subscribe(context, &topic),
            Input::Unsubscribe { topic } => self.unsubscribe(context, topic.id()),
            Input::Publish { id, topic, payload } => self.publish(context, id, &topic, payload),
            Input::SetBlocked { agent, blocked } => {
                self.receiver.set_blocked(context, &mut self.network, agent, blocked);
            }
            Input::Timeout => self.handle_timeout(context),
            Input::ShutDown => self.shut_down(context),
        }
        self.drain(context);
    }

    /// Signs and sends the messages that are due. Call it once after one or more inputs.
    pub fn flush(&mut self, context: &mut Context<'_, P>) {
        self.sign_due(context, false);
        self.drain(context);
    }

    /// Handles that the wall clock was set.
    pub fn handle_wall_time(&mut self, context: &mut Context<'_, P>) {
        self.receiver.clock_was_set(context.unix_time);
        self.publisher.clock_was_set(context);
    }

    /// Checks whether a topic can be subscribed to.
    ///
    /// # Errors
    ///
    /// [`RequestError::TooManyTopics`].
    pub fn check_subscribe(&self, topic: &Topic) -> Result<(), RequestError> {
        if self.receiver.topics_len() >= TOPICS_MAX && self.receiver.topic(&topic.id()).is_none() {
            return Err(RequestError::TooManyTopics);
        }
        Ok(())
    }

    /// Checks whether a message can be published.
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
        if self.receiver.topic(&topic).is_some() {
            self.publisher.set_window(topic, window);
        }
    }

    /// Returns whether the messages of a topic are delivered.
    pub fn is_subscribed(&self, topic: &Topic) -> bool {
        self.receiver.topic(&topic.id()).is_some_and(|topic| topic.is_subscribed())
    }

    /// Returns the topics that the node is in.
    pub fn topics(&self) -> impl Iterator<Item = TopicInfo> {
        self.receiver.topics().map(|(id, topic)| {
            let usage = self.network.usage(id).unwrap_or_default();
            TopicInfo {
                topic: topic.name().clone(),
                is_subscribed: topic.is_subscribed(),
                neighbours: usage.neighbours,
                eager: usage.eager,
                passive: usage.passive,
                history_items: usage.history_items,
                history_bytes: usage.history_bytes,
            }
        })
    }

    /// Returns the encoded [`Proof`] that an author published a message, while the node has the
    /// message and the author's key.
    pub fn prove(&self, topic: &Topic, message: MessageId) -> Option<Bytes> {
        let bytes = self.network.item(&topic.id(), &message.batch)?;
        let batch = Batch::parse(bytes).ok()?;
        let key = self.receiver.proven_key(&batch.root().author)?;
        Some(Proof::of(key, &batch, message.index)?.encode())
    }

    /// Returns what the node holds for authors and peers.
    pub fn held(&self) -> Held {
        Held {
            ordering_bytes: self.receiver.held(),
            authors: self.receiver.authors_len(),
            waiting_bytes: self.receiver.waiting_bytes(),
            batches_without_key: self.receiver.parked_len(),
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

    /// Returns when gossip itself has something to do, without the overlay. Of several timers that
    /// are due at one time, those of the publisher come first, then those of the receiver.
    pub(super) fn own_deadline(&self) -> Option<Deadline> {
        if self.is_shut_down {
            return None;
        }
        let halves = [self.publisher.deadline(), self.receiver.deadline()];
        let deadlines = halves.into_iter().chain([self.timers.deadline()]);
        deadlines.flatten().min_by_key(|deadline| deadline.at)
    }

    /// Handles what the overlay wants until it wants nothing, and keeps to the share of memory.
    pub(super) fn drain(&mut self, context: &mut Context<'_, P>) {
        loop {
            while let Some(output) = self.network.pop_output() {
                self.handle_output(context, output);
            }
            if !self.receiver.enforce_budget(context, &mut self.network) {
                return;
            }
        }
    }

    /// Hands a batch to the receiver.
    pub(super) fn receive(
        &mut self,
        context: &mut Context<'_, P>,
        receipt: overlay::Receipt<P>,
        bytes: Bytes,
    ) {
        let streams = self.publisher.streams_mut();
        self.receiver.receive(context, &mut self.network, streams, receipt, bytes);
    }

    fn handle_output(&mut self, context: &mut Context<'_, P>, output: overlay::Output<P>) {
        match output {
            overlay::Output::Session(request) => self.handle_request(context, request),
            overlay::Output::Received { receipt, bytes } => self.receive(context, receipt, bytes),
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

    /// Sends a frame of the overlay, and ahead of a batch the key of its author.
    fn send(&mut self, context: &mut Context<'_, P>, peer: P, header: &[u8], item: Bytes) {
        if let Some(session) = self.network.session_mut(&peer)
            && let Some((author, topic)) = batch::peek(&item)
        {
            session.note_topic(topic);
            if session.lacks_key(&author) {
                self.receiver.send_key(context, &mut self.network, peer, author);
            }
        }
        self.network.send_overlay(context, peer, header, item);
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

    fn handle_frame(&mut self, context: &mut Context<'_, P>, peer: P, frame: &Bytes) {
        let Some(session) = self.network.session(&peer) else {
            return context.count(Counter::FramesUnknown);
        };
        if session.is_closing() {
            return;
        }
        let network = &mut self.network;
        match frames::decode(frame) {
            Ok(Frame::Overlay(frame)) => {
                let event = session::Event::Frame { peer, frame };
                network.handle(context, overlay::Input::Session(event));
            }
            Ok(Frame::Key(key)) => {
                let (streams, key) = (self.publisher.streams_mut(), AuthorKey::new(key));
                self.receiver.receive_key(context, network, streams, peer, &key);
            }
            Ok(Frame::KeyRequest(author)) => {
                self.receiver.answer_key_request(context, network, peer, author);
            }
            Ok(Frame::Evidence(evidence)) => {
                self.receiver.receive_evidence(context, network, peer, &evidence);
            }
            Err(violation) => network.ban(context, peer, violation.0),
        }
    }

    fn end_session(&mut self, context: &mut Context<'_, P>, peer: P) {
        if self.network.session(&peer).is_some() {
            self.receiver.release_peer(context, &mut self.network, peer);
            self.network.close_session(&peer);
        }
    }

    fn publish(
        &mut self,
        context: &mut Context<'_, P>,
        id: PublishId,
        topic: &Topic,
        payload: Bytes,
    ) {
        let checked = self.check_publish(topic, payload.len());
        assert_eq!(checked, Ok(()), "the caller checks before it publishes");
        let topic = self.enter(context, topic);
        self.publisher.publish(context, id, topic, payload);
    }

    fn subscribe(&mut self, context: &Context<'_, P>, topic: &Topic) {
        assert_eq!(self.check_subscribe(topic), Ok(()), "the caller checks before it subscribes");
        let id = self.enter(context, topic);
        if self.receiver.subscribe(&id, context.now, context.unix_time) {
            self.timers.cancel(&LeaveTimer(id));
        }
    }

    fn unsubscribe(&mut self, context: &Context<'_, P>, id: TopicId) {
        if self.receiver.topic(&id).is_some_and(|topic| topic.is_subscribed()) {
            self.receiver.unsubscribe(context, id);
            self.leave_idle(context, id);
        }
    }

    /// Enters a topic, if the node is not in it.
    fn enter(&mut self, context: &Context<'_, P>, topic: &Topic) -> TopicId {
        let id = topic.id();
        if self.receiver.enter(id, topic) {
            self.network.join(context, id);
            self.timers.set(LeaveTimer(id), context.now + PUBLISHER_TIME);
        }
        id
    }

    /// Leaves a topic that is not subscribed to once the node has not published to it for
    /// [`PUBLISHER_TIME`].
    fn leave_idle(&mut self, context: &Context<'_, P>, id: TopicId) {
        if self.receiver.topic(&id).is_none_or(|topic| topic.is_subscribed()) {
            return;
        }
        let stays = self.publisher.published_at(&id).map(|at| at + PUBLISHER_TIME);
        match stays.filter(|&stays| stays > context.now) {
            Some(stays) => self.timers.set(LeaveTimer(id), stays),
            None => self.leave(context, id),
        }
    }

    fn leave(&mut self, context: &Context<'_, P>, id: TopicId) {
        self.receiver.leave(id);
        self.publisher.leave(&id);
        self.timers.cancel(&LeaveTimer(id));
        self.network.leave(context, id);
    }

    fn handle_timeout(&mut self, context: &mut Context<'_, P>) {
        self.network.handle(context, overlay::Input::Timeout);
        while let Some(at) = self.own_deadline().map(|deadline| deadline.at)
            && at <= context.now
        {
            self.handle_timer(context, at);
        }
        self.receiver.sweep(context);
    }

    /// Handles the first timer that is due at `at`.
    fn handle_timer(&mut self, context: &mut Context<'_, P>, at: Instant) {
        let is_handled = self.publisher.handle_timeout(at)
            || self.receiver.handle_timeout(context, &mut self.network, at);
        if !is_handled && let Some(LeaveTimer(topic)) = self.timers.pop_due(at) {
            self.leave_idle(context, topic);
        }
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

    /// Signs the next batch of a topic, delivers it here and hands it to the overlay.
    fn publish_batch(&mut self, context: &mut Context<'_, P>, topic: TopicId) {
        if !self.publisher.has_stream(&topic) {
            self.receiver.finish_own_stream(context, topic);
        }
        let batch = self.publisher.sign_batch(context, topic);
        self.receiver.deliver_own(context, &batch);
        self.network.publish(context, topic, batch.item());
        self.drain(context);
    }

    fn shut_down(&mut self, context: &mut Context<'_, P>) {
        self.sign_due(context, true);
        let topics: Vec<TopicId> = self.receiver.topics().map(|(&id, _)| id).collect();
        for topic in topics {
            self.leave(context, topic);
        }
        self.is_shut_down = true;
    }

    /// The receiver, for tests.
    #[cfg(test)]
    pub(super) fn receiver_mut(&mut self) -> &mut Receiver<P> {
        &mut self.receiver
    }

    /// The network, for tests.
    #[cfg(test)]
    pub(super) fn network(&self) -> &Network<P> {
        &self.network
    }
}
