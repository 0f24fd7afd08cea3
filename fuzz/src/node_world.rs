//! Small worlds of whole nodes: any sequence of steps.

use std::time::Duration;

use bytes::Bytes;
use x0x_core::gossip::Topic;
use x0x_core::identity::MachineId;
use x0x_core::node::{
    Connect, Disconnect, GetCounters, ListPeers, ListTopics, ProbePeer, Publish, Request,
    SendDirect, SetBlocked, ShutDown, Subscribe, Target, Unsubscribe,
};
use x0x_core::support::Rng;
use x0x_sim::checks::MARKER;
use x0x_sim::{
    ClockProfile, DiskProfile, LinkProfile, NatConfig, NatId, NatProfile, NodeId, PartitionName,
    Place, Step, World, WorldConfig,
};

use crate::input::Input;

/// A world has two nodes, or three.
const NODES_MAX: u8 = 3;

/// How long it takes to start a node.
const START_TIME: Duration = Duration::from_millis(5);

/// The wall clock of a node jumps ahead by so much at most: beyond a clock skew nobody is heard.
const AHEAD_MAX_MS: i64 = 20_000;

/// Any steps on a world of two or three nodes, one behind a NAT. The rules of the simulator hold.
pub fn node_world(data: &[u8]) {
    let mut world = after_steps(data);
    kept(world.run_for(Duration::from_secs(30)));
}

