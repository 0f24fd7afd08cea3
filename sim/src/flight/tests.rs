//! Timelines of nodes that were recorded here.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use x0x_core::direct::DirectError;
use x0x_core::identity::{AgentId, AgentKey, MachineId, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::recording::{End, Header, Recorder};
use x0x_core::node::{
    CommandId, Config, Connect, DirectAcknowledged, Restored, ShutDown, TIMEOUT_MAX, Time,
};
use x0x_core::transport::Datagram;

use super::*;
use crate::report::markup;
use x0x_core::direct;
use x0x_core::link;

fn header() -> Header {
    Header {
        program: "<a program>".to_owned(),
        config: Config {
            machine_key: MachineKey::from_seed(&[1; 32]),
            agent_key: AgentKey::from_seed(&[2; 32]),
            certificate: None,
            sockets: vec![([192, 0, 2, 1], 5483).into()],
            link: LinkConfig::default(),
            overlay: x0x_core::overlay::Config::default(),
            memory: x0x_core::support::MemoryBudget::DEFAULT,
        },
        seed: [3; 32],
        restored: Restored::default(),
        unix_time: Duration::from_secs(1_750_000_000),
    }
}

/// A node that talks to itself and dials somebody who is not there.
fn recording() -> Bytes {
    let (header, start) = (header(), Instant::now());
    let mut node = header.node(start).expect("it starts");
    let mut recorder = Recorder::new(&header, start, 1 << 20).expect("there is room");
    let agent = header.config.agent_key.id();
    let connect = |timeout| Connect {
        target: Target::Address { address: ([192, 0, 2, 2], 5483).into(), machine: None },
        keep: false,
        timeout,
    };
    let send = SendDirect {
        recipient: agent,
        payload: Bytes::from_static(b"to myself"),
        timeout: Duration::from_secs(1),
    };
    let noise = Datagram {
        source: ([192, 0, 2, 9], 1).into(),
        local: header.config.sockets[0],
        ecn: None,
        payload: BytesMut::from(&[0; 30][..]),
    };
    let requests: [Request; 4] = [
        connect(Duration::from_secs(1)).into(),
        connect(TIMEOUT_MAX * 2).into(),
        send.into(),
        ShutDown.into(),
    ];
    let mut inputs = vec![Input::Datagram(noise)];
    let commands = requests.into_iter().zip(1..);
    inputs.extend(
        commands.map(|(request, id)| Input::Command(Command { id: CommandId(id), request })),
    );
    let mut buf = Vec::new();
    for (input, at) in inputs.into_iter().zip(1..) {
        let now = start + Duration::from_millis(at * 10);
        let time = Time { now: start, unix_time: header.unix_time }.at(now);
        recorder.input(time, &input);
        recorder.answered(&node.handle(time, input));
        loop {
            let output = node.poll_output(&mut buf);
            recorder.polled(&output, &buf);
            if matches!(output, Output::Idle { .. }) {
                break;
            }
        }
    }
    recorder.finish(End::NodeEnded);
    recorder.take()
}

#[test]
fn a_timeline_has_a_row_for_everything_that_happened() {
    let mut replay = Replay::open(recording(), Instant::now()).expect("it is a recording");
    let (timeline, result) = Timeline::of(&mut replay);
    let tally = result.expect("it is the same");
    let rows: Vec<String> = timeline.lines.iter().map(|line| timeline.row(line)).collect();
    for row in [
        "    0.010000  datagram in   192.0.2.9:1                    30",
        "    0.020000  command       192.0.2.2:5483                     Connect #1",
        "    0.030000  command       192.0.2.2:5483                     Connect #2",
        "    0.040000  command                                       9  SendDirect #3",
        "    0.040000  event                                         9  DirectReceived",
        "    0.040000  reply                                            SendDirect #3",
        "    0.050000  reply                                            ShutDown #4",
    ] {
        assert!(rows.iter().any(|found| found == row), "{row} is not in\n{}", rows.join("\n"));
    }
    assert!(rows.iter().any(|row| row.contains("refused") && row.contains("longer than a day")));
    assert!(rows.iter().any(|row| row.contains("Connect #1: ")), "{}", rows.join("\n"));
    assert!(rows.iter().any(|row| row.contains("datagram out  192.0.2.2:5483")));

    let page = page(replay.header(), &timeline, &tally, "identical: <all>");
    for part in ["&lt;a program&gt;", "identical: &lt;all&gt;", "192.0.2.9:1", "SendDirect #3"] {
        assert!(page.contains(part), "{part}");
    }
    markup::check(&page);
    assert!(!page.contains("to myself"), "the page shows a message");
    for part in ["this node: runs, 0.000 s to 0.050 s", "is shut down or halted", "refused: "] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
}

#[test]
fn a_page_shows_what_the_node_and_its_peers_said_to_each_other() {
    let second = Duration::from_secs(1);
    let (machine, agent) = (MachineId([1; 32]), AgentId([7; 32]));
    let send = |id| {
        let payload = Bytes::from_static(b"a secret");
        let request = SendDirect { recipient: agent, payload, timeout: second }.into();
        Command { id: CommandId(id), request }
    };
    let reply = |id, error: Option<DirectError>| Event::Reply {
        command: CommandId(id),
        reply: Reply::Direct(direct::Reply::SendDirect(match error {
            None => Ok(DirectAcknowledged { elapsed: second }),
            Some(error) => Err(error),
        })),
    };
    let address = ([192, 0, 2, 2], 1).into();
    let mut timeline = Timeline::default();
    timeline
        .event(second, &Event::Link(link::Event::PeerUp { machine, agents: vec![agent], address }));
    timeline.command(second * 2, &send(1));
    timeline.event(second * 3, &reply(1, None));
    timeline.command(second * 4, &send(2));
    timeline.event(second * 5, &reply(2, Some(DirectError::RecipientRestarted)));
    let reason = x0x_core::link::DownReason::TimedOut;
    timeline.event(second * 6, &Event::Link(link::Event::PeerDown { machine, reason }));
    let tally = Tally { elapsed: second * 8, ..Tally::default() };
    let page = page(&header(), &timeline, &tally, "identical");
    markup::check(&page);
    for part in [
        ">PeerUp at 192.0.2.2:1</text>",
        ">SendDirect #1, 8 bytes</text>",
        ">answer to SendDirect #1</text>",
        ">answer to SendDirect #2: the recipient's node restarted",
        ">PeerDown: TimedOut (01010101)</text>",
        "link, 1.000 s to 6.000 s</title>",
        "from the command to its answer, 1 in all",
        "number of links, at most 1.",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
}

#[test]
fn a_peer_gets_its_name_when_its_link_comes_up() {
    let second = Duration::from_secs(1);
    let (here, there) = (([192, 0, 2, 2], 1).into(), ([192, 0, 2, 3], 1).into());
    let (one, other) = (MachineId([1; 32]), MachineId([2; 32]));
    let mut peers = Peers::default();
    let peer = peers.received(here, 100);
    assert_eq!(peers.name(peer), "192.0.2.2:1");
    let mapped = "[::ffff:192.0.2.2]:1".parse().expect("an address");
    assert_eq!(peers.at(mapped), peer);
    assert_eq!(peers.up(second, one, &[AgentId([7; 32])], here), peer);
    assert_eq!(peers.name(peer), one.short());
    assert_eq!(peers.of_agent(&AgentId([7; 32])), Some(peer));
    assert_eq!(peers.moved(&one, there), Some(peer));
    assert_eq!(peers.sent(there, 3, 3000), peer);
    assert_eq!(peers.down(second * 2, &one), Some(peer));
    assert_eq!(peers.up(second * 3, one, &[], here), peer);
    // Another machine at the same address is another peer.
    let next = peers.up(second * 4, other, &[], here);
    assert_ne!(next, peer);
    let row = &peers.rows()[peer];
    assert_eq!((row.received, row.received_bytes, row.sent, row.sent_bytes), (1, 100, 3, 3000));
    assert_eq!(row.links, [(second, Some(second * 2)), (second * 3, None)]);
    assert_eq!(peers.down(second, &MachineId([9; 32])), None);
}
