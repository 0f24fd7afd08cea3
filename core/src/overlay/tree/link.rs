//! The part that the link to one neighbor plays in the tree.

use std::time::{Duration, Instant};

use super::beacon::Root;
use crate::overlay::Peer;
use crate::support::TokenBucket;

/// Rate at which a node handles the beacons of one neighbor. An honest one forwards fewer, together
/// with the replies that correct a worse root.
const BEACONS_BURST: u32 = 64;
const BEACON_INTERVAL: Duration = Duration::from_millis(200);

/// The link to a neighbor.
#[derive(Debug)]
pub(in crate::overlay) struct Link<P> {
    /// Whether items are pushed over the link. Otherwise they are announced.
    pub(in crate::overlay) is_eager: bool,
    /// Whether the neighbor chose this node as its parent.
    pub(in crate::overlay) is_child: bool,
    /// Whether the neighbor was the parent and has not been pruned since.
    pub(super) was_parent: bool,
    /// The root by the last beacon of the neighbor.
    pub(super) root: Option<Root<P>>,
    /// The beacons that the neighbor may send.
    pub(super) beacons: TokenBucket,
}

impl<P: Peer> Link<P> {
    /// Makes the link to a new neighbor.
    pub(super) fn new(is_eager: bool, now: Instant) -> Self {
        Self {
            is_eager,
            is_child: false,
            was_parent: false,
            root: None,
            beacons: TokenBucket::new(BEACONS_BURST, BEACON_INTERVAL, now),
        }
    }

    /// The neighbor wants items pushed: as a child, or until it is pruned.
    pub(in crate::overlay) fn graft(&mut self, is_child: bool) {
        self.is_eager = true;
        self.is_child |= is_child;
    }

    /// Returns whether the neighbor said that it is as close to the root as a node with this beacon, or
    /// closer.
    pub(super) fn is_above(&self, mine: &Root<P>) -> bool {
        self.root.is_some_and(|Root { beacon: theirs, .. }| {
            theirs.is_of_same_root(&mine.beacon) && theirs.hops <= mine.beacon.hops
        })
    }
}
