//! Connections and the sessions over them: what happens from the first datagram of a connection to
//! its end.
//!
//! [`Peers`] composes the parts of a connection's life and takes each event from part to part. The
//! [`Dialer`], which starts connections and waits for them, is an argument.
//!
//! # Invariants
//!
//! - What ends with a connection ends at once, in this order: its class streams, its pings, its
//!   session, the dial request that it served, and the hold of another connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::admission::{Decision, Source};
use super::connection::Phase;
use super::connections::{Connections, Handled};
use super::credential::Credential;
use super::dialer::Dialer;
use super::frames::{Bindings, CloseCode, Control, Hello};
use super::handshake::Handshake;
use super::ping::Pings;
use super::sessions::{Choice, End, Sessions};
use super::streams::{Limits, Reading, Step, Streams};
use super::{Class, Context, Counter, LinkConfig, LinkIdentity, Output, PingError, RequestId};
use crate::crypto::signature::VerifyingKey;
use crate::identity::MachineId;
use crate::support::{MemoryBudget, Rng};
use crate::transport::{
    ConnectionKey, Datagram, Event, LostReason, Side, State as Transport, StreamId, TlsIdentity,
    TransportSettings,
};
use crate::wire;

/// The connections of a node and the sessions over them.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) credential: Credential,
    handshake: Handshake,
    pub(super) connections: Connections,
    pub(super) streams: Streams,
    pub(super) sessions: Sessions,
    pub(super) pings: Pings,
}

impl Peers {
    pub(super) fn new(
        config: &LinkConfig,
        memory: MemoryBudget,
        identity: LinkIdentity,
        sockets: Vec<SocketAddr>,
        (now, unix_time): (Instant, Duration),
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
        let credential = Credential::new(identity, now, unix_time, &mut rng);
        let limits = Limits::of(memory);
        let (half_open_max, retry_threshold) = (limits.half_open, config.retry_threshold);
        Self {
            handshake: Handshake::new(config.versions.clone()),
            connections: Connections::new(transport, sockets, half_open_max, retry_threshold),
            streams: Streams::new(limits),
            sessions: Sessions::new(credential.machine(), limits.links),
            pings: Pings::default(),
            credential,
        }
    }

    /// Takes a datagram.
    pub(super) fn handle_datagram(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        datagram: Datagram,
    ) {
        match self.connections.handle_datagram(context, &mut dialer.hearsay, datagram) {
            Handled::Done => return,
            Handled::Quic => {}
            Handled::Incoming(path, incoming) => {
                let source = Source::from(path.remote.ip());
                let is_validated = incoming.is_validated();
                let decision = self.connections.admission.decide(context, source, is_validated);
                if let Decision::Accept(Some(evicted)) = decision {
                    self.close(context, dialer, evicted, CloseCode::TimedOut);
                    self.connections.transport.forget(evicted);
                    self.drained(dialer, evicted);
                }
                self.connections.answer(context, path, incoming, decision);
            }
        }
        self.drain_transport(context, dialer);
    }

    /// Handles the events of QUIC, until there is none.
    pub(super) fn drain_transport(&mut self, context: &mut Context<'_>, dialer: &mut Dialer) {
        while let Some((key, event)) = self.connections.transport.poll_event() {
            match event {
                Event::Established { peer, side, is_resumed } => {
                    if is_resumed {
                        context.count(Counter::HandshakesResumed);
                    }
                    self.established(context, dialer, (key, side), &peer);
                }
                Event::Opened => {
                    while let Some(stream) = self.connections.accept_stream(key) {
                        self.read(context, dialer, key, stream);
                    }
                }
                Event::Readable(stream) => self.read(context, dialer, key, stream),
                Event::Writable(_) => self.streams.writable(key),
                Event::Stopped(_) => self.violated(context, dialer, key),
                Event::Lost(reason) => self.lost(context, dialer, key, reason),
                Event::Drained => self.drained(dialer, key),
            }
        }
    }

    /// Sends a frame to a machine that has a session.
    pub(super) fn send(
        &mut self,
        machine: &MachineId,
        class: Class,
        header: &[u8],
        payload: &Bytes,
    ) {
        let Some(session) = self.sessions.get_mut(machine) else { return };
        session.is_releasable &= class == Class::Gossip;
        let key = session.connection;
        self.streams.send(&mut self.connections, key, class, header, payload);
    }

    /// Returns how many bytes the stream of a class takes now.
    pub(super) fn send_window(&self, machine: &MachineId, class: Class) -> usize {
        let key = self.sessions.connection(machine);
        let connection = key.and_then(|key| self.connections.get(key));
        connection.map_or(0, |connection| connection.streams.sender(class).send_window())
    }

