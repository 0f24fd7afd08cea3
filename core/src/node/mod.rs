//! The node: all modules behind one door in and one door out.
//!
//! # How it is driven
//!
//! A driver feeds inputs (`handle_*`) with the time at which they happened, then calls
//! [`Node::poll_output`] **until it returns [`Output::Idle`]**, does what the outputs say, and sleeps
//! until the next input or the deadline. Several inputs may be fed before draining. That is all: a
//! program that can move datagrams, keep a timer and store records can run a node, in any event
//! loop.
//!
//! # Rules
//!
//! 1. A node reads no clock, draws no randomness and touches no socket, file or thread. The same
//!    seed, times and inputs give the same outputs.
//! 2. Only a command can fail, and then it changed nothing. A peer's fault is a counter, and at
//!    most one [`link::Event::PeerDown`].
//! 3. What depends on a write leaves only after [`Node::handle_stored`] with success.
//! 4. A write that fails halts the node: [`Event::Halted`], then nothing any more.
//! 5. Every input carries both clocks, [`Time`]. Monotonic time never runs backwards: an earlier
//!    time counts as the latest one seen. The node counts wall time on from the last moment at
//!    which it was off by more than [`WALL_TIME_OFF_MAX`]: then somebody set the clock, or the host
//!    slept.
//! 6. The deadline of [`Output::Idle`] is later than every time that the node has seen. What is due
//!    already is done before; QUIC needs that, because one of its timers can uncover another that
//!    was due earlier.
//!
//! # How it is made
//!
//! `modules` lists the modules, and there is one routing file for each: what its outputs and
//! requests mean to its siblings. Outputs are routed until none is left, so between inputs every
//! module has seen what concerns it. Events leave first; then comes [`Output::Settled`], at which
//! a driver may give the application its turn. Acknowledgements, signatures and frames are
//! gathered over all inputs of a batch after that, so the application's answers share datagrams
//! with them.

mod command;
mod config;
pub mod control;
mod input;
mod modules;
mod record;
pub mod recording;
mod routing;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use command::{Command, CommandError, CommandId, TypedRequest};
pub use config::{Config, StartError};
pub use control::{BlockedSet, GetCounters, SetBlocked, ShutDown};
pub use input::{Fatal, Input, Output, Step};
pub use modules::{Counter, Counters, Event, Reply, Request, Table};
pub use store::*;

pub use crate::direct::{DirectAcknowledged, SendDirect};
pub use crate::gossip::{
    ListTopics, ProveMessage, Publish, Published, Subscribe, Subscribed, Unsubscribe, Unsubscribed,
};
pub use crate::link::{
    ChangeNetwork, Connect, Connected, Disconnect, Disconnected, ListPeers, NetworkChanged,
    PeerInfo, PeerProbed, ProbePeer, Target,
};
pub use crate::session::TIMEOUT_MAX;
pub use crate::support::{Deadline, Time};

use crate::crypto::tls::WallClock;
use crate::identity::MachineId;
use crate::support::{Changes, LoadTicket, Rng, WriteTicket};
use crate::transport::Datagram;
use crate::{gossip, link, overlay};
use modules::{Modules, Name, Waiting};
use routing::Start;

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
    anchor: Time,
    now: Instant,
    machine: MachineId,
    /// The wall time as TLS sees it.
    wall_clock: WallClock,
    modules: Modules,
    outputs: VecDeque<Output>,
    /// What waits for each write.
    writes: BTreeMap<WriteId, Waiting>,
    last_write: u64,
    /// Which module waits for each read.
    loads: BTreeMap<LoadId, (Name, LoadTicket)>,
    last_load: u64,
    progress: Progress,
    is_shut_down: bool,
    /// How many times what is due was done since the last input.
    timeouts: u32,
    is_halted: bool,
}

