//! What the core costs, in memory: no sockets, one thread that does the work of all ends.
//!
//! ```sh
//! cargo bench -p x0x-core --features native-crypto --bench core [name …]
//! ```
//!
//! A name is `handshakes`, `round-trips`, `messages`, `bulk` or `memory`; without one, all run.
//! Each ratio compares candidates that took turns in the same run, so that a noisy machine harms
//! both. The floor of most rows is bare `quinn-proto` with the same TLS, windows and driver.
//! A value is the median of several runs, with the least and the greatest beside it.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command as Process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::crypto::{CryptoError, HmacKey};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    ServerConfig, StreamEvent, TransportConfig, VarInt,
};
use x0x_core::crypto::entropy::Entropy;
use x0x_core::crypto::hash::blake3_keyed;
use x0x_core::crypto::tls::{KeyExchange, TlsConfigs, WallClock, server_name};
use x0x_core::identity::{AgentKey, MachineId, MachineKey};
use x0x_core::link::{self, Class, LinkConfig, LinkIdentity};
use x0x_core::node::{
    Command, CommandId, Config, Connect, Event, Node, Output, Reply, Restored, SendDirect, Target,
};
use x0x_core::support::{Context, Counters, Outbox, Rng};
use x0x_core::transport::{Datagram, PEER_STREAMS_MAX, STREAM_WINDOW, Transmit};

/// How often each candidate runs.
const RUNS: usize = 5;

const UNIX_TIME: Duration = Duration::from_secs(1_800_000_000);

/// How long every connection and message may take; none comes near it.
const TIMEOUT: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [kind] if kind == "memory-of-nodes" => return println!("{}", memory_of(nodes(MESH))),
        [kind] if kind == "memory-of-bare" => return println!("{}", memory_of(bare(MESH))),
        // `cargo test` starts benchmarks, too, without this argument and without optimisation.
        _ if !arguments.iter().any(|argument| argument == "--bench") => return,
        _ => {}
    }
    let names: Vec<&String> = arguments.iter().filter(|name| !name.starts_with('-')).collect();
    let rows: [(&str, fn()); 5] = [
        ("handshakes", handshakes),
        ("round-trips", round_trips),
        ("messages", messages),
        ("bulk", bulk),
        ("memory", memory),
    ];
    println!("{:<12} {:<42} {:>10} {:<10} {:>15} ratio", "row", "of", "median", "unit", "range");
    for (name, run) in rows {
        if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
            run();
        }
    }
}

// The rows.

/// Full handshakes, each between two ends that have never met.
fn handshakes() {
    const PAIRS: usize = 200;
    let [whole, floor] = samples([
        &mut || {
            let mut worlds: Vec<_> = (0..PAIRS).map(|_| World::new(nodes(2))).collect();
            rate(PAIRS, || worlds.iter_mut().for_each(World::connect))
        },
        &mut || {
            let mut worlds: Vec<_> = (0..PAIRS).map(|_| World::new(bare(2))).collect();
            rate(PAIRS, || worlds.iter_mut().for_each(World::connect))
        },
    ]);
    row("handshakes", "two nodes, until both are up", "/s", &whole, Some(&floor));
    row("handshakes", "bare quinn-proto, same TLS", "/s", &floor, None);
}

/// When things happen over a path of 50 ms each way. The first datagram of an application that
/// has one by then goes with the first 1-RTT packets.
fn round_trips() {
    const ONE_WAY: Duration = Duration::from_millis(50);
    let mut world = World::new(nodes(2));
    world.delay = ONE_WAY;
    let start = world.now;
    world.connect();
    let up_at = world.now;
    let payload = Bytes::from_static(b"hello");
    world.ends[0].outgoing = Some(Outgoing::new(1, 1, payload));
    world.is_quiet = false;
    world.run_until(|ends| ends[0].acknowledged == 1);
    let [client, server] = [&world.ends[0], &world.ends[1]];
    let hello_arrived = server.up_at.unwrap();
    let moments = [
        ("the client's first 1-RTT packet leaves", client.first_short_at.unwrap()),
        ("the last of the client's hello leaves", hello_arrived - ONE_WAY),
        ("the server is up", hello_arrived),
        ("the client is up, so both are", up_at),
        ("a direct message, sent then, is acknowledged", client.acknowledged_at.unwrap()),
    ];
    for (of, at) in moments {
        let count = (at - start).as_secs_f64() / (2 * ONE_WAY).as_secs_f64();
        println!("{:<12} {of:<42} {count:>10.2} {:<10}", "round-trips", "after");
    }
}

