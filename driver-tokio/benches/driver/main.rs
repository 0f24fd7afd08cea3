//! What the drivers add to the core: two processes on loopback for each of them, each with one thread.
//!
//! ```sh
//! cargo bench -p x0x-tokio --bench driver [-- ROW…]
//! ```
//!
//! The other process echoes: a message of `echo` to the agent that sent it, and a datagram of a plain
//! UDP socket to where it came from, which is the floor of the round trip. Beside the nodes on tokio
//! there is a connection of bare quinn between the same two threads. All candidates take turns.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod bare;
#[path = "../shared/mod.rs"]
mod shared;

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;
use x0x_core::identity::{AgentId, AgentKey, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::{Config, Connect, Event, Reply, SendDirect, Target};
use x0x_tokio::{Answer, Events, Handle};

use shared::{Driver, median, processor_time, row, title};
use x0x_core::direct;

const TIMEOUT: Duration = Duration::from_secs(20);
const SIZE: usize = 256;
const MTU: u16 = 1452;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--other", driver] => other(&Driver::new(driver)),
        // `cargo test` starts benchmarks, too, without this argument.
        ref rows if rows.contains(&"--bench") => {
            let is_row = |argument: &&&str| !argument.starts_with("--");
            measure(&rows.iter().filter(is_row).copied().collect::<Vec<_>>());
        }
        _ => {}
    }
}

fn config(number: u8) -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: agent(number),
        certificate: None,
        sockets: vec!["127.0.0.1:0".parse().unwrap()],
        link: LinkConfig { initial_mtu: MTU, ..LinkConfig::default() },
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    }
}

fn agent(number: u8) -> AgentKey {
    AgentKey::from_seed(&[number ^ 0xff; 32])
}

/// The agent of the other process.
fn recipient() -> AgentId {
    static RECIPIENT: OnceLock<AgentId> = OnceLock::new();
    *RECIPIENT.get_or_init(|| agent(0).id())
}

/// The other process, until its standard input is closed.
fn other(driver: &Driver) {
    let (node, mut events) = driver.start(config(0));
    let mut addresses = vec![node.sockets()[0]];
    if let Driver::Tokio(runtime) = driver {
        addresses.extend(runtime.block_on(serve_references()));
    }
    println!("{}", addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    driver.block_on(async move {
        while let Some(event) = events.next().await {
            if let Event::Direct(direct::Event::Received { sender, payload, .. }) = event
                && payload.starts_with(b"echo")
            {
                drop(node.send(message(sender, payload)).await.unwrap());
            }
        }
    });
}

/// Serves what the nodes are compared with. Returns the addresses of the plain socket and of quinn's.
async fn serve_references() -> [SocketAddr; 2] {
    let plain = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let quinn = bare::endpoint(0);
    let addresses = [plain.local_addr().unwrap(), quinn.local_addr().unwrap()];
    tokio::spawn(bare::serve(quinn));
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((size, source)) = plain.recv_from(&mut buffer).await {
            plain.send_to(&buffer[..size], source).await.unwrap();
        }
    });
    addresses
}

fn message(recipient: AgentId, payload: Bytes) -> x0x_core::node::Request {
    SendDirect { recipient, payload, timeout: TIMEOUT }.into()
}

/// Two nodes on one driver, one in this process and one in another.
struct Pair {
    driver: Driver,
    node: Handle,
    events: Option<Events>,
    other: Child,
    /// The addresses of the other process: of its node, and of the references.
    addresses: Vec<SocketAddr>,
    /// Both processes.
    processes: [String; 2],
}

