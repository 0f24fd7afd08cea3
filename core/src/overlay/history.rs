//! What a node keeps of one topic: the items of the last minutes, in the order of their stamps.
//!
//! A history serves items that others ask for, tells whether an item was seen before, and sums up
//! what it has in a few bytes, so that two nodes find what one of them missed
//! ([`reconcile`](super::reconcile)). It is in memory alone, and knows no peer.
//!
//! # How it is driven
//!
//! The owner checks an item, then calls [`History::insert`], or [`History::refuse`] if it wants
//! none of it. It calls [`History::expire`] now and then; nothing happens between calls. Times are
//! milliseconds since the Unix epoch. After a clock jumped back, what lies
//! in the future is given up.
//!
//! # Invariants
//!
//! - No more than [`HISTORY_ITEMS_MAX`] items and [`HISTORY_BYTES_MAX`] bytes are kept, and nothing
//!   older than [`HISTORY_MILLIS`].
//! - **One author cannot crowd out the others.** Whoever holds the most bytes loses its own oldest
//!   item when there is no room. An author with many keys counts as many.
//! - **An item is taken once.** Its id stays known after the item is gone, until the item is too
//!   old to be taken or [`SEEN_MAX`] others came after it. An owner that sees more than that number
//!   in [`HISTORY_MILLIS`] needs numbers of its own to tell what is old.
//! - **From the floor on, every item that came is known.** It is kept, or it is marked as gone: it
//!   was evicted, given up or refused. What is gone counts as known in a [`Fingerprint`], so that nobody
//!   offers it again.
//!
//! # The floor
//!
//! [`History::floor`] is the lowest stamp from which the history claims to be complete: the
//! greatest of when the node joined, the age limit, and what was evicted. The latter raises it to
//! [`PRESENT_MILLIS`] before the present at most, so an author whose stamps lie in the future
//! cannot hide the present. An author who fills the whole history hides what is older than its own
//! evicted items: they are kept, and are not compared.

mod fingerprint;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

pub use fingerprint::Fingerprint;

use super::{Item, ItemId, Stamp};
use crate::identity::CLOCK_SKEW_MAX;
use crate::wire::varint;

/// How long an item is kept.
pub const HISTORY_MILLIS: u64 = 15 * 60 * 1000;

/// The most items that are kept.
pub const HISTORY_ITEMS_MAX: usize = 4096;

/// The most bytes that are kept: those of the items, and [`ITEM_COST`] for each.
pub const HISTORY_BYTES_MAX: usize = 16 << 20;

/// What an item counts beside its bytes.
pub const ITEM_COST: usize = 128;

/// What an id takes that stays known.
pub const SEEN_COST: usize = 64;

/// What a mark of an item that is gone takes.
pub const GONE_COST: usize = 40;

/// The most ids that stay known.
pub const SEEN_MAX: usize = 65_536;

/// The most items that are marked as gone. The mark with the lowest stamp makes room.
pub const GONE_MAX: usize = 16_384;

/// An eviction does not raise the floor above this long ago.
pub const PRESENT_MILLIS: u64 = 30_000;

/// The stamp above those of all items.
pub const END: Stamp = Stamp::at(varint::VALUE_MAX);

/// What became of an item that was given to a history.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// It is new.
    New,
    /// It was seen before.
    Seen,
    /// Its stamp is older than the history, or beyond [`END`].
    OutOfTime,
}

/// The history of one topic.
#[derive(Debug)]
pub struct History {
    /// What is kept.
    items: BTreeMap<Stamp, Item>,
    /// What was evicted, given up or refused, from the floor on.
    gone: BTreeSet<Stamp>,
    /// What each author holds.
    shares: BTreeMap<u64, Share>,
    /// The authors by the bytes that they hold.
    by_bytes: BTreeSet<(usize, u64)>,
    /// The bytes of all authors.
    bytes: usize,
    /// The ids that came.
    seen: Seen,
    /// The time from which the node wants to know everything.
    since: u64,
    /// The time after that of every item that was evicted.
    evicted: u64,
    /// See [`History::floor`].
    floor: u64,
}

/// What one author holds.
#[derive(Debug, Default)]
struct Share {
    stamps: BTreeSet<Stamp>,
    bytes: usize,
}

impl History {
    /// Makes the history of a node that joins its topic at this time.
    pub fn new(since: u64) -> Self {
        Self {
            items: BTreeMap::new(),
            gone: BTreeSet::new(),
            shares: BTreeMap::new(),
            by_bytes: BTreeSet::new(),
            bytes: 0,
            seen: Seen::default(),
            since,
            evicted: 0,
            floor: since,
        }
    }

