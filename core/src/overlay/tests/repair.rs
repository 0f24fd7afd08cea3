//! What was missed comes back.

use super::super::Input;
use super::super::item::TopicId;
use super::world::{TOPIC, World, ms, secs};
use crate::overlay::Counter;
use crate::support::MemoryBudget;

#[test]
fn an_item_that_the_tree_loses_is_fetched_from_another_neighbour() {
    let mut world = World::joined(40);
    // Inner nodes crash; nobody notices for half a minute.
    for id in [3, 7, 11, 15] {
        world.kill(id);
    }
    for id in (0..40).step_by(8) {
        let item = world.publish(id, 100);
        world.run(secs(3));
        assert_eq!(world.reached(item), world.alive(), "of node {id}");
    }
}

#[test]
fn all_histories_together_keep_no_more_than_their_limit() {
    let mut world = World::joined(2);
    let topics: Vec<TopicId> = (10..16).map(|number| TopicId([number; 32])).collect();
    for (number, &topic) in topics.iter().enumerate() {
        world.handle(0, Input::Join { topic });
        for _ in 0..14 {
            world.publish_to(topic, 0, 1 << 20);
        }
        let usage = |topic| world.node(0).state.usage(topic).map_or(0, |usage| usage.history_bytes);
        let all: usize = topics.iter().map(usage).sum();
        assert!(all <= MemoryBudget::DEFAULT.history(), "{all}");
        assert!(number < 4 || all > MemoryBudget::DEFAULT.history() - (2 << 20), "{all}");
    }
    for topic in &topics {
        assert!(world.node(0).state.usage(topic).unwrap().history_items > 8, "each has a share");
    }
    world.handle(0, Input::Leave { topic: topics[0] });
    world.run(secs(1));
}

#[test]
fn both_halves_of_a_split_network_get_what_they_missed() {
    let mut world = World::joined(40);
    world.split_at(20);
    let mut items = Vec::new();
    for round in 0..60 {
        items.push(world.publish(round % 40, 400));
        world.run(secs(5));
    }
    let reached: Vec<usize> = items.iter().map(|item| world.reached(*item)).collect();
    assert!(reached[20..].iter().all(|count| *count == 20), "they are split: {reached:?}");
    world.split = None;
    world.run(secs(200));
    for item in items {
        assert_eq!(world.reached(item), 40);
    }
    let item = world.publish(1, 100);
    world.run(secs(5));
    assert_eq!(world.reached(item), 40, "they are one again");
}

#[test]
fn a_slow_neighbour_loses_nothing_and_slows_nobody() {
    let mut world = World::joined(8);
    let eager: Vec<u64> = world.node(0).state.neighbours(&TOPIC).collect();
    let slow = eager[0];
    world.node(slow).reads = false;
    let items: Vec<_> = (0..400)
        .map(|_| {
            let item = world.publish(0, 60_000);
            world.run(ms(10));
            item
        })
        .collect();
    world.run(secs(5));
    for item in &items {
        assert!(world.reached(*item) >= 7);
    }
    assert!(world.count(Counter::ItemsDisplaced) > 0);
    world.node(slow).reads = true;
    world.disconnect(0, slow);
    world.run(secs(120));
    // What is still kept comes back.
    let last = items[items.len() - 1];
    assert_eq!(world.reached(last), 8);
}

#[test]
fn a_new_root_comes_when_the_root_is_gone() {
    let mut world = World::joined(30);
    let depth = |world: &mut World, id| world.node(id).state.usage(&TOPIC).unwrap().depth;
    let root = (0..30).find(|&id| depth(&mut world, id) == Some(0)).expect("there is a root");
    world.kill(root);
    world.run(secs(90));
    let roots = (0..30).filter(|&id| id != root && depth(&mut world, id) == Some(0)).count();
    assert_eq!(roots, 1);
    let before = world.pushes();
    let item = world.publish((root + 1) % 30, 100);
    world.run(secs(2));
    assert_eq!((world.reached(item), world.pushes() - before), (29, 28));
}
