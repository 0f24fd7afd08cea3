//! Peers that break the rules.

use super::super::frames::{Entries, Entry, Frame, Ids, Message, Priority};
use super::super::tree::Beacon;
use super::super::{Contact, Input, ItemId, MISSING_MAX, SHUN_TIME, SHUNNED_MAX, Stamp, TopicId};
use super::world::{TOPIC, UNIX, World, item_of, ms, secs};
use crate::overlay::Counter;
use crate::session;
use crate::wire::BoundedVec;

/// Some nodes, and one more that has a session with the first and does only what a test says.
fn with_stranger() -> World {
    let mut world = World::joined(10);
    world.add(666);
    world.connect(666, 0);
    world.run(secs(1));
    world.inject_message(666, 0, Message::Joined);
    world
}

#[test]
fn malformed_frames_end_the_session() {
    for bytes in [&[][..], &[9], &[1], &[1, 7], &[1, 0, 255, 255], &[1, 1, 0]] {
        let mut world = with_stranger();
        let frame = bytes::Bytes::copy_from_slice(bytes);
        world.handle(0, Input::Session(session::Event::Frame { peer: 666, frame }));
        assert_eq!(world.node(0).violations.len(), 1, "{bytes:?}");
    }
}

#[test]
fn a_forged_item_ends_the_session_and_goes_nowhere() {
    let mut world = with_stranger();
    world.node(0).rejects = true;
    let stamp = Stamp { time: 1_750_000_000_000, id: ItemId([1; 16]) };
    let push = Message::Push { stamp, hops: 0, is_repair: false };
    world.inject(666, 0, &Frame::Topic(TOPIC, push), b"junk");
    assert_eq!(world.node(0).violations, [(666, "a forged item")]);
    world.run(secs(5));
    assert!(world.nodes.values().all(|node| node.taken.is_empty()));
}

#[test]
fn an_item_under_another_name_is_forged() {
    let mut world = with_stranger();
    let bytes = [0; 24];
    let stamp = Stamp { time: 0, id: ItemId([1; 16]) };
    let push = Message::Push { stamp, hops: 0, is_repair: false };
    world.inject(666, 0, &Frame::Topic(TOPIC, push), &bytes);
    assert_eq!(world.node(0).violations, [(666, "a forged item")]);
}

#[test]
fn a_peer_that_announces_items_and_does_not_send_them_is_disconnected() {
    let mut world = with_stranger();
    for round in 0..24_u8 {
        assert!(round > 16 || world.node(0).violations.is_empty(), "round {round}");
        let ids = (0..8).map(|number| ItemId([number + 8 * round; 16])).collect();
        let have = Message::IHave { ids: Ids::new(ids).unwrap(), is_repair: round % 2 == 0 };
        world.inject_message(666, 0, have);
        world.run(secs(1));
    }
    world.run(secs(10));
    let found = world.node(0).violations.first().copied();
    assert_eq!(found, Some((666, "announced items and did not send them")));
    assert_eq!(world.node(0).state.usage(&TOPIC).unwrap().missing, 0);
}

#[test]
fn announcements_never_take_more_than_their_limit() {
    let mut world = with_stranger();
    for round in 0..100_u64 {
        let id = |number: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(round * 1000 + number).to_be_bytes());
            ItemId(id)
        };
        let ids = Ids::new((0..256).map(id).collect()).unwrap();
        world.inject_message(666, 0, Message::IHave { ids, is_repair: false });
    }
    assert!(world.node(0).state.usage(&TOPIC).unwrap().missing <= MISSING_MAX);
    assert!(world.count(Counter::AnnouncementsDropped) > 0);
}

#[test]
fn topics_and_peers_that_a_liar_names_stay_within_their_limits() {
    let mut world = with_stranger();
    for round in 0..10_u64 {
        let topic = |number: u64| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(round * 1024 + number).to_be_bytes());
            TopicId(id)
        };
        let topics = BoundedVec::new((0..1024).map(topic).collect()).unwrap();
        world.inject(666, 0, &Frame::Topics(topics), &[]);
        let entry = |peer: u64| Entry {
            peer: 10_000 + round * 16 + peer,
            contact: Contact::copy_from(&(10_000 + round * 16 + peer).to_be_bytes()).unwrap(),
        };
        let entries = Entries::new((0..16).map(entry).collect()).unwrap();
        world.inject_message(666, 0, Message::PeerExchange(entries));
    }
    let passive_max = world.config.passive_max;
    assert!(world.node(0).state.usage(&TOPIC).unwrap().passive <= passive_max);
    world.run(secs(60));
    let item = world.publish(0, 100);
    world.run(secs(3));
    assert_eq!(world.reached(item), 10);
}

