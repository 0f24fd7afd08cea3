//! One session with a peer: what the peer may do, and what waits to be sent to it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Contact, Item, ItemId, TopicId};
use crate::support::{BoundedMap, TokenBucket};

/// The most bytes of items that wait for one peer, and [`WAITING_COST`] for each.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;

/// The most items that wait for one peer.
pub const QUEUE_ITEMS_MAX: usize = 8192;

/// The most bytes of control frames that wait for one peer, and [`FRAME_COST`] for each. A peer that
/// reads nothing loses more.
pub const CONTROL_BYTES_MAX: usize = 1 << 20;

/// What a control frame takes that waits, beside its bytes.
pub const FRAME_COST: usize = 128;

/// What an item takes that waits, beside its bytes.
pub const WAITING_COST: usize = 256;

/// What the name of an item takes that found no room.
const DISPLACED_COST: usize = 48;

/// How many messages of comparisons are answered to a peer that is no neighbour and was not asked.
const OPENINGS_BURST: u32 = 8;
const OPENING_INTERVAL: Duration = Duration::from_secs(2);

/// How many requests that cost much a peer may make at once, and how often after that.
const REQUESTS_BURST: u32 = 64;
const REQUEST_INTERVAL: Duration = Duration::from_millis(100);

/// How much a peer may send that is of no use: a request beyond what is answered, or an item once
/// more. So much at once, and so often after that. It is more than what an honest peer asks, and
/// what it sends because it was asked, when a link stands still until it is given up.
const WASTE_BURST: u32 = 1024;
const WASTE_INTERVAL: Duration = Duration::from_millis(100);

/// How many items are remembered that a peer was asked for, or sent although they were known.
const KNOWN_MAX: usize = 256;

/// What is remembered of an item that a peer sent although it was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    New,
    /// The peer was asked for it.
    Asked,
    /// The peer sent it before.
    Sent,
}

/// What waits of one item.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) topic: TopicId,
    pub(super) header: Bytes,
    pub(super) item: Item,
}

impl Waiting {
    fn cost(&self) -> usize {
        self.item.bytes.len() + WAITING_COST
    }
}

/// What waits for one peer or for all, as it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) control: usize,
    pub(super) items: usize,
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
    /// What it may send that is of no use.
    waste: TokenBucket,
    /// Items that it was asked for, or sent although they were known.
    known: BoundedMap<ItemId, Known>,
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
    /// How many times it may still refer to others: once for each topic that it was told of.
    pub(super) referrals: usize,
    /// How many topics it is in, by what it said.
    pub(super) named: usize,
    /// How many of those in `topics` this node is not in.
    pub(super) others: usize,
    /// How many topics it left. Joining as many takes of what is of no use.
    pub(super) lefts: usize,
    /// When this node last began to compare histories with it.
    pub(super) opened_at: Option<Instant>,
    /// How often it may begin that itself.
    pub(super) openings: TokenBucket,
    /// Whether it lost what waited for it before.
    pub(super) is_behind: bool,
    /// Whether a refusal to be its neighbour waits. One is enough while it does not read.
    pub(super) refusal_waits: bool,
    pub(super) room: usize,
    control: VecDeque<Bytes>,
    control_bytes: usize,
    pub(super) items: VecDeque<Waiting>,
    item_bytes: usize,
    /// The bytes that wait of each author.
    by_source: BTreeMap<u64, usize>,
    /// Items that found no room, to be announced when there is some.
    pub(super) displaced: Vec<(TopicId, ItemId)>,
}

impl Session {
    pub(super) fn new(contact: Contact, round_trip: Duration, room: usize, now: Instant) -> Self {
        Self {
            contact,
            round_trip,
            topics: Vec::new(),
            requests: TokenBucket::new(REQUESTS_BURST, REQUEST_INTERVAL, now),
            waste: TokenBucket::new(WASTE_BURST, WASTE_INTERVAL, now),
            known: BoundedMap::new(KNOWN_MAX),
            heard_at: now,
            gave_at: None,
            broke_at: None,
            promises_broken: 0,
            promises_kept: 0,
            is_condemned: false,
            referrals: 0,
            named: 0,
            others: 0,
            lefts: 0,
            opened_at: None,
            openings: TokenBucket::new(OPENINGS_BURST, OPENING_INTERVAL, now),
            is_behind: false,
            refusal_waits: false,
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

    /// It is asked for an item.
    pub(super) fn note_asked(&mut self, id: ItemId) {
        self.known.insert(id, Known::Asked);
    }

    /// It sent an item that was known. Returns what is remembered of that item.
    pub(super) fn sent_known(&mut self, id: ItemId) -> Known {
        let known = self.known.peek(&id).copied().unwrap_or(Known::New);
        if known != Known::Sent {
            self.known.insert(id, Known::Sent);
        }
        known
    }

    /// How many bytes of items wait.
    pub(super) fn backlog(&self) -> usize {
        self.item_bytes - self.items.len() * WAITING_COST
    }

    /// What waits, as it counts: control frames and items.
    pub(super) fn held(&self) -> Waits {
        let items = self.item_bytes + self.displaced.len() * DISPLACED_COST;
        Waits { control: self.control_bytes, items }
    }

    /// Lets a control frame wait, if there is room; returns whether there was.
    pub(super) fn queue_control(&mut self, header: Bytes) -> bool {
        let cost = header.len() + FRAME_COST;
        let has_room = self.control_bytes + cost <= CONTROL_BYTES_MAX;
        if has_room {
            self.control_bytes += cost;
            self.control.push_back(header);
        }
        has_room
    }

    pub(super) fn take_control(&mut self) -> Option<Bytes> {
        let header = self.control.pop_front()?;
        self.control_bytes -= header.len() + FRAME_COST;
        if self.control.is_empty() {
            // What a peer made grow does not stay.
            self.control = VecDeque::new();
        }
        Some(header)
    }

    /// Gives up all that waits; returns how many control frames and items that were.
    pub(super) fn clear(&mut self) -> (u64, u64) {
        let (control, items) = (std::mem::take(&mut self.control), std::mem::take(&mut self.items));
        (self.control_bytes, self.item_bytes) = (0, 0);
        self.by_source.clear();
        self.refusal_waits = false;
        self.displaced = Vec::new();
        let count = |length| u64::try_from(length).unwrap_or(u64::MAX);
        (count(control.len()), count(items.len()))
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

    pub(super) fn take_item(&mut self, index: usize) -> Option<Waiting> {
        let waiting = self.items.remove(index)?;
        let size = waiting.cost();
        self.item_bytes -= size;
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        if let Some(bytes) = self.by_source.get_mut(&waiting.item.source) {
            *bytes -= size;
            if *bytes == 0 {
                self.by_source.remove(&waiting.item.source);
            }
        }
        Some(waiting)
    }

    /// Lets an item wait; returns how many others had to go for it.
    pub(super) fn queue_item(&mut self, waiting: Waiting) -> u64 {
        let size = waiting.cost();
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
