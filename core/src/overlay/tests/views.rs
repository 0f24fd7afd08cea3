//! The views.

use super::super::frames::{Entries, Entry, Message, Priority};
use super::super::membership::PassiveView;
use super::super::{Contact, Input, PROTECTED, TopicId};
use super::world::{TOPIC, World, ms, secs};
use crate::session;

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
fn a_node_without_neighbours_is_accepted_and_the_oldest_neighbours_stay() {
    let mut world = World::joined(20);
    let is_root = |id: &u64| world.nodes[id].state.usage(&TOPIC).unwrap().depth == Some(0);
    let full = (0..20).find(|id| !is_root(id)).unwrap();
    let before: Vec<u64> = world.node(full).state.neighbours(&TOPIC).collect();
    assert_eq!(before.len(), world.config.active_max);
    for id in 100..140 {
        world.add(id);
        world.connect(id, full);
        world.run(secs(1));
        world.inject_message(id, full, Message::Neighbor(Priority::High));
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
fn a_node_that_knows_no_other_says_so() {
    let mut world = World::new();
    world.add(0);
    world.handle(0, Input::Join { topic: TOPIC });
    world.run(secs(300));
    let lonely = world.node(0).lonely;
    assert!((3..30).contains(&lonely), "again and again, and not too often: {lonely}");
}

/// A peer that left two topics silently still names their members to each peer that connects. A node in
/// both topics asks it in one and in the other, with pauses.
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
    let up = Input::Session(session::Event::Opened(session::Opened {
        peer: 1,
        contact: before,
        round_trip: ms(20),
        send_window: 1 << 18,
        agents: Vec::new(),
        incarnation: 0,
    }));
    world.handle(0, up);
    world.inject_message(1, 0, Message::Joined);
    let contact = Contact::copy_from(&1_u64.to_be_bytes()).unwrap();
    world.handle(0, Input::Session(session::Event::Moved { peer: 1, contact }));
    world.add(2);
    world.connect(2, 0);
    world.handle(2, Input::Join { topic: TOPIC });
    // A dial to any contact but the peer's own fails the test.
    world.run(secs(5));
    assert!(world.node(2).sessions.contains_key(&1));
}

/// The passive view of a node in the topic, with the contacts of its peers.
fn known_peers(world: &World, id: u64) -> Vec<(u64, Contact)> {
    let passive = world.nodes[&id].state.topics.get(&TOPIC).unwrap().membership().passive();
    passive.iter().map(|(peer, known)| (peer, known.contact.clone())).collect()
}

fn contact_of(peer: u64) -> Contact {
    Contact::copy_from(&peer.to_be_bytes()).unwrap()
}

/// Names peers in peer exchanges, or on the walks of a neighbour.
fn name(world: &mut World, walk: Option<u32>, entries: Vec<Entry<u64>>) {
    let entries = Entries::new(entries).unwrap();
    let message = match walk {
        Some(walk) => Message::Shuffle { walk, steps: 1, entries },
        None => Message::PeerExchange(entries),
    };
    world.inject_message(666, 0, message);
}

#[test]
fn a_peer_changes_nothing_of_where_others_are_reached() {
    for walks in [false, true] {
        let mut world = World::joined(60);
        world.run(secs(300));
        world.add(666);
        world.connect(666, 0);
        world.run(secs(1));
        world.inject_message(666, 0, Message::Joined);
        world.inject_message(666, 0, Message::Neighbor(Priority::High));
        let before = known_peers(&world, 0);
        assert!(before.len() > 30 && before.iter().all(|(peer, at)| *at == contact_of(*peer)));
        for (round, chunk) in (0..).zip(before.chunks(8)) {
            let entry = |&(peer, _): &(u64, Contact)| Entry { peer, contact: contact_of(9) };
            let entries = chunk.iter().map(entry).collect();
            name(&mut world, walks.then_some(round), entries);
        }
        assert_eq!(known_peers(&world, 0), before, "walks: {walks}");
        for round in 0..60_u32 {
            let first = 1_000_000 + u64::from(round) * 16;
            let entry = |peer: u64| Entry { peer, contact: contact_of(peer) };
            let entries = (first..first + 16).map(entry).collect();
            name(&mut world, walks.then_some(100 + round), entries);
            world.run(ms(300));
        }
        let after = known_peers(&world, 0);
        let named = after.iter().filter(|(peer, _)| *peer >= 1_000_000).count();
        let share = world.config.passive_max / 4;
        assert!(named <= share, "{named} were named by one peer");
        assert!(walks || named <= 8, "of one peer exchange, for one topic");
        let is_kept = |entry: &&(u64, Contact)| after.contains(entry);
        let is_active = |peer: u64| world.nodes[&0].state.neighbours(&TOPIC).any(|it| it == peer);
        let lost: Vec<_> =
            before.iter().filter(|known| !is_kept(known) && !is_active(known.0)).collect();
        assert_eq!(lost, Vec::<&(u64, Contact)>::new(), "walks: {walks}");
    }
}

#[test]
fn a_peer_that_names_others_without_being_asked_is_banned() {
    let mut world = World::joined(3);
    world.add(666);
    world.connect(666, 0);
    world.run(secs(1));
    for peer in 0..1100 {
        name(&mut world, None, vec![Entry { peer: 1000 + peer, contact: contact_of(1000 + peer) }]);
    }
    let useless = "keeps sending useless frames";
    assert_eq!(world.node(0).violations, [(666, useless)]);
}

#[test]
fn a_reported_contact_gives_way_to_another_when_it_was_wrong() {
    let mut passive = PassiveView::new(128);
    let at = |name: &[u8]| Contact::copy_from(name).unwrap();
    let contact = |passive: &PassiveView<u64>| passive.get(&5).unwrap().contact.clone();
    passive.insert(5, at(b"one"), Some(1));
    passive.insert(5, at(b"two"), Some(2));
    assert_eq!(contact(&passive), at(b"one"));
    passive.get_mut(&5).unwrap().failures = 1;
    passive.insert(5, at(b"two"), Some(2));
    assert_eq!(contact(&passive), at(b"two"));
    passive.insert(5, at(b"its own"), None);
    passive.get_mut(&5).unwrap().failures = 1;
    passive.insert(5, at(b"one"), Some(1));
    assert_eq!(contact(&passive), at(b"its own"));
}

#[test]
fn a_peer_that_joins_and_leaves_again_and_again_disturbs_nobody_and_is_banned() {
    let mut world = World::joined(30);
    world.run(secs(300));
    let frames = |world: &World| world.nodes.values().map(|node| node.frames).sum::<usize>();
    let before: Vec<u64> = world.node(0).state.neighbours(&TOPIC).collect();
    let first = frames(&world);
    world.run(secs(10));
    let calm = frames(&world) - first;
    world.add(666);
    world.connect(666, 0);
    world.run(secs(1));
    let first = frames(&world);
    let mut rounds = 0;
    while world.node(0).violations.is_empty() && rounds < 2000 {
        for message in [Message::Joined, Message::Neighbor(Priority::High), Message::Left] {
            world.inject_message(666, 0, message);
        }
        world.run(ms(5));
        rounds += 1;
    }
    assert!((1024..1200).contains(&rounds), "{rounds} rounds");
    let sent = frames(&world) - first;
    // For each round a reply and the greeting of a new neighbour, both to the stranger; little else.
    assert!(
        sent <= calm + 5 * rounds,
        "{sent} frames in {rounds} rounds, {calm} in ten calm seconds"
    );
    let now: Vec<u64> = world.node(0).state.neighbours(&TOPIC).collect();
    assert!(before.iter().filter(|peer| now.contains(peer)).count() >= PROTECTED);
    let item = world.publish(0, 100);
    world.run(secs(2));
    assert_eq!(world.reached(item), 30);
}
