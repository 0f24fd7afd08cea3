//! Beacons: how the root of a tree makes itself known.
//!
//! Of two roots the one with the higher generation wins, then the one with the lower id. Generations
//! grow by one when a root is given up, so two honest roots are close together even after a partition.
//! If generations differ by more than [`GENERATION_STEP_MAX`], the *lower* one wins. An attacker thus
//! cannot take over a topic by claiming a generation that nobody can exceed.
//!
//! The sequence of a beacon is the wall time of its root, which bounds its age without any state.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::identity::CLOCK_SKEW_MAX;
use crate::overlay::Peer;

/// How long a root is believed to live without a new beacon. Nodes add a random time of up to
/// [`ROOT_TIME_SPREAD`], so that they do not all claim the root at once.
pub(super) const ROOT_TIME: Duration = Duration::from_secs(210);
pub(super) const ROOT_TIME_SPREAD: Duration = Duration::from_secs(20);

/// The largest difference between the generations of two honest roots. No topic ever counts this far,
/// and an attacker cannot reach the last generation in steps of this size.
const GENERATION_STEP_MAX: u64 = 1 << 32;

/// The largest age of a beacon whose root may still be alive.
const BEACON_AGE_MAX: Duration =
    ROOT_TIME.saturating_add(ROOT_TIME_SPREAD).saturating_add(CLOCK_SKEW_MAX);

/// A claim about the root of a topic's tree and the sender's distance from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::overlay) struct Beacon<P> {
    pub(in crate::overlay) root: P,
    pub(in crate::overlay) generation: u64,
    /// Increases with each beacon of the root: its wall time in milliseconds, or the last sequence plus
    /// one if that is greater.
    pub(in crate::overlay) sequence: u64,
    /// The number of links between the sender and the root.
    pub(in crate::overlay) hops: u8,
}

impl<P: Peer> Beacon<P> {
    /// Returns whether another beacon names the same root of the same generation.
    pub(super) fn is_of_same_root(&self, other: &Self) -> bool {
        (self.generation, self.root) == (other.generation, other.root)
    }

    /// Returns whether the root of this beacon wins over that of another.
    pub(in crate::overlay) fn outranks(&self, other: &Self) -> bool {
        match self.generation.abs_diff(other.generation) {
            0 => self.root < other.root,
            1..=GENERATION_STEP_MAX => self.generation > other.generation,
            _ => self.generation < other.generation,
        }
    }

    /// Returns whether a root that is still alive may have sent the beacon, within the accepted clock
    /// skew. `now` is the wall time in milliseconds.
    pub(in crate::overlay) fn is_of_time(&self, now: u64) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let oldest = now.saturating_sub(millis(BEACON_AGE_MAX));
        (oldest..=now.saturating_add(millis(CLOCK_SKEW_MAX))).contains(&self.sequence)
    }
}

/// The root of the tree, as this node or a neighbor knows it.
#[derive(Clone, Copy, Debug)]
pub(in crate::overlay) struct Root<P> {
    /// What that node says about the root.
    pub(in crate::overlay) beacon: Beacon<P>,
    /// When this node received it: from a neighbor its last beacon, for the node itself the first of
    /// the sequence.
    pub(super) heard_at: Instant,
}
