//! What the applications of a world ask for.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use x0x_core::gossip::{MessageId, Topic};
use x0x_core::node::{
    Connect, Disconnect, GetCounters, ListPeers, ListTopics, ProbePeer, ProveMessage, Publish,
    Request, SendDirect, SetBlocked, Subscribe, Target, Unsubscribe,
};
use x0x_core::overlay::ItemId;
use x0x_core::support::Rng;

use super::draw::{draw, pick};
use super::{Plan, Swarm};
use crate::checks::MARKER;
use crate::random::{self, between, chance, up_to};
use crate::{LinkProfile, Machine, NodeId, Step, World};

/// When the first messages are sent.
const WARM_UP: Duration = Duration::from_secs(2);

/// How long a direct message may take.
pub(super) const SEND_TIME: Duration = Duration::from_secs(20);

/// The size of the smallest payload: the marker and a number.
const PAYLOAD_MIN: usize = MARKER.len() + 8;

/// Draws everything that is asked for while the world runs.
pub(super) fn plan<M: Machine>(swarm: &Swarm, world: &World<M>, plan: &mut Plan) {
    let rng = random::from_number(swarm.options.seed).fork("swarm workload");
    links(swarm, plan, &mut rng.fork("links"));
    walls(swarm, world, plan);
    for node in (0..swarm.options.nodes).map(NodeId) {
        let start = up_to(&mut rng.fork(&format!("start {node}")), WARM_UP / 2);
        for step in wishes(swarm, world, node) {
            plan.add(start, step);
        }
        let mut talk =
            Talk { swarm, plan: &mut *plan, node, rng: rng.fork(&format!("talk {node}")) };
        talk.send(world);
        talk.publish();
        talk.toggle();
        talk.ask(world);
    }
}

/// Returns what an application asks for when its node starts: its links and its topics.
pub(super) fn wishes<M: Machine>(swarm: &Swarm, world: &World<M>, node: NodeId) -> Vec<Step> {
    let dialled = swarm.ground.edges.iter().filter(|(from, _)| *from == node);
    let mut steps: Vec<Step> = dialled.map(|&(from, to)| connect(world, from, to)).collect();
    for number in (0..swarm.options.topics).filter(|&n| subscribers(swarm, n).contains(&node)) {
        steps.push(command(node, Subscribe { topic: topic(number) }));
    }
    steps
}

/// Returns those who subscribe to a topic.
pub(super) fn subscribers(swarm: &Swarm, topic: u32) -> BTreeSet<NodeId> {
    let rng = random::from_number(swarm.options.seed).fork("swarm subscribers");
    let mut rng = rng.fork(&format!("topic {topic}"));
    let nodes = (0..swarm.options.nodes).map(NodeId);
    nodes.filter(|_| chance(&mut rng, swarm.options.subscribed)).collect()
}

/// Returns a topic by its number. Its name is secret.
pub(super) fn topic(number: u32) -> Topic {
    let name = [&MARKER[..], format!(" topic {number}").as_bytes()].concat();
    Topic::new(&String::from_utf8_lossy(&name)).expect("the name has a few bytes")
}

/// Returns a payload that no other has: the marker, a number, and anything.
pub(super) fn payload(rng: &mut Rng, size: usize) -> Bytes {
    let mut payload = vec![0; size.max(PAYLOAD_MIN)];
    rng.fill(&mut payload);
    payload[..MARKER.len()].copy_from_slice(&MARKER);
    payload.into()
}

pub(super) fn connect<M: Machine>(world: &World<M>, from: NodeId, to: NodeId) -> Step {
    let machine = Some(world.node_config(to).machine_key.id());
    let target = Target::Address { address: world.address(to), machine };
    command(from, Connect { target, keep: true, timeout: Duration::from_secs(10) })
}

pub(super) fn command(node: NodeId, request: impl Into<Request>) -> Step {
    Step::Command { node, request: request.into() }
}

/// Returns a direct message.
pub(super) fn message<M: Machine>(
    world: &World<M>,
    from: NodeId,
    to: NodeId,
    payload: Bytes,
) -> Step {
    let recipient = world.node_config(to).agent_key.id();
    command(from, SendDirect { recipient, payload, timeout: SEND_TIME })
}

/// Gives each direction of each link its latency and its bandwidth.
fn links(swarm: &Swarm, plan: &mut Plan, rng: &mut Rng) {
    let options = &swarm.options;
    for &(a, b) in &swarm.ground.edges {
        let latency = between(rng, options.link.latency, options.latency_max);
        for (from, to) in [(a, b), (b, a)] {
            let bandwidth = pick(rng, &[options.link.bandwidth, Some(2_000_000)]);
            let profile = LinkProfile { latency, bandwidth, ..options.link };
            plan.add(Duration::ZERO, Step::SetDirection { from, to, profile });
        }
    }
}

