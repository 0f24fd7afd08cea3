//! Whole nodes in whole worlds: what must hold whatever happens.

#![expect(clippy::unwrap_used, reason = "a world that cannot go on has failed its test")]

use std::time::Duration;

use bytes::Bytes;
use x0x_core::crypto::tls::CLIENT_SESSIONS_MAX;
use x0x_core::direct;
use x0x_core::identity::BINDING_VALIDITY;
use x0x_core::link;
use x0x_core::link::{DownReason, PINGS_MAX, PingError};
use x0x_core::node::Counters;
use x0x_core::node::control;
use x0x_core::node::{
    CommandError, CommandId, Connect, Disconnect, Event, GetCounters, NetworkChanged, ProbePeer,
    Reply, SendDirect, Target,
};
use x0x_sim::{LinkProfile, NodeId, PartitionName, Scenario, Step, Topology, World, WorldConfig};

/// A hundred seconds of a calm network: everything arrives.
#[test]
fn in_a_calm_world_every_message_is_acknowledged() {
    let report = Scenario::new(7, 10)
        .topology(Topology::Random { degree: 3 })
        .duration(Duration::from_secs(30))
        .messages(20, 2000)
        .run()
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(report.links_up, report.links);
    assert_eq!(report.tally.sends_acknowledged, 10 * 20);
    assert_eq!(report.tally.sends, 10 * 20);
}

/// Seeds that run on each change.
const SEEDS: std::ops::Range<u64> = 1..31;

/// Seeds that found a fault, with a word on what they found.
const FOUND: [(u64, &str); 5] = [
    (
        19,
        "a timer was due many times at one instant; at that time all links drew from one generator",
    ),
    (112, "the same as 19"),
    (274, "QUIC's timer for a loss uncovered a probe of another space that was due long before"),
    (310, "QUIC's timer for a loss uncovered a probe of the same space that was due long before"),
    (424, "the same as 310, and the packet sent at once did not move the timer"),
];

#[test]
fn random_worlds_keep_their_promises_and_heal() {
    for seed in SEEDS.chain(FOUND.map(|(seed, _)| seed)) {
        Scenario::random(seed).run().unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 11] {
        let run = || Scenario::random(seed).run().map(|report| report.trace_hash);
        let (first, second) = (run(), run());
        assert_eq!(first.ok(), second.ok(), "seed {seed}");
    }
    let trace = |seed| Scenario::random(seed).run().map(|report| report.trace_hash).ok();
    assert_ne!(trace(3), trace(4));
}

/// A node gets another address under load; with and without being told, the link goes on.
#[test]
fn a_live_link_moves_to_another_address_with_nothing_lost() {
    for announce in [true, false] {
        let mut world: World = World::new(WorldConfig::new(5, 2));
        let nodes: Vec<NodeId> = world.nodes().collect();
        let (mover, peer) = (nodes[0], nodes[1]);
        let recipient = world.node_config(peer).agent_key.id();
        let target = Target::Address { address: world.address(peer), machine: None };
        let timeout = Duration::from_secs(20);
        world.command(mover, Connect { target, keep: true, timeout }).unwrap();
        world.run_for(Duration::from_secs(2)).unwrap();
        let mut sent = Vec::new();
        for number in 0_u64..200 {
            if number == 60 {
                let address = "10.9.9.9:99".parse().unwrap();
                world.apply(Step::MoveSocket { node: mover, address, announce }).unwrap();
            }
            let payload = Bytes::copy_from_slice(&number.to_be_bytes());
            sent.push(world.command(mover, SendDirect { recipient, payload, timeout }).unwrap());
            world.run_for(Duration::from_millis(10)).unwrap();
        }
        world.run_for(Duration::from_secs(10)).unwrap();
        world.check().unwrap();
        for id in sent {
            let reply = world.reply(id);
            assert!(
                matches!(reply, Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))),
                "{announce}: {reply:?}"
            );
        }
        assert!(world.is_linked(mover, peer));
        assert!(world.now() < Duration::from_secs(20), "before the link could time out");
    }
}

