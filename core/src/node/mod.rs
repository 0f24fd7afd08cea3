//! The node: all modules behind one door in and one door out.
//!
//! # How it is driven
//!
//! A driver feeds inputs (`handle_*`) with the time at which they happened, then calls
//! [`Node::poll_output`] **until it returns [`Output::Idle`]**, does what the outputs say, and sleeps
//! until the next input or the deadline. Several inputs may be fed before draining. That is all:
//! whoever can move datagrams, keep a timer and store records can run a node, in any event loop.
//!
//! # Rules
//!
//! 1. A node reads no clock, draws no randomness and touches no socket, file or thread. The same
//!    seed, times and inputs give the same outputs.
//! 2. Only a command can fail, and then it changed nothing. A peer's fault is a counter, and at
//!    most one [`Event::PeerDown`].
//! 3. What depends on a write leaves only after [`Node::handle_stored`] with success.
//! 4. A write that fails halts the node: [`Event::Halted`], then nothing any more.
//! 5. Time never runs backwards: an earlier time counts as the latest one seen. Wall time is what
//!    the node was told last and counted on from: a driver asks [`Node::wall_time_is_off`] before
//!    each input, since hosts sleep and clocks are set.
//! 6. The deadline of [`Output::Idle`] is later than every time that the node has seen. What is due
//!    already is done before; QUIC needs that, because one of its timers can uncover another that
//!    was due earlier.
//!
//! # How it is made
//!
//! This module translates between the others and decides nothing. There is one routing file for
//! each: what a module's outputs mean to its siblings. Outputs are routed until none is left, so
//! between inputs every module has seen what concerns it. Acknowledgements and frames are gathered
//! over all inputs of a batch and leave when the driver starts to drain.

mod command;
mod config;
mod event;
mod input;
mod named;
mod own;
mod record;
pub mod recording;
mod route_command;
mod route_direct;
mod route_gossip;
mod route_link;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use command::*;
pub use config::{Config, StartError};
pub use event::{Event, Fatal};
pub use input::{Deadline, Input, Output, Step};
pub use store::*;

use crate::crypto::tls::WallClock;
use crate::identity::{AgentId, MachineId};
use crate::link::LinkIdentity;
use crate::support::part::{Clock, Part};
use crate::support::{Counters, Rng};
use crate::transport::Datagram;
use crate::{direct, gossip, link};
use store::BLOCKED;

/// How many times at most what is due is done again after one input. One timer of QUIC stands for
/// the loss of a packet and for the probe after it: when it fires for a loss, the probe may have
/// been due long ago, and then each firing doubles the wait, up to 16 times. Each of the nine timers
/// may fire at the same time.
const TIMEOUTS_MAX: u32 = 9 + 16;

/// How far the wall clock may be from what a node counts.
pub const WALL_TIME_OFF_MAX: Duration = Duration::from_secs(1);

/// A node, see the [module](self).
#[derive(Debug)]
pub struct Node {
    /// One moment on both clocks: the wall time is counted from there.
    anchor: (Instant, Duration),
    now: Instant,
    machine: MachineId,
    /// The wall time as TLS sees it.
    wall_clock: WallClock,
    counters: Counters,
    link: Part<link::State, link::Output>,
    direct: Part<direct::State, direct::Output>,
    gossip: Part<gossip::State<MachineId>, gossip::Output<MachineId>>,
    outputs: VecDeque<Output>,
    /// What leaves when a write is safe.
    after: BTreeMap<WriteId, Vec<Output>>,
    last_write: u64,
    /// The sequence that is stored, see [`own`].
    own_sequence: u64,
    /// Whether inputs came since acknowledgements and frames were last gathered.
    is_unsettled: bool,
    is_shut_down: bool,
    /// How many times what is due was done since the last input.
    timeouts: u32,
    is_halted: bool,
}