/// Puts up the walls, for as long as the world lasts.
fn walls<M: Machine>(swarm: &Swarm, world: &World<M>, plan: &mut Plan) {
    for from in world.nodes() {
        for to in world.nodes().filter(|&to| swarm.ground.are_walled_off(from, to)) {
            plan.add(Duration::ZERO, Step::SetPassage { from, to, is_open: false });
        }
    }
}

/// What one application says.
struct Talk<'a> {
    swarm: &'a Swarm,
    plan: &'a mut Plan,
    node: NodeId,
    rng: Rng,
}

impl Talk<'_> {
    fn time(&mut self) -> Duration {
        between(&mut self.rng, WARM_UP, self.swarm.options.duration)
    }

    /// Sends to neighbours, and now and then to anybody.
    fn send<M: Machine>(&mut self, world: &World<M>) {
        let neighbours = self.swarm.ground.neighbours(self.node);
        let all: Vec<NodeId> = world.nodes().collect();
        for _ in 0..self.swarm.options.messages {
            let choices = if chance(&mut self.rng, 0.1) { &all } else { &neighbours };
            if choices.is_empty() {
                continue;
            }
            let to = pick(&mut self.rng, choices);
            let size = random::index(&mut self.rng, self.swarm.options.payload_max + 1);
            let payload = payload(&mut self.rng, size);
            let at = self.time();
            self.plan.add(at, message(world, self.node, to, payload));
        }
    }

    /// Publishes, a few messages at a time; who is not subscribed does it, too.
    fn publish(&mut self) {
        if self.swarm.options.topics == 0 {
            return;
        }
        for _ in 0..self.swarm.options.publishes {
            let at = self.time();
            let topic = topic(draw(&mut self.rng, self.swarm.options.topics));
            for _ in 0..=self.rng.below(self.swarm.options.publish_burst) {
                let size = random::index(&mut self.rng, self.swarm.options.payload_max + 1);
                let payload = payload(&mut self.rng, size);
                let publish = Publish { topic: topic.clone(), payload };
                self.plan.add(at, command(self.node, publish));
            }
        }
    }

    /// Joins or leaves a topic.
    fn toggle(&mut self) {
        for _ in 0..self.swarm.options.toggles.min(self.swarm.options.topics) {
            let topic = topic(draw(&mut self.rng, self.swarm.options.topics));
            let at = self.time();
            let step = if chance(&mut self.rng, 0.5) {
                command(self.node, Subscribe { topic })
            } else {
                command(self.node, Unsubscribe { topic })
            };
            self.plan.add(at, step);
        }
    }

    /// Asks for this and that.
    fn ask<M: Machine>(&mut self, world: &World<M>) {
        let all: Vec<NodeId> = world.nodes().collect();
        for _ in 0..self.swarm.options.questions {
            let other = pick(&mut self.rng, &all);
            let machine = world.node_config(other).machine_key.id();
            let timeout = up_to(&mut self.rng, SEND_TIME);
            let message = MessageId { batch: ItemId(self.rng.bytes()), index: 0 };
            let at = self.time();
            let request: Request = match self.rng.below(8) {
                0 => ListPeers.into(),
                1 => ListTopics.into(),
                2 => GetCounters.into(),
                3 => ProbePeer { machine, timeout }.into(),
                4 => {
                    self.interrupt(world, other, at);
                    continue;
                }
                5 if other == self.node => continue,
                5 => {
                    let agent = world.node_config(other).agent_key.id();
                    let heard = command(self.node, SetBlocked { agent, blocked: false });
                    self.plan.opened.push(heard);
                    SetBlocked { agent, blocked: true }.into()
                }
                6 => ProveMessage { topic: topic(0), message }.into(),
                _ => Connect { target: Target::Machine(machine), keep: false, timeout }.into(),
            };
            self.plan.add(at, command(self.node, request));
        }
    }

    /// Ends a link while messages are on their way in both directions.
    fn interrupt<M: Machine>(&mut self, world: &World<M>, other: NodeId, at: Duration) {
        for _ in 0..self.rng.below(6) {
            let (from, to) =
                if chance(&mut self.rng, 0.5) { (self.node, other) } else { (other, self.node) };
            let payload = payload(&mut self.rng, 0);
            let before = up_to(&mut self.rng, 2 * self.swarm.options.latency_max);
            self.plan.add(at.saturating_sub(before), message(world, from, to, payload));
        }
        let machine = world.node_config(other).machine_key.id();
        self.plan.add(at, command(self.node, Disconnect { machine }));
    }
}
