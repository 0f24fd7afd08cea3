//! The QUIC endpoint of a node and its connections.
//!
//! This is the only module that names `quinn_proto`. It adds nothing to QUIC (RFC 9000) but order:
//! connections are numbered and never reused, everything that wants to be sent or told is found
//! without a scan, and every draw of randomness comes from the node's seed.
//!
//! # Labels
//!
//! To a connection the peer's address is a *label*: a socket address that is fixed when the
//! connection starts and never changes. Which path a connection really uses is the business of
//! `link`, which presents each datagram under the label of the connection that it belongs to (see
//! [`State::owner`]) and sends each transmission over the connection's path of the moment.
//!
//! # How it is driven
//!
//! `handle_*` and the verbs (`connect`, `accept`, `write`, `close`, …) queue events; the owner takes
//! them with [`State::poll_event`] until there is none, then takes datagrams with
//! [`State::poll_transmit`] until there is none. After that [`State::deadline`] holds.
//!
//! # Invariants
//!
//! - A connection is removed in the step in which QUIC has drained it; its number is never used
//!   again. The owner learns of the end exactly once, by [`Event::Lost`], and of the removal by
//!   [`Event::Drained`].
//! - A peer's bytes never make a call fail; they end a connection at most.

mod config;
mod congestion;
mod connection_ids;
mod datagram;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod keys;
mod lost;
mod streams;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, Connection, ConnectionEvent, ConnectionHandle, DatagramEvent, Endpoint,
    EndpointEvent, Incoming, VarInt,
};

pub use config::{
    PEER_STREAMS_MAX, STREAM_WINDOW, TlsIdentity, TransportSettings, WINDOW_MAX, WINDOW_MIN,
};
pub use datagram::{Datagram, Ecn, Transmit};
pub use lost::LostReason;
pub use streams::{ReadEnd, StreamId};

use crate::crypto::entropy::Entropy;
use crate::crypto::signature::VerifyingKey;
use crate::crypto::tls;
use crate::support::Rng;
use congestion::{Debt, Valve};
use connection_ids::{CONNECTION_ID_LEN, ConnectionIds};

/// How many datagrams at most are built at once, for one segmented send.
const SEGMENTS_MAX: usize = 44;

/// The largest payload of one segmented send, in bytes: what fits an IPv4 packet.
const SEGMENTED_BYTES_MAX: usize = 65_507;

/// The number of a connection. It is never used again within a run of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey(u32);

#[cfg(test)]
impl ConnectionKey {
    /// Makes a key of which no connection exists.
    pub(crate) fn for_test(number: usize) -> Self {
        Self(u32::MAX - u32::try_from(number).expect("a small number"))
    }
}

/// Which end of a connection this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node dialled.
    Client,
    /// The peer dialled.
    Server,
}

/// What happened to a connection.
#[derive(Clone, Debug)]
pub enum Event {
    /// TLS is done on this side and the peer's key is proven. To a client this does *not* mean
    /// that the server will accept it.
    Established {
        /// The key that the peer proved.
        peer: VerifyingKey,
        /// Which end this node is.
        side: Side,
        /// Whether the key was proven in an earlier connection that this one resumes.
        is_resumed: bool,
    },
    /// The peer opened a stream that can be accepted.
    Opened,
    /// A stream has something to read.
    Readable(StreamId),
    /// A stream that was blocked may be written again.
    Writable(StreamId),
    /// The peer wants nothing more on a stream.
    Stopped(StreamId),
    /// The connection is over.
    Lost(LostReason),
    /// Nothing of the connection is left.
    Drained,
}

/// A stranger that wants a connection. It must be given back to [`State::accept`],
/// [`State::retry`] or [`State::ignore`].
#[must_use]
#[derive(Debug)]
pub struct Stranger(Incoming);

impl Stranger {
    /// Returns whether the stranger proved that it receives what is sent to its address.
    pub fn is_validated(&self) -> bool {
        self.0.remote_address_validated()
    }
}

/// How a datagram was handled.
#[derive(Debug)]
pub enum Received {
    /// It went to a connection, or nowhere.
    Handled,
    /// It is from a stranger.
    Stranger(Stranger),
    /// It is answered by the bytes in the buffer, to where it came from.
    Response,
    /// It belongs to no connection and is not answered.
    Unknown,
}

/// What `poll_transmit` wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packets {
    /// The connection that they belong to.
    pub connection: ConnectionKey,
    /// The number of bytes.
    pub size: usize,
    /// The size of each datagram but the last, if there are several.
    pub segment_size: Option<usize>,
    /// The congestion notification to set.
    pub ecn: Option<Ecn>,
}

