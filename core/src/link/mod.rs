//! Links: sessions with peers that proved who they are.
//!
//! A *connection* is one QUIC connection. A *session* is what two machines have with one another over
//! the one connection that both chose. This module dials and accepts connections, checks keys and
//! agent bindings, keeps one session for each peer, moves it between paths, and carries frames in
//! four classes ([`Class`]). It does not know what the frames mean.
//!
//! # How it is made
//!
//! [`State`] composes two parts: `peers`, the connections and the sessions over them, and the
//! [`dialer`], which starts connections and waits for sessions. `peers` composes in turn
//!
//! - `connections`: the table of connections, their paths, [`admission`];
//! - `handshake` and `credential`: hellos, versions, the proof of agents, and the own binding;
//! - `sessions`: one session for each peer, the choice between two connections;
//! - `streams`: class streams, reassembly, credit;
//! - `ping`.
//!
//! Each part has a state of its own, and gets what it needs of others as arguments.
//!
//! [`path`](crate::path) selects the path of each connection, and
//! [`address_book`](crate::address_book) remembers peers and their addresses.
//!
//! # How it is driven
//!
//! The owner passes datagrams ([`State::handle_datagram`]), time ([`State::handle_timeout`] at
//! [`State::deadline`]), requests and frames. After one or more inputs it calls [`State::flush`], and
//! then [`State::poll_transmit`] until that returns nothing.
//!
//! # Invariants
//!
//! - A frame is reported only between the [`Output::PeerUp`] and the [`Output::PeerDown`] of a peer
//!   whose machine key and agent bindings were proven on this connection.
//! - Sessions of a peer do not overlap.
//! - What a peer sends never becomes an error of a call. What is refused is counted by reason.
//!
//! # Limits
//!
//! [`LINKS_MAX`], [`ANSWERS_MAX`], [`PINGS_MAX`], [`SEND_BUFFER_MAX`], and those of [`admission`],
//! [`dialer`], `streams`, [`path`](crate::path) and [`address_book`](crate::address_book).

pub mod admission;
mod book;
mod command;
mod config;
mod connection;
mod connections;
mod counters;
mod credential;
pub mod dialer;
mod error;
mod frames;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod output;
mod peers;
mod ping;
mod sessions;
mod streams;
mod timer;

#[cfg(test)]
mod pair_tests;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use crate::address_book::AGENTS_PER_MACHINE_MAX;
pub use crate::path::Path;
pub use command::{
    ChangeNetwork, Connect, Connected, Disconnect, Disconnected, ListPeers, NetworkChanged,
    PeerInfo, PeerProbed, ProbePeer, Reply, Request, RequestError, Target,
};
pub use config::{LinkConfig, LinkIdentity, PROTOCOL_VERSION, PROTOCOL_VERSION_MAX};
pub use connections::ANSWERS_MAX;
pub use counters::Counter;
pub use dialer::{DIALS_MAX, DialTarget, RESUMED_MAX, WAITERS_MAX};
pub use error::{ConnectError, DownReason, RefuseReason};
pub use frames::Class;
pub use output::{Event, Output, PeerLink, RequestId, Table, Usage};
pub use ping::{PINGS_MAX, PingError};
pub use streams::SEND_BUFFER_MAX;

use crate::address_book::Standing;
use crate::identity::{AgentId, MachineId};
use crate::support::{Deadline, MemoryBudget, Rng, Timers};
use crate::transport::{ConnectionKey, Datagram, Transmit};
use crate::wire::DecodeError;
use dialer::{Caller, Destination, Dialer};
use frames::CloseCode;
use peers::Peers;
use timer::Timer;

/// The most peers that a node has sessions with. A small memory budget allows fewer.
pub const LINKS_MAX: usize = 1024;

/// The time that an incoming connection has from its first datagram to its hello.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// The context of this module.
pub type Context<'a> = crate::support::Context<'a, Output>;

