//! Who hears of a topic, and how an item reaches all of them.
//!
//! Each topic has an overlay of its own, among the nodes that are in it. `membership` says who is
//! whose neighbour, `tree` which links carry items, `broadcast` how items travel and how what
//! was missed comes back, [`history`] what is kept, and [`reconcile`] how two histories are
//! compared. Items are opaque; whoever owns this module checks each before it goes on.
//!
//! This module knows neither links nor signatures: it asks its owner for sessions with peers, and
//! frames go over sessions in order, without gaps. It is generic over the peer's id.
//!
//! # How it is driven
//!
//! Inputs through [`State::handle`] and the verbs [`State::publish`], [`State::accept`],
//! [`State::reject`] and [`State::pull`]; [`Input::Timeout`] at [`State::deadline`]. Outputs are
//! carried out in order.
//!
//! # How nodes of a topic find each other
//!
//! Peers with a session tell each other which topics they are in. Whoever learns that a peer is in
//! a topic names it others that are in it, too, whether it is in the topic itself or not.
//!
//! # Invariants
//!
//! - An item is handed to the owner once, from whoever sent it first, until the owner rejects it.
//! - Nothing goes on that was not accepted.
//! - A peer that broke a rule is no neighbour for [`SHUN_TIME`], however often it comes back.
//! - Neighbours that do not read, or that lie, cost the others nothing but a bounded memory.
//! - All that peers make the node hold stays within the shares of its [`MemoryBudget`], counted as it is
//!   allocated ([`State::held`]). Beyond that the peer, or the topic, that holds the most gives way.
//!
//! # Limits
//!
//! [`TOPICS_MAX`], [`ENTRIES_MAX`], [`IDS_MAX`], [`RECONCILE_BYTES_MAX`], [`QUEUE_BYTES_MAX`],
//! [`QUEUE_ITEMS_MAX`], [`CONTROL_BYTES_MAX`], [`MISSING_MAX`], [`MISSING_BY_PEER_MAX`], those of [`history`], and the sizes of the views
//! ([`Config`]).

mod broadcast;
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
mod passive;
pub mod reconcile;
mod session;
mod sessions;
mod topic;
mod tree;
mod walks;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

pub use counters::Counter;
pub use frames::{ENTRIES_MAX, IDS_MAX, RECONCILE_BYTES_MAX, TOPICS_MAX};
pub use interface::{
    ACTIVE_MAX, Config, Fault, Held, Input, Output, PASSIVE_MAX, Receipt, Usage, WALK_STEPS_MAX,
};
pub use item::{Item, ItemId, Stamp, TopicId};
pub use membership::PROTECTED;
use membership::REFERRED_MAX;
pub use missing::{MISSING_BY_PEER_MAX, MISSING_MAX};
pub use session::{
    CONTROL_BYTES_MAX, FRAME_COST, OTHER_TOPICS_MAX, QUEUE_BYTES_MAX, QUEUE_ITEMS_MAX, WAITING_COST,
};
pub use sessions::{SHUN_TIME, SHUNNED_MAX};

use crate::session::{Contact, Event, Opened, Peer, Request};
use crate::support::{Deadline, MemoryBudget, Timers};
use crate::wire;
use frames::{Entries, Entry, Frame, Message};
use missing::MissingItems;
use session::{Announcement, QueuedBytes, Session};
use sessions::{OTHER_TOPIC_COST, Sessions};
use topic::{Air, Topic};

/// The context of this module.
pub type Context<'a, P> = crate::support::Context<'a, Output<P>>;

/// The names of topics that this node is not in take this part of the room for names at most.
const OTHERS_SHARE: usize = 8;

/// The overlay of one node.
#[derive(Debug)]
pub struct State<P> {
    me: P,
    config: Config,
    memory: MemoryBudget,
    sessions: Sessions<P>,
    missing: MissingItems<P>,
    /// Boxed, like the sessions: a node of the tree has room for eleven.
    topics: BTreeMap<TopicId, Box<Topic<P>>>,
    /// The bytes of all histories, and of what they know by name.
    history_bytes: usize,
    index_bytes: usize,
    /// When each topic has something to do.
    due: Timers<TopicId>,
}

