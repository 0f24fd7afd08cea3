//! Who the root is, whatever a peer says of it.

use super::super::Input;
use super::super::frames::Message;
use super::super::topic::Topic;
use super::super::tree::Beacon;
use super::world::{TOPIC, UNIX, World, ms, secs};
use crate::identity::CLOCK_SKEW_MAX;

fn topic(world: &World, id: u64) -> &Topic<u64> {
    world.nodes[&id].state.topics.get(&TOPIC).unwrap()
}

fn roots(world: &World) -> Vec<u64> {
    let alive = world.nodes.iter().filter(|(_, node)| node.is_alive);
    alive.map(|(&id, _)| id).filter(|id| topic(world, *id).tree().position(id).is_root()).collect()
}

fn unix(world: &World) -> u64 {
    UNIX + u64::try_from(world.now.as_millis()).unwrap()
}

fn frames(world: &World) -> usize {
    world.nodes.values().map(|node| node.frames).sum()
}

/// A settled topic, a liar in it, one of its neighbours, and the generation of the root.
fn with_liar(count: u64) -> (World, u64, u64, u64) {
    let mut world = World::joined(count);
    world.run(secs(300));
    let liar = (0..count).find(|id| !topic(&world, *id).tree().position(id).is_root()).unwrap();
    let to = world.node(liar).state.neighbours(&TOPIC).next().unwrap();
    let generation = topic(&world, to).tree().root().unwrap().beacon.generation;
    (world, liar, to, generation)
}

/// The liar sends a hundred beacons a second for a while; returns how many frames followed.
fn flood(
    world: &mut World,
    (liar, to): (u64, u64),
    beacon: impl Fn(u64, u64) -> Beacon<u64>,
) -> usize {
    let before = frames(world);
    for round in 0..2000 {
        let beacon = beacon(round, unix(world));
        world.inject_message(liar, to, Message::Beacon(beacon));
        world.run(ms(10));
    }
    frames(world) - before
}

#[test]
fn beacons_of_whatever_rank_are_passed_on_at_a_limited_rate() {
    let links = 30 * 10;
    for (step, hops) in [(1, 0), (0, 0), (0, 3)] {
        let (mut world, liar, to, generation) = with_liar(30);
        let sent = flood(&mut world, (liar, to), |round, sequence| Beacon {
            root: liar,
            generation: generation + 1 + step * round,
            sequence,
            hops,
        });
        // Each node passes on four a second and a few at once, over each of its links.
        assert!(sent < links * (20 * 4 + 40), "{sent} frames");
        assert_eq!(world.node(to).violations, [(liar, "keeps sending useless frames")]);
        assert!(world.nodes.iter().all(|(id, node)| *id == to || node.violations.is_empty()));
        world.run(secs(600));
        assert_eq!(roots(&world).len(), 1);
    }
}

#[test]
fn a_node_takes_up_the_rule_that_others_say_it_has_at_a_limited_rate() {
    let (mut world, liar, to, generation) = with_liar(30);
    let sent = flood(&mut world, (liar, to), |round, sequence| Beacon {
        root: to,
        generation: generation + 1 + 2 * round,
        sequence,
        hops: 0,
    });
    let links = 30 * 10;
    assert!(sent < links * 2 * (2 + 20 / 5 + 6), "{sent} frames");
    world.run(secs(60));
    assert_eq!(roots(&world).len(), 1);
}

#[test]
fn a_root_that_does_not_live_is_none() {
    let skew = u64::try_from(CLOCK_SKEW_MAX.as_millis()).unwrap();
    type Says = fn(u64, u64, u64) -> (u64, u64);
    let cases: [(&str, Says); 4] = [
        ("the last of all", |_, _, _| (u64::MAX, u64::MAX)),
        ("the last generation", |_, unix, _| (u64::MAX, unix)),
        ("the next generation, as late as may be", |generation, unix, skew| {
            (generation + 1, unix + skew)
        }),
        ("one of long ago", |generation, unix, _| (generation + 1, unix - 600_000)),
    ];
    for (name, says) in cases {
        let mut world = World::joined(30);
        // The lowest id of all answers to nobody.
        world.kill(0);
        world.run(secs(600));
        let root = roots(&world)[0];
        let liar = (1..30).find(|id| *id != root).unwrap();
        let generation = topic(&world, liar).tree().root().unwrap().beacon.generation;
        let (generation, sequence) = says(generation, unix(&world), skew);
        for to in world.node(liar).state.neighbours(&TOPIC).collect::<Vec<_>>() {
            let beacon = Beacon { root: 0, generation, sequence, hops: 0 };
            world.inject_message(liar, to, Message::Beacon(beacon));
        }
        world.run(secs(600));
        let roots = roots(&world);
        assert_eq!(roots.len(), 1, "{name}");
        for id in (1..30).filter(|id| *id != roots[0]) {
            let known = topic(&world, id).tree().root().map(|root| root.beacon.root);
            assert_eq!(known, Some(roots[0]), "{name}, of {id}");
            assert!(topic(&world, id).tree().parent().is_some(), "{name}, of {id}");
        }
    }
}

#[test]
fn a_root_that_starts_anew_reigns_again() {
    let mut world = World::joined(20);
    let root = roots(&world)[0];
    let generation = topic(&world, root).tree().root().unwrap().beacon.generation;
    let near = world.node(root).state.neighbours(&TOPIC).next().unwrap();
    for peer in world.node(root).sessions.keys().copied().collect::<Vec<_>>() {
        world.disconnect(root, peer);
    }
    world.run(ms(1));
    world.add(root);
    world.connect(root, near);
    world.handle(root, Input::Join { topic: TOPIC });
    world.run(secs(60));
    let [root] = roots(&world)[..] else { panic!("one root") };
    assert!(topic(&world, root).tree().root().unwrap().beacon.generation > generation);
    assert!((0..20).all(|id| id == root || topic(&world, id).tree().parent().is_some()));
}

#[test]
fn of_two_roots_the_next_generation_wins_and_one_that_is_far_off_loses() {
    let beacon = |generation, root| Beacon { root, generation, sequence: 0, hops: 0 };
    let far = 1 << 32;
    for (name, better, worse) in [
        ("the lower id", (7, 3), (7, 4)),
        ("the next generation", (8, 9), (7, 3)),
        ("as far as may be", (7 + far, 9), (7, 3)),
        ("farther", (7, 9), (8 + far, 3)),
        ("the last", (0, 9), (u64::MAX, 3)),
    ] {
        let [better, worse] = [better, worse].map(|(generation, root)| beacon(generation, root));
        assert!(better.outranks(&worse) && !worse.outranks(&better), "{name}");
    }
}

#[test]
fn the_time_of_a_beacon_is_near() {
    let beacon = |sequence| Beacon { root: 0_u64, generation: 0, sequence, hops: 0 };
    let (lease, skew) = (230_000, 120_000);
    for (name, sequence, is_of_time) in [
        ("now", UNIX, true),
        ("of a clock that is fast", UNIX + skew, true),
        ("of a time that is not yet", UNIX + skew + 1, false),
        ("of a slow clock, at the end of the lease", UNIX - skew - lease, true),
        ("of long ago", UNIX - skew - lease - 1, false),
        ("the last", u64::MAX, false),
    ] {
        assert_eq!(beacon(sequence).is_of_time(UNIX), is_of_time, "{name}");
    }
}