    /// Pings a machine.
    pub(super) fn ping(
        &mut self,
        context: &mut Context<'_>,
        request: RequestId,
        machine: &MachineId,
        timeout: Duration,
    ) {
        let Some(key) = self.sessions.connection(machine) else {
            let result = Err(PingError::NotConnected);
            return context.emit(Output::PingEnded { request, result });
        };
        let ping = self.pings.begin(context, request, key, timeout);
        self.streams.send_control(&mut self.connections, key, &ping);
    }

    /// Sends a control frame to all machines that have a session, if there is a frame.
    pub(super) fn send_to_all(&mut self, frame: Option<Bytes>) {
        if let Some(frame) = frame {
            for key in self.sessions.connections() {
                self.streams.send_control(&mut self.connections, key, &frame);
            }
        }
    }

    /// Hands to QUIC what was sent, and closes connections until the send buffers are within their
    /// limit.
    pub(super) fn flush(&mut self, context: &mut Context<'_>, dialer: &mut Dialer) {
        self.streams.flush(context, &mut self.connections);
        while let Some(key) = self.streams.over_send_limit(context, &self.connections) {
            self.close(context, dialer, key, CloseCode::Bye);
        }
        self.drain_transport(context, dialer);
        if !self.sessions.is_empty() {
            self.credential.store(context);
        }
    }

    /// The peer's connection was held long enough: own dials that nobody answered end.
    pub(super) fn hold_expired(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        machine: MachineId,
    ) {
        if !self.sessions.hold_expired(context.now, machine) {
            return;
        }
        let attempts: Vec<ConnectionKey> = dialer.attempts(&machine).collect();
        for key in attempts {
            if self.connections.phase(key) == Some(Phase::Handshaking) {
                self.close(context, dialer, key, CloseCode::TimedOut);
            }
        }
    }

    /// The peer broke a rule: that ends the connection.
    pub(super) fn violated(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        key: ConnectionKey,
    ) {
        context.count(Counter::ProtocolViolations);
        self.close(context, dialer, key, CloseCode::Protocol);
    }

    /// Closes a connection and tells the peer why.
    pub(super) fn close(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        key: ConnectionKey,
        code: CloseCode,
    ) {
        let silently = dialer.hearsay.is_unanswered(key);
        self.connections.close(context.now, key, code, silently);
        self.over(context, dialer, key, End::closed(code));
    }

    /// Nothing is left of a connection.
    pub(super) fn drained(&mut self, dialer: &mut Dialer, key: ConnectionKey) {
        dialer.hearsay.answered(key);
        if let Some(connection) = self.connections.drained(key) {
            self.streams.connection_drained(&connection);
        }
    }

    /// TLS proved the peer's key.
    fn established(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        (key, side): (ConnectionKey, Side),
        peer: &VerifyingKey,
    ) {
        let machine = MachineId::of(peer);
        let Some(connection) = self.connections.get(key) else { return };
        let destination = connection.destination;
        if machine == self.credential.machine() {
            return self.close(context, dialer, key, CloseCode::OwnAddress);
        }
        self.connections.established(key, machine);
        dialer.identified(destination, machine);
        if side == Side::Client {
            self.send_hello(key);
        }
    }

    /// Reads what has arrived on a stream.
    fn read(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        key: ConnectionKey,
        stream: StreamId,
    ) {
        let mut reading = Reading::new(key, stream);
        while let Some(step) = self.streams.step(context, &mut self.connections, &mut reading) {
            match step {
                Step::Control(frame) => self.handle_control(context, dialer, key, &frame),
                Step::Close(key, code) => self.close(context, dialer, key, code),
            }
        }
    }

    fn handle_control(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        key: ConnectionKey,
        frame: &[u8],
    ) {
        let phase = self.connections.phase(key);
        match (wire::decode::<Control>(frame), phase) {
            (Ok(Control::Hello(hello)), Some(Phase::AwaitingHello)) => {
                self.handle_hello(context, dialer, key, &hello);
            }
            (Ok(Control::Rebind(bindings)), Some(Phase::Up)) => {
                self.handle_rebind(context, dialer, key, &bindings);
            }
            (Ok(Control::Ping(token)), Some(Phase::Up)) => {
                self.streams.handle_ping(&mut self.connections, key, token);
            }
            (Ok(Control::Pong(token)), Some(Phase::Up)) => {
                self.pings.handle_pong(context, key, token);
            }
            (Ok(_) | Err(_), _) => self.violated(context, dialer, key),
        }
    }

