//! The sessions with peers, and what waits to be sent to them.
//!
//! A frame goes out while the session has room; the last may exceed it. What finds no room waits:
//! control frames and items in queues of their own, each bounded. A peer that falls behind loses
//! items, never the others their time: an item that does not fit is announced instead, so that the
//! peer can ask for it when it has caught up. Of the authors whose items wait, the one that takes
//! the most room loses first.
//!
//! A peer that broke a rule is shunned for a while: its sessions stay with the owner and are not
//! used here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frames::{self, Frame, IDS_MAX, Ids, Message};
use super::{Contact, Context, Item, ItemId, Output, Peer, TopicId};
use crate::support::{BoundedMap, Counter, TokenBucket};

/// The most bytes of items that wait for one peer.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;

/// The most items that wait for one peer.
pub const QUEUE_ITEMS_MAX: usize = 8192;

/// The most bytes of control frames that wait for one peer. A peer that reads nothing loses more.
pub const CONTROL_BYTES_MAX: usize = 1 << 20;

/// How many requests that cost much a peer may make at once, and how often after that.
const REQUESTS_BURST: u32 = 64;
const REQUEST_INTERVAL: Duration = Duration::from_millis(100);

/// What a node asks itself of one peer: less than it would answer, as what was sent in the course of
/// a while may arrive at once.
const ASKS_BURST: u32 = 48;
const ASK_INTERVAL: Duration = Duration::from_millis(110);

/// How much a peer may send that is of no use: a request beyond what is answered, or an item once
/// more. So much at once, and so often after that. It is more than what an honest peer asks, and
/// what it sends because it was asked, when a link stands still until it is given up.
const WASTE_BURST: u32 = 1024;
const WASTE_INTERVAL: Duration = Duration::from_millis(100);

/// How many of the known items that a peer sent are remembered, to tell when it sends one again.
const AGAIN_MAX: usize = 256;

/// How long a peer that broke a rule is shunned.
pub const SHUN_TIME: Duration = Duration::from_secs(600);

/// The most peers that are shunned. The one that was condemned first makes room.
pub const SHUNNED_MAX: usize = 1024;

/// What waits of one item.
#[derive(Debug)]
struct Waiting {
    topic: TopicId,
    header: Bytes,
    item: Item,
}

/// A session with a peer.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) contact: Contact,
    pub(super) round_trip: Duration,
    /// The topics that the peer is in, in order.
    pub(super) topics: Vec<TopicId>,
    /// What it may ask for that costs much.
    pub(super) requests: TokenBucket,
    /// What this node may ask of it.
    pub(super) asks: TokenBucket,
    /// What it may send that is of no use.
    waste: TokenBucket,
    /// Items that it sent although they were known.
    again: BoundedMap<ItemId, ()>,
    /// When it last said anything.
    pub(super) heard_at: Instant,
    /// When it last sent an item.
    pub(super) gave_at: Option<Instant>,
    /// When it was last found to have broken a promise.
    pub(super) broke_at: Option<Instant>,
    /// Items that it announced and did not send when it was asked.
    pub(super) promises_broken: u32,
    /// Items that it announced and sent.
    pub(super) promises_kept: u32,
    /// Whether it broke a rule: nothing that it sends is looked at again.
    pub(super) is_condemned: bool,
    room: usize,
    control: VecDeque<Bytes>,
    control_bytes: usize,
    items: VecDeque<Waiting>,
    item_bytes: usize,
    /// The bytes that wait of each author.
    by_source: BTreeMap<u64, usize>,
    /// Items that found no room, to be announced when there is some.
    displaced: Vec<(TopicId, ItemId)>,
}

impl Session {
    fn new(contact: Contact, round_trip: Duration, room: usize, now: Instant) -> Self {
        Self {
            contact,
            round_trip,
            topics: Vec::new(),
            requests: TokenBucket::new(REQUESTS_BURST, REQUEST_INTERVAL, now),
            asks: TokenBucket::new(ASKS_BURST, ASK_INTERVAL, now),
            waste: TokenBucket::new(WASTE_BURST, WASTE_INTERVAL, now),
            again: BoundedMap::new(AGAIN_MAX),
            heard_at: now,
            gave_at: None,
            broke_at: None,
            promises_broken: 0,
            promises_kept: 0,
            is_condemned: false,
            room,
            control: VecDeque::new(),
            control_bytes: 0,
            items: VecDeque::new(),
            item_bytes: 0,
            by_source: BTreeMap::new(),
            displaced: Vec::new(),
        }
    }

