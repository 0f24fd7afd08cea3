//! What a node answers to its application, without a peer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::direct;
use x0x_core::direct::{DirectError, PAYLOAD_MAX, RefuseReason};
use x0x_core::identity::{AgentId, AgentKey, MachineKey};
use x0x_core::link;
use x0x_core::link::{ConnectError, LinkConfig};
use x0x_core::node::control;
use x0x_core::node::*;
use x0x_core::overlay;

const SECOND: Duration = Duration::from_secs(1);
const STRANGER: AgentId = AgentId([9; 32]);

struct Case {
    node: Node,
    time: Time,
    commands: u64,
    writes: Vec<WriteId>,
}

impl Case {
    fn new() -> Self {
        Self::restored(Restored::default()).expect("the node starts")
    }

    #[expect(clippy::disallowed_methods, reason = "an instant has no other constructor")]
    fn restored(restored: Restored) -> Result<Self, StartError> {
        let time = Time { now: Instant::now(), unix_time: Duration::from_secs(1_750_000_000) };
        let node = Node::new(config(), [1; 32], restored, time)?;
        Ok(Self { node, time, commands: 0, writes: Vec::new() })
    }

    fn command(&mut self, request: impl Into<Request>) -> Result<CommandId, CommandError> {
        self.commands += 1;
        let id = CommandId(self.commands);
        let command = Command { id, request: request.into() };
        self.node.handle_command(self.time, command).map(|()| id)
    }

    /// Drains the node: its events, and its deadline.
    fn drain(&mut self) -> (Vec<Event>, Option<Deadline>) {
        let (mut events, mut buf) = (Vec::new(), Vec::new());
        loop {
            match self.node.poll_output(&mut buf) {
                Output::Transmit(_) | Output::Load(_) | Output::Settled => {}
                Output::Store(batch) => self.writes.push(batch.id),
                Output::Event(event) => events.push(event),
                Output::Idle { deadline } => return (events, deadline),
            }
        }
    }
}

fn config() -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[1; 32]),
        agent_key: AgentKey::from_seed(&[2; 32]),
        certificate: None,
        sockets: vec![([192, 0, 2, 1], 5483).into()],
        link: LinkConfig::default(),
        overlay: overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    }
}

fn own_agent() -> AgentId {
    config().agent_key.id()
}

fn connect(address: ([u8; 4], u16), timeout: Duration) -> Connect {
    let target = Target::Address { address: address.into(), machine: None };
    Connect { target, keep: false, timeout }
}

fn send(recipient: AgentId, size: usize, timeout: Duration) -> SendDirect {
    SendDirect { recipient, payload: vec![0; size].into(), timeout }
}

fn reply(command: CommandId, reply: Reply) -> Event {
    Event::Reply { command, reply }
}

#[test]
fn a_command_that_cannot_be_done_is_refused_and_changes_nothing() {
    let mut case = Case::new();
    let long = TIMEOUT_MAX + Duration::from_nanos(1);
    let too_long = CommandError::Link(link::RequestError::TimeoutTooLong { timeout: long });
    let invalid = |address: ([u8; 4], u16)| {
        CommandError::Link(link::RequestError::InvalidAddress { address: address.into() })
    };
    let (size, size_max) = (PAYLOAD_MAX + 1, PAYLOAD_MAX);
    let cases: Vec<(Request, CommandError)> = vec![
        (connect(([192, 0, 2, 2], 5483), long).into(), too_long),
        (
            send(STRANGER, 1, long).into(),
            CommandError::Direct(direct::RequestError::TimeoutTooLong { timeout: long }),
        ),
        (
            send(STRANGER, size, SECOND).into(),
            CommandError::Direct(direct::RequestError::TooLarge { size, size_max }),
        ),
        (connect(([192, 0, 2, 2], 0), SECOND).into(), invalid(([192, 0, 2, 2], 0))),
        (connect(([0, 0, 0, 0], 5483), SECOND).into(), invalid(([0, 0, 0, 0], 5483))),
        (connect(([224, 0, 0, 1], 5483), SECOND).into(), invalid(([224, 0, 0, 1], 5483))),
    ];
    for (request, error) in cases {
        let shown = format!("{request:.80?}");
        assert_eq!(case.command(request), Err(error), "{shown}");
    }
    let address = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 5483).into();
    let target = Target::Address { address, machine: None };
    let refused = case.command(Connect { target, keep: false, timeout: SECOND });
    assert_eq!(refused, Err(CommandError::Link(link::RequestError::NoSocket { address })));
    assert_eq!(case.drain().0, []);
}

