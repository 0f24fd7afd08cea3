//! Many authors, peers and batches at once: what must give way, and what it costs others.

use std::time::Duration;

use bytes::Bytes;

use super::super::batch::{Root, VerifiedBatch};
use super::super::receiver::{StreamPosition, Watermark};
use super::super::{
    AUTHORS_MAX, GAP_TIME, Held, Input, KEYS_SENT_MAX, PAST_AUTHORS_MAX, PAYLOAD_MAX, ROOTS_MAX,
    SILENCE_MAX, STRANGERS_BURST, Topic, frames,
};
use super::harness::{BEGIN, Heard, Node, Writer, messages, millis, topic};
use crate::crypto::hash::blake3;
use crate::crypto::signature::VerifyingKey;
use crate::gossip::Counter;
use crate::identity::{AgentId, AgentKey};
use crate::overlay::testing::push_frame;
use crate::overlay::{ItemId, Stamp};
use crate::session;
use crate::support::MemoryBudget;
use crate::wire;

const AUTHOR: u8 = 50;

/// An author that publishes one batch, and its key.
fn puppet(number: u64, time: u64) -> (Bytes, VerifiedBatch) {
    let mut seed = [77; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let mut author = Writer::new(0, 1);
    author.key = AgentKey::from_seed(&seed);
    author.next.time = time;
    (frames::key(author.key.public()).into(), author.write(&["x"]))
}

/// Batches of many unknown authors come; their signatures are left out.
fn crowd(node: &mut Node, count: usize) {
    for number in 0..count {
        let author = AgentId(blake3(&number.to_be_bytes()));
        node.act(|state, context| {
            let topics = state.receiver_mut().topics_mut();
            topics.begin_stream(context, (topic().id(), author), 1);
        });
    }
}

/// An author makes room for others.
fn evict(node: &mut Node, author: AgentId) {
    node.act(|state, context| {
        state.receiver_mut().topics_mut().evict(context, (topic().id(), author));
    });
}

/// A subscriber with nine peers, and an author that published a number of messages.
fn start(count: u64) -> (Node, Writer, Vec<VerifiedBatch>) {
    let mut node = Node::subscribed(0, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    node.learn(1, AUTHOR);
    let mut alice = Writer::new(AUTHOR, 1);
    let mut batches = Vec::new();
    for number in 0..count {
        node.advance(Duration::from_secs(1));
        batches.push(alice.write_at(node.unix_millis(), &[&format!("alice {number}")]));
        node.receive(1, &batches[batches.len() - 1]);
    }
    assert_eq!(u64::try_from(node.heard.len()).unwrap(), count);
    node.heard.clear();
    (node, alice, batches)
}

/// The author's batches come again, and then its next one.
fn check(mut node: Node, mut alice: Writer, batches: &[VerifiedBatch]) {
    node.heard.clear();
    (1..=2).for_each(|peer| node.learn(peer, AUTHOR));
    for batch in batches {
        node.receive(2, batch);
    }
    assert_eq!(node.heard, [], "nothing is delivered twice");
    node.advance(Duration::from_secs(1));
    let next = alice.write_at(node.unix_millis(), &["next"]);
    node.receive(1, &next);
    assert_eq!(node.heard, messages(&["next"]), "nothing is said to be missing, or waited for");
    assert_eq!(node.own_deadline(), None);
}

#[test]
fn a_crowd_of_authors_neither_delays_nor_slanders_one_that_made_room() {
    let (mut node, alice, batches) = start(1);
    node.learn(1, AUTHOR + 1);
    let mut bob = Writer::new(AUTHOR + 1, 1);
    for text in ["a", "b"] {
        node.receive(1, &bob.write_at(node.unix_millis(), &[text]));
    }
    crowd(&mut node, AUTHORS_MAX);
    assert_eq!(node.count(Counter::AuthorsForgotten), 2);
    let topics = node.state.receiver_mut().topics_mut();
    let is_known = [&alice, &bob].map(|author| topics.has_author(&(topic().id(), author.key.id())));
    assert_eq!(is_known, [false, true], "those of a single batch make room first");
    check(node, alice, &batches);
}

#[test]
fn what_an_author_lacks_is_told_although_it_made_room_meanwhile() {
    let (mut node, mut alice, _) = start(1);
    evict(&mut node, alice.key.id());
    alice.write_at(node.unix_millis(), &["lost", "lost"]);
    node.receive(1, &alice.write(&["next"]));
    node.advance(GAP_TIME);
    assert_eq!(node.heard, [vec![Heard::Lagged(2)], messages(&["next"])].concat());
}

#[test]
fn a_message_of_an_author_that_is_forgotten_for_good_is_not_delivered_twice() {
    for count in [1, 3] {
        let (mut node, alice, batches) = start(count);
        evict(&mut node, alice.key.id());
        let (now, time) = (node.now, node.unix_millis());
        // Others that said more than one thing, as many as are known.
        for number in 0..PAST_AUTHORS_MAX {
            let subject = (topic().id(), AgentId(blake3(&number.to_be_bytes())));
            let position = StreamPosition { sequence: 5, message: 9 };
            let watermark = Watermark { stream: 1, position, time, heard_at: now };
            let watermarks = node.state.receiver_mut().topics_mut().watermarks_mut();
            watermarks.note((now, time), subject, watermark, true);
        }
        assert!(
            !node
                .state
                .receiver_mut()
                .topics_mut()
                .watermarks_mut()
                .contains(&(topic().id(), alice.key.id()))
        );
        check(node, alice, &batches);
    }
}

#[test]
fn a_peer_brings_up_no_more_unknown_authors_than_the_limit() {
    let mut node = Node::subscribed(0, &[1, 2]);
    let burst = u64::from(STRANGERS_BURST);
    let bring = |node: &mut Node, peer: u64, number: u64| {
        let (key, batch) = puppet(number, node.unix_millis());
        node.frame(peer, key);
        node.receive(peer, &batch);
    };
    (0..=burst).for_each(|number| bring(&mut node, 1, number));
    assert_eq!(node.heard.len(), STRANGERS_BURST as usize);
    assert_eq!(node.count(Counter::StrangersOverLimit), 1);
    assert_eq!(node.count(Counter::BatchesVerified), burst, "it costs no signature check");
    bring(&mut node, 2, burst);
    assert_eq!(node.heard.len(), STRANGERS_BURST as usize + 1, "another peer may, the same one");
    node.learn(1, AUTHOR);
    node.advance(millis(16));
    let mut alice = Writer::new(AUTHOR, 1);
    for text in ["a", "b", "c"] {
        node.receive(1, &alice.write_at(node.unix_millis(), &[text]));
    }
    assert_eq!(node.heard.len(), STRANGERS_BURST as usize + 4, "a known author may go on");
    assert_eq!(node.broken, [], "nobody is to blame");
}

/// Pushes a batch through the overlay.
fn push(node: &mut Node, peer: u64, root: (u64, ItemId), bytes: &[u8]) {
    let stamp = Stamp { time: root.0, id: root.1 };
    let header = push_frame(topic().id(), stamp, false);
    node.frame(peer, [&[0], &header[..], bytes].concat().into());
    node.sent.clear();
}

/// A batch that nobody signed.
fn unsigned(author: &Writer, time: u64, number: u64) -> ((u64, ItemId), Bytes) {
    let merkle = blake3(&number.to_be_bytes());
    let root = Root { time, merkle, count: 1, ..author.next.clone() };
    let record = wire::encode(&root);
    let id = ItemId(blake3(&record)[..16].try_into().unwrap());
    ((time, id), [&record[..], &[0; 3309], &[0; 32], &[1, b'x']].concat().into())
}

#[test]
fn batches_that_nobody_signed_are_never_noted_as_seen() {
    let mut node = Node::subscribed(60, &[1, 2, 3]);
    node.publish("own");
    node.flush();
    let own = node.batches()[0].root().clone();
    let now = node.unix_millis();
    // The author contradicted itself.
    let liar = Writer::new(70, now);
    node.learn(3, 70);
    for text in ["one", "two"] {
        let batch = liar.fork(&[text]);
        push(&mut node, 3, (batch.root().time, batch.id()), &batch.item().bytes);
    }
    assert_eq!(node.heard.last(), Some(&Heard::Equivocated(liar.key.id())));
    let mut itself = Writer::new(60, own.stream);
    itself.next.time = own.time;
    let stranger = Writer::new(80, now);
    let cases = [
        ("of a liar", &liar, now, 1),
        ("of the node itself", &itself, now, 2),
        ("of a time to come", &stranger, now + 3_600_000, 3),
    ];
    let seen = |node: &Node| node.state.network().seen_len(&topic().id());
    let before = seen(&node);
    for (case, author, time, peer) in cases {
        for number in 0..20 {
            let (stamp, bytes) = unsigned(author, time, number);
            push(&mut node, peer, stamp, &bytes);
        }
        assert_eq!(seen(&node), before, "{case}");
    }
    let accused: Vec<u64> = node.broken.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(accused, [1, 2], "who forges is accused; who has another clock is not");
}

#[test]
fn what_is_signed_and_unwanted_is_refused_and_not_asked_for_again() {
    let mut node = Node::subscribed(0, &[1]);
    let mut liar = Writer::new(70, BEGIN);
    node.learn(1, 70);
    for text in ["one", "two"] {
        node.receive(1, &liar.fork(&[text]));
    }
    let before = node.state.network().seen_len(&topic().id());
    liar.write(&["x"]);
    node.receive(1, &liar.write(&["y"]));
    assert_eq!(node.state.network().seen_len(&topic().id()), before + 1, "of a liar");
    let mut fast = Writer::new(80, BEGIN);
    node.learn(1, 80);
    node.receive(1, &fast.write_at(BEGIN + 3_600_000, &["z"]));
    assert_eq!(node.state.network().seen_len(&topic().id()), before + 2, "of a time to come");
    assert_eq!(node.count(Counter::BatchesUnwanted), 3);
}

#[test]
fn authors_that_are_silent_for_long_are_known_by_how_far_they_were_heard_alone() {
    let (mut node, mut alice, _) = start(0);
    for number in 0..2 * u64::try_from(ROOTS_MAX).unwrap() {
        node.receive(1, &alice.write_at(node.unix_millis(), &[&number.to_string()]));
    }
    assert!(node.state.held().ordering_bytes > 128 * ROOTS_MAX);
    node.heard.clear();
    node.advance(SILENCE_MAX);
    assert_eq!(node.state.held().authors, 1);
    node.advance(Duration::from_secs(90));
    let held = node.state.held();
    assert_eq!((held.authors, held.keys_of_peers), (0, 9));
    for peer in 1..10 {
        node.handle(Input::Session(session::Event::Closed { peer }));
    }
    assert_eq!(node.state.held(), Held::default(), "every account is back at its idle value");
    node.up(1);
    node.learn(1, AUTHOR);
    alice.write_at(node.unix_millis(), &["lost"]);
    node.receive(1, &alice.write(&["next"]));
    node.advance(GAP_TIME);
    assert_eq!(node.heard, [vec![Heard::Lagged(1)], messages(&["next"])].concat());
}

#[test]
fn every_account_is_empty_after_a_topic_is_left_and_sessions_ended() {
    let (mut node, mut alice, _) = start(3);
    alice.write(&["lost"]);
    node.receive(1, &alice.write(&["waits for it"]));
    // Nobody has the key of this one.
    node.receive(2, &Writer::new(99, BEGIN).write(&["x"]));
    node.publish("unsigned");
    let held = node.state.held();
    assert_eq!((held.authors, held.batches_without_key, held.messages_unsigned), (1, 1, 1));
    assert!(held.waiting_bytes > 3000 && held.ordering_bytes > 6000);
    node.flush();
    node.handle(Input::Unsubscribe { topic: topic() });
    assert_eq!(node.state.held().waiting_bytes, 0);
    node.advance(Duration::from_secs(301));
    for peer in 1..10 {
        node.handle(Input::Session(session::Event::Closed { peer }));
    }
    assert_eq!(node.state.held(), Held::default());
}

fn small() -> MemoryBudget {
    MemoryBudget::new(MemoryBudget::BYTES_MIN).unwrap()
}

#[test]
fn the_author_that_lets_the_most_wait_gives_way_when_the_share_is_used_up() {
    let mut node = Node::subscribed_with(small(), 0, &[1]);
    let large = "x".repeat(PAYLOAD_MAX);
    let (mut honest, share) = (Writer::new(AUTHOR, 1), small().ordering());
    node.learn(1, AUTHOR);
    node.receive(1, &honest.write_at(BEGIN, &["a"]));
    honest.write(&["lost"]);
    node.receive(1, &honest.write(&["waits"]));
    for number in 0..8 {
        let topic = Topic::new(&format!("topic {}", number % 4)).unwrap();
        node.handle(Input::Subscribe { topic: topic.clone() });
        node.learn(1, 100 + number);
        let mut author = Writer::new(100 + number, 1);
        author.next.topic = topic.id();
        author.next.time = BEGIN;
        node.receive_in(topic.id(), 1, author.write(&["first"]).item().bytes, false);
        author.write(&["lost"]);
        for _ in 0..3 {
            node.receive_in(topic.id(), 1, author.write(&[&large]).item().bytes, false);
        }
        let held = node.state.held();
        assert!(held.ordering_bytes <= share && held.waiting_bytes <= held.ordering_bytes);
    }
    assert!(node.count(Counter::HoldersOverBudget) >= 5);
    assert!(node.state.held().ordering_bytes > share / 2);
    assert!(!node.heard.contains(&Heard::Message("waits".to_owned())), "it holds little");
    node.advance(GAP_TIME);
    assert!(node.heard.contains(&Heard::Message("waits".to_owned())));
}

#[test]
fn the_peer_that_lets_the_most_wait_for_keys_gives_way_when_the_share_is_used_up() {
    let mut node = Node::subscribed_with(small(), 0, &[1, 2, 3, 4, 5]);
    let large = "x".repeat(PAYLOAD_MAX - 8192);
    node.receive(5, &Writer::new(AUTHOR, BEGIN).write(&["waits"]));
    for peer in 1..5 {
        let mut stranger = Writer::new(100, BEGIN + peer);
        for _ in 0..2 {
            node.receive(peer, &stranger.write(&[&large]));
        }
        assert!(node.state.held().ordering_bytes <= small().ordering());
    }
    assert_eq!(node.count(Counter::HoldersOverBudget), 1);
    assert_eq!(node.count(Counter::BatchesWithoutKey), 2);
    node.learn(5, AUTHOR);
    assert_eq!(node.heard, messages(&["waits"]));
}

#[test]
fn keys_that_peers_invent_are_counted_and_forgotten_where_most_are_known() {
    let peers: Vec<u64> = (1..=16).collect();
    let mut node = Node::subscribed_with(small(), 0, &peers);
    let mut number = 0_u64;
    for &peer in &peers {
        for _ in 0..=KEYS_SENT_MAX {
            number += 1;
            let mut key = [0; 1952];
            key[..8].copy_from_slice(&number.to_be_bytes());
            node.frame(peer, frames::key(&VerifyingKey::from_bytes(&key).unwrap()).into());
        }
    }
    let held = node.state.held();
    assert!(held.ordering_bytes <= small().ordering());
    assert!(held.keys_of_peers > KEYS_SENT_MAX && held.keys_of_peers < 16 * KEYS_SENT_MAX);
    assert!(node.count(Counter::HoldersOverBudget) > 0);
    peers.iter().for_each(|&peer| node.handle(Input::Session(session::Event::Closed { peer })));
    assert_eq!(node.state.held(), Held::default());
}

#[test]
fn a_blocked_author_is_not_heard_with_what_waited_and_lets_nothing_wait() {
    let (mut node, mut alice, _) = start(1);
    let agent = alice.key.id();
    let lost = alice.write(&["lost"]);
    node.receive(1, &alice.write(&["waits"]));
    assert!(node.state.held().waiting_bytes > 0);
    node.handle(Input::SetBlocked { agent, blocked: true });
    assert_eq!(node.state.held().waiting_bytes, 0);
    assert_eq!(node.own_deadline(), None);
    node.receive(1, &lost);
    alice.write(&["lost, too"]);
    node.receive(1, &alice.write(&["unheard"]));
    assert_eq!(node.state.held().waiting_bytes, 0);
    node.handle(Input::SetBlocked { agent, blocked: false });
    node.advance(2 * GAP_TIME);
    assert_eq!(node.heard, [], "neither a message nor how many were missed");
    node.receive(1, &alice.write(&["heard again"]));
    assert_eq!(node.heard, messages(&["heard again"]));
}

#[test]
fn a_blocked_author_whose_key_comes_late_or_that_gives_way_is_not_heard() {
    let (mut node, mut alice, _) = start(1);
    let agent = alice.key.id();
    let mut late = Writer::new(AUTHOR + 1, BEGIN);
    node.receive(2, &late.write_at(node.unix_millis(), &["late"]));
    alice.write(&["lost"]);
    node.receive(1, &alice.write(&["waits"]));
    for agent in [agent, late.key.id()] {
        node.handle(Input::SetBlocked { agent, blocked: true });
    }
    node.learn(2, AUTHOR + 1);
    evict(&mut node, agent);
    assert_eq!(node.heard, []);
}
