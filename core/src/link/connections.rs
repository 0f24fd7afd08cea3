//! The table of connections, from their first datagram until nothing is left of them.
//!
//! To QUIC, the address of a peer is a label that never changes. This table maps labels to paths in
//! both directions, answers path probes, and decides which incoming connections are accepted.
//!
//! # How it is driven
//!
//! [`Connections::handle_datagram`] takes a datagram and passes it to QUIC. For an incoming connection
//! it returns; the owner asks [`Admission::decide`], makes room if it must, and calls
//! [`Connections::answer`]. [`Connections::poll_transmit`] returns what leaves.
//!
//! # Invariants
//!
//! - A datagram with a connection id of this node counts for its connection from wherever it comes,
//!   but for connections without proven keys: there it counts only from the address of the peer, so
//!   that nobody adds to what may be sent to that address.
//!
//! # Limits
//!
//! [`ANSWERS_MAX`] and those of [`admission`](super::admission).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::admission::{Admission, Decision, Source};
use super::connection::{Connection, Phase};
use super::dialer::{Destination, HearsayDials};
use super::frames::CloseCode;
use super::handshake::Proven;
use super::{Context, Counter, HANDSHAKE_TIME_MAX, Output, Path, Timer};
use crate::identity::MachineId;
use crate::path::{
    AMPLIFICATION_MAX, EXPORT_LABEL, PathOutput, Probe, ProbeId, ProbeKeys, is_probe, receiver,
};
use crate::support::Timers;
use crate::transport::{
    ConnectionKey, Datagram, Received, Side, State as Transport, Stranger, StreamId, Transmit,
};

/// The most datagrams beside QUIC that wait to be sent: Retry and other stateless packets, probes
/// and answers to probes. The newest beyond it are dropped.
pub const ANSWERS_MAX: usize = 1024;

/// What a datagram needs of the owner.
pub(super) enum Handled {
    /// It needs nothing else.
    Done,
    /// QUIC took it.
    Quic,
    /// It opens an incoming connection.
    Incoming(Path, Stranger),
}

/// What ended with a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedConnection {
    pub(super) machine: Option<MachineId>,
    pub(super) destination: Option<Destination>,
    /// Where the peer was.
    pub(super) address: SocketAddr,
}

/// The connections of a node.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) transport: Transport,
    table: BTreeMap<ConnectionKey, Connection>,
    /// The connection that used a path last.
    by_path: BTreeMap<Path, ConnectionKey>,
    by_probe_id: BTreeMap<ProbeId, ConnectionKey>,
    pub(super) admission: Admission,
    /// The local address of each socket, the preferred first.
    pub(super) sockets: Vec<SocketAddr>,
    answers: VecDeque<(Path, Vec<u8>)>,
    pub(super) timers: Timers<Timer>,
}

impl Connections {
    pub(super) fn new(
        transport: Transport,
        sockets: Vec<SocketAddr>,
        half_open_max: usize,
        retry_threshold: usize,
    ) -> Self {
        Self {
            transport,
            table: BTreeMap::new(),
            by_path: BTreeMap::new(),
            by_probe_id: BTreeMap::new(),
            admission: Admission::new(half_open_max, retry_threshold),
            sockets,
            answers: VecDeque::new(),
            timers: Timers::default(),
        }
    }

    pub(super) fn get(&self, key: ConnectionKey) -> Option<&Connection> {
        self.table.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.table.get_mut(&key)
    }

    /// Returns a connection together with QUIC.
    pub(super) fn parts(
        &mut self,
        key: ConnectionKey,
    ) -> (Option<&mut Connection>, &mut Transport) {
        (self.table.get_mut(&key), &mut self.transport)
    }

    /// Returns the keys of all connections.
    pub(super) fn keys(&self) -> impl Iterator<Item = ConnectionKey> {
        self.table.keys().copied()
    }

    /// Returns the connections that are not over, by their keys.
    pub(super) fn living(&self) -> impl Iterator<Item = (ConnectionKey, &Connection)> {
        let all = self.table.iter().map(|(&key, connection)| (key, connection));
        all.filter(|(_, connection)| connection.phase != Phase::Over)
    }

    pub(super) fn phase(&self, key: ConnectionKey) -> Option<Phase> {
        self.get(key).map(|connection| connection.phase)
    }