struct Entry {
    handle: ConnectionHandle,
    connection: Connection,
    label: SocketAddr,
    side: Side,
    deadline: Option<Instant>,
    debt: Debt,
    is_dirty: bool,
    is_established: bool,
    /// Whether the peer signed in this connection.
    is_proven: bool,
    is_lost: bool,
}

/// The endpoint and its connections.
pub struct State {
    endpoint: Endpoint,
    client: ClientConfig,
    proofs: tls::Proofs,
    valve: Arc<Valve>,
    entropy: Entropy,
    ids: ConnectionIds,
    /// The connection id that was read last and what it names: the next is mostly the same.
    last_read: ([u8; CONNECTION_ID_LEN], ConnectionKey),
    connections: BTreeMap<ConnectionKey, Entry>,
    /// The key of each living handle, by the handle's index.
    keys: Vec<Option<ConnectionKey>>,
    next_key: u32,
    /// Connections that may have something to send or another deadline.
    dirty: VecDeque<ConnectionKey>,
    deadlines: BTreeSet<(Instant, ConnectionKey)>,
    events: VecDeque<(ConnectionKey, Event)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("State")
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}

impl State {
    /// Makes an endpoint without connections.
    pub fn new(settings: &TransportSettings, identity: &TlsIdentity<'_>, mut rng: Rng) -> Self {
        let ids = ConnectionIds::new(&mut rng);
        let configured = config::configure(settings, identity, &ids, &mut rng);
        Self {
            endpoint: configured.endpoint,
            client: configured.client,
            proofs: configured.proofs,
            valve: configured.valve,
            entropy: Entropy::new(rng.fork("tls")),
            last_read: ([0; CONNECTION_ID_LEN], ConnectionKey(ids.number(&[0; CONNECTION_ID_LEN]))),
            ids,
            connections: BTreeMap::new(),
            keys: Vec::new(),
            next_key: 0,
            dirty: VecDeque::new(),
            deadlines: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    /// Starts a connection to the peer behind `label`; with `machine`, to that machine only.
    /// Returns nothing if the label is no address of a host.
    pub fn connect(
        &mut self,
        now: Instant,
        label: SocketAddr,
        machine: Option<&[u8; 32]>,
    ) -> Option<ConnectionKey> {
        let key = self.issue_key();
        let name = tls::server_name(machine);
        let (endpoint, client) = (&mut self.endpoint, self.client.clone());
        let (handle, connection) =
            self.entropy.scope(|| endpoint.connect(now, client, label, &name)).ok()?;
        self.insert(key, handle, connection, label, Side::Client);
        self.drive(key);
        Some(key)
    }

    /// Returns the connection that a datagram is addressed to, if its connection id is of this
    /// node's making.
    pub fn owner(&mut self, datagram: &[u8]) -> Option<ConnectionKey> {
        let id: &[u8; CONNECTION_ID_LEN] = connection_ids::destination(datagram)?;
        if self.last_read.0 != *id {
            self.last_read = (*id, ConnectionKey(self.ids.number(id)));
        }
        let key = self.last_read.1;
        self.connections.contains_key(&key).then_some(key)
    }

    /// Takes a datagram that is presented under a label. `buf` must be empty and holds the answer
    /// if there is one.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        label: SocketAddr,
        ecn: Option<Ecn>,
        payload: BytesMut,
        buf: &mut Vec<u8>,
    ) -> Received {
        self.ids.select(0);
        let ecn = ecn.and_then(|ecn| quinn_proto::EcnCodepoint::from_bits(ecn.bits()));
        match self.endpoint.handle(now, label, None, ecn, payload, buf) {
            None => Received::Unknown,
            Some(DatagramEvent::Response(_)) => Received::Response,
            Some(DatagramEvent::NewConnection(incoming)) => Received::Stranger(Stranger(incoming)),
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                match self.keys.get(handle.0).copied().flatten() {
                    Some(key) => {
                        self.deliver(key, event);
                        Received::Handled
                    }
                    None => Received::Unknown,
                }
            }
        }
    }

    /// Lets a stranger in. Returns nothing if its first packet is broken; `buf` then holds the
    /// answer, if there is one.
    pub fn accept(
        &mut self,
        now: Instant,
        stranger: Stranger,
        buf: &mut Vec<u8>,
    ) -> Option<ConnectionKey> {
        let key = self.issue_key();
        let label = stranger.0.remote_address();
        let endpoint = &mut self.endpoint;
        let accepted = self.entropy.scope(|| {
            let accepted = endpoint.accept(stranger.0, now, buf, None);
            accepted.map_err(|error| error.response.is_some())
        });
        let is_answered = matches!(accepted, Err(true));
        if !is_answered {
            buf.clear();
        }
        let (handle, connection) = accepted.ok()?;
        self.insert(key, handle, connection, label, Side::Server);
        self.drive(key);
        Some(key)
    }

