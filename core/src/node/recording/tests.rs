//! Recordings of a node that talks with another one, in virtual time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::direct;
use crate::gossip;
use crate::gossip::Topic;
use crate::identity::{AgentId, AgentKey, MachineKey};
use crate::link;
use crate::link::LinkConfig;
use crate::node::*;
use crate::support::testing::{check_golden, hex, start};
use crate::transport::Datagram;

const LIMIT: u64 = 16 << 20;
const MS: Duration = Duration::from_millis(1);
const RECORDED: usize = 0;

/// Two nodes with a network that takes a millisecond. The first is recorded.
struct Pair {
    nodes: [Node; 2],
    recorder: Recorder,
    file: Vec<u8>,
    started: Instant,
    now: Instant,
    deadlines: [Option<Instant>; 2],
    /// What is on its way: when it arrives, at whom.
    flying: VecDeque<(Instant, usize, Datagram)>,
    stored: VecDeque<(usize, WriteId)>,
    commands: u64,
    received: usize,
}

fn address(number: usize) -> std::net::SocketAddr {
    ([192, 0, 2, 1 + u8::try_from(number).unwrap()], 5483).into()
}

fn header(number: usize) -> Header {
    let seed = u8::try_from(number).unwrap() + 1;
    Header {
        program: Header::PROGRAM.to_owned(),
        config: Config {
            machine_key: MachineKey::from_seed(&[seed; 32]),
            agent_key: AgentKey::from_seed(&[seed + 100; 32]),
            certificate: None,
            sockets: vec![address(number)],
            link: LinkConfig::default(),
            overlay: overlay::Config::default(),
            memory: crate::support::MemoryBudget::DEFAULT,
        },
        seed: [seed; 32],
        restored: Restored::default(),
        unix_time: Duration::from_secs(1_750_000_000),
    }
}

/// Both clocks at the start.
fn time(now: Instant) -> Time {
    Time { now, unix_time: header(0).unix_time }
}

fn agent(number: usize) -> AgentId {
    header(number).config.agent_key.id()
}

impl Pair {
    fn new(bytes_max: u64) -> Self {
        let now = start();
        let node = |number| header(number).node(now).unwrap();
        Self {
            nodes: [node(0), node(1)],
            recorder: Recorder::new(&header(RECORDED), now, bytes_max).unwrap(),
            file: Vec::new(),
            started: now,
            now,
            deadlines: [None; 2],
            flying: VecDeque::new(),
            stored: VecDeque::new(),
            commands: 0,
            received: 0,
        }
    }

    fn time(&self) -> Time {
        time(self.started).at(self.now)
    }

    fn input(&mut self, number: usize, input: Input) -> Result<(), CommandError> {
        if number != RECORDED {
            return self.nodes[number].handle(self.time(), input);
        }
        self.recorder.input(self.time(), &input);
        let answer = self.nodes[number].handle(self.time(), input);
        self.recorder.answered(&answer);
        answer
    }

    fn command(&mut self, number: usize, request: impl Into<Request>) -> Result<(), CommandError> {
        self.commands += 1;
        let id = CommandId(self.commands);
        self.input(number, Input::Command(Command { id, request: request.into() }))
    }

    fn drain(&mut self, number: usize) {
        let mut buf = Vec::new();
        loop {
            let output = self.nodes[number].poll_output(&mut buf);
            if number == RECORDED {
                self.recorder.polled(&output, &buf);
            }
            self.act(number, &output, &buf);
            if let Output::Idle { deadline } = output {
                self.deadlines[number] = deadline.map(|deadline| deadline.at);
                break;
            }
        }
        if number == RECORDED {
            self.file.extend(self.recorder.take());
        }
    }