/// Direct messages that are acknowledged, against the same bytes on one bare stream.
fn messages() {
    const COUNT: usize = 200_000;
    const SIZE: usize = 256;
    let mut whole = [1, 64, 4096].map(|in_flight| {
        let mut world = World::new(nodes_with_mtu(2, 1452));
        world.connect();
        move || {
            let count = if in_flight == 1 { COUNT / 10 } else { COUNT };
            let goal = world.ends[0].acknowledged + count;
            let payload = Bytes::from_static(&[7; SIZE]);
            world.ends[0].outgoing = Some(Outgoing::new(count, in_flight, payload));
            world.is_quiet = false;
            rate(count, || world.run_until(|ends| ends[0].acknowledged == goal)) / 1e3
        }
    });
    let mut pipe = World::new(bare_with_mtu(2, 1452));
    pipe.connect();
    let [one, some, many] = &mut whole;
    let [one, some, many, floor] =
        samples([one, some, many, &mut || pipe.transfer(COUNT * SIZE) / SIZE as f64 / 1e3]);
    row("messages", "256 B, acknowledged, 4096 in flight", "1000/s", &many, Some(&floor));
    row("messages", "256 B, acknowledged, 64 in flight", "1000/s", &some, Some(&floor));
    row("messages", "256 B, acknowledged, one by one", "1000/s", &one, Some(&floor));
    row("messages", "the payload alone on a bare stream", "1000/s", &floor, None);
}

/// Frames of the class bulk, against the same payload on one bare stream.
fn bulk() {
    const BYTES: usize = 256 << 20;
    let mut links = World::new(links(2));
    links.connect();
    let mut pipe = World::new(bare_with_mtu(2, 1452));
    pipe.connect();
    let [framed, floor] =
        samples([&mut || links.transfer(BYTES) / 1e9, &mut || pipe.transfer(BYTES) / 1e9]);
    row("bulk", "frames of 64 KiB over a link", "GB/s", &framed, Some(&floor));
    row("bulk", "bare quinn-proto, one stream", "GB/s", &floor, None);
}

/// How many ends are connected with one another for the row `memory`.
const MESH: usize = 46;

/// Resident memory of one end of an idle connection. A process of its own for each sample keeps
/// what other rows freed out of it.
fn memory() {
    let of = |kind: &str| {
        let output = Process::new(std::env::current_exe().unwrap()).arg(kind).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<f64>().unwrap()
    };
    let [whole, floor] = samples([&mut || of("memory-of-nodes"), &mut || of("memory-of-bare")]);
    row("memory", "RSS, one end of 1,035 idle links", "KiB", &whole, Some(&floor));
    row("memory", "RSS, bare quinn-proto, same TLS", "KiB", &floor, None);
}

/// Connects all with all, lets them be idle for a while and returns KiB for each end.
fn memory_of<E: End>(ends: Vec<E>) -> f64 {
    let count = ends.len();
    let mut world = World::new(ends);
    let before = resident_bytes();
    world.connect();
    let end = world.now + Duration::from_secs(60);
    while world.now < end {
        world.step();
    }
    (resident_bytes() - before) / 1024.0 / (count * (count - 1)) as f64
}

fn resident_bytes() -> f64 {
    const PAGE: f64 = 4096.0;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * PAGE
}

// Measuring and printing.

struct Sample {
    median: f64,
    least: f64,
    greatest: f64,
}

/// Runs the candidates in turn.
fn samples<const N: usize>(mut candidates: [&mut dyn FnMut() -> f64; N]) -> [Sample; N] {
    let mut values = [const { Vec::new() }; N];
    for _ in 0..RUNS {
        for (candidate, values) in candidates.iter_mut().zip(&mut values) {
            values.push(candidate());
        }
    }
    values.map(|mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        Sample { median: values[RUNS / 2], least: values[0], greatest: values[RUNS - 1] }
    })
}

