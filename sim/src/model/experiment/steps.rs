//! The steps of a scenario that give figures.

use std::collections::BTreeMap;
use std::time::Duration;

use super::figures::{Figure, Part, Round};
use super::file::Publisher;
use super::play::{Player, resident};
use crate::model::ledger::{Counts, DATAGRAM_OVERHEAD, KEEP_ALIVE_OVERHEAD, Kind, Traffic};
use crate::model::library::Number;
use crate::model::protocol::Protocol;

/// What a node may receive beyond what it missed, in a repair, without being wasteful: a round of
/// fingerprints with each of its neighbours.
const REPAIR_ALLOWANCE: f64 = 8192.0;

/// What was counted when a step began.
#[derive(Debug)]
struct Before {
    at: Duration,
    received: Vec<Traffic>,
    sent: Vec<Traffic>,
    kinds: BTreeMap<Kind, Counts>,
}

impl<P: Protocol + 'static> Player<'_, P> {
    /// Publishes messages and says what became of them.
    pub(super) fn publish(
        &mut self,
        by: Publisher,
        count: u32,
        every: Duration,
        size: usize,
        drain: Duration,
    ) -> Part {
        let before = self.before();
        let mut numbers: Vec<(Number, f64)> = Vec::new();
        let mut sender = self.any();
        for _ in 0..count {
            let mut batch = Vec::new();
            match by {
                Publisher::All => batch.extend(self.world.present().iter()),
                Publisher::Rotating => batch.extend(self.any()),
                Publisher::Single => {
                    sender = sender.filter(|&node| self.world.present().contains(node));
                    sender = sender.or_else(|| self.any());
                    batch.extend(sender);
                }
            }
            let first = numbers.len();
            for node in batch {
                numbers.push((self.world.publish(node, size), 0.0));
            }
            self.advance(every);
            for (number, in_time) in &mut numbers[first..] {
                let (expected, has) = self.world.reached(self.world.record(*number));
                *in_time = f64::from(has) / f64::from(expected.max(1));
            }
        }
        self.advance(drain);
        let rounds: Vec<Round> = numbers.iter().map(|&(number, t)| self.round(number, t)).collect();
        let mut part = self.part(&before);
        let messages = numbers.len().max(1) as f64;
        self.spent(&before, &mut part, messages, "per_message");
        let of = |value: fn(&Round) -> f64| Figure::of(rounds.iter().map(value));
        let last = rounds.last().map_or(1.0, |round| round.in_time);
        part.figures.extend([
            ("redundancy", of(|round| round.redundancy)),
            ("last_hop", of(|round| f64::from(round.last_hop))),
            ("milliseconds", of(|round| round.milliseconds)),
            ("missed", of(|round| f64::from(round.missed))),
            ("reached", of(Round::reached)),
            ("reached_in_time", of(|round| round.in_time)),
            ("reached_in_time_at_last", Figure::from(last)),
            ("repairs", of(|round| f64::from(round.repairs))),
        ]);
        Part { rounds, ..part }
    }

    /// Lets time pass and says what it costs.
    pub(super) fn idle(&mut self, duration: Duration) -> Part {
        let before = self.before();
        self.advance(duration);
        let mut part = self.part(&before);
        self.spent(&before, &mut part, duration.as_secs_f64(), "per_s");
        let count = f64::from(self.world.present().count().max(1));
        let grown = resident().saturating_sub(self.resident_before) as f64;
        part.figures.insert("resident_bytes", Figure::from(grown / count));
        let counted: Vec<f64> =
            self.protocols().filter_map(P::counted_bytes).map(|bytes| bytes as f64).collect();
        if !counted.is_empty() {
            part.figures.insert("counted_bytes", Figure::of(counted));
        }
        part
    }

    /// Lets time pass and says whether nodes get what they missed, and at which price.
    pub(super) fn repair(&mut self, duration: Duration) -> Part {
        let before = self.before();
        let missed_bytes = self.missing(|size| size as f64);
        self.advance(duration);
        let mut part = self.part(&before);
        self.spent(&before, &mut part, 1.0, "per_node");
        let left = self.missing(|_| 1.0);
        let factors = missed_bytes.iter().filter(|(_, missed)| **missed > 0.0);
        let factors = factors.map(|(&node, missed)| {
            let received = self.world.traffic(node).0.since(&before.received[node as usize]);
            ((received.repair.bytes as f64 - REPAIR_ALLOWANCE) / missed).max(0.0)
        });
        let nodes = self.world.present().iter();
        let repair = nodes.map(|node| {
            let received = self.world.traffic(node).0.since(&before.received[node as usize]);
            received.repair.bytes as f64
        });
        part.figures.extend([
            ("repair_bytes_received", Figure::of(repair)),
            ("missed_bytes_before", Figure::of(missed_bytes.values().copied())),
            ("missed", Figure::of(left.values().copied())),
            ("traffic_factor", Figure::of(factors)),
        ]);
        part
    }

