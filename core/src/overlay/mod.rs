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
//!
//! # Limits
//!
//! [`TOPICS_MAX`], [`ENTRIES_MAX`], [`IDS_MAX`], [`RECONCILE_BYTES_MAX`], [`QUEUE_BYTES_MAX`],
//! [`QUEUE_ITEMS_MAX`], [`CONTROL_BYTES_MAX`], [`MISSING_MAX`], those of [`history`], and the sizes of the views
//! ([`Config`]).

mod broadcast;
mod frames;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod history;
mod item;
mod membership;
mod passive;
pub mod reconcile;
mod sessions;
mod topic;
mod tree;
mod walks;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use broadcast::MISSING_MAX;
pub use frames::{ENTRIES_MAX, IDS_MAX, RECONCILE_BYTES_MAX, TOPICS_MAX};
pub use item::{CONTACT_SIZE_MAX, Contact, Item, ItemId, Stamp, TopicId};
pub use membership::PROTECTED;
pub use sessions::{CONTROL_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_ITEMS_MAX, SHUN_TIME, SHUNNED_MAX};

use crate::support::{Counter, MemoryBudget, Timers};
use crate::wire;
use frames::{Entries, Entry, Frame, Message};
use sessions::Sessions;
use topic::{Air, Topic};

/// A peer's id. The overlay is generic over it: nodes use the machine id, tests use numbers.
pub trait Peer: Copy + Ord + Debug + Serialize + DeserializeOwned + Send + 'static {}

impl<T: Copy + Ord + Debug + Serialize + DeserializeOwned + Send + 'static> Peer for T {}

/// The context of this module.
pub type Context<'a, P> = crate::support::Context<'a, Output<P>>;

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// A session with a peer began.
    PeerUp {
        /// The peer.
        peer: P,
        /// Where it is reached, for others who ask.
        contact: Contact,
        /// The round trip to it.
        round_trip: Duration,
        /// The bytes that may be sent.
        room: usize,
    },
    /// A peer with a session is reached elsewhere.
    PeerMoved {
        /// The peer.
        peer: P,
        /// Where it is reached, for others who ask.
        contact: Contact,
    },
    /// A session ended.
    PeerDown {
        /// The peer.
        peer: P,
    },
    /// There is room for frames.
    Writable {
        /// The peer.
        peer: P,
        /// The bytes that may be sent from here on.
        room: usize,
    },
    /// A frame arrived.
    Frame {
        /// The peer.
        peer: P,
        /// The whole frame.
        frame: Bytes,
    },
    /// No session came of an [`Output::Connect`].
    ConnectFailed {
        /// The peer.
        peer: P,
    },
    /// The owner wants to hear of a topic, or to publish to it.
    Join {
        /// The topic.
        topic: TopicId,
    },
    /// The owner wants no more of a topic.
    Leave {
        /// The topic.
        topic: TopicId,
    },
    /// The deadline has passed.
    Timeout,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// Send a frame: the header, then the bytes of the item if there is one.
    Frame {
        /// The peer.
        peer: P,
        /// The first bytes of the frame.
        header: Bytes,
        /// What follows them.
        item: Option<Item>,
    },
    /// An item came that was not seen before: check it, then call [`State::accept`] or
    /// [`State::reject`] with the receipt. Until then nobody else gets it.
    Received {
        /// What to give back.
        receipt: Receipt<P>,
        /// The bytes of the item.
        bytes: Bytes,
    },
    /// Have a session with a peer. The answer is [`Input::PeerUp`] or [`Input::ConnectFailed`].
    Connect {
        /// The peer.
        peer: P,
        /// Where it is reached.
        contact: Contact,
    },
    /// The overlay has no more use for the session with a peer.
    Release {
        /// The peer.
        peer: P,
    },
    /// The node knows nobody in a topic: have sessions with any peers that may.
    Lonely {
        /// The topic.
        topic: TopicId,
    },
    /// A peer broke a rule: end its session.
    Misbehaved {
        /// The peer.
        peer: P,
        /// The rule.
        rule: &'static str,
    },
}

/// An item that is being checked.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt<P> {
    /// The topic.
    pub topic: TopicId,
    /// The name and time that the peer gave the item.
    pub stamp: Stamp,
    /// Who sent it.
    pub peer: P,
    /// How many links it has come over.
    pub hops: u8,
    /// Whether it comes late, by repair, rather than fresh from its author.
    pub is_repair: bool,
}

/// Why an item is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever sent it should have known better: it is forged or malformed.
    Forged,
    /// Nobody is to blame: it is too old, or its author is no longer heard. It is known from here
    /// on and never asked for.
    Unwanted,
    /// It could not be checked. Another copy may be good.
    Unchecked,
}

