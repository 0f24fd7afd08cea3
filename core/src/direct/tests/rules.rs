//! What a peer must not do.

use std::time::Duration;

use bytes::Bytes;

use super::super::frames::{Open, Opened, Run, Verdict, message_header, verdict_header};
use super::super::{Input, Output};
use super::harness::{Node, PLENTY, Side};
use crate::direct::Counter;
use crate::identity::AgentId;
use crate::session;
use crate::session::{Contact, Header};
use crate::support::testing::start;

fn open(channel: u8, conversation: u64, from: u8) -> Bytes {
    let to = Side::Left.agent();
    Open { channel, conversation, from, to, first: 1, attempt: 1, since: 1 }.encode()
}

fn flat(header: Header) -> Bytes {
    Bytes::copy_from_slice(header.as_slice())
}

fn message(channel: u8, sequence: u64) -> Bytes {
    flat(message_header(channel, sequence))
}

fn verdict(channel: u8, through: u64) -> Bytes {
    flat(verdict_header(channel, Run { through, verdict: Verdict::Accepted }))
}

fn opened(channel: u8, born: u64, through: u64) -> Bytes {
    Opened::encode(channel, born, &[Run { through, verdict: Verdict::Accepted }])
}

/// A node that sent two messages to the only agent of its peer.
fn node() -> Node {
    let mut node = Node::new(Side::Left.agent(), 0, start());
    let agents = vec![Side::Right.agent(), AgentId([7; 32])];
    node.handle(Input::Session(session::Event::Opened(session::Opened {
        peer: Side::Right.machine(),
        agents,
        incarnation: 0,
        send_window: PLENTY,
        contact: Contact::default(),
        round_trip: Duration::ZERO,
    })));
    node.send(1, Side::Right.agent(), Bytes::new());
    node.send(2, Side::Right.agent(), Bytes::new());
    node
}

/// Gives frames to the node and settles after each; returns the rule that was broken.
fn judge(node: &mut Node, frames: &[Bytes]) -> Option<&'static str> {
    let machine = Side::Right.machine();
    frames.iter().find_map(|frame| {
        let mut outputs = node
            .handle(Input::Session(session::Event::Frame { peer: machine, frame: frame.clone() }));
        outputs.extend(node.settle());
        let broken = outputs.into_iter().filter_map(|output| {
            if let Output::Session(session::Request::Violation { peer: of, rule }) = output {
                assert_eq!(of, machine);
                return Some(rule);
            }
            None
        });
        broken.last()
    })
}

#[test]
fn a_peer_that_breaks_a_rule_is_reported_once_and_not_heard_again() {
    let cases: Vec<(Vec<Bytes>, &str)> = vec![
        (vec![Bytes::new()], "a frame is malformed"),
        (vec![Bytes::from_static(&[9])], "a frame has an unknown kind"),
        (vec![Bytes::from_static(&[4, 0, 1, 9])], "a frame has an unknown verdict"),
        (vec![open(64, 1, 0)], "too many channels"),
        (vec![open(0, 1, 2)], "a channel was opened for an agent that is not proven"),
        (vec![open(0, 1, 0), open(0, 1, 0)], "a conversation was opened twice"),
        (vec![open(0, 1, 0), open(1, 1, 0)], "a conversation was opened twice"),
        (vec![message(0, 1)], "a message came on a channel that is not open"),
        (vec![open(0, 1, 0), message(1, 1)], "a message came on a channel that is not open"),
        (vec![open(0, 1, 0), message(0, 0)], "a sequence does not increase"),
        (vec![open(0, 1, 0), message(0, 2), message(0, 2)], "a sequence does not increase"),
        (vec![opened(1, 1, 1)], "an answer came on a channel that was not opened"),
        (vec![opened(2, 1, 1)], "an answer came on a channel that was not opened"),
        (vec![opened(0, 1, 1), opened(0, 1, 1)], "an answer came on a channel that was not opened"),
        (vec![verdict(1, 1)], "an answer came on a channel that was not opened"),
        (vec![opened(0, 1, 3)], "a verdict came on a message that was never sent"),
        (vec![opened(0, 2, 1)], "a verdict came on a message that was never sent"),
        (vec![opened(0, 1, 1), verdict(0, 3)], "a verdict came on a message that was never sent"),
    ];
    for (frames, rule) in cases {
        let mut node = node();
        assert_eq!(judge(&mut node, &frames), Some(rule));
        assert_eq!(judge(&mut node, &[Bytes::new(), open(5, 5, 0)]), None, "after: {rule}");
        assert_eq!(node.counters.get(Counter::Violations), 1, "{rule}");
    }
}

#[test]
fn a_channel_is_not_opened_again_before_the_answer() {
    let mut node = node();
    let machine = Side::Right.machine();
    node.handle(Input::Session(session::Event::Writable { peer: machine, send_window: 0 }));
    let rule = judge(&mut node, &[open(0, 1, 0), open(0, 2, 0)]);
    assert_eq!(rule, Some("a channel was opened again before the answer"));
}

#[test]
fn what_a_correct_peer_does_breaks_no_rule() {
    let cases: Vec<Vec<Bytes>> = vec![
        vec![verdict(0, 9), opened(0, 1, 1), verdict(0, 2), verdict(0, 1)],
        vec![open(0, 1, 0), message(0, 1), message(0, 9), open(0, 2, 0), message(0, 1)],
        vec![open(0, 1, 0), open(63, 1, 1), message(63, 1), message(0, 1)],
    ];
    for frames in cases {
        assert_eq!(judge(&mut node(), &frames), None);
    }
}

#[test]
fn a_sequence_from_an_earlier_session_is_told_again_and_not_delivered() {
    let mut node = node();
    assert_eq!(judge(&mut node, &[open(0, 1, 0), message(0, 1), message(0, 2)]), None);
    let (machine, agents) = (Side::Right.machine(), vec![Side::Right.agent()]);
    node.handle(Input::Session(session::Event::Opened(session::Opened {
        peer: machine,
        agents,
        incarnation: 0,
        send_window: PLENTY,
        contact: Contact::default(),
        round_trip: Duration::ZERO,
    })));
    assert_eq!(judge(&mut node, &[open(0, 1, 0)]), None);
    let mut outputs =
        node.handle(Input::Session(session::Event::Frame { peer: machine, frame: message(0, 2) }));
    outputs.extend(node.settle());
    let run = Run { through: 2, verdict: Verdict::Accepted };
    let header = verdict_header(0, run);
    assert_eq!(
        outputs,
        [Output::Session(session::Request::Send { peer: machine, header, payload: Bytes::new() })]
    );
    assert_eq!(node.counters.get(Counter::MessagesDuplicate), 1);
}

#[test]
fn frames_of_a_machine_without_a_session_are_counted() {
    let mut node = Node::new(Side::Left.agent(), 0, start());
    assert_eq!(judge(&mut node, &[open(0, 1, 0)]), None);
    assert_eq!(node.counters.get(Counter::FramesUnknown), 1);
}