    /// Makes a stranger prove its address first; the answer is in `buf`.
    pub fn retry(&mut self, stranger: Stranger, buf: &mut Vec<u8>) {
        self.ids.select(0);
        if let Err(error) = self.endpoint.retry(stranger.0, buf) {
            buf.clear();
            self.endpoint.ignore(error.into_incoming());
        }
    }

    /// Forgets a stranger without an answer.
    pub fn ignore(&mut self, stranger: Stranger) {
        self.endpoint.ignore(stranger.0);
    }

    /// Lets every connection whose time has come do its work.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.connections.get_mut(&key) {
                entry.deadline = None;
                entry.connection.handle_timeout(now);
                self.drive(key);
            }
        }
    }

    /// Closes a connection and tells the peer the code. [`Event::Lost`] does not follow.
    pub fn close(&mut self, now: Instant, key: ConnectionKey, code: u32, reason: &'static str) {
        if let Some(entry) = self.connections.get_mut(&key)
            && !entry.is_lost
        {
            entry.is_lost = true;
            let reason = Bytes::from_static(reason.as_bytes());
            entry.connection.close(now, VarInt::from_u32(code), reason);
            self.drive(key);
        }
    }

    /// Sets how many bytes the peer may send on all streams before they are read. What was allowed
    /// before cannot be taken back.
    pub fn set_window(&mut self, key: ConnectionKey, bytes: u32) {
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.connection.set_receive_window(VarInt::from_u32(bytes));
            self.drive(key);
        }
    }

    /// Forgets a connection at once and sends nothing to the peer. [`Event::Drained`] follows.
    pub fn forget(&mut self, key: ConnectionKey) {
        if let Some(entry) = self.connections.get(&key) {
            self.endpoint.handle_event(entry.handle, EndpointEvent::drained());
            self.remove(key);
        }
    }

    /// Forgets what the connection learned of its path: round trip, congestion, datagram size;
    /// and shows the new path a fresh connection id and a sign of life.
    pub fn path_changed(&mut self, now: Instant, key: ConnectionKey) {
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.connection.path_changed(now);
            entry.connection.local_address_changed();
            self.drive(key);
        }
    }

    /// Makes the peer show whether it still knows the connection.
    pub fn ping(&mut self, key: ConnectionKey) {
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.connection.ping();
            self.drive(key);
        }
    }

    /// Takes the oldest event.
    pub fn poll_event(&mut self) -> Option<(ConnectionKey, Event)> {
        self.events.pop_front()
    }

    /// Builds the next datagrams into `buf`, which must be empty.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Packets> {
        while let Some(&key) = self.dirty.front() {
            if let Some(entry) = self.connections.get_mut(&key) {
                if let Some(transmit) = entry.poll_transmit(now, &self.valve, buf) {
                    return Some(Packets {
                        connection: key,
                        size: transmit.size,
                        segment_size: transmit.segment_size,
                        ecn: transmit.ecn.and_then(|ecn| Ecn::from_bits(ecn as u8)),
                    });
                }
                entry.is_dirty = false;
            }
            self.dirty.pop_front();
            self.update_deadline(key);
        }
        None
    }

    /// Returns when [`State::handle_timeout`] is due. It holds once nothing is left to transmit.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Returns the label of a connection.
    pub fn label(&self, key: ConnectionKey) -> Option<SocketAddr> {
        self.connections.get(&key).map(|entry| entry.label)
    }

    /// Returns the smoothed round-trip time of a connection.
    pub fn round_trip(&self, key: ConnectionKey) -> Option<Duration> {
        self.connections.get(&key).map(|entry| entry.connection.rtt())
    }

    /// Derives a secret that only the two ends of an established connection know (RFC 8446 §7.5).
    pub fn export_secret<const N: usize>(
        &self,
        key: ConnectionKey,
        label: &str,
    ) -> Option<[u8; N]> {
        let entry = self.connections.get(&key)?;
        let mut secret = [0; N];
        let session = entry.connection.crypto_session();
        session.export_keying_material(&mut secret, label.as_bytes(), &[]).ok()?;
        Some(secret)
    }

    fn issue_key(&mut self) -> ConnectionKey {
        // Zero names no connection; a wrap-around skips those that still live.
        loop {
            self.next_key = self.next_key.wrapping_add(1);
            let key = ConnectionKey(self.next_key);
            if key.0 != 0 && !self.connections.contains_key(&key) {
                self.ids.select(key.0);
                return key;
            }
        }
    }

    fn insert(
        &mut self,
        key: ConnectionKey,
        handle: ConnectionHandle,
        connection: Connection,
        label: SocketAddr,
        side: Side,
    ) {
        if self.keys.len() <= handle.0 {
            self.keys.resize(handle.0 + 1, None);
        }
        self.keys[handle.0] = Some(key);
        let entry = Entry {
            handle,
            connection,
            label,
            side,
            deadline: None,
            debt: Debt::default(),
            is_dirty: false,
            is_established: false,
            is_proven: false,
            is_lost: false,
        };
        self.connections.insert(key, entry);
    }

    fn deliver(&mut self, key: ConnectionKey, event: ConnectionEvent) {
        if let Some(entry) = self.connections.get_mut(&key) {
            let (connection, proofs) = (&mut entry.connection, self.proofs.count());
            let receive = || connection.handle_event(event);
            if self.entropy.scope(|| self.valve.watch_acknowledgements(receive)) {
                entry.debt.acknowledged();
            }
            entry.is_proven |= self.proofs.count() > proofs;
            self.drive(key);
        }
    }

    /// Moves events between the connection, the endpoint and the owner until nothing moves, and
    /// marks the connection for sending. Due after every call that touches a connection.
    fn drive(&mut self, key: ConnectionKey) {
        let Some(entry) = self.connections.get_mut(&key) else { return };
        let mut drained = false;
        self.ids.select(key.0);
        while let Some(event) = entry.connection.poll_endpoint_events() {
            drained |= event.is_drained();
            if let Some(answer) = self.endpoint.handle_event(entry.handle, event) {
                entry.connection.handle_event(answer);
            }
        }
        while let Some(event) = entry.connection.poll() {
            if let Some(event) = entry.translate(event) {
                self.events.push_back((key, event));
            }
        }
        if drained {
            self.remove(key);
        } else if !entry.is_dirty {
            entry.is_dirty = true;
            self.dirty.push_back(key);
        }
    }

    fn remove(&mut self, key: ConnectionKey) {
        if let Some(entry) = self.connections.remove(&key) {
            self.keys[entry.handle.0] = None;
            if let Some(at) = entry.deadline {
                self.deadlines.remove(&(at, key));
            }
            self.events.push_back((key, Event::Drained));
        }
    }

    fn update_deadline(&mut self, key: ConnectionKey) {
        let Some(entry) = self.connections.get_mut(&key) else { return };
        let deadlines = [entry.connection.poll_timeout(), entry.debt.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        if deadline != entry.deadline {
            if let Some(at) = entry.deadline {
                self.deadlines.remove(&(at, key));
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, key));
            }
            entry.deadline = deadline;
        }
    }
}

