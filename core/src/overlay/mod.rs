//! Overlays: how the nodes of a topic find each other, and how an item reaches all of them.
//!
//! Each topic has an overlay of its own. `membership` selects neighbors (HyParView), `tree` the links
//! that carry items, `broadcast` pushes, announces and fetches items (Plumtree), [`history`] keeps the
//! recent ones, and [`reconcile`] compares two histories. Items are opaque: the owner of this module
//! checks each before it is forwarded.
//!
//! The module knows neither connections nor signatures. It asks its owner for sessions with peers, in
//! which frames arrive in order and without gaps. It is generic over the type of a peer's id.
//!
//! # How it is driven
//!
//! By inputs ([`State::handle`]), by the calls [`State::publish`], [`State::accept`], [`State::reject`],
//! [`State::pull`] and [`State::shun`], and by [`Input::Timeout`] at [`State::deadline`]. The owner
//! carries out the outputs in their order.
//!
//! # How nodes of a topic find each other
//!
//! Peers with a session tell each other the topics that they are in. A node that learns of a peer's topic
//! replies with other peers that are in it, whether it is in the topic itself or not.
//!
//! # Structure
//!
//! [`State`] has three parts: the sessions (`sessions`), the announced items that have not arrived
//! (`missing`) and the topics (`topics`). A `topic` composes membership, tree and broadcast, which
//! act on all of that through a `TopicContext`.
//!
//! # Invariants
//!
//! - An item goes to the owner once, from the first peer that sent it, until the owner rejects it.
//! - No item is forwarded before the owner accepts it.
//! - A peer that violated the protocol is not a neighbor for [`SHUN_TIME`], however often it connects.
//! - Neighbors that do not read, or that lie, cost the others nothing but bounded memory.
//! - All memory that peers can fill stays within the shares of the [`MemoryBudget`], counted as it is
//!   allocated ([`State::held`]). Beyond that the peer or topic with the most gives way.
//!
//! # Limits
//!
//! [`TOPICS_MAX`], [`ENTRIES_MAX`], [`IDS_MAX`], [`RECONCILE_BYTES_MAX`], [`QUEUE_BYTES_MAX`],
//! [`QUEUE_ITEMS_MAX`], [`CONTROL_BYTES_MAX`], [`MISSING_MAX`], [`MISSING_BY_PEER_MAX`], those of
//! [`history`], and the sizes of the views ([`Config`]).

mod broadcast;
mod context;
mod counters;
mod frames;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod history;
mod interface;
mod item;
mod membership;
mod missing;
pub mod reconcile;
mod sampling;
mod session;
mod sessions;
mod topic;
mod topics;
mod tree;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

pub use counters::Counter;
pub use frames::{ENTRIES_MAX, IDS_MAX, RECONCILE_BYTES_MAX, TOPICS_MAX};
pub use interface::{
    ACTIVE_MAX, Config, Fault, Held, Input, Output, PASSIVE_MAX, Receipt, Usage, WALK_STEPS_MAX,
};
pub use item::{Item, ItemId, Stamp, TopicId};
pub use membership::PROTECTED;
pub use missing::{MISSING_BY_PEER_MAX, MISSING_MAX};
pub use session::{
    CONTROL_BYTES_MAX, FRAME_COST, OTHER_TOPICS_MAX, QUEUE_BYTES_MAX, QUEUE_ITEMS_MAX, WAITING_COST,
};
pub use sessions::{SHUN_TIME, SHUNNED_MAX};

use crate::session::{Contact, Event, Opened, Peer, Request};
use crate::support::{Deadline, MemoryBudget};
use crate::wire;
use context::TopicContext;
use frames::{Entries, Entry, Frame, Message};
use membership::REPORTED_MAX;
use missing::MissingItems;
use session::{Announcement, QueuedBytes, Session};
use sessions::{OTHER_TOPIC_COST, Sessions};
use topic::Topic;
use topics::Topics;

/// The context of this module.
pub type Context<'a, P> = crate::support::Context<'a, Output<P>>;

