//! What becomes of authors that contradict themselves.

use bytes::Bytes;

use super::super::{
    EVIDENCE_BURST, Evidence, EvidenceError, Input, batch::VerifiedBatch, evidence::prove, frames,
};
use super::harness::{BEGIN, Heard, Node, Sent, Writer, key, messages, millis, topic};
use crate::gossip::Counter;
use crate::session;

const AUTHOR: u8 = 9;

/// Two batches in one place of a stream.
fn rivals(number: u8) -> (Writer, VerifiedBatch, VerifiedBatch) {
    let mut author = Writer::new(number, BEGIN);
    let other = author.fork(&["other"]);
    let one = author.write(&["one"]);
    (author, one, other)
}

fn evidence(number: u8) -> Bytes {
    let (author, one, other) = rivals(number);
    prove(&author.author(), &one, &other).unwrap()
}

fn frame(evidence: &[u8]) -> Bytes {
    [&frames::evidence()[..], evidence].concat().into()
}

fn told(sent: &[Sent]) -> Vec<u64> {
    sent.iter().filter(|sent| sent.is_evidence()).map(|sent| sent.peer).collect()
}

#[test]
fn an_author_that_contradicts_itself_is_told_once_and_not_heard_again() {
    let (mut author, one, other) = rivals(AUTHOR);
    let mut node = Node::subscribed(0, &[1, 2, 3]);
    node.learn(1, AUTHOR);
    node.receive(1, &one);
    assert_eq!(node.batches().len(), 2, "to the two others");
    node.take_sent();
    node.receive(2, &other);
    let agent = author.key.id();
    assert_eq!(node.heard, [Heard::Message("one".to_owned()), Heard::Equivocated(agent)]);
    let sent = node.take_sent();
    assert_eq!((told(&sent), sent.len()), (vec![1, 2, 3], 3), "evidence and nothing else");
    for batch in [&one, &other, &author.write(&["next"])] {
        node.receive(1, batch);
    }
    assert_eq!((node.heard.len(), node.take_sent().len()), (2, 0));
    assert_eq!(node.broken, [], "who handed it on is not to blame");
    let proven = Evidence::verify(&node.evidence[0]).unwrap();
    assert_eq!((proven.author, proven.topic), (agent, topic().id()));
    assert_eq!((proven.stream, proven.sequence), (BEGIN, 0));
}

#[test]
fn a_peer_that_reads_nothing_gets_no_more_keys() {
    let mut node = Node::subscribed(0, &[1, 2]);
    node.learn(2, AUTHOR);
    node.receive(2, &Writer::new(AUTHOR, BEGIN).write(&["a"]));
    node.frame(2, frame(&evidence(19)));
    assert_eq!(told(&node.take_sent()), [1], "it is in the topic");
    node.handle(Input::Session(session::Event::Writable { peer: 1, send_window: 0 }));
    for number in 20..30 {
        node.frame(2, frame(&evidence(number)));
        node.advance(millis(60_000));
    }
    assert_eq!(node.count(Counter::Equivocations), 11);
    assert_eq!(told(&node.take_sent()), []);
    node.handle(Input::Session(session::Event::Writable { peer: 1, send_window: 100_000 }));
    node.frame(2, frame(&evidence(30)));
    assert_eq!(told(&node.take_sent()), [1]);
}

#[test]
fn a_batch_that_does_not_follow_the_one_before_it_is_a_contradiction() {
    let changes: [fn(&mut Writer); 3] = [
        |author| author.next.previous[31] ^= 1,
        |author| author.next.first = 2,
        |author| author.next.previous_time -= 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for is_late in [false, true] {
            let mut author = Writer::new(AUTHOR, BEGIN - 10);
            author.write(&["zero", "more"]);
            author.next.time = BEGIN;
            let one = author.write(&["one"]);
            change(&mut author);
            let two = author.write(&["two"]);
            let mut node = Node::subscribed(0, &[1]);
            node.learn(1, AUTHOR);
            let [first, second] = if is_late { [&two, &one] } else { [&one, &two] };
            node.receive(1, first);
            node.receive(1, second);
            let caught = node.heard.contains(&Heard::Equivocated(author.key.id()));
            assert!(caught, "change {number}, late: {is_late}");
            let evidence = prove(&author.author(), &two, &one).unwrap();
            assert_eq!(Evidence::verify(&evidence).map(|proven| proven.sequence), Ok(2));
        }
    }
}

