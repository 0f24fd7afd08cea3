//! The reorder buffer of one stream: batches leave it in the order of their sequence.
//!
//! A batch that arrives early waits for its predecessors. The owner gives them up by
//! [`ReorderBuffer::skip_gap`] after a while, or when [`ReorderBuffer::is_full`].
//!
//! # Where a subscription begins
//!
//! A subscription usually begins in the middle of a stream. Delivery starts at the first batch whose
//! predecessor was made before the subscription. Two clocks decide whether it was:
//!
//! - the wall clock of this node;
//! - the clock of the author, once a batch arrived *fresh*, which is not by repair. Such a batch was
//!   made no later than it arrived. So whatever its author dates earlier by more than the age of the
//!   subscription was made before the subscription. This compares no clock with another and holds
//!   however far they are apart.
//!
//! The node does not wait for a batch that either clock places before the subscription. A batch that
//! is dated after the subscription by the node's clock is in the histories that neighbours compare
//! with the node's, so they send it as a repair. One that is dated before is not, and waiting for
//! it would achieve nothing.
//!
//! Until delivery has started, a batch that arrives by repair and was made before the subscription
//! is not delivered. It only establishes the position in the stream.
//!
//! # Invariants
//!
//! - Batches leave in the order of their sequence, each once.
//! - No batch leaves that precedes the [`ResumePoint`].

use std::collections::BTreeMap;

use crate::gossip::batch::{Root, VerifiedBatch};
use crate::gossip::limits::{SEEN_BATCH_COST, WAITING_BATCHES_MAX, WAITING_BYTES_MAX};
use crate::gossip::time::millis;
use crate::identity::CLOCK_SKEW_MAX;

/// A position in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gossip) struct StreamPosition {
    /// The sequence of a batch.
    pub(in crate::gossip) sequence: u64,
    /// The number of its first message in the stream.
    pub(in crate::gossip) message: u64,
}

impl StreamPosition {
    /// The start of every stream.
    pub(super) const START: Self = Self { sequence: 0, message: 0 };
}

/// What may have been delivered of a stream before its delivery starts, or starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gossip) enum ResumePoint {
    /// Everything before the position, in this subscription. Delivery resumes there.
    Position(StreamPosition),
    /// Everything before the sequence, in an earlier subscription.
    Sequence(u64),
    /// Anything made at this time or earlier, in milliseconds since the Unix epoch.
    Time(u64),
}

/// When a subscription began, seen from the arrival of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubscriptionTime {
    /// By the wall clock of this node, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// How many milliseconds ago.
    pub(super) ago: u64,
}

/// The batches of a stream that wait, and the position that delivery has reached.
#[derive(Debug)]
pub(super) struct ReorderBuffer {
    /// The first sequence that was not delivered to an earlier subscription.
    first: u64,
    /// Batches made at this time or earlier may have been delivered.
    heard_until: u64,
    /// A time by the author's clock before which batches precede the subscription. Known once a
    /// batch arrived fresh.
    author_start: Option<u64>,
    /// Batches made before this time precede the subscription, by one of both clocks.
    since: u64,
    /// The next batch, once it is known.
    position: Option<StreamPosition>,
    /// Whether delivery has started, or will start at a known position.
    is_started: bool,
    /// The batches that arrived early, by sequence.
    waiting: BTreeMap<u64, VerifiedBatch>,
    /// How many bytes they have.
    waiting_bytes: usize,
}

