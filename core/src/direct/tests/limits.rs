//! Each limit, filled.

use std::time::Duration;

use bytes::Bytes;

use super::super::frames::{
    Frame, Open, Opened, Run, Verdict, decode, message_header, verdict_header,
};
use super::super::{
    BLOCKED_MAX, BYTES_MAX, CHANNELS_MAX, CONVERSATIONS_MAX, DirectError, Input, MESSAGE_COST,
    Output, PAYLOAD_MAX, RECIPIENT_BYTES_MAX, RECIPIENT_MESSAGES_MAX, RECORDS_MAX, RUNS_MAX,
    RefuseReason, RequestError, TICK_MILLIS,
};
use super::harness::{Node, PLENTY, Side, World};
use crate::direct::Counter;
use crate::identity::{AgentId, MachineId};
use crate::session;
use crate::session::Contact;
use crate::support::testing::start;

const TIMEOUT: Duration = Duration::from_secs(10);

fn node() -> Node {
    Node::new(Side::Left.agent(), 0, start())
}

fn id(number: usize) -> [u8; 32] {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    bytes
}

fn up(machine: MachineId, agents: Vec<AgentId>) -> Input {
    Input::Session(session::Event::Opened(session::Opened {
        peer: machine,
        agents,
        incarnation: 0,
        send_window: PLENTY,
        contact: Contact::default(),
        round_trip: Duration::ZERO,
    }))
}

#[test]
fn a_payload_has_a_largest_size() {
    let node = node();
    let (size, size_max) = (PAYLOAD_MAX + 1, PAYLOAD_MAX);
    for agent in [Side::Left.agent(), Side::Right.agent()] {
        assert_eq!(node.state.check(&agent, PAYLOAD_MAX), Ok(()));
        let result = node.state.check(&agent, size);
        assert_eq!(result, Err(RequestError::TooLarge { size, size_max }));
    }
}

#[test]
fn a_recipient_has_a_largest_number_of_messages_waiting() {
    let mut node = node();
    let agent = Side::Right.agent();
    for number in 0..RECIPIENT_MESSAGES_MAX as u64 {
        node.send(number, agent, Bytes::new());
    }
    assert_eq!(node.state.check(&agent, 0), Err(RequestError::QueueFull));
    assert_eq!(node.state.check(&AgentId([3; 32]), 0), Ok(()));
    node.handle(Input::NoRoute { agent });
    assert_eq!(node.state.check(&agent, 0), Ok(()));
}

#[test]
fn a_recipient_and_all_recipients_have_a_largest_number_of_bytes_waiting() {
    let mut node = node();
    let payload = Bytes::from(vec![0; PAYLOAD_MAX]);
    let each = RECIPIENT_BYTES_MAX / PAYLOAD_MAX;
    let agents = BYTES_MAX / RECIPIENT_BYTES_MAX;
    for number in 0..each * agents - 1 {
        let agent = AgentId(id(number / each));
        assert_eq!(node.state.check(&agent, PAYLOAD_MAX), Ok(()));
        node.send(number as u64, agent, payload.clone());
    }
    assert_eq!(node.state.check(&AgentId(id(0)), 1), Err(RequestError::QueueFull));
    assert_eq!(node.state.check(&AgentId(id(0)), 0), Ok(()));
    let left = PAYLOAD_MAX - each * agents * MESSAGE_COST;
    let other = AgentId(id(99));
    assert_eq!(node.state.check(&other, left + 1), Err(RequestError::QueueFull));
    assert_eq!(node.state.check(&other, left), Ok(()));
}

#[test]
fn an_idle_conversation_makes_room_for_a_new_one() {
    let mut node = node();
    for number in 0..CONVERSATIONS_MAX {
        node.send(number as u64, AgentId(id(number)), Bytes::new());
    }
    let (other, third) = (AgentId([3; 32]), AgentId([4; 32]));
    assert_eq!(node.state.check(&other, 0), Err(RequestError::QueueFull));
    assert_eq!(node.state.check(&AgentId(id(7)), 0), Ok(()));
    node.handle(Input::NoRoute { agent: AgentId(id(7)) });
    assert_eq!(node.state.check(&other, 0), Ok(()));
    node.send(9999, other, Bytes::new());
    assert_eq!(node.state.check(&third, 0), Err(RequestError::QueueFull));
}

#[test]
fn a_conversation_that_was_forgotten_in_a_session_begins_anew_on_its_channel() {
    let mut world = World::connected();
    world.send(Side::Left, Duration::from_millis(TICK_MILLIS));
    while world.deliver(Side::Right) {}
    // The message times out, and the conversation is forgotten before the answers are back.
    world.advance(Duration::from_millis(TICK_MILLIS));
    let left = &mut world.at(Side::Left).node;
    for number in 0..CONVERSATIONS_MAX {
        left.send(number as u64, AgentId(id(number)), Bytes::new());
    }
    left.handle(Input::NoRoute { agent: AgentId(id(0)) });
    world.send(Side::Left, TIMEOUT);
    world.settle(Side::Right);
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [1, 2]);
    assert!(matches!(world.at(Side::Left).ended[..], [(1, Err(_)), (2, Ok(_))]));
}

#[test]
fn agents_of_a_machine_beyond_the_channels_are_not_sent_to() {
    let mut node = node();
    let agents = (0..=CHANNELS_MAX).map(|number| AgentId(id(number))).collect();
    node.handle(up(Side::Right.machine(), agents));
    let last = node.send(1, AgentId(id(CHANNELS_MAX - 1)), Bytes::new());
    assert!(matches!(
        last[..],
        [
            Output::Session(session::Request::Send { .. }),
            Output::Session(session::Request::Send { .. })
        ]
    ));
    let agent = AgentId(id(CHANNELS_MAX));
    assert_eq!(node.send(2, agent, Bytes::new()), [Output::WantPeer { agent }]);
}