/// Returns how many per second.
fn rate(count: usize, run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    count as f64 / start.elapsed().as_secs_f64()
}

fn row(name: &str, of: &str, unit: &str, sample: &Sample, floor: Option<&Sample>) {
    let Sample { median, least, greatest } = sample;
    let digits = if *median < 10.0 { 3 } else { 0 };
    let range = format!("{least:.digits$}..{greatest:.digits$}");
    let ratio = floor.map_or(String::new(), |floor| format!("{:.2}", median / floor.median));
    println!("{name:<12} {of:<42} {median:>10.digits$} {unit:<10} {range:>15} {ratio:>5}");
}

// The driver.

/// One end: a node, the links of one, or a bare endpoint.
trait End {
    fn dial(&mut self, now: Instant, target: SocketAddr);
    fn receive(&mut self, now: Instant, datagram: Datagram);
    /// Does everything that can be done now and writes the next datagrams into `buf`.
    fn transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit>;
    fn deadline(&mut self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    /// How many connections are up.
    fn up(&self) -> usize;
}

/// An end that can send and receive a mass of bytes.
trait Pipe: End {
    fn send(&mut self, size: usize);
    fn received(&self) -> usize;
}

/// Some ends in virtual time and what is under way between them.
struct World<E> {
    now: Instant,
    delay: Duration,
    ends: Vec<E>,
    queue: VecDeque<(Instant, Datagram)>,
    buf: Vec<u8>,
    /// Whether nothing happens before the time moves.
    is_quiet: bool,
}

impl<E: End> World<E> {
    fn new(ends: Vec<E>) -> Self {
        let (delay, queue, buf) = (Duration::ZERO, VecDeque::new(), Vec::new());
        Self { now: anchor(), delay, ends, queue, buf, is_quiet: false }
    }

    /// Connects all with all.
    fn connect(&mut self) {
        for client in 0..self.ends.len() {
            for server in client + 1..self.ends.len() {
                self.ends[client].dial(self.now, address(server));
            }
        }
        self.is_quiet = false;
        self.run_until(|ends| ends.iter().all(|end| end.up() == ends.len() - 1));
    }

    fn run_until(&mut self, done: impl Fn(&[E]) -> bool) {
        while !done(&self.ends) {
            self.step();
        }
    }

    fn step(&mut self) {
        if self.is_quiet {
            self.move_time();
        }
        self.is_quiet = true;
        for index in 0..self.ends.len() {
            while let Some(transmit) = self.ends[index].transmit(self.now, &mut self.buf) {
                self.carry(transmit);
            }
        }
    }

    /// Splits what was sent into datagrams, as a driver splits what it received in one piece.
    fn carry(&mut self, transmit: Transmit) {
        let size = transmit.segment_size.unwrap_or(transmit.size);
        let mut batch = BytesMut::from(&self.buf[..transmit.size]);
        while !batch.is_empty() {
            let payload = batch.split_to(size.min(batch.len()));
            let (source, local, ecn) = (transmit.local, transmit.target, transmit.ecn);
            let datagram = Datagram { source, local, ecn, payload };
            if self.delay.is_zero() {
                self.is_quiet = false;
                self.ends[index_of(local)].receive(self.now, datagram);
            } else {
                self.queue.push_back((self.now + self.delay, datagram));
            }
        }
    }

    fn move_time(&mut self) {
        let arrival = self.queue.front().map(|&(at, _)| at);
        let timer = self.ends.iter_mut().filter_map(End::deadline).min();
        let next = arrival.into_iter().chain(timer).min().expect("somebody waits for something");
        self.now = self.now.max(next);
        while let Some((at, _)) = self.queue.front()
            && *at <= self.now
        {
            let (_, datagram) = self.queue.pop_front().unwrap();
            self.ends[index_of(datagram.local)].receive(self.now, datagram);
        }
        for end in &mut self.ends {
            if end.deadline().is_some_and(|at| at <= self.now) {
                end.handle_timeout(self.now);
            }
        }
    }
}

impl<E: Pipe> World<E> {
    /// Sends bytes from the first end to the second. Returns bytes per second.
    fn transfer(&mut self, size: usize) -> f64 {
        let goal = self.ends[1].received() + size;
        self.ends[0].send(size);
        self.is_quiet = false;
        rate(size, || self.run_until(|ends| ends[1].received() >= goal))
    }
}

/// The one instant from which all worlds count.
fn anchor() -> Instant {
    static ANCHOR: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ANCHOR.get_or_init(|| Instant::now() + Duration::from_secs(3600))
}

fn address(index: usize) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, u8::try_from(index).unwrap()), 5483).into()
}

