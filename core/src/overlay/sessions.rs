//! The sessions with peers: who is in which topic, what waits to be sent, and who misbehaved.
//!
//! A frame goes out while the window of its session is open, and waits otherwise ([`SendQueue`]). A peer
//! that falls behind loses items and slows nobody: what did not fit is announced when the window opens,
//! so that the peer can fetch it.
//!
//! # Penalties
//!
//! One ladder, from mild to severe:
//!
//! 1. [`Sessions::penalize`]: the peer sent something useless. It may do so at a limited rate.
//! 2. [`Sessions::disconnect`]: the session ends, and this node ignores what still arrives on it. The
//!    peer may be honest behind a bad link, so it may come back.
//! 3. [`Sessions::shun`]: for [`SHUN_TIME`] this node does not use sessions with the peer. They stay
//!    with the owner.
//! 4. [`Sessions::ban`]: both. The peer violated the protocol, or exceeded the rate of 1.
//!
//! # Invariants
//!
//! - A session is in use as long as some topic has the peer as a neighbor or has asked it to be one.
//! - All send queues together stay within their budget. When they exceed it, the peer with the longest
//!   queue loses what waits for it; the second time it is disconnected, because it does not read.
//!
//! # Limits
//!
//! [`SHUNNED_MAX`]; those of a session ([`SendQueue`], [`OTHER_TOPICS_MAX`](super::OTHER_TOPICS_MAX));
//! and the budgets that the owner gives.
//!
//! [`SendQueue`]: super::session::SendQueue

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frames::{self, Frame, IDS_MAX, Ids, Message};
use super::session::{Announcement, QueuedBytes, Session, Waiting};
use super::{Contact, Context, Counter, Item, ItemId, Output, Peer, Request, TopicId};
use crate::support::{BoundedMap, TokenBucket};

/// The memory that a remembered topic of a peer takes that this node is not in.
pub(super) const OTHER_TOPIC_COST: usize = 540;

/// Rate at which this node answers reconciliation messages of all peers together.
const RECONCILIATIONS_BURST: u32 = 200;
const RECONCILIATION_INTERVAL: Duration = Duration::from_millis(10);

/// How long a peer may continue a reconciliation that this node opened.
const RECONCILIATION_TIME: Duration = Duration::from_secs(10);

/// How long a node does not use sessions with a peer that violated the protocol.
pub const SHUN_TIME: Duration = Duration::from_secs(600);

/// The most peers that a node shuns. The one that was added first makes room.
pub const SHUNNED_MAX: usize = 1024;

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions<P> {
    all: BTreeMap<P, Box<Session>>,
    /// The peers with a session that are in each topic.
    members: BTreeMap<TopicId, BTreeSet<P>>,
    /// In how many topics each peer is a neighbor or was asked to be one.
    uses: BTreeMap<P, usize>,
    /// The peers that are shunned, and until when.
    shunned: BoundedMap<P, Instant>,
    /// The reconciliation messages that may be answered.
    reconciliations: Option<TokenBucket>,
    /// How many topics of peers are remembered that this node is not in, and the most that may be.
    others: usize,
    others_max: usize,
    /// The memory that all send queues take, and the most that they may take.
    queued: QueuedBytes,
    queued_max: QueuedBytes,
}

