//! What is known of one author in one topic: which batches came, and which is to be delivered next.
//!
//! Batches are delivered in the order of their sequence. One that comes too early waits, bounded,
//! for those before it. A subscription begins within a stream; where, is found by the times: a
//! batch starts the stream if the one before it was made clearly before the subscription. Until
//! then a batch that was itself made before, and comes by repair, only tells where the stream is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::batch::{Root, VerifiedBatch, item_id};
use crate::crypto::hash::HASH_LEN;
use crate::overlay::ItemId;

/// The most batches of one author that wait for those before them.
pub const WAITING_BATCHES_MAX: usize = 512;

/// The most bytes of batches of one author that wait for those before them.
pub const WAITING_BYTES_MAX: usize = 4 << 20;

/// How many of the latest batches of each author are remembered, to know those that exclude them.
pub const ROOTS_MAX: usize = 64;

/// A batch starts a stream if the one before it is older than the subscription by this much.
pub const START_SLACK: Duration = Duration::from_secs(5);

/// What is remembered of a batch.
#[derive(Clone, Copy, Debug)]
struct Mark {
    hash: [u8; HASH_LEN],
    previous: [u8; HASH_LEN],
    first: u64,
    end: u64,
    time: u64,
    previous_time: u64,
}

impl Mark {
    fn of(root: &Root, hash: &[u8; HASH_LEN]) -> Self {
        Self {
            hash: *hash,
            previous: root.previous,
            first: root.first,
            end: root.end(),
            time: root.time,
            previous_time: root.previous_time,
        }
    }

    fn excludes(&self) -> Relation {
        Relation::Excludes(item_id(&self.hash))
    }

    fn leads_to(&self, next: &Self) -> bool {
        next.previous == self.hash && next.first == self.end && next.previous_time == self.time
    }
}

/// How a batch relates to those that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It fits.
    New,
    /// It came before.
    Known,
    /// The author signed another one that excludes it.
    Excludes(ItemId),
}

/// The latest batches of a stream.
#[derive(Debug, Default)]
pub(super) struct Roots {
    marks: BTreeMap<u64, Mark>,
}

impl Roots {
    /// Compares a batch with those that came.
    pub(super) fn relate(&self, root: &Root, hash: &[u8; HASH_LEN]) -> Relation {
        let mark = Mark::of(root, hash);
        if let Some(same) = self.marks.get(&root.sequence) {
            let is_same = same.hash == mark.hash;
            return if is_same { Relation::Known } else { same.excludes() };
        }
        let at = |sequence: Option<u64>| sequence.and_then(|sequence| self.marks.get(&sequence));
        let before = at(root.sequence.checked_sub(1)).filter(|before| !before.leads_to(&mark));
        let after = at(root.sequence.checked_add(1)).filter(|after| !mark.leads_to(after));
        before.or(after).map_or(Relation::New, Mark::excludes)
    }

    /// Remembers a batch, if it is among the latest.
    pub(super) fn insert(&mut self, root: &Root, hash: &[u8; HASH_LEN]) {
        self.marks.insert(root.sequence, Mark::of(root, hash));
        if self.marks.len() > ROOTS_MAX {
            self.marks.pop_first();
        }
    }
}

/// Where the delivery of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// The next sequence.
    sequence: u64,
    /// The place of its first message.
    message: u64,
    /// Whether something was delivered, or is next for certain.
    is_live: bool,
}

/// The delivery of a stream.
#[derive(Debug)]
pub(super) struct Order {
    /// When the subscription began, in milliseconds since the Unix epoch.
    since: u64,
    /// The first sequence that was not delivered to an earlier subscription.
    first: u64,
    /// Where the delivery is, once that is known.
    position: Option<Position>,
    /// What came too early, by sequence.
    waiting: BTreeMap<u64, VerifiedBatch>,
    /// The size of what waits.
    waiting_bytes: usize,
}

impl Order {
    /// Starts the delivery for a subscription that began at `since`, where what is before the sequence
    /// `first` was delivered to an earlier one.
    pub(super) fn new(since: u64, first: u64) -> Self {
        Self { since, first, position: None, waiting: BTreeMap::new(), waiting_bytes: 0 }
    }

    /// Returns the first sequence that was not delivered, if one was.
    pub(super) fn delivered_to(&self) -> Option<u64> {
        self.position.filter(|position| position.is_live).map(|position| position.sequence)
    }

    /// Takes a batch. Whether something can be delivered, [`Self::next`] tells.
    pub(super) fn take(&mut self, batch: VerifiedBatch, is_repair: bool) {
        let root = batch.root();
        let (sequence, end) = (root.sequence, root.end());
        if sequence < self.expected() || self.waiting.contains_key(&sequence) {
            return;
        }
        let is_live = self.position.is_some_and(|position| position.is_live);
        if !is_live && is_repair && root.time < self.since {
            let sequence = sequence.saturating_add(1);
            self.position = Some(Position { sequence, message: end, is_live: false });
            let waiting = self.waiting.split_off(&sequence);
            let skipped = std::mem::replace(&mut self.waiting, waiting);
            self.waiting_bytes -= skipped.values().map(|batch| batch.size()).sum::<usize>();
            return;
        }
        self.waiting_bytes += batch.size();
        self.waiting.insert(sequence, batch);
    }

    /// Returns the batch that is to be delivered next.
    pub(super) fn next(&mut self) -> Option<VerifiedBatch> {
        let (&sequence, batch) = self.waiting.first_key_value()?;
        let is_next = match self.position {
            Some(position) if position.is_live || position.sequence == sequence => {
                position.sequence == sequence
            }
            Some(_) | None => self.starts_with(batch.root()),
        };
        is_next.then(|| self.pop()).flatten()
    }

    /// Gives up what is missing before the first batch that waits; returns how many messages the
    /// subscription misses for it. If nobody can tell how many, one stands for them.
    pub(super) fn skip(&mut self) -> Option<u64> {
        let (&sequence, batch) = self.waiting.first_key_value()?;
        let root = batch.root();
        let missed = match self.position {
            Some(position) => root.first.saturating_sub(position.message),
            None if root.stream >= self.since => root.first,
            None => root.first.min(1),
        };
        self.position = Some(Position { sequence, message: root.first, is_live: true });
        Some(missed)
    }

    /// Returns the sequence that is missing, if something waits for it.
    pub(super) fn gap(&self) -> Option<u64> {
        let is_open = !self.waiting.is_empty();
        is_open.then(|| self.expected())
    }

    /// Tells whether more waits than may.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > WAITING_BATCHES_MAX || self.waiting_bytes > WAITING_BYTES_MAX
    }

    /// Returns the size of what waits.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// The lowest sequence that can still be delivered.
    fn expected(&self) -> u64 {
        self.position.map_or(self.first, |position| position.sequence)
    }

    fn pop(&mut self) -> Option<VerifiedBatch> {
        let (_, batch) = self.waiting.pop_first()?;
        self.waiting_bytes -= batch.size();
        let root = batch.root();
        self.position = Some(Position {
            sequence: root.sequence.saturating_add(1),
            message: root.end(),
            is_live: true,
        });
        Some(batch)
    }

    /// Tells whether a batch is the first of its stream for the subscription.
    fn starts_with(&self, root: &Root) -> bool {
        let slack = u64::try_from(START_SLACK.as_millis()).unwrap_or(u64::MAX);
        root.sequence == self.first || root.previous_time.saturating_add(slack) < self.since
    }
}
