//! What came out of a scenario.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{NetworkCounters, NodeId, Tally, World};

/// The result of a scenario that passed its checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How many nodes there were.
    pub nodes: u32,
    /// How many links were to be kept.
    pub links: usize,
    /// How many of them were up at the end.
    pub links_up: usize,
    /// How much virtual time passed.
    pub virtual_time: Duration,
    /// How many events were processed.
    pub events: u64,
    /// What happened at the nodes.
    pub tally: Tally,
    /// What happened to the datagrams.
    pub network: NetworkCounters,
    /// The hash over everything that moved.
    pub trace_hash: [u8; 32],
}

impl Report {
    /// Tells what came of a world so far. The edges are the links that were to be kept.
    pub fn new<M: crate::Machine>(world: &World<M>, edges: &[(NodeId, NodeId)]) -> Self {
        let mut tally = world.tally().clone();
        tally.acknowledged_after.sort_unstable();
        tally.delivered_after.sort_unstable();
        Self {
            seed: world.config().seed,
            nodes: world.config().nodes,
            links: edges.len(),
            links_up: edges.iter().filter(|&&(a, b)| world.is_linked(a, b)).count(),
            virtual_time: world.now(),
            events: world.processed(),
            tally,
            network: world.network().counters,
            trace_hash: world.trace_hash(),
        }
    }

    /// Returns how long the fastest `percent` of the acknowledged messages took from command to
    /// acknowledgement at most; `None` if there is none.
    pub fn acknowledged_within(&self, percent: usize) -> Option<Duration> {
        percentile(&self.tally.acknowledged_after, percent)
    }

    /// Returns how long the fastest `percent` of the delivered messages took from command to
    /// delivery at most; `None` if there is none.
    pub fn delivered_within(&self, percent: usize) -> Option<Duration> {
        percentile(&self.tally.delivered_after, percent)
    }

    /// Returns the trace hash in hex.
    pub fn trace_hex(&self) -> String {
        crate::trace::hex(&self.trace_hash)
    }
}

/// Returns the nearest-rank percentile of sorted values.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent.min(100)).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_by_nearest_rank() {
        let sorted: Vec<_> = (1..=10).map(Duration::from_secs).collect();
        for (percent, expected) in [(0, 1), (50, 5), (90, 9), (99, 10), (100, 10)] {
            assert_eq!(percentile(&sorted, percent), Some(Duration::from_secs(expected)));
        }
        assert_eq!(percentile(&[], 50), None);
    }
}
