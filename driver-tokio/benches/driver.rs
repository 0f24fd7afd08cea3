//! What the driver adds to the core: two processes on loopback, each with one thread.
//!
//! ```sh
//! cargo bench -p x0x-tokio --bench driver
//! ```
//!
//! The other process echoes: a message of `echo` to the agent that sent it, and a datagram of a plain
//! UDP socket to where it came from, which is the floor of the round trip.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

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

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("other") => runtime.block_on(other()),
        Some("--bench") => runtime.block_on(measure()),
        // `cargo test` starts benchmarks, too, without this argument.
        _ => {}
    }
}

fn node(number: u8) -> (Handle, Events) {
    let config = Config {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: agent(number),
        certificate: None,
        sockets: vec!["127.0.0.1:0".parse().unwrap()],
        link: LinkConfig { initial_mtu: 1452, ..LinkConfig::default() },
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
    println!("{} {}", node.sockets()[0], plain.local_addr().unwrap());
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

async fn measure() {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .arg("other")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut addresses = line.split_whitespace().map(|text| text.parse().unwrap());
    let (quic, plain) = (addresses.next().unwrap(), addresses.next().unwrap());
    println!("{:<12} {:<48} {:>10} unit", "row", "of", "median");
    dials(quic).await;
    let (node, mut events) = node(1);
    connect(&node, quic).await;
    round_trips(&node, &mut events, plain).await;
    messages(&node, &child.id().to_string()).await;
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

/// A message there and one back, against a datagram there and back.
async fn round_trips(node: &Handle, events: &mut Events, plain: SocketAddr) {
    const COUNT: usize = 5000;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut payload = [0; SIZE];
    payload[..4].copy_from_slice(b"echo");
    let (mut messages, mut datagrams) = (Vec::new(), Vec::new());
    for _ in 0..COUNT {
        let started = Instant::now();
        drop(node.send(message(recipient(), Bytes::copy_from_slice(&payload))).await.unwrap());
        while !matches!(events.next().await.unwrap(), Event::DirectReceived { .. }) {}
        messages.push(started.elapsed());
        let started = Instant::now();
        socket.send_to(&payload, plain).await.unwrap();
        socket.recv_from(&mut [0; 2048]).await.unwrap();
        datagrams.push(started.elapsed());
    }
    let (messages, datagrams) = (median(messages), median(datagrams));
    row("round-trip", "256 B message there and back", messages, "us");
    row("round-trip", "256 B UDP datagram there and back", datagrams, "us");
    row("round-trip", "ratio", messages / datagrams, "");
}

/// Messages that are acknowledged, many in flight.
async fn messages(node: &Handle, other: &str) {
    const COUNT: usize = 400_000;
    const IN_FLIGHT: usize = 4096;
    let payload = Bytes::from_static(&[7; SIZE]);
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let before = processor_time("self") + processor_time(other);
        let started = Instant::now();
        let mut answers: VecDeque<Receiver<Result<Reply, CommandError>>> = VecDeque::new();
        for _ in 0..COUNT {
            if answers.len() == IN_FLIGHT {
                let answer = answers.pop_front().unwrap();
                answer.await.unwrap().unwrap();
            }
            answers.push_back(node.send(message(recipient(), payload.clone())).await.unwrap());
        }
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        rates.push(COUNT as f64 / started.elapsed().as_secs_f64() / 1e3);
        let used = processor_time("self") + processor_time(other) - before;
        costs.push(used.as_secs_f64() * 1e6 / COUNT as f64);
    }
    rates.sort_by(f64::total_cmp);
    costs.sort_by(f64::total_cmp);
    row("messages", "256 B, acknowledged, 4096 in flight", rates[2], "1000/s");
    row("messages", "processor time of both processes for each", costs[2], "us");
}

fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort();
    samples[samples.len() / 2].as_secs_f64() * 1e6
}

fn row(name: &str, of: &str, median: f64, unit: &str) {
    println!("{name:<12} {of:<48} {median:>10.2} {unit}");
}
