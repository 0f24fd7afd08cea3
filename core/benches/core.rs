//! What the core costs, in memory: no sockets, one thread that does the work of all ends. Rates
//! are per second of processor time.
//!
//! ```sh
//! cargo bench -p x0x-core --features native-crypto --bench core [name …]
//! ```
//!
//! A name is `handshakes`, `round-trips`, `messages`, `gossip`, `bulk` or `memory`; without one, all run.
//! Each ratio compares candidates that took turns in the same run, so that a noisy machine harms
//! both. The floor of most rows is bare `quinn-proto` with the same TLS, windows and driver.
//! A value is the median of several runs, with the least and the greatest beside it.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

#[path = "core/bare.rs"]
mod bare;
#[path = "core/gossip.rs"]
mod gossip;
#[path = "core/links.rs"]
mod links;
#[path = "core/nodes.rs"]
mod nodes;
#[path = "core/world.rs"]
mod world;

use std::process::Command as Process;
use std::time::{Duration, Instant};

use bytes::Bytes;

use bare::bare;
use gossip::Gossip;
use links::links;
use nodes::{Outgoing, nodes};
use world::{End, World};

/// How often each candidate runs.
const RUNS: usize = 5;

/// The datagram size that every path is taken to carry, the default.
const MTU_MIN: u16 = 1200;

/// The datagram size that most paths carry.
const MTU_MAX: u16 = 1452;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [kind] if kind == "memory-of-nodes" => {
            return println!("{}", memory_of(nodes(MESH, MTU_MIN)));
        }
        [kind] if kind == "memory-of-bare" => {
            return println!("{}", memory_of(bare(MESH, MTU_MIN)));
        }
        // `cargo test` starts benchmarks, too, without this argument and without optimisation.
        _ if !arguments.iter().any(|argument| argument == "--bench") => return,
        _ => {}
    }
    let names: Vec<&String> = arguments.iter().filter(|name| !name.starts_with('-')).collect();
    let rows: [(&str, fn()); 6] = [
        ("handshakes", handshakes),
        ("round-trips", round_trips),
        ("messages", messages),
        ("gossip", gossip_batches),
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

/// Full handshakes, each between two ends that have never met.
fn handshakes() {
    const PAIRS: usize = 200;
    let [whole, floor] = samples([
        &mut || {
            let mut worlds: Vec<_> = (0..PAIRS).map(|_| World::new(nodes(2, MTU_MIN))).collect();
            rate(PAIRS, || worlds.iter_mut().for_each(World::connect))
        },
        &mut || {
            let mut worlds: Vec<_> = (0..PAIRS).map(|_| World::new(bare(2, MTU_MIN))).collect();
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
    let mut world = World::new(nodes(2, MTU_MIN));
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
        let mut world = World::new(nodes(2, MTU_MAX));
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
    let mut pipe = World::new(bare(2, MTU_MAX));
    pipe.connect();
    let [one, some, many] = &mut whole;
    let [one, some, many, floor] =
        samples([one, some, many, &mut || pipe.transfer(COUNT * SIZE) / SIZE as f64 / 1e3]);
    row("messages", "256 B, acknowledged, 4096 in flight", "1000/s", &many, Some(&floor));
    row("messages", "256 B, acknowledged, 64 in flight", "1000/s", &some, Some(&floor));
    row("messages", "256 B, acknowledged, one by one", "1000/s", &one, Some(&floor));
    row("messages", "the payload alone on a bare stream", "1000/s", &floor, None);
}

/// Messages in signed batches, from one state to another: how many the receiver verifies and
/// delivers, and the same with the publisher's work.
fn gossip_batches() {
    const COUNT: usize = 64_000;
    for messages in [1, 16, 64] {
        let batches = COUNT.min(4000 * messages) / messages;
        let run = |is_whole| {
            let mut gossip = Gossip::new();
            gossip.transfer(batches, messages, is_whole, |count, run| rate(count, run)) / 1e3
        };
        let [receiver, both] = samples([&mut || run(false), &mut || run(true)]);
        let of = format!("256 B, batches of {messages}, received");
        row("gossip", &of, "1000/s", &receiver, None);
        row("gossip", "the same, and published", "1000/s", &both, None);
    }
}

/// Frames of the class bulk, against the same payload on one bare stream.
fn bulk() {
    const BYTES: usize = 256 << 20;
    let mut links = World::new(links(2, MTU_MAX));
    links.connect();
    let mut pipe = World::new(bare(2, MTU_MAX));
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

struct Sample {
    median: f64,
    least: f64,
    greatest: f64,
}

/// Runs the candidates in turn.
fn samples<const N: usize>(mut candidates: [&mut dyn FnMut() -> f64; N]) -> [Sample; N] {
    let mut values: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..RUNS {
        for (candidate, values) in candidates.iter_mut().zip(&mut values) {
            values.push(candidate());
        }
    }
    values.map(|mut values| {
        values.sort_by(f64::total_cmp);
        Sample { median: values[RUNS / 2], least: values[0], greatest: values[RUNS - 1] }
    })
}

/// Returns how many per second of processor time, which other programs take nothing from.
fn rate(count: usize, run: impl FnOnce()) -> f64 {
    let (start, started) = (Instant::now(), processor_time());
    run();
    let used = match (started, processor_time()) {
        (Some(started), Some(ended)) => ended - started,
        _ => start.elapsed(),
    };
    count as f64 / used.as_secs_f64()
}

/// How long this thread has run; nothing where the system does not say.
fn processor_time() -> Option<Duration> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(schedstat.split(' ').next()?.parse().ok()?))
}

fn row(name: &str, of: &str, unit: &str, sample: &Sample, floor: Option<&Sample>) {
    let Sample { median, least, greatest } = sample;
    let digits = if *median < 10.0 { 3 } else { 0 };
    let range = format!("{least:.digits$}..{greatest:.digits$}");
    let ratio = floor.map_or(String::new(), |floor| format!("{:.2}", median / floor.median));
    println!("{name:<12} {of:<42} {median:>10.digits$} {unit:<10} {range:>15} {ratio:>5}");
}
