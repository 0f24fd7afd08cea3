//! Links: sessions with peers that proved who they are.
//!
//! A *connection* is one QUIC connection; a *session* is what two machines have with one another
//! over the one connection that both chose. This module dials and is dialled, checks keys and agent
//! bindings, keeps one connection for each peer, moves it between paths ([`Path`]), frames messages
//! in four classes ([`Class`]), and remembers where peers were reached ([`address_book`]). It does
//! not know what the messages mean.
//!
//! # How a session comes up
//!
//! 1. TLS proves the machine keys (see [`crypto::tls`](crate::crypto::tls)). The client learns
//!    the server's key one round trip after it dialled, and that does not mean that the server
//!    knows or wants the client.
//! 2. The client sends its hello: protocol versions, incarnation, agent bindings. The server checks
//!    it and answers with its own; for the server the session is up. Or it closes with a reason.
//! 3. The client checks the server's hello; for the client the session is up. Nothing but the hello
//!    is sent before, and no other class is read before.
//!
//! The bindings are checked on every connection, resumed or not.
//!
//! # One session for each peer
//!
//! When two machines dial each other, the connection that the machine with the lower id dialled
//! survives. The lower machine holds the other's connection until its own attempt has ended: it is
//! refused if the attempt succeeds, accepted if it fails. A second connection from a peer with the
//! same incarnation that has dialled both replaces the first, which the peer has evidently lost; a
//! connection from another incarnation always does. A replaced session goes down before the next
//! one comes up, so whoever sits above sees one session at a time.
//!
//! # Limits
//!
//! [`LINKS_MAX`], [`PURSUITS_MAX`], [`WAITERS_MAX`], those of `credit`,
//! [`admission::HALF_OPEN_MAX`], [`admission::SOURCES_MAX`], those of the [`address_book`],
//! those of [`dial`], [`LANE_BYTES_MAX`], [`ANSWERS_MAX`], [`PINGS_MAX`]. What is refused is counted by reason.

pub mod address_book;
pub mod admission;
mod command;
mod config;
mod connection;
mod counters;
mod credit;
pub mod dial;
mod error;
mod establish;
mod frames;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod lanes;
mod moves;
mod network;
mod output;
mod path;
mod ping;
mod pursuit;
mod receive;
#[cfg(test)]
mod tests;

#[cfg(test)]
mod pair_tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use command::{
    ChangeNetwork, Connect, Connected, Disconnect, Disconnected, ListPeers, NetworkChanged,
    PeerInfo, PeerProbed, ProbePeer, Reply, Request, RequestError, Target,
};
pub use config::{LinkConfig, LinkIdentity, PROTOCOL_VERSION, PROTOCOL_VERSION_MAX};
pub use counters::Counter;
pub use error::{ConnectError, DownReason, RefuseReason};
pub use frames::{AGENTS_PER_MACHINE_MAX, Class};
pub use lanes::LANE_BYTES_MAX;
pub use output::{Event, Output, PeerLink, Table, Usage};
pub use path::Path;
pub use ping::{PINGS_MAX, PingError};
pub use pursuit::{DialTarget, PURSUITS_MAX, RESUMED_MAX, RequestId, WAITERS_MAX};

use crate::identity::{
    AgentBinding, AgentId, BINDING_VALIDITY, BindingVerifier, MachineId, Validity,
};
use crate::support::{Changes, Deadline, MemoryBudget, Rng, TimerName, Timers};
use crate::transport::{
    ConnectionKey, State as Transport, TlsIdentity, Transmit, TransportSettings,
};
use crate::wire::Versioned;
use address_book::{AddressBook, Changed, Standing};
use admission::{Source, Sources};
use connection::{Connection, Phase};
use credit::Limits;
use dial::HearsayDials;
use frames::CloseCode;
use path::ProbeId;
use ping::Ping;
use pursuit::{Goal, Pursuit};

/// How many peers a node has sessions with. A small memory budget allows fewer.
pub const LINKS_MAX: usize = 1024;

/// How many answers to strangers and probes wait to be sent. The newest beyond it are dropped.
pub const ANSWERS_MAX: usize = 1024;

