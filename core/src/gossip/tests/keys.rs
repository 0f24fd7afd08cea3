//! How keys of authors travel.

use bytes::Bytes;

use super::super::frames;
use super::super::{
    ANSWER_INTERVAL, ANSWERS_BURST, PARKED_PEER_BATCHES_MAX, PARKED_TIME, PAYLOAD_MAX,
    UNPROVEN_KEYS_MAX,
};
use super::super::{Input, batch::VerifiedBatch};
use super::harness::{BEGIN, Node, Sent, World, Writer, key, messages, millis};
use crate::gossip::Counter;
use crate::session;

const AUTHOR: u8 = 9;

fn request(number: u8) -> Bytes {
    frames::key_request(&key(number).id()).into()
}

/// What kinds of frames a peer was sent.
fn kinds(sent: &[Sent], peer: u64) -> Vec<u8> {
    sent.iter().filter(|sent| sent.peer == peer).map(|sent| sent.header[0]).collect()
}

fn batch(number: u8) -> VerifiedBatch {
    Writer::new(number, BEGIN).write(&["x"])
}

#[test]
fn the_key_of_an_author_goes_before_its_first_batch_in_each_session() {
    let mut node = Node::subscribed(0, &[1]);
    for text in ["a", "b"] {
        node.publish(text);
        node.advance(millis(5));
    }
    assert_eq!(kinds(&node.take_sent(), 1), [1, 0, 0]);
    node.up(1);
    node.join(1);
    node.take_sent();
    node.publish("c");
    node.flush();
    assert_eq!(kinds(&node.take_sent(), 1), [1, 0]);
}

#[test]
fn a_key_is_not_sent_to_the_peer_that_sent_it_and_goes_along_to_others() {
    let mut world = World::line(3);
    world.nodes[0].publish("a");
    world.nodes[0].flush();
    let to_middle = world.nodes[0].take_sent();
    assert_eq!(kinds(&to_middle, 1), [1, 0]);
    for sent in to_middle {
        world.nodes[1].frame(0, [&sent.header[..], &sent.payload].concat().into());
    }
    let sent = world.nodes[1].take_sent();
    assert_eq!((kinds(&sent, 0), kinds(&sent, 2)), (vec![], vec![1, 0]));
}

#[test]
fn a_batch_without_its_key_waits_for_it_and_the_peer_is_asked_once() {
    let mut node = Node::subscribed(0, &[1, 2]);
    let mut author = Writer::new(AUTHOR, BEGIN);
    for text in ["a", "b"] {
        node.receive(1, &author.write(&[text]));
    }
    let sent = node.take_sent();
    assert!(sent.len() == 1 && sent[0].peer == 1 && sent[0].is_key_request());
    assert_eq!(sent[0].header, request(AUTHOR));
    node.learn(1, AUTHOR);
    assert_eq!(node.heard, messages(&["a", "b"]));
    assert_eq!(node.own_deadline(), None);
    node.receive(2, &author.write(&["c"]));
    assert_eq!(node.heard.len(), 3, "the key is known");
    assert_eq!(node.count(Counter::KeysAsked), 1);
}

#[test]
fn a_batch_whose_key_does_not_come_is_given_up() {
    let mut node = Node::subscribed(0, &[1]);
    let batch = batch(AUTHOR);
    node.receive(1, &batch);
    node.advance(PARKED_TIME - millis(1));
    assert_eq!(node.count(Counter::BatchesWithoutKey), 0);
    node.advance(millis(1));
    assert_eq!(node.count(Counter::BatchesWithoutKey), 1);
    node.learn(1, AUTHOR);
    assert_eq!(node.heard, []);
    node.receive(1, &batch);
    assert_eq!(node.heard, messages(&["x"]), "nobody is to blame");
}

#[test]
fn what_waits_for_a_key_ends_with_the_session() {
    let mut node = Node::subscribed(0, &[1, 2]);
    let batch = batch(AUTHOR);
    node.receive(1, &batch);
    node.receive(2, &batch);
    node.handle(Input::Session(session::Event::Closed { peer: 1 }));
    assert_eq!(node.count(Counter::BatchesWithoutKey), 1);
    node.learn(2, AUTHOR);
    assert_eq!(node.heard, messages(&["x"]));
}