/// The topics of peers that this node is not in take at most this fraction of the memory for ids.
const OTHERS_SHARE: usize = 8;

/// The overlays of one node.
#[derive(Debug)]
pub struct State<P> {
    me: P,
    memory: MemoryBudget,
    sessions: Sessions<P>,
    missing: MissingItems<P>,
    topics: Topics<P>,
}

impl<P: Peer> State<P> {
    /// Makes the state of a node without peers and topics.
    pub fn new(config: Config, memory: MemoryBudget, me: P) -> Self {
        let queued_max = QueuedBytes { control: memory.control(), items: memory.items() };
        let others_max = memory.index() / OTHERS_SHARE / OTHER_TOPIC_COST;
        Self {
            me,
            memory,
            sessions: Sessions::new(queued_max, others_max),
            missing: MissingItems::new(),
            topics: Topics::new(me, config),
        }
    }

    /// Handles an input.
    pub fn handle(&mut self, context: &mut Context<'_, P>, input: Input<P>) {
        match input {
            Input::Session(event) => self.handle_session(context, event),
            Input::Join { topic } => self.join(context, topic),
            Input::Leave { topic } => self.leave(context, &topic),
            Input::Timeout => {
                while let Some(id) = self.topics.pop_due(context.now) {
                    self.with_topic(context, id, Topic::handle_timeout);
                }
                while let Some(peer) = self.missing.pop_peer(context.now) {
                    self.fetch_from(context, peer);
                }
            }
        }
    }

    fn handle_session(&mut self, context: &mut Context<'_, P>, event: Event<P>) {
        match event {
            Event::Opened(Opened { peer, contact, round_trip, send_window, .. }) => {
                self.handle_opened(context, peer, (contact, round_trip, send_window));
            }
            Event::Moved { peer, contact } => {
                if let Some(session) = self.sessions.get_mut(&peer) {
                    session.contact = contact;
                }
            }
            Event::Closed { peer } => self.handle_closed(context, peer),
            Event::Writable { peer, send_window } => {
                self.sessions.writable(context, peer, send_window);
            }
            Event::Frame { peer, frame } => self.handle_frame(context, peer, &frame),
            Event::ConnectFailed { peer } => {
                self.for_each_topic(context, |topic, cx| topic.handle_connect_failed(cx, peer));
            }
        }
    }

    /// Sends an item of this node to all nodes of a topic.
    pub fn publish(&mut self, context: &mut Context<'_, P>, topic: TopicId, item: Item) {
        self.with_topic(context, topic, |topic, cx| topic.publish(cx, item));
    }

    /// The owner accepted an item: it is kept and forwarded. If its stamp is not the one that the peer
    /// claimed, the item was forged.
    pub fn accept(&mut self, context: &mut Context<'_, P>, receipt: Receipt<P>, item: Item) {
        if receipt.stamp != item.stamp {
            return self.reject(context, receipt, Fault::Forged);
        }
        self.with_topic(context, receipt.topic, |topic, cx| topic.accept(cx, &receipt, item));
    }

    /// The owner rejected an item.
    pub fn reject(&mut self, context: &mut Context<'_, P>, receipt: Receipt<P>, fault: Fault) {
        if fault == Fault::Forged {
            self.sessions.ban(context, receipt.peer, "a forged item");
        }
        self.with_topic(context, receipt.topic, |topic, cx| topic.reject(cx, &receipt, fault));
    }

    /// Looks at once for items that a peer has and this node has not.
    pub fn pull(&mut self, context: &mut Context<'_, P>, topic: TopicId, peer: P) {
        self.with_topic(context, topic, |topic, cx| topic.open_reconciliation(cx, peer));
    }

    /// The peer violated a protocol of the owner: stops using sessions with it for [`SHUN_TIME`].
    pub fn shun(&mut self, context: &mut Context<'_, P>, peer: P) {
        self.sessions.shun(context.now, peer);
    }

