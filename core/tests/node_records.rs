//! The versioned forms of a node's inputs and events, compared with `golden/node.txt`.
//!
//! `UPDATE_GOLDEN=1` rewrites the file: review the difference as code.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use x0x_core::crypto::hash::blake3;
use x0x_core::direct;
use x0x_core::direct::{DirectError, RefuseReason};
use x0x_core::identity::{AgentId, AgentKey, MachineId, MachineKey};
use x0x_core::link;
use x0x_core::link::{ConnectError, DownReason, LinkConfig, PingError};
use x0x_core::node::control;
use x0x_core::node::*;
use x0x_core::transport::{Datagram, Ecn};
use x0x_core::wire::{self, DecodeError, Versioned};

const MACHINE: MachineId = MachineId([0xaa; 32]);
const AGENT: AgentId = AgentId([0xbb; 32]);
const SECOND: Duration = Duration::from_secs(1);

fn requests() -> Vec<Request> {
    let address = ([192, 0, 2, 1], 5483).into();
    let connect = |target| Connect { target, keep: true, timeout: SECOND }.into();
    vec![
        connect(Target::Address { address, machine: Some(MACHINE) }),
        connect(Target::Machine(MACHINE)),
        connect(Target::Agent(AGENT)),
        Disconnect { machine: MACHINE }.into(),
        SendDirect { recipient: AGENT, payload: Bytes::from_static(b"hello"), timeout: SECOND }
            .into(),
        SetBlocked { agent: AGENT, blocked: true }.into(),
        ChangeNetwork { sockets: vec![address] }.into(),
        ListPeers.into(),
        ProbePeer { machine: MACHINE, timeout: SECOND }.into(),
        GetCounters.into(),
        ShutDown.into(),
    ]
}

fn inputs() -> Vec<Input> {
    let datagram = Datagram {
        source: ([192, 0, 2, 1], 5483).into(),
        local: ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 5483).into(),
        ecn: Some(Ecn::Ect0),
        payload: BytesMut::from(&b"datagram"[..]),
    };
    let commands = requests().into_iter().zip(1..).map(|(request, id)| {
        let id = CommandId(id);
        Input::Command(Command { id, request })
    });
    let others = [
        Input::Datagram(datagram),
        Input::Timeout,
        Input::Stored(WriteId(1), Err(StoreError::Full)),
        Input::Loaded(LoadId(1), Ok(Bytes::from_static(b"value"))),
    ];
    others.into_iter().chain(commands).collect()
}

fn events() -> Vec<Event> {
    let address = ([192, 0, 2, 1], 5483).into();
    let agents = vec![AGENT];
    let peer = PeerInfo {
        machine: MACHINE,
        agents: agents.clone(),
        address,
        round_trip: SECOND,
        connected_for: SECOND,
    };
    let connected = Connected { machine: MACHINE, agents: agents.clone(), address, already: false };
    let replies = [
        Reply::Link(link::Reply::Connect(Ok(connected))),
        Reply::Link(link::Reply::Connect(Err(ConnectError::Timeout))),
        Reply::Link(link::Reply::Disconnect(Disconnected { existed: true })),
        Reply::Direct(direct::Reply::SendDirect(Ok(DirectAcknowledged { elapsed: SECOND }))),
        Reply::Direct(direct::Reply::SendDirect(Err(DirectError::Refused(RefuseReason::Blocked)))),
        Reply::Control(control::Reply::SetBlocked(BlockedSet)),
        Reply::Link(link::Reply::ChangeNetwork(NetworkChanged { moving: 3 })),
        Reply::Link(link::Reply::ListPeers(vec![peer])),
        Reply::Link(link::Reply::ProbePeer(Ok(PeerProbed { round_trip: SECOND }))),
        Reply::Link(link::Reply::ProbePeer(Err(PingError::Timeout))),
        Reply::Control(control::Reply::GetCounters(Counters::default())),
        Reply::Control(control::Reply::ShutDown(())),
    ];
    let replies = replies.into_iter().map(|reply| Event::Reply { command: CommandId(7), reply });
    let others = [
        Event::Link(link::Event::PeerUp { machine: MACHINE, agents, address }),
        Event::Link(link::Event::PeerDown { machine: MACHINE, reason: DownReason::TimedOut }),
        Event::Link(link::Event::PathChanged { machine: MACHINE, address }),
        Event::Direct(direct::Event::Received {
            sender: AGENT,
            machine: MACHINE,
            recipient: AGENT,
            payload: Bytes::from_static(b"hello"),
            received_at: SECOND,
        }),
        Event::Halted(Fatal::Store(StoreError::Failed("disk".into()))),
    ];
    replies.chain(others).collect()
}

fn config() -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[1; 32]),
        agent_key: AgentKey::from_seed(&[2; 32]),
        certificate: None,
        sockets: vec![([192, 0, 2, 1], 5483).into()],
        link: LinkConfig::default(),
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    }
}

fn restored() -> Restored {
    let (key, value) = (Bytes::from_static(&[0xbb; 32]), Bytes::from_static(&[1]));
    Restored {
        records: vec![Record { table: Table::Control(control::Table::Blocked), key, value }],
    }
}

/// A form as a line, after it was read back; without its counters, of which new ones come.
fn line<T: Versioned + Serialize + DeserializeOwned>(name: &str, value: &T) -> String {
    let bytes = wire::encode(value);
    let again: T = wire::decode(&bytes).expect("what was written can be read");
    assert_eq!(wire::encode(&again), bytes, "{name}");
    let hex = bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all text");
        text
    });
    if hex.len() > 400 {
        format!("{name} blake3 {:02x?}\n", &blake3(&bytes)[..8])
    } else {
        format!("{name} {hex}\n")
    }
}

#[test]
fn the_forms_are_the_golden_ones_and_can_be_read_back() {
    let mut text = String::new();
    for (number, input) in inputs().into_iter().enumerate() {
        if let Input::Command(command) = &input {
            text += &line(&format!("command {number}"), command);
        }
        text +=
            &line(&format!("step {number}"), &Step { at: SECOND, unix_time: 3 * SECOND, input });
    }
    for (number, event) in events().into_iter().enumerate() {
        let grows = matches!(
            event,
            Event::Reply { reply: Reply::Control(control::Reply::GetCounters(_)), .. }
        );
        let line = line(&format!("event {number}"), &event);
        text += if grows { "" } else { &line };
    }
    text += &line("config", &config());
    text += &line("restored", &restored());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/node.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(text, golden);
}

#[test]
fn another_version_is_refused() {
    let step = Step { at: SECOND, unix_time: SECOND, input: Input::Timeout };
    let mut bytes = wire::encode(&step).to_vec();
    bytes[0] = 2;
    let expected = Err(DecodeError::UnknownVersion { found: 2, known: 1 });
    assert_eq!(wire::decode::<Step>(&bytes), expected);
}
