//! What survives `kill -9` at any moment of a storm of messages.
//!
//! `X0X_CRASHES` says how many crashes there are, `X0X_SEED` which; both are printed.

mod support;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use support::{Daemon, Home, PATIENCE};

/// How many callers send at once.
const CALLERS: usize = 4;

/// What was acknowledged earlier than this before a crash was delivered.
const GRACE: Duration = Duration::from_secs(1);

/// A sequence of numbers from a seed (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What came of a storm.
#[derive(Default)]
struct Storm {
    /// When each message was acknowledged.
    acknowledged: Mutex<BTreeMap<u64, Instant>>,
    /// How often each message was delivered.
    delivered: Mutex<BTreeMap<u64, u32>>,
    next: AtomicU64,
    is_over: AtomicBool,
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    socket.local_addr().expect("it is bound").port()
}

/// Sends until the storm is over; each send ends.
fn call(storm: &Storm, sender: &Daemon, recipient: &str) {
    while !storm.is_over.load(Ordering::Relaxed) {
        let id = storm.next.fetch_add(1, Ordering::Relaxed);
        // Four base64 digits carry three bytes; the number is written in digits that are base64.
        let payload = format!("{id:016}");
        let body = format!(r#"{{"agent_id":"{recipient}","payload":"{payload}"}}"#);
        let started = Instant::now();
        let status = sender.try_post("/direct/send", &body);
        assert!(started.elapsed() < PATIENCE, "a send did not end");
        match status {
            Some(200) => {
                storm.acknowledged.lock().expect("no panic").insert(id, Instant::now());
            }
            // The sender is dead.
            None => sleep(Duration::from_millis(5)),
            Some(_) => sleep(Duration::from_millis(1)),
        }
    }
}

/// Notes what the recipient delivers until it dies or the storm is over.
fn listen(storm: &Storm, mut events: support::Events) {
    while let Some(payload) = events.try_next("direct_message") {
        let id = payload["payload"].as_str().and_then(|id| id.parse().ok()).expect("a number");
        *storm.delivered.lock().expect("no panic").entry(id).or_default() += 1;
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a failure is played again from the seed")]
fn a_crash_loses_no_key_and_no_promise() {
    let (crashes, seed) = (number("X0X_CRASHES", 6), number("X0X_SEED", 1));
    println!("X0X_CRASHES={crashes} X0X_SEED={seed}");
    let mut numbers = Numbers(seed);
    let home = Home::new();
    let (alice_port, bob_port) = (free_port(), free_port());
    home.configure("alice", &format!("bind_address = '127.0.0.1:{alice_port}'"));
    home.configure(
        "bob",
        &format!(
            "bind_address = '127.0.0.1:{bob_port}'\nbootstrap_peers = ['127.0.0.1:{alice_port}']"
        ),
    );
    let mut alice = home.start("alice");
    let mut bob = home.start("bob");
    let agents = [alice.agent(), bob.agent()];
    let tokens = [alice.token.clone(), bob.token.clone()];
    let next = Arc::new(AtomicU64::new(0));
    for crash in 0..crashes {
        for daemon in [&alice, &bob] {
            daemon.wait_for("a link", |daemon| daemon.get("/health").json()["peers"] == 1);
        }
        let storm = Arc::new(Storm::default());
        storm.next.store(next.load(Ordering::Relaxed), Ordering::Relaxed);
        let events = alice.events("/direct/events");
        let listener = spawn({
            let storm = storm.clone();
            move || listen(&storm, events)
        });
        let (sender, recipient) = (Arc::new(bob), agents[0].clone());
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (storm, sender, recipient) = (storm.clone(), sender.clone(), recipient.clone());
                spawn(move || call(&storm, &sender, &recipient))
            })
            .collect();
        sleep(Duration::from_millis(200 + numbers.below(1500)));
        let victims = 1 + numbers.below(3);
        let died_at = Instant::now();
        if victims & 1 == 1 {
            alice.signal("-KILL");
        }
        if victims & 2 == 2 {
            sender.signal("-KILL");
        }
        sleep(Duration::from_millis(200));
        storm.is_over.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|caller| caller.join().expect("every send ended"));
        if victims & 1 == 0 {
            // The last deliveries are on their way.
            sleep(Duration::from_millis(300));
            alice.signal("-KILL");
        }
        listener.join().expect("the listener ended");
        let name = format!("crash {crash}, victims {victims}, seed {seed}");
        let delivered = storm.delivered.lock().expect("no panic");
        let twice: Vec<_> = delivered.iter().filter(|&(_, &count)| count > 1).collect();
        assert!(twice.is_empty(), "{name}: delivered twice: {twice:?}");
        let acknowledged = storm.acknowledged.lock().expect("no panic");
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|&(id, at)| *at + GRACE < died_at && !delivered.contains_key(id))
            .collect();
        assert!(lost.is_empty(), "{name}: acknowledged and lost: {lost:?}");
        assert!(!acknowledged.is_empty(), "{name}: nothing was sent");
        next.store(storm.next.load(Ordering::Relaxed), Ordering::Relaxed);
        drop(alice);
        drop(sender);
        (alice, bob) = (home.start("alice"), home.start("bob"));
        assert_eq!([alice.agent(), bob.agent()], agents, "{name}");
        assert_eq!([alice.token.clone(), bob.token.clone()], tokens, "{name}");
    }
}