impl<P: Peer> State<P> {
    /// Makes the state of a node without peers and topics.
    pub fn new(config: Config, memory: MemoryBudget, me: P) -> Self {
        let queued_max = QueuedBytes { control: memory.control(), items: memory.items() };
        let others_max = memory.index() / OTHERS_SHARE / OTHER_TOPIC_COST;
        Self {
            me,
            config,
            memory,
            sessions: Sessions::new(queued_max, others_max),
            missing: MissingItems::new(),
            topics: BTreeMap::new(),
            history_bytes: 0,
            index_bytes: 0,
            due: Timers::default(),
        }
    }

    /// Handles an input.
    pub fn handle(&mut self, context: &mut Context<'_, P>, input: Input<P>) {
        match input {
            Input::Session(event) => self.handle_session(context, event),
            Input::Join { topic } => self.join(context, topic),
            Input::Leave { topic } => self.leave(context, topic),
            Input::Timeout => {
                while let Some(id) = self.due.pop_due(context.now) {
                    self.with_topic(context, id, Topic::handle_timeout);
                }
                while let Some(peer) = self.missing.pop_peer(context.now) {
                    self.ask(context, peer);
                }
            }
        }
    }

    fn handle_session(&mut self, context: &mut Context<'_, P>, event: Event<P>) {
        match event {
            Event::Opened(Opened { peer, contact, round_trip, send_window, .. }) => {
                self.peer_up(context, peer, (contact, round_trip), send_window);
            }
            Event::Moved { peer, contact } => {
                if let Some(session) = self.sessions.get_mut(&peer) {
                    session.contact = contact;
                }
            }
            Event::Closed { peer } => self.peer_down(context, peer),
            Event::Writable { peer, send_window } => {
                self.sessions.writable(context, peer, send_window);
            }
            Event::Frame { peer, frame } => self.frame(context, peer, &frame),
            Event::ConnectFailed { peer } => {
                self.for_each_topic(context, |topic, air| topic.connect_failed(air, peer));
            }
        }
    }

    /// Sends an item of this node to everybody who hears of the topic.
    pub fn publish(&mut self, context: &mut Context<'_, P>, topic: TopicId, item: Item) {
        self.with_topic(context, topic, |topic, air| topic.publish(air, item));
    }

    /// Takes an item that was checked: it is kept and goes on to others. If it is not what the
    /// peer said that it is, it was forged.
    pub fn accept(&mut self, context: &mut Context<'_, P>, receipt: Receipt<P>, item: Item) {
        if receipt.stamp != item.stamp {
            return self.reject(context, receipt, Fault::Forged);
        }
        self.with_topic(context, receipt.topic, |topic, air| topic.accepted(air, &receipt, item));
    }

    /// Refuses an item.
    pub fn reject(&mut self, context: &mut Context<'_, P>, receipt: Receipt<P>, fault: Fault) {
        let Receipt { topic, peer, .. } = receipt;
        if fault == Fault::Forged {
            self.sessions.ban(context, peer, "a forged item");
        }
        self.with_topic(context, topic, |topic, air| topic.rejected(air, &receipt, fault));
    }

    /// Looks at once for what a peer has of a topic and this node has not.
    pub fn pull(&mut self, context: &mut Context<'_, P>, topic: TopicId, peer: P) {
        self.with_topic(context, topic, |topic, air| topic.open_reconciliation(air, peer));
    }

    /// The owner found that a peer broke a rule of its own: it is shunned here, too.
    pub fn shun(&mut self, context: &mut Context<'_, P>, peer: P) {
        self.sessions.shun(context.now, peer);
    }

    /// How many bytes wait for the neighbour of a topic that is furthest behind.
    pub fn backlog(&self, topic: &TopicId) -> usize {
        let Some(topic) = self.topics.get(topic) else { return 0 };
        let eager = topic.active.iter().filter(|(_, neighbour)| neighbour.is_eager);
        let waiting = eager.filter_map(|(peer, _)| self.sessions.get(peer));
        waiting.map(|session| session.queue.backlog()).max().unwrap_or(0)
    }

    /// Tells whether a session takes one more frame of the owner's.
    pub fn has_room(&self, peer: &P) -> bool {
        self.sessions.get(peer).is_some_and(|session| session.queue.is_open())
    }

    /// Takes room of a session for a frame of the owner's. Returns whether there was any: like every
    /// frame, it may need more than what is left.
    pub fn take_room(&mut self, peer: &P, bytes: usize) -> bool {
        self.sessions.get_mut(peer).is_some_and(|session| session.queue.take_window(bytes))
    }