#[test]
fn a_question_for_a_key_is_answered_if_the_key_is_known_but_not_too_often() {
    let mut node = Node::subscribed(0, &[1]);
    node.frame(1, request(AUTHOR));
    assert_eq!((node.take_sent(), node.count(Counter::KeysRefused)), (vec![], 1));
    for _ in 0..2 * ANSWERS_BURST {
        node.frame(1, request(0));
    }
    let sent = node.take_sent();
    assert_eq!(sent.len(), ANSWERS_BURST as usize);
    assert_eq!(sent[0].header[..], frames::key(key(0).public())[..]);
    assert!(sent[0].is_key());
    node.advance(ANSWER_INTERVAL);
    node.frame(1, request(0));
    assert_eq!(node.take_sent().len(), 1);
}

/// A peer that asks and does not read gets no more than what its session takes, and one frame.
#[test]
fn answers_end_where_the_room_of_a_session_ends() {
    const ROOM: usize = 10_000;
    let mut node = Node::subscribed(0, &[]);
    node.up_with_room(1, ROOM);
    node.take_sent();
    for _ in 0..1000 {
        node.frame(1, request(0));
        node.advance(millis(10));
    }
    let sent: usize = node.take_sent().iter().map(|sent| sent.header.len()).sum();
    assert!((ROOM / 2..ROOM + 2000).contains(&sent), "{sent}");
    node.handle(Input::Session(session::Event::Writable { peer: 1, send_window: ROOM }));
    node.take_sent();
    node.frame(1, request(0));
    assert_eq!(kinds(&node.take_sent(), 1), [1]);
}

/// A peer that sends what has to be asked about and does not read the questions.
#[test]
fn questions_end_where_the_room_of_a_session_ends() {
    const ROOM: usize = 300;
    let mut node = Node::subscribed(0, &[]);
    node.up_with_room(1, ROOM);
    for number in 20..40 {
        node.receive(1, &batch(number));
    }
    let sent: usize = node.take_sent().iter().map(|sent| sent.header.len()).sum();
    assert!((ROOM..ROOM + request(0).len()).contains(&sent), "{sent}");
    let asked = node.count(Counter::KeysAsked);
    assert_eq!(
        node.count(Counter::BatchesWithoutKey),
        20 - asked,
        "what cannot be asked is not kept"
    );
    node.handle(Input::Session(session::Event::Writable { peer: 1, send_window: ROOM }));
    node.take_sent();
    node.receive(1, &batch(39));
    assert_eq!(kinds(&node.take_sent(), 1), [2]);
    node.learn(1, 39);
    assert_eq!(node.heard, messages(&["x"]));
}

#[test]
fn keys_that_prove_nothing_push_out_one_another_and_no_proven_one() {
    let mut node = Node::subscribed(0, &[1, 2]);
    node.learn(1, AUTHOR);
    let mut author = Writer::new(AUTHOR, BEGIN);
    node.receive(1, &author.write(&["a"]));
    for number in 0..=u8::try_from(UNPROVEN_KEYS_MAX).unwrap() {
        node.learn(1, 20 + number);
    }
    node.receive(1, &batch(20));
    assert_eq!(node.count(Counter::KeysAsked), 1, "the first of them is forgotten");
    node.receive(1, &batch(21));
    node.receive(2, &author.write(&["b"]));
    assert_eq!(node.heard, messages(&["a", "x", "b"]));
    node.receive(2, &batch(22));
    assert_eq!(node.count(Counter::KeysAsked), 2, "a slot serves its peer alone");
}

#[test]
fn no_more_batches_of_a_peer_wait_for_keys_than_the_limit() {
    let mut node = Node::subscribed(0, &[1, 2]);
    let mut author = Writer::new(AUTHOR, BEGIN);
    for _ in 0..=PARKED_PEER_BATCHES_MAX {
        node.receive(1, &author.write(&["x"]));
    }
    assert_eq!(node.count(Counter::BatchesWithoutKey), 1);
    node.receive(2, &batch(AUTHOR + 1));
    assert_eq!(node.count(Counter::BatchesWithoutKey), 1, "others have their own room");
    node.learn(1, AUTHOR);
    assert_eq!(node.heard.len(), PARKED_PEER_BATCHES_MAX);
}

#[test]
fn no_more_bytes_wait_for_keys_than_the_limits() {
    let large = "x".repeat(PAYLOAD_MAX - 8192);
    let mut node = Node::subscribed(0, &[]);
    let mut author = Writer::new(AUTHOR, BEGIN);
    let batches = [(); 3].map(|()| author.write(&[&large]));
    for peer in 1..=9 {
        node.up(peer);
        for batch in &batches {
            node.receive(peer, batch);
        }
    }
    // Each of eight peers has two waiting, and with these the node is full.
    assert_eq!(node.count(Counter::BatchesWithoutKey), 8 + 3);
}
