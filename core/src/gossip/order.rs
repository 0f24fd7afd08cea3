//! What is known of one author in one topic: which batches came, and which is to be delivered next.
//!
//! Batches are delivered in the order of their sequence. One that comes too early waits, bounded,
//! for those before it.
//!
//! # Where a subscription begins
//!
//! A subscription begins within a stream. A batch starts the stream for it if the one before was
//! made before the subscription. Two clocks say when that was:
//!
//! - the node's own;
//! - the author's, once a batch came fresh: the batch was made no later than it came, so what its
//!   author dates earlier by more than the time since the subscription was made before that. No
//!   clock is compared with another for this, so it holds however far they are apart.
//!
//! What either says was made before is not waited for. If it was made after by the node's clock,
//! neighbours that have it send it as repair; if not, they leave it out, so that there would be
//! nothing to wait for. Until the stream has started, a batch that comes by repair and was itself
//! made before the subscription only tells where the stream is.

use std::collections::BTreeMap;

use super::batch::{Root, VerifiedBatch, item_id};
use super::limits::{ROOTS_MAX, SEEN_BATCH_COST, WAITING_BATCHES_MAX, WAITING_BYTES_MAX};
use super::time::millis;
use crate::crypto::hash::HASH_LEN;
use crate::identity::CLOCK_SKEW_MAX;
use crate::overlay::ItemId;

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

    /// Tells whether no batch came.
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Returns what the batches count.
    pub(super) fn cost(&self) -> usize {
        self.marks.len() * SEEN_BATCH_COST
    }
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The sequence of a batch.
    pub(super) sequence: u64,
    /// The place of its first message.
    pub(super) message: u64,
}

impl Place {
    /// Where every stream starts.
    pub(super) const START: Self = Self { sequence: 0, message: 0 };
}

/// How much of a stream was heard before its delivery starts, or starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Everything before the place, in this subscription: delivery goes on there.
    Place(Place),
    /// Everything before the sequence, in an earlier subscription.
    Sequence(u64),
    /// Maybe what was made at this time, in milliseconds since the Unix epoch, and before.
    Time(u64),
}

/// When a subscription began, seen from when a batch comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscribed {
    /// By the wall clock of this node, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// How many milliseconds ago.
    pub(super) ago: u64,
}

/// The delivery of a stream.
#[derive(Debug)]
pub(super) struct Order {
    /// The first sequence that was not delivered to an earlier subscription.
    first: u64,
    /// What was made at this time or before may have been delivered.
    heard_until: u64,
    /// By the author's clock, a time before which batches were made before the subscription; known
    /// once one came fresh.
    placed: Option<u64>,
    /// What was made before this time was made before the subscription, by one of both clocks.
    since: u64,
    /// The next batch, once that is known.
    position: Option<Place>,
    /// Whether something was delivered, or is next for certain.
    is_live: bool,
    /// What came too early, by sequence.
    waiting: BTreeMap<u64, VerifiedBatch>,
    /// The size of what waits.
    waiting_bytes: usize,
}

impl Order {
    /// Starts the delivery.
    pub(super) fn new(past: Past) -> Self {
        let (first, heard_until, position) = match past {
            Past::Place(place) => (place.sequence, 0, Some(place)),
            Past::Sequence(first) => (first, 0, None),
            Past::Time(time) => (0, time, None),
        };
        Self {
            first,
            heard_until,
            placed: None,
            since: 0,
            position,
            is_live: position.is_some(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
        }
    }

    /// Returns the place up to which everything was delivered, or told as missed, if something was.
    pub(super) fn delivered_to(&self) -> Option<Place> {
        self.position.filter(|_| self.is_live)
    }

    /// Takes a batch. Whether something can be delivered, [`Self::next`] tells.
    pub(super) fn take(&mut self, batch: VerifiedBatch, is_repair: bool, subscribed: Subscribed) {
        let root = batch.root();
        let sequence = root.sequence;
        if sequence < self.expected() || self.waiting.contains_key(&sequence) {
            return;
        }
        if !self.is_live {
            self.place(root, is_repair, subscribed);
            if root.time <= self.heard_until || is_repair && root.time < self.since {
                return self.pass(sequence.saturating_add(1), root.end());
            }
        }
        self.waiting_bytes += batch.size();
        self.waiting.insert(sequence, batch);
    }

    /// Finds when the subscription began by what a batch says of its author's clock.
    fn place(&mut self, root: &Root, is_repair: bool, subscribed: Subscribed) {
        if !is_repair {
            self.placed = self.placed.max(Some(root.time.saturating_sub(subscribed.ago)));
        }
        let placed = self.placed.unwrap_or(0);
        self.since = placed.max(subscribed.at).max(self.heard_until.saturating_add(1));
        while let Some((&sequence, batch)) = self.waiting.first_key_value()
            && batch.root().time < placed
        {
            let message = batch.root().end();
            self.pass(sequence.saturating_add(1), message);
        }
    }

    /// Notes where the stream is. What waits for what is before that waits in vain.
    fn pass(&mut self, sequence: u64, message: u64) {
        self.position = Some(Place { sequence, message });
        let waiting = self.waiting.split_off(&sequence);
        let passed = std::mem::replace(&mut self.waiting, waiting);
        self.waiting_bytes -= passed.values().map(|batch| batch.size()).sum::<usize>();
    }

    /// Returns the batch that is to be delivered next.
    pub(super) fn next(&mut self) -> Option<VerifiedBatch> {
        let (&sequence, batch) = self.waiting.first_key_value()?;
        let is_next = self.position.is_some_and(|position| position.sequence == sequence)
            || !self.is_live && self.starts_with(batch.root());
        is_next.then(|| self.pop()).flatten()
    }

    /// Gives up what is missing before the first batch that waits; returns how many messages the
    /// subscription misses for it. At its start nobody can tell how many, and one stands for them if
    /// some were surely made after it began.
    pub(super) fn skip(&mut self) -> Option<u64> {
        let (&sequence, batch) = self.waiting.first_key_value()?;
        let root = batch.root();
        let missed = match self.position {
            Some(position) if self.is_live => root.first.saturating_sub(position.message),
            Some(_) | None => self.is_surely_after(root.previous_time).into(),
        };
        self.position = Some(Place { sequence, message: root.first });
        self.is_live = true;
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

    /// Returns what everything that waits counts.
    pub(super) fn cost(&self) -> usize {
        self.waiting_bytes + self.waiting.len() * SEEN_BATCH_COST
    }

    /// The lowest sequence that can still be delivered.
    fn expected(&self) -> u64 {
        self.position.map_or(self.first, |position| position.sequence)
    }

    fn pop(&mut self) -> Option<VerifiedBatch> {
        let (_, batch) = self.waiting.pop_first()?;
        self.waiting_bytes -= batch.size();
        let root = batch.root();
        let sequence = root.sequence.saturating_add(1);
        self.position = Some(Place { sequence, message: root.end() });
        self.is_live = true;
        Some(batch)
    }

    /// Tells whether a batch is the first of its stream for the subscription.
    fn starts_with(&self, root: &Root) -> bool {
        root.sequence == self.first || root.previous_time < self.since
    }

    /// Tells whether a batch of a time that is not before the subscription was made after it began,
    /// even if the clocks differ.
    fn is_surely_after(&self, time: u64) -> bool {
        self.placed.is_some() || time >= self.since.saturating_add(millis(CLOCK_SKEW_MAX))
    }
}
