//! Nodes without a network and without waiting: one thread, virtual time, and a wire that loses
//! datagrams.
//!
//! A node reads no clock, so a program may pass any time that does not run backwards. This one jumps
//! to whatever comes next, a datagram's arrival or a deadline. Two nodes connect over a wire that
//! delays every datagram and loses every tenth, exchange messages, and one of them crashes and
//! starts again from its store. It is the same in each run, down to every byte sent: the program
//! plays it twice and compares. Run it with `cargo run -p x0x-core --example no_network`.

#![expect(clippy::disallowed_methods, reason = "the monotonic clock has no origin to start from")]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an application picks the events it needs")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use x0x_core::crypto::hash::blake3;
use x0x_core::gossip::{self, Topic};
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::node::*;
use x0x_core::transport::{Datagram, Transmit};
use x0x_core::{direct, link, overlay, support};

type Error = Box<dyn std::error::Error>;

const DELAY: Duration = Duration::from_millis(30);
const LOST_OF: u64 = 10;
const TIMEOUT: Duration = Duration::from_secs(30);
const ALICE: usize = 0;
const BOB: usize = 1;

fn main() -> Result<(), Error> {
    let (first, second) = (play()?, play()?);
    print!("{}", first.join("\n"));
    println!("\nA second run was the same.");
    if first == second { Ok(()) } else { Err(format!("another run: {second:#?}").into()) }
}

/// Plays the story and returns what happened.
fn play() -> Result<Vec<String>, Error> {
    let mut world = World::new()?;
    let alice = MachineKey::from_seed(&seed(ALICE)).id();
    let bob = AgentKey::from_seed(&seed(BOB)).id();

    let target = Target::Address { address: address(BOB), machine: None };
    let connect = Connect { target, keep: false, timeout: TIMEOUT };
    world.ask(ALICE, connect)??;

    let topic = Topic::new("weather")?;
    world.ask(ALICE, Subscribe { topic: topic.clone() })?;
    world.ask(BOB, Subscribe { topic: topic.clone() })?;
    // A message published now would come by repair, seconds later: they are no neighbours yet.
    while world.ask(BOB, ListTopics)?.iter().all(|topic| topic.neighbours == 0) {
        world.pass(Duration::from_millis(100))?;
    }
    world.ask(BOB, Publish { topic, payload: Bytes::from("rain") })?;
    world.run(TIMEOUT, |world| world.has_logged("alice hears rain"))?;

    // Bob answers at the turn of the application, so the answer shares a datagram with the
    // acknowledgement.
    let payload = Bytes::from("umbrella?");
    world.ask(ALICE, SendDirect { recipient: bob, payload, timeout: TIMEOUT })??;
    world.run(TIMEOUT, |world| world.has_logged("alice receives umbrella? yes"))?;

    // Nothing is left of the node but its store, which knows where the other machine is.
    world.crash(BOB)?;
    let target = Target::Machine(alice);
    let connected = world.ask(BOB, Connect { target, keep: false, timeout: TIMEOUT })??;
    world.log(BOB, &format!("finds {} again", connected.address));

    for node in [ALICE, BOB] {
        world.ask(node, ShutDown)?;
    }
    Ok(world.finish())
}

/// The seed of a node's agent key. Real ones are secrets.
fn seed(node: usize) -> [u8; 32] {
    [u8::try_from(node).unwrap_or(u8::MAX); 32]
}

fn address(node: usize) -> SocketAddr {
    ([192, 0, 2, seed(node)[0]], 5483).into()
}

struct Host {
    node: Node,
    store: MemoryStore,
    deadline: Option<Deadline>,
    /// What the application has not seen yet.
    events: Vec<Event>,
    starts: u8,
}

impl Host {
    fn start(number: usize, mut store: MemoryStore, starts: u8, time: Time) -> Result<Self, Error> {
        let config = Config {
            machine_key: MachineKey::from_seed(&seed(number)),
            agent_key: AgentKey::from_seed(&seed(number)),
            certificate: None,
            sockets: vec![address(number)],
            link: link::LinkConfig::default(),
            overlay: overlay::Config::default(),
            memory: support::MemoryBudget::DEFAULT,
        };
        // Another seed at each start. A real one is drawn from the operating system; with a chosen
        // one the run can be repeated.
        let mut seed = seed(number);
        seed[31] = starts;
        let node = Node::new(config, seed, store.restore()?, time)?;
        Ok(Self { node, store, deadline: None, events: Vec::new(), starts })
    }
}

struct World {
    hosts: [Host; 2],
    start: Time,
    time: Time,
    /// Datagrams by their arrival; the number keeps those of one moment in order.
    wire: BTreeMap<(Instant, u64), (usize, Datagram)>,
    sent: u64,
    /// A running hash over every byte that was sent.
    digest: [u8; 32],
    last_command: u64,
    replies: BTreeMap<CommandId, Reply>,
    log: Vec<String>,
}

impl World {
    fn new() -> Result<Self, Error> {
        let time = Time { now: Instant::now(), unix_time: Duration::from_secs(1_800_000_000) };
        let host = |number| Host::start(number, MemoryStore::default(), 1, time);
        Ok(Self {
            hosts: [host(ALICE)?, host(BOB)?],
            start: time,
            time,
            wire: BTreeMap::new(),
            sent: 0,
            digest: [0; 32],
            last_command: 0,
            replies: BTreeMap::new(),
            log: Vec::new(),
        })
    }

