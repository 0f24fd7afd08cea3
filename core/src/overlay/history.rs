//! The history of one topic: the items of the last minutes, in the order of their stamps.
//!
//! A history serves items to peers, knows which items were seen, and has a fingerprint of any range of
//! stamps, so that two nodes find the difference between theirs ([`reconcile`](super::reconcile)). It is
//! kept in memory, and knows no peer.
//!
//! # How it is driven
//!
//! The owner checks an item, then calls [`History::insert`], or [`History::refuse`] to reject it. It
//! calls [`History::expire`] regularly; nothing happens between calls. Times are milliseconds since the
//! Unix epoch. If the clock jumps back, items that then lie in the future are dropped.
//!
//! # Invariants
//!
//! - At most [`HISTORY_ITEMS_MAX`] items and [`HISTORY_BYTES_MAX`] bytes are kept, and no item older than
//!   [`HISTORY_MILLIS`].
//! - **An author cannot displace the others.** If there is no room, the author with the most bytes loses
//!   its oldest item. An author with many keys counts as many.
//! - **An item is accepted once.** Its id stays known after the item is dropped, until the item is too old
//!   to be accepted or [`SEEN_MAX`] others arrived after it. An owner that sees more items in
//!   [`HISTORY_MILLIS`] has to recognise old ones itself.
//! - **From the floor on, every item that arrived is known.** It is kept, or marked as gone because it was
//!   evicted, dropped or refused. Items that are gone count in a [`Fingerprint`], so that no peer offers
//!   them again.
//!
//! # The floor
//!
//! [`History::floor`] is the lowest stamp from which the history is complete: the maximum of the time at
//! which the node joined, the age limit, and the newest evicted item. Evictions raise it to at most
//! [`PRESENT_MILLIS`] before the present, so an author whose stamps lie in the future cannot hide the
//! present. An author who fills the whole history hides items that are older than its own evicted ones:
//! they are kept, but not compared.

mod fingerprint;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

pub use fingerprint::Fingerprint;

use super::{Item, ItemId, Stamp};
use crate::identity::CLOCK_SKEW_MAX;
use crate::wire::varint;

/// How long an item is kept, in milliseconds.
pub const HISTORY_MILLIS: u64 = 15 * 60 * 1000;

/// The most items that are kept.
pub const HISTORY_ITEMS_MAX: usize = 4096;

/// The most bytes that are kept: those of the items, with [`ITEM_COST`] for each.
pub const HISTORY_BYTES_MAX: usize = 16 << 20;

/// The memory that an item takes beside its bytes.
pub const ITEM_COST: usize = 128;

/// The memory that a known id takes.
pub const SEEN_COST: usize = 64;

/// The memory that the mark of a gone item takes.
pub const GONE_COST: usize = 40;

/// The most known ids.
pub const SEEN_MAX: usize = 65_536;

/// The most items that are marked as gone. The lowest stamp makes room.
pub const GONE_MAX: usize = 16_384;

/// Evictions raise the floor to at most this many milliseconds before the present.
pub const PRESENT_MILLIS: u64 = 30_000;

/// The end of all stamps, exclusive.
pub const END: Stamp = Stamp::at(varint::VALUE_MAX);

/// The result of an insertion.
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
    /// The items that are kept.
    items: BTreeMap<Stamp, Item>,
    /// The items from the floor on that were evicted, dropped or refused.
    gone: BTreeSet<Stamp>,
    /// The items of each author.
    shares: BTreeMap<u64, Share>,
    /// The authors by their bytes.
    by_bytes: BTreeSet<(usize, u64)>,
    /// The bytes of all authors.
    bytes: usize,
    /// The known ids.
    seen: Seen,
    /// The time at which the node joined.
    since: u64,
    /// The time after that of the newest evicted item.
    evicted: u64,
    /// See [`History::floor`].
    floor: u64,
}

