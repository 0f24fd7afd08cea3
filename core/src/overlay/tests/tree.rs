//! The tree.

use super::super::frames::{Message, Priority};
use super::super::topic::Topic;
use super::super::tree::Beacon;
use super::super::{Input, PROTECTED};
use super::world::{TOPIC, UNIX, World, ms, secs};
use crate::overlay::Counter;

fn topic(world: &World, id: u64) -> &Topic<u64> {
    world.nodes[&id].state.topics.get(&TOPIC).unwrap()
}

fn root(world: &World) -> u64 {
    let alive = world.nodes.iter().filter(|(_, node)| node.is_alive);
    let roots: Vec<u64> = alive
        .map(|(&id, _)| id)
        .filter(|id| topic(world, *id).tree().position(id).is_root())
        .collect();
    assert_eq!(roots.len(), 1, "{roots:?}");
    roots[0]
}

/// Node 5 with neighbours that only send what the test makes them send.
fn among_puppets(puppets: &[u64]) -> World {
    let mut world = World::new();
    world.add(5);
    for &id in puppets {
        world.add(id);
        world.connect(id, 5);
    }
    world.run(secs(1));
    world.handle(5, Input::Join { topic: TOPIC });
    for &id in puppets {
        world.inject_message(id, 5, Message::Joined);
        world.inject_message(id, 5, Message::Neighbor(Priority::Low));
    }
    world
}

fn say(world: &mut World, from: u64, hops: u8) {
    let sequence = UNIX + world.now.as_secs() * 1000;
    let beacon = Beacon { root: 0, generation: 0, sequence, hops };
    world.inject_message(from, 5, Message::Beacon(beacon));
}

#[test]
fn of_the_neighbours_nearest_to_the_root_the_first_to_say_so_is_the_parent() {
    for [first, second] in [[1, 2], [2, 1]] {
        let mut world = among_puppets(&[1, 2, 3]);
        for (peer, hops) in [(3, 4), (first, 1), (second, 1)] {
            say(&mut world, peer, hops);
            world.run(ms(20));
        }
        world.run(secs(1));
        assert_eq!(topic(&world, 5).tree().parent(), Some(first));
    }
}

#[test]
fn a_node_that_loses_one_parent_after_the_other_takes_none_that_is_below_it() {
    let mut world = among_puppets(&[1, 2, 3]);
    for (peer, hops) in [(1, 1), (2, 2), (3, 3)] {
        say(&mut world, peer, hops);
    }
    world.run(secs(1));
    world.inject_message(3, 5, Message::Graft { is_child: true, item: None });
    for parent in [Some(1), Some(2), None] {
        assert_eq!(topic(&world, 5).tree().parent(), parent);
        if let Some(parent) = parent {
            world.inject_message(parent, 5, Message::Disconnect);
        }
    }
}

#[test]
fn a_former_parent_is_heard_until_the_new_one_knows() {
    let mut world = among_puppets(&[1, 2]);
    say(&mut world, 1, 1);
    world.run(secs(5));
    say(&mut world, 2, 0);
    for (time, parent, is_heard) in [(ms(400), 1, true), (ms(200), 2, true), (secs(1), 2, false)] {
        world.run(time);
        let topic = topic(&world, 5);
        assert_eq!(
            (topic.tree().parent(), topic.roster().get(&1).unwrap().link.is_eager),
            (Some(parent), is_heard)
        );
    }
}

#[test]
fn nobody_gives_up_a_link_of_the_tree_for_a_closer_neighbour() {
    let mut world = World::joined(60);
    let parents = |world: &World| -> Vec<(u64, u64)> {
        let all = world.nodes.keys();
        all.filter_map(|&id| Some((id, topic(world, id).tree().parent()?))).collect()
    };
    let mut before = parents(&world);
    assert_eq!(before.len(), 59);
    let neighbours = |world: &World| -> Vec<Vec<u64>> {
        world.nodes.values().map(|node| node.state.neighbours(&TOPIC).collect()).collect()
    };
    let first = neighbours(&world);
    for _ in 0..1200 {
        world.run(secs(1));
        for (id, parent) in before {
            assert!(topic(&world, id).roster().contains(&parent), "{id} lost {parent}");
        }
        before = parents(&world);
    }
    assert_ne!(neighbours(&world), first, "closer neighbours were found");
}

#[test]
fn the_root_has_more_neighbours_than_others() {
    let world = World::joined(60);
    let root = root(&world);
    let most = world.config.active_max;
    for id in world.nodes.keys() {
        let count = topic(&world, *id).roster().len();
        assert!(count <= if *id == root { most * 2 } else { most });
    }
    assert!(topic(&world, root).roster().len() > most + PROTECTED);
}

#[test]
fn a_node_cut_off_from_a_lost_root_waits_for_one_beacon_only() {
    let mut world = World::joined(60);
    world.run(secs(300));
    let lost = root(&world);
    // With the root all go that would know at once.
    let near: Vec<u64> = world.node(lost).state.neighbours(&TOPIC).collect();
    world.kill(lost);
    for id in near {
        world.kill(id);
    }
    world.run(secs(120));
    assert_ne!(root(&world), lost);
}

#[test]
fn links_that_are_new_carry_no_item_that_came_already() {
    let mut world = World::joined(60);
    let (before, up) = (world.pushes(), world.count(Counter::NeighboursUp));
    for id in (0..60).chain(0..60) {
        world.publish(id, 100);
        world.run(secs(10));
    }
    assert!(world.count(Counter::NeighboursUp) > up, "neighbours changed");
    // Over a parent that was given up an item may come once more.
    let twice = world.pushes() - before - 120 * 59;
    assert!(twice <= 7, "{twice} of 7080 came twice");
}