    /// Returns the machine at the other end, once it is proven, and the side of this node.
    pub(super) fn peer(&self, key: ConnectionKey) -> Option<(MachineId, Side)> {
        self.get(key).and_then(|connection| Some((connection.machine?, connection.side)))
    }

    /// Accepts a stream that the peer opened.
    pub(super) fn accept_stream(&mut self, key: ConnectionKey) -> Option<StreamId> {
        let stream = self.transport.accept_stream(key)?;
        self.table.get_mut(&key)?.streams.accept(stream);
        Some(stream)
    }

    /// Returns the streams that the peer opened.
    pub(super) fn accepted_streams(&self, key: ConnectionKey) -> Vec<StreamId> {
        self.get(key).map(|connection| connection.streams.accepted().collect()).unwrap_or_default()
    }

    /// Returns where the peer is.
    pub(super) fn remote(&self, key: ConnectionKey) -> Option<SocketAddr> {
        self.get(key).map(|connection| connection.path.current().remote)
    }

    /// Returns the smoothed round-trip time; zero if there is no such connection.
    pub(super) fn round_trip(&self, key: ConnectionKey) -> Duration {
        self.transport.round_trip(key).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns how many datagrams beside QUIC wait.
    pub(super) fn answers(&self) -> usize {
        self.answers.len()
    }

    /// Returns how many bytes the peers that proved their keys may send.
    pub(super) fn credit_bytes(&self) -> usize {
        let proven = self.living().filter(|(_, connection)| connection.machine.is_some());
        proven.map(|(_, connection)| connection.credit.window() as usize).sum()
    }

    /// Returns the socket from which an address can be reached, the preferred first.
    pub(super) fn socket_for(&self, remote: SocketAddr) -> Option<SocketAddr> {
        let fits = |local: &&SocketAddr| {
            local.is_ipv4() == remote.is_ipv4() || (local.is_ipv6() && local.ip().is_unspecified())
        };
        self.sockets.iter().find(fits).copied()
    }

    /// Dials an address. Returns `None` if no socket reaches it or QUIC cannot dial.
    pub(super) fn dial(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        destination: Destination,
        timeout: Duration,
    ) -> Option<ConnectionKey> {
        let local = self.socket_for(remote)?;
        let machine = destination.machine();
        let key = self.transport.connect(now, remote, machine.as_ref().map(|m| &m.0))?;
        let path = Path { local, remote };
        self.table.insert(key, Connection::new(Side::Client, path, Some(destination)));
        self.by_path.insert(path, key);
        self.timers.set(Timer::Handshake(key), now + timeout);
        Some(key)
    }

    /// Takes a datagram.
    pub(super) fn handle_datagram(
        &mut self,
        context: &mut Context<'_>,
        hearsay: &mut HearsayDials,
        datagram: Datagram,
    ) -> Handled {
        context.count(Counter::DatagramsReceived);
        let source = SocketAddr::new(datagram.source.ip().to_canonical(), datagram.source.port());
        let path = Path { local: datagram.local, remote: source };
        if datagram.payload.is_empty() {
            context.count(Counter::DatagramsMalformed);
            return Handled::Done;
        }
        if is_probe(&datagram.payload) {
            self.handle_probe(context, path, &datagram.payload);
            return Handled::Done;
        }
        let label = match self.transport.owner(&datagram.payload) {
            Some(key) if self.is_misplaced(key, path) => {
                context.count(Counter::DatagramsUnknown);
                return Handled::Done;
            }
            Some(key) => {
                hearsay.answered(key);
                self.note_path(context, key, path, datagram.payload.len())
            }
            None => self.label_of_unknown(path, &datagram.payload),
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
            Received::Stranger(incoming) => return Handled::Incoming(path, incoming),
            Received::Response => self.push_answer(context, path, answer),
            Received::Unknown => context.count(Counter::DatagramsUnknown),
        }
        Handled::Quic
    }

    /// Gives an incoming connection what was decided.
    pub(super) fn answer(
        &mut self,
        context: &mut Context<'_>,
        path: Path,
        incoming: Stranger,
        decision: Decision,
    ) {
        let mut answer = Vec::new();
        match decision {
            Decision::Retry => self.transport.retry(incoming, &mut answer),
            Decision::Ignore => self.transport.ignore(incoming),
            Decision::Accept(_) => {
                match self.transport.accept(context.now, incoming, &mut answer) {
                    Some(key) => self.accepted(context, path, key),
                    None => context.count(Counter::HandshakesFailed),
                }
            }
        }
        if !answer.is_empty() {
            self.push_answer(context, path, answer);
        }
    }

    /// Writes the next datagrams into `buf`, which must be empty.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        hearsay: &mut HearsayDials,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
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
            if hearsay.may_send(packets.connection, datagrams)
                && let Some(connection) = self.table.get(&packets.connection)
            {
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

    /// Takes the new list of sockets. Of these connections, those whose socket is gone move to
    /// another one; returns how many began to.
    pub(super) fn change_sockets(
        &mut self,
        context: &mut Context<'_>,
        sockets: Vec<SocketAddr>,
        keys: impl Iterator<Item = ConnectionKey>,
    ) -> usize {
        self.sockets = sockets;
        let mut moving = 0;
        for key in keys {
            let Some(remote) = self.remote(key) else { continue };
            let Some(local) = self.socket_for(remote) else { continue };
            let Some(connection) = self.table.get_mut(&key) else { continue };
            if !self.sockets.contains(&connection.path.current().local) {
                connection.path.move_to(context.now, Path { local, remote }, context.rng);
                moving += 1;
                self.drive_path(context, key);
            }
        }
        moving
    }

    /// Lets path selection do what is due, and sets its timer.
    pub(super) fn drive_path(&mut self, context: &mut Context<'_>, key: ConnectionKey) {
        loop {
            let Some(connection) = self.table.get_mut(&key) else { return };
            match connection.path.poll(context.now) {
                Some(PathOutput::Probe(path, probe)) => {
                    if let Some(keys) = &connection.probe_keys {
                        let sealed = keys.seal(&probe).to_vec();
                        self.push_answer(context, path, sealed);
                    }
                }
                Some(PathOutput::Moved(path)) => self.moved(context, key, path),
                None => break,
            }
        }
        let deadline = self.get(key).and_then(|connection| connection.path.deadline());
        match deadline {
            Some(at) => self.timers.set(Timer::Path(key), at),
            None => self.timers.cancel(&Timer::Path(key)),
        }
    }

    /// TLS proved the peer's key.
    pub(super) fn established(&mut self, key: ConnectionKey, machine: MachineId) {
        let Some(connection) = self.table.get_mut(&key) else { return };
        let exported = self.transport.export_secret(key, EXPORT_LABEL);
        let probe_keys = exported.map(|secret| ProbeKeys::new(&secret, connection.side));
        connection.machine = Some(machine);
        connection.phase = Phase::AwaitingHello;
        if let Some(keys) = &probe_keys {
            self.by_probe_id.insert(keys.own_id, key);
        }
        connection.probe_keys = probe_keys;
    }

    /// The peer's hello was checked.
    pub(super) fn greeted(&mut self, key: ConnectionKey, proven: Proven) {
        if let Some(connection) = self.table.get_mut(&key) {
            connection.proven = Some(proven);
        }
    }

    /// The bindings of the peer are valid for this long.
    pub(super) fn expire_after(&mut self, now: Instant, key: ConnectionKey, valid_for: Duration) {
        self.timers.set(Timer::Expiry(key), now + valid_for);
    }

    /// A connection carries a session from now on. Returns its peer, its side and what the hello
    /// proved; `None` if it has not been greeted.
    pub(super) fn up(
        &mut self,
        key: ConnectionKey,
    ) -> Option<((MachineId, SocketAddr), Side, Proven)> {
        let connection = self.table.get_mut(&key)?;
        let (machine, proven) = (connection.machine?, connection.proven.clone()?);
        connection.phase = Phase::Up;
        self.admission.ended(key);
        self.timers.cancel(&Timer::Handshake(key));
        Some(((machine, connection.path.current().remote), connection.side, proven))
    }

    /// Closes a connection. With `silently`, the peer is not told.
    pub(super) fn close(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        code: CloseCode,
        silently: bool,
    ) {
        if silently {
            self.transport.forget(key);
        } else {
            self.transport.close(now, key, code.number(), code.text());
        }
    }

    /// A connection is over. Returns the connection, and what ended with it; `None` if it was over
    /// before.
    pub(super) fn end(&mut self, key: ConnectionKey) -> Option<(&mut Connection, EndedConnection)> {
        let connection = self.table.get_mut(&key)?;
        if std::mem::replace(&mut connection.phase, Phase::Over) == Phase::Over {
            return None;
        }
        for timer in [Timer::Handshake(key), Timer::Path(key), Timer::Expiry(key)] {
            self.timers.cancel(&timer);
        }
        let ended = EndedConnection {
            machine: connection.machine,
            destination: connection.destination,
            address: connection.path.current().remote,
        };
        Some((connection, ended))
    }

    /// Nothing is left of a connection. Returns it.
    pub(super) fn drained(&mut self, key: ConnectionKey) -> Option<Connection> {
        self.admission.ended(key);
        let connection = self.table.remove(&key)?;
        let path = connection.path.current();
        if self.by_path.get(&path) == Some(&key) {
            self.by_path.remove(&path);
        }
        if let Some(keys) = &connection.probe_keys {
            self.by_probe_id.remove(&keys.own_id);
        }
        Some(connection)
    }

    fn accepted(&mut self, context: &mut Context<'_>, path: Path, key: ConnectionKey) {
        context.count(Counter::HandshakesAccepted);
        self.table.insert(key, Connection::new(Side::Server, path, None));
        self.by_path.insert(path, key);
        self.admission.accepted(key, Source::from(path.remote.ip()));
        self.timers.set(Timer::Handshake(key), context.now + HANDSHAKE_TIME_MAX);
    }

    fn push_answer(&mut self, context: &mut Context<'_>, path: Path, bytes: Vec<u8>) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back((path, bytes));
        } else {
            context.count(Counter::AnswersDropped);
        }
    }

    fn moved(&mut self, context: &mut Context<'_>, key: ConnectionKey, path: Path) {
        context.count(Counter::PathsChanged);
        self.by_path.retain(|_, owner| *owner != key);
        self.by_path.insert(path, key);
        self.transport.path_changed(context.now, key);
        if let Some(connection) = self.get(key)
            && let (Phase::Up, Some(machine)) = (connection.phase, connection.machine)
        {
            context.emit(Output::PathChanged { machine, address: path.remote });
        }
    }

    /// Returns whether a datagram belongs to an incoming handshake and comes from elsewhere than the
    /// peer. It must not count towards what may be sent to the peer's address.
    fn is_misplaced(&self, key: ConnectionKey, path: Path) -> bool {
        self.get(key).is_some_and(|connection| {
            connection.side == Side::Server
                && connection.probe_keys.is_none()
                && connection.path.current() != path
        })
    }

    /// Notes over which path a datagram of a connection came. Returns the connection's label.
    fn note_path(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        path: Path,
        size: usize,
    ) -> SocketAddr {
        if let Some(connection) = self.table.get_mut(&key)
            && connection.path.current() != path
            && connection.probe_keys.is_some()
        {
            let earned = size.saturating_mul(AMPLIFICATION_MAX);
            connection.path.handle_foreign(context.now, path, earned, context.rng);
            self.drive_path(context, key);
        }
        self.transport.label(key).unwrap_or(path.remote)
    }

    /// Returns the label of a datagram without a connection id of this node: its source, but for a
    /// stateless reset that of the connection that uses the path.
    fn label_of_unknown(&self, path: Path, payload: &[u8]) -> SocketAddr {
        let is_short = payload.first().is_some_and(|first| first & 0x80 == 0);
        let owner = if is_short { self.by_path.get(&path) } else { None };
        owner.and_then(|&key| self.transport.label(key)).unwrap_or(path.remote)
    }

    fn handle_probe(&mut self, context: &mut Context<'_>, path: Path, payload: &[u8]) {
        let key = receiver(payload).and_then(|id| self.by_probe_id.get(&id)).copied();
        let Some(key) = key else { return context.count(Counter::DatagramsMalformed) };
        let Some(connection) = self.table.get_mut(&key) else { return };
        let Some(keys) = connection.probe_keys.as_ref() else { return };
        match keys.open(payload) {
            None => return context.count(Counter::ProbesForged),
            Some(Probe::Ask { challenge, prefer }) => {
                let answer = Probe::Answer { challenge, observed: path.remote };
                let sealed = keys.seal(&answer).to_vec();
                connection.path.handle_ask(context.now, path, prefer, context.rng);
                self.push_answer(context, path, sealed);
            }
            Some(Probe::Answer { challenge, observed: _ }) => {
                let round_trip = self.transport.round_trip(key).unwrap_or_default();
                connection.path.handle_answer(context.now, path, challenge, round_trip);
            }
        }
        self.drive_path(context, key);
    }
}
