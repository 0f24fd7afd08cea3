//! What becomes of messages when sessions break and nodes restart.

use std::time::Duration;

use bytes::Bytes;

use super::super::{Acknowledged, DirectError, Input, Output, RefuseReason};
use super::harness::{End, Node, Side, World};
use crate::identity::{AgentId, MachineId};
use crate::session;
use crate::session::Contact;
use crate::support::testing::start;

const TIMEOUT: Duration = Duration::from_secs(10);
const ACKNOWLEDGED: End = Ok(Acknowledged { elapsed: Duration::ZERO });
const RESTARTED: End = Err(DirectError::RecipientRestarted);

fn send(world: &mut World, count: u64) {
    for _ in 0..count {
        world.send(Side::Left, TIMEOUT);
    }
}

fn ends(result: End, ids: impl IntoIterator<Item = u64>) -> Vec<(u64, End)> {
    ids.into_iter().map(|id| (id, result)).collect()
}

#[test]
fn messages_are_delivered_in_order_and_acknowledged_with_one_frame() {
    let mut world = World::connected();
    send(&mut world, 100);
    while world.deliver(Side::Right) {}
    world.settle(Side::Right);
    assert_eq!(world.at(Side::Left).inbox.len(), 1, "the answer has the verdicts");
    world.run();
    assert_eq!(world.at(Side::Right).delivered, Vec::from_iter(1..=100));
    assert_eq!(world.at(Side::Left).ended, ends(ACKNOWLEDGED, 1..=100));
    assert_eq!(world.at(Side::Left).node.state.deadline(), None);
}

#[test]
fn messages_before_a_session_ask_for_one_and_go_out_when_it_comes() {
    let mut world = World::new();
    send(&mut world, 3);
    assert_eq!(world.at(Side::Left).wanted, 1);
    world.connect();
    world.disconnect();
    assert_eq!(world.at(Side::Left).wanted, 2);
    world.restart(Side::Left);
    send(&mut world, 2);
    world.connect();
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [4, 5]);
}

#[test]
fn what_the_recipient_took_before_the_break_is_acknowledged_and_the_rest_is_sent_again() {
    let mut world = World::connected();
    send(&mut world, 5);
    for _ in 0..4 {
        assert!(world.deliver(Side::Right), "the opening and three messages");
    }
    world.disconnect();
    send(&mut world, 1);
    world.connect();
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [1, 2, 3, 4, 5, 6]);
    assert_eq!(world.at(Side::Left).ended, ends(ACKNOWLEDGED, 1..=6));
}

#[test]
fn what_was_in_flight_when_the_recipient_restarted_ends_and_the_rest_goes_on() {
    let mut world = World::connected();
    send(&mut world, 3);
    world.deliver(Side::Right);
    world.deliver(Side::Right);
    world.restart(Side::Right);
    world.leave(Side::Left);
    send(&mut world, 2);
    world.connect();
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [1, 4, 5]);
    let expected = [ends(RESTARTED, 1..=3), ends(ACKNOWLEDGED, 4..=5)].concat();
    assert_eq!(world.at(Side::Left).ended, expected);
}

#[test]
fn a_record_that_began_after_the_messages_went_out_proves_nothing_about_them() {
    let mut world = World::connected();
    send(&mut world, 2);
    world.deliver(Side::Right);
    world.deliver(Side::Right);
    world.restart(Side::Right);
    world.leave(Side::Left);
    // The second opening makes a record, but its answer is lost. The third finds that record.
    world.connect();
    assert!(world.deliver(Side::Right));
    world.disconnect();
    world.connect();
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [1]);
    assert_eq!(world.at(Side::Left).ended, ends(RESTARTED, 1..=2));
}

#[test]
fn messages_lost_with_an_opening_are_sent_again_if_the_recipient_kept_its_record() {
    let mut world = World::connected();
    send(&mut world, 1);
    world.run();
    world.disconnect();
    world.connect();
    send(&mut world, 2);
    world.disconnect();
    world.connect();
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [1, 2, 3]);
    assert_eq!(world.at(Side::Left).ended, ends(ACKNOWLEDGED, 1..=3));
}