fn kept(result: Result<(), x0x_sim::Failure>) {
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// Returns the world as it is after the last step.
pub(crate) fn after_steps(data: &[u8]) -> World {
    let mut input = Input::new(data);
    let nodes = NODES_MAX - (input.byte() & 1);
    let link = link(&mut input);
    let nats = vec![NatConfig { profile: NatProfile::default(), behind: None }];
    let places =
        vec![Place::default(), Place { networks: vec![Some(NatId(0))], ..Place::default() }];
    let mut world = World::new(WorldConfig {
        nats,
        places,
        link,
        dual_stack: link.mtu < 1400,
        marked: true,
        record_events: false,
        record_steps: false,
        ..WorldConfig::new(1, u32::from(nodes))
    });
    let mut steps: u16 = 0;
    let mut ahead = [0; NODES_MAX as usize];
    while !input.is_empty() {
        let (kind, number) = (input.byte(), input.byte());
        let node = |number: u8| NodeId(u32::from(number % nodes));
        let (from, to) = (node(number), node(number / 4));
        steps += 1;
        let step = match kind % 32 {
            0..=10 => {
                let request = request(&world, (kind, steps), to, &mut input);
                Step::Command { node: from, request }
            }
            11 => Step::Crash { node: from },
            12 => Step::Restart { node: from },
            13 => Step::SetDirection { from, to, profile: self::link(&mut input) },
            14 => {
                let group = world.nodes().filter(|node| number >> (node.0 + 3) & 1 == 1);
                let name = PartitionName(u32::from(number % 2));
                Step::Partition { name, groups: vec![group.collect()] }
            }
            15 => Step::Heal { name: PartitionName(u32::from(number % 2)) },
            16 => Step::SetPassage { from, to, is_open: number & 128 == 0 },
            17 => Step::MoveSocket {
                node: from,
                address: ([12, 0, 0, number], 2000).into(),
                announce: number & 128 == 0,
            },
            18 => {
                let nat = (number & 64 == 0).then_some(NatId(0));
                Step::Roam { node: from, socket: 0, nat, announce: number & 128 == 0 }
            }
            19 => Step::SetInterface { node: from, socket: 0, is_up: number & 128 == 0 },
            20 => Step::ResetNat { nat: NatId(0) },
            21 => Step::Sleep { node: from, stops_clock: number & 128 == 0 },
            22 => Step::Wake { node: from },
            23 => {
                let ahead = &mut ahead[from.index()];
                *ahead = (*ahead + i64::from(number) * 20).min(AHEAD_MAX_MS);
                let profile = ClockProfile { ahead_ms: *ahead, drift_ppm: -i32::from(number) };
                Step::SetClock { node: from, profile }
            }
            24 => Step::SetDisk { node: from, profile: disk(number) },
            25 => {
                let payload = Bytes::copy_from_slice(input.counted());
                let (source, target) = (world.address(to), world.address(from));
                Step::Inject { source, target, ecn: None, payload }
            }
            _ => {
                kept(world.run_for(Duration::from_millis(u64::from(number).pow(2) / 4)));
                continue;
            }
        };
        let starts = matches!(step, Step::Restart { .. });
        // What is refused is counted by the world.
        let _ = world.apply(step);
        // Two runs of a node that begin at the same time cannot be told apart.
        kept(world.run_for(if starts { START_TIME } else { Duration::ZERO }));
    }
    world
}

/// What an application asks for.
fn request(world: &World, (kind, number): (u8, u16), to: NodeId, input: &mut Input<'_>) -> Request {
    let config = world.node_config(to);
    let (machine, recipient) = (config.machine_key.id(), config.agent_key.id());
    let choice = input.byte();
    let timeout = Duration::from_millis(u64::from(choice) * 100);
    let topic = topic(choice);
    match kind % 32 {
        0..=2 => {
            let target = match choice % 4 {
                0 => Target::Address { address: world.address(to), machine: None },
                1 => Target::Machine(machine),
                2 => Target::Agent(recipient),
                _ => Target::Address { address: world.address(to), machine: Some(machine) },
            };
            Connect { target, keep: choice & 128 == 128, timeout }.into()
        }
        3 | 4 => SendDirect { recipient, payload: payload(choice, number), timeout }.into(),
        5 => Subscribe { topic }.into(),
        6 => Unsubscribe { topic }.into(),
        7 | 8 => Publish { topic, payload: payload(choice, number) }.into(),
        9 => Disconnect { machine }.into(),
        _ => other_request(choice, machine, timeout, recipient),
    }
}

fn other_request(
    choice: u8,
    machine: MachineId,
    timeout: Duration,
    agent: x0x_core::identity::AgentId,
) -> Request {
    match choice % 7 {
        0 => ListPeers.into(),
        1 => ListTopics.into(),
        2 => GetCounters.into(),
        3 => ProbePeer { machine, timeout }.into(),
        4 => SetBlocked { agent, blocked: choice & 128 == 0 }.into(),
        5 => SetBlocked { agent, blocked: false }.into(),
        _ => ShutDown.into(),
    }
}

fn topic(number: u8) -> Topic {
    let name = [&MARKER[..], &[b'a' + number % 2]].concat();
    Topic::new(&String::from_utf8_lossy(&name)).expect("the name has a few bytes")
}

/// A payload that no other has, with the marker.
fn payload(choice: u8, number: u16) -> Bytes {
    let size = usize::from(choice) * usize::from(choice & 15);
    let mut payload = [&MARKER[..], &number.to_be_bytes()].concat();
    payload.resize(payload.len() + size, choice);
    payload.into()
}

fn link(input: &mut Input<'_>) -> LinkProfile {
    let (choice, share) = (input.byte(), f64::from(input.byte()) / 1000.0);
    LinkProfile {
        latency: Duration::from_millis(u64::from(choice)),
        jitter: Duration::from_millis(u64::from(choice & 15)),
        bandwidth: (choice & 1 == 1).then_some(2_000_000),
        loss: if choice & 2 == 2 { share } else { 0.0 },
        reorder: if choice & 4 == 4 { share } else { 0.0 },
        duplicate: if choice & 8 == 8 { share } else { 0.0 },
        corrupt: if choice & 16 == 16 { share } else { 0.0 },
        mtu: if choice & 32 == 32 { 1280 } else { 1500 },
        ..LinkProfile::default()
    }
}

fn disk(number: u8) -> DiskProfile {
    DiskProfile {
        write_latency: Duration::from_millis(u64::from(number >> 4) * 100),
        survive: f64::from(number & 1),
        writes_left: (number & 6 == 6).then_some(u64::from(number >> 3)),
        ..DiskProfile::default()
    }
}

/// Nodes that meet and talk, and what befalls them; and noise.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let run = |number: u8| vec![31, number];
    // Both subscribe, and the one behind the NAT dials.
    let met = [vec![1, 0, 0, 5, 0, 0, 5, 1, 0, 0, 1, 131], run(60)].concat();
    let talk = [3, 4, 100, 3, 1, 50, 7, 0, 99, 7, 1, 32, 31, 80];
    let all = [&met[2..], &[5, 2, 0, 0, 2, 131], &run(60), &talk, &[3, 2, 99, 7, 2, 32, 31, 80]];
    let moved = [vec![17, 0], run(60), vec![18, 65, 20, 0], run(90)].concat();
    let slept = [vec![21, 1], run(120), vec![22, 1, 11, 1, 12, 1, 0, 1, 131], run(60)].concat();
    let split = [vec![14, 8], run(100), vec![15, 0, 16, 4], run(40), vec![16, 132]].concat();
    let clocks = [vec![23, 100, 24, 6, 24, 113], run(30), vec![10, 0, 0, 10, 1, 3, 10, 4, 1]];
    let end = vec![9, 4, 10, 10, 1, 6, 6, 1, 0, 25, 4, 0, 9, 0x40, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut noise = vec![0; 60];
    Rng::from_seed([6; 32]).fill(&mut noise);
    vec![
        [&met[..], &talk, &moved, &talk].concat(),
        [&met[..], &talk, &slept, &talk].concat(),
        [&met[..], &split, &talk, &clocks.concat(), &end].concat(),
        [&[0, 0, 3], &all.concat()[1..]].concat(),
        [&met[..], &talk, &noise].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_go_deep() {
        for seed in seeds() {
            let world = after_steps(&seed);
            let tally = world.tally();
            assert!(tally.delivered > 0, "{tally:?}");
        }
    }
}
