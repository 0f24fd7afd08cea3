//! What the driver adds to the core: two processes on loopback, each with one thread.
//!
//! ```sh
//! cargo bench -p x0x-tokio --bench driver [-- ROW…]
//! ```
//!
//! The other process echoes: a message of `echo` to the agent that sent it, and a datagram of a plain
//! UDP socket to where it came from, which is the floor of the round trip. Beside the nodes there is
//! a connection of bare quinn between the same two threads; the candidates take turns.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod bare;

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::oneshot::Receiver;
use x0x_core::identity::{AgentId, AgentKey, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::{
    CommandError, Config, Connect, Event, MemoryStore, Reply, SendDirect, Target,
};
use x0x_tokio::{Events, Handle, start};

const TIMEOUT: Duration = Duration::from_secs(20);
const SIZE: usize = 256;
const MTU: u16 = 1452;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (options, rows): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    if options.iter().any(|option| option == "--other") {
        runtime.block_on(other());
    } else if options.iter().any(|option| option == "--bench") {
        // `cargo test` starts benchmarks, too, without this argument.
        runtime.block_on(measure(&rows));
    }
}

fn node(number: u8) -> (Handle, Events) {
    let config = Config {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: agent(number),
        certificate: None,
        sockets: vec!["127.0.0.1:0".parse().unwrap()],
        link: LinkConfig { initial_mtu: MTU, ..LinkConfig::default() },
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    };
    start(config, MemoryStore::default()).unwrap()
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
async fn other() {
    let (node, mut events) = node(0);
    let plain = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let quinn = bare::endpoint(0);
    let addresses = [node.sockets()[0], plain.local_addr().unwrap(), quinn.local_addr().unwrap()];
    println!("{}", addresses.map(|address| address.to_string()).join(" "));
    tokio::spawn(bare::serve(quinn));
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((size, source)) = plain.recv_from(&mut buffer).await {
            plain.send_to(&buffer[..size], source).await.unwrap();
        }
    });
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    while let Some(event) = events.next().await {
        if let Event::DirectReceived { sender, payload, .. } = event
            && payload.starts_with(b"echo")
        {
            drop(node.send(message(sender, payload)).await.unwrap());
        }
    }
}

fn message(recipient: AgentId, payload: Bytes) -> x0x_core::node::Request {
    SendDirect { recipient, payload, timeout: TIMEOUT }.into()
}

async fn connect(node: &Handle, address: SocketAddr) {
    let target = Target::Address { address, machine: None };
    node.request(Connect { target, keep: false, timeout: TIMEOUT }).await.unwrap().unwrap();
}

