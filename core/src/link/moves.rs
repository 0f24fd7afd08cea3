//! Datagrams in, paths and probes.

use std::net::SocketAddr;

use super::admission::Source;
use super::connection::{Connection, Phase};
use super::frames::CloseCode;
use super::path::{self, PathOutput, Probe};
use super::{Context, HANDSHAKE_TIME_MAX, Output, Path, State, Timer, admission};
use crate::link::Counter;
use crate::transport::{ConnectionKey, Datagram, Received, Side, Stranger};

impl State {
    /// Takes a datagram.
    pub fn handle_datagram(&mut self, context: &mut Context<'_>, datagram: Datagram) {
        context.count(Counter::DatagramsReceived);
        let source = SocketAddr::new(datagram.source.ip().to_canonical(), datagram.source.port());
        let path = Path { local: datagram.local, remote: source };
        if datagram.payload.is_empty() {
            return context.count(Counter::DatagramsMalformed);
        }
        if path::is_probe(&datagram.payload) {
            return self.handle_probe(context, path, &datagram.payload);
        }
        let label = match self.transport.owner(&datagram.payload) {
            Some(key) if self.is_misplaced(key, path) => {
                return context.count(Counter::DatagramsUnknown);
            }
            Some(key) => {
                self.hearsay.answered(key);
                self.note_path(context, key, path, datagram.payload.len())
            }
            None => self.stranger_label(path, &datagram.payload),
        };
        let mut answer = Vec::new();
        let received = self.transport.handle_datagram(
            context.now,
            label,
            datagram.ecn,
            datagram.payload,
            &mut answer,
        );
        match received {
            Received::Handled => {}
            Received::Stranger(stranger) => self.admit(context, path, stranger),
            Received::Response => self.answer(path, answer, context),
            Received::Unknown => context.count(Counter::DatagramsUnknown),
        }
        self.drain_transport(context);
    }

    /// Takes the new list of sockets. Sessions whose socket is gone move to another one; returns
    /// how many began to.
    pub fn change_sockets(&mut self, context: &mut Context<'_>, sockets: Vec<SocketAddr>) -> usize {
        self.sockets = sockets;
        let mut moving = 0;
        let keys: Vec<ConnectionKey> = self.sessions.values().map(|s| s.connection).collect();
        for key in keys {
            let Some(connection) = self.connections.get(&key) else { continue };
            let current = connection.path.current();
            if self.sockets.contains(&current.local) {
                continue;
            }
            let Some(local) = self.socket_for(current.remote) else { continue };
            if let Some(connection) = self.connections.get_mut(&key) {
                let target = Path { local, remote: current.remote };
                connection.path.move_to(context.now, target, context.rng);
                moving += 1;
                self.drive_path(context, key);
            }
        }
        moving
    }

    /// Returns the socket from which an address can be reached, the preferred first.
    pub fn socket_for(&self, remote: SocketAddr) -> Option<SocketAddr> {
        let fits = |local: &&SocketAddr| {
            local.is_ipv4() == remote.is_ipv4() || (local.is_ipv6() && local.ip().is_unspecified())
        };
        self.sockets.iter().find(fits).copied()
    }

    /// Lets a path do what is due and sets its timer.
    pub(super) fn drive_path(&mut self, context: &mut Context<'_>, key: ConnectionKey) {
        loop {
            let Some(connection) = self.connections.get_mut(&key) else { return };
            match connection.path.poll(context.now) {
                Some(PathOutput::Probe(path, probe)) => {
                    if let Some(keys) = &connection.probe_keys {
                        let sealed = keys.seal(&probe).to_vec();
                        self.answer(path, sealed, context);
                    }
                }
                Some(PathOutput::Moved(path)) => self.moved(context, key, path),
                None => break,
            }
        }
        let deadline = self.connections.get(&key).and_then(|c| c.path.deadline());
        match deadline {
            Some(at) => self.timers.set(Timer::Path(key), at),
            None => self.timers.cancel(&Timer::Path(key)),
        }
    }

    fn moved(&mut self, context: &mut Context<'_>, key: ConnectionKey, path: Path) {
        context.count(Counter::PathsChanged);
        self.by_path.retain(|_, owner| *owner != key);
        self.by_path.insert(path, key);
        self.transport.path_changed(context.now, key);
        if let Some(connection) = self.connections.get(&key)
            && let (Phase::Up, Some(machine)) = (connection.phase, connection.machine)
        {
            context.emit(Output::PathChanged { machine, address: path.remote });
        }
    }

