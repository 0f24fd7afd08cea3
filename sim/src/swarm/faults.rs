//! What goes wrong in a world, and when.
//!
//! Each fault has a beginning and an end while the world runs. What is still in force when it is
//! healed is undone by [`Plan::opened`] and by what healing does for every node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use x0x_core::link::{PROTOCOL_VERSION, PROTOCOL_VERSION_MAX};
use x0x_core::node::ShutDown;
use x0x_core::support::Rng;

use super::draw::{burst, draw, pick};
use super::ground::clock;
use super::workload::{command, wishes};
use super::{Options, Plan, Swarm};
use crate::random::{self, between, chance, up_to};
use crate::{
    ClockProfile, DiskProfile, LinkProfile, Machine, NatId, NodeId, PartitionName, Step, World,
};

/// When the first fault begins.
const FIRST: Duration = Duration::from_secs(2);

/// How far off clocks are at most after a jump, in milliseconds. Twice the largest is less than the
/// difference that nodes accept.
const JUMPS_MS: [u64; 4] = [200, 1500, 5000, 55_000];

/// How long a fault lasts at most.
const LAST_MAX: Duration = Duration::from_secs(25);

/// Draws all faults.
pub(super) fn plan<M: Machine>(swarm: &Swarm, world: &World<M>, plan: &mut Plan) {
    let rng = random::from_number(swarm.options.seed).fork("swarm faults");
    let mut planner = Planner { swarm, world, plan, rng: rng.fork("all") };
    let faults = swarm.options.faults;
    let mut fork = |name, count, act: fn(&mut Planner<'_, M>, u32)| {
        planner.rng = rng.fork(name);
        (0..count).for_each(|number| act(&mut planner, number));
    };
    fork("crashes", faults.crashes, |planner, _| planner.down(false));
    fork("goodbyes", faults.goodbyes, |planner, _| planner.down(true));
    fork("partitions", faults.partitions, |planner, number| planner.partition(number));
    fork("blocks", faults.blocks, |planner, _| planner.block());
    fork("storms", faults.storms, |planner, _| planner.storm());
    fork("nat resets", faults.nat_resets, |planner, _| planner.reset_nat());
    fork("moves", faults.moves, |planner, number| planner.move_socket(number));
    fork("roams", faults.roams, |planner, _| planner.roam());
    fork("interfaces", faults.interfaces, |planner, _| planner.interface());
    fork("slow disks", faults.slow_disks, |planner, _| planner.slow_disk());
    fork("full disks", faults.full_disks, |planner, _| planner.full_disk());
    planner.rng = rng.fork("clocks");
    planner.clocks(faults.clocks);
    planner.rng = rng.fork("sleeps");
    planner.sleeps(faults.sleeps);
    planner.rng = rng.fork("upgrades");
    planner.upgrades(faults.upgrades);
}

struct Planner<'a, M> {
    swarm: &'a Swarm,
    world: &'a World<M>,
    plan: &'a mut Plan,
    rng: Rng,
}