    /// Returns for each node the sum over the messages that it should have and has not.
    fn missing(&self, weight: fn(usize) -> f64) -> BTreeMap<u32, f64> {
        let nodes = self.world.present().iter();
        let sum = |node: u32| {
            let records = self.world.records().iter();
            let missing =
                records.filter(|r| self.world.is_expected(node, r) && !r.received.contains(node));
            missing.fold(0.0, |sum, record| sum + weight(record.size))
        };
        nodes.map(|node| (node, sum(node))).collect()
    }

    fn round(&self, number: Number, in_time: f64) -> Round {
        let record = self.world.record(number);
        let (expected, has) = self.world.reached(record);
        Round {
            redundancy: record.redundancy(),
            last_hop: record.hops_max,
            milliseconds: record.duration().as_secs_f64() * 1000.0,
            expected,
            missed: expected - has,
            repairs: record.repairs,
            in_time,
        }
    }

    fn before(&mut self) -> Before {
        self.world.take_deliveries();
        let nodes = 0..self.world.config().nodes;
        let (received, sent) = nodes.map(|node| self.world.traffic(node)).unzip();
        Before { at: self.world.now(), received, sent, kinds: self.world.kinds().clone() }
    }

    /// Begins the figures of a step that is over: what was delivered, and who is whose neighbour.
    fn part(&mut self, before: &Before) -> Part {
        let (latencies, hops) = self.world.take_deliveries();
        let graph = self.world.graph();
        let degrees = graph.degrees();
        let components = graph.components();
        let seconds = (self.world.now() - before.at).as_secs_f64();
        let count = f64::from(self.world.present().count().max(1));
        let kinds = self.world.kinds().iter().map(|(&kind, counts)| {
            let counts = counts.since(before.kinds.get(&kind).copied().unwrap_or_default());
            (P::kind_name(kind), counts.bytes as f64 / seconds / count)
        });
        let kinds = kinds.collect();
        let quantile = |share| latencies.quantile(share).map_or(0.0, |ms| ms as f64);
        let largest = components.first().copied().unwrap_or(0) as f64;
        let mut figures = BTreeMap::from([
            ("latency_ms_p50", Figure::from(quantile(0.5))),
            ("latency_ms_p99", Figure::from(quantile(0.99))),
            ("components", Figure::from(components.len() as f64)),
            ("largest_component", Figure::from(largest / count)),
            ("neighbours", spread(&degrees)),
            ("neighbours_one_sided", Figure::from(graph.one_sided() as f64)),
        ]);
        let nodes: Vec<u32> = self.world.present().iter().collect();
        let sessions = nodes.iter().map(|&node| self.world.sessions(node) as f64);
        figures.insert("sessions", Figure::of(sessions));
        let depths: Vec<f64> = self.protocols().filter_map(P::depth).map(f64::from).collect();
        if !depths.is_empty() {
            figures.insert("tree_depth", Figure::of(depths));
        }
        let known: Vec<f64> = self.protocols().filter_map(P::known).map(|k| k as f64).collect();
        if !known.is_empty() {
            figures.insert("passive_view", Figure::of(known));
        }
        Part { figures, latencies, hops, degrees, kinds, ..Part::default() }
    }

    /// Adds what each node sent and received, for each of `units`.
    fn spent(&self, before: &Before, part: &mut Part, units: f64, per: &'static str) {
        let [control, payload, estimate, received] = match per {
            "per_s" => [
                "control_bytes_per_s",
                "payload_bytes_per_s",
                "estimated_bytes_per_s",
                "received_bytes_per_s",
            ],
            "per_message" => [
                "control_bytes_per_message",
                "payload_bytes_per_message",
                "estimated_bytes_per_message",
                "received_bytes_per_message",
            ],
            _ => [
                "control_bytes_per_node",
                "payload_bytes_per_node",
                "estimated_bytes_per_node",
                "received_bytes_per_node",
            ],
        };
        let seconds = (self.world.now() - before.at).as_secs_f64();
        let nodes: Vec<u32> = self.world.present().iter().collect();
        let sent = |node: u32| self.world.traffic(node).1.since(&before.sent[node as usize]);
        let figure =
            |value: &dyn Fn(u32) -> f64| Figure::of(nodes.iter().map(|&node| value(node) / units));
        part.figures.extend([
            (control, figure(&|node| sent(node).control.bytes as f64)),
            (payload, figure(&|node| sent(node).payload.bytes as f64)),
            (
                estimate,
                figure(&|node| {
                    let sent = sent(node);
                    let packets = (sent.datagrams * DATAGRAM_OVERHEAD) as f64;
                    let keep_alive = self.world.sessions(node) as f64 * KEEP_ALIVE_OVERHEAD;
                    sent.bytes() as f64 + packets + keep_alive * seconds
                }),
            ),
            (
                received,
                figure(&|node| {
                    self.world.traffic(node).0.since(&before.received[node as usize]).bytes() as f64
                }),
            ),
        ]);
    }

    fn protocols(&self) -> impl Iterator<Item = &P> {
        self.world.present().iter().filter_map(|node| self.world.protocol(node))
    }
}

fn spread(degrees: &crate::model::histogram::Histogram) -> Figure {
    let end = |share| degrees.quantile(share).map_or(0.0, |degree| degree as f64);
    Figure { mean: degrees.mean(), min: end(0.0), max: end(1.0) }
}
