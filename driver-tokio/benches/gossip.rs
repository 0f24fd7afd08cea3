//! Topics without a daemon: three processes on loopback, each with one thread. One publishes a burst,
//! two subscribe and check what arrives.
//!
//! ```sh
//! cargo bench -p x0x-tokio --bench gossip
//! ```
//!
//! Processor time is that of the three processes from the first message to the last arrival. Traffic
//! is what the loopback interface carried meanwhile, of everybody: let nothing else use it.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot::Receiver;
use tokio::time::timeout;
use x0x_core::gossip::Topic;
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::{
    CommandError, Config, Connect, Event, MemoryStore, Publish, Reply, Subscribe, Target,
};
use x0x_tokio::{Events, Handle, start};

/// How many messages a burst has.
const COUNT: u64 = 20_000;

/// How many bytes a message has.
const SIZE: usize = 256;

/// How many messages wait for the node at a time.
const IN_FLIGHT: usize = 4096;

/// How many bursts are published.
const BURSTS: u64 = 5;

/// How long nothing may arrive before the rest is lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long may pass until the first message gets through.
const WARM_TIME: Duration = Duration::from_secs(10);

/// The number of a message that only shows that messages arrive.
const PROBE: u64 = u64::MAX;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["subscriber", number, address] => {
            runtime.block_on(subscribe(number.parse().unwrap(), address.parse().unwrap()));
        }
        ["--bench", ..] => runtime.block_on(publish()),
        // `cargo test` starts benchmarks, too, without this argument.
        _ => {}
    }
}

fn node(number: u8) -> (Handle, Events) {
    let config = Config {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: AgentKey::from_seed(&[number ^ 0xff; 32]),
        certificate: None,
        sockets: vec!["127.0.0.1:0".parse().unwrap()],
        link: LinkConfig { initial_mtu: 1452, ..LinkConfig::default() },
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    };
    start(config, MemoryStore::default()).unwrap()
}

fn topic() -> Topic {
    Topic::new("bench").unwrap()
}

fn payload(number: u64) -> Bytes {
    let mut payload = vec![7; SIZE];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload.into()
}

/// What arrived of a burst.
#[derive(Debug, Default)]
struct Arrivals {
    arrived: u64,
    out_of_order: u64,
    /// What the node says was missed.
    missed: u64,
    damaged: u64,
}