    fn act(&mut self, number: usize, output: &Output, buf: &[u8]) {
        match output {
            Output::Transmit(transmit) => {
                let size = transmit.segment_size.unwrap_or(transmit.size);
                for payload in buf[..transmit.size].chunks(size) {
                    let (source, local) = (transmit.local, transmit.target);
                    let payload = BytesMut::from(payload);
                    let datagram = Datagram { source, local, ecn: transmit.ecn, payload };
                    self.flying.push_back((self.now + MS, 1 - number, datagram));
                }
            }
            Output::Store(batch) => self.stored.push_back((number, batch.id)),
            Output::Event(
                Event::Direct(direct::Event::Received { .. })
                | Event::Gossip(gossip::Event::Received { .. }),
            ) => {
                self.received += 1;
            }
            Output::Event(_) | Output::Load(_) | Output::Settled | Output::Idle { .. } => {}
        }
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain(0);
            self.drain(1);
            if let Some((number, id)) = self.stored.pop_front() {
                self.input(number, Input::Stored(id, Ok(()))).unwrap();
                continue;
            }
            let arrival = self.flying.front().map(|flying| flying.0);
            let next = self.deadlines.iter().flatten().copied().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while let Some((_, number, datagram)) =
                self.flying.pop_front_if(|flying| flying.0 <= next)
            {
                self.input(number, Input::Datagram(datagram)).unwrap();
            }
            for number in 0..2 {
                if self.deadlines[number].is_some_and(|at| at <= self.now) {
                    self.input(number, Input::Timeout).unwrap();
                }
            }
        }
        self.now = end;
    }

    /// The whole conversation.
    fn talk(&mut self) {
        let timeout = Duration::from_secs(5);
        let target = Target::Address { address: address(1), machine: None };
        self.command(0, Connect { target, keep: true, timeout }).unwrap();
        self.pass(Duration::from_secs(1));
        let topic = Topic::new("a").unwrap();
        for number in 0..2 {
            self.command(number, Subscribe { topic: topic.clone() }).unwrap();
        }
        self.pass(Duration::from_secs(1));
        for round in 0_u8..20 {
            for number in 0..2 {
                let recipient = agent(1 - number);
                let payload = Bytes::copy_from_slice(&[round; 1000]);
                let send = SendDirect { recipient, payload: payload.clone(), timeout };
                self.command(number, send).unwrap();
                self.command(number, Publish { topic: topic.clone(), payload }).unwrap();
            }
            self.pass(Duration::from_millis(u64::from(round)));
        }
        self.command(0, SetBlocked { agent: AgentId([9; 32]), blocked: true }).unwrap();
        let long = TIMEOUT_MAX + timeout;
        let refused = self.command(0, Connect { target, keep: true, timeout: long });
        assert!(matches!(
            refused,
            Err(CommandError::Link(link::RequestError::TimeoutTooLong { .. }))
        ));
        self.pass(Duration::from_secs(20));
        self.command(0, GetCounters).unwrap();
        self.command(0, ShutDown).unwrap();
        self.pass(Duration::from_secs(1));
    }
}

/// The conversation, recorded.
fn conversation() -> Vec<u8> {
    let mut pair = Pair::new(LIMIT);
    pair.talk();
    // Each message comes once; one of a topic also at its author.
    assert_eq!(pair.received, 40 + 80);
    pair.recorder.finish(End::NodeEnded);
    pair.file.extend(pair.recorder.take());
    assert_eq!(pair.file.len(), usize::try_from(pair.recorder.size()).unwrap());
    pair.file
}

fn replay(file: &[u8]) -> Result<Tally, ReplayError> {
    // A time of its own, so that nothing can depend on it.
    Replay::open(file.to_vec(), start() + Duration::from_secs(12_345))?.run()
}

/// Where each frame starts, and where the last one ends.
fn frames(file: &[u8]) -> Vec<usize> {
    let mut places = vec![FORMAT.len()];
    let mut at = FORMAT.len();
    while at < file.len() {
        let (length, size) = wire::varint::read(&file[at..]).unwrap();
        at += size + usize::try_from(length).unwrap();
        places.push(at);
    }
    places
}