/// How far the inputs have been drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Inputs came, and their direct outputs leave.
    Fed,
    /// The driver knows that these have left: next, acknowledgements and frames are gathered.
    Settled,
    /// Nothing is left but datagrams.
    Flushed,
}

impl Node {
    /// Starts a node.
    ///
    /// `seed` must be fresh for each start and unpredictable to others: all keys of sessions come
    /// from it.
    ///
    /// # Errors
    ///
    /// If the configuration or a stored record cannot be used.
    pub fn new(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        time: Time,
    ) -> Result<Self, StartError> {
        config.check()?;
        let (root, wall_clock) = (Rng::from_seed(seed), WallClock::new(time.unix_time));
        let start = Start { config: &config, time, wall_clock: &wall_clock, rng: &root };
        let mut node = Self {
            anchor: time,
            now: time.now,
            machine: config.machine_key.id(),
            modules: Modules::new(&start),
            wall_clock,
            outputs: VecDeque::new(),
            writes: BTreeMap::new(),
            last_write: 0,
            loads: BTreeMap::new(),
            last_load: 0,
            progress: Progress::Flushed,
            is_shut_down: false,
            timeouts: 0,
            is_halted: false,
        };
        for record in restored.records {
            node.restore(time, &record).map_err(|reason| StartError::CorruptRecord {
                table: record.table.name(),
                key: record.key.iter().map(|byte| format!("{byte:02x}")).collect(),
                reason,
            })?;
        }
        node.modules.link.state.resume(time.now);
        Ok(node)
    }

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, time: Time, datagram: Datagram) {
        let Some(time) = self.wake(time) else { return };
        self.modules.link.run(time, |link, context| link.handle_datagram(context, datagram));
        self.route();
    }

    /// The deadline came.
    pub fn handle_timeout(&mut self, time: Time) {
        if let Some(time) = self.wake(time) {
            self.do_what_is_due(time);
        }
    }

    /// The application wants something.
    ///
    /// # Errors
    ///
    /// If the command is not possible; then nothing changed and no reply follows.
    pub fn handle_command(&mut self, time: Time, command: Command) -> Result<(), CommandError> {
        let time = self.wake(time).ok_or(CommandError::Halted)?;
        if self.is_shut_down {
            return Err(CommandError::ShutDown);
        }
        self.request(time, command.id, command.request)?;
        self.route();
        Ok(())
    }

    /// A write ended.
    pub fn handle_stored(&mut self, time: Time, id: WriteId, result: Result<(), StoreError>) {
        if self.wake(time).is_none() {
            return;
        }
        match (result, self.writes.remove(&id)) {
            (Ok(()), Some(Waiting::Module(name, ticket))) => {
                self.modules.stored(name, ticket);
                self.route();
            }
            (Ok(()), Some(Waiting::Reply(command, reply))) => self.reply(command, reply),
            (Ok(()), None) => {}
            (Err(error), _) => {
                self.is_halted = true;
                self.outputs.clear();
                self.outputs.push_back(Output::Event(Event::Halted(Fatal::Store(error))));
            }
        }
    }

    /// A read ended.
    pub fn handle_loaded(&mut self, time: Time, id: LoadId, result: Result<Bytes, StoreError>) {
        let Some(time) = self.wake(time) else { return };
        if let Some(reader) = self.loads.remove(&id) {
            self.loaded(time, reader, result);
            self.route();
        }
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
            match self.progress {
                Progress::Fed => {
                    self.progress = Progress::Settled;
                    return Output::Settled;
                }
                Progress::Settled => {
                    self.flush();
                    continue;
                }
                Progress::Flushed => {}
            }
            if let Some(transmit) = self.modules.link.state.poll_transmit(self.now, buf) {
                return Output::Transmit(transmit);
            }
            let deadline = self.modules.deadline();
            let is_due = deadline.is_some_and(|deadline| deadline.at <= self.now);
            if !is_due || self.timeouts == TIMEOUTS_MAX {
                return Output::Idle { deadline };
            }
            self.timeouts += 1;
            self.progress = Progress::Fed;
            self.do_what_is_due(self.time());
        }
    }

    /// Returns what the node's links hold at the moment.
    pub fn link_usage(&self) -> link::Usage {
        self.modules.link.state.usage()
    }

    /// Returns what the node's gossip holds for authors and peers at the moment.
    pub fn gossip_held(&self) -> gossip::Held {
        self.modules.gossip.state.held()
    }

    /// Returns what the node's overlays hold for peers and topics at the moment.
    pub fn overlay_held(&self) -> overlay::Held {
        self.modules.gossip.state.overlay_held()
    }

    /// Returns the bytes of direct messages that wait for their end.
    pub fn direct_waiting_bytes(&self) -> usize {
        self.modules.direct.state.waiting_bytes()
    }

    /// Moves both clocks. Returns the time of this input; nothing if the node has halted.
    fn wake(&mut self, time: Time) -> Option<Time> {
        self.now = self.now.max(time.now);
        self.progress = Progress::Fed;
        self.timeouts = 0;
        let was_set = self.time().unix_time.abs_diff(time.unix_time) > WALL_TIME_OFF_MAX;
        if was_set {
            self.anchor = Time { now: self.now, unix_time: time.unix_time };
        }
        let time = self.time();
        self.wall_clock.set(time.unix_time);
        if self.is_halted {
            return None;
        }
        if was_set {
            tracing::info!("the wall clock was set, or the host slept");
            self.modules.clock_was_set(time);
            self.route();
        }
        Some(time)
    }

    /// Returns both times of the input that is being handled.
    fn time(&self) -> Time {
        self.anchor.at(self.now)
    }

    fn do_what_is_due(&mut self, time: Time) {
        self.modules.handle_timeout(time);
        self.route();
    }

    /// Gathers acknowledgements and frames of all inputs since the last time.
    fn flush(&mut self) {
        let time = self.time();
        self.modules.flush(time);
        self.route();
        self.modules.link.run(time, link::State::flush);
        // What became writable is filled once; the rest follows the next acknowledgement.
        self.route();
        self.modules.link.run(time, link::State::flush);
        self.route();
        self.progress = Progress::Flushed;
    }

    /// Asks the store for a change.
    fn store(&mut self, puts: Vec<Record>, deletes: Vec<(Table, Bytes)>, waiting: Waiting) {
        self.last_write += 1;
        let id = WriteId(self.last_write);
        self.writes.insert(id, waiting);
        self.outputs.push_back(Output::Store(Batch { id, puts, deletes }));
    }

    /// Asks the store for a change of a module's records.
    fn store_for<T>(
        &mut self,
        module: Name,
        ticket: WriteTicket,
        changes: Changes<T>,
        table: impl Fn(T) -> Table,
    ) {
        let puts = changes.puts.into_iter();
        let puts = puts.map(|(of, key, value)| Record { table: table(of), key, value }).collect();
        let deletes = changes.deletes.into_iter().map(|(of, key)| (table(of), key)).collect();
        self.store(puts, deletes, Waiting::Module(module, ticket));
    }

    /// Asks the store for what a module wants to read.
    fn load_for(
        &mut self,
        module: Name,
        ticket: LoadTicket,
        table: Table,
        (key, range): (Bytes, std::ops::Range<u64>),
    ) {
        self.last_load += 1;
        let id = LoadId(self.last_load);
        self.loads.insert(id, (module, ticket));
        self.outputs.push_back(Output::Load(Load { id, table, key, range }));
    }

    fn reply(&mut self, command: CommandId, reply: impl Into<Reply>) {
        let reply = reply.into();
        self.outputs.push_back(Output::Event(Event::Reply { command, reply }));
    }

    fn report(&mut self, event: impl Into<Event>) {
        self.outputs.push_back(Output::Event(event.into()));
    }
}