fn index_of(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { panic!("all addresses here are IPv4") };
    usize::from(address.ip().octets()[3])
}

fn seed(purpose: &str, index: usize) -> [u8; 32] {
    blake3_keyed(&[u8::try_from(index).unwrap(); 32], purpose.as_bytes())
}

fn link_config(initial_mtu: u16) -> LinkConfig {
    LinkConfig { initial_mtu, ..LinkConfig::default() }
}

// Whole nodes.

struct NodeEnd {
    node: Node,
    deadline: Option<Instant>,
    up: usize,
    up_at: Option<Instant>,
    first_short_at: Option<Instant>,
    acknowledged: usize,
    acknowledged_at: Option<Instant>,
    commands: u64,
    outgoing: Option<Outgoing>,
}

/// Messages to the second node.
struct Outgoing {
    left: usize,
    in_flight: usize,
    in_flight_max: usize,
    payload: Bytes,
}

impl Outgoing {
    fn new(left: usize, in_flight_max: usize, payload: Bytes) -> Self {
        Self { left, in_flight: 0, in_flight_max, payload }
    }
}

fn nodes(count: usize) -> Vec<NodeEnd> {
    nodes_with_mtu(count, LinkConfig::default().initial_mtu)
}

fn nodes_with_mtu(count: usize, initial_mtu: u16) -> Vec<NodeEnd> {
    (0..count).map(|index| NodeEnd::new(index, initial_mtu)).collect()
}

impl NodeEnd {
    fn new(index: usize, initial_mtu: u16) -> Self {
        let config = Config {
            machine_key: MachineKey::from_seed(&seed("machine", index)),
            agent_key: AgentKey::from_seed(&seed("agent", index)),
            certificate: None,
            sockets: vec![address(index)],
            link: link_config(initial_mtu),
        };
        let restored = Restored::default();
        Self {
            node: Node::new(config, seed("node", index), restored, anchor(), UNIX_TIME).unwrap(),
            deadline: None,
            up: 0,
            up_at: None,
            first_short_at: None,
            acknowledged: 0,
            acknowledged_at: None,
            commands: 0,
            outgoing: None,
        }
    }

    fn command_id(&mut self) -> CommandId {
        self.commands += 1;
        CommandId(self.commands)
    }

    fn fill(&mut self, now: Instant) {
        let Some(mut outgoing) = self.outgoing.take() else { return };
        let recipient = recipient();
        while outgoing.left > 0 && outgoing.in_flight < outgoing.in_flight_max {
            let send =
                SendDirect { recipient, payload: outgoing.payload.clone(), timeout: TIMEOUT };
            let command = Command { id: self.command_id(), request: send.into() };
            self.node.handle_command(now, command).unwrap();
            outgoing.left -= 1;
            outgoing.in_flight += 1;
        }
        self.outgoing = Some(outgoing);
    }

    fn take_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::PeerUp { .. } => {
                self.up += 1;
                self.up_at = Some(now);
            }
            Event::Reply { reply: Reply::SendDirect(result), .. } => {
                result.unwrap();
                self.acknowledged += 1;
                self.acknowledged_at = Some(now);
                self.outgoing.as_mut().unwrap().in_flight -= 1;
            }
            Event::Reply { .. } | Event::PathChanged { .. } | Event::DirectReceived { .. } => {}
            Event::PeerDown { reason, .. } => panic!("a link went down: {reason:?}"),
            Event::Halted(fatal) => panic!("a node halted: {fatal}"),
        }
    }
}

/// The agent of the second node.
fn recipient() -> x0x_core::identity::AgentId {
    static RECIPIENT: std::sync::OnceLock<x0x_core::identity::AgentId> = std::sync::OnceLock::new();
    *RECIPIENT.get_or_init(|| AgentKey::from_seed(&seed("agent", 1)).id())
}