fn entries(file: &[u8]) -> Vec<Entry> {
    let places = frames(file);
    let frames = places.windows(2).skip(1).map(|place| {
        let frame = &file[place[0]..place[1]];
        let (_, size) = wire::varint::read(frame).unwrap();
        wire::decode(&frame[size..]).unwrap()
    });
    frames.collect()
}

#[test]
fn a_recorded_node_does_the_same_again() {
    let file = conversation();
    let mut replay = Replay::open(file.clone(), start()).unwrap();
    let (mut told, mut sent, mut refused, mut last) = (0, 0, 0, Duration::ZERO);
    let tally = replay.visit(|at, moment| {
        assert!(at >= last);
        last = at;
        match moment {
            Moment::Output(
                Output::Event(Event::Direct(direct::Event::Received { payload, .. })),
                _,
            ) => {
                assert_eq!(payload.len(), 1000);
                told += 1;
            }
            Moment::Output(Output::Transmit(transmit), bytes) => {
                sent += transmit.size.min(bytes.len())
            }
            Moment::Refused(CommandError::Link(link::RequestError::TimeoutTooLong { .. })) => {
                refused += 1
            }
            Moment::Refused(_) | Moment::Output(..) | Moment::Input(_) => {}
        }
    });
    let tally = tally.unwrap();
    assert_eq!((told, refused), (20, 1));
    assert_eq!(tally.bytes_sent, u64::try_from(sent).unwrap());
    assert!(tally.elapsed > Duration::from_secs(22) && tally.inputs > 100, "{tally:?}");
    assert_eq!((tally.end, tally.bytes_left), (Some(End::NodeEnded), 0));
    assert_eq!(tally.entries, u64::try_from(entries(&file).len()).unwrap());
}

#[test]
fn a_changed_datagram_is_found_where_it_came() {
    let file = conversation();
    let all = entries(&file);
    let places = frames(&file);
    let (mut datagrams, mut tried) = (0, 0);
    for (index, entry) in all.iter().enumerate() {
        let Entry::Input(Step { input: Input::Datagram(datagram), .. }) = entry else { continue };
        datagrams += 1;
        // A datagram of the link that holds more than an acknowledgement.
        if datagrams % 40 != 0 || datagram.payload.len() < 100 {
            continue;
        }
        tried += 1;
        let mut changed = file.clone();
        changed[places[index + 2] - 20] ^= 1;
        let Err(ReplayError::Diverged(divergence)) = replay(&changed) else {
            panic!("datagram {datagrams} was changed")
        };
        let drained = all.iter().skip(index).position(|entry| !matches!(entry, Entry::Input(_)));
        let expected = u64::try_from(index + drained.unwrap() + 1).unwrap();
        let found = divergence.entry;
        // An output that was ready shows it first, or the drain that follows.
        assert!((expected..=expected + 1).contains(&found), "{found}, not {expected}");
        let after = &divergence.after;
        assert!(after.contains("a datagram of") || after == "a timeout", "{divergence}");
        assert!(divergence.expected.digest != divergence.expected.found);
    }
    assert!(tried >= 3, "{tried} of {datagrams}");
}

