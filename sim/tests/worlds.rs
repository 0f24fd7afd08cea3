//! Whole nodes in whole worlds: what must hold whatever happens.

#![expect(clippy::unwrap_used, reason = "a world that fails its checks fails the test")]

use std::time::Duration;

use bytes::Bytes;
use x0x_core::node::{Connect, Reply, SendDirect, Target};
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
