//! The event loop: virtual time, the nodes, and everything between them.
//!
//! **Time.** It starts at zero and jumps from event to event. Nodes see it as an offset to one
//! instant, and as wall time from [`UNIX_BASE`] on, both by clocks that may differ from the world's
//! ([`ClockProfile`]). Events of one time happen in the order in which they were planned.
//!
//! **Places.** A host has sockets in the public network or behind NATs ([`Place`]), may have a
//! firewall, may move, sleep and lose an interface.
//!
//! **Driving.** After each input a node is drained until it is idle. Each node has one timer; when
//! its deadline moves, the old entry of the queue stays and is ignored when it comes.
//!
//! **Replay.** [`WorldConfig`] and the recorded steps are the whole world, see
//! [`Recording`](crate::Recording).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use x0x_core::identity::{AgentId, MachineId};
use x0x_core::link::LinkConfig;
use x0x_core::node::{
    Command, CommandError, CommandId, Event, Input, LoadId, Node, Request, StoreError, Time,
};
use x0x_core::support::Rng;

use crate::checks::Checks;
use crate::history::History;
use crate::network::{Interceptor, Realm};
use crate::queue::{Pending, Queue, Slab};
use crate::trace::Trace;
use crate::{
    DiskProfile, Failure, LinkProfile, Machine, NatConfig, NatId, Network, NodeId, Packet,
    RecordedStep, Step, random,
};

mod clock;
mod drive;
mod host;
mod place;
mod sleep;
mod view;

pub use clock::ClockProfile;
pub use place::Place;

use host::Host;

/// The wall time at the start of every world, since the Unix epoch.
pub const UNIX_BASE: Duration = Duration::from_secs(1_750_000_000);

/// How far the clock of the nodes is from the instant at which the world was made, so that a node
/// may look back.
const CLOCK_OFFSET: Duration = Duration::from_secs(3600);

/// The port of the first node of each host.
const PORT_BASE: u16 = 4000;

/// How often [`World::run_until_true`] looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a world is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorldConfig {
    /// The seed of everything random.
    pub seed: u64,
    /// How many nodes there are. All start at time zero.
    pub nodes: u32,
    /// How many nodes share the address of a host, each with a port of its own.
    pub nodes_per_host: u16,
    /// Whether each node has one more socket, for IPv6, in the public network.
    pub dual_stack: bool,
    /// The NATs, the outer ones first.
    pub nats: Vec<NatConfig>,
    /// Where each node is; those that are missing here are in the public network.
    pub places: Vec<Place>,
    /// The links between all nodes.
    pub link: LinkProfile,
    /// The disks of all nodes.
    pub disk: DiskProfile,
    /// How the nodes' own links behave.
    pub link_config: LinkConfig,
    /// Whether payloads and names of topics hold the [`MARKER`](crate::checks::MARKER), and
    /// datagrams are searched for it.
    pub marked: bool,
    /// Whether to keep every event of every node, see [`World::events`].
    pub record_events: bool,
    /// Whether to keep every step, see [`World::steps`].
    pub record_steps: bool,
}

impl WorldConfig {
    /// Makes a configuration with good links and everything recorded.
    pub fn new(seed: u64, nodes: u32) -> Self {
        Self {
            seed,
            nodes,
            nodes_per_host: 1,
            dual_stack: false,
            nats: Vec::new(),
            places: Vec::new(),
            link: LinkProfile::default(),
            disk: DiskProfile::default(),
            link_config: LinkConfig::default(),
            marked: false,
            record_events: true,
            record_steps: true,
        }
    }
}

/// An event with its time and its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The virtual time.
    pub at: Duration,
    /// The node.
    pub node: NodeId,
    /// What it told its application.
    pub event: Event,
}

/// A datagram that is under way, to an address of a realm.
#[derive(Debug)]
struct Flight {
    realm: Realm,
    packet: Packet,
}

/// A read that is under way.
#[derive(Debug)]
struct Read {
    node: NodeId,
    run: u32,
    id: LoadId,
    result: Result<bytes::Bytes, StoreError>,
}

/// A world.
pub struct World<M = Node> {
    pub(crate) config: WorldConfig,
    rng: Rng,
    crash_rng: Rng,
    anchor: Instant,
    pub(crate) now: Duration,
    pub(crate) processed: u64,
    commands: u64,
    looks: u64,
    hosts: Vec<Host<M>>,
    /// How many fresh addresses each network gave away.
    given: BTreeMap<Option<NatId>, u32>,
    pub(crate) network: Network,
    trace: Trace,
    pub(crate) checks: Checks,
    /// What happened, if it is kept.
    pub(crate) history: Option<Box<History>>,
    queue: Queue,
    flights: Slab<Flight>,
    reads: Slab<Read>,
    planned: Slab<Step>,
    interceptor: Option<Interceptor>,
    injected: Vec<(Duration, Packet)>,
    buffer: Vec<u8>,
    events: Vec<Logged>,
    pub(crate) steps: Vec<RecordedStep>,
}