    /// Takes an item that was checked. An item that is new may be evicted at once, if its author
    /// holds too much already.
    pub fn insert(&mut self, item: Item, now: u64) -> Insertion {
        let stamp = item.stamp;
        let insertion = self.note(stamp, now);
        if insertion == Insertion::New {
            self.hold(item);
            while self.items.len() > HISTORY_ITEMS_MAX || self.bytes > HISTORY_BYTES_MAX {
                self.evict();
            }
            self.move_floor(now);
        }
        insertion
    }

    /// Marks an item as seen and gone: it is not kept, and no peer is asked for it.
    pub fn refuse(&mut self, stamp: Stamp, now: u64) -> Insertion {
        let insertion = self.note(stamp, now);
        if insertion == Insertion::New {
            self.gone.insert(stamp);
            self.move_floor(now);
        }
        insertion
    }

    /// Gives up an item, as if there were no room.
    pub fn shrink(&mut self, now: u64) {
        self.evict();
        self.move_floor(now);
    }

    /// Forgets what is too old, and gives up what is of a time that is not yet.
    pub fn expire(&mut self, now: u64) {
        let oldest = oldest(now);
        while let Some((&stamp, _)) = self.items.first_key_value()
            && stamp.time < oldest
        {
            self.release(&stamp);
        }
        // The clock went back. They stay known, for they came: peers that have them do not offer them.
        let skew = u64::try_from(CLOCK_SKEW_MAX.as_millis()).unwrap_or(u64::MAX);
        while let Some((&stamp, _)) = self.items.last_key_value()
            && stamp.time > now.saturating_add(skew)
        {
            self.release(&stamp);
            self.gone.insert(stamp);
        }
        self.seen.expire(oldest);
        self.move_floor(now);
    }

    /// Tells whether an item came before, whether or not it is kept.
    pub fn has_seen(&self, id: &ItemId) -> bool {
        self.seen.times.contains_key(id)
    }

    /// Tells whether an item is kept.
    pub fn contains(&self, id: &ItemId) -> bool {
        self.get(id).is_some()
    }

    /// Returns an item that is kept.
    pub fn get(&self, id: &ItemId) -> Option<&Item> {
        let &time = self.seen.times.get(id)?;
        self.items.get(&Stamp { time, id: *id })
    }

    /// Returns the lowest stamp from which every item that came is known.
    pub fn floor(&self) -> Stamp {
        Stamp::at(self.floor)
    }

    /// Sums up the items of a range, from its start to before its end, that are known.
    pub fn fingerprint(&self, range: Range<Stamp>, salt: u64) -> Fingerprint {
        if range.is_empty() {
            return Fingerprint::of(salt, []);
        }
        let kept = self.items.range(range.clone()).map(|(stamp, _)| stamp);
        Fingerprint::of(salt, kept.chain(self.gone.range(range)).map(|stamp| &stamp.id))
    }

    /// Returns how many items are kept.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Tells whether no item is kept.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the bytes that are kept: those of the items, and [`ITEM_COST`] for each.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes that names of items take, kept or not: [`SEEN_COST`] and [`GONE_COST`] for
    /// each.
    pub fn index_bytes(&self) -> usize {
        self.seen.times.len() * SEEN_COST + self.gone.len() * GONE_COST
    }

    /// Forgets names of items that are not kept, those that came first, until so many bytes are free or
    /// there is none left.
    pub fn shrink_index(&mut self, bytes: usize) {
        let target = self.index_bytes().saturating_sub(bytes);
        while self.index_bytes() > target && self.seen.times.len() > self.items.len() {
            if let Some(gone) = self.seen.forget_first(&self.items) {
                self.gone.remove(&gone);
            }
        }
    }

    /// Returns how many ids are known.
    pub fn seen_len(&self) -> usize {
        self.seen.times.len()
    }

    /// Returns how many items from the floor on are known and not kept.
    pub fn gone_len(&self) -> usize {
        self.gone.len()
    }

    /// Returns the stamps of a range that are known, in order.
    pub(super) fn stamps(&self, range: Range<Stamp>) -> Vec<Stamp> {
        if range.is_empty() {
            return Vec::new();
        }
        let mut kept = self.items.range(range.clone()).map(|(&stamp, _)| stamp).peekable();
        let mut gone = self.gone.range(range).copied().peekable();
        std::iter::from_fn(|| match (kept.peek(), gone.peek()) {
            (Some(left), Some(right)) if right < left => gone.next(),
            (Some(_), _) => kept.next(),
            (None, _) => gone.next(),
        })
        .collect()
    }