    /// Takes something of no use from it. Returns whether that was too much.
    pub(super) fn waste(&mut self, now: Instant) -> bool {
        !self.waste.take(now)
    }

    /// It sent an item that was known. Returns whether it did so before.
    pub(super) fn sent_again(&mut self, id: ItemId) -> bool {
        let is_again = self.again.peek(&id).is_some();
        if !is_again {
            self.again.insert(id, ());
        }
        is_again
    }

    /// How many bytes of items wait.
    pub(super) fn backlog(&self) -> usize {
        self.item_bytes
    }

    pub(super) fn has_room(&self) -> bool {
        self.room > 0
    }

    /// Takes room; returns whether there was any.
    pub(super) fn take_room(&mut self, bytes: usize) -> bool {
        let has_room = self.has_room();
        self.room = self.room.saturating_sub(bytes);
        has_room
    }

    fn take_item(&mut self, index: usize) -> Option<Waiting> {
        let waiting = self.items.remove(index)?;
        let size = waiting.item.bytes.len();
        self.item_bytes -= size;
        if let Some(bytes) = self.by_source.get_mut(&waiting.item.source) {
            *bytes -= size;
            if *bytes == 0 {
                self.by_source.remove(&waiting.item.source);
            }
        }
        Some(waiting)
    }