    /// Returns the bytes of an item while they are kept.
    pub fn item(&self, topic: &TopicId, id: &ItemId) -> Option<Bytes> {
        Some(self.topics.get(topic)?.history.get(id)?.bytes.clone())
    }

    /// Returns the peers that have a session and are in a topic.
    pub fn members(&self, topic: &TopicId) -> impl Iterator<Item = P> {
        self.sessions.members(topic)
    }

    /// Returns the neighbours in a topic.
    pub fn neighbours(&self, topic: &TopicId) -> impl Iterator<Item = P> {
        self.topics.get(topic).into_iter().flat_map(|topic| topic.active.keys().copied())
    }

    /// Returns what is known of a topic that the node is in.
    pub fn usage(&self, topic: &TopicId) -> Option<Usage> {
        let topic = self.topics.get(topic)?;
        Some(Usage {
            neighbours: topic.active.len(),
            eager: topic.active.values().filter(|neighbour| neighbour.is_eager).count(),
            passive: topic.passive.len(),
            missing: self.missing.len(topic.id),
            history_items: topic.history.len(),
            history_bytes: topic.history.bytes(),
            depth: topic.depth(),
        })
    }

    /// Returns what the node holds for its peers and topics.
    pub fn held(&self) -> Held {
        let QueuedBytes { control, items } = self.sessions.queued();
        let others = self.sessions.others() * OTHER_TOPIC_COST;
        let index = self.index_bytes + self.missing.bytes() + others;
        Held { control, items, index, history: self.history_bytes }
    }