    /// Returns the bytes of items that wait for the slowest neighbor to which items of a topic are
    /// pushed.
    pub fn backlog(&self, topic: &TopicId) -> usize {
        let Some(topic) = self.topics.get(topic) else { return 0 };
        let eager = topic.roster().iter().filter(|(_, neighbor)| neighbor.link.is_eager);
        let sessions = eager.filter_map(|(peer, _)| self.sessions.get(peer));
        sessions.map(|session| session.queue.backlog()).max().unwrap_or(0)
    }

    /// Returns whether the window of a session is open.
    pub fn has_room(&self, peer: &P) -> bool {
        self.sessions.get(peer).is_some_and(|session| session.queue.is_open())
    }

    /// Takes bytes from the window of a session, for a frame of the owner. Returns whether the window was
    /// open. The frame may exceed it, as any frame may.
    pub fn take_room(&mut self, peer: &P, bytes: usize) -> bool {
        self.sessions.get_mut(peer).is_some_and(|session| session.queue.take_window(bytes))
    }

    /// Returns the bytes of an item, if they are kept.
    pub fn item(&self, topic: &TopicId, id: &ItemId) -> Option<Bytes> {
        Some(self.topics.get(topic)?.history().get(id)?.bytes.clone())
    }

    /// Returns the peers with a session that are in a topic.
    pub fn members(&self, topic: &TopicId) -> impl Iterator<Item = P> {
        self.sessions.members(topic)
    }

    /// Returns the neighbors in a topic.
    pub fn neighbours(&self, topic: &TopicId) -> impl Iterator<Item = P> {
        self.topics.get(topic).into_iter().flat_map(|topic| topic.roster().peers())
    }

    /// Returns the figures of a topic, or `None` if the node is not in it.
    pub fn usage(&self, topic: &TopicId) -> Option<Usage> {
        let usage = self.topics.get(topic)?.usage();
        Some(Usage { missing: self.missing.len(*topic), ..usage })
    }

    /// Returns the memory that peers and topics take.
    pub fn held(&self) -> Held {
        let QueuedBytes { control, items } = self.sessions.queued();
        let others = self.sessions.others() * OTHER_TOPIC_COST;
        let index = self.topics.index_bytes() + self.missing.bytes() + others;
        Held { control, items, index, history: self.topics.history_bytes() }
    }