impl End for NodeEnd {
    fn dial(&mut self, now: Instant, address: SocketAddr) {
        let target = Target::Address { address, machine: None };
        let connect = Connect { target, keep: false, timeout: TIMEOUT };
        let command = Command { id: self.command_id(), request: connect.into() };
        self.node.handle_command(now, command).unwrap();
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        self.node.handle_datagram(now, datagram);
    }

    fn transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.fill(now);
        loop {
            match self.node.poll_output(buf) {
                Output::Transmit(transmit) => {
                    let size = transmit.segment_size.unwrap_or(transmit.size);
                    let is_short = |datagram: &[u8]| datagram[0] & 0x80 == 0;
                    if self.first_short_at.is_none() && buf.chunks(size).any(is_short) {
                        self.first_short_at = Some(now);
                    }
                    return Some(transmit);
                }
                Output::Store(batch) => self.node.handle_stored(now, batch.id, Ok(())),
                Output::Event(event) => self.take_event(now, event),
                Output::Load(_) => {}
                Output::Idle { deadline } => {
                    self.deadline = deadline.map(|deadline| deadline.at);
                    return None;
                }
            }
        }
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.deadline
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(now);
    }

    fn up(&self) -> usize {
        self.up
    }
}

// The links of a node, driven as the node drives them.

/// The payload of each bulk frame, and of each write to a bare stream.
static PAYLOAD: [u8; 64 << 10] = [7; 64 << 10];

struct LinkEnd {
    state: link::State,
    rng: Rng,
    counters: Counters,
    outbox: Outbox<link::Output>,
    peer: Option<MachineId>,
    to_send: usize,
    received: usize,
    is_unsettled: bool,
}

fn links(count: usize) -> Vec<LinkEnd> {
    (0..count).map(LinkEnd::new).collect()
}

impl LinkEnd {
    fn new(index: usize) -> Self {
        let identity = LinkIdentity {
            machine_key: MachineKey::from_seed(&seed("machine", index)),
            agent_key: AgentKey::from_seed(&seed("agent", index)),
            certificate: None,
            clock: WallClock::new(UNIX_TIME),
        };
        let rng = Rng::from_seed(seed("link", index));
        let (config, sockets) = (link_config(1452), vec![address(index)]);
        let fork = rng.fork("state");
        Self {
            state: link::State::new(config, identity, sockets, anchor(), UNIX_TIME, fork),
            rng,
            counters: Counters::default(),
            outbox: Outbox::default(),
            peer: None,
            to_send: 0,
            received: 0,
            is_unsettled: false,
        }
    }

    fn act(
        &mut self,
        now: Instant,
        handle: impl FnOnce(&mut link::State, &mut Context<'_, link::Output>),
    ) {
        let unix_time = UNIX_TIME + (now - anchor());
        let Self { state, rng, counters, outbox, .. } = self;
        handle(state, &mut Context::new(now, unix_time, rng, counters, outbox));
        self.is_unsettled = true;
        while let Some(output) = self.outbox.pop() {
            match output {
                link::Output::PeerUp { machine, .. } => self.peer = Some(machine),
                link::Output::Frame { frame, .. } => self.received += frame.len(),
                link::Output::PeerDown { reason, .. } => panic!("a link went down: {reason:?}"),
                link::Output::PathChanged { .. }
                | link::Output::Writable { .. }
                | link::Output::ConnectEnded { .. }
                | link::Output::NoRoute { .. }
                | link::Output::SavePeer { .. } => {}
            }
        }
    }

    fn fill(&mut self) {
        let Some(machine) = self.peer else { return };
        let payload = Bytes::from_static(&PAYLOAD);
        while self.to_send > 0 && self.state.room(&machine, Class::Bulk) > 0 {
            self.state.send(&machine, Class::Bulk, &[], &payload);
            self.to_send = self.to_send.saturating_sub(payload.len());
        }
    }
}

impl End for LinkEnd {
    fn dial(&mut self, now: Instant, target: SocketAddr) {
        self.act(now, |state, context| {
            let target = link::Target::Address(target);
            state.connect(context, link::RequestId(1), target, false, TIMEOUT);
        });
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        self.act(now, |state, context| state.handle_datagram(context, datagram));
    }

