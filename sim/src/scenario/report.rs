//! What came out of a scenario.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{NetworkCounters, NodeId, Tally, World};

/// A figure of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// A count.
    Count(u64),
    /// A number with a unit; the unit is part of the name.
    Decimal(f64),
    /// There is none.
    Missing,
}

impl Figure {
    /// Returns it as a number.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(count as f64),
            Self::Decimal(number) => Some(number),
            Self::Missing => None,
        }
    }
}

/// The result of a scenario that passed its checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Returns every figure with its name, in the order in which they are shown.
    pub fn figures(&self) -> Vec<(&'static str, Figure)> {
        let Self { tally, network, .. } = self;
        let count = Figure::Count;
        let time = |time: Option<Duration>| {
            time.map_or(Figure::Missing, |time| Figure::Decimal(time.as_secs_f64() * 1000.0))
        };
        vec![
            ("nodes", count(self.nodes.into())),
            ("links_wanted", count(self.links as u64)),
            ("links_up_at_end", count(self.links_up as u64)),
            ("links_lost", count(tally.links_down)),
            ("paths_changed", count(tally.paths_changed)),
            ("crashes", count(tally.crashes)),
            ("commands_refused", count(tally.refused)),
            ("connects_failed", count(tally.connects_failed)),
            ("messages_sent", count(tally.sends)),
            ("messages_delivered", count(tally.delivered)),
            ("messages_acknowledged", count(tally.sends_acknowledged)),
            ("messages_refused", count(tally.sends_refused)),
            ("messages_uncertain", count(tally.sends_uncertain)),
            ("messages_forgotten", count(tally.sends_forgotten)),
            ("delivered_ms_p50", time(self.delivered_within(50))),
            ("delivered_ms_p99", time(self.delivered_within(99))),
            ("acknowledged_ms_p50", time(self.acknowledged_within(50))),
            ("acknowledged_ms_p99", time(self.acknowledged_within(99))),
            ("messages_published", count(tally.published)),
            ("messages_heard", count(tally.heard)),
            ("messages_missed", count(tally.missed)),
            ("datagrams_sent", count(network.sent)),
            ("datagram_bytes_sent", count(network.sent_bytes)),
            ("datagrams_delivered", count(network.delivered)),
            ("datagrams_lost", count(network.lost)),
            ("datagrams_queue_full", count(network.queue_full)),
            ("datagrams_too_large", count(network.too_large)),
            ("datagrams_partitioned", count(network.partitioned)),
            ("datagrams_filtered", count(network.filtered)),
            ("datagrams_asleep", count(network.asleep)),
            ("datagrams_unreachable", count(network.unreachable)),
            ("events", count(self.events)),
            ("virtual_s", Figure::Decimal(self.virtual_time.as_secs_f64())),
        ]
    }

    /// Returns a figure by its name.
    pub fn figure(&self, name: &str) -> Option<Figure> {
        self.figures().into_iter().find_map(|(known, figure)| (known == name).then_some(figure))
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