    /// Tells whether the item of a stamp is kept.
    pub(super) fn holds(&self, stamp: &Stamp) -> bool {
        self.items.contains_key(stamp)
    }

    fn note(&mut self, stamp: Stamp, now: u64) -> Insertion {
        self.expire(now);
        if stamp.time < oldest(now) || stamp.time >= END.time {
            Insertion::OutOfTime
        } else if self.seen.insert(stamp, &self.items) {
            Insertion::New
        } else {
            Insertion::Seen
        }
    }

    fn hold(&mut self, item: Item) {
        let cost = cost(&item);
        let share = self.shares.entry(item.source).or_default();
        self.by_bytes.remove(&(share.bytes, item.source));
        share.bytes += cost;
        share.stamps.insert(item.stamp);
        self.by_bytes.insert((share.bytes, item.source));
        self.bytes += cost;
        self.items.insert(item.stamp, item);
    }

    fn release(&mut self, stamp: &Stamp) {
        let Some(item) = self.items.remove(stamp) else { return };
        let cost = cost(&item);
        self.bytes -= cost;
        let share = self.shares.entry(item.source).or_default();
        self.by_bytes.remove(&(share.bytes, item.source));
        share.bytes -= cost;
        share.stamps.remove(stamp);
        if share.stamps.is_empty() {
            self.shares.remove(&item.source);
        } else {
            self.by_bytes.insert((share.bytes, item.source));
        }
    }

    /// Gives up the oldest item of the author that holds the most bytes.
    fn evict(&mut self) {
        let heaviest = self.by_bytes.last().and_then(|(_, source)| self.shares.get(source));
        let Some(&stamp) = heaviest.and_then(|share| share.stamps.first()) else { return };
        self.release(&stamp);
        self.gone.insert(stamp);
        self.evicted = self.evicted.max(stamp.time + 1);
    }

    /// Computes the floor. A wall clock may jump back, so the floor may fall.
    fn move_floor(&mut self, now: u64) {
        let evicted = self.evicted.min(now.saturating_sub(PRESENT_MILLIS));
        let floor = oldest(now).max(evicted).max(self.since.min(now)).min(END.time);
        let before = std::mem::replace(&mut self.floor, floor);
        if floor < before {
            // What was below the floor has no mark.
            let is_gone =
                |it: &Stamp| (floor..before).contains(&it.time) && !self.items.contains_key(it);
            self.gone.extend(self.seen.stamps().filter(is_gone));
        }
        while let Some(stamp) = self.gone.first()
            && (stamp.time < self.floor || self.gone.len() > GONE_MAX)
        {
            self.gone.pop_first();
        }
    }
}

/// The ids that came, in the order in which they came.
#[derive(Debug, Default)]
struct Seen {
    times: BTreeMap<ItemId, u64>,
    order: VecDeque<ItemId>,
}

impl Seen {
    /// Adds an id; returns whether it is new. The id that came first makes room, unless its item
    /// is kept.
    fn insert(&mut self, stamp: Stamp, kept: &BTreeMap<Stamp, Item>) -> bool {
        if self.times.contains_key(&stamp.id) {
            return false;
        }
        // This ends, for fewer items are kept than ids.
        while self.times.len() >= SEEN_MAX && !self.order.is_empty() {
            self.forget_first(kept);
        }
        self.times.insert(stamp.id, stamp.time);
        self.order.push_back(stamp.id);
        true
    }

    /// Forgets the id that came first, or puts it last if its item is kept. Returns what was forgotten.
    fn forget_first(&mut self, kept: &BTreeMap<Stamp, Item>) -> Option<Stamp> {
        let id = self.order.pop_front()?;
        let stamp = Stamp { time: self.times.get(&id).copied()?, id };
        if kept.contains_key(&stamp) {
            self.order.push_back(id);
            return None;
        }
        self.times.remove(&id);
        Some(stamp)
    }

    /// Returns the stamps of what came.
    fn stamps(&self) -> impl Iterator<Item = Stamp> {
        self.times.iter().map(|(&id, &time)| Stamp { time, id })
    }

    /// Forgets the first ids while their items are too old to be taken.
    fn expire(&mut self, oldest: u64) {
        while let Some(id) = self.order.front()
            && self.times.get(id).is_none_or(|&time| time < oldest)
        {
            self.times.remove(id);
            self.order.pop_front();
        }
    }
}

/// The time of the oldest items that are kept.
fn oldest(now: u64) -> u64 {
    now.saturating_sub(HISTORY_MILLIS)
}

fn cost(item: &Item) -> usize {
    item.bytes.len().saturating_add(ITEM_COST)
}