/// How long a stranger may take from its first datagram to its hello.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// The context of this module.
pub type Context<'a> = crate::support::Context<'a, Output>;

#[derive(Debug)]
struct Session {
    connection: ConnectionKey,
    agents: Vec<AgentId>,
    incarnation: u64,
    since: Instant,
    /// Whether [`State::reach`] is its only purpose.
    is_for_reach: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A handshake or a dial takes too long.
    Handshake(ConnectionKey),
    /// A peer's connection was held long enough.
    Held(MachineId),
    /// A path has something to do.
    Path(ConnectionKey),
    /// The bindings of a peer expire.
    Expiry(ConnectionKey),
    /// A pursuit may try again.
    Pursue(Goal),
    /// Somebody has waited long enough.
    Waiter(Goal, RequestId),
    /// A ping has waited long enough.
    Ping(u64),
    /// The own binding needs to be renewed.
    Renew,
}

/// The sessions of a node.
#[derive(Debug)]
pub struct State {
    config: LinkConfig,
    memory: MemoryBudget,
    limits: Limits,
    identity: LinkIdentity,
    binding: AgentBinding,
    /// When it was issued, since the Unix epoch.
    bound_at: Duration,
    /// Its sequence.
    sequence: u64,
    /// The highest sequence that is stored.
    stored_sequence: u64,
    /// Tells the runs of this node apart.
    incarnation: u64,
    sockets: Vec<SocketAddr>,
    transport: Transport,
    connections: BTreeMap<ConnectionKey, Connection>,
    sessions: BTreeMap<MachineId, Session>,
    /// The connection that used a path last.
    by_path: BTreeMap<Path, ConnectionKey>,
    by_probe_id: BTreeMap<ProbeId, ConnectionKey>,
    /// The connections that strangers dialled and that never had a session, until nothing is left
    /// of them, with where they came from.
    half_open: BTreeMap<ConnectionKey, Source>,
    /// Peers' connections that wait for the end of an own attempt.
    held: BTreeMap<MachineId, ConnectionKey>,
    pursuits: BTreeMap<Goal, Pursuit>,
    /// The pings without an answer, by their tokens.
    pings: BTreeMap<u64, Ping>,
    book: AddressBook,
    hearsay: HearsayDials,
    verifier: BindingVerifier,
    sources: Sources,
    answers: VecDeque<(Path, Vec<u8>)>,
    /// The bytes of all frames that are not complete.
    reassembly_bytes: usize,
    /// The windows of all connections, beyond the first of each.
    grown_bytes: usize,
    /// The bytes that wait in the lanes of all connections.
    lane_bytes: usize,
    /// Connections whose lanes have something to hand over.
    unflushed: BTreeSet<ConnectionKey>,
    timers: Timers<Timer>,
}

impl State {
    /// Makes the state of a node without sessions.
    pub fn new(
        config: LinkConfig,
        memory: MemoryBudget,
        identity: LinkIdentity,
        sockets: Vec<SocketAddr>,
        now: Instant,
        unix_time: Duration,
        mut rng: Rng,
    ) -> Self {
        let settings = TransportSettings {
            keep_alive: config.keep_alive,
            idle_timeout: config.idle_timeout,
            discover_mtu: config.discover_mtu,
            initial_mtu: config.initial_mtu,
        };
        let secret = identity.machine_key.derive_secret("x0x transport v1");
        let tls = TlsIdentity {
            key: identity.machine_key.signing_key(),
            secret: &secret,
            clock: &identity.clock,
            key_exchange: config.key_exchange,
        };
        let transport = Transport::new(&settings, &tls, rng.fork("transport"));
        let sequence = millis(unix_time);
        let binding = own_binding(&identity, unix_time, sequence, &mut rng);
        let mut timers = Timers::default();
        timers.set(Timer::Renew, now + BINDING_VALIDITY / 2);
        Self {
            config,
            memory,
            limits: Limits::of(memory),
            identity,
            binding,
            bound_at: unix_time,
            sequence,
            stored_sequence: 0,
            incarnation: rng.next_u64(),
            sockets,
            transport,
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            by_path: BTreeMap::new(),
            by_probe_id: BTreeMap::new(),
            half_open: BTreeMap::new(),
            held: BTreeMap::new(),
            pursuits: BTreeMap::new(),
            pings: BTreeMap::new(),
            book: AddressBook::new(),
            hearsay: HearsayDials::new(now),
            verifier: BindingVerifier::default(),
            sources: Sources::new(),
            answers: VecDeque::new(),
            reassembly_bytes: 0,
            grown_bytes: 0,
            lane_bytes: 0,
            unflushed: BTreeSet::new(),
            timers,
        }
    }