    fn transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if self.is_unsettled {
            for _ in 0..2 {
                self.fill();
                self.act(now, link::State::flush);
            }
            self.is_unsettled = false;
        }
        buf.clear();
        self.state.poll_transmit(now, buf)
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.state.deadline().map(|(at, _)| at)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.act(now, link::State::handle_timeout);
    }

    fn up(&self) -> usize {
        usize::from(self.peer.is_some())
    }
}

impl Pipe for LinkEnd {
    fn send(&mut self, size: usize) {
        self.to_send += size;
        self.is_unsettled = true;
    }

    fn received(&self) -> usize {
        self.received
    }
}

// Bare endpoints.

struct BareEnd {
    address: SocketAddr,
    endpoint: Endpoint,
    client: ClientConfig,
    entropy: Entropy,
    connections: BTreeMap<usize, Connection>,
    /// Connections that may have something to send.
    dirty: VecDeque<ConnectionHandle>,
    up: usize,
    stream: Option<quinn_proto::StreamId>,
    to_send: usize,
    received: usize,
}

fn bare(count: usize) -> Vec<BareEnd> {
    bare_with_mtu(count, LinkConfig::default().initial_mtu)
}

fn bare_with_mtu(count: usize, initial_mtu: u16) -> Vec<BareEnd> {
    (0..count).map(|index| BareEnd::new(index, initial_mtu)).collect()
}

impl BareEnd {
    fn new(index: usize, initial_mtu: u16) -> Self {
        let key = MachineKey::from_seed(&seed("machine", index));
        let clock = WallClock::new(UNIX_TIME);
        let tls = TlsConfigs::new(key.signing_key(), KeyExchange::default(), &clock);
        let crypto = Arc::new(QuicServerConfig::try_from(tls.server).unwrap());
        let mut server = ServerConfig::with_crypto(crypto);
        server.transport_config(Arc::new(transport_config(initial_mtu, None)));
        let crypto = Arc::new(QuicClientConfig::try_from(tls.client).unwrap());
        let mut client = ClientConfig::new(crypto);
        let keep_alive = LinkConfig::default().keep_alive;
        client.transport_config(Arc::new(transport_config(initial_mtu, Some(keep_alive))));
        let mut config = EndpointConfig::new(Arc::new(ResetKey(seed("reset", index))));
        config.rng_seed(Some(seed("endpoint", index)));
        Self {
            address: address(index),
            endpoint: Endpoint::new(Arc::new(config), Some(Arc::new(server)), true, None),
            client,
            entropy: Entropy::new(Rng::from_seed(seed("tls", index))),
            connections: BTreeMap::new(),
            dirty: VecDeque::new(),
            up: 0,
            stream: None,
            to_send: 0,
            received: 0,
        }
    }

    /// Moves events until nothing moves. Due after every call that touches a connection.
    fn drive(&mut self, handle: ConnectionHandle) {
        let connection = self.connections.get_mut(&handle.0).unwrap();
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                connection.handle_event(event);
            }
        }
        let mut writable = false;
        while let Some(event) = connection.poll() {
            use quinn_proto::Event as Quinn;
            match event {
                Quinn::Connected => self.up += 1,
                Quinn::ConnectionLost { reason } => panic!("a connection was lost: {reason}"),
                Quinn::Stream(StreamEvent::Opened { .. }) => {
                    let stream = connection.streams().accept(Dir::Uni).unwrap();
                    self.received += read(connection, stream);
                }
                Quinn::Stream(StreamEvent::Readable { id }) => {
                    self.received += read(connection, id);
                }
                Quinn::Stream(StreamEvent::Writable { .. }) => writable = true,
                Quinn::Stream(_)
                | Quinn::HandshakeDataReady
                | Quinn::DatagramReceived
                | Quinn::DatagramsUnblocked => {}
            }
        }
        if self.dirty.back() != Some(&handle) {
            self.dirty.push_back(handle);
        }
        if writable {
            self.write();
        }
    }

    fn write(&mut self) {
        let (&index, connection) = self.connections.iter_mut().next().unwrap();
        let stream = match self.stream {
            Some(stream) => stream,
            None => connection.streams().open(Dir::Uni).unwrap(),
        };
        self.stream = Some(stream);
        while self.to_send > 0 {
            let size = self.to_send.min(PAYLOAD.len());
            let mut chunks = [Bytes::from_static(&PAYLOAD[..size])];
            match connection.send_stream(stream).write_chunks(&mut chunks) {
                Ok(written) => self.to_send -= written.bytes,
                Err(_) => break,
            }
        }
        self.dirty.push_back(ConnectionHandle(index));
    }
}