impl ReorderBuffer {
    /// Makes an empty buffer that delivers nothing before the resume point.
    pub(super) fn new(resume: ResumePoint) -> Self {
        let (first, heard_until, position) = match resume {
            ResumePoint::Position(position) => (position.sequence, 0, Some(position)),
            ResumePoint::Sequence(first) => (first, 0, None),
            ResumePoint::Time(time) => (0, time, None),
        };
        Self {
            first,
            heard_until,
            author_start: None,
            since: 0,
            position,
            is_started: position.is_some(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
        }
    }

    /// Returns the position up to which everything was delivered or reported as missed, if delivery
    /// has started.
    pub(super) fn delivered_to(&self) -> Option<StreamPosition> {
        self.position.filter(|_| self.is_started)
    }

    /// Adds a batch, unless it is too early in the stream or waits already. Then
    /// [`Self::pop_next`] returns what can be delivered.
    pub(super) fn insert(
        &mut self,
        batch: VerifiedBatch,
        is_repair: bool,
        subscribed: SubscriptionTime,
    ) {
        let root = batch.root();
        let sequence = root.sequence;
        if sequence < self.next_sequence() || self.waiting.contains_key(&sequence) {
            return;
        }
        if !self.is_started {
            self.locate_start(root, is_repair, subscribed);
            if root.time <= self.heard_until || is_repair && root.time < self.since {
                return self.move_to(sequence.saturating_add(1), root.end());
            }
        }
        self.waiting_bytes += batch.size();
        self.waiting.insert(sequence, batch);
    }

    /// Takes the batch that is delivered next, if it is here.
    pub(super) fn pop_next(&mut self) -> Option<VerifiedBatch> {
        let (&sequence, batch) = self.waiting.first_key_value()?;
        let is_next = self.position.is_some_and(|position| position.sequence == sequence)
            || !self.is_started && self.starts_with(batch.root());
        is_next.then(|| self.pop_first()).flatten()
    }

    /// Gives up what is missing before the first batch that waits. Returns how many messages the
    /// subscription misses. Before delivery has started their number is unknown: 1 if some were
    /// certainly made after the subscription began, 0 otherwise.
    pub(super) fn skip_gap(&mut self) -> Option<u64> {
        let (&sequence, batch) = self.waiting.first_key_value()?;
        let root = batch.root();
        let missed = match self.position {
            Some(position) if self.is_started => root.first.saturating_sub(position.message),
            Some(_) | None => self.is_certainly_after(root.previous_time).into(),
        };
        self.position = Some(StreamPosition { sequence, message: root.first });
        self.is_started = true;
        Some(missed)
    }

    /// Returns the first sequence that is missing, if a batch waits for it.
    pub(super) fn missing(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then(|| self.next_sequence())
    }

    /// Returns whether more waits than the limits allow.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > WAITING_BATCHES_MAX || self.waiting_bytes > WAITING_BYTES_MAX
    }

    /// Returns how many bytes the waiting batches have.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Returns what the waiting batches count, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.waiting_bytes + self.waiting.len() * SEEN_BATCH_COST
    }

    /// Learns when the subscription began from what a batch says of its author's clock.
    fn locate_start(&mut self, root: &Root, is_repair: bool, subscribed: SubscriptionTime) {
        if !is_repair {
            let start = root.time.saturating_sub(subscribed.ago);
            self.author_start = self.author_start.max(Some(start));
        }
        let author_start = self.author_start.unwrap_or(0);
        self.since = author_start.max(subscribed.at).max(self.heard_until.saturating_add(1));
        while let Some((&sequence, batch)) = self.waiting.first_key_value()
            && batch.root().time < author_start
        {
            let message = batch.root().end();
            self.move_to(sequence.saturating_add(1), message);
        }
    }

    /// Moves the position forward and drops the waiting batches before it.
    fn move_to(&mut self, sequence: u64, message: u64) {
        self.position = Some(StreamPosition { sequence, message });
        let waiting = self.waiting.split_off(&sequence);
        let dropped = std::mem::replace(&mut self.waiting, waiting);
        self.waiting_bytes -= dropped.values().map(|batch| batch.size()).sum::<usize>();
    }

    fn pop_first(&mut self) -> Option<VerifiedBatch> {
        let (_, batch) = self.waiting.pop_first()?;
        self.waiting_bytes -= batch.size();
        let root = batch.root();
        let sequence = root.sequence.saturating_add(1);
        self.position = Some(StreamPosition { sequence, message: root.end() });
        self.is_started = true;
        Some(batch)
    }

    /// The lowest sequence that can still be delivered.
    fn next_sequence(&self) -> u64 {
        self.position.map_or(self.first, |position| position.sequence)
    }

    /// Returns whether a batch is the first of its stream for the subscription.
    fn starts_with(&self, root: &Root) -> bool {
        root.sequence == self.first || root.previous_time < self.since
    }

    /// Returns whether a batch of this time was made after the subscription began, even if the
    /// clocks differ. The time is not before the subscription.
    fn is_certainly_after(&self, time: u64) -> bool {
        self.author_start.is_some() || time >= self.since.saturating_add(millis(CLOCK_SKEW_MAX))
    }
}