fn processor_time(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

async fn measure(rows: &[String]) {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .arg("--other")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addresses: Vec<_> = line.split_whitespace().map(|text| text.parse().unwrap()).collect();
    let [quic, plain, quinn] = addresses[..] else { panic!("three addresses: {line}") };
    println!("{:<12} {:<48} {:>10} unit", "row", "of", "median");
    let wants = |name: &str| rows.is_empty() || rows.iter().any(|row| row == name);
    if wants("dial") {
        dials(quic).await;
    }
    let (node, mut events) = node(1);
    connect(&node, quic).await;
    let mut quinn = bare::Link::connect(quinn).await;
    let other = child.id().to_string();
    if wants("round-trip") {
        round_trips(&node, &mut events, &mut quinn, plain).await;
    }
    if wants("bulk") {
        bulk(&node, &mut quinn, &other).await;
    }
    if wants("messages") {
        messages(&node, &other).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// From the wish for a link with a peer that was never met to the acknowledgement of a message.
async fn dials(quic: SocketAddr) {
    let mut samples = Vec::new();
    for number in 2..52 {
        let (node, _events) = node(number);
        let started = Instant::now();
        connect(&node, quic).await;
        let hello = SendDirect {
            recipient: recipient(),
            payload: Bytes::from_static(b"hello"),
            timeout: TIMEOUT,
        };
        node.request(hello).await.unwrap().unwrap();
        samples.push(started.elapsed());
        node.shut_down().await;
    }
    row("dial", "new peer, until its first message is acknowledged", median(samples), "us");
}

/// A message there and one back, against bare quinn and a datagram there and back.
async fn round_trips(
    node: &Handle,
    events: &mut Events,
    quinn: &mut bare::Link,
    plain: SocketAddr,
) {
    const COUNT: usize = 5000;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut payload = [0; SIZE];
    payload[..4].copy_from_slice(b"echo");
    let [mut messages, mut frames, mut datagrams] = [(); 3].map(|()| Vec::new());
    for _ in 0..COUNT {
        let started = Instant::now();
        drop(node.send(message(recipient(), Bytes::copy_from_slice(&payload))).await.unwrap());
        while !matches!(events.next().await.unwrap(), Event::DirectReceived { .. }) {}
        messages.push(started.elapsed());
        let started = Instant::now();
        quinn.round_trip().await;
        frames.push(started.elapsed());
        let started = Instant::now();
        socket.send_to(&payload, plain).await.unwrap();
        socket.recv_from(&mut [0; 2048]).await.unwrap();
        datagrams.push(started.elapsed());
    }
    let [messages, frames, datagrams] = [messages, frames, datagrams].map(median);
    row("round-trip", "256 B message there and back", messages, "us");
    row("round-trip", "256 B on streams of bare quinn there and back", frames, "us");
    row("round-trip", "ratio", messages / frames, "");
    row("round-trip", "256 B UDP datagram there and back", datagrams, "us");
    row("round-trip", "ratio", messages / datagrams, "");
}

/// Large payloads, against as many bytes on a stream of bare quinn. The messages are put together and
/// acknowledged one by one; quinn's bytes are counted as they come and answered once.
async fn bulk(node: &Handle, quinn: &mut bare::Link, other: &str) {
    const TOTAL: usize = 512 << 20;
    const CANDIDATES: [&str; 3] = [
        "messages of 1 MiB, acknowledged, 16 in flight",
        "messages of 64 KiB, acknowledged, 64 in flight",
        "a stream of bare quinn",
    ];
    let [large, small] = [1 << 20, 64 << 10].map(|size| Bytes::from(vec![7; size]));
    let mut transfers = [(); 3].map(|()| Transfers::default());
    for _ in 0..5 {
        let transfer = Transfer::start(other);
        send_all(node, &large, TOTAL / large.len(), 16).await;
        transfers[0].add(transfer, TOTAL);
        let transfer = Transfer::start(other);
        send_all(node, &small, TOTAL / small.len(), 64).await;
        transfers[1].add(transfer, TOTAL);
        let transfer = Transfer::start(other);
        quinn.bulk(&large, TOTAL / large.len()).await;
        transfers[2].add(transfer, TOTAL);
    }
    let medians = transfers.map(Transfers::medians);
    for (of, medians_of) in CANDIDATES.into_iter().zip(&medians) {
        row("bulk", of, medians_of.rate, "MB/s");
        row("bulk", "processor time of both processes", medians_of.cost, "ms/GB");
        row("bulk", "rate against bare quinn", medians_of.rate / medians[2].rate, "");
    }
}

/// A measurement under way.
struct Transfer<'a> {
    other: &'a str,
    started: Instant,
    used: Duration,
}

impl<'a> Transfer<'a> {
    fn start(other: &'a str) -> Self {
        let used = processor_time("self") + processor_time(other);
        Self { other, started: Instant::now(), used }
    }
}

/// Bytes for each unit of real time, and processor time for each byte.
#[derive(Default)]
struct Transfers {
    rates: Vec<f64>,
    costs: Vec<f64>,
}

struct Medians {
    rate: f64,
    cost: f64,
}

impl Transfers {
    fn add(&mut self, transfer: Transfer<'_>, units: usize) {
        let Transfer { other, started, used } = transfer;
        let (units, elapsed) = (units as f64, started.elapsed().as_secs_f64());
        let used = processor_time("self") + processor_time(other) - used;
        self.rates.push(units / elapsed / 1e6);
        self.costs.push(used.as_secs_f64() * 1e12 / units);
    }

    fn medians(mut self) -> Medians {
        for samples in [&mut self.rates, &mut self.costs] {
            samples.sort_by(f64::total_cmp);
        }
        Medians { rate: self.rates[self.rates.len() / 2], cost: self.costs[self.costs.len() / 2] }
    }
}

/// Messages that are acknowledged, many in flight.
async fn messages(node: &Handle, other: &str) {
    const COUNT: usize = 400_000;
    const IN_FLIGHT: usize = 4096;
    let payload = Bytes::from_static(&[7; SIZE]);
    let mut transfers = Transfers::default();
    for _ in 0..5 {
        let transfer = Transfer::start(other);
        send_all(node, &payload, COUNT, IN_FLIGHT).await;
        transfers.add(transfer, COUNT);
    }
    let Medians { rate, cost } = transfers.medians();
    row("messages", "256 B, acknowledged, 4096 in flight", rate * 1e3, "1000/s");
    row("messages", "processor time of both processes for each", cost / 1e6, "us");
}

/// Sends a payload several times and waits for all acknowledgements.
async fn send_all(node: &Handle, payload: &Bytes, count: usize, in_flight: usize) {
    let mut answers: VecDeque<Receiver<Result<Reply, CommandError>>> = VecDeque::new();
    for _ in 0..count {
        if answers.len() == in_flight {
            acknowledged(answers.pop_front().unwrap()).await;
        }
        answers.push_back(node.send(message(recipient(), payload.clone())).await.unwrap());
    }
    for answer in answers {
        acknowledged(answer).await;
    }
}

async fn acknowledged(answer: Receiver<Result<Reply, CommandError>>) {
    let reply = answer.await.unwrap().unwrap();
    assert!(matches!(reply, Reply::SendDirect(Ok(_))), "{reply:?}");
}

fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort();
    samples[samples.len() / 2].as_secs_f64() * 1e6
}

fn row(name: &str, of: &str, median: f64, unit: &str) {
    println!("{name:<12} {of:<48} {median:>10.2} {unit}");
}
