//! What a world tells: the first rule that was broken, and what happened in numbers.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// A rule was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The seed of the world.
    pub seed: u64,
    /// The virtual time.
    pub at: Duration,
    /// The node, if it is one node's fault.
    pub node: Option<NodeId>,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seed {} at {:.6} s", self.seed, self.at.as_secs_f64())?;
        if let Some(node) = self.node {
            write!(formatter, ", node {node}")?;
        }
        write!(formatter, ": {}", self.what)
    }
}

impl std::error::Error for Failure {}

/// What happened in a world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Commands that a node accepted.
    pub accepted: u64,
    /// Commands that a node refused, or that found no running node.
    pub refused: u64,
    /// Commands that were answered.
    pub answered: u64,
    /// Connection attempts that failed.
    pub connects_failed: u64,
    /// Messages that a node accepted.
    pub sends: u64,
    /// Messages that ended acknowledged.
    pub sends_acknowledged: u64,
    /// Messages that ended and surely were not delivered.
    pub sends_refused: u64,
    /// Messages that ended with nobody able to tell.
    pub sends_uncertain: u64,
    /// Messages whose sender crashed before they ended.
    pub sends_forgotten: u64,
    /// Messages that were delivered.
    pub delivered: u64,
    /// Links that came up, counted at each end.
    pub links_up: u64,
    /// Links that went down, counted at each end.
    pub links_down: u64,
    /// Links that moved.
    pub paths_changed: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Messages that were published to topics.
    pub published: u64,
    /// Messages of topics that were told to subscribers.
    pub heard: u64,
    /// Messages of topics that subscribers were told to have missed.
    pub missed: u64,
    /// From each command to its acknowledgement.
    pub acknowledged_after: Vec<Duration>,
    /// From each command to its delivery.
    pub delivered_after: Vec<Duration>,
}