#[test]
fn a_connect_that_nobody_answers_ends_in_time() {
    let mut case = Case::new();
    let id = case.command(connect(([192, 0, 2, 2], 5483), SECOND)).unwrap();
    let end = case.time.now + SECOND;
    let events = loop {
        let (events, deadline) = case.drain();
        if !events.is_empty() {
            break events;
        }
        case.time = case.time.at(deadline.expect("somebody waits").at);
        assert!(case.time.now <= end, "the reply is late");
        case.node.handle_timeout(case.time);
    };
    assert_eq!(
        (events, case.time.now),
        (vec![reply(id, Reply::Link(link::Reply::Connect(Err(ConnectError::Timeout))))], end)
    );
}

#[test]
fn a_message_to_an_agent_that_nobody_knows_ends_at_once() {
    let mut case = Case::new();
    let id = case.command(send(STRANGER, 1, SECOND)).unwrap();
    let unknown = Err(DirectError::UnknownRecipient);
    assert_eq!(case.drain().0, [reply(id, Reply::Direct(direct::Reply::SendDirect(unknown)))]);
}

#[test]
fn events_leave_before_the_first_datagram_and_the_application_has_its_turn_between() {
    let mut case = Case::new();
    case.command(connect(([192, 0, 2, 2], 5483), SECOND)).unwrap();
    case.command(send(own_agent(), 1, SECOND)).unwrap();
    let mut outputs = Vec::new();
    for _ in 0..4 {
        outputs.push(case.node.poll_output(&mut Vec::new()));
    }
    assert!(
        matches!(
            outputs[..],
            [
                Output::Event(Event::Direct(direct::Event::Received { .. })),
                Output::Event(Event::Reply { command: CommandId(2), .. }),
                Output::Settled,
                Output::Transmit(_),
            ]
        ),
        "{outputs:?}"
    );
}

#[test]
fn what_the_application_asks_in_its_turn_is_settled_before_the_first_datagram() {
    let mut case = Case::new();
    case.command(connect(([192, 0, 2, 2], 5483), SECOND)).unwrap();
    let poll = |case: &mut Case| case.node.poll_output(&mut Vec::new());
    assert_eq!(poll(&mut case), Output::Settled);
    case.command(send(own_agent(), 1, SECOND)).unwrap();
    assert!(matches!(poll(&mut case), Output::Event(_)));
    assert!(matches!(poll(&mut case), Output::Event(_)));
    assert_eq!(poll(&mut case), Output::Settled);
    assert!(matches!(poll(&mut case), Output::Transmit(_)));
}

#[test]
fn a_block_counts_at_once_is_answered_when_it_is_stored_and_survives_a_restart() {
    let mut case = Case::new();
    let block = case.command(SetBlocked { agent: own_agent(), blocked: true }).unwrap();
    let sent = case.command(send(own_agent(), 1, SECOND)).unwrap();
    let refused =
        Reply::Direct(direct::Reply::SendDirect(Err(DirectError::Refused(RefuseReason::Blocked))));
    assert_eq!(case.drain().0, [reply(sent, refused.clone())]);
    case.node.handle_stored(case.time, case.writes[0], Ok(()));
    assert_eq!(
        case.drain().0,
        [reply(block, Reply::Control(control::Reply::SetBlocked(BlockedSet)))]
    );

    let key = Bytes::copy_from_slice(&own_agent().0);
    let record = Record {
        table: Table::Control(control::Table::Blocked),
        key,
        value: Bytes::from_static(&[1]),
    };
    let mut case = Case::restored(Restored { records: vec![record] }).unwrap();
    let sent = case.command(send(own_agent(), 1, SECOND)).unwrap();
    assert_eq!(case.drain().0, [reply(sent, refused)]);
}

#[test]
fn a_node_whose_store_fails_halts_and_says_so_once() {
    let mut case = Case::new();
    case.command(SetBlocked { agent: STRANGER, blocked: true }).unwrap();
    case.drain();
    case.node.handle_stored(case.time, case.writes[0], Err(StoreError::Full));
    let halted = Event::Halted(Fatal::Store(StoreError::Full));
    assert_eq!(case.drain(), (vec![halted], None));
    assert_eq!(case.command(ListPeers), Err(CommandError::Halted));
    case.node.handle_timeout(case.time.at(case.time.now + SECOND));
    assert_eq!(case.drain(), (vec![], None));
}