impl Pair {
    fn start(name: &str) -> Self {
        let mut other = Command::new(std::env::current_exe().unwrap())
            .args(["--other", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addresses: Vec<_> = line.split_whitespace().map(|text| text.parse().unwrap()).collect();
        let driver = Driver::new(name);
        let (node, events) = driver.start(config(1));
        driver.block_on(connect(node.clone(), addresses[0]));
        let processes = ["self".to_owned(), other.id().to_string()];
        Self { driver, node, events: Some(events), other, addresses, processes }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self.other.kill();
        let _ = self.other.wait();
    }
}

/// What the nodes are compared with, on tokio.
struct References {
    driver: Driver,
    plain: SocketAddr,
    quinn: Option<bare::Link>,
}

async fn connect(node: Handle, address: SocketAddr) {
    let target = Target::Address { address, machine: None };
    node.request(Connect { target, keep: false, timeout: TIMEOUT }).await.unwrap().unwrap();
}

fn measure(rows: &[&str]) {
    let mut pairs = Driver::NAMES.map(Pair::start);
    let &[_, plain, quinn] = &pairs[0].addresses[..] else { panic!("three addresses") };
    let driver = pairs[0].driver.clone();
    let quinn = Some(driver.block_on(bare::Link::connect(quinn)));
    let mut references = References { driver, plain, quinn };
    title();
    let wants = |name: &str| rows.is_empty() || rows.contains(&name);
    if wants("dial") {
        dials(&pairs);
    }
    if wants("round-trip") {
        round_trips(&mut pairs, &mut references);
    }
    if wants("bulk") {
        bulk(&pairs, &mut references);
    }
    if wants("messages") {
        messages(&pairs);
    }
}

/// From the request for a link with a peer that was never met to the acknowledgement of a message.
fn dials(pairs: &[Pair; 2]) {
    let mut samples = [const { Vec::new() }; 2];
    for number in 2..53 {
        for (pair, samples) in pairs.iter().zip(&mut samples) {
            let (node, _events) = pair.driver.start(config(number));
            let address = pair.addresses[0];
            samples.push(pair.driver.block_on(async move {
                let started = Instant::now();
                connect(node.clone(), address).await;
                let payload = Bytes::from_static(b"hello");
                acknowledged(node.send(message(recipient(), payload)).await.unwrap()).await;
                let elapsed = started.elapsed().as_secs_f64() * 1e6;
                node.shut_down().await;
                elapsed
            }));
        }
    }
    let medians = samples.map(|samples| median(&samples));
    row("dial", "new peer, until its first message is acknowledged", medians, "us");
}

/// A message there and one back, against bare quinn and a datagram there and back.
fn round_trips(pairs: &mut [Pair; 2], references: &mut References) {
    const TURNS: usize = 51;
    let [mut messages, mut others] = [(); 2].map(|()| [const { Vec::new() }; 2]);
    for _ in 0..TURNS {
        for (pair, samples) in pairs.iter_mut().zip(&mut messages) {
            let (node, mut events) = (pair.node.clone(), pair.events.take().unwrap());
            let (mut turn, events) = pair.driver.block_on(async move {
                let payload = Bytes::from([&b"echo"[..], &[0; SIZE - 4]].concat());
                let mut turn = Turn::default();
                while let Some(started) = turn.next() {
                    let request = message(recipient(), payload.clone());
                    drop(node.send(request).await.unwrap());
                    while !matches!(
                        events.next().await.unwrap(),
                        Event::Direct(direct::Event::Received { .. })
                    ) {}
                    turn.add(started);
                }
                (turn.samples, events)
            });
            pair.events = Some(events);
            samples.append(&mut turn);
        }
        let (mut quinn, plain) = (references.quinn.take().unwrap(), references.plain);
        let (turns, quinn) = references.driver.block_on(async move {
            let mut frames = Turn::default();
            while let Some(started) = frames.next() {
                quinn.round_trip().await;
                frames.add(started);
            }
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut datagrams = Turn::default();
            while let Some(started) = datagrams.next() {
                socket.send_to(&[0; SIZE], plain).await.unwrap();
                socket.recv_from(&mut [0; 2048]).await.unwrap();
                datagrams.add(started);
            }
            ([frames.samples, datagrams.samples], quinn)
        });
        references.quinn = Some(quinn);
        for (others, mut turn) in others.iter_mut().zip(turns) {
            others.append(&mut turn);
        }
    }
    let messages = messages.map(|samples| median(&samples));
    let [frames, datagrams] = others.map(|samples| median(&samples));
    row("round-trip", "256 B message there and back", messages, "us");
    let of = format!("the same against bare quinn on tokio, {frames:.1} us");
    row("round-trip", &of, messages.map(|time| time / frames), "");
    let of = format!("the same against a UDP datagram, {datagrams:.1} us");
    row("round-trip", &of, messages.map(|time| time / datagrams), "");
}

/// One candidate's turn of round trips, in microseconds. The first ones are not counted: the candidate
/// has slept while others had their turn.
#[derive(Default)]
struct Turn {
    begun: usize,
    samples: Vec<f64>,
}

impl Turn {
    const WARM_UP: usize = 5;
    const COUNT: usize = 101;

    /// Begins the next round trip, if there is one.
    fn next(&mut self) -> Option<Instant> {
        self.begun += 1;
        (self.begun <= Self::WARM_UP + Self::COUNT).then(Instant::now)
    }

    fn add(&mut self, started: Instant) {
        if self.begun > Self::WARM_UP {
            self.samples.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
}

/// Large payloads, against as many bytes on a stream of bare quinn. The messages are put together and
/// acknowledged one by one; quinn's bytes are counted as they come and answered once.
fn bulk(pairs: &[Pair; 2], references: &mut References) {
    const TOTAL: usize = 512 << 20;
    const CANDIDATES: [(usize, usize, &str); 2] = [
        (1 << 20, 16, "messages of 1 MiB, acknowledged, 16 in flight"),
        (64 << 10, 64, "messages of 64 KiB, acknowledged, 64 in flight"),
    ];
    let mut transfers = [(); 2].map(|()| [(); 2].map(|()| Transfers::default()));
    let mut quinn_transfers = Transfers::default();
    for _ in 0..5 {
        for ((size, in_flight, _), transfers) in CANDIDATES.iter().zip(&mut transfers) {
            for (pair, transfers) in pairs.iter().zip(transfers) {
                let payload = Bytes::from(vec![7; *size]);
                transfers.measure(&pair.processes, TOTAL, || {
                    send_all(pair, payload, TOTAL / size, *in_flight);
                });
            }
        }
        let mut quinn = references.quinn.take().unwrap();
        quinn_transfers.measure(&pairs[0].processes, TOTAL, || {
            references.quinn = Some(references.driver.block_on(async move {
                let payload = Bytes::from(vec![7; 1 << 20]);
                quinn.bulk(&payload, TOTAL / payload.len()).await;
                quinn
            }));
        });
    }
    let quinn = quinn_transfers.rate() / 1e6;
    for ((_, _, of), transfers) in CANDIDATES.iter().zip(&transfers) {
        let rates = transfers.each_ref().map(|transfers| transfers.rate() / 1e6);
        row("bulk", of, rates, "MB/s");
        row("bulk", "processor time", transfers.each_ref().map(|t| t.cost() * 1e12), "ms/GB");
        let of = format!("rate against bare quinn on tokio, {quinn:.0} MB/s");
        row("bulk", &of, rates.map(|rate| rate / quinn), "");
    }
}

/// Units for each second of real time, and processor time for each unit.
#[derive(Default)]
struct Transfers {
    rates: Vec<f64>,
    costs: Vec<f64>,
}

impl Transfers {
    fn measure(&mut self, processes: &[String], units: usize, transfer: impl FnOnce()) {
        let (started, used) = (Instant::now(), processor_time(processes));
        transfer();
        let used = processor_time(processes) - used;
        self.rates.push(units as f64 / started.elapsed().as_secs_f64());
        self.costs.push(used.as_secs_f64() / units as f64);
    }

    fn rate(&self) -> f64 {
        median(&self.rates)
    }

    fn cost(&self) -> f64 {
        median(&self.costs)
    }
}

/// Messages that are acknowledged, many in flight.
fn messages(pairs: &[Pair; 2]) {
    const COUNT: usize = 400_000;
    const IN_FLIGHT: usize = 4096;
    let mut transfers = [(); 2].map(|()| Transfers::default());
    for _ in 0..5 {
        for (pair, transfers) in pairs.iter().zip(&mut transfers) {
            let payload = Bytes::from_static(&[7; SIZE]);
            transfers.measure(&pair.processes, COUNT, || {
                send_all(pair, payload, COUNT, IN_FLIGHT);
            });
        }
    }
    let rates = transfers.each_ref().map(|transfers| transfers.rate() / 1e3);
    row("messages", "256 B, acknowledged, 4096 in flight", rates, "1000/s");
    let costs = transfers.each_ref().map(|transfers| transfers.cost() * 1e6);
    row("messages", "processor time for each", costs, "us");
}

/// Sends a payload several times and waits for all acknowledgements.
fn send_all(pair: &Pair, payload: Bytes, count: usize, in_flight: usize) {
    let node = pair.node.clone();
    pair.driver.block_on(async move {
        let mut answers: VecDeque<Answer> = VecDeque::new();
        for _ in 0..count {
            if answers.len() == in_flight {
                acknowledged(answers.pop_front().unwrap()).await;
            }
            answers.push_back(node.send(message(recipient(), payload.clone())).await.unwrap());
        }
        for answer in answers {
            acknowledged(answer).await;
        }
    });
}

async fn acknowledged(answer: Answer) {
    let reply = answer.await.unwrap().unwrap();
    assert!(matches!(reply, Reply::Direct(direct::Reply::SendDirect(Ok(_)))), "{reply:?}");
}
