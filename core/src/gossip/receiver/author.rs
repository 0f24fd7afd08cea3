//! What is known of one author in one topic.

use std::time::Instant;

use super::reorder::ReorderBuffer;
use super::seen::{Relation, SeenBatches};
use super::watermarks::Watermark;
use crate::crypto::hash::HASH_LEN;
use crate::gossip::batch::{Root, VerifiedBatch};
use crate::gossip::limits::{AUTHOR_COST, SILENCE_MAX};

/// An author of a topic: its newest stream, and how far that is delivered.
#[derive(Debug)]
pub(super) struct Author<P> {
    /// The number of the newest stream.
    stream: u64,
    /// The latest batches of the stream.
    seen: SeenBatches,
    /// What waits for delivery, while the topic is subscribed to.
    buffer: Option<ReorderBuffer>,
    /// The batches that are missing.
    gap: Option<Gap<P>>,
    /// The latest time of a batch, in milliseconds since the Unix epoch.
    time: u64,
    /// When the last batch arrived.
    heard_at: Instant,
}

/// Batches that are missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap<P> {
    /// The first sequence that is missing.
    sequence: u64,
    /// When the gap was noticed.
    pub(super) since: Instant,
    /// The peer that has what follows the gap.
    pub(super) peer: P,
    /// Whether the batches were requested twice.
    is_requested_again: bool,
}

impl<P: Copy> Author<P> {
    /// Makes an author whose stream begins. There is no buffer if the topic is not subscribed to.
    pub(super) fn new(stream: u64, buffer: Option<ReorderBuffer>, now: Instant) -> Self {
        Self { stream, seen: SeenBatches::default(), buffer, gap: None, time: 0, heard_at: now }
    }

    /// Returns the number of the newest stream.
    pub(super) fn stream(&self) -> u64 {
        self.stream
    }

    /// Compares a batch with those of its stream. A batch of another stream is new.
    pub(super) fn relate(&self, root: &Root, hash: &[u8; HASH_LEN]) -> Relation {
        if root.stream == self.stream { self.seen.relate(root, hash) } else { Relation::New }
    }

    /// Notes a batch of the newest stream. Returns whether it is the first.
    pub(super) fn note_seen(&mut self, batch: &VerifiedBatch, now: Instant) -> bool {
        let is_first = self.seen.is_empty();
        self.seen.insert(batch.root(), batch.hash());
        self.time = self.time.max(batch.root().time);
        self.heard_at = now;
        is_first
    }

    /// Returns how far the author is delivered, if anything was.
    pub(super) fn watermark(&self) -> Option<Watermark> {
        let position = self.buffer.as_ref()?.delivered_to()?;
        let Self { stream, time, heard_at, .. } = *self;
        Some(Watermark { stream, position, time, heard_at })
    }

    /// Returns what waits for delivery.
    pub(super) fn buffer_mut(&mut self) -> Option<&mut ReorderBuffer> {
        self.buffer.as_mut()
    }

    /// Returns what waits for delivery; begins that with the topic's subscription.
    pub(super) fn buffer_or_insert_with(
        &mut self,
        make: impl FnOnce() -> ReorderBuffer,
    ) -> &mut ReorderBuffer {
        self.buffer.get_or_insert_with(make)
    }

    /// Drops what waits for delivery, with the topic's subscription.
    pub(super) fn end_delivery(&mut self) {
        (self.gap, self.buffer) = (None, None);
    }

    /// Returns how many bytes of batches wait for delivery.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.buffer.as_ref().map_or(0, ReorderBuffer::waiting_bytes)
    }

    /// Returns the gap, if batches are missing.
    pub(super) fn gap(&self) -> Option<&Gap<P>> {
        self.gap.as_ref()
    }

    /// Notes the first sequence that is missing, if any, and a peer that has what follows it.
    /// Returns whether that changed.
    pub(super) fn note_missing(&mut self, missing: Option<u64>, now: Instant, peer: P) -> bool {
        if missing == self.gap.as_ref().map(|gap| gap.sequence) {
            return false;
        }
        let gap = |sequence| Gap { sequence, since: now, peer, is_requested_again: false };
        self.gap = missing.map(gap);
        true
    }

    /// Notes that the missing batches are requested once more. Returns whether they were requested
    /// again before.
    pub(super) fn request_again(&mut self) -> bool {
        let again = self.gap.as_mut().map(|gap| &mut gap.is_requested_again);
        again.is_some_and(|again| std::mem::replace(again, true))
    }

    /// Returns whether the author was silent for so long that no node accepts its batches any more.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) > SILENCE_MAX
    }

    /// Returns what the author counts with all its batches, in bytes.
    pub(super) fn cost(&self) -> usize {
        AUTHOR_COST + self.seen.cost() + self.buffer.as_ref().map_or(0, ReorderBuffer::cost)
    }
}