#[test]
fn a_false_root_breaks_nothing() {
    let mut world = World::joined(30);
    let liar = 4;
    let neighbours: Vec<u64> = world.node(liar).state.neighbours(&TOPIC).collect();
    for (round, generation) in [(0, 5), (1, u64::MAX), (2, u64::MAX)] {
        for &peer in &neighbours {
            let sequence = UNIX + u64::try_from(world.now.as_millis()).unwrap() + round;
            let beacon = Beacon { root: liar, generation, sequence, hops: 0 };
            world.inject_message(liar, peer, Message::Beacon(beacon));
        }
        world.run(secs(2));
        for id in [0, 9, 20] {
            let item = world.publish(id, 100);
            world.run(secs(5));
            assert_eq!(world.reached(item), 30, "round {round}, of {id}");
        }
    }
}

#[test]
fn a_peer_that_drops_what_it_should_pass_on_is_gone_round() {
    let mut world = World::joined(30);
    for id in [2, 5, 8] {
        // It is in the tree, and forwards nothing that it gets.
        world.node(id).reads = false;
    }
    world.run(ms(500));
    for id in [0, 10, 20] {
        let item = world.publish(id, 100);
        world.run(secs(10));
        assert!(world.reached(item) >= 27, "of {id}");
    }
}

const USELESS: &str = "keeps sending useless frames";

#[test]
fn a_peer_that_sends_an_item_again_and_again_is_banned() {
    let mut world = with_stranger();
    let id = world.publish(0, 100);
    let bytes = world.node(0).state.item(&TOPIC, &id).unwrap();
    let stamp = item_of(bytes.clone()).stamp;
    for round in 0..1100 {
        assert_eq!(world.node(0).violations.is_empty(), round <= 1025, "round {round}");
        let push = Message::Push { stamp, hops: 0, is_repair: round % 2 == 0 };
        world.inject(666, 0, &Frame::Topic(TOPIC, push), &bytes);
    }
    assert_eq!(world.node(0).violations, [(666, USELESS)]);
}

#[test]
fn a_peer_that_exceeds_the_rate_of_requests_again_and_again_is_banned() {
    let mut world = with_stranger();
    let id = world.publish(0, 100);
    let before = world.node(0).pushes;
    for _ in 0..1100 {
        world.inject_message(666, 0, Message::IWant(Ids::new(vec![id]).unwrap()));
    }
    assert_eq!(world.node(0).violations, [(666, USELESS)]);
    assert!(world.node(0).pushes - before <= 64 + 9);
}

#[test]
fn a_node_asks_a_peer_for_no_more_than_is_answered() {
    let mut world = with_stranger();
    let ids = |round: u8| Ids::new((0..64).map(|n| ItemId([n + 64 * round; 16])).collect());
    for round in 0..4 {
        let ids = ids(round).unwrap();
        world.inject_message(666, 0, Message::IHave { ids, is_repair: false });
    }
    let before = world.node(0).frames;
    world.run(secs(1));
    let sent = world.node(0).frames - before;
    assert!((40..=64).contains(&sent), "{sent} frames for 256 missing items");
}

#[test]
fn a_banned_peer_is_shunned_for_a_while() {
    let mut world = with_stranger();
    let asks_again = |world: &mut World| {
        world.disconnect(666, 0);
        world.run(secs(1));
        world.connect(666, 0);
        world.run(secs(1));
        world.inject_message(666, 0, Message::Joined);
        world.inject_message(666, 0, Message::Neighbor(Priority::High));
        let mut neighbours = world.node(0).state.neighbours(&TOPIC);
        neighbours.any(|peer| peer == 666)
    };
    assert!(asks_again(&mut world), "a stranger is welcome");
    world.handle(
        0,
        Input::Session(session::Event::Frame { peer: 666, frame: bytes::Bytes::from_static(&[9]) }),
    );
    assert_eq!(world.node(0).violations.len(), 1);
    assert!(!asks_again(&mut world));
    world.run(SHUN_TIME - secs(10));
    assert!(!asks_again(&mut world));
    world.run(secs(10));
    assert!(asks_again(&mut world));
}

#[test]
fn no_more_peers_are_shunned_than_the_limit() {
    let mut world = World::joined(2);
    let first = 10_000;
    for peer in first..=first + u64::try_from(SHUNNED_MAX).unwrap() {
        world.act(0, |state, context| state.shun(context, peer));
    }
    for (peer, shunned) in [(first, 0), (first + 1, 1)] {
        let contact = Contact::copy_from(&peer.to_be_bytes()).unwrap();
        world.handle(
            0,
            Input::Session(session::Event::Opened(session::Opened {
                peer,
                contact,
                round_trip: ms(20),
                send_window: 1 << 18,
                agents: Vec::new(),
                incarnation: 0,
            })),
        );
        assert_eq!(world.count(Counter::PeersShunned), shunned);
    }
}