#[test]
fn a_sender_that_restarted_begins_anew() {
    let mut world = World::connected();
    send(&mut world, 3);
    world.run();
    world.restart(Side::Left);
    world.leave(Side::Right);
    send(&mut world, 3);
    world.connect();
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_new_session_replaces_the_old_without_a_word() {
    let mut world = World::connected();
    send(&mut world, 3);
    world.connect();
    world.run();
    send(&mut world, 1);
    world.run();
    world.connect();
    send(&mut world, 1);
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [1, 2, 3, 4, 5]);
    assert_eq!(world.at(Side::Left).ended, ends(ACKNOWLEDGED, 1..=5));
}

#[test]
fn a_message_times_out_at_the_next_tick_and_is_not_sent_again() {
    let mut world = World::connected();
    world.send(Side::Left, Duration::from_millis(101));
    world.leave(Side::Left);
    world.send(Side::Left, Duration::from_millis(101));
    world.send(Side::Left, TIMEOUT);
    world.advance(Duration::from_millis(149));
    assert_eq!(world.at(Side::Left).ended, []);
    world.advance(Duration::from_millis(1));
    let sent = Err(DirectError::Timeout { sent: true });
    let unsent = Err(DirectError::Timeout { sent: false });
    assert_eq!(world.at(Side::Left).ended, [(1, sent), (2, unsent)]);
    world.connect();
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [3]);
    let elapsed = Duration::from_millis(150);
    assert_eq!(world.at(Side::Left).ended[2], (3, Ok(Acknowledged { elapsed })));
}

#[test]
fn a_timeout_beyond_all_time_never_comes() {
    let mut world = World::new();
    world.send(Side::Left, Duration::MAX);
    assert_eq!(world.at(Side::Left).node.state.deadline(), None);
    world.send(Side::Left, Duration::ZERO);
    world.advance(Duration::from_millis(50));
    let unsent = Err(DirectError::Timeout { sent: false });
    assert_eq!(world.at(Side::Left).ended, [(2, unsent)]);
}

#[test]
fn every_message_ends_when_the_node_shuts_down() {
    let mut world = World::connected();
    send(&mut world, 1);
    world.handle(
        Side::Left,
        Input::Session(session::Event::Writable { peer: Side::Right.machine(), send_window: 0 }),
    );
    send(&mut world, 1);
    world.handle(Side::Left, Input::ShutDown);
    let end = |sent| Err(DirectError::ShutDown { sent });
    assert_eq!(world.at(Side::Left).ended, [(1, end(true)), (2, end(false))]);
    assert_eq!(world.at(Side::Left).node.state.deadline(), None);
}

#[test]
fn without_a_route_what_is_not_in_flight_ends() {
    let mut world = World::connected();
    send(&mut world, 1);
    world.handle(Side::Left, Input::NoRoute { agent: Side::Right.agent() });
    assert_eq!(world.at(Side::Left).ended, [], "there is a session");
    world.leave(Side::Left);
    send(&mut world, 2);
    world.handle(Side::Left, Input::NoRoute { agent: Side::Right.agent() });
    let unknown = Err(DirectError::UnknownRecipient);
    assert_eq!(world.at(Side::Left).ended, ends(unknown, 2..=3));
    let wanted = world.at(Side::Left).wanted;
    send(&mut world, 1);
    assert_eq!(world.at(Side::Left).wanted, wanted + 1);
}

#[test]
fn a_blocked_sender_is_refused_until_it_no_longer_is() {
    let mut world = World::connected();
    let block = |blocked| Input::SetBlocked { agent: Side::Left.agent(), blocked };
    send(&mut world, 1);
    world.run();
    world.handle(Side::Right, block(true));
    send(&mut world, 1);
    world.run();
    world.connect();
    send(&mut world, 1);
    world.run();
    world.handle(Side::Right, block(false));
    send(&mut world, 1);
    world.run();
    assert_eq!(world.at(Side::Right).delivered, [1, 4]);
    let refused = Err(DirectError::Refused(RefuseReason::Blocked));
    let expected = [(1, ACKNOWLEDGED), (2, refused), (3, refused), (4, ACKNOWLEDGED)];
    assert_eq!(world.at(Side::Left).ended, expected);
}