/// The items of one author.
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

    /// Inserts an item that the owner has checked. A new item may be evicted at once, if its author has
    /// too many.
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

    /// Marks an item as seen and gone: it is not kept, and never fetched.
    pub fn refuse(&mut self, stamp: Stamp, now: u64) -> Insertion {
        let insertion = self.note(stamp, now);
        if insertion == Insertion::New {
            self.gone.insert(stamp);
            self.move_floor(now);
        }
        insertion
    }

    /// Evicts one item, as if there were no room.
    pub fn shrink(&mut self, now: u64) {
        self.evict();
        self.move_floor(now);
    }

    /// Drops items that are too old, or that lie in the future.
    pub fn expire(&mut self, now: u64) {
        let oldest = oldest(now);
        while let Some((&stamp, _)) = self.items.first_key_value()
            && stamp.time < oldest
        {
            self.release(&stamp);
        }
        // The clock jumped back. These items stay known, so that peers do not offer them again.
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

    /// Returns whether an item is known, kept or not.
    pub fn has_seen(&self, id: &ItemId) -> bool {
        self.seen.times.contains_key(id)
    }

    /// Returns whether an item is kept.
    pub fn contains(&self, id: &ItemId) -> bool {
        self.get(id).is_some()
    }

    /// Returns an item, if it is kept.
    pub fn get(&self, id: &ItemId) -> Option<&Item> {
        let &time = self.seen.times.get(id)?;
        self.items.get(&Stamp { time, id: *id })
    }

    /// Returns the lowest stamp from which every item that arrived is known.
    pub fn floor(&self) -> Stamp {
        Stamp::at(self.floor)
    }

    /// Returns the fingerprint of the known items in a range.
    pub fn fingerprint(&self, range: Range<Stamp>, salt: u64) -> Fingerprint {
        if range.is_empty() {
            return Fingerprint::of(salt, []);
        }
        let kept = self.items.range(range.clone()).map(|(stamp, _)| stamp);
        Fingerprint::of(salt, kept.chain(self.gone.range(range)).map(|stamp| &stamp.id))
    }

    /// Returns the number of items that are kept.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether no item is kept.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the bytes that are kept: those of the items, with [`ITEM_COST`] for each.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the memory that ids take: [`SEEN_COST`] for each known one, and [`GONE_COST`] for each that is
    /// gone.
    pub fn index_bytes(&self) -> usize {
        self.seen.times.len() * SEEN_COST + self.gone.len() * GONE_COST
    }

    /// Forgets ids of items that are not kept, oldest first, until `bytes` of memory are free or none is
    /// left.
    pub fn shrink_index(&mut self, bytes: usize) {
        let target = self.index_bytes().saturating_sub(bytes);
        while self.index_bytes() > target && self.seen.times.len() > self.items.len() {
            if let Some(gone) = self.seen.forget_first(&self.items) {
                self.gone.remove(&gone);
            }
        }
    }

    /// Returns the number of known ids.
    pub fn seen_len(&self) -> usize {
        self.seen.times.len()
    }

    /// Returns the number of items that are marked as gone.
    pub fn gone_len(&self) -> usize {
        self.gone.len()
    }

    /// Returns the known stamps of a range, in order.
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

    /// Returns whether the item of a stamp is kept.
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

    /// Drops the oldest item of the author with the most bytes.
    fn evict(&mut self) {
        let heaviest = self.by_bytes.last().and_then(|(_, source)| self.shares.get(source));
        let Some(&stamp) = heaviest.and_then(|share| share.stamps.first()) else { return };
        self.release(&stamp);
        self.gone.insert(stamp);
        self.evicted = self.evicted.max(stamp.time + 1);
    }

    /// Updates the floor. It may fall, because the wall clock may jump back.
    fn move_floor(&mut self, now: u64) {
        let evicted = self.evicted.min(now.saturating_sub(PRESENT_MILLIS));
        let floor = oldest(now).max(evicted).max(self.since.min(now)).min(END.time);
        let before = std::mem::replace(&mut self.floor, floor);
        if floor < before {
            // Items below the old floor have no mark.
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

/// The known ids, in the order of arrival.
#[derive(Debug, Default)]
struct Seen {
    times: BTreeMap<ItemId, u64>,
    order: VecDeque<ItemId>,
}

impl Seen {
    /// Adds an id. Returns whether it is new. The oldest id makes room, unless its item is kept.
    fn insert(&mut self, stamp: Stamp, kept: &BTreeMap<Stamp, Item>) -> bool {
        if self.times.contains_key(&stamp.id) {
            return false;
        }
        // This terminates, because fewer items are kept than ids.
        while self.times.len() >= SEEN_MAX && !self.order.is_empty() {
            self.forget_first(kept);
        }
        self.times.insert(stamp.id, stamp.time);
        self.order.push_back(stamp.id);
        true
    }

    /// Forgets the oldest id, or moves it to the end if its item is kept. Returns the stamp that was
    /// forgotten.
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

    /// Returns the known stamps, in no particular order.
    fn stamps(&self) -> impl Iterator<Item = Stamp> {
        self.times.iter().map(|(&id, &time)| Stamp { time, id })
    }

    /// Forgets the oldest ids as long as their items are too old to be accepted.
    fn expire(&mut self, oldest: u64) {
        while let Some(id) = self.order.front()
            && self.times.get(id).is_none_or(|&time| time < oldest)
        {
            self.times.remove(id);
            self.order.pop_front();
        }
    }
}

/// Returns the time of the oldest items that are kept.
fn oldest(now: u64) -> u64 {
    now.saturating_sub(HISTORY_MILLIS)
}

fn cost(item: &Item) -> usize {
    item.bytes.len().saturating_add(ITEM_COST)
}