    /// Lets an item wait; returns how many others had to go for it.
    fn queue_item(&mut self, waiting: Waiting) -> u64 {
        let size = waiting.item.bytes.len();
        self.item_bytes += size;
        *self.by_source.entry(waiting.item.source).or_default() += size;
        self.items.push_back(waiting);
        let mut displaced = 0;
        while self.item_bytes > QUEUE_BYTES_MAX || self.items.len() > QUEUE_ITEMS_MAX {
            let greediest = self.by_source.iter().max_by_key(|(_, bytes)| **bytes);
            let source = greediest.map(|(&source, _)| source);
            // Its newest goes: what is older keeps its order.
            let index = self.items.iter().rposition(|w| Some(w.item.source) == source);
            let Some(gone) = index.and_then(|index| self.take_item(index)) else { break };
            if self.displaced.len() < QUEUE_ITEMS_MAX {
                self.displaced.push((gone.topic, gone.item.stamp.id));
            }
            displaced += 1;
        }
        displaced
    }
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions<P> {
    all: BTreeMap<P, Box<Session>>,
    /// Who is in which topic.
    by_topic: BTreeMap<TopicId, BTreeSet<P>>,
    /// Who broke a rule, and until when that counts.
    shunned: BoundedMap<P, Instant>,
}

impl<P: Peer> Sessions<P> {
    pub(super) fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            by_topic: BTreeMap::new(),
            shunned: BoundedMap::new(SHUNNED_MAX),
        }
    }

    /// Begins a session.
    pub(super) fn begin(&mut self, now: Instant, peer: P, way: (Contact, Duration), room: usize) {
        let (contact, round_trip) = way;
        self.all.insert(peer, Box::new(Session::new(contact, round_trip, room, now)));
    }

    /// Shuns a peer for a while.
    pub(super) fn shun(&mut self, now: Instant, peer: P) {
        self.shunned.insert(peer, now + SHUN_TIME);
    }

    /// Whether a peer broke a rule not long ago.
    pub(super) fn is_shunned(&self, now: Instant, peer: &P) -> bool {
        self.shunned.peek(peer).is_some_and(|&until| now < until)
    }

    /// Ends a session.
    pub(super) fn end(&mut self, peer: &P) -> bool {
        let Some(session) = self.all.remove(peer) else { return false };
        for topic in &session.topics {
            self.forget_member(topic, peer);
        }
        true
    }

    pub(super) fn get(&self, peer: &P) -> Option<&Session> {
        self.all.get(peer).map(|session| &**session)
    }

    pub(super) fn get_mut(&mut self, peer: &P) -> Option<&mut Session> {
        self.all.get_mut(peer).map(|session| &mut **session)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = P> {
        self.all.keys().copied()
    }

    /// Who is in a topic and has a session.
    pub(super) fn members(&self, topic: &TopicId) -> impl Iterator<Item = P> {
        self.by_topic.get(topic).into_iter().flatten().copied()
    }

    /// Notes that a peer is in a topic. Returns whether that is new.
    pub(super) fn note_member(&mut self, topic: TopicId, peer: P) -> bool {
        let Some(session) = self.all.get_mut(&peer) else { return false };
        let Err(place) = session.topics.binary_search(&topic) else { return false };
        if session.topics.len() >= frames::TOPICS_MAX {
            return false;
        }
        session.topics.insert(place, topic);
        self.by_topic.entry(topic).or_default().insert(peer);
        true
    }

    /// Notes that a peer is not in a topic.
    pub(super) fn note_left(&mut self, topic: TopicId, peer: P) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        if let Ok(place) = session.topics.binary_search(&topic) {
            session.topics.remove(place);
            self.forget_member(&topic, &peer);
        }
    }

    /// Sends a control frame.
    pub(super) fn send(&mut self, context: &mut Context<'_, P>, peer: P, frame: &Frame<P>) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        let header = frames::encode(frame);
        if session.room == 0 {
            if session.control_bytes + header.len() > CONTROL_BYTES_MAX {
                return context.count(Counter::OverlayControlDropped);
            }
            session.control_bytes += header.len();
            session.control.push_back(header);
            return;
        }
        session.room = session.room.saturating_sub(header.len());
        context.emit(Output::Frame { peer, header, item: None });
    }

    /// Sends a message about a topic.
    pub(super) fn tell(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        topic: TopicId,
        message: Message<P>,
    ) {
        self.send(context, peer, &Frame::Topic(topic, message));
    }

    /// Sends an item; the header is its encoded push.
    pub(super) fn push(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        topic: TopicId,
        (header, item): (Bytes, Item),
    ) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        if session.room > 0 && session.items.is_empty() {
            session.room = session.room.saturating_sub(header.len() + item.bytes.len());
            return context.emit(Output::Frame { peer, header, item: Some(item) });
        }
        let displaced = session.queue_item(Waiting { topic, header, item });
        context.counters.add(Counter::OverlayItemsDisplaced, displaced);
    }

    /// Sends what waits while there is room.
    pub(super) fn writable(&mut self, context: &mut Context<'_, P>, peer: P, room: usize) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        session.room = room;
        while session.room > 0 {
            let (header, item) = if let Some(header) = session.control.pop_front() {
                session.control_bytes -= header.len();
                (header, None)
            } else if let Some(waiting) = session.take_item(0) {
                (waiting.header, Some(waiting.item))
            } else {
                break;
            };
            let size = header.len() + item.as_ref().map_or(0, |item| item.bytes.len());
            session.room = session.room.saturating_sub(size);
            context.emit(Output::Frame { peer, header, item });
        }
        if session.room > 0 && !session.displaced.is_empty() {
            self.announce_displaced(context, peer);
        }
    }

    fn announce_displaced(&mut self, context: &mut Context<'_, P>, peer: P) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        let mut by_topic: BTreeMap<TopicId, Vec<ItemId>> = BTreeMap::new();
        for (topic, id) in std::mem::take(&mut session.displaced) {
            by_topic.entry(topic).or_default().push(id);
        }
        for (topic, ids) in by_topic {
            for chunk in ids.chunks(IDS_MAX) {
                let ids = Ids::new(chunk.to_vec()).expect("a chunk is no longer than a frame");
                self.tell(context, peer, topic, Message::Have { ids, is_repair: true });
            }
        }
    }

    fn forget_member(&mut self, topic: &TopicId, peer: &P) {
        if let Some(members) = self.by_topic.get_mut(topic) {
            members.remove(peer);
            if members.is_empty() {
                self.by_topic.remove(topic);
            }
        }
    }
}