    /// Returns when to handle [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Deadline> {
        let due = self.due.first().and_then(|(_, topic)| self.topics.get(topic)?.deadline());
        due.into_iter().chain(self.missing.deadline()).min()
    }

    fn air<'a, 'c>(&'a mut self, context: &'a mut Context<'c, P>) -> Air<'a, 'c, P> {
        Air { context, sessions: &mut self.sessions, missing: &mut self.missing }
    }

    /// Lets a topic act, and notes when it has something to do.
    fn with_topic(
        &mut self,
        context: &mut Context<'_, P>,
        id: TopicId,
        act: impl FnOnce(&mut Topic<P>, &mut Air<'_, '_, P>),
    ) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let before = (topic.history.bytes(), topic.history.index_bytes());
        let mut air = Air { context, sessions: &mut self.sessions, missing: &mut self.missing };
        act(topic, &mut air);
        let now = air.unix_millis();
        self.history_bytes = self.history_bytes - before.0 + topic.history.bytes();
        self.index_bytes = self.index_bytes - before.1 + topic.history.index_bytes();
        match topic.timers.first() {
            Some((at, _)) => self.due.set(id, at),
            None => self.due.cancel(&id),
        }
        for peer in std::mem::take(&mut topic.freed) {
            self.release(context, peer);
        }
        self.shrink_histories(now);
        self.share_index(context);
    }

    /// Takes room from the topics with the longest histories until there is enough.
    fn shrink_histories(&mut self, now: u64) {
        while self.history_bytes > self.memory.history() {
            let longest = self.topics.values_mut().max_by_key(|topic| topic.history.bytes());
            let Some(topic) = longest else { return };
            let before = (topic.history.bytes(), topic.history.index_bytes());
            topic.history.shrink(now);
            self.history_bytes = self.history_bytes - before.0 + topic.history.bytes();
            self.index_bytes = self.index_bytes - before.1 + topic.history.index_bytes();
        }
    }

    /// Shares the room for names between what is missing and what histories know: each may use what the
    /// other leaves, and a half in any case. Beyond that the topic that knows the most forgets.
    fn share_index(&mut self, context: &mut Context<'_, P>) {
        let all = self.memory.index() - self.memory.index() / OTHERS_SHARE;
        let left = |used: usize| all.saturating_sub(used).max(all / 2);
        self.missing.set_bytes_max(left(self.index_bytes));
        let dropped = self.missing.shrink(context.now);
        context.count_many(Counter::AnnouncementsDropped, dropped);
        let most = left(self.missing.bytes());
        while self.index_bytes > most {
            let longest = self.topics.values_mut().max_by_key(|topic| topic.history.index_bytes());
            let Some(topic) = longest else { return };
            let before = topic.history.index_bytes();
            // Some more than has to be, so that not each name costs a look at all topics.
            topic.history.shrink_index((self.index_bytes - most).max(before / 16));
            let after = topic.history.index_bytes();
            self.index_bytes = self.index_bytes - before + after;
            if after == before {
                return;
            }
        }
    }

    fn for_each_topic(
        &mut self,
        context: &mut Context<'_, P>,
        mut act: impl FnMut(&mut Topic<P>, &mut Air<'_, '_, P>),
    ) {
        for id in self.topics.keys().copied().collect::<Vec<_>>() {
            self.with_topic(context, id, &mut act);
        }
    }

    fn peer_up(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        way: (Contact, Duration),
        room: usize,
    ) {
        self.peer_down(context, peer);
        if self.sessions.is_shunned(context.now, &peer) {
            return context.count(Counter::PeersShunned);
        }
        let (contact, round_trip) = way;
        self.sessions.begin(peer, Session::new(contact, round_trip, room, context.now));
        self.missing.begin(context.now, peer);
        let topics: Vec<TopicId> = self.topics.keys().copied().take(TOPICS_MAX).collect();
        if !topics.is_empty() {
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.allow_exchanges(topics.len());
            }
            let topics = wire::BoundedVec::new(topics).expect("no more than a frame takes");
            self.sessions.send(context, peer, &Frame::Topics(topics));
        }
        self.for_each_topic(context, |topic, air| topic.peer_up(air, peer));
    }

    fn peer_down(&mut self, context: &mut Context<'_, P>, peer: P) {
        let Some(session) = self.sessions.get(&peer) else { return };
        let contact = session.contact.clone();
        self.sessions.end(&peer);
        let missed = self.missing.end(context.now, &peer);
        context.count_many(Counter::ItemsMissed, missed);
        self.for_each_topic(context, |topic, air| topic.peer_down(air, peer, &contact));
    }

    fn join(&mut self, context: &mut Context<'_, P>, id: TopicId) {
        if self.topics.contains_key(&id) || self.topics.len() >= TOPICS_MAX {
            return;
        }
        self.sessions.note_own(&id, true);
        for peer in self.sessions.peers().collect::<Vec<_>>() {
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.allow_exchanges(1);
            }
            self.sessions.send_message(context, peer, id, Message::Joined);
        }
        let mut air = Air { context, sessions: &mut self.sessions, missing: &mut self.missing };
        let topic = Topic::new(&mut air, id, self.me, self.config);
        self.topics.insert(id, Box::new(topic));
        self.with_topic(context, id, Topic::handle_timeout);
    }

    fn leave(&mut self, context: &mut Context<'_, P>, id: TopicId) {
        let Some(topic) = self.topics.remove(&id) else { return };
        self.history_bytes -= topic.history.bytes();
        self.index_bytes -= topic.history.index_bytes();
        self.due.cancel(&id);
        self.sessions.note_own(&id, false);
        self.missing.forget_topic(context.now, id);
        for peer in self.sessions.peers().collect::<Vec<_>>() {
            self.sessions.send_message(context, peer, id, Message::Left);
        }
        for peer in topic.active.keys().chain(topic.asked.keys()) {
            self.sessions.unhold(peer);
            self.release(context, *peer);
        }
    }

    /// Asks a peer for what is missing, as far as it may be asked.
    fn ask(&mut self, context: &mut Context<'_, P>, peer: P) {
        if let Some(session) = self.sessions.get(&peer)
            && self.missing.is_silent(context.now, &peer, session.heard_at)
        {
            let missed = self.missing.give_up(context.now, &peer);
            context.count_many(Counter::ItemsMissed, missed);
        }
        while let Some((topic, id)) = self.missing.first_due(context.now, &peer) {
            self.with_topic(context, topic, |topic, air| topic.still_missing(air, id));
        }
        while let Some((topic, id)) = self.missing.first_ready(context.now, &peer) {
            self.with_topic(context, topic, |topic, air| topic.ask_for(air, peer, id));
        }
        self.missing.schedule(&peer, context.now);
    }

    /// Gives a session back that no topic needs any more.
    fn release(&self, context: &mut Context<'_, P>, peer: P) {
        if self.sessions.is_unused(&peer) {
            context.emit(Output::Session(Request::Release { peer }));
        }
    }

    fn frame(&mut self, context: &mut Context<'_, P>, peer: P, frame: &Bytes) {
        let session = self.sessions.get_mut(&peer).filter(|session| !session.is_disconnected);
        let Some(session) = session else { return };
        session.heard_at = context.now;
        match frames::decode(frame) {
            Ok((Frame::Topics(topics), _)) => {
                for topic in topics.into_vec() {
                    self.member(context, peer, topic);
                }
            }
            Ok((Frame::Topic(topic, Message::Joined), _)) => self.member(context, peer, topic),
            Ok((Frame::Topic(topic, Message::Push { stamp, hops, is_repair }), bytes)) => {
                let receipt = Receipt { topic, stamp, peer, hops, is_repair };
                self.with_topic(context, topic, |topic, air| topic.pushed(air, receipt, bytes));
            }
            Ok((Frame::Topic(id, message), _)) => self.message(context, peer, id, message),
            Err(_) => self.sessions.ban(context, peer, "a malformed frame of the overlay"),
        }
    }

    fn message(&mut self, context: &mut Context<'_, P>, peer: P, id: TopicId, message: Message<P>) {
        let is_own = self.topics.contains_key(&id);
        if matches!(message, Message::Left) {
            self.sessions.note_left(id, peer, is_own);
        }
        if !is_own {
            if matches!(message, Message::Neighbor(_)) {
                self.sessions.send_message(context, peer, id, Message::NeighborReply(false));
                self.sessions.penalize(context, peer);
            }
            return;
        }
        self.with_topic(context, id, |topic, air| topic.handle_message(air, peer, message));
    }

    /// A peer is in a topic: it is told who else is, and the topic here may want it. It says so
    /// once, and not of more topics than there may be.
    fn member(&mut self, context: &mut Context<'_, P>, peer: P, id: TopicId) {
        let is_own = self.topics.contains_key(&id);
        match self.sessions.note_joined(id, peer, is_own) {
            Announcement::Added => {}
            Announcement::AddedAfterLeave => self.sessions.penalize(context, peer),
            Announcement::Ignored => return,
            Announcement::Useless => return self.sessions.penalize(context, peer),
        }
        self.with_topic(context, id, |topic, air| topic.member_found(air, peer));
        if !self.sessions.may_request(context, &peer) {
            return;
        }
        let others: Vec<P> = self.sessions.members(&id).filter(|other| *other != peer).collect();
        let (me, names_many) = (self.me, self.topics.len() > OTHER_TOPICS_MAX);
        let mut air = self.air(context);
        let chosen = air.sample(others, REFERRED_MAX - usize::from(is_own && names_many));
        let mut entries: Vec<Entry<P>> = chosen
            .into_iter()
            .map(|other| Entry { peer: other, contact: air.sessions.contact(&other) })
            .collect();
        if is_own && names_many {
            // The peer may not have noted that this node is in the topic.
            entries.push(Entry { peer: me, contact: Contact::default() });
        }
        if !entries.is_empty() {
            let entries = Entries::new(entries).expect("no more than a frame takes");
            air.tell(peer, id, Message::PeerExchange(entries));
        }
    }
}

/// What other modules' tests need.
#[cfg(test)]
pub(crate) mod testing {
    use super::frames::{self, Frame, Message, Priority};
    use super::{Bytes, TopicId};

    /// The frames by which a peer says that it is in a topic, and becomes a neighbour to which
    /// items are pushed.
    pub(crate) fn neighbour_frames(topic: TopicId) -> [Bytes; 3] {
        let graft = Message::Graft { is_child: true, item: None };
        [Message::Joined, Message::Neighbor(Priority::High), graft]
            .map(|message| frames::encode::<u64>(&Frame::Topic(topic, message)))
    }

    /// The frame that pushes an item.
    pub(crate) fn push_frame(topic: TopicId, stamp: super::Stamp, is_repair: bool) -> Bytes {
        frames::encode::<u64>(&Frame::Topic(topic, Message::Push { stamp, hops: 0, is_repair }))
    }

    impl<P: super::Peer> super::State<P> {
        /// How many items of a topic are noted as seen.
        pub(crate) fn seen_len(&self, topic: &TopicId) -> usize {
            self.topics.get(topic).map_or(0, |topic| topic.history.seen_len())
        }
    }
}