#[test]
fn a_record_that_cannot_be_read_names_its_place() {
    for (key, value) in [(&[7; 32][..], &[0xff][..]), (&[7; 31][..], &[][..])] {
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let record = Record { table: Table::Link(link::Table::Peers), key, value };
        let error = Case::restored(Restored { records: vec![record] }).err();
        let Some(StartError::CorruptRecord { table: "peers", key, .. }) = error else {
            panic!("{error:?}")
        };
        assert!(key.starts_with("0707"), "{key}");
    }
    let (key, value) = (Bytes::from_static(&[7; 32]), Bytes::from_static(&[2]));
    let record = Record { table: Table::Control(control::Table::Blocked), key, value };
    let error = Case::restored(Restored { records: vec![record] }).err();
    assert!(matches!(error, Some(StartError::CorruptRecord { table: "blocked", .. })), "{error:?}");
}

#[test]
fn shutting_down_answers_everybody_and_takes_no_more_commands() {
    let mut case = Case::new();
    let connects =
        [2, 3].map(|host| case.command(connect(([192, 0, 2, host], 5483), SECOND)).unwrap());
    let shut_down = case.command(ShutDown).unwrap();
    let (mut events, _) = case.drain();
    assert_eq!(events.pop(), Some(reply(shut_down, Reply::Control(control::Reply::ShutDown(())))));
    let cancelled = |id| reply(id, Reply::Link(link::Reply::Connect(Err(ConnectError::Cancelled))));
    assert_eq!(events, connects.map(cancelled));
    assert_eq!(case.command(ListPeers), Err(CommandError::ShutDown));
}

#[test]
fn views_of_topics_outside_their_range_are_refused() {
    type Set = fn(&mut overlay::Config, usize);
    fn steps(value: usize) -> u8 {
        value.try_into().unwrap()
    }
    let settings: [(&str, usize, Set); 4] = [
        ("active_max", overlay::ACTIVE_MAX, |views, value| views.active_max = value),
        ("passive_max", overlay::PASSIVE_MAX, |views, value| views.passive_max = value),
        ("walk_steps", overlay::WALK_STEPS_MAX.into(), |views, value| {
            (views.walk_steps, views.passive_walk_steps) = (steps(value), 1);
        }),
        ("passive_walk_steps", 6, |views, value| views.passive_walk_steps = steps(value)),
    ];
    for (setting, most, set) in settings {
        let start = |value| {
            let mut config = config();
            set(&mut config.overlay, value);
            Node::new(config, [3; 32], Restored::default(), Case::new().time).err()
        };
        assert_eq!((start(1), start(most)), (None, None));
        for value in [0, most + 1] {
            assert_eq!(
                start(value),
                Some(StartError::InvalidNumber { name: setting, value, most })
            );
        }
    }
}

#[test]
fn versions_that_no_node_speaks_are_refused() {
    let start = |oldest, newest| {
        let mut config = config();
        config.link.versions = oldest..=newest;
        Node::new(config, [3; 32], Restored::default(), Case::new().time).err()
    };
    for (oldest, newest) in [(1, 1), (1, 2), (2, 2)] {
        assert_eq!(start(oldest, newest), None);
    }
    let refused = |name, value, most| Some(StartError::InvalidNumber { name, value, most });
    assert_eq!(start(0, 1), refused("versions.start", 0, 1));
    assert_eq!(start(2, 1), refused("versions.start", 2, 1));
    assert_eq!(start(1, 3), refused("versions.end", 3, 2));
    assert_eq!(start(0, 0), refused("versions.end", 0, 2));
}

#[test]
fn a_setting_beyond_a_year_is_refused() {
    type Set = fn(&mut LinkConfig, Duration);
    let settings: [(&str, Set); 5] = [
        ("idle_timeout", |link, value| link.idle_timeout = value),
        ("keep_alive", |link, value| (link.keep_alive, link.idle_timeout) = (value, value)),
        ("redial_pause_min", |link, value| link.redial_pause_min = value),
        ("redial_pause_max", |link, value| link.redial_pause_max = value),
        ("dial_timeout", |link, value| link.dial_timeout = value),
    ];
    for (setting, set) in settings {
        let mut config = config();
        set(&mut config.link, Duration::MAX);
        let time = Case::new().time;
        let refused = Node::new(config, [3; 32], Restored::default(), time);
        assert!(matches!(refused, Err(StartError::InvalidConfig { .. })), "{setting}");
    }
}
