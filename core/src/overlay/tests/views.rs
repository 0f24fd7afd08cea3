//! The views.

use super::super::frames::{Message, Priority};
use super::super::{Contact, Input, PROTECTED, TopicId};
use super::world::{TOPIC, World, ms, secs};

#[test]
fn neighbourhood_is_mutual_and_views_are_bounded() {
    let world = World::joined(80);
    let config = world.config;
    for (id, node) in &world.nodes {
        let neighbours: Vec<u64> = node.state.neighbours(&TOPIC).collect();
        let usage = node.state.usage(&TOPIC).unwrap();
        let most = config.active_max * if usage.depth == Some(0) { 2 } else { 1 };
        assert!(neighbours.len() <= most && neighbours.len() >= 5, "{neighbours:?}");
        assert!(usage.passive <= config.passive_max);
        for peer in neighbours {
            let mut theirs = world.nodes[&peer].state.neighbours(&TOPIC);
            assert!(theirs.any(|other| other == *id), "{id} and {peer}");
        }
    }
}

#[test]
fn whoever_has_no_neighbour_is_taken_and_the_oldest_neighbours_stay() {
    let mut world = World::joined(20);
    let is_root = |id: &u64| world.nodes[id].state.usage(&TOPIC).unwrap().depth == Some(0);
    let full = (0..20).find(|id| !is_root(id)).unwrap();
    let before: Vec<u64> = world.node(full).state.neighbours(&TOPIC).collect();
    assert_eq!(before.len(), world.config.active_max);
    for id in 100..140 {
        world.add(id);
        world.connect(id, full);
        world.run(secs(1));
        world.inject_message(id, full, Message::Neighbour(Priority::High));
    }
    let after: Vec<u64> = world.node(full).state.neighbours(&TOPIC).collect();
    assert!(after.iter().any(|peer| *peer >= 100));
    assert!(after.iter().filter(|peer| before.contains(peer)).count() >= PROTECTED);
}

#[test]
fn sessions_that_no_topic_needs_are_given_back() {
    let mut world = World::joined(30);
    for id in 0..30 {
        world.handle(id, Input::Leave { topic: TOPIC });
    }
    for node in world.nodes.values() {
        for peer in node.sessions.keys() {
            assert!(node.released.contains(peer) || node.state.neighbours(&TOPIC).count() == 0);
        }
    }
    assert!(world.nodes.values().any(|node| !node.released.is_empty()));
}

#[test]
fn a_node_without_acquaintances_says_so() {
    let mut world = World::new();
    world.add(0);
    world.handle(0, Input::Join { topic: TOPIC });
    world.run(secs(300));
    let lonely = world.node(0).lonely;
    assert!((3..30).contains(&lonely), "again and again, and not too often: {lonely}");
}

/// A peer left two topics without a word, and tells whoever comes of others that are in them. The one
/// that is still in both asks it for one and for the other, but not in turns without a pause.
#[test]
fn a_peer_that_refused_in_two_topics_is_not_dialled_in_turns() {
    let topics = [TOPIC, TopicId([8; 32])];
    let mut world = World::new();
    for id in 0..3 {
        world.add(id);
        topics.iter().for_each(|&topic| world.handle(id, Input::Join { topic }));
    }
    world.connect(0, 1);
    world.connect(2, 1);
    world.run(secs(5));
    world.kill(1);
    world.run(secs(60));
    world.add(1);
    world.connect(2, 1);
    world.connect(0, 1);
    let mut dials = 0;
    for _ in 0..600 {
        world.run(ms(100));
        if std::mem::take(&mut world.node(0).released).contains(&1) {
            world.disconnect(0, 1);
            dials += 1;
        }
    }
    assert!((1..10).contains(&dials), "{dials} in a minute");
}

#[test]
fn a_peer_that_moved_is_named_where_it_is_now() {
    let mut world = World::joined(1);
    world.add(1);
    let before = Contact::copy_from(b"elsewhere").unwrap();
    let up = Input::PeerUp { peer: 1, contact: before, round_trip: ms(20), room: 1 << 18 };
    world.handle(0, up);
    world.inject_message(1, 0, Message::Joined);
    let contact = Contact::copy_from(&1_u64.to_be_bytes()).unwrap();
    world.handle(0, Input::PeerMoved { peer: 1, contact });
    world.add(2);
    world.connect(2, 0);
    world.handle(2, Input::Join { topic: TOPIC });
    // Whoever dials a peer by another contact than its own fails the test.
    world.run(secs(5));
    assert!(world.node(2).sessions.contains_key(&1));
}