#[test]
fn a_record_without_room_forgets_its_oldest_verdicts_but_not_that_there_were_some() {
    let mut world = World::connected();
    let changes = RUNS_MAX as u64 + 1;
    for change in 0..changes {
        let blocked = change % 2 == 1;
        world.handle(Side::Right, Input::SetBlocked { agent: Side::Left.agent(), blocked });
        world.send(Side::Left, TIMEOUT);
        while world.deliver(Side::Right) {}
        world.settle(Side::Right);
    }
    assert_eq!(world.count(Side::Right, Counter::RecordsForgotten), 1);
    world.disconnect();
    world.connect();
    world.run();
    let ended = world.at(Side::Left).ended.clone();
    assert_eq!(ended.len() as u64, changes);
    for (id, result) in ended {
        match (id, id % 2) {
            (1 | 2, _) => assert_eq!(result, Err(DirectError::RecipientRestarted)),
            (_, 1) => assert!(result.is_ok(), "{id}"),
            _ => assert_eq!(result, Err(DirectError::Refused(RefuseReason::Blocked)), "{id}"),
        }
    }
}

#[test]
fn verdicts_that_were_not_told_go_out_before_they_are_forgotten() {
    let mut world = World::new();
    world.connect();
    world.handle(
        Side::Right,
        Input::Session(session::Event::Writable { peer: Side::Left.machine(), send_window: 0 }),
    );
    for change in 0..=RUNS_MAX {
        let blocked = change % 2 == 1;
        world.handle(Side::Right, Input::SetBlocked { agent: Side::Left.agent(), blocked });
        world.send(Side::Left, TIMEOUT);
        while world.deliver(Side::Right) {}
    }
    world.run();
    let ended = &world.at(Side::Left).ended;
    assert_eq!(ended.len(), RUNS_MAX);
    assert!(ended.iter().all(|(_, result)| *result != Err(DirectError::RecipientRestarted)));
}

/// A node with as many records in sessions as it can have.
fn full() -> (Node, usize) {
    let mut node = node();
    let machines = RECORDS_MAX / CHANNELS_MAX;
    for machine in 0..machines {
        let agents = (0..CHANNELS_MAX).map(|channel| AgentId(id(channel))).collect();
        node.handle(up(MachineId(id(machine)), agents));
        for channel in 0..CHANNELS_MAX {
            open(&mut node, machine, channel, 1);
        }
        node.settle();
    }
    (node, machines)
}

fn open(node: &mut Node, machine: usize, channel: usize, attempt: u64) {
    let machine = MachineId(id(machine));
    let channel = u8::try_from(channel).unwrap();
    let to = Side::Left.agent();
    let open =
        Open { channel, conversation: 1, from: channel, to, first: 1, attempt, since: attempt };
    assert_eq!(
        node.handle(Input::Session(session::Event::Frame { peer: machine, frame: open.encode() })),
        []
    );
}

fn born(outputs: &[Output]) -> Vec<u64> {
    let mut born = Vec::new();
    for output in outputs {
        if let Output::Session(session::Request::Send { payload, .. }) = output
            && let Ok(Frame::Opened(Opened { born: of, .. })) = decode(payload.clone())
        {
            born.push(of);
        }
    }
    born
}

#[test]
fn a_node_with_too_many_conversations_in_sessions_refuses_the_next() {
    let (mut node, machines) = full();
    let machine = MachineId(id(machines));
    node.handle(up(machine, vec![AgentId(id(0))]));
    open(&mut node, machines, 0, 1);
    node.settle();
    let frame = Bytes::copy_from_slice(message_header(0, 1).as_slice());
    let mut outputs = node.handle(Input::Session(session::Event::Frame { peer: machine, frame }));
    outputs.extend(node.settle());
    let run = Run { through: 1, verdict: Verdict::Refused(RefuseReason::Full) };
    let header = verdict_header(0, run);
    assert_eq!(
        outputs,
        [Output::Session(session::Request::Send { peer: machine, header, payload: Bytes::new() })]
    );
}

#[test]
fn a_node_forgets_the_oldest_conversations_without_a_session() {
    let (mut node, machines) = full();
    for machine in 0..machines {
        node.handle(Input::Session(session::Event::Closed { peer: MachineId(id(machine)) }));
    }
    assert_eq!(node.counters.get(Counter::RecordsForgotten), 0);
    let agents = vec![AgentId(id(0))];
    node.handle(up(MachineId(id(machines)), agents.clone()));
    open(&mut node, machines, 0, 1);
    node.handle(Input::Session(session::Event::Closed { peer: MachineId(id(machines)) }));
    assert_eq!(node.counters.get(Counter::RecordsForgotten), 1);
    for (machine, expected) in [(0, 2), (1, 1)] {
        node.handle(up(MachineId(id(machine)), agents.clone()));
        open(&mut node, machine, 0, 2);
        assert_eq!(born(&node.settle()), [expected], "machine {machine}");
    }
}

#[test]
fn there_is_a_largest_number_of_blocked_agents() {
    let mut node = node();
    for number in 0..BLOCKED_MAX {
        node.handle(Input::SetBlocked { agent: AgentId(id(number)), blocked: true });
    }
    let agent = AgentId([3; 32]);
    assert!(!node.state.can_block(&agent) && node.state.can_block(&AgentId(id(0))));
    node.handle(Input::SetBlocked { agent, blocked: true });
    assert_eq!(node.counters.get(Counter::BlocksOverLimit), 1);
    node.handle(Input::SetBlocked { agent: AgentId(id(0)), blocked: false });
    assert!(node.state.can_block(&agent));
}
