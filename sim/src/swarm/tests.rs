//! The draws of the swarm, without running whole nodes.

use std::collections::BTreeSet;

use super::*;
use crate::NodeId;

#[test]
fn one_seed_gives_one_world() {
    for seed in 0..50 {
        let (first, second) = (Swarm::new(seed), Swarm::new(seed));
        assert_eq!(first.options, second.options);
        assert_eq!(first.ground, second.ground);
    }
    assert_ne!(Swarm::new(1).options, Swarm::new(2).options);
}

#[test]
fn every_node_has_a_link_that_the_ground_permits() {
    for seed in 0..500 {
        let Swarm { options, ground } = Swarm::new(seed);
        let linked: BTreeSet<NodeId> = ground.edges.iter().flat_map(|&(a, b)| [a, b]).collect();
        assert_eq!(linked.len(), options.nodes as usize, "seed {seed}");
        for &(from, to) in &ground.edges {
            assert!(ground.can_dial(from, to), "seed {seed}");
        }
        let all: BTreeSet<NodeId> = (0..options.nodes).map(NodeId).collect();
        assert_eq!(ground.joined(NodeId(0), &all), all, "seed {seed}: all are joined");
        for node in &all {
            assert!(ground.neighbours(*node).len() <= LINKS_EACH_MAX, "seed {seed}");
        }
    }
}

#[test]
fn every_option_is_drawn() {
    let swarms: Vec<Swarm> = (0..300).map(Swarm::new).collect();
    let some = |name: &str, has: &dyn Fn(&Swarm) -> bool| {
        let count = swarms.iter().filter(|swarm| has(swarm)).count();
        assert!((15..300).contains(&count), "{name}: {count} of 300");
    };
    some("carriers", &|s| s.options.carriers > 0);
    some("homes", &|s| s.options.homes > 0);
    some("home behind carrier", &|s| s.ground.nats.iter().any(|nat| nat.behind.is_some()));
    some("behind", &|s| s.ground.places.iter().any(|place| place.networks[0].is_some()));
    some("firewalls", &|s| s.ground.places.iter().any(|place| place.firewall.is_some()));
    some("interfaces", &|s| s.ground.places.iter().any(|place| place.networks.len() > 1));
    some("small tables", &|s| s.ground.nats.iter().any(|nat| nat.profile.mappings_max < 40));
    some("within a home", &|s| {
        let is_private = |node: NodeId| s.ground.places[node.index()].networks[0].is_some();
        s.ground.edges.iter().any(|&(_, to)| is_private(to))
    });
    some("bursts", &|s| s.options.link.burst.is_some());
    some("topics", &|s| s.options.topics > 1);
    some("dual stack", &|s| s.options.dual_stack);
    some("walls", &|s| {
        let nodes = || (0..s.options.nodes).map(NodeId);
        nodes().any(|a| nodes().any(|b| s.ground.are_walled_off(a, b)))
    });
    some("hostile hosts", &|s| s.hostile().next().is_some());
    some("crashes", &|s| s.options.faults.crashes > 0);
    some("sleeps", &|s| s.options.faults.sleeps > 0);
    some("full disks", &|s| s.options.faults.full_disks > 0);
    some("upgrades", &|s| s.options.faults.upgrades > 0);
}
