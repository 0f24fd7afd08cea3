//! Batches that wait for the key of their author, for at most [`PARKED_TIME`].
//!
//! # Limits
//!
//! [`PARKED_PEER_BATCHES_MAX`] and [`PARKED_PEER_BYTES_MAX`] for each peer, [`PARKED_BYTES_MAX`] for
//! all together.

use std::collections::VecDeque;
use std::time::Instant;

use crate::gossip::batch::Batch;
use crate::gossip::limits::{
    PARKED_BYTES_MAX, PARKED_COST, PARKED_PEER_BATCHES_MAX, PARKED_PEER_BYTES_MAX, PARKED_TIME,
};
use crate::overlay::Receipt;

/// A batch that waits for the key of its author.
#[derive(Debug)]
pub(super) struct Parked<P> {
    pub(super) receipt: Receipt<P>,
    pub(super) batch: Batch,
    /// When it is given up.
    until: Instant,
}

impl<P> Parked<P> {
    /// Returns what the batch counts while it waits, in bytes.
    pub(super) fn cost(&self) -> usize {
        parked_cost(&self.batch)
    }

    /// Returns whether the batch has waited for too long.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.until <= now
    }
}

/// Returns what a batch counts while it waits, in bytes.
pub(super) fn parked_cost(batch: &Batch) -> usize {
    batch.size() + PARKED_COST
}

/// The batches that wait.
#[derive(Debug)]
pub(super) struct ParkedBatches<P> {
    /// The batches, the oldest first.
    batches: VecDeque<Parked<P>>,
    /// How many bytes they have.
    bytes: usize,
}

impl<P: Copy + Eq> ParkedBatches<P> {
    /// Makes an empty set.
    pub(super) fn new() -> Self {
        Self { batches: VecDeque::new(), bytes: 0 }
    }

    /// Adds a batch. Returns whether the key has to be requested from the peer. `can_request` says
    /// whether that is possible.
    ///
    /// # Errors
    ///
    /// The receipt, if too much waits, or if the key has to be requested and cannot be.
    pub(super) fn park(
        &mut self,
        now: Instant,
        receipt: Receipt<P>,
        batch: Batch,
        can_request: bool,
    ) -> Result<bool, Receipt<P>> {
        let (peer, author) = (receipt.peer, batch.root().author);
        let (mut count, mut bytes, mut is_requested) = (0, batch.size(), false);
        for parked in self.batches.iter().filter(|parked| parked.receipt.peer == peer) {
            count += 1;
            bytes += parked.batch.size();
            is_requested |= parked.batch.root().author == author;
        }
        if !(is_requested || can_request)
            || count >= PARKED_PEER_BATCHES_MAX
            || bytes > PARKED_PEER_BYTES_MAX
            || self.bytes + batch.size() > PARKED_BYTES_MAX
        {
            return Err(receipt);
        }
        self.bytes += batch.size();
        self.batches.push_back(Parked { receipt, batch, until: now + PARKED_TIME });
        Ok(!is_requested)
    }

    /// Takes the batches that match, the oldest first.
    pub(super) fn take(&mut self, matches: impl Fn(&Parked<P>) -> bool) -> Vec<Parked<P>> {
        if !self.batches.iter().any(&matches) {
            return Vec::new();
        }
        let batches = std::mem::take(&mut self.batches);
        let (taken, kept) = batches.into_iter().partition::<VecDeque<_>, _>(matches);
        self.batches = kept;
        self.bytes -= taken.iter().map(|parked| parked.batch.size()).sum::<usize>();
        taken.into()
    }

    /// Returns how many batches wait.
    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Returns when the oldest batch is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.batches.front().map(|parked| parked.until)
    }
}
