//! What the membership notes of each neighbor.

use std::time::{Duration, Instant};

use crate::support::TokenBucket;

/// Rate at which a neighbor may start or forward walks.
const WALKS_BURST: u32 = 64;
const WALK_INTERVAL: Duration = Duration::from_millis(250);

/// The age of a neighbor in the active view, and what it may do.
#[derive(Debug)]
pub(in crate::overlay) struct Standing {
    /// Ascending with the time at which peers became neighbors.
    pub(super) order: u64,
    walks: TokenBucket,
}

impl Standing {
    pub(super) fn new(order: u64, now: Instant) -> Self {
        Self { order, walks: TokenBucket::new(WALKS_BURST, WALK_INTERVAL, now) }
    }

    /// Takes a walk that the neighbor starts or forwards. Returns false if it sends too many.
    pub(in crate::overlay) fn take_walk(&mut self, now: Instant) -> bool {
        self.walks.take(now)
    }
}