    /// Takes a stored record back, by the machine that it is of.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn restore(
        &mut self,
        context: &mut Context<'_>,
        table: Table,
        machine: MachineId,
        record: &[u8],
    ) -> Result<(), crate::wire::DecodeError> {
        match table {
            Table::Peers => {}
            // What another machine kept about itself means nothing here.
            Table::Own if machine != self.identity.machine_key.id() => return Ok(()),
            Table::Own => return self.restore_sequence(context, record),
        }
        if let Some(machine) = self.book.restore(machine, record)? {
            context.store(Changes::delete(Table::Peers, key_of(&machine)));
        }
        Ok(())
    }

    /// The application sends to an agent: its machine is worth remembering.
    pub fn sent_to(&mut self, context: &mut Context<'_>, agent: &AgentId) {
        if let Some(machine) = self.book.home(agent) {
            let changed = self.book.raise(machine, Standing::Named);
            self.store(context, machine, changed);
        }
    }

    /// The application got a message from a machine.
    pub fn heard_from(&mut self, context: &mut Context<'_>, machine: MachineId) {
        let changed = self.book.raise(machine, Standing::Heard);
        self.store(context, machine, changed);
    }

    /// Asks the store for what changed in the address book.
    fn store(&self, context: &mut Context<'_>, machine: MachineId, changed: Changed) {
        if let Some(machine) = changed.forgotten {
            context.store(Changes::delete(Table::Peers, key_of(&machine)));
        }
        if changed.is_changed
            && let Some(record) = self.book.record(&machine)
        {
            context.store(Changes::put(Table::Peers, key_of(&machine), record));
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        self.transport.handle_timeout(context.now);
        self.drain_transport(context);
        while let Some(timer) = self.timers.pop_due(context.now) {
            match timer {
                Timer::Handshake(key) => {
                    context.count(Counter::HandshakesFailed);
                    self.close(context, key, CloseCode::TimedOut);
                }
                Timer::Held(machine) => self.end_hold(context, machine),
                Timer::Path(key) => self.drive_path(context, key),
                Timer::Expiry(key) => {
                    context.count(Counter::BindingsExpired);
                    self.close(context, key, CloseCode::BadBinding);
                }
                Timer::Pursue(goal) => self.attempt(context, goal),
                Timer::Waiter(goal, request) => self.give_up_waiting(context, goal, request),
                Timer::Ping(token) => self.end_ping(context, token, Err(PingError::Timeout)),
                Timer::Renew => self.renew_binding(context),
            }
        }
    }

    /// Sends a frame to a peer, in the order of its class. Frames to a machine without a session
    /// are dropped: the owner knows from [`Output::PeerDown`].
    pub fn send(&mut self, machine: &MachineId, class: Class, header: &[u8], payload: &Bytes) {
        let Some(session) = self.sessions.get_mut(machine) else { return };
        let key = session.connection;
        session.is_for_reach &= class == Class::Gossip;
        if let Some(connection) = self.connections.get_mut(&key) {
            let lane = connection.lane(class);
            let before = lane.accounted(class);
            lane.push(header, payload);
            self.lane_bytes = self.lane_bytes + lane.accounted(class) - before;
            self.unflushed.insert(key);
        }
    }

    /// Returns how many bytes a lane takes at the moment.
    pub fn room(&self, machine: &MachineId, class: Class) -> usize {
        self.sessions
            .get(machine)
            .and_then(|session| self.connections.get(&session.connection))
            .map_or(0, |connection| connection.room(class))
    }

    /// Hands what was sent to the streams. Due before [`State::poll_transmit`].
    pub fn flush(&mut self, context: &mut Context<'_>) {
        while let Some(key) = self.unflushed.pop_first() {
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            for class in Class::ALL {
                let lane = connection.lane(class);
                let before = lane.accounted(class);
                let room = lane.flush(&mut self.transport, key, class);
                self.lane_bytes = self.lane_bytes + lane.accounted(class) - before;
                if let (Some(room), Phase::Up, Some(machine)) =
                    (room, connection.phase, connection.machine)
                {
                    context.emit(Output::Writable { machine, class, room });
                }
            }
        }
        self.limit_lanes(context);
        self.drain_transport(context);
        self.store_sequence(context);
    }

    /// Writes the next datagrams into `buf`, which must be empty.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if let Some((path, bytes)) = self.answers.pop_front() {
            buf.extend_from_slice(&bytes);
            return Some(Transmit {
                target: path.remote,
                local: path.local,
                ecn: None,
                size: buf.len(),
                segment_size: None,
            });
        }
        loop {
            let packets = self.transport.poll_transmit(now, buf)?;
            let datagrams = packets.size.div_ceil(packets.segment_size.unwrap_or(packets.size));
            if !self.hearsay.may_send(packets.connection, datagrams) {
                buf.clear();
                continue;
            }
            if let Some(connection) = self.connections.get(&packets.connection) {
                let path = connection.path.current();
                return Some(Transmit {
                    target: path.remote,
                    local: path.local,
                    ecn: packets.ecn,
                    size: packets.size,
                    segment_size: packets.segment_size,
                });
            }
            buf.clear();
        }
    }

    /// Returns when [`State::handle_timeout`] is due, and for what. It holds once nothing is left
    /// to transmit.
    pub fn deadline(&self) -> Option<Deadline> {
        let transport = self.transport.deadline().map(|at| Deadline { at, timer: "quic" });
        [transport, self.timers.deadline()].into_iter().flatten().min()
    }

    /// Returns the peers that have a session.
    pub fn peers(&self) -> impl Iterator<Item = PeerLink> {
        self.sessions.keys().filter_map(|machine| self.peer(machine, true))
    }

    /// Returns what is held at the moment.
    pub fn usage(&self) -> Usage {
        Usage {
            connections: self.connections.len(),
            half_open: self.half_open.len(),
            sessions: self.sessions.len(),
            pursuits: self.pursuits.len(),
            answers: self.answers.len(),
            reassembly_bytes: self.reassembly_bytes,
            credit_bytes: self.credit_bytes(),
            receive_bytes_max: self.memory.receive(),
            lane_bytes: self.lane_bytes,
        }
    }

    /// How much the peers that proved their keys may send.
    fn credit_bytes(&self) -> usize {
        let proven = self.connections.values().filter(|connection| connection.machine.is_some());
        let living = proven.filter(|connection| connection.phase != Phase::Over);
        living.map(|connection| connection.credit.window()).sum()
    }

    /// Ends all pursuits and closes all connections, telling the peers.
    pub fn shut_down(&mut self, context: &mut Context<'_>) {
        self.end_pursuits(context);
        let keys: Vec<ConnectionKey> = self.connections.keys().copied().collect();
        for key in keys {
            self.close(context, key, CloseCode::Bye);
        }
    }

    /// Returns the session with a machine.
    pub fn peer(&self, machine: &MachineId, already: bool) -> Option<PeerLink> {
        let session = self.sessions.get(machine)?;
        let path = self.connections.get(&session.connection)?.path.current();
        Some(PeerLink {
            machine: *machine,
            agents: session.agents.clone(),
            address: path.remote,
            already,
            round_trip: self.transport.round_trip(session.connection).unwrap_or_default(),
            since: session.since,
        })
    }

    fn answer(&mut self, path: Path, bytes: Vec<u8>, context: &mut Context<'_>) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back((path, bytes));
        } else {
            context.count(Counter::AnswersDropped);
        }
    }

    /// The wall clock was set, or the node slept: its binding may not be valid yet, or no more.
    pub fn handle_wall_time(&mut self, context: &mut Context<'_>) {
        let (from, until) = (self.bound_at, self.bound_at.saturating_add(BINDING_VALIDITY / 2));
        if (from..until).contains(&context.unix_time) {
            self.timers.set(Timer::Renew, context.now + (until - context.unix_time));
        } else {
            self.renew_binding(context);
        }
    }

    /// Whether there is a session with anybody.
    pub fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Gives the own binding a sequence above the one that an earlier run stored.
    fn restore_sequence(
        &mut self,
        context: &mut Context<'_>,
        record: &[u8],
    ) -> Result<(), crate::wire::DecodeError> {
        let OwnBinding { sequence } = crate::wire::decode(record)?;
        self.stored_sequence = sequence;
        if self.sequence <= sequence {
            self.sequence = sequence;
            self.renew_binding(context);
        }
        Ok(())
    }

    /// Stores the sequence if it has grown and a peer may have seen it.
    fn store_sequence(&mut self, context: &mut Context<'_>) {
        let sequence = self.sequence;
        if !self.sessions.is_empty() && sequence > self.stored_sequence {
            self.stored_sequence = sequence;
            let key = key_of(&self.identity.machine_key.id());
            let value = crate::wire::encode(&OwnBinding { sequence });
            context.store(Changes::put(Table::Own, key, value));
        }
    }

    fn renew_binding(&mut self, context: &mut Context<'_>) {
        self.bound_at = context.unix_time;
        self.sequence = millis(context.unix_time).max(self.sequence.saturating_add(1));
        self.binding = own_binding(&self.identity, context.unix_time, self.sequence, context.rng);
        self.timers.set(Timer::Renew, context.now + BINDING_VALIDITY / 2);
        let rebind = frames::Control::Rebind(frames::bindings([self.binding.bytes().clone()]));
        let record = crate::wire::encode(&rebind);
        let keys: Vec<ConnectionKey> = self.sessions.values().map(|s| s.connection).collect();
        for key in keys {
            self.push_control(key, &record);
        }
    }

    /// Adds a control frame to what a connection sends.
    fn push_control(&mut self, key: ConnectionKey, record: &Bytes) {
        if let Some(connection) = self.connections.get_mut(&key) {
            let lane = connection.lane(Class::Control);
            let before = lane.accounted(Class::Control);
            lane.push(&[], record);
            self.lane_bytes = self.lane_bytes + lane.accounted(Class::Control) - before;
            self.unflushed.insert(key);
        }
    }
}