impl<M> fmt::Debug for World<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("World")
            .field("seed", &self.config.seed)
            .field("now", &self.now)
            .field("nodes", &self.hosts.len())
            .finish_non_exhaustive()
    }
}

impl World<Node> {
    /// Makes a world of whole nodes.
    pub fn new(config: WorldConfig) -> Self {
        Self::with_machines(config)
    }
}

impl<M: Machine> World<M> {
    /// Makes a world of other machines than whole nodes.
    pub fn with_machines(config: WorldConfig) -> Self {
        let rng = random::from_number(config.seed);
        let mut world = Self {
            crash_rng: rng.fork("crash"),
            anchor: Instant::now() + CLOCK_OFFSET,
            now: Duration::ZERO,
            processed: 0,
            commands: 0,
            looks: 0,
            hosts: Vec::new(),
            given: BTreeMap::new(),
            network: Network::new(rng.fork("network"), config.nodes as usize, config.link),
            trace: Trace::default(),
            checks: Checks::new(config.seed),
            history: None,
            queue: Queue::default(),
            flights: Slab::default(),
            reads: Slab::default(),
            planned: Slab::default(),
            interceptor: None,
            injected: Vec::new(),
            buffer: Vec::new(),
            events: Vec::new(),
            steps: Vec::new(),
            rng,
            config,
        };
        for &nat in &world.config.nats {
            world.network.add_nat(nat);
        }
        for node in 0..world.config.nodes {
            world.add_node(NodeId(node));
        }
        world
    }

    /// Puts an attacker on every path, or takes it away.
    pub fn set_interceptor(&mut self, interceptor: Option<Interceptor>) {
        self.interceptor = interceptor;
    }

    /// Expects nothing of a node from here on: it may say what it wants and break every rule. What
    /// others do is checked all the same.
    pub fn set_hostile(&mut self, node: NodeId) {
        self.checks.set_hostile(node);
    }

    /// Tells the world that a node may show this identity, beside its own.
    pub fn add_identity(&mut self, node: NodeId, machine: MachineId, agent: AgentId) {
        self.checks.add_node(node, machine, agent);
    }

    /// Lets a test do something with a node that is no step, and takes what comes of it. Like an
    /// [`Interceptor`] it is code: a world that was acted on like this replays only with the test.
    ///
    /// # Panics
    ///
    /// If the node does not run.
    pub fn act<R>(&mut self, node: NodeId, act: impl FnOnce(&mut M, Time) -> R) -> R {
        let time = self.time_of(node);
        let machine = self.hosts[node.index()].machine.as_mut();
        let result = act(machine.expect("the node runs"), time);
        self.drain(node);
        result
    }

    /// Does a step at the present time. Returns the id of the command, if it is one.
    ///
    /// # Errors
    ///
    /// If a node refused the command; a node that does not run counts as halted.
    pub fn apply(&mut self, step: Step) -> Result<Option<CommandId>, CommandError> {
        if self.config.record_steps {
            let (at, events) = (self.now, self.processed);
            self.steps.push(RecordedStep { at, events, step: step.clone() });
        }
        self.tell_step(&step);
        match step {
            Step::Command { node, request } => return self.issue(node, request).map(Some),
            Step::Crash { node } => self.crash(node),
            Step::Restart { node } => {
                self.crash(node);
                self.start(node);
            }
            Step::Upgrade { node, versions } => {
                self.crash(node);
                self.hosts[node.index()].config.link.versions = versions;
                self.start(node);
            }
            Step::SetLink { ends, profile } => self.network.set_link(ends, profile),
            Step::SetEveryLink { profile } => self.network.set_every_link(profile),
            Step::SetDirection { from, to, profile } => {
                self.network.set_direction(from, to, profile);
            }
            Step::SetDisk { node, profile } => self.hosts[node.index()].set_disk(profile),
            Step::SetPassage { from, to, is_open } => self.network.set_blocked(from, to, !is_open),
            Step::Partition { name, groups } => self.network.partition(name, &groups),
            Step::Heal { name } => self.network.heal(name),
            Step::MoveSocket { node, address, announce } => {
                return self.move_socket(node, address, announce);
            }
            Step::Roam { node, socket, nat, announce } => {
                return self.roam(node, socket, nat, announce);
            }
            Step::SetInterface { node, socket, is_up } => {
                return self.set_interface(node, socket, is_up);
            }
            Step::ResetNat { nat } => self.network.reset_nat(nat),
            Step::Sleep { node, stops_clock } => self.sleep(node, stops_clock),
            Step::Wake { node } => self.wake(node),
            Step::SetClock { node, profile } => self.set_clock(node, profile),
            Step::Calm => self.network.heal_all(),
            Step::Expect(expectation) => {
                if let Err((node, what)) = self.meets(&expectation) {
                    self.checks.fail(self.now, node, what);
                }
            }
            Step::Inject { source, target, ecn, payload } => {
                let payload = bytes::BytesMut::from(&payload[..]);
                let packet = Packet { source, target, ecn, payload };
                self.deliver_at(self.now, Flight { realm: None, packet });
            }
        }
        Ok(None)
    }

