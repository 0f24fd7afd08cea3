//! All steps of a scenario, drawn before it starts.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use x0x_core::direct::PAYLOAD_MAX;
use x0x_core::node::{Connect, SendDirect, Target};
use x0x_core::support::Rng;

use super::{Scenario, Topology};
use crate::{LinkProfile, NodeId, PartitionName, Step, World, random};

/// When the first messages are sent.
const WARM_UP: Duration = Duration::from_secs(2);

/// How long a node is down at most.
const DOWN_MAX: Duration = Duration::from_secs(8);

/// How long a partition lasts at most.
const SPLIT_MAX: Duration = Duration::from_secs(15);

/// Who connects to whom, and the steps.
#[derive(Debug)]
pub(super) struct Plan {
    /// The links to keep; the first node dials.
    pub(super) edges: Vec<(NodeId, NodeId)>,
    /// The steps with their times.
    pub(super) steps: Vec<(Duration, Step)>,
}

impl Plan {
    /// Draws the plan.
    pub(super) fn new<M>(scenario: &Scenario, world: &World<M>) -> Self {
        let rng = random::from_number(scenario.seed).fork("plan");
        let edges = edges(scenario, &mut rng.fork("edges"));
        let mut plan = Self { edges, steps: Vec::new() };
        plan.links(scenario, &mut rng.fork("links"));
        plan.connects(scenario, world, &mut rng.fork("connects"));
        plan.messages(scenario, world, &mut rng.fork("messages"));
        plan.crashes(scenario, world, &mut rng.fork("crashes"));
        plan.partitions(scenario, &mut rng.fork("partitions"));
        if scenario.recovery.is_some() {
            let good = LinkProfile { loss: 0.0, reorder: 0.0, duplicate: 0.0, ..scenario.link };
            for (a, b) in plan.edges.clone() {
                plan.add(scenario.duration, Step::SetLink { ends: Some((a, b)), profile: good });
            }
        }
        plan
    }

    fn add(&mut self, at: Duration, step: Step) {
        self.steps.push((at, step));
    }

    /// Gives each link its latency.
    fn links(&mut self, scenario: &Scenario, rng: &mut Rng) {
        for (a, b) in self.edges.clone() {
            let latency = random::between(rng, scenario.link.latency, scenario.latency_max);
            let profile = LinkProfile { latency, ..scenario.link };
            self.add(Duration::ZERO, Step::SetLink { ends: Some((a, b)), profile });
        }
    }

    fn connects<M>(&mut self, scenario: &Scenario, world: &World<M>, rng: &mut Rng) {
        let start = WARM_UP.min(scenario.duration) / 2;
        for (a, b) in self.edges.clone() {
            self.add(random::up_to(rng, start), connect(world, a, b));
        }
    }

    /// Has each node send to its neighbours, spread over most of the run.
    fn messages<M>(&mut self, scenario: &Scenario, world: &World<M>, rng: &mut Rng) {
        let first = WARM_UP.min(scenario.duration);
        let last = first.max(scenario.duration * 4 / 5);
        let size_max = scenario.payload_max.clamp(16, PAYLOAD_MAX);
        let mut number = 0_u64;
        for node in world.nodes() {
            let peers = neighbours(&self.edges, node);
            if peers.is_empty() {
                continue;
            }
            for _ in 0..scenario.messages {
                number += 1;
                let size = 16 + random::index(rng, size_max - 15);
                let mut payload = vec![0; size];
                rng.fill(&mut payload[8..]);
                payload[..8].copy_from_slice(&number.to_le_bytes());
                let recipient = peers[random::index(rng, peers.len())];
                let request = SendDirect {
                    recipient: world.node_config(recipient).agent_key.id(),
                    payload: Bytes::from(payload),
                    timeout: scenario.send_timeout,
                };
                let at = random::between(rng, first, last);
                self.add(at, Step::Command { node, request: request.into() });
            }
        }
    }

    /// Crashes nodes that run, and starts them again with their kept links.
    fn crashes<M>(&mut self, scenario: &Scenario, world: &World<M>, rng: &mut Rng) {
        let mut down_until = vec![Duration::ZERO; scenario.nodes as usize];
        let mut times: Vec<Duration> =
            (0..scenario.crashes).map(|_| fault_time(scenario, rng)).collect();
        times.sort_unstable();
        for at in times {
            let index = random::index(rng, down_until.len());
            if down_until[index] >= at {
                continue;
            }
            let back = (at + random::between(rng, Duration::from_millis(100), DOWN_MAX))
                .min(scenario.duration);
            down_until[index] = back;
            let Some(node) = world.nodes().nth(index) else { continue };
            self.add(at, Step::Crash { node });
            self.add(back, Step::Restart { node });
            for (a, b) in self.edges.clone() {
                if a == node {
                    self.add(back, connect(world, a, b));
                }
            }
        }
    }

    fn partitions(&mut self, scenario: &Scenario, rng: &mut Rng) {
        for name in (0..scenario.partitions).map(PartitionName) {
            let at = fault_time(scenario, rng);
            let group = (0..scenario.nodes).map(NodeId).filter(|_| rng.below(2) == 0).collect();
            let end = (at + random::up_to(rng, SPLIT_MAX)).min(scenario.duration);
            self.add(at, Step::Partition { name, groups: vec![group] });
            self.add(end, Step::Heal { name });
        }
    }
}

fn connect<M>(world: &World<M>, from: NodeId, to: NodeId) -> Step {
    let machine = Some(world.node_config(to).machine_key.id());
    let target = Target::Address { address: world.address(to), machine };
    let request = Connect { target, keep: true, timeout: Duration::from_secs(10) };
    Step::Command { node: from, request: request.into() }
}

fn fault_time(scenario: &Scenario, rng: &mut Rng) -> Duration {
    let first = WARM_UP.min(scenario.duration);
    random::between(rng, first, first.max(scenario.duration * 9 / 10))
}

/// Returns the other ends of a node's edges.
pub(crate) fn neighbours(edges: &[(NodeId, NodeId)], node: NodeId) -> Vec<NodeId> {
    let ends = edges.iter();
    ends.filter_map(|&(a, b)| match (a == node, b == node) {
        (true, _) => Some(b),
        (_, true) => Some(a),
        (false, false) => None,
    })
    .collect()
}

fn edges(scenario: &Scenario, rng: &mut Rng) -> Vec<(NodeId, NodeId)> {
    let nodes = scenario.nodes;
    let id = |index: usize| NodeId(u32::try_from(index).unwrap_or(0));
    match scenario.topology {
        Topology::Line => (1..nodes).map(|n| (NodeId(n - 1), NodeId(n))).collect(),
        Topology::Star => (1..nodes).map(|n| (NodeId(n), NodeId(0))).collect(),
        Topology::Random { degree } => {
            let mut edges: Vec<_> =
                (1..nodes).map(|n| (NodeId(n), id(random::index(rng, n as usize)))).collect();
            let mut known: BTreeSet<_> = edges.iter().copied().collect();
            let most = u64::from(nodes) * u64::from(nodes.saturating_sub(1)) / 2;
            let wanted = (u64::from(nodes) * u64::from(degree) / 2).min(most);
            while (edges.len() as u64) < wanted {
                let (a, b) =
                    (random::index(rng, nodes as usize), random::index(rng, nodes as usize));
                let edge = (id(a.max(b)), id(a.min(b)));
                if a != b && known.insert(edge) {
                    edges.push(edge);
                }
            }
            edges
        }
    }
}
