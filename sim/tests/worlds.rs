//! Whole nodes in whole worlds: what must hold whatever happens.

use std::time::Duration;

use bytes::Bytes;
use x0x_core::node::{Connect, GetCounters, Reply, SendDirect, Target};
use x0x_core::support::Counter;
use x0x_sim::{NodeId, Scenario, Step, Topology, World, WorldConfig};

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

/// Seeds that run on each change. A seed that found a fault joins with a word on what it found.
const SEEDS: std::ops::Range<u64> = 1..31;

#[test]
fn random_worlds_keep_their_promises_and_heal() {
    for seed in SEEDS {
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
            assert!(matches!(reply, Some(Reply::SendDirect(Ok(_)))), "{announce}: {reply:?}");
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
    let expected = "306d10ef24ab2fdeec30ec3d20018521efef3af0773eadd8502ed2b20c6b4be6";
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
    let Some(Reply::GetCounters(counters)) = world.reply(id) else { panic!("no counters") };
    // The first flight has two datagrams, since a post-quantum key share fills one; each is answered.
    assert_eq!(counters.get(Counter::HandshakesRetried), 2 * 4);
    assert_eq!(counters.get(Counter::HandshakesAccepted), 4);
}
