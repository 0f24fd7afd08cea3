//! Topics without a daemon: three processes on loopback for each driver, each with one thread. One
//! publishes a burst, two subscribe and check what arrives. The drivers take turns.
//!
//! ```sh
//! cargo bench -p x0x-tokio --bench gossip
//! ```
//!
//! Processor time is that of the three processes from the first message to the last arrival. Traffic
//! is what the loopback interface carried meanwhile, of everybody: let nothing else use it.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod shared;

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use x0x_core::gossip::Topic;
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::{Config, Connect, Event, Publish, Subscribe, Target};
use x0x_tokio::{Answer, Events, Handle};

use shared::{Driver, median, processor_time, row, title};
use x0x_core::gossip;

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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["subscriber", driver, number, address] => {
            let (driver, address) = (Driver::new(driver), address.parse().unwrap());
            let (node, events) = driver.start(config(number.parse().unwrap()));
            driver.clone().block_on(subscribe(driver, node, events, address));
        }
        ["--bench", ..] => publish(),
        // `cargo test` starts benchmarks, too, without this argument.
        _ => {}
    }
}

fn config(number: u8) -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: AgentKey::from_seed(&[number ^ 0xff; 32]),
        certificate: None,
        sockets: vec!["127.0.0.1:0".parse().unwrap()],
        link: LinkConfig { initial_mtu: 1452, ..LinkConfig::default() },
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    }
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
async fn subscribe(driver: Driver, node: Handle, mut events: Events, publisher: SocketAddr) {
    let target = Target::Address { address: publisher, machine: None };
    let connect = Connect { target, keep: true, timeout: PATIENCE };
    node.request(connect).await.unwrap().unwrap();
    node.request(Subscribe { topic: topic() }).await.unwrap();
    say("ready");
    // The end of the standard input ends this.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let mut is_warm = false;
    let mut next = 0;
    let mut arrivals = Arrivals::default();
    loop {
        let mut is_over = false;
        match next_event(&driver, &mut events).await {
            Some(Some(Event::Gossip(gossip::Event::Received { payload: bytes, .. }))) => {
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
            Some(Some(Event::Gossip(gossip::Event::Lagged { missed, .. }))) => {
                arrivals.missed += missed
            }
            Some(Some(_)) => {}
            Some(None) => return,
            None => is_over = arrivals.arrived > 0,
        }
        if is_over {
            let Arrivals { arrived, out_of_order, missed, damaged } = std::mem::take(&mut arrivals);
            say(&format!("{arrived} {out_of_order} {missed} {damaged} {}", events.lost()));
            next = 0;
        }
    }
}

/// The next event, or `None` if there is none for a while.
async fn next_event(driver: &Driver, events: &mut Events) -> Option<Option<Event>> {
    let next = std::pin::pin!(events.next());
    match select(next, sleep(driver, PATIENCE)).await {
        Either::Left((event, _)) => Some(event),
        Either::Right(_) => None,
    }
}

fn sleep(driver: &Driver, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    match driver {
        Driver::Tokio(_) => Box::pin(async move { tokio::time::sleep(duration).await }),
        Driver::Smol(_) => Box::pin(async_io::Timer::after(duration).map(|_| ())),
    }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

/// A subscriber's process, and what it says.
struct Subscriber(Child, BufReader<ChildStdout>);

impl Subscriber {
    fn start(driver: &str, number: usize, publisher: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["subscriber", driver, &number.to_string(), &publisher.to_string()])
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

/// A publisher, its subscribers and what they reached.
struct Group {
    driver: Driver,
    node: Handle,
    _events: Events,
    subscribers: Vec<Subscriber>,
    /// All three.
    processes: Vec<String>,
    measured: Measured,
}

/// What a group reached in each burst.
#[derive(Default)]
struct Measured {
    published: Vec<f64>,
    delivered: Vec<f64>,
    processor: Vec<f64>,
    traffic: Vec<f64>,
}

fn publish() {
    let mut groups = Driver::NAMES.map(Group::start);
    println!("{:<8} {:<7} {:<12} {:>10} unit", "driver", "row", "of", "measured");
    for number in 1..=BURSTS {
        for (name, group) in Driver::NAMES.iter().zip(&mut groups) {
            group.burst(name, number);
        }
    }
    title();
    let summary = |of: &str, unit: &str, samples: fn(&Measured) -> &[f64]| {
        row("median", of, groups.each_ref().map(|group| median(samples(&group.measured))), unit);
    };
    summary("publisher", "1000/s", |measured| &measured.published);
    summary("messages to each subscriber", "1000/s", |measured| &measured.delivered);
    summary("processor time for each delivery", "us", |measured| &measured.processor);
    summary("traffic for each delivery", "B", |measured| &measured.traffic);
}

impl Group {
    /// Starts three processes and publishes until both subscribers have heard something.
    fn start(name: &str) -> Self {
        let driver = Driver::new(name);
        let (node, events) = driver.start(config(0));
        let address = node.sockets()[0];
        let mut processes = vec!["self".to_owned()];
        let mut warm: Vec<JoinHandle<Subscriber>> = Vec::new();
        for number in 1..=2 {
            let mut subscriber = Subscriber::start(name, number, address);
            processes.push(subscriber.0.id().to_string());
            // This thread runs the node; others listen to the subscribers.
            warm.push(std::thread::spawn(move || {
                assert_eq!(subscriber.line(), "ready");
                assert_eq!(subscriber.line(), "warm");
                subscriber
            }));
        }
        let (publisher, sleeper) = (node.clone(), driver.clone());
        let warm = driver.block_on(async move {
            let deadline = Instant::now() + WARM_TIME;
            while !warm.iter().all(JoinHandle::is_finished) {
                if Instant::now() > deadline {
                    say("nothing that is published arrives");
                    std::process::exit(1);
                }
                let probe = Publish { topic: topic(), payload: payload(PROBE) };
                publisher.request(probe).await.unwrap();
                sleep(&sleeper, Duration::from_millis(20)).await;
            }
            warm
        });
        let subscribers = warm.into_iter().map(|thread| thread.join().unwrap()).collect();
        let measured = Measured::default();
        Self { driver, node, _events: events, subscribers, processes, measured }
    }

    /// Publishes a burst and prints what came of it.
    fn burst(&mut self, name: &str, number: u64) {
        let burst = format!("burst {number}");
        let print = |of: &str, measured: f64, unit: &str| {
            println!("{name:<8} {burst:<7} {of:<12} {measured:>10.2} {unit}");
        };
        let before = (processor_time(&self.processes), loopback_bytes());
        let started = Instant::now();
        let listeners = self.subscribers.drain(..).map(|subscriber| listen(subscriber, started));
        let (listeners, node) = (listeners.collect(), self.node.clone());
        let (published, heard) = self.driver.block_on(publish_all(node, listeners, started));
        print("publisher", published, "1000/s");
        self.measured.published.push(published);
        let mut deliveries = 0;
        for (at, (subscriber, line, time)) in heard.into_iter().enumerate() {
            let counts: Vec<u64> = line.split(' ').map(|count| count.parse().unwrap()).collect();
            let [arrived, out_of_order, missed, damaged, lost] = counts[..] else {
                panic!("{line}")
            };
            deliveries += arrived;
            let unit = format!(
                "1000/s, {} lost ({missed} reported, {lost} by the driver), {out_of_order} out of \
                 order, {damaged} damaged",
                COUNT.saturating_sub(arrived),
            );
            let rate = arrived as f64 / time.as_secs_f64() / 1e3;
            print(&format!("subscriber {}", at + 1), rate, &unit);
            self.measured.delivered.push(rate);
            self.subscribers.push(subscriber);
        }
        let used = processor_time(&self.processes) - before.0;
        let each = |amount: f64| amount / deliveries as f64;
        let (used, bytes) =
            (each(used.as_secs_f64() * 1e6), each((loopback_bytes() - before.1) as f64));
        print("processor", used, "us for each delivery");
        print("traffic", bytes, "B for each delivery");
        self.measured.processor.push(used);
        self.measured.traffic.push(bytes);
    }
}

/// What a subscriber said of a burst, and when.
type Heard = (Subscriber, String, Duration);

/// Waits for what a subscriber says, on a thread of its own.
fn listen(mut subscriber: Subscriber, started: Instant) -> oneshot::Receiver<Heard> {
    let (heard, listener) = oneshot::channel();
    std::thread::spawn(move || {
        let line = subscriber.line();
        drop(heard.send((subscriber, line, started.elapsed())));
    });
    listener
}

/// Publishes a burst and runs the node until all subscribers have it. Returns the rate in thousands a
/// second, and what the subscribers said.
async fn publish_all(
    node: Handle,
    listeners: Vec<oneshot::Receiver<Heard>>,
    started: Instant,
) -> (f64, Vec<Heard>) {
    let mut answers: VecDeque<Answer> = VecDeque::new();
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
    let rate = COUNT as f64 / started.elapsed().as_secs_f64() / 1e3;
    let mut heard = Vec::new();
    for listener in listeners {
        heard.push(listener.await.unwrap());
    }
    (rate, heard)
}

fn loopback_bytes() -> u64 {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    let line = devices.lines().find_map(|line| line.trim_start().strip_prefix("lo:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