fn read(connection: &mut Connection, stream: quinn_proto::StreamId) -> usize {
    let mut source = connection.recv_stream(stream);
    let mut chunks = source.read(true).unwrap();
    let mut total = 0;
    while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
        total += chunk.bytes.len();
    }
    // Whoever reads drives the connection afterwards, with or without a new credit.
    let _ = chunks.finalize();
    total
}

/// The settings that links use.
fn transport_config(initial_mtu: u16, keep_alive: Option<Duration>) -> TransportConfig {
    let link = LinkConfig::default();
    let windows = u64::from(STREAM_WINDOW) * u64::from(PEER_STREAMS_MAX);
    let idle_timeout = u32::try_from(link.idle_timeout.as_millis()).unwrap();
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(PEER_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u64(windows).unwrap())
        .send_window(windows)
        .initial_rtt(Duration::from_millis(150))
        .initial_mtu(initial_mtu)
        .max_idle_timeout(Some(VarInt::from_u32(idle_timeout).into()))
        .keep_alive_interval(keep_alive)
        .datagram_receive_buffer_size(None);
    config
}

impl End for BareEnd {
    fn dial(&mut self, now: Instant, target: SocketAddr) {
        let (endpoint, config) = (&mut self.endpoint, self.client.clone());
        let name = server_name(None);
        let connect = || endpoint.connect(now, config, target, &name).unwrap();
        let (handle, connection) = self.entropy.scope(connect);
        self.connections.insert(handle.0, connection);
        self.drive(handle);
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        let Self { endpoint, entropy, connections, .. } = self;
        let mut buf = Vec::new();
        let handle = entropy.scope(|| {
            let Datagram { source, payload, .. } = datagram;
            match endpoint.handle(now, source, None, None, payload, &mut buf)? {
                DatagramEvent::ConnectionEvent(handle, event) => {
                    connections.get_mut(&handle.0)?.handle_event(event);
                    Some(handle)
                }
                DatagramEvent::NewConnection(incoming) => {
                    let (handle, connection) =
                        endpoint.accept(incoming, now, &mut buf, None).ok()?;
                    connections.insert(handle.0, connection);
                    Some(handle)
                }
                DatagramEvent::Response(_) => panic!("nothing here is answered without state"),
            }
        });
        if let Some(handle) = handle {
            self.drive(handle);
        }
    }

    fn transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        while let Some(&handle) = self.dirty.front() {
            buf.clear();
            let connection = self.connections.get_mut(&handle.0).unwrap();
            let segments = (65_507 / usize::from(connection.current_mtu())).clamp(1, 44);
            if let Some(transmit) = connection.poll_transmit(now, segments, buf) {
                return Some(Transmit {
                    target: transmit.destination,
                    local: self.address,
                    ecn: None,
                    size: transmit.size,
                    segment_size: transmit.segment_size,
                });
            }
            self.dirty.pop_front();
        }
        None
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.connections.values_mut().filter_map(Connection::poll_timeout).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        let handles: Vec<usize> = self.connections.keys().copied().collect();
        for handle in handles.into_iter().map(ConnectionHandle) {
            let connection = self.connections.get_mut(&handle.0).unwrap();
            if connection.poll_timeout().is_some_and(|at| at <= now) {
                connection.handle_timeout(now);
                self.drive(handle);
            }
        }
    }

    fn up(&self) -> usize {
        self.up
    }
}

impl Pipe for BareEnd {
    fn send(&mut self, size: usize) {
        self.to_send += size;
        self.write();
    }

    fn received(&self) -> usize {
        self.received
    }
}

struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(&blake3_keyed(&self.0, data));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        if blake3_keyed(&self.0, data) == signature { Ok(()) } else { Err(CryptoError) }
    }
}