    /// Returns when to handle [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Deadline> {
        self.topics.deadline().into_iter().chain(self.missing.deadline()).min()
    }

    /// Lets a topic act, and keeps to the memory budget.
    fn with_topic(
        &mut self,
        context: &mut Context<'_, P>,
        id: TopicId,
        act: impl FnOnce(&mut Topic<P>, &mut TopicContext<'_, '_, P>),
    ) {
        let environment = (&mut *context, &mut self.sessions, &mut self.missing);
        let Some(unused) = self.topics.run(id, environment, act) else { return };
        for peer in unused {
            self.release(context, peer);
        }
        let now = u64::try_from(context.unix_time.as_millis()).unwrap_or(u64::MAX);
        self.topics.shrink_histories(self.memory.history(), now);
        self.share_index(context);
    }

    /// Divides the memory for ids between missing items and histories: each may use what the other
    /// leaves, and always a half.
    fn share_index(&mut self, context: &mut Context<'_, P>) {
        let all = self.memory.index() - self.memory.index() / OTHERS_SHARE;
        let left = |used: usize| all.saturating_sub(used).max(all / 2);
        self.missing.set_bytes_max(left(self.topics.index_bytes()));
        let dropped = self.missing.shrink(context.now);
        context.count_many(Counter::AnnouncementsDropped, dropped);
        self.topics.shrink_index(left(self.missing.bytes()));
    }

    fn for_each_topic(
        &mut self,
        context: &mut Context<'_, P>,
        mut act: impl FnMut(&mut Topic<P>, &mut TopicContext<'_, '_, P>),
    ) {
        for id in self.topics.ids().collect::<Vec<_>>() {
            self.with_topic(context, id, &mut act);
        }
    }

    fn handle_opened(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        (contact, round_trip, window): (Contact, Duration, usize),
    ) {
        self.handle_closed(context, peer);
        if self.sessions.is_shunned(context.now, &peer) {
            return context.count(Counter::PeersShunned);
        }
        self.sessions.begin(peer, Session::new(contact, round_trip, window, context.now));
        self.missing.begin(context.now, peer);
        let topics: Vec<TopicId> = self.topics.ids().take(TOPICS_MAX).collect();
        if !topics.is_empty() {
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.allow_exchanges(topics.len());
            }
            let topics = wire::BoundedVec::new(topics).expect("no more than a frame takes");
            self.sessions.send(context, peer, &Frame::Topics(topics));
        }
        self.for_each_topic(context, |topic, cx| topic.handle_opened(cx, peer));
    }

    fn handle_closed(&mut self, context: &mut Context<'_, P>, peer: P) {
        let Some(session) = self.sessions.get(&peer) else { return };
        let contact = session.contact.clone();
        self.sessions.end(&peer);
        let missed = self.missing.end(context.now, &peer);
        context.count_many(Counter::ItemsMissed, missed);
        self.for_each_topic(context, |topic, cx| topic.handle_closed(cx, peer, &contact));
    }

    fn join(&mut self, context: &mut Context<'_, P>, id: TopicId) {
        if self.topics.contains(&id) || self.topics.len() >= TOPICS_MAX {
            return;
        }
        self.sessions.note_own(&id, true);
        for peer in self.sessions.peers().collect::<Vec<_>>() {
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.allow_exchanges(1);
            }
            self.sessions.send_message(context, peer, id, Message::Joined);
        }
        self.topics.insert(id, (&mut *context, &mut self.sessions, &mut self.missing));
        self.with_topic(context, id, Topic::handle_timeout);
    }

    fn leave(&mut self, context: &mut Context<'_, P>, id: &TopicId) {
        let Some(topic) = self.topics.remove(id) else { return };
        self.sessions.note_own(id, false);
        self.missing.forget_topic(context.now, *id);
        for peer in self.sessions.peers().collect::<Vec<_>>() {
            self.sessions.send_message(context, peer, *id, Message::Left);
        }
        for peer in topic.held_peers() {
            self.sessions.unhold(&peer);
            self.release(context, peer);
        }
    }

    /// Asks a peer for missing items, as far as the rate allows.
    fn fetch_from(&mut self, context: &mut Context<'_, P>, peer: P) {
        if let Some(session) = self.sessions.get(&peer)
            && self.missing.is_silent(context.now, &peer, session.heard_at)
        {
            let missed = self.missing.give_up(context.now, &peer);
            context.count_many(Counter::ItemsMissed, missed);
        }
        while let Some((topic, id)) = self.missing.first_due(context.now, &peer) {
            self.with_topic(context, topic, |topic, cx| topic.handle_due(cx, id));
        }
        while let Some((topic, id)) = self.missing.first_ready(context.now, &peer) {
            self.with_topic(context, topic, |topic, cx| topic.handle_ready(cx, peer, id));
        }
        self.missing.schedule(&peer, context.now);
    }

    /// Releases the session with a peer, if no topic uses it.
    fn release(&self, context: &mut Context<'_, P>, peer: P) {
        if self.sessions.is_unused(&peer) {
            context.emit(Output::Session(Request::Release { peer }));
        }
    }

    fn handle_frame(&mut self, context: &mut Context<'_, P>, peer: P, frame: &Bytes) {
        let session = self.sessions.get_mut(&peer).filter(|session| !session.is_disconnected);
        let Some(session) = session else { return };
        session.heard_at = context.now;
        match frames::decode(frame) {
            Ok((Frame::Topics(topics), _)) => {
                for topic in topics.into_vec() {
                    self.handle_joined(context, peer, topic);
                }
            }
            Ok((Frame::Topic(topic, Message::Joined), _)) => {
                self.handle_joined(context, peer, topic);
            }
            Ok((Frame::Topic(topic, Message::Push { stamp, hops, is_repair }), bytes)) => {
                let receipt = Receipt { topic, stamp, peer, hops, is_repair };
                self.with_topic(context, topic, |topic, cx| topic.handle_push(cx, receipt, bytes));
            }
            Ok((Frame::Topic(topic, message), _)) => {
                self.handle_message(context, peer, topic, message);
            }
            Err(_) => self.sessions.ban(context, peer, "a malformed frame of the overlay"),
        }
    }

    fn handle_message(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        id: TopicId,
        message: Message<P>,
    ) {
        let is_own = self.topics.contains(&id);
        if matches!(message, Message::Left) {
            self.sessions.note_left(id, peer, is_own);
        }
        if !is_own {
            if matches!(message, Message::Neighbor(_)) {
                let reply = Message::NeighborReply(false);
                self.sessions.send_message(context, peer, id, reply);
                self.sessions.penalize(context, peer);
            }
            return;
        }
        self.with_topic(context, id, |topic, cx| topic.handle_message(cx, peer, message));
    }

    /// A peer announced that it is in a topic: replies with others that are, and lets the topic use the
    /// peer.
    fn handle_joined(&mut self, context: &mut Context<'_, P>, peer: P, id: TopicId) {
        let is_own = self.topics.contains(&id);
        match self.sessions.note_joined(id, peer, is_own) {
            Announcement::Added => {}
            Announcement::AddedAfterLeave => self.sessions.penalize(context, peer),
            Announcement::Ignored => return,
            Announcement::Useless => return self.sessions.penalize(context, peer),
        }
        self.with_topic(context, id, |topic, cx| topic.handle_joined(cx, peer));
        if self.sessions.may_request(context, &peer) {
            self.send_peer_exchange(context, (peer, id), is_own);
        }
    }

    fn send_peer_exchange(
        &mut self,
        context: &mut Context<'_, P>,
        (peer, id): (P, TopicId),
        is_own: bool,
    ) {
        let others: Vec<P> = self.sessions.members(&id).filter(|other| *other != peer).collect();
        // The peer may not remember that this node is in the topic.
        let names_itself = is_own && self.topics.len() > OTHER_TOPICS_MAX;
        let count = REPORTED_MAX - usize::from(names_itself);
        let chosen = sampling::sample(context.rng, others, count);
        let entry = |peer| Entry { peer, contact: self.sessions.contact(&peer) };
        let mut entries: Vec<Entry<P>> = chosen.into_iter().map(entry).collect();
        if names_itself {
            entries.push(Entry { peer: self.me, contact: Contact::default() });
        }
        if !entries.is_empty() {
            let entries = Entries::new(entries).expect("no more than a frame takes");
            self.sessions.send_message(context, peer, id, Message::PeerExchange(entries));
        }
    }
}

/// What tests of other modules need.
#[cfg(test)]
pub(crate) mod testing {
    use super::frames::{self, Frame, Message, Priority};
    use super::{Bytes, TopicId};

    /// The frames with which a peer joins a topic and becomes a neighbor to which items are pushed.
    pub(crate) fn neighbour_frames(topic: TopicId) -> [Bytes; 3] {
        let graft = Message::Graft { is_child: true, item: None };
        [Message::Joined, Message::Neighbor(Priority::High), graft]
            .map(|message| frames::encode::<u64>(&Frame::Topic(topic, message)))
    }

    /// The header of a frame that pushes an item.
    pub(crate) fn push_frame(topic: TopicId, stamp: super::Stamp, is_repair: bool) -> Bytes {
        frames::encode::<u64>(&Frame::Topic(topic, Message::Push { stamp, hops: 0, is_repair }))
    }

    impl<P: super::Peer> super::State<P> {
        /// Returns how many items of a topic were seen.
        pub(crate) fn seen_len(&self, topic: &TopicId) -> usize {
            self.topics.get(topic).map_or(0, |topic| topic.history().seen_len())
        }
    }
}