    /// Checks the peer's hello and decides what becomes of the connection.
    fn handle_hello(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        key: ConnectionKey,
        hello: &Hello,
    ) {
        let Some((machine, side)) = self.connections.peer(key) else { return };
        let checked = self.handshake.check(context, &dialer.book.addresses, machine, hello);
        let (proven, valid_for) = match checked {
            Ok(checked) => checked,
            Err(code) => return self.close(context, dialer, key, code),
        };
        self.connections.expire_after(context.now, key, valid_for);
        self.connections.greeted(key, proven);
        let (peer, incarnation) = ((machine, side), hello.incarnation);
        let is_dialling = || dialer.is_dialling(&machine);
        match self.sessions.choose(&self.connections, peer, incarnation, is_dialling) {
            Choice::Take => self.take(context, dialer, key),
            Choice::Replace(present) => {
                self.close(context, dialer, present, CloseCode::Replaced);
                self.session_up(context, dialer, key);
            }
            Choice::Hold => {
                let connections = &mut self.connections;
                if let Some(earlier) = self.sessions.hold(connections, context.now, machine, key) {
                    self.close(context, dialer, earlier, CloseCode::Replaced);
                }
            }
            Choice::Refuse(present) => {
                // If the peer has lost the present connection, this makes it say so.
                self.connections.transport.ping(present);
                self.close(context, dialer, key, CloseCode::Duplicate);
            }
        }
    }

    fn handle_rebind(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        key: ConnectionKey,
        bindings: &Bindings,
    ) {
        let Some((machine, _)) = self.connections.peer(key) else { return };
        let Some(address) = self.connections.remote(key) else { return };
        let checked =
            self.handshake.prove_agents(context, &dialer.book.addresses, machine, bindings);
        let (agents, valid_for) = match checked {
            Ok(checked) => checked,
            Err(code) => return self.close(context, dialer, key, code),
        };
        self.connections.expire_after(context.now, key, valid_for);
        if self.sessions.has_agents(&machine, &agents) {
            dialer.book.note_peer(context, (machine, address), &agents);
        } else {
            self.violated(context, dialer, key);
        }
    }

    /// Makes a session with a machine that has none, if one more is allowed.
    fn take(&mut self, context: &mut Context<'_>, dialer: &mut Dialer, key: ConnectionKey) {
        if self.sessions.is_full() {
            context.count(Counter::LinksOverLimit);
            self.close(context, dialer, key, CloseCode::TooManyLinks);
        } else {
            self.session_up(context, dialer, key);
        }
    }

    fn session_up(&mut self, context: &mut Context<'_>, dialer: &mut Dialer, key: ConnectionKey) {
        let Some((peer, side, proven)) = self.connections.up(key) else { return };
        if side == Side::Server {
            self.send_hello(key);
        }
        // A peer that is refused takes no place in the address book.
        dialer.book.note_peer(context, peer, &proven.agents);
        self.sessions.up(context, key, peer, &proven);
        dialer.session_up(context, &mut self.sessions, &self.connections, peer);
        if let Some(held) = self.sessions.take_held(&peer.0)
            && held != key
        {
            self.close(context, dialer, held, CloseCode::Duplicate);
        }
        // What waited until the session came up.
        for stream in self.connections.accepted_streams(key) {
            self.read(context, dialer, key, stream);
        }
    }

    /// QUIC lost a connection.
    fn lost(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        key: ConnectionKey,
        reason: LostReason,
    ) {
        if reason == LostReason::Failed {
            let is_up = self.connections.phase(key) == Some(Phase::Up);
            context.count(if is_up {
                Counter::ProtocolViolations
            } else {
                Counter::HandshakesFailed
            });
        }
        self.over(context, dialer, key, End::lost(reason));
    }

    /// A connection is over, if it was not before.
    fn over(
        &mut self,
        context: &mut Context<'_>,
        dialer: &mut Dialer,
        key: ConnectionKey,
        end: End,
    ) {
        let Some((connection, ended)) = self.connections.end(key) else { return };
        self.streams.connection_ended(connection);
        self.pings.connection_ended(context, key);
        if let Some(machine) = ended.machine
            && self.sessions.connection_ended(context, machine, key, end.down)
        {
            dialer.session_ended(context, (machine, ended.address));
        }
        if let Some(destination) = ended.destination {
            let (sessions, connections) = (&mut self.sessions, &self.connections);
            let attempt = (destination, key);
            dialer.attempt_ended(context, sessions, connections, attempt, end.failed);
        }
        let machine = ended.machine.or_else(|| ended.destination?.machine());
        // The held connection may have the session, once no own dial is under way.
        if let Some(machine) = machine
            && !self.sessions.contains(&machine)
            && !dialer.is_dialling(&machine)
            && let Some(held) = self.sessions.take_held(&machine)
        {
            self.take(context, dialer, held);
        }
    }

    fn send_hello(&mut self, key: ConnectionKey) {
        let hello = self.handshake.hello(&self.credential);
        self.streams.send_control(&mut self.connections, key, &hello);
    }
}