impl Entry {
    fn poll_transmit(
        &mut self,
        now: Instant,
        valve: &Valve,
        buf: &mut Vec<u8>,
    ) -> Option<quinn_proto::Transmit> {
        let connection = &mut self.connection;
        let mtu = usize::from(connection.current_mtu());
        let segments = (SEGMENTED_BYTES_MAX / mtu).clamp(1, SEGMENTS_MAX);
        let send = || connection.poll_transmit(now, segments, buf);
        let (transmit, is_asked) = valve.watch_window(send);
        if transmit.is_some() || !is_asked {
            self.debt.free();
            return transmit;
        }
        let is_due = self.debt.held_back(now, &connection.stats());
        is_due.then(|| valve.open(|| connection.poll_transmit(now, 1, buf))).flatten()
    }

    fn translate(&mut self, event: quinn_proto::Event) -> Option<Event> {
        use quinn_proto::{Event as Quinn, StreamEvent};
        match event {
            Quinn::Connected => {
                let identity = self.connection.crypto_session().peer_identity();
                // The verifiers let nothing else through.
                let peer = tls::peer_key(identity?)?;
                self.is_established = true;
                let (side, is_resumed) = (self.side, !self.is_proven);
                Some(Event::Established { peer, side, is_resumed })
            }
            Quinn::ConnectionLost { reason } => {
                let told = std::mem::replace(&mut self.is_lost, true);
                (!told).then(|| Event::Lost(LostReason::of(&reason)))
            }
            Quinn::Stream(StreamEvent::Opened { .. }) => Some(Event::Opened),
            Quinn::Stream(StreamEvent::Readable { id }) => Some(Event::Readable(StreamId(id))),
            Quinn::Stream(StreamEvent::Writable { id }) => Some(Event::Writable(StreamId(id))),
            Quinn::Stream(StreamEvent::Stopped { id, .. }) => Some(Event::Stopped(StreamId(id))),
            Quinn::Stream(StreamEvent::Finished { .. } | StreamEvent::Available { .. })
            | Quinn::HandshakeDataReady
            | Quinn::DatagramReceived
            | Quinn::DatagramsUnblocked => None,
        }
    }
}