    /// Tells whether a datagram is of a stranger's handshake and from another place than the
    /// stranger. It must not count towards what may be sent to the stranger's address.
    fn is_misplaced(&self, key: ConnectionKey, path: Path) -> bool {
        self.connections.get(&key).is_some_and(|connection| {
            connection.side == Side::Server
                && connection.probe_keys.is_none()
                && connection.path.current() != path
        })
    }

    /// Notes over which path a datagram of a connection came; returns the connection's label.
    fn note_path(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        path: Path,
        size: usize,
    ) -> SocketAddr {
        if let Some(connection) = self.connections.get_mut(&key)
            && connection.path.current() != path
            && connection.probe_keys.is_some()
        {
            let earned = size.saturating_mul(path::AMPLIFICATION_MAX);
            connection.path.handle_foreign(context.now, path, earned, context.rng);
            self.drive_path(context, key);
        }
        self.transport.label(key).unwrap_or(path.remote)
    }

    /// The label of a datagram without a connection id of ours: its source; but a stateless reset
    /// belongs to the connection that uses the path.
    fn stranger_label(&self, path: Path, payload: &[u8]) -> SocketAddr {
        let is_short = payload.first().is_some_and(|first| first & 0x80 == 0);
        let owner = if is_short { self.by_path.get(&path) } else { None };
        owner.and_then(|&key| self.transport.label(key)).unwrap_or(path.remote)
    }

    fn admit(&mut self, context: &mut Context<'_>, path: Path, stranger: Stranger) {
        let (source, is_proven) = (Source::from(path.remote.ip()), stranger.is_validated());
        let is_allowed = self.sources.take(source, is_proven, context.now);
        let is_crowded = self.half_open.len() >= self.config.retry_threshold;
        let mut answer = Vec::new();
        if !is_proven && (is_crowded || !is_allowed) {
            context.count(Counter::HandshakesRetried);
            self.transport.retry(stranger, &mut answer);
        } else if !is_allowed {
            context.count(Counter::HandshakesOverSourceLimit);
            self.transport.ignore(stranger);
        } else if !self.has_place(context, source) {
            context.count(Counter::HandshakesOverLimit);
            self.transport.ignore(stranger);
        } else if let Some(key) = self.transport.accept(context.now, stranger, &mut answer) {
            context.count(Counter::HandshakesAccepted);
            self.connections.insert(key, Connection::new(Side::Server, path, None));
            self.by_path.insert(path, key);
            self.half_open.insert(key, source);
            self.timers.set(Timer::Handshake(key), context.now + HANDSHAKE_TIME_MAX);
        } else {
            context.count(Counter::HandshakesFailed);
        }
        if !answer.is_empty() {
            self.answer(path, answer, context);
        }
    }

    /// Tells whether there is a place for one more handshake of a source, and makes one if another
    /// source has more than its share.
    fn has_place(&mut self, context: &mut Context<'_>, source: Source) -> bool {
        if self.half_open.len() < self.limits.half_open {
            return true;
        }
        let Some(key) = admission::surplus(&self.half_open, source, context.rng) else {
            return false;
        };
        context.count(Counter::HandshakesEvicted);
        self.close(context, key, CloseCode::TimedOut);
        self.transport.forget(key);
        self.drained(key);
        true
    }

    fn handle_probe(&mut self, context: &mut Context<'_>, path: Path, payload: &[u8]) {
        let key = path::receiver(payload).and_then(|id| self.by_probe_id.get(&id)).copied();
        let Some(key) = key else { return context.count(Counter::DatagramsMalformed) };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let Some(keys) = connection.probe_keys.as_ref() else { return };
        match keys.open(payload) {
            None => return context.count(Counter::ProbesForged),
            Some(Probe::Ask { challenge, prefer }) => {
                let answer = Probe::Answer { challenge, observed: path.remote };
                let sealed = keys.seal(&answer).to_vec();
                connection.path.handle_ask(context.now, path, prefer, context.rng);
                self.answer(path, sealed, context);
            }
            Some(Probe::Answer { challenge, observed: _ }) => {
                let round_trip = self.transport.round_trip(key).unwrap_or_default();
                connection.path.handle_answer(context.now, path, challenge, round_trip);
            }
        }
        self.drive_path(context, key);
    }
}