/// The most neighbours in a topic that a node can be configured to have.
pub const ACTIVE_MAX: usize = 64;

/// The most other peers of a topic that a node can be configured to know.
pub const PASSIVE_MAX: usize = 1024;

/// The most steps of a walk that a node can be configured to take.
pub const WALK_STEPS_MAX: u8 = 16;

/// How large the views of a topic are, and how far newcomers walk: the parameters of HyParView.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Config {
    /// The most neighbours in a topic. The root of its tree has up to twice as many.
    pub active_max: usize,
    /// The most peers that are known beside them.
    pub passive_max: usize,
    /// The steps of a newcomer's walk (ARWL).
    pub walk_steps: u8,
    /// The step at which a newcomer is noted in the passive view (PRWL).
    pub passive_walk_steps: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self { active_max: 10, passive_max: 128, walk_steps: 6, passive_walk_steps: 3 }
    }
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Neighbours.
    pub neighbours: usize,
    /// Neighbours to which items are pushed.
    pub eager: usize,
    /// Other peers that are known.
    pub passive: usize,
    /// Items that were announced and have not come.
    pub missing: usize,
    /// Items that are kept.
    pub history_items: usize,
    /// Their bytes.
    pub history_bytes: usize,
    /// How far the node is from the root of the tree, if there is one.
    pub depth: Option<u8>,
}

/// The overlay of one node.
#[derive(Debug)]
pub struct State<P> {
    me: P,
    config: Config,
    memory: MemoryBudget,
    sessions: Sessions<P>,
    /// Boxed, like the sessions: a node of the tree has room for eleven.
    topics: BTreeMap<TopicId, Box<Topic<P>>>,
    /// The bytes of all histories.
    history_bytes: usize,
    /// When each topic has something to do.
    due: Timers<TopicId>,
}

impl<P: Peer> State<P> {
    /// Makes the state of a node without peers and topics.
    pub fn new(config: Config, memory: MemoryBudget, me: P) -> Self {
        Self {
            me,
            config,
            memory,
            sessions: Sessions::new(),
            topics: BTreeMap::new(),
            history_bytes: 0,
            due: Timers::default(),
        }
    }

    /// Handles an input.
    pub fn handle(&mut self, context: &mut Context<'_, P>, input: Input<P>) {
        match input {
            Input::PeerUp { peer, contact, round_trip, room } => {
                self.peer_up(context, peer, (contact, round_trip), room);
            }
            Input::PeerMoved { peer, contact } => {
                if let Some(session) = self.sessions.get_mut(&peer) {
                    session.contact = contact;
                }
            }
            Input::PeerDown { peer } => self.peer_down(context, peer),
            Input::Writable { peer, room } => self.sessions.writable(context, peer, room),
            Input::Frame { peer, frame } => self.frame(context, peer, &frame),
            Input::ConnectFailed { peer } => {
                self.for_each_topic(context, |topic, air| topic.connect_failed(air, peer));
            }
            Input::Join { topic } => self.join(context, topic),
            Input::Leave { topic } => self.leave(context, topic),
            Input::Timeout => {
                while let Some(id) = self.due.pop_due(context.now) {
                    self.with_topic(context, id, Topic::handle_timeout);
                }
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
            self.air(context).condemn(peer, "a forged item");
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
        waiting.map(sessions::Session::backlog).max().unwrap_or(0)
    }

    /// Tells whether a session takes one more frame of the owner's.
    pub fn has_room(&self, peer: &P) -> bool {
        self.sessions.get(peer).is_some_and(sessions::Session::has_room)
    }

    /// Takes room of a session for a frame of the owner's. Returns whether there was any: like every
    /// frame, it may need more than what is left.
    pub fn take_room(&mut self, peer: &P, bytes: usize) -> bool {
        self.sessions.get_mut(peer).is_some_and(|session| session.take_room(bytes))
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
            missing: topic.missing.len(),
            history_items: topic.history.len(),
            history_bytes: topic.history.bytes(),
            depth: topic.depth(),
        })
    }