#[test]
fn a_message_to_an_agent_that_is_not_here_is_refused() {
    let mut world = World::connected();
    // The other node has the wrong agent.
    let now = world.at(Side::Right).node.now;
    world.at(Side::Right).node = Node::new(AgentId([77; 32]), 9, now);
    world.enter(Side::Right);
    send(&mut world, 2);
    world.run();
    let refused = Err(DirectError::Refused(RefuseReason::NotHere));
    assert_eq!(world.at(Side::Left).ended, ends(refused, 1..=2));
}

#[test]
fn a_message_to_an_agent_of_this_node_is_delivered_at_once() {
    let agent = Side::Left.agent();
    let mut node = Node::new(agent, 0, start());
    let payload = Bytes::from_static(b"to myself");
    let outputs = node.send(1, agent, payload.clone());
    let (id, result) = (super::super::SendId(1), ACKNOWLEDGED);
    let received = Output::Received { sender: agent, machine: None, recipient: agent, payload };
    assert_eq!(outputs, [received, Output::Ended { id, result }]);
    node.handle(Input::SetBlocked { agent, blocked: true });
    let result = Err(DirectError::Refused(RefuseReason::Blocked));
    assert_eq!(node.send(1, agent, Bytes::new()), [Output::Ended { id, result }]);
}

#[test]
fn frames_go_out_only_while_there_is_room_and_verdicts_go_first() {
    let mut world = World::new();
    world.room = 0;
    world.connect();
    send(&mut world, 3);
    assert_eq!(world.at(Side::Right).inbox.len(), 0);
    let room = |room| {
        Input::Session(session::Event::Writable { peer: Side::Right.machine(), send_window: room })
    };
    world.handle(Side::Left, room(1));
    assert_eq!(world.at(Side::Right).inbox.len(), 1, "the opening, over the room");
    world.handle(Side::Left, room(12));
    assert_eq!(world.at(Side::Right).inbox.len(), 3, "eleven bytes, and one message over");
    world.run();
    assert_eq!(world.at(Side::Left).inbox.len(), 0);
    world.send(Side::Right, TIMEOUT);
    let room = |room| {
        Input::Session(session::Event::Writable { peer: Side::Left.machine(), send_window: room })
    };
    world.handle(Side::Right, room(1));
    assert_eq!(world.at(Side::Left).inbox.len(), 1, "the answer before the opening");
    world.run();
    assert_eq!(world.at(Side::Left).ended, ends(ACKNOWLEDGED, 1..=2));
}

#[test]
fn what_is_in_flight_ends_when_another_machine_answers_for_the_recipient() {
    let mut node = Node::new(Side::Left.agent(), 0, start());
    let agent = Side::Right.agent();
    let up = |machine| {
        Input::Session(session::Event::Opened(session::Opened {
            peer: MachineId([machine; 32]),
            agents: vec![agent],
            incarnation: 0,
            send_window: super::harness::PLENTY,
            contact: Contact::default(),
            round_trip: Duration::ZERO,
        }))
    };
    node.handle(up(1));
    node.handle(up(2));
    assert_eq!(node.send(5, agent, Bytes::new()).len(), 2);
    let outputs = node.handle(Input::Session(session::Event::Closed { peer: MachineId([1; 32]) }));
    let ended = Output::Ended { id: super::super::SendId(5), result: RESTARTED };
    assert_eq!(outputs, [ended]);
    let outputs = node.send(6, agent, Bytes::new());
    let to = |output: &Output| matches!(output, Output::Session(session::Request::Send { peer: machine, .. }) if machine.0[0] == 2);
    assert!(outputs.len() == 2 && outputs.iter().all(to));
}