    /// Asks a node and lets time pass until it answers.
    fn ask<R: TypedRequest>(&mut self, host: usize, request: R) -> Result<R::Reply, Error> {
        self.last_command += 1;
        let id = CommandId(self.last_command);
        let command = Command { id, request: request.into() };
        self.hosts[host].node.handle_command(self.time, command)?;
        self.run(TIMEOUT + DELAY, |world| world.replies.contains_key(&id))?;
        let reply = self.replies.remove(&id).and_then(R::reply);
        reply.ok_or_else(|| "the reply is of another type".into())
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) -> Result<(), Error> {
        let end = self.time.now + time;
        self.run(time, |world| world.next().is_none_or(|next| next > end))?;
        self.time = self.time.at(end);
        Ok(())
    }

    /// Lets time pass until something has happened and every node is idle.
    fn run(&mut self, limit: Duration, is_over: impl Fn(&Self) -> bool) -> Result<(), Error> {
        let end = self.time.now + limit;
        loop {
            self.drain(ALICE)?;
            self.drain(BOB)?;
            if is_over(self) {
                return Ok(());
            }
            let next = self.next().ok_or("nothing more will happen")?;
            if next > end {
                return Err("it did not happen in time".into());
            }
            // Both clocks move together, by as much as nothing happens.
            self.time = self.time.at(next);
            self.feed(next);
        }
    }

    /// Returns when the next datagram arrives or the next node is due.
    fn next(&self) -> Option<Instant> {
        let arrival = self.wire.first_key_value().map(|(&(arrival, _), _)| arrival);
        let deadlines = self.hosts.iter().filter_map(|host| Some(host.deadline?.at));
        deadlines.chain(arrival).min()
    }

    /// Feeds every node what is due: datagrams that arrive, and its deadline.
    fn feed(&mut self, now: Instant) {
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= now) {
            let (host, datagram) = entry.remove();
            self.hosts[host].node.handle_datagram(self.time, datagram);
        }
        for host in &mut self.hosts {
            if host.deadline.is_some_and(|deadline| deadline.at <= now) {
                host.node.handle_timeout(self.time);
            }
        }
    }

    fn drain(&mut self, number: usize) -> Result<(), Error> {
        let mut datagrams = Vec::new();
        loop {
            let host = &mut self.hosts[number];
            match host.node.poll_output(&mut datagrams) {
                Output::Transmit(transmit) => self.transmit(&transmit, &datagrams),
                Output::Store(batch) => {
                    let result = host.store.apply(std::slice::from_ref(&batch));
                    host.node.handle_stored(self.time, batch.id, result);
                }
                Output::Load(load) => {
                    let result = host.store.load(&load);
                    host.node.handle_loaded(self.time, load.id, result);
                }
                Output::Event(Event::Halted(fatal)) => return Err(fatal.into()),
                Output::Event(event) => host.events.push(event),
                Output::Settled => {
                    for event in std::mem::take(&mut host.events) {
                        self.application(number, event)?;
                    }
                }
                Output::Idle { deadline } => {
                    host.deadline = deadline;
                    return Ok(());
                }
            }
        }
    }

    /// The turn of an application. Bob answers questions; Alice keeps what she hears.
    fn application(&mut self, number: usize, event: Event) -> Result<(), Error> {
        match event {
            Event::Reply { command, reply } => {
                self.replies.insert(command, reply);
            }
            Event::Gossip(gossip::Event::Received { payload, .. }) => {
                self.log(number, &format!("hears {}", String::from_utf8_lossy(&payload)));
            }
            Event::Direct(direct::Event::Received { sender, payload, .. }) => {
                self.log(number, &format!("receives {}", String::from_utf8_lossy(&payload)));
                if number == BOB {
                    self.last_command += 1;
                    let id = CommandId(self.last_command);
                    let payload = [&payload[..], b" yes"].concat().into();
                    let send = SendDirect { recipient: sender, payload, timeout: TIMEOUT };
                    let command = Command { id, request: send.into() };
                    self.hosts[BOB].node.handle_command(self.time, command)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts datagrams on the wire, or loses them.
    fn transmit(&mut self, transmit: &Transmit, datagrams: &[u8]) {
        for payload in datagrams.chunks(transmit.segment_size.unwrap_or(transmit.size)) {
            self.sent += 1;
            self.digest = blake3(&[&self.digest[..], payload].concat());
            let host = [ALICE, BOB].into_iter().find(|&host| address(host) == transmit.target);
            let Some(host) = host.filter(|_| !self.sent.is_multiple_of(LOST_OF)) else { continue };
            let datagram = Datagram {
                source: transmit.local,
                local: transmit.target,
                ecn: transmit.ecn,
                payload: BytesMut::from(payload),
            };
            self.wire.insert((self.time.now + DELAY, self.sent), (host, datagram));
        }
    }

    /// Ends a node at once, and starts it again from its store.
    fn crash(&mut self, number: usize) -> Result<(), Error> {
        self.log(number, "crashes");
        let Host { store, starts, .. } = &mut self.hosts[number];
        self.hosts[number] = Host::start(number, std::mem::take(store), *starts + 1, self.time)?;
        Ok(())
    }

    fn log(&mut self, number: usize, text: &str) {
        let name = if number == ALICE { "alice" } else { "bob" };
        let millis = self.time.now.duration_since(self.start.now).as_millis();
        self.log.push(format!("{millis:6} ms: {name} {text}"));
    }

    fn has_logged(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.ends_with(text))
    }

    fn finish(mut self) -> Vec<String> {
        let hash: String = self.digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.log.push(format!("{} datagrams with the hash {hash}", self.sent));
        self.log
    }
}