/// The hash was taken from a release build with native cryptography; builds of every other kind
/// must give it too. It changes only with the protocol or with what QUIC and TLS put on the wire.
#[test]
fn the_trace_is_the_same_in_every_build() {
    let report = Scenario::new(7, 50).latency(LATENCY, LATENCY).run();
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    let expected = "6c776a919057fa38e2a31bd3c9644d211f96e98157f0542dbefdeda04b9cbacc";
    assert_eq!(report.trace_hex(), expected);
}

const LATENCY: Duration = Duration::from_millis(20);

/// Every stranger has to prove its address first; the network comes up all the same.
#[test]
fn under_load_strangers_prove_their_address_and_are_let_in() {
    let mut config = WorldConfig::new(9, 5);
    config.link_config.retry_threshold = 0;
    let mut world: World = World::new(config);
    let nodes: Vec<NodeId> = world.nodes().collect();
    let timeout = Duration::from_secs(20);
    for &node in &nodes[1..] {
        let target = Target::Address { address: world.address(nodes[0]), machine: None };
        world.command(node, Connect { target, keep: true, timeout }).unwrap();
    }
    world.run_for(Duration::from_secs(3)).unwrap();
    assert!(nodes[1..].iter().all(|&node| world.is_linked(nodes[0], node)));
    let id = world.command(nodes[0], GetCounters).unwrap();
    world.run_for(Duration::from_secs(1)).unwrap();
    let Some(Reply::Control(control::Reply::GetCounters(counters))) = world.reply(id) else {
        panic!("no counters")
    };
    // The first flight has two datagrams, since a post-quantum key share fills one; each is answered.
    assert_eq!(counters.get(link::Counter::HandshakesRetried), 2 * 4);
    assert_eq!(counters.get(link::Counter::HandshakesAccepted), 4);
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HUB: NodeId = NodeId(0);

fn connect(world: &mut World, from: NodeId, to: NodeId) -> CommandId {
    let machine = Some(world.node_config(to).machine_key.id());
    let target = Target::Address { address: world.address(to), machine };
    world.command(from, Connect { target, keep: true, timeout: 20 * SECOND }).unwrap()
}

fn send(world: &mut World, from: NodeId, to: NodeId, number: u64) -> CommandId {
    let recipient = world.node_config(to).agent_key.id();
    let payload = Bytes::copy_from_slice(&number.to_be_bytes());
    world.command(from, SendDirect { recipient, payload, timeout: 20 * SECOND }).unwrap()
}

fn counters(world: &mut World, node: NodeId) -> Counters {
    let id = world.command(node, GetCounters).unwrap();
    world.run_for(SECOND).unwrap();
    let Some(Reply::Control(control::Reply::GetCounters(counters))) = world.reply(id) else {
        panic!("no counters")
    };
    counters.clone()
}

fn is_star(world: &World) -> bool {
    world.nodes().skip(1).all(|node| world.is_linked(HUB, node))
}

/// Everything that makes a trace hard to repeat, in one world: each of it is seen to happen, and
/// the hash is one for builds of every kind.
#[test]
fn the_trace_of_a_rough_world_is_the_same_in_every_build() {
    let mut config = WorldConfig::new(21, 6);
    config.link_config.retry_threshold = 0;
    config.link = LinkProfile {
        loss: 0.03,
        reorder: 0.05,
        duplicate: 0.02,
        jitter: Duration::from_millis(5),
        bandwidth: Some(20_000_000),
        ..LinkProfile::default()
    };
    let mut world = World::new(config);
    let others: Vec<NodeId> = world.nodes().skip(1).collect();
    for &node in &others {
        connect(&mut world, node, HUB);
    }
    assert!(world.run_until_true(20 * SECOND, is_star).unwrap());
    let before = counters(&mut world, HUB);

    // The session ends on both sides, which remember it, and is resumed.
    for &node in &others {
        let machine = world.node_config(HUB).machine_key.id();
        world.command(node, Disconnect { machine }).unwrap();
    }
    world.run_for(5 * SECOND).unwrap();
    assert!(others.iter().all(|&node| !world.is_linked(HUB, node)));
    for &node in &others {
        connect(&mut world, node, HUB);
    }
    assert!(world.run_until_true(20 * SECOND, is_star).unwrap());
    let after = counters(&mut world, HUB);
    assert_eq!(before.get(link::Counter::HandshakesResumed), 0);
    assert_eq!(after.get(link::Counter::HandshakesResumed), 5);
    assert_eq!(
        after.get(link::Counter::BindingsProven) - before.get(link::Counter::BindingsProven),
        5
    );
    for &node in &others {
        let counters = counters(&mut world, node);
        assert_eq!(counters.get(link::Counter::HandshakesResumed), 1, "{node}");
        assert_eq!(counters.get(link::Counter::BindingsProven), 2, "{node}");
    }

    // The hub loses its memory under load: its peers find that out and come back.
    for number in 0..40 {
        for &node in &others {
            send(&mut world, node, HUB, number);
            send(&mut world, HUB, node, number);
        }
        if number == 20 {
            world.apply(Step::Restart { node: HUB }).unwrap();
        }
        world.run_for(SECOND / 20).unwrap();
    }
    assert!(world.run_until_true(120 * SECOND, is_star).unwrap());
    world.run_for(25 * SECOND).unwrap();
    world.check_agreement().unwrap();
    let hub = counters(&mut world, HUB);
    assert_eq!(hub.get(link::Counter::HandshakesResumed), 0, "the hub forgot all sessions");
    assert!(after.get(link::Counter::HandshakesRetried) > 0);
    assert!(hub.get(link::Counter::HandshakesRetried) > 0);
    let network = world.network().counters;
    assert!(network.lost > 0 && network.reordered > 0 && network.duplicated > 0, "{network:?}");
    assert_eq!(world.tally().crashes, 1);
    assert!(world.tally().sends_acknowledged > 300, "{:?}", world.tally());
    let expected = "3b20174208246f28ae63533421843ca2784c025ad83cd6c3c8137bf11e1b79fa";
    assert_eq!(world.trace_hex(), expected);
}

/// Nodes with two sockets reach each other through either; the other family is none of a link's
/// business.
#[test]
fn nodes_with_two_sockets_are_reached_through_both() {
    let mut world = World::new(WorldConfig { dual_stack: true, ..WorldConfig::new(51, 3) });
    let addresses: Vec<_> = world.addresses(HUB).collect();
    assert_eq!(addresses, ["10.0.0.1:4000".parse().unwrap(), "[fd00::1]:4000".parse().unwrap()]);
    for (node, address) in [NodeId(1), NodeId(2)].into_iter().zip(addresses) {
        let target = Target::Address { address, machine: None };
        world.command(node, Connect { target, keep: true, timeout: SECOND }).unwrap();
    }
    assert!(world.run_until_true(SECOND, is_star).unwrap());
    let moved =
        Step::MoveSocket { node: HUB, address: "[fd00::9]:9".parse().unwrap(), announce: true };
    let id = world.apply(moved).unwrap().unwrap();
    let messages = [1, 2].map(|number| send(&mut world, NodeId(number), HUB, number.into()));
    world.run_for(5 * SECOND).unwrap();
    assert_eq!(
        world.reply(id),
        Some(&Reply::Link(link::Reply::ChangeNetwork(NetworkChanged { moving: 1 })))
    );
    for id in messages {
        assert!(matches!(world.reply(id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))));
    }
    assert_eq!(world.tally().links_down, 0);
}