#[test]
fn evidence_is_believed_handed_on_and_told() {
    let (mut author, one, _) = rivals(AUTHOR);
    let mut node = Node::subscribed(0, &[1, 2, 3]);
    // Peers two and three are known to be in the topic.
    node.learn(2, AUTHOR);
    node.receive(2, &one);
    node.take_sent();
    node.frame(1, frame(&evidence(AUTHOR)));
    assert_eq!(node.heard[1], Heard::Equivocated(key(AUTHOR).id()));
    assert_eq!(told(&node.take_sent()), [2, 3]);
    node.receive(2, &author.write(&["next"]));
    node.frame(2, frame(&evidence(AUTHOR)));
    assert_eq!(node.heard.len(), 2);
    assert!(told(&node.take_sent()).is_empty());
    assert_eq!(node.count(Counter::Equivocations), 1);
    assert_eq!(node.count(Counter::EvidenceIgnored), 1);
}

#[test]
fn evidence_of_a_topic_that_the_node_is_not_in_is_ignored() {
    let mut node = Node::new(0);
    node.up(1);
    node.frame(1, frame(&evidence(AUTHOR)));
    assert_eq!((node.heard.len(), node.count(Counter::EvidenceIgnored)), (0, 1));
}

#[test]
fn no_more_evidence_is_checked_at_once_than_the_limit() {
    let mut node = Node::subscribed(0, &[1]);
    for number in 0..=u8::try_from(EVIDENCE_BURST).unwrap() {
        node.frame(1, frame(&evidence(100 + number)));
    }
    assert_eq!(node.evidence.len(), EVIDENCE_BURST as usize);
    assert_eq!(node.count(Counter::EvidenceIgnored), 1);
}

#[test]
fn evidence_that_proves_nothing_ends_the_session_of_its_sender() {
    let whole = evidence(AUTHOR);
    assert!(Evidence::verify(&whole).is_ok());
    for at in (0..whole.len()).step_by(97) {
        let mut changed = whole.to_vec();
        changed[at] ^= 1;
        assert!(Evidence::verify(&changed).is_err(), "byte {at}");
    }
    let mut changed = whole.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let mut node = Node::subscribed(0, &[1]);
    node.frame(1, frame(&changed));
    assert_eq!(node.broken, [(1, "evidence proves nothing")]);
    node.frame(1, frame(&whole));
    assert_eq!(node.heard, [], "nothing more is heard in the session");
}

#[test]
fn batches_of_an_honest_author_are_no_evidence() {
    let mut author = Writer::new(AUTHOR, BEGIN);
    let [a, b, c] = ["a", "b", "c"].map(|text| author.write(&[text]));
    let key = author.author();
    for [one, other] in [[&a, &a], [&a, &b], [&b, &a], [&a, &c]] {
        assert_eq!(prove(&key, one, other), None);
    }
    // The order of the two is part of the form.
    let (_, one, other) = rivals(AUTHOR);
    assert_eq!(prove(&key, &one, &other), prove(&key, &other, &one));
    assert_eq!(
        Evidence::verify(&[]),
        Err(EvidenceError::Malformed(crate::wire::DecodeError::Empty))
    );
}

#[test]
fn an_echo_of_the_nodes_own_batches_is_nothing_new() {
    let mut node = Node::subscribed(0, &[1]);
    node.publish("a");
    node.flush();
    let own = node.sent.iter().find(|sent| !sent.payload.is_empty()).unwrap().payload.clone();
    node.receive_as(1, own, false);
    assert_eq!(node.heard, messages(&["a"]));
    assert_eq!(node.count(Counter::BatchesDuplicate), 1);
    node.handle(Input::Timeout);
}