#[test]
fn a_recording_that_was_cut_replays_up_to_its_last_whole_entry() {
    let mut pair = Pair::new(LIMIT);
    let target = Target::Address { address: address(1), machine: None };
    let connect = Connect { target, keep: false, timeout: Duration::from_secs(5) };
    pair.command(0, connect).unwrap();
    pair.pass(Duration::from_millis(50));
    let file = pair.file;
    let places = frames(&file);
    let first = places[1];
    // Everything is checked near the ends of frames, and something of the rest.
    let is_near = |at: usize| places.iter().any(|place| place.abs_diff(at) <= 2);
    for cut in (0..=file.len()).filter(|&at| is_near(at) || at % 97 == 0) {
        let whole = places.iter().rposition(|place| *place <= cut);
        match replay(&file[..cut]) {
            Ok(tally) => {
                let whole = whole.unwrap();
                assert_eq!(tally.entries, u64::try_from(whole - 1).unwrap(), "cut at {cut}");
                assert_eq!(tally.end, None);
            }
            Err(error) => {
                assert!(cut < first, "cut at {cut}: {error}");
                let is_headless = cut >= FORMAT.len();
                let expected = if is_headless { ReplayError::Header } else { ReplayError::Format };
                assert_eq!(error, expected, "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_recording_never_grows_beyond_its_size_and_says_so() {
    let whole = u64::try_from(conversation().len()).unwrap();
    for limit in [whole / 7, whole / 2, whole - 1] {
        let mut pair = Pair::new(limit);
        pair.talk();
        assert_eq!(pair.recorder.end(), Some(End::Full));
        let size = u64::try_from(pair.file.len()).unwrap();
        assert!(size <= limit && size + 5000 > limit, "{size} of {limit}");
        assert_eq!(size, pair.recorder.size());
        let tally = replay(&pair.file).unwrap();
        assert_eq!((tally.end, tally.inputs), (Some(End::Full), pair.recorder.inputs()));
    }
    let error = Recorder::new(&header(0), start(), 100).unwrap_err();
    assert!(error.bytes > 100 && error.bytes_max == 100, "{error}");
}

#[test]
fn an_input_that_is_too_large_ends_the_recording() {
    let mut recorder = Recorder::new(&header(0), start(), 1 << 40).unwrap();
    let payload = Bytes::from(vec![0; FRAME_BYTES_MAX]);
    let send = SendDirect { recipient: agent(1), payload, timeout: MS };
    let command = Command { id: CommandId(1), request: send.into() };
    recorder.input(time(start()), &Input::Command(command));
    assert_eq!((recorder.end(), recorder.inputs()), (Some(End::InputTooLarge), 0));
    let tally = replay(&recorder.take()).unwrap();
    assert_eq!((tally.end, tally.entries), (Some(End::InputTooLarge), 1));
}

#[test]
fn many_outputs_have_several_entries() {
    let now = start();
    let mut recorder = Recorder::new(&header(0), now, LIMIT).unwrap();
    let mut node = header(0).node(now).unwrap();
    let mut buf = Vec::new();
    for _ in 0..DRAINED_MAX + 1 {
        let output = node.poll_output(&mut buf);
        recorder.polled(&output, &buf);
    }
    let file = recorder.take();
    let counts = entries(&file).into_iter().map(|entry| match entry {
        Entry::Poll { count, .. } => count,
        Entry::Input(_) | Entry::End(_) => panic!("nothing else was done"),
    });
    assert_eq!(counts.collect::<Vec<_>>(), [DRAINED_MAX, 1]);
    assert_eq!(replay(&file).unwrap().outputs, 0);
}

#[test]
fn what_no_driver_writes_is_refused() {
    let head = Recorder::new(&header(0), start(), LIMIT).unwrap().take();
    let step = |at, unix_time| Entry::Input(Step { at, unix_time, input: Input::Timeout });
    let list = |id| {
        let request = Connect {
            target: Target::Address { address: address(1), machine: None },
            keep: false,
            timeout: MS,
        };
        let command = Command { id: CommandId(id), request: request.into() };
        Entry::Input(Step { at: MS, unix_time: MS, input: Input::Command(command) })
    };
    let many = Entry::Poll { count: DRAINED_MAX + 1, digest: [0; 16] };
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("a time without end", vec![step(Duration::MAX, MS)]),
        ("a wall time without end", vec![step(MS, Duration::MAX)]),
        ("a number that waits already", vec![list(1), list(1)]),
        ("too many outputs", vec![many]),
    ];
    for (name, entries) in cases {
        let mut file = BytesMut::from(&head[..]);
        for entry in &entries {
            wire::write_frame(&mut file, &[&wire::encode(entry)]);
        }
        let entry = u64::try_from(entries.len()).unwrap();
        assert_eq!(replay(&file), Err(ReplayError::Entry { entry }), "{name}");
    }
    let mut file = BytesMut::from(&head[..]);
    wire::write_frame(&mut file, &[&[1, 9]]);
    assert_eq!(replay(&file), Err(ReplayError::Entry { entry: 1 }));
    let poll: Entry = Entry::Poll { count: 1, digest: [0; 16] };
    file.truncate(head.len());
    wire::write_frame(&mut file, &[&wire::encode(&poll)]);
    let Err(ReplayError::Diverged(divergence)) = replay(&file) else { panic!("it diverges") };
    let text = divergence.to_string();
    let expected = "entry 1 at 0.000000 s, after the start: the 1 outputs are not those";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_header_does_not_show_its_secrets() {
    let header = header(0);
    let shown = format!("{header:?}");
    for secret in [&header.seed[..], &header.config.machine_key.seed()[..]] {
        assert!(!shown.contains(&format!("{secret:?}")), "{shown}");
    }
}

#[test]
fn the_form_is_what_it_was() {
    let header = Header { program: "golden".to_owned(), ..header(0) };
    let now = start();
    let mut recorder = Recorder::new(&header, now, LIMIT).unwrap();
    let mut recorder_file = vec![("head", recorder.take())];
    let datagram = Datagram {
        source: address(1),
        local: address(0),
        ecn: None,
        payload: BytesMut::from(&b"hello"[..]),
    };
    let list = Command { id: CommandId(7), request: ListPeers.into() };
    for (name, input) in [
        ("timeout", Input::Timeout),
        ("datagram", Input::Datagram(datagram)),
        ("command", Input::Command(list)),
        ("stored", Input::Stored(WriteId(3), Ok(()))),
        ("loaded", Input::Loaded(LoadId(300), Err(StoreError::Missing))),
    ] {
        recorder.input(time(now).at(now + Duration::new(2, 300)), &input);
        recorder_file.push((name, recorder.take()));
    }
    recorder.polled(&Output::Event(Event::Halted(Fatal::Store(StoreError::Full))), &[]);
    recorder.polled(&Output::Idle { deadline: None }, &[]);
    recorder_file.push(("poll", recorder.take()));
    recorder.finish(End::Stopped);
    recorder_file.push(("end", recorder.take()));
    let lines = recorder_file.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes)));
    check_golden("recording.txt", &lines.collect::<String>());
}

#[test]
fn no_change_of_a_file_makes_the_reader_panic() {
    let mut pair = Pair::new(LIMIT);
    let target = Target::Address { address: address(1), machine: None };
    let timeout = Duration::from_secs(5);
    pair.command(0, Connect { target, keep: true, timeout }).unwrap();
    pair.pass(Duration::from_millis(50));
    let topic = Topic::new("a").unwrap();
    pair.command(0, Subscribe { topic }).unwrap();
    pair.pass(Duration::from_millis(50));
    let file = pair.file;
    let places = frames(&file);
    let mut rng = Rng::from_seed([7; 32]);
    let mut below =
        |bound: usize| usize::try_from(rng.below(u64::try_from(bound).unwrap())).unwrap();
    let (mut same, mut other) = (0, 0);
    for _ in 0..400 {
        let mut changed = file.clone();
        for _ in 0..=below(3) {
            // Mostly where lengths, variants and times are.
            let place = places[below(places.len() - 1)];
            let at = if below(4) == 0 { below(file.len()) } else { place + below(8) };
            let at = at.min(changed.len() - 1);
            match below(3) {
                0 => changed[at] ^= 1 << below(8),
                1 => changed[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
                _ => {
                    let end = (at + below(9)).min(changed.len());
                    drop(changed.drain(at..end));
                }
            }
        }
        match replay(&changed) {
            Ok(_) => same += 1,
            Err(_) => other += 1,
        }
    }
    assert!(same > 0 && other > 200, "{same} as before, {other} not");
}