/// A subscriber: says that it is ready, that a probe came, and then what arrived of each burst.
async fn subscribe(number: u8, publisher: SocketAddr) {
    let (node, mut events) = node(number);
    let target = Target::Address { address: publisher, machine: None };
    let connect = Connect { target, keep: true, timeout: PATIENCE };
    node.request(connect).await.unwrap().unwrap();
    node.request(Subscribe { topic: topic() }).await.unwrap();
    say("ready");
    // Whoever closes the standard input ends this.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let mut is_warm = false;
    let mut next = 0;
    let mut arrivals = Arrivals::default();
    loop {
        let mut is_over = false;
        match timeout(PATIENCE, events.next()).await {
            Ok(Some(Event::GossipReceived { payload: bytes, .. })) => {
                let number = u64::from_be_bytes(bytes[..8].try_into().unwrap());
                if number == PROBE {
                    if !std::mem::replace(&mut is_warm, true) {
                        say("warm");
                    }
                    continue;
                }
                arrivals.arrived += 1;
                arrivals.damaged += u64::from(bytes != payload(number));
                arrivals.out_of_order += u64::from(number < next);
                next = number + 1;
                is_over = next == COUNT;
            }
            Ok(Some(Event::GossipLagged { missed, .. })) => arrivals.missed += missed,
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(_) => is_over = arrivals.arrived > 0,
        }
        if is_over {
            let Arrivals { arrived, out_of_order, missed, damaged } = std::mem::take(&mut arrivals);
            say(&format!("{arrived} {out_of_order} {missed} {damaged} {}", events.lost()));
            next = 0;
        }
    }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

/// A subscriber's process, and what it says.
struct Subscriber(Child, BufReader<ChildStdout>);

impl Subscriber {
    fn start(number: usize, publisher: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["subscriber", &number.to_string(), &publisher.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self(child, output)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn publish() {
    let (node, _events) = node(0);
    let address = node.sockets()[0];
    let mut processes = vec!["self".to_owned()];
    let mut warm = Vec::new();
    for number in 1..=2 {
        let mut subscriber = Subscriber::start(number, address);
        processes.push(subscriber.0.id().to_string());
        // This thread runs the node; others listen to the subscribers.
        warm.push(tokio::task::spawn_blocking(move || {
            assert_eq!(subscriber.line(), "ready");
            assert_eq!(subscriber.line(), "warm");
            subscriber
        }));
    }
    let deadline = Instant::now() + WARM_TIME;
    while !warm.iter().all(tokio::task::JoinHandle::is_finished) {
        if Instant::now() > deadline {
            say("nothing that is published arrives");
            std::process::exit(1);
        }
        node.request(Publish { topic: topic(), payload: payload(PROBE) }).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut subscribers = Vec::new();
    for task in warm {
        subscribers.push(task.await.unwrap());
    }
    println!("{:<7} {:<11} {:>10} unit", "row", "of", "measured");
    for number in 1..=BURSTS {
        subscribers = burst(number, &node, subscribers, &processes).await;
    }
}

/// Publishes a burst and prints what came of it.
async fn burst(
    number: u64,
    node: &Handle,
    subscribers: Vec<Subscriber>,
    processes: &[String],
) -> Vec<Subscriber> {
    let name = format!("burst {number}");
    let before = (processor_time(processes), loopback_bytes());
    let started = Instant::now();
    let listeners: Vec<_> = subscribers
        .into_iter()
        .map(|mut subscriber| {
            tokio::task::spawn_blocking(move || {
                let line = subscriber.line();
                (subscriber, line, started.elapsed())
            })
        })
        .collect();
    let mut answers: VecDeque<Receiver<Result<Reply, CommandError>>> = VecDeque::new();
    for number in 0..COUNT {
        if answers.len() == IN_FLIGHT {
            answers.pop_front().unwrap().await.unwrap().unwrap();
        }
        let request = Publish { topic: topic(), payload: payload(number) };
        answers.push_back(node.send(request.into()).await.unwrap());
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    row(&name, "publisher", COUNT as f64 / started.elapsed().as_secs_f64() / 1e3, "1000/s");
    let (mut subscribers, mut deliveries) = (Vec::new(), 0);
    for (at, listener) in listeners.into_iter().enumerate() {
        let (subscriber, line, time) = listener.await.unwrap();
        let counts: Vec<u64> = line.split(' ').map(|count| count.parse().unwrap()).collect();
        let [arrived, out_of_order, missed, damaged, lost] = counts[..] else { panic!("{line}") };
        deliveries += arrived;
        let unit = format!(
            "1000/s, {} lost (told of {missed}, {lost} by the driver), {out_of_order} out of \
             order, {damaged} damaged",
            COUNT.saturating_sub(arrived),
        );
        let rate = arrived as f64 / time.as_secs_f64() / 1e3;
        row(&name, &format!("subscriber {}", at + 1), rate, &unit);
        subscribers.push(subscriber);
    }
    let used = processor_time(processes) - before.0;
    let each = |amount: f64| amount / deliveries as f64;
    row(&name, "processor", each(used.as_secs_f64() * 1e6), "us for each delivery");
    row(&name, "traffic", each((loopback_bytes() - before.1) as f64), "B for each delivery");
    subscribers
}

/// The processor time of all threads of these processes.
fn processor_time(processes: &[String]) -> Duration {
    let threads = processes
        .iter()
        .flat_map(|process| std::fs::read_dir(format!("/proc/{process}/task")).unwrap());
    let time = |thread: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
    };
    threads.map(time).sum()
}

fn loopback_bytes() -> u64 {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    let line = devices.lines().find_map(|line| line.trim_start().strip_prefix("lo:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn row(name: &str, of: &str, measured: f64, unit: &str) {
    println!("{name:<7} {of:<12} {measured:>9.2} {unit}");
}