/// A link that nobody uses outlives the bindings with which it came up: both ends renew theirs.
#[test]
fn an_idle_link_outlives_its_bindings() {
    let mut config = WorldConfig::new(31, 2);
    config.link_config.keep_alive = 600 * SECOND;
    config.link_config.idle_timeout = 3600 * SECOND;
    let mut world = World::new(config);
    connect(&mut world, NodeId(1), HUB);
    world.run_for(BINDING_VALIDITY + DAY).unwrap();
    assert!(world.is_linked(HUB, NodeId(1)));
    assert_eq!((world.tally().links_up, world.tally().links_down), (2, 0));
    for node in [HUB, NodeId(1)] {
        let counters = counters(&mut world, node);
        // The first, and one each half of the validity.
        assert_eq!(counters.get(link::Counter::BindingsProven), 3, "{node}");
        assert_eq!(counters.get(link::Counter::BindingsExpired), 0, "{node}");
    }
    let id = send(&mut world, HUB, NodeId(1), 1);
    world.run_for(SECOND).unwrap();
    assert!(matches!(world.reply(id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))));
}

/// Renewals are lost for so long that the bindings end; silence alone would not end the link.
#[test]
fn a_link_ends_with_the_binding_of_its_peer() {
    let mut config = WorldConfig::new(32, 2);
    config.link_config.keep_alive = 5 * DAY;
    config.link_config.idle_timeout = 40 * DAY;
    let mut world = World::new(config);
    connect(&mut world, NodeId(1), HUB);
    world.run_for(10 * DAY).unwrap();
    let name = PartitionName(1);
    world.apply(Step::Partition { name, groups: vec![vec![HUB]] }).unwrap();
    world.run_until(BINDING_VALIDITY).unwrap();
    assert!(world.is_linked(HUB, NodeId(1)), "until the bindings end");
    world.run_for(SECOND * 3600).unwrap();
    for node in [HUB, NodeId(1)] {
        let ends: Vec<DownReason> = world
            .events()
            .iter()
            .filter(|logged| logged.node == node)
            .filter_map(|logged| {
                if let Event::Link(link::Event::PeerDown { reason, .. }) = logged.event {
                    Some(reason)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(ends, [DownReason::Protocol], "{node}");
        assert_eq!(counters(&mut world, node).get(link::Counter::BindingsExpired), 1, "{node}");
    }
    world.apply(Step::Heal { name }).unwrap();
    assert!(world.run_until_true(120 * SECOND, is_star).unwrap(), "with fresh bindings");
}

/// A hub changes its socket again and again under load, and once a peer does: no link goes down
/// and nothing is lost.
#[test]
fn links_follow_their_sockets_under_load() {
    const MOVES: usize = 3;
    let mut config = WorldConfig::new(41, 6);
    config.link.loss = 0.01;
    let mut world = World::new(config);
    let others: Vec<NodeId> = world.nodes().skip(1).collect();
    for &node in &others {
        connect(&mut world, node, HUB);
    }
    assert!(world.run_until_true(20 * SECOND, is_star).unwrap());
    let mut sent = Vec::new();
    let mut changes = Vec::new();
    for number in 0..400 {
        for &node in &others {
            sent.push(send(&mut world, node, HUB, number));
            sent.push(send(&mut world, HUB, node, number));
        }
        let moving = match number {
            80 | 160 | 240 => Some((HUB, others.len())),
            320 => Some((others[0], 1)),
            _ => None,
        };
        if let Some((node, moving)) = moving {
            let address = format!("10.9.9.9:{}", 1000 + number).parse().unwrap();
            let step = Step::MoveSocket { node, address, announce: true };
            changes.push((world.apply(step).unwrap().unwrap(), moving));
        }
        world.run_for(SECOND / 50).unwrap();
    }
    world.run_for(25 * SECOND).unwrap();
    world.check_agreement().unwrap();
    for (id, moving) in changes {
        let expected = Reply::Link(link::Reply::ChangeNetwork(NetworkChanged { moving }));
        assert_eq!(world.reply(id), Some(&expected));
    }
    assert_eq!(world.tally().sends_acknowledged, sent.len() as u64);
    assert_eq!(world.tally().links_down, 0);
    let hub = counters(&mut world, HUB).get(link::Counter::PathsChanged);
    assert_eq!(hub, (MOVES * others.len() + 1) as u64);
}

#[test]
fn a_probe_measures_the_way_to_a_peer_and_back() {
    let mut config = WorldConfig::new(33, 3);
    config.link = LinkProfile { latency: SECOND / 20, ..LinkProfile::default() };
    let mut world = World::new(config);
    connect(&mut world, NodeId(1), HUB);
    assert!(world.run_until_true(20 * SECOND, |world| world.is_linked(HUB, NodeId(1))).unwrap());
    let machine = |world: &World, node| world.node_config(node).machine_key.id();
    let (near, far) = (machine(&world, NodeId(1)), machine(&world, NodeId(2)));
    let probe = |machine| ProbePeer { machine, timeout: SECOND };
    let [answered, unknown] = [near, far].map(|id| world.command(HUB, probe(id)).unwrap());
    world.run_for(SECOND).unwrap();
    let Some(Reply::Link(link::Reply::ProbePeer(Ok(probed)))) = world.reply(answered) else {
        panic!("no answer")
    };
    let round_trip = SECOND / 10;
    assert!((round_trip..round_trip * 11 / 10).contains(&probed.round_trip), "{probed:?}");
    let not_connected = Reply::Link(link::Reply::ProbePeer(Err(PingError::NotConnected)));
    assert_eq!(world.reply(unknown), Some(&not_connected));

    let name = PartitionName(1);
    world.apply(Step::Partition { name, groups: vec![vec![HUB]] }).unwrap();
    let lost: Vec<CommandId> =
        (0..PINGS_MAX).map(|_| world.command(HUB, probe(near)).unwrap()).collect();
    assert_eq!(
        world.command(HUB, probe(near)),
        Err(CommandError::Link(link::RequestError::TooManyProbes))
    );
    world.run_for(2 * SECOND).unwrap();
    let timeout = Reply::Link(link::Reply::ProbePeer(Err(PingError::Timeout)));
    assert!(lost.iter().all(|&id| world.reply(id) == Some(&timeout)));
    world.command(HUB, probe(near)).unwrap();
}

#[test]
fn a_client_that_knows_too_many_machines_forgets_the_session_that_it_met_first() {
    let count = u32::try_from(CLIENT_SESSIONS_MAX).unwrap() + 1;
    let mut world = World::new(WorldConfig::new(34, count + 1));
    let others: Vec<NodeId> = world.nodes().skip(1).collect();
    connect(&mut world, HUB, others[0]);
    world.run_for(SECOND).unwrap();
    for &node in &others[1..] {
        connect(&mut world, HUB, node);
    }
    assert!(world.run_until_true(60 * SECOND, is_star).unwrap());
    for &node in &others {
        let machine = world.node_config(node).machine_key.id();
        world.command(HUB, Disconnect { machine }).unwrap();
    }
    world.run_for(5 * SECOND).unwrap();
    for (node, resumed) in [(others[0], 0), (others[others.len() - 1], 1)] {
        connect(&mut world, HUB, node);
        world.run_for(2 * SECOND).unwrap();
        assert!(world.is_linked(HUB, node));
        assert_eq!(
            counters(&mut world, node).get(link::Counter::HandshakesResumed),
            resumed,
            "{node}"
        );
    }
}

/// Two machines dial each other, at the same time or one a little later than the other.
#[test]
fn simultaneous_dials_end_as_one_connection() {
    for seed in 0..40 {
        let mut config = WorldConfig::new(seed, 2);
        config.link = LinkProfile { latency: SECOND / 20, ..LinkProfile::default() };
        let mut world = World::new(config);
        let (first, second) = if seed % 2 == 0 { (0, 1) } else { (1, 0) };
        let ends = [NodeId(first), NodeId(second)];
        let there = connect(&mut world, ends[0], ends[1]);
        world.run_for(SECOND / 100 * u32::try_from(seed / 2).unwrap()).unwrap();
        let back = connect(&mut world, ends[1], ends[0]);
        world.run_for(20 * SECOND).unwrap();
        world.check_agreement().unwrap();
        for (node, id) in ends.into_iter().zip([there, back]) {
            let connected = world.reply(id);
            assert!(
                matches!(connected, Some(Reply::Link(link::Reply::Connect(Ok(_))))),
                "seed {seed}: {connected:?}"
            );
            let usage = world.machine(node).unwrap().link_usage();
            assert_eq!((usage.sessions, usage.connections), (1, 1), "seed {seed}, {node}");
            let sent = send(&mut world, node, ends[usize::from(node == ends[0])], 1);
            world.run_for(SECOND).unwrap();
            let acknowledged = world.reply(sent);
            assert!(
                matches!(acknowledged, Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))),
                "seed {seed}"
            );
        }
    }
}