/// The links of a node, see the [module](self).
#[derive(Debug)]
pub struct State {
    memory: MemoryBudget,
    peers: Peers,
    dialer: Dialer,
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
        rng: Rng,
    ) -> Self {
        let dialer = Dialer::new(identity.machine_key.id(), &config, now);
        let peers = Peers::new(&config, memory, identity, sockets, (now, unix_time), rng);
        Self { memory, peers, dialer }
    }

    /// Takes the stored record of a machine back.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it cannot be read.
    pub fn restore(
        &mut self,
        context: &mut Context<'_>,
        table: Table,
        machine: MachineId,
        record: &[u8],
    ) -> Result<(), DecodeError> {
        match table {
            Table::Peers => self.dialer.book.restore(context, machine, record),
            Table::Own if machine == self.peers.credential.machine() => {
                let rebind = self.peers.credential.restore(context, record)?;
                self.peers.send_to_all(rebind);
                Ok(())
            }
            // What another machine stored about itself means nothing here.
            Table::Own => Ok(()),
        }
    }

    /// Dials the machines of an earlier run, after their records were restored: those that the
    /// application keeps, and [`RESUMED_MAX`] of the others.
    pub fn resume(&mut self, now: Instant) {
        self.dialer.resume(now);
    }

    /// The application sends to an agent: its machine is worth remembering.
    pub fn sent_to(&mut self, context: &mut Context<'_>, agent: &AgentId) {
        let book = &mut self.dialer.book;
        if let Some(machine) = book.addresses.machine_of(agent) {
            book.raise(context, machine, Standing::Named);
        }
    }

    /// The application got a message from a machine.
    pub fn heard_from(&mut self, context: &mut Context<'_>, machine: MachineId) {
        self.dialer.book.raise(context, machine, Standing::Heard);
    }

    /// Asks for a session, to `keep` up from then on if so. [`Output::ConnectEnded`] answers.
    pub fn connect(
        &mut self,
        context: &mut Context<'_>,
        request: RequestId,
        target: DialTarget,
        keep: bool,
        timeout: Duration,
    ) {
        let Peers { sessions, connections, .. } = &mut self.peers;
        let caller = Caller { request, keep, timeout };
        self.dialer.connect(context, sessions, connections, target, caller);
    }

    /// Returns whether one more [`State::connect`] has room.
    pub fn can_connect(&self) -> bool {
        self.dialer.has_room()
    }

    /// A message waits for an agent: dials its machine for a while. [`Output::NoRoute`] answers if
    /// no machine is known, or if the agent is not on the machine any more.
    pub fn dial_agent(&mut self, context: &mut Context<'_>, agent: AgentId) {
        let Peers { sessions, connections, .. } = &mut self.peers;
        self.dialer.dial_agent(context, sessions, connections, agent);
    }

    /// A protocol wants a session with a machine, perhaps at an address that a peer named: dials it
    /// for a while. [`Output::PeerUp`] or [`Output::DialFailed`] answers.
    pub fn dial_for(
        &mut self,
        context: &mut Context<'_>,
        machine: MachineId,
        address: Option<SocketAddr>,
    ) {
        let Peers { sessions, connections, .. } = &mut self.peers;
        self.dialer.dial_for(context, sessions, connections, (machine, address));
    }

    /// Dials some machines that had a session before, unless there are sessions enough.
    pub fn bootstrap(&mut self, context: &mut Context<'_>) {
        let Peers { sessions, connections, .. } = &mut self.peers;
        self.dialer.bootstrap(context, sessions, connections);
    }

    /// The protocol that called [`State::dial_for`] has no more use for the session. It ends if nobody
    /// else asked for it and this node dialled it.
    pub fn release(&mut self, context: &mut Context<'_>, machine: &MachineId) {
        let Some(session) = self.peers.sessions.get_mut(machine) else { return };
        if session.is_releasable && !self.dialer.is_kept(machine) {
            let key = session.connection;
            self.close(context, key, CloseCode::Bye);
        }
    }

    /// Closes the session with a machine and ends its dial requests. Returns whether there was one.
    pub fn disconnect(&mut self, context: &mut Context<'_>, machine: &MachineId) -> bool {
        for destination in self.dialer.destinations(machine) {
            self.cancel_dial(context, destination);
        }
        self.dialer.book.disconnected(context, *machine);
        let key = self.peers.sessions.connection(machine);
        if let Some(key) = key {
            self.close(context, key, CloseCode::Bye);
        }
        key.is_some()
    }

    /// A peer broke a rule of a protocol: ends its session.
    pub fn protocol_violation(&mut self, context: &mut Context<'_>, machine: &MachineId) {
        if let Some(key) = self.peers.sessions.connection(machine) {
            self.peers.violated(context, &mut self.dialer, key);
        }
    }

    /// Pings a machine. [`Output::PingEnded`] answers.
    pub fn ping(
        &mut self,
        context: &mut Context<'_>,
        request: RequestId,
        machine: &MachineId,
        timeout: Duration,
    ) {
        self.peers.ping(context, request, machine, timeout);
    }

    /// Returns whether one more [`State::ping`] has room.
    pub fn can_ping(&self) -> bool {
        self.peers.pings.has_room()
    }

    /// Sends a frame, in the order of its class. Frames to a machine without a session are dropped:
    /// the protocol learns of that from [`Output::PeerDown`].
    pub fn send(&mut self, machine: &MachineId, class: Class, header: &[u8], payload: &Bytes) {
        self.peers.send(machine, class, header, payload);
    }

    /// Returns how many bytes the stream of a class takes now.
    pub fn send_window(&self, machine: &MachineId, class: Class) -> usize {
        self.peers.send_window(machine, class)
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, context: &mut Context<'_>, datagram: Datagram) {
        self.peers.handle_datagram(context, &mut self.dialer, datagram);
    }

    /// Takes the new list of sockets. Sessions whose socket is gone move to another one; returns how
    /// many began to.
    pub fn change_sockets(&mut self, context: &mut Context<'_>, sockets: Vec<SocketAddr>) -> usize {
        let Peers { sessions, connections, .. } = &mut self.peers;
        connections.change_sockets(context, sockets, sessions.connections())
    }

    /// Returns the socket from which an address can be reached, the preferred first.
    pub fn socket_for(&self, remote: SocketAddr) -> Option<SocketAddr> {
        self.peers.connections.socket_for(remote)
    }

    /// The wall clock was set, or the host slept: the binding of this node may not be valid.
    pub fn handle_wall_time(&mut self, context: &mut Context<'_>) {
        let rebind = self.peers.credential.handle_wall_time(context);
        self.peers.send_to_all(rebind);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        self.peers.connections.transport.handle_timeout(context.now);
        self.peers.drain_transport(context, &mut self.dialer);
        while let Some(timer) = self.pop_due(context.now) {
            self.fire(context, timer);
        }
    }

    /// Hands to QUIC what was sent. Due before [`State::poll_transmit`].
    pub fn flush(&mut self, context: &mut Context<'_>) {
        self.peers.flush(context, &mut self.dialer);
    }

    /// Writes the next datagrams into `buf`, which must be empty.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.peers.connections.poll_transmit(now, &mut self.dialer.hearsay, buf)
    }

    /// Returns when [`State::handle_timeout`] is due, and for what. It holds once nothing is left
    /// to transmit.
    pub fn deadline(&self) -> Option<Deadline> {
        let transport = self.peers.connections.transport.deadline();
        let transport = transport.map(|at| Deadline { at, timer: "quic" });
        let parts = self.timers().into_iter().filter_map(Timers::deadline);
        parts.chain(transport).min()
    }

    /// Returns the peers that have a session.
    pub fn peers(&self) -> impl Iterator<Item = PeerLink> {
        self.peers.sessions.peers(&self.peers.connections)
    }

    /// Returns the session with a machine.
    pub fn peer(&self, machine: &MachineId, already: bool) -> Option<PeerLink> {
        self.peers.sessions.peer(&self.peers.connections, machine, already)
    }

    /// Returns whether there is a session with any peer.
    pub fn has_sessions(&self) -> bool {
        !self.peers.sessions.is_empty()
    }

    /// Returns what is held now.
    pub fn usage(&self) -> Usage {
        let Peers { connections, streams, sessions, .. } = &self.peers;
        Usage {
            connections: connections.len(),
            half_open: connections.admission.half_open().len(),
            sessions: sessions.len(),
            dials: self.dialer.len(),
            answers: connections.answers(),
            reassembly_bytes: streams.reassembly_bytes,
            credit_bytes: connections.credit_bytes(),
            receive_bytes_max: self.memory.receive(),
            send_buffer_bytes: streams.buffered_bytes,
        }
    }

    /// Ends all dial requests and closes all connections with a reason.
    pub fn shut_down(&mut self, context: &mut Context<'_>) {
        while let Some(destination) = self.dialer.first() {
            self.cancel_dial(context, destination);
        }
        let keys: Vec<ConnectionKey> = self.peers.connections.keys().collect();
        for key in keys {
            self.close(context, key, CloseCode::Bye);
        }
    }

    fn close(&mut self, context: &mut Context<'_>, key: ConnectionKey, code: CloseCode) {
        self.peers.close(context, &mut self.dialer, key, code);
    }

    fn cancel_dial(&mut self, context: &mut Context<'_>, destination: Destination) {
        if let Some(attempt) = self.dialer.cancel(context, destination) {
            self.close(context, attempt, CloseCode::Bye);
        }
    }

    fn timers(&self) -> [&Timers<Timer>; 5] {
        let Peers { connections, sessions, pings, credential, .. } = &self.peers;
        let own = &credential.timers;
        [&connections.timers, &sessions.timers, &self.dialer.timers, &pings.timers, own]
    }

    /// Takes the earliest timer of all parts whose time has come.
    fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let Peers { connections, sessions, pings, credential, .. } = &mut self.peers;
        let parts = [
            &mut connections.timers,
            &mut sessions.timers,
            &mut self.dialer.timers,
            &mut pings.timers,
            &mut credential.timers,
        ];
        let set = parts.into_iter().filter(|timers| !timers.is_empty());
        let first = set.min_by_key(|timers| timers.first().map(|(at, timer)| (at, *timer)))?;
        first.pop_due(now)
    }

    fn fire(&mut self, context: &mut Context<'_>, timer: Timer) {
        let Self { peers, dialer, .. } = self;
        match timer {
            Timer::Handshake(key) => {
                context.count(Counter::HandshakesFailed);
                peers.close(context, dialer, key, CloseCode::TimedOut);
            }
            Timer::Held(machine) => peers.hold_expired(context, dialer, machine),
            Timer::Path(key) => peers.connections.drive_path(context, key),
            Timer::Expiry(key) => {
                context.count(Counter::BindingsExpired);
                peers.close(context, dialer, key, CloseCode::BadBinding);
            }
            Timer::Redial(destination) => {
                dialer.dial(context, &peers.sessions, &mut peers.connections, destination);
            }
            Timer::Waiter(destination, request) => {
                dialer.waiter_expired(context, destination, request);
            }
            Timer::Ping(token) => peers.pings.expire(context, token),
            Timer::Renew => {
                let rebind = peers.credential.renew(context);
                peers.send_to_all(Some(rebind));
            }
        }
    }
}
