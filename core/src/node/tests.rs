//! The order in which a node reports events, and what its modules share.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Command, CommandId, Config, Counter, Deadline, Event, Fatal, Node, Output, Reply, Restored,
    StoreError, Table, Time,
};
use crate::direct;
use crate::identity::{AgentId, AgentKey, MachineId, MachineKey};
use crate::link;
use crate::link::{Class, DownReason, LinkConfig, Output as Link};
use crate::support::testing::start;

pub(super) fn config() -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[1; 32]),
        agent_key: AgentKey::from_seed(&[2; 32]),
        certificate: None,
        sockets: vec![([192, 0, 2, 1], 5483).into()],
        link: LinkConfig::default(),
        overlay: crate::overlay::Config::default(),
        memory: crate::support::MemoryBudget::DEFAULT,
    }
}

#[test]
fn a_message_is_told_before_the_end_of_its_session() {
    let config = config();
    let recipient = config.agent_key.id();
    let unix_time = Duration::from_secs(1_750_000_000);
    let mut node =
        Node::new(config, [3; 32], Restored::default(), Time { now: start(), unix_time }).unwrap();

    let (machine, agent) = (MachineId([7; 32]), AgentId([8; 32]));
    let address = ([192, 0, 2, 2], 5483).into();
    let open = [&[1, 0], &[9; 8][..], &[0], &recipient.0, &[1, 1, 1]].concat();
    let frame = |frame: Vec<u8>| Link::Frame { machine, class: Class::Direct, frame: frame.into() };
    let time = node.time();
    node.modules.link.run(time, |_, context| {
        context.emit(Link::PeerUp { machine, agents: vec![agent], incarnation: 1, address });
        context.emit(frame(open));
        context.emit(frame(b"\x03\x00\x01hello".to_vec()));
        context.emit(Link::PeerDown { machine, reason: DownReason::Protocol });
    });
    node.route();

    let mut told = Vec::new();
    while let Output::Event(event) = node.poll_output(&mut Vec::new()) {
        told.push(event);
    }
    let [
        Event::Link(link::Event::PeerUp { .. }),
        Event::Direct(direct::Event::Received { payload, .. }),
        Event::Link(link::Event::PeerDown { .. }),
    ] = told.as_slice()
    else {
        panic!("{told:?}");
    };
    assert_eq!(payload, &Bytes::from("hello"));
}

/// What a node wants, up to its idleness.
fn drain(node: &mut Node) -> Vec<Output> {
    let mut buf = Vec::new();
    let outputs = std::iter::from_fn(|| {
        let output = node.poll_output(&mut buf);
        (!matches!(output, Output::Idle { .. })).then_some(output)
    });
    outputs.collect()
}

/// A node with the module of notes, and a session that brought it a frame.
fn noted(frame: &'static [u8]) -> (Node, Time, MachineId) {
    let time = Time { now: start(), unix_time: Duration::from_secs(1_750_000_000) };
    let mut node = Node::new(config(), [3; 32], Restored::default(), time).unwrap();
    let machine = MachineId([7; 32]);
    node.modules.link.run(time, |_, context| {
        let frame = Bytes::from_static(frame);
        context.emit(Link::Frame { machine, class: Class::Bulk, frame });
    });
    node.route();
    (node, time, machine)
}

#[test]
fn a_module_makes_an_event_wait_for_its_write_and_reads_what_it_wrote() {
    let (mut node, time, machine) = noted(b"remember");
    let [Output::Store(batch)] = &drain(&mut node)[..] else { panic!("a write, no event") };
    assert_eq!(batch.puts[0].table, Table::Notes(crate::notes::Table::Notes));
    assert_eq!(batch.puts[0].table.name(), "notes");

    node.handle_stored(time, batch.id, Ok(()));
    let kept = Event::Notes(crate::notes::Event::Kept { machine });
    assert_eq!(drain(&mut node), [Output::Event(kept), Output::Settled]);

    let request = crate::notes::ReadNote { machine };
    let command = Command { id: CommandId(1), request: request.into() };
    node.handle_command(time, command).unwrap();
    let [Output::Load(load), Output::Settled] = &drain(&mut node)[..] else { panic!("a read") };
    assert_eq!((load.key.as_ref(), load.range.clone()), (&machine.0[..], 0..4));
    node.handle_loaded(time, load.id, Ok(Bytes::from_static(b"reme")));
    let reply = Reply::Notes(crate::notes::Reply::ReadNote(Some(Bytes::from_static(b"reme"))));
    let reply = Event::Reply { command: CommandId(1), reply };
    assert_eq!(drain(&mut node), [Output::Event(reply), Output::Settled]);
}

#[test]
fn a_write_that_fails_halts_the_node_and_what_waited_for_it_never_leaves() {
    let (mut node, time, _) = noted(b"remember");
    let [Output::Store(batch)] = &drain(&mut node)[..] else { panic!("a write, no event") };
    node.handle_stored(time, batch.id, Err(StoreError::Full));
    let halted = Event::Halted(Fatal::Store(StoreError::Full));
    assert_eq!(drain(&mut node), [Output::Event(halted)]);
}

#[test]
fn the_timers_and_counters_of_a_module_show_in_the_node() {
    let (node, time, _) = noted(b"remember");
    let deadline = node.modules.deadline().unwrap();
    let at = time.now + crate::notes::RECEIPT_DELAY;
    assert_eq!(deadline, Deadline { at, timer: "receipt" });
    let (node, ..) = noted(&[0; crate::notes::NOTE_BYTES_MAX + 1]);
    let counters = node.modules.counters();
    assert_eq!(counters.get(crate::notes::Counter::TooLong), 1);
    assert!(counters.non_zero().any(|(name, count)| (name, count) == ("notes_too_long", 1)));
}

#[test]
fn no_two_tables_and_no_two_counters_share_a_name() {
    let tables: Vec<&str> = Table::all().map(Table::name).collect();
    let counters: Vec<&str> = Counter::all().map(Counter::label).collect();
    for names in [tables, counters] {
        let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }
}

#[test]
fn a_clock_that_was_set_is_noticed_with_the_next_input() {
    let time = Time { now: start(), unix_time: Duration::from_secs(1_750_000_000) };
    let mut node = Node::new(config(), [3; 32], Restored::default(), time).unwrap();
    let second = Duration::from_secs(1);
    let near = Time { now: time.now + second, unix_time: time.unix_time + second / 2 };
    node.handle_timeout(near);
    assert_eq!(node.time().unix_time, time.unix_time + second, "clocks differ a little");
    let set = Time { now: near.now, unix_time: time.unix_time + 3600 * second };
    node.handle_timeout(set);
    assert_eq!(node.time(), set);
    let back = Time { now: time.now, unix_time: time.unix_time };
    node.handle_timeout(back);
    assert_eq!(node.time(), Time { now: set.now, unix_time: back.unix_time });
}
