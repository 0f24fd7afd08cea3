//! The latest batches of one stream, to recognise duplicates and equivocation.

use std::collections::BTreeMap;

use crate::crypto::hash::HASH_LEN;
use crate::gossip::batch::{Root, item_id};
use crate::gossip::limits::{ROOTS_MAX, SEEN_BATCH_COST};
use crate::overlay::ItemId;

/// How a batch relates to the batches of its stream that were received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is new and consistent with them.
    New,
    /// It was received before.
    Known,
    /// The author signed another batch, with this id, that excludes it.
    Excludes(ItemId),
}

/// What is remembered of a batch.
#[derive(Clone, Copy, Debug)]
struct SeenBatch {
    hash: [u8; HASH_LEN],
    previous: [u8; HASH_LEN],
    first: u64,
    end: u64,
    time: u64,
    previous_time: u64,
}

impl SeenBatch {
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

/// The latest batches of a stream, at most [`ROOTS_MAX`], by sequence.
#[derive(Debug, Default)]
pub(super) struct SeenBatches {
    batches: BTreeMap<u64, SeenBatch>,
}

impl SeenBatches {
    /// Compares a batch with those that were received.
    pub(super) fn relate(&self, root: &Root, hash: &[u8; HASH_LEN]) -> Relation {
        let batch = SeenBatch::of(root, hash);
        if let Some(same) = self.batches.get(&root.sequence) {
            let is_same = same.hash == batch.hash;
            return if is_same { Relation::Known } else { same.excludes() };
        }
        let at = |sequence: Option<u64>| sequence.and_then(|sequence| self.batches.get(&sequence));
        let before = at(root.sequence.checked_sub(1)).filter(|before| !before.leads_to(&batch));
        let after = at(root.sequence.checked_add(1)).filter(|after| !batch.leads_to(after));
        before.or(after).map_or(Relation::New, SeenBatch::excludes)
    }

    /// Remembers a batch, unless it is earlier than all of a full set.
    pub(super) fn insert(&mut self, root: &Root, hash: &[u8; HASH_LEN]) {
        self.batches.insert(root.sequence, SeenBatch::of(root, hash));
        if self.batches.len() > ROOTS_MAX {
            self.batches.pop_first();
        }
    }

    /// Returns whether no batch was received.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Returns what the batches count, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.batches.len() * SEEN_BATCH_COST
    }
}
