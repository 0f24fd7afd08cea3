//! Flight recordings: whatever a file holds, it replays or is refused.

use std::time::Duration;

use x0x_core::link::LinkConfig;
use x0x_core::node::recording::{End, Header, Recorder, Replay};
use x0x_core::node::{
    Command, CommandId, Config, Connect, GetCounters, Input, Output, Request, Restored, SendDirect,
    Target, Time,
};

use crate::bench::{Who, address, socket};
use crate::fixture::UNIX_TIME;
use crate::start;

/// A file, and the same bytes as the entries behind a good header.
pub fn node_recording(data: &[u8]) {
    replay(data.to_vec());
    replay([&head()[..], data].concat());
}

fn replay(file: Vec<u8>) {
    let Ok(mut replay) = Replay::open(file, start()) else { return };
    // Other outputs than those that were recorded end it, too.
    if let Ok(tally) = replay.run() {
        assert_eq!(replay.run(), Ok(tally), "nothing follows the end");
    }
}

fn header() -> Header {
    let (machine_key, agent_key) = Who::Tested.keys();
    Header {
        program: "fuzz".to_owned(),
        config: Config {
            machine_key,
            agent_key,
            certificate: None,
            sockets: vec![socket(Who::Tested)],
            link: LinkConfig::default(),
            overlay: x0x_core::overlay::Config::default(),
            memory: x0x_core::support::MemoryBudget::DEFAULT,
        },
        seed: [21; 32],
        restored: Restored::default(),
        unix_time: UNIX_TIME,
    }
}

fn recorder() -> Recorder {
    Recorder::new(&header(), start(), 1 << 20).expect("there is room")
}

fn head() -> Vec<u8> {
    recorder().take().to_vec()
}

/// A recording of a node that dials and talks to itself: whole, and without its header.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (mut node, mut recorder) = (header().node(start()).expect("it starts"), recorder());
    let timeout = Duration::from_secs(1);
    let target = Target::Address { address: address(0), machine: None };
    let recipient = Who::Tested.keys().1.id();
    let requests: [Request; 3] = [
        Connect { target, keep: true, timeout }.into(),
        SendDirect { recipient, payload: vec![7; 9].into(), timeout }.into(),
        GetCounters.into(),
    ];
    let commands = requests.into_iter().zip(1..);
    let commands =
        commands.map(|(request, id)| Input::Command(Command { id: CommandId(id), request }));
    let inputs = commands.chain((0..4).map(|_| Input::Timeout));
    let mut buf = Vec::new();
    for (input, at) in inputs.zip(0..) {
        // After the commands, the wall clock is set ahead.
        let set = Duration::from_secs(if at > 3 { 600 } else { 0 });
        let begun = Time { now: start(), unix_time: UNIX_TIME + set };
        let time = begun.at(start() + Duration::from_millis(at * 400));
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
    recorder.finish(End::Stopped);
    let file = recorder.take().to_vec();
    let entries = file[head().len()..].to_vec();
    vec![file, entries]
}