impl Node {
    /// Starts a node.
    ///
    /// `seed` must be fresh for each start and unpredictable to others: all keys of sessions come
    /// from it. `unix_time` is the wall time at `now`, since the Unix epoch.
    ///
    /// # Errors
    ///
    /// If the configuration or a stored record cannot be used.
    pub fn new(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        now: Instant,
        unix_time: Duration,
    ) -> Result<Self, StartError> {
        config.check()?;
        let root = Rng::from_seed(seed);
        let wall_clock = WallClock::new(unix_time);
        let machine = config.machine_key.id();
        let agent = config.agent_key.id();
        let key = config.agent_key.clone();
        let gossip = gossip::State::new(
            config.overlay,
            config.memory,
            key,
            machine,
            root.fork("gossip state"),
        );
        let identity = LinkIdentity {
            machine_key: config.machine_key,
            agent_key: config.agent_key,
            certificate: config.certificate,
            clock: wall_clock.clone(),
        };
        let link = link::State::new(
            config.link,
            config.memory,
            identity,
            config.sockets,
            now,
            unix_time,
            root.fork("link state"),
        );
        let mut node = Self {
            anchor: (now, unix_time),
            now,
            machine,
            wall_clock,
            counters: Counters::default(),
            link: Part::new(link, root.fork("link")),
            direct: Part::new(direct::State::new(vec![agent]), root.fork("direct")),
            gossip: Part::new(gossip, root.fork("gossip")),
            outputs: VecDeque::new(),
            after: BTreeMap::new(),
            last_write: 0,
            own_sequence: 0,
            is_unsettled: false,
            is_shut_down: false,
            timeouts: 0,
            is_halted: false,
        };
        for record in restored.records {
            node.restore(&record)?;
        }
        node.link.state.resume(now);
        Ok(node)
    }

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let Some(clock) = self.wake(now) else { return };
        self.link.act(clock, &mut self.counters, |link, context| {
            link.handle_datagram(context, datagram);
        });
        self.route();
    }

    /// The deadline came.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(clock) = self.wake(now) {
            self.do_what_is_due(clock);
        }
    }

    /// The application wants something.
    ///
    /// # Errors
    ///
    /// If the command is not possible; then nothing changed and no reply follows.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), CommandError> {
        let clock = self.wake(now).ok_or(CommandError::Halted)?;
        if self.is_shut_down {
            return Err(CommandError::ShutDown);
        }
        self.command(clock, command)?;
        self.route();
        Ok(())
    }

    /// A write ended.
    pub fn handle_stored(&mut self, now: Instant, id: WriteId, result: Result<(), StoreError>) {
        if self.wake(now).is_none() {
            return;
        }
        match result {
            Ok(()) => self.outputs.extend(self.after.remove(&id).unwrap_or_default()),
            Err(error) => {
                self.is_halted = true;
                self.outputs.clear();
                self.outputs.push_back(Output::Event(Event::Halted(Fatal::Store(error))));
            }
        }
    }

    /// A read ended. No module reads from the store while the node runs.
    pub fn handle_loaded(&mut self, now: Instant, _: LoadId, _: Result<Bytes, StoreError>) {
        self.wake(now);
    }

    /// Tells whether the wall clock shows something else than the node counts. Then it is to be told:
    /// somebody set the clock, or the host slept, and its monotonic clock with it.
    pub fn wall_time_is_off(&self, now: Instant, unix_time: Duration) -> bool {
        self.unix_time(now).abs_diff(unix_time) > WALL_TIME_OFF_MAX
    }

    /// The wall clock shows this. A driver asks [`Node::wall_time_is_off`] before every other input.
    pub fn handle_wall_time(&mut self, now: Instant, unix_time: Duration) {
        self.now = self.now.max(now);
        self.anchor = (self.now, unix_time);
        let Some(clock) = self.wake(now) else { return };
        self.link.act(clock, &mut self.counters, link::State::handle_wall_time);
        self.gossip.act(clock, &mut self.counters, gossip::State::handle_wall_time);
        self.route();
    }

    /// Takes the next output. `buf` is cleared, and holds the datagrams of a
    /// [`Output::Transmit`].
    pub fn poll_output(&mut self, buf: &mut Vec<u8>) -> Output {
        buf.clear();
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            if self.is_halted {
                return Output::Idle { deadline: None };
            }
            if self.is_unsettled {
                self.settle();
                continue;
            }
            if let Some(transmit) = self.link.state.poll_transmit(self.now, buf) {
                return Output::Transmit(transmit);
            }
            let deadline = self.deadline();
            let is_due = deadline.is_some_and(|deadline| deadline.at <= self.now);
            if !is_due || self.timeouts == TIMEOUTS_MAX {
                return Output::Idle { deadline };
            }
            self.timeouts += 1;
            self.is_unsettled = true;
            self.do_what_is_due(self.clock());
        }
    }

    /// Takes the next output that is there already. Unlike [`Node::poll_output`] it gathers nothing
    /// and builds no datagram, so a driver can tell the application first, and the answer leaves
    /// with the acknowledgement. It replaces no call of `poll_output`.
    pub fn poll_ready(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns what the node's links hold at the moment.
    pub fn link_usage(&self) -> link::Usage {
        self.link.state.usage()
    }

    /// Returns what the node's gossip holds for authors and peers at the moment.
    pub fn gossip_held(&self) -> gossip::Held {
        self.gossip.state.held()
    }

    /// Returns the bytes of direct messages that wait for their end.
    pub fn direct_waiting_bytes(&self) -> usize {
        self.direct.state.waiting_bytes()
    }

    fn deadline(&self) -> Option<Deadline> {
        let link = self.link.state.deadline();
        let direct = self.direct.state.deadline().map(|at| (at, "message timeout"));
        let gossip = self.gossip.state.deadline().map(|at| (at, "gossip"));
        let (at, timer) = [link, direct, gossip].into_iter().flatten().min()?;
        Some(Deadline { at, timer })
    }

    /// Moves the clock; nothing if the node has halted.
    fn wake(&mut self, now: Instant) -> Option<Clock> {
        self.now = self.now.max(now);
        self.is_unsettled = true;
        self.timeouts = 0;
        let clock = self.clock();
        self.wall_clock.set(clock.unix_time);
        (!self.is_halted).then_some(clock)
    }

    fn do_what_is_due(&mut self, clock: Clock) {
        self.link.act(clock, &mut self.counters, link::State::handle_timeout);
        self.direct.act(clock, &mut self.counters, |direct, context| {
            direct.handle(context, direct::Input::Timeout);
        });
        self.tell_gossip(clock, gossip::Input::Timeout);
        self.route();
    }

    fn clock(&self) -> Clock {
        Clock { now: self.now, unix_time: self.unix_time(self.now) }
    }

    fn unix_time(&self, now: Instant) -> Duration {
        let (at, unix_time) = self.anchor;
        unix_time.saturating_add(now.saturating_duration_since(at))
    }

    /// Gathers acknowledgements and frames of all inputs since the last time.
    fn settle(&mut self) {
        let clock = self.clock();
        self.direct.act(clock, &mut self.counters, direct::State::settle);
        self.gossip.act(clock, &mut self.counters, gossip::State::settle);
        self.route();
        self.link.act(clock, &mut self.counters, link::State::flush);
        // What became writable is filled once; the rest follows the next acknowledgement.
        self.route();
        self.link.act(clock, &mut self.counters, link::State::flush);
        self.is_unsettled = false;
        if self.link.state.has_sessions() {
            self.store_own();
        }
        self.route();
    }

    /// Routes outputs between the modules until none is left. What an output of a lower module
    /// causes above it comes before the next one: a message is told before the end of its session.
    fn route(&mut self) {
        let clock = self.clock();
        loop {
            if let Some(output) = self.direct.pop() {
                self.route_direct(clock, output);
            } else if let Some(output) = self.gossip.pop() {
                self.route_gossip(clock, output);
            } else if let Some(output) = self.link.pop() {
                self.route_link(clock, output);
            } else {
                return;
            }
        }
    }

    /// Asks the store for a change; `dependent` leaves when it is safe.
    fn store(&mut self, puts: Vec<Record>, deletes: Vec<(Table, Bytes)>, dependent: Vec<Output>) {
        self.last_write += 1;
        let id = WriteId(self.last_write);
        if !dependent.is_empty() {
            self.after.insert(id, dependent);
        }
        self.outputs.push_back(Output::Store(Batch { id, puts, deletes }));
    }

    fn reply(&mut self, command: CommandId, reply: Reply) {
        self.outputs.push_back(Output::Event(Event::Reply { command, reply }));
    }

    fn restore(&mut self, record: &Record) -> Result<(), StartError> {
        let corrupt = |reason: String| StartError::CorruptRecord {
            table: record.table.name(),
            key: record.key.iter().map(|byte| format!("{byte:02x}")).collect(),
            reason,
        };
        let id: [u8; 32] =
            record.key[..].try_into().map_err(|_| corrupt("the key is not an id".into()))?;
        match record.table {
            Table::Peers => {
                let machine = MachineId(id);
                self.link
                    .act(self.clock(), &mut self.counters, |link, context| {
                        link.restore(context, machine, &record.value)
                    })
                    .map_err(|error| corrupt(error.to_string()))
            }
            Table::Blocked => {
                if record.value[..] != BLOCKED {
                    return Err(corrupt(
                        "it is of a version that this program does not know".into(),
                    ));
                }
                self.set_blocked(self.clock(), AgentId(id), true);
                Ok(())
            }
            // What another machine kept about itself means nothing here.
            Table::Own if MachineId(id) != self.machine => Ok(()),
            Table::Own => self
                .restore_own(self.clock(), &record.value)
                .map_err(|error| corrupt(error.to_string())),
        }
    }

    fn set_blocked(&mut self, clock: Clock, agent: AgentId, blocked: bool) {
        self.direct.act(clock, &mut self.counters, |direct, context| {
            direct.handle(context, direct::Input::SetBlocked { agent, blocked });
        });
        self.tell_gossip(clock, gossip::Input::SetBlocked { agent, blocked });
    }
}