impl<M: Machine> Planner<'_, M> {
    fn options(&self) -> &Options {
        &self.swarm.options
    }

    /// Draws when a fault begins and ends.
    fn span(&mut self) -> (Duration, Duration) {
        let end = self.swarm.options.duration;
        let begin = between(&mut self.rng, FIRST, end * 9 / 10);
        (begin, (begin + up_to(&mut self.rng, LAST_MAX)).min(end))
    }

    fn node(&mut self) -> NodeId {
        NodeId(draw(&mut self.rng, self.swarm.options.nodes))
    }

    fn two_nodes(&mut self) -> (NodeId, NodeId) {
        if chance(&mut self.rng, 0.8) {
            let (a, b) = pick(&mut self.rng, &self.swarm.ground.edges);
            if chance(&mut self.rng, 0.5) { (a, b) } else { (b, a) }
        } else {
            (self.node(), self.node())
        }
    }

    fn any_nat(&mut self) -> Option<NatId> {
        let count = u32::try_from(self.swarm.ground.nats.len()).unwrap_or(0);
        (count > 0).then(|| NatId(draw(&mut self.rng, count)))
    }

    /// A node starts by a step, and its application asks for what it wants.
    fn start(&mut self, at: Duration, node: NodeId, step: Step) {
        self.plan.add(at, step);
        for step in wishes(self.swarm, self.world, node) {
            self.plan.add(at, step);
        }
    }

    fn down(&mut self, says_goodbye: bool) {
        let (node, (begin, end)) = (self.node(), self.span());
        let step = if says_goodbye { command(node, ShutDown) } else { Step::Crash { node } };
        self.plan.add(begin, step);
        self.start(end, node, Step::Restart { node });
    }

    fn partition(&mut self, number: u32) {
        let (begin, end) = self.span();
        let name = PartitionName(number);
        let nodes = (0..self.options().nodes).map(NodeId);
        let group = nodes.filter(|_| self.rng.below(2) == 0).collect();
        self.plan.add(begin, Step::Partition { name, groups: vec![group] });
        self.plan.add(end, Step::Heal { name });
    }

    fn block(&mut self) {
        let ((from, to), (begin, end)) = (self.two_nodes(), self.span());
        if self.swarm.ground.are_walled_off(from, to) {
            return;
        }
        self.plan.add(begin, Step::SetPassage { from, to, is_open: false });
        let open = Step::SetPassage { from, to, is_open: true };
        self.plan.add(end, open.clone());
        self.plan.opened.push(open);
    }

    /// One direction of a link gets worse in one way: losses, a black hole for large datagrams or
    /// for all, corruption, disorder, delay.
    fn storm(&mut self) {
        let ((from, to), (begin, end)) = (self.two_nodes(), self.span());
        let good = self.swarm.options.link;
        let rng = &mut self.rng;
        let bad = match rng.below(8) {
            0 => LinkProfile { loss: 0.3, ..good },
            1 => LinkProfile { burst: Some(burst(rng)), ..good },
            2 => LinkProfile { mtu: 1280, ..good },
            3 => LinkProfile { mtu: 600, ..good },
            4 => LinkProfile { corrupt: 0.2, ..good },
            5 => LinkProfile { reorder: 0.4, duplicate: 0.4, ..good },
            6 => LinkProfile { latency: Duration::from_millis(900), ..good },
            _ => LinkProfile { bandwidth: Some(100_000), queue_bytes_max: 8000, ..good },
        };
        self.plan.add(begin, Step::SetDirection { from, to, profile: bad });
        self.plan.add(end, Step::SetDirection { from, to, profile: good });
    }

    fn reset_nat(&mut self) {
        let (at, _) = self.span();
        if let Some(nat) = self.any_nat() {
            self.plan.add(at, Step::ResetNat { nat });
        }
    }

    fn move_socket(&mut self, number: u32) {
        let (node, (at, _)) = (self.node(), self.span());
        let is_private = self.swarm.ground.places[node.index()].networks[0].is_some();
        let octet = u8::try_from(number).unwrap_or(u8::MAX);
        let port = 2000 + u16::try_from(node.0).unwrap_or(0);
        let ip = if is_private { [192, 168, 200, octet] } else { [12, 0, 0, octet] };
        let address = SocketAddr::from((ip, port));
        let announce = chance(&mut self.rng, 0.7);
        self.plan.add(at, Step::MoveSocket { node, address, announce });
    }

    fn roam(&mut self) {
        let (node, (at, _)) = (self.node(), self.span());
        if self.swarm.ground.must_stay(node) {
            return;
        }
        let is_public = chance(&mut self.rng, 0.3);
        let nat = if is_public { None } else { self.any_nat() };
        let announce = chance(&mut self.rng, 0.7);
        self.plan.add(at, Step::Roam { node, socket: 0, nat, announce });
    }

    fn interface(&mut self) {
        let (node, (begin, end)) = (self.node(), self.span());
        let socket = draw(&mut self.rng, 2);
        self.plan.add(begin, Step::SetInterface { node, socket, is_up: false });
        self.plan.add(end, Step::SetInterface { node, socket, is_up: true });
    }

    /// Clocks jump, ahead and back, and change their speed. Any two differ by less than what nodes
    /// accept of one another.
    fn clocks(&mut self, count: u32) {
        for _ in 0..count {
            let (node, (at, _)) = (self.node(), self.span());
            let drawn = clock(&self.swarm.options, &mut self.rng);
            let jump = pick(&mut self.rng, &JUMPS_MS);
            let ahead_ms = i64::try_from(self.rng.below(2 * jump + 1)).unwrap_or(0);
            let ahead_ms = ahead_ms - i64::try_from(jump).unwrap_or(0);
            let profile = ClockProfile { ahead_ms, ..drawn };
            self.plan.add(at, Step::SetClock { node, profile });
        }
    }

    fn slow_disk(&mut self) {
        let (node, (begin, end)) = (self.node(), self.span());
        let good = self.swarm.options.disk;
        let slow = DiskProfile { write_latency: Duration::from_secs(3), ..good };
        self.plan.add(begin, Step::SetDisk { node, profile: slow });
        self.plan.add(end, Step::SetDisk { node, profile: good });
    }

    fn full_disk(&mut self) {
        let (node, (begin, end)) = (self.node(), self.span());
        let good = self.swarm.options.disk;
        let left = self.rng.below(4);
        let full = DiskProfile { writes_left: Some(left), ..good };
        self.plan.add(begin, Step::SetDisk { node, profile: full });
        self.plan.add(end, Step::SetDisk { node, profile: good });
        self.start(end, node, Step::Restart { node });
    }

    /// Hosts sleep; the clock of some stands still.
    fn sleeps(&mut self, count: u32) {
        for _ in 0..count {
            let (node, (begin, end)) = (self.node(), self.span());
            let stops_clock = chance(&mut self.rng, 0.5);
            self.plan.add(begin, Step::Sleep { node, stops_clock });
            self.plan.add(end, Step::Wake { node });
        }
    }

    /// Builds of other versions replace one another, and some have none in common for a while.
    /// Healing gives one version to all, the older or the newer: the upgrade is undone or done.
    fn upgrades(&mut self, count: u32) {
        let mut last = BTreeMap::new();
        for _ in 0..count {
            let (node, (begin, end)) = (self.node(), self.span());
            let says_goodbye = chance(&mut self.rng, 0.5);
            let stop = if says_goodbye { command(node, ShutDown) } else { Step::Crash { node } };
            let versions = pick(&mut self.rng, &[BOTH, BOTH, NEW, NEW, OLD]);
            self.plan.add(begin, stop);
            self.start(end, node, upgrade(node, versions));
            let of_node = last.entry(node).or_insert((end, versions));
            if end >= of_node.0 {
                *of_node = (end, versions);
            }
        }
        let all_speak = if chance(&mut self.rng, 0.5) { OLD } else { NEW };
        for node in (0..self.options().nodes).map(NodeId).filter(|_| count > 0) {
            let (_, versions) = last.get(&node).copied().unwrap_or((Duration::ZERO, OLD));
            if versions != BOTH && versions != all_speak {
                self.plan.opened.push(upgrade(node, BOTH));
            }
        }
    }
}

/// The oldest and the newest version that a build speaks.
type Versions = (u16, u16);

const OLD: Versions = (PROTOCOL_VERSION, PROTOCOL_VERSION);
const NEW: Versions = (PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MAX);
const BOTH: Versions = (PROTOCOL_VERSION, PROTOCOL_VERSION_MAX);

fn upgrade(node: NodeId, (oldest, newest): Versions) -> Step {
    Step::Upgrade { node, versions: oldest..=newest }
}