    /// Returns when to handle [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| at)
    }

    fn air<'a, 'c>(&'a mut self, context: &'a mut Context<'c, P>) -> Air<'a, 'c, P> {
        Air { context, sessions: &mut self.sessions }
    }

    /// Lets a topic act, and notes when it has something to do.
    fn with_topic(
        &mut self,
        context: &mut Context<'_, P>,
        id: TopicId,
        act: impl FnOnce(&mut Topic<P>, &mut Air<'_, '_, P>),
    ) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let before = topic.history.bytes();
        let mut air = Air { context, sessions: &mut self.sessions };
        act(topic, &mut air);
        let now = air.unix_millis();
        self.history_bytes = self.history_bytes - before + topic.history.bytes();
        match topic.timers.first() {
            Some((at, _)) => self.due.set(id, at),
            None => self.due.cancel(&id),
        }
        for peer in std::mem::take(&mut topic.freed) {
            self.release(context, peer);
        }
        self.shrink_histories(now);
    }

    /// Takes room from the topics with the longest histories until there is enough.
    fn shrink_histories(&mut self, now: u64) {
        while self.history_bytes > self.memory.history() {
            let longest = self.topics.values_mut().max_by_key(|topic| topic.history.bytes());
            let Some(topic) = longest else { return };
            let before = topic.history.bytes();
            topic.history.shrink(now);
            self.history_bytes = self.history_bytes - before + topic.history.bytes();
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
            return context.count(Counter::OverlayPeersShunned);
        }
        self.sessions.begin(context.now, peer, way, room);
        let topics: Vec<TopicId> = self.topics.keys().copied().take(TOPICS_MAX).collect();
        if !topics.is_empty() {
            let topics = wire::BoundedVec::new(topics).expect("no more than a frame takes");
            self.sessions.send(context, peer, &Frame::Topics(topics));
        }
        self.for_each_topic(context, |topic, air| topic.peer_up(air, peer));
    }

    fn peer_down(&mut self, context: &mut Context<'_, P>, peer: P) {
        let Some(session) = self.sessions.get(&peer) else { return };
        let contact = session.contact.clone();
        self.sessions.end(&peer);
        self.for_each_topic(context, |topic, air| topic.peer_down(air, peer, &contact));
    }

    fn join(&mut self, context: &mut Context<'_, P>, id: TopicId) {
        if self.topics.contains_key(&id) || self.topics.len() >= TOPICS_MAX {
            return;
        }
        for peer in self.sessions.peers().collect::<Vec<_>>() {
            self.sessions.tell(context, peer, id, Message::Joined);
        }
        let mut air = Air { context, sessions: &mut self.sessions };
        let topic = Topic::new(&mut air, id, self.me, self.config);
        self.topics.insert(id, Box::new(topic));
        self.with_topic(context, id, Topic::handle_timeout);
    }

    fn leave(&mut self, context: &mut Context<'_, P>, id: TopicId) {
        let Some(topic) = self.topics.remove(&id) else { return };
        self.history_bytes -= topic.history.bytes();
        self.due.cancel(&id);
        for peer in self.sessions.peers().collect::<Vec<_>>() {
            self.sessions.tell(context, peer, id, Message::Left);
        }
        for peer in topic.active.keys().chain(topic.asked.keys()) {
            self.release(context, *peer);
        }
    }

    /// Gives a session back that no topic needs any more.
    fn release(&self, context: &mut Context<'_, P>, peer: P) {
        let is_used = self.topics.values().any(|topic| topic.uses(&peer));
        if !is_used && self.sessions.get(&peer).is_some() {
            context.emit(Output::Release { peer });
        }
    }

    fn frame(&mut self, context: &mut Context<'_, P>, peer: P, frame: &Bytes) {
        let session = self.sessions.get_mut(&peer).filter(|session| !session.is_condemned);
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
            Err(_) => self.air(context).condemn(peer, "a malformed frame of the overlay"),
        }
    }

    fn message(&mut self, context: &mut Context<'_, P>, peer: P, id: TopicId, message: Message<P>) {
        if matches!(message, Message::Left) {
            self.sessions.note_left(id, peer);
        }
        if !self.topics.contains_key(&id) {
            if matches!(message, Message::Neighbour(_)) {
                self.sessions.tell(context, peer, id, Message::Answer(false));
            }
            return;
        }
        self.with_topic(context, id, |topic, air| topic.handle_message(air, peer, message));
    }

    /// A peer is in a topic: it is told who else is, and the topic here may want it. It says so
    /// once, and not of more topics than there may be.
    fn member(&mut self, context: &mut Context<'_, P>, peer: P, id: TopicId) {
        if !self.sessions.note_member(id, peer) {
            return self.air(context).wasted(peer);
        }
        self.with_topic(context, id, |topic, air| topic.member_found(air, peer));
        if !Topic::may_ask(&mut self.air(context), &peer) {
            return;
        }
        let others: Vec<P> = self.sessions.members(&id).filter(|other| *other != peer).collect();
        let mut air = self.air(context);
        let chosen = air.sample(others, ENTRIES_MAX / 2);
        let entries: Vec<Entry<P>> = chosen
            .into_iter()
            .map(|other| Entry { peer: other, contact: air.contact(&other) })
            .collect();
        if !entries.is_empty() {
            let entries = Entries::new(entries).expect("half of what a frame takes");
            air.tell(peer, id, Message::Refer(entries));
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
        [Message::Joined, Message::Neighbour(Priority::High), graft]
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
