//! Frames and batches that no correct peer sends.

use bytes::Bytes;

use super::super::EVIDENCE_SIZE_MAX;
use super::harness::{BEGIN, Node, Writer, messages};
use crate::gossip::Counter;

const AUTHOR: u8 = 9;

#[test]
fn a_peer_that_breaks_a_rule_is_reported_once_and_not_heard_again() {
    let cases: [(Vec<u8>, &str); 8] = [
        (vec![], "a frame is empty"),
        (vec![4], "a frame has an unknown kind"),
        (vec![0xff, 1, 2], "a frame has an unknown kind"),
        (vec![1; 1952], "a key has the wrong size"),
        (vec![1; 1954], "a key has the wrong size"),
        (vec![2; 32], "a question for a key has the wrong size"),
        (vec![3; 2], "evidence proves nothing"),
        (vec![3; EVIDENCE_SIZE_MAX + 2], "evidence is too large"),
    ];
    for (frame, rule) in cases {
        let mut node = Node::subscribed(0, &[1]);
        node.frame(1, frame.into());
        assert_eq!(node.broken, [(1, rule)]);
        node.frame(1, Bytes::new());
        assert_eq!((node.broken.len(), node.count(Counter::Violations)), (1, 1), "{rule}");
    }
}

#[test]
fn frames_of_a_peer_without_a_session_are_counted() {
    let mut node = Node::new(0);
    node.frame(1, Bytes::new());
    assert_eq!((node.broken.len(), node.count(Counter::FramesUnknown)), (0, 1));
}

#[test]
fn a_batch_with_any_byte_changed_is_forged_and_goes_nowhere() {
    let batch = Writer::new(AUTHOR, BEGIN).write(&["first", "second"]).item().bytes;
    for at in (0..batch.len()).filter(|at| at % 61 == 0 || *at > 3500) {
        let mut node = Node::subscribed(0, &[1, 2]);
        node.learn(1, AUTHOR);
        let mut changed = batch.to_vec();
        changed[at] ^= 0x10;
        node.receive_as(1, changed, false);
        assert_eq!((node.heard.len(), node.batches().len()), (0, 0), "byte {at}");
        let counts = [Counter::BatchesForged, Counter::BatchesUnwanted, Counter::KeysAsked];
        // A change of the time may leave the window, and a change of the author asks for its key.
        assert_eq!(counts.map(|counter| node.count(counter)).iter().sum::<u64>(), 1, "byte {at}");
    }
}

#[test]
fn a_forged_batch_ends_the_session_and_costs_no_more() {
    let mut author = Writer::new(AUTHOR, BEGIN);
    let mut forged = author.write(&["x"]).item().bytes.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let mut node = Node::subscribed(0, &[1, 2]);
    node.learn(1, AUTHOR);
    node.receive_as(1, forged, false);
    assert_eq!(node.broken.len(), 1);
    node.frame(1, Bytes::new());
    assert_eq!(node.broken.len(), 1, "nothing more is heard in the session");
}

#[test]
fn a_batch_signed_by_another_is_forged() {
    let mut author = Writer::new(AUTHOR, BEGIN);
    let real = author.write(&["x"]);
    let thief = Writer { key: super::harness::key(7), next: real.root().clone() }.fork(&["x"]);
    // The thief's record names the thief: put the real one in its place.
    let record = real.item().bytes.len() - thief.item().bytes.len();
    assert_eq!(record, 0, "both have one size");
    let size = real.record().len();
    let mixed = [&real.item().bytes[..size], &thief.item().bytes[size..]].concat();
    let mut node = Node::subscribed(0, &[1]);
    node.learn(1, AUTHOR);
    node.receive_as(1, mixed, false);
    assert_eq!((node.heard.len(), node.count(Counter::BatchesForged)), (0, 1));
}

#[test]
fn a_batch_of_another_topic_is_forged() {
    let mut author = Writer::new(AUTHOR, BEGIN);
    author.next.topic.0[0] ^= 1;
    let batch = author.write(&["x"]);
    let mut node = Node::subscribed(0, &[1]);
    node.learn(1, AUTHOR);
    node.receive(1, &batch);
    assert_eq!((node.heard.len(), node.count(Counter::BatchesForged)), (0, 1));
}

#[test]
fn a_batch_of_a_topic_that_was_left_is_unwanted() {
    let mut author = Writer::new(AUTHOR, BEGIN);
    let batch = author.write(&["x"]);
    let mut node = Node::new(0);
    node.up(1);
    node.learn(1, AUTHOR);
    node.receive(1, &batch);
    assert_eq!(node.count(Counter::BatchesUnwanted), 1);
    assert_eq!(node.broken, []);
}

#[test]
fn a_node_that_only_publishes_hands_on_and_delivers_nothing() {
    let mut author = Writer::new(AUTHOR, BEGIN);
    let mut node = Node::new(0);
    node.up(1);
    node.up(2);
    node.publish("mine");
    node.join(1);
    node.join(2);
    node.flush();
    node.take_sent();
    node.learn(1, AUTHOR);
    node.receive(1, &author.write(&["a"]));
    assert_eq!((node.heard.len(), node.batches().len()), (0, 1));
    node.handle(super::super::Input::Subscribe { topic: super::harness::topic() });
    node.receive(1, &author.write(&["b"]));
    assert_eq!(node.heard, [], "the batch before it may be of interest");
    node.repair(1, &author.write(&["c"]));
    node.advance(super::super::GAP_TIME);
    assert_eq!(node.heard[1..], messages(&["b", "c"]));
}