impl TimerName for Timer {
    fn name(&self) -> &'static str {
        match self {
            Self::Handshake(_) => "handshake",
            Self::Held(_) => "held connection",
            Self::Path(_) => "path",
            Self::Expiry(_) => "binding expiry",
            Self::Pursue(_) => "dial",
            Self::Waiter(..) => "connect timeout",
            Self::Ping(_) => "ping timeout",
            Self::Renew => "binding renewal",
        }
    }
}

/// What a node keeps about itself: the sequence of its last binding. It is the time at which it was
/// made in milliseconds since the Unix epoch, and that of a later run is greater even if the clock
/// shows less: peers that know the old binding would refuse the new one.
#[derive(Debug, Serialize, Deserialize)]
struct OwnBinding {
    sequence: u64,
}

impl Versioned for OwnBinding {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 16;
}

/// The key of a machine's records.
fn key_of(machine: &MachineId) -> Bytes {
    Bytes::copy_from_slice(&machine.0)
}

/// Milliseconds order the bindings of one key.
fn millis(unix_time: Duration) -> u64 {
    u64::try_from(unix_time.as_millis()).unwrap_or(u64::MAX)
}

fn own_binding(
    identity: &LinkIdentity,
    unix_time: Duration,
    sequence: u64,
    rng: &mut Rng,
) -> AgentBinding {
    AgentBinding::issue(
        &identity.agent_key,
        identity.machine_key.id(),
        Validity::starting_at(unix_time),
        sequence,
        identity.certificate.clone(),
        &rng.bytes(),
    )
}
