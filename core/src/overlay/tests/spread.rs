//! How items spread.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::Input;
use super::super::broadcast::DEFERRED_MAX;
use super::world::{TOPIC, World, ms, secs};
use crate::overlay::Counter;

#[test]
fn everybody_gets_every_item_once() {
    let mut world = World::joined(60);
    let items: Vec<_> = (0..60)
        .map(|id| {
            let item = world.publish(id, 100);
            world.run(ms(300));
            item
        })
        .collect();
    world.run(secs(3));
    for item in items {
        assert_eq!(world.reached(item), 60);
    }
    for node in world.nodes.values() {
        assert_eq!(node.taken.len(), 60, "none came twice");
    }
}

#[test]
fn in_a_settled_tree_each_node_is_pushed_each_item_once() {
    let mut world = World::joined(60);
    world.publish(0, 100);
    world.run(secs(2));
    let before = world.pushes();
    for id in 0..60 {
        world.publish(id, 100);
        world.run(ms(500));
    }
    assert_eq!(world.pushes() - before, 60 * 59);
    assert_eq!(world.count(Counter::ItemsMissed), 0);
}

#[test]
fn a_link_outside_the_tree_carries_one_announcement_of_each_item() {
    let mut world = World::joined(60);
    let links: usize = world.nodes.values().map(|node| node.state.neighbours(&TOPIC).count()).sum();
    let before = world.haves();
    for id in 0..60 {
        world.publish(id, 100);
        world.run(secs(1));
    }
    // Both sides know each other as neighbours; 59 links are the tree.
    let announcements = (links / 2 - 59) * 60;
    let sent = world.haves() - before;
    let is_about = |range: std::ops::RangeInclusive<usize>| range.contains(&(sent * 100));
    assert!(is_about(announcements * 98..=announcements * 105), "{sent}, not {announcements}");
}

#[test]
fn an_item_that_the_other_side_of_a_link_does_not_announce_is_announced_to_it() {
    let mut world = World::joined(3);
    let depth = |world: &World, id: u64| world.nodes[&id].state.usage(&TOPIC).unwrap().depth;
    let root = (0..3).find(|&id| depth(&world, id) == Some(0)).expect("there is a root");
    // All are neighbours; one child of the root hears of its items from the other only.
    world.lossy.insert((root, (root + 1) % 3));
    let items: Vec<_> = (0..20).map(|_| world.publish(root, 100)).collect();
    world.run(secs(2));
    for item in items {
        assert_eq!(world.reached(item), 3);
    }
}

#[test]
fn no_more_items_are_left_to_the_other_side_of_a_link_than_the_limit() {
    let mut world = World::joined(3);
    let count = 4 * DEFERRED_MAX;
    for _ in 0..count {
        world.publish(0, 100);
    }
    let topic = &world.nodes[&0].state.topics.get(&TOPIC).unwrap();
    let deferred: Vec<usize> =
        topic.roster().iter().map(|(_, neighbour)| neighbour.lazy_push.deferred_len()).collect();
    assert!(deferred.iter().all(|&deferred| deferred <= DEFERRED_MAX), "{deferred:?}");
    world.run(secs(30));
    let topic = &world.nodes[&0].state.topics.get(&TOPIC).unwrap();
    assert!(
        topic.roster().iter().all(|(_, neighbour)| neighbour.lazy_push.deferred_len() == 0),
        "all was announced"
    );
    assert!(world.nodes.values().all(|node| node.taken.len() == count));
}

#[test]
fn the_last_hop_is_at_most_twice_the_depth() {
    let mut world = World::joined(60);
    let depths = world.nodes.values().map(|node| node.state.usage(&TOPIC).unwrap().depth);
    let depth = depths.map(|depth| depth.expect("there is a root")).max().unwrap();
    for id in 0..60 {
        world.publish(id, 100);
        world.run(ms(500));
    }
    let hops = world.nodes.values().flat_map(|node| &node.taken).map(|taken| taken.1);
    assert!(hops.max().unwrap() <= depth * 2);
}

#[test]
fn a_topic_survives_its_creator() {
    let mut world = World::joined(20);
    world.kill(0);
    world.run(secs(60));
    let item = world.publish(5, 100);
    world.run(secs(3));
    assert_eq!(world.reached(item), 19);
}

#[test]
fn subscribers_meet_through_a_node_that_does_not_subscribe() {
    let mut world = World::new();
    for id in 0..3 {
        world.add(id);
    }
    world.connect(1, 0);
    world.connect(2, 0);
    world.run(secs(1));
    world.handle(1, Input::Join { topic: TOPIC });
    world.run(secs(1));
    world.handle(2, Input::Join { topic: TOPIC });
    world.run(secs(5));
    let item = world.publish(1, 100);
    world.run(secs(2));
    assert_eq!(world.reached(item), 2);
    assert!(world.node(0).taken.is_empty());
}

#[test]
fn an_item_that_was_published_alone_reaches_nodes_that_connect_later() {
    let mut world = World::new();
    world.add(0);
    world.handle(0, Input::Join { topic: TOPIC });
    let item = world.publish(0, 100);
    world.add(1);
    world.handle(1, Input::Join { topic: TOPIC });
    world.run(secs(5));
    world.connect(1, 0);
    world.run(secs(5));
    // The second was in the topic before the item was made.
    assert_eq!(world.reached(item), 2);
}

#[test]
fn a_node_that_leaves_receives_nothing_more() {
    let mut world = World::joined(10);
    world.handle(3, Input::Leave { topic: TOPIC });
    world.run(secs(1));
    let item = world.publish(5, 100);
    world.run(secs(2));
    assert_eq!(world.reached(item), 9);
    assert!(world.nodes.values().all(|node| node.state.neighbours(&TOPIC).all(|peer| peer != 3)));
}

/// Publishes often, for a while; returns the items that had not reached everybody in time.
fn late(world: &mut World, count: usize, time: Duration) -> Vec<usize> {
    let mut items = VecDeque::new();
    let mut late = Vec::new();
    for number in 0..400 {
        items.push_back((number, world.now, world.publish(0, 100)));
        world.run(ms(25));
        while let Some(&(number, at, item)) = items.front()
            && at + time <= world.now
        {
            items.pop_front();
            if world.reached(item) < count {
                late.push(number);
            }
        }
    }
    late
}

#[test]
fn in_a_topic_that_begins_no_item_waits_for_the_tree() {
    for (count, time) in [(3, ms(125)), (20, ms(300))] {
        let mut world = World::joining(count);
        // Until the last is somebody's neighbour.
        world.run(ms(600));
        let count = usize::try_from(count).unwrap();
        assert_eq!(late(&mut world, count, time), [0; 0], "of {count} nodes");
    }
}

#[test]
fn a_new_node_is_pushed_items_at_once() {
    let mut world = World::joined(3);
    world.add(9);
    world.connect(9, 1);
    world.handle(9, Input::Join { topic: TOPIC });
    world.run(ms(400));
    assert_eq!(late(&mut world, 4, ms(125)), [0; 0]);
}