    /// Plans a step. One for the past happens next. Refused commands are counted.
    pub fn schedule(&mut self, at: Duration, step: Step) {
        let slot = self.planned.insert(step);
        self.queue.push(at.max(self.now), Pending::Step(slot));
    }

    /// Has a node's application ask for something.
    ///
    /// # Errors
    ///
    /// If the node refused it; a node that does not run counts as halted.
    pub fn command(
        &mut self,
        node: NodeId,
        request: impl Into<Request>,
    ) -> Result<CommandId, CommandError> {
        let step = Step::Command { node, request: request.into() };
        self.apply(step).map(|id| id.expect("a command that is accepted has an id"))
    }

    /// Lets the world run until a time.
    ///
    /// # Errors
    ///
    /// If a check failed: the world stopped there.
    pub fn run_until(&mut self, until: Duration) -> Result<(), Failure> {
        self.check()?;
        while self.process_next(until) {
            self.check()?;
        }
        self.now = self.now.max(until);
        self.check()
    }

    /// Lets the world run for a while.
    ///
    /// # Errors
    ///
    /// If a check failed.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Failure> {
        self.run_until(self.now + duration)
    }

    /// Lets the world run until something is true, and for `limit` at most. Tells whether it is.
    ///
    /// # Errors
    ///
    /// If a check failed.
    pub fn run_until_true(
        &mut self,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<bool, Failure> {
        let end = self.now + limit;
        while !condition(self) {
            if self.now >= end {
                return Ok(false);
            }
            self.run_until((self.now + LOOK_INTERVAL).min(end))?;
        }
        Ok(true)
    }

    /// Checks that no command is overdue.
    ///
    /// # Errors
    ///
    /// If a check failed, this one or one before: the world is over.
    pub fn check(&mut self) -> Result<(), Failure> {
        self.checks.overdue(self.now);
        self.checks.failure().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Checks that both ends of every link agree that it is up. It holds once the network has been
    /// calm for longer than a silent link lives.
    ///
    /// # Errors
    ///
    /// If a check failed, this one or one before.
    pub fn check_agreement(&mut self) -> Result<(), Failure> {
        self.checks.agreed(self.now);
        self.check()
    }

    /// Ends the world with a failure that the caller found.
    pub fn fail(&mut self, what: impl Into<String>) -> Failure {
        self.checks.fail(self.now, None, what.into());
        self.checks.failure().expect("there is one").clone()
    }

    /// Lets events happen until this many were processed, or none is left.
    pub(crate) fn process_up_to(&mut self, count: u64) -> Result<(), Failure> {
        self.check()?;
        while self.processed < count && self.process_next(Duration::MAX) {
            self.check()?;
        }
        Ok(())
    }

    /// Lets the next event happen that is not later than `until`. Returns whether there is one.
    fn process_next(&mut self, until: Duration) -> bool {
        let Some((at, pending)) = self.queue.pop(until) else { return false };
        self.now = at;
        self.tell_time();
        // A step is counted by what it does, so that it can be played without having been planned.
        self.processed += u64::from(!matches!(pending, Pending::Step(_)));
        self.process(pending);
        true
    }

    fn issue(&mut self, node: NodeId, request: Request) -> Result<CommandId, CommandError> {
        self.commands += 1;
        let id = CommandId(self.commands);
        let noted = self.checks.note(&request);
        let asked = self.history.as_ref().map(|history| history.note(&request));
        let result = if self.is_awake(node) {
            self.hand_over(node, Input::Command(Command { id, request }))
        } else {
            Err(CommandError::Halted)
        };
        if let Err(error) = result {
            self.checks.tally.refused += 1;
            if !self.is_asleep(node) {
                self.drain(node);
            }
            return Err(error);
        }
        let run = self.hosts[node.index()].run;
        self.checks.accepted(self.now, node, run, id, noted);
        if let (Some(history), Some(asked)) = (&mut self.history, asked) {
            history.accepted(self.now, node, id, asked);
        }
        self.drain(node);
        Ok(id)
    }
}

#[cfg(test)]
mod tests;