impl<P: Peer> Sessions<P> {
    /// Makes the sessions of a node without peers. `others_max` is the most topics of peers that it
    /// remembers without being in them.
    pub(super) fn new(queued_max: QueuedBytes, others_max: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            members: BTreeMap::new(),
            uses: BTreeMap::new(),
            shunned: BoundedMap::new(SHUNNED_MAX),
            reconciliations: None,
            others: 0,
            others_max,
            queued: QueuedBytes::default(),
            queued_max,
        }
    }

    /// Begins a session.
    pub(super) fn begin(&mut self, peer: P, session: Session) {
        self.all.insert(peer, Box::new(session));
    }

    /// Ends a session.
    pub(super) fn end(&mut self, peer: &P) {
        let Some(session) = self.all.remove(peer) else { return };
        for topic in session.topics.iter() {
            self.forget_member(topic, peer);
        }
        self.others -= session.topics.others();
        self.count_queued(session.queue.held(), QueuedBytes::default());
    }

    pub(super) fn get(&self, peer: &P) -> Option<&Session> {
        self.all.get(peer).map(|session| &**session)
    }

    pub(super) fn get_mut(&mut self, peer: &P) -> Option<&mut Session> {
        self.all.get_mut(peer).map(|session| &mut **session)
    }

    pub(super) fn contains(&self, peer: &P) -> bool {
        self.all.contains_key(peer)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = P> {
        self.all.keys().copied()
    }

    /// Returns the contact of a peer, or an empty one if it has no session.
    pub(super) fn contact(&self, peer: &P) -> Contact {
        self.get(peer).map(|session| session.contact.clone()).unwrap_or_default()
    }

    /// Returns the round trip to a peer, or [`Duration::MAX`] if it has no session.
    pub(super) fn round_trip(&self, peer: &P) -> Duration {
        self.get(peer).map_or(Duration::MAX, |session| session.round_trip)
    }

    /// Returns whether a frame of a peer arrived after a time.
    pub(super) fn heard_since(&self, peer: &P, since: Instant) -> bool {
        self.get(peer).is_some_and(|session| session.heard_at > since)
    }

    /// Returns the peers with a session that are in a topic.
    pub(super) fn members(&self, topic: &TopicId) -> impl Iterator<Item = P> {
        self.members.get(topic).into_iter().flatten().copied()
    }

    /// Notes that a peer is in a topic. `is_own` states whether this node is in it.
    pub(super) fn note_joined(&mut self, topic: TopicId, peer: P, is_own: bool) -> Announcement {
        let Some(session) = self.all.get_mut(&peer) else { return Announcement::Useless };
        let announcement = session.topics.join(topic, is_own, self.others < self.others_max);
        match announcement {
            Announcement::Added | Announcement::AddedAfterLeave => {
                self.others += usize::from(!is_own);
                self.members.entry(topic).or_default().insert(peer);
            }
            Announcement::Ignored | Announcement::Useless => {}
        }
        announcement
    }

    /// Notes that a peer left a topic. `is_own` states whether this node is in it.
    pub(super) fn note_left(&mut self, topic: TopicId, peer: P, is_own: bool) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        if session.topics.leave(&topic, is_own) {
            self.others -= usize::from(!is_own);
            self.forget_member(&topic, &peer);
        }
    }

    /// This node joined or left a topic.
    pub(super) fn note_own(&mut self, topic: &TopicId, is_own: bool) {
        for peer in self.members.get(topic).into_iter().flatten() {
            let Some(session) = self.all.get_mut(peer) else { continue };
            session.topics.set_own(is_own);
            self.others = if is_own { self.others - 1 } else { self.others + 1 };
        }
    }

    /// Returns how many topics of peers are remembered that this node is not in.
    pub(super) fn others(&self) -> usize {
        self.others
    }

    /// A topic begins to use the session with a peer.
    pub(super) fn hold(&mut self, peer: P) {
        *self.uses.entry(peer).or_default() += 1;
    }

    /// A topic no longer uses the session with a peer.
    pub(super) fn unhold(&mut self, peer: &P) {
        if let Some(uses) = self.uses.get_mut(peer) {
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(peer);
            }
        }
    }

    /// Returns whether a peer has a session that no topic uses.
    pub(super) fn is_unused(&self, peer: &P) -> bool {
        self.all.contains_key(peer) && !self.uses.contains_key(peer)
    }

    /// The peer sent something useless. Bans it if it does so too often.
    pub(super) fn penalize(&mut self, context: &mut Context<'_, P>, peer: P) {
        let now = context.now;
        if self.get_mut(&peer).is_some_and(|session| !session.take_useless(now)) {
            self.ban(context, peer, "keeps sending useless frames");
        }
    }

    /// Ends the session with a peer and ignores what still arrives on it. The peer may come back.
    pub(super) fn disconnect(&mut self, context: &mut Context<'_, P>, peer: P, rule: &'static str) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        if !std::mem::replace(&mut session.is_disconnected, true) {
            let before = session.queue.held();
            session.queue.clear();
            self.count_queued(before, QueuedBytes::default());
            context.count(Counter::Violations);
            context.emit(Output::Session(Request::Violation { peer, rule }));
        }
    }

    /// Stops using sessions with a peer for [`SHUN_TIME`].
    pub(super) fn shun(&mut self, now: Instant, peer: P) {
        self.shunned.insert(peer, now + SHUN_TIME);
    }

    /// The peer violated the protocol: disconnects and shuns it, if it has a session.
    pub(super) fn ban(&mut self, context: &mut Context<'_, P>, peer: P, rule: &'static str) {
        if self.contains(&peer) {
            self.shun(context.now, peer);
            self.disconnect(context, peer, rule);
        }
    }

    /// Returns whether a peer is shunned.
    pub(super) fn is_shunned(&self, now: Instant, peer: &P) -> bool {
        self.shunned.peek(peer).is_some_and(|&until| now < until)
    }

    /// Takes a costly request of a peer. Returns false, and counts it, if the peer makes too many.
    pub(super) fn may_request(&mut self, context: &mut Context<'_, P>, peer: &P) -> bool {
        let now = context.now;
        let may = self.get_mut(peer).is_some_and(|session| session.take_request(now));
        if !may {
            context.count(Counter::RequestsOverLimit);
        }
        may
    }

    /// Takes a request of a peer for items. Penalizes the peer if it makes too many, because it knows
    /// the rate.
    pub(super) fn may_fetch(&mut self, context: &mut Context<'_, P>, peer: &P) -> bool {
        let may = self.may_request(context, peer);
        if !may {
            self.penalize(context, *peer);
        }
        may
    }

    /// Takes a reconciliation message of a peer about a topic. Returns false, and counts it, if too many
    /// come. Neighbors may send them at any time, other peers as replies to this node, and members of
    /// the topic now and then.
    pub(super) fn may_reconcile(
        &mut self,
        context: &mut Context<'_, P>,
        peer: &P,
        (topic, is_neighbor): (&TopicId, bool),
    ) -> bool {
        let now = context.now;
        let is_invited = is_neighbor || self.is_reply(now, peer);
        let may = (is_invited || self.may_open(now, peer, topic)) && self.take_reconciliation(now);
        if !may {
            context.count(Counter::RequestsOverLimit);
        }
        may
    }

    /// Returns whether a reconciliation message of a peer may belong to one that this node opened.
    fn is_reply(&self, now: Instant, peer: &P) -> bool {
        let opened_at = self.get(peer).and_then(Session::opened_at);
        opened_at.is_some_and(|at| now <= at + RECONCILIATION_TIME)
    }

    fn may_open(&mut self, now: Instant, peer: &P, topic: &TopicId) -> bool {
        let session = self.get_mut(peer).filter(|session| session.topics.contains(topic));
        session.is_some_and(|session| session.take_opening(now))
    }

    fn take_reconciliation(&mut self, now: Instant) -> bool {
        let new = || TokenBucket::new(RECONCILIATIONS_BURST, RECONCILIATION_INTERVAL, now);
        self.reconciliations.get_or_insert_with(new).take(now)
    }

    /// Returns the memory that all send queues take.
    pub(super) fn queued(&self) -> QueuedBytes {
        self.queued
    }

    /// Sends a control frame.
    pub(super) fn send(&mut self, context: &mut Context<'_, P>, peer: P, frame: &Frame<P>) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        if session.is_disconnected {
            return;
        }
        let header = frames::encode(frame);
        if session.queue.take_window(header.len()) {
            return emit(context, peer, header, None);
        }
        let is_refusal = matches!(frame, Frame::Topic(_, Message::NeighborReply(false)));
        if is_refusal && session.queue.note_refusal() {
            return context.count(Counter::ControlDropped);
        }
        let before = session.queue.held();
        if !session.queue.push_control(header) {
            return context.count(Counter::ControlDropped);
        }
        let after = session.queue.held();
        self.count_queued(before, after);
        self.shrink_queues(context);
    }

    /// Sends a message about a topic.
    pub(super) fn send_message(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        topic: TopicId,
        message: Message<P>,
    ) {
        self.send(context, peer, &Frame::Topic(topic, message));
    }

    /// Sends an item. The header is its encoded [`Message::Push`].
    pub(super) fn push(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        topic: TopicId,
        (header, item): (Bytes, Item),
    ) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        if session.is_disconnected {
            return;
        }
        if session.queue.take_window_for_item(header.len() + item.bytes.len()) {
            return emit(context, peer, header, Some(item));
        }
        let before = session.queue.held();
        let displaced = session.queue.push_item(Waiting { topic, header, item });
        let after = session.queue.held();
        context.count_many(Counter::ItemsDisplaced, displaced);
        self.count_queued(before, after);
        self.shrink_queues(context);
    }

    /// The window of a session changed: sends what waits while it is open, and announces what was
    /// displaced.
    pub(super) fn writable(&mut self, context: &mut Context<'_, P>, peer: P, window: usize) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        let before = session.queue.held();
        session.queue.set_window(window);
        while let Some((header, item)) = session.queue.pop() {
            emit(context, peer, header, item);
        }
        let displaced = session.queue.take_displaced();
        let after = session.queue.held();
        self.count_queued(before, after);
        self.announce_displaced(context, peer, displaced);
    }

    fn announce_displaced(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        displaced: Vec<(TopicId, ItemId)>,
    ) {
        let mut by_topic: BTreeMap<TopicId, Vec<ItemId>> = BTreeMap::new();
        for (topic, id) in displaced {
            by_topic.entry(topic).or_default().push(id);
        }
        for (topic, ids) in by_topic {
            for chunk in ids.chunks(IDS_MAX) {
                let ids = Ids::new(chunk.to_vec()).expect("a chunk is no longer than a frame");
                let message = Message::IHave { ids, is_repair: true };
                self.send_message(context, peer, topic, message);
            }
        }
    }

    fn count_queued(&mut self, before: QueuedBytes, after: QueuedBytes) {
        self.queued.control = self.queued.control - before.control + after.control;
        self.queued.items = self.queued.items - before.items + after.items;
    }

    /// Drops the longest queues until all are within the budget.
    fn shrink_queues(&mut self, context: &mut Context<'_, P>) {
        while self.queued.control > self.queued_max.control {
            self.drop_longest(context, |queued| queued.control);
        }
        while self.queued.items > self.queued_max.items {
            self.drop_longest(context, |queued| queued.items);
        }
    }

    fn drop_longest(&mut self, context: &mut Context<'_, P>, share: impl Fn(QueuedBytes) -> usize) {
        let longest = self.all.iter_mut().max_by_key(|(_, session)| share(session.queue.held()));
        let Some((&peer, session)) = longest else { return };
        let before = session.queue.held();
        let (control, items) = session.queue.clear();
        let is_repeated = session.queue.note_dropped();
        self.count_queued(before, QueuedBytes::default());
        context.count_many(Counter::ControlDropped, control);
        context.count_many(Counter::ItemsDisplaced, items);
        if is_repeated {
            self.disconnect(context, peer, "does not read what it is sent");
        }
    }

    fn forget_member(&mut self, topic: &TopicId, peer: &P) {
        if let Some(members) = self.members.get_mut(topic) {
            members.remove(peer);
            if members.is_empty() {
                self.members.remove(topic);
            }
        }
    }
}

/// Sends a frame: the header, and the bytes of the item if there is one.
fn emit<P: Peer>(context: &mut Context<'_, P>, peer: P, header: Bytes, item: Option<Item>) {
    let payload = item.map(|item| item.bytes).unwrap_or_default();
    context.emit(Output::Session(Request::Send { peer, header: header.into(), payload }));
}
