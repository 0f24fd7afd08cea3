//! A node that does what an honest one never does: a bare QUIC endpoint with the TLS of the core,
//! whose streams carry whatever bytes a test writes to them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::crypto::{CryptoError, HmacKey};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, EndpointEvent, ServerConfig, StreamEvent, StreamId, TransportConfig, VarInt,
};
use x0x_core::crypto::entropy::Entropy;
use x0x_core::crypto::hash::blake3_keyed;
use x0x_core::crypto::tls::{KeyExchange, TlsConfigs, WallClock, server_name};
use x0x_core::identity::MachineKey;
use x0x_core::node::{
    CommandError, Config, Deadline, Input, Node, Output, Restored, StartError, Time,
};
use x0x_core::support::Rng;
use x0x_core::transport::Transmit;
use x0x_sim::Machine;

use super::frames::{read_frames, varint};

/// The node at this address is the attacker: the first of each world.
pub(crate) const ATTACKER_ADDRESS: &str = "10.0.0.1:4000";

/// What the worlds of these tests drive.
#[derive(Debug)]
pub(crate) enum Guest {
    Honest(Box<Node>),
    Hostile(Box<Attacker>),
}

impl Machine for Guest {
    fn start(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        time: Time,
    ) -> Result<Self, StartError> {
        if config.sockets[0].to_string() == ATTACKER_ADDRESS {
            return Ok(Self::Hostile(Box::new(Attacker::new(
                config,
                seed,
                time.now,
                time.unix_time,
            ))));
        }
        Node::new(config, seed, restored, time).map(|node| Self::Honest(Box::new(node)))
    }

    fn handle(&mut self, time: Time, input: Input) -> Result<(), CommandError> {
        match (self, input) {
            (Self::Honest(node), input) => node.handle(time, input),
            (Self::Hostile(attacker), Input::Datagram(datagram)) => {
                attacker.receive(time.now, datagram.source, datagram.payload);
                Ok(())
            }
            (Self::Hostile(attacker), Input::Timeout) => {
                attacker.handle_timeout(time.now);
                Ok(())
            }
            (Self::Hostile(_), Input::Command(_)) => Err(CommandError::Halted),
            (Self::Hostile(_), Input::Stored(..) | Input::Loaded(..)) => Ok(()),
        }
    }

    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Output {
        match self {
            Self::Honest(node) => node.poll_output(buffer),
            Self::Hostile(attacker) => attacker.poll_output(buffer),
        }
    }
}

/// A connection of the attacker, by its number. Numbers are used again.
pub(crate) type LinkNumber = usize;

/// The attacker.
pub(crate) struct Attacker {
    config: Config,
    clock: WallClock,
    endpoint: Endpoint,
    entropy: Entropy,
    links: BTreeMap<LinkNumber, Link>,
    /// Links that may have something to send.
    dirty: VecDeque<LinkNumber>,
    answers: VecDeque<(SocketAddr, Vec<u8>)>,
    now: Instant,
    /// The connections that strangers made, in their order.
    pub(crate) accepted: Vec<LinkNumber>,
}

/// One connection of the attacker.
pub(crate) struct Link {
    connection: Connection,
    /// The streams that it opened, by their first byte.
    streams: BTreeMap<u8, StreamId>,
    pending: BTreeMap<StreamId, VecDeque<Bytes>>,
    received: BTreeMap<StreamId, Vec<u8>>,
    /// Whether what arrives is read, and credit given for it.
    pub(crate) reads: bool,
    /// Whether TLS is done.
    pub(crate) is_up: bool,
    /// Why it ended.
    pub(crate) lost: Option<ConnectionError>,
}

impl fmt::Debug for Attacker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Attacker").field("links", &self.links.len()).finish()
    }
}

impl Link {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            streams: BTreeMap::new(),
            pending: BTreeMap::new(),
            received: BTreeMap::new(),
            reads: true,
            is_up: false,
            lost: None,
        }
    }

    /// The frames that came on the stream of a class.
    pub(crate) fn frames(&self, class: u8) -> Vec<Vec<u8>> {
        let stream = self.received.values().find(|bytes| bytes.first() == Some(&class));
        stream.map_or_else(Vec::new, |bytes| read_frames(&bytes[1..]))
    }

    /// How many streams it opened.
    pub(crate) fn opened(&self) -> usize {
        self.streams.len()
    }

    /// How many bytes wait for credit.
    pub(crate) fn unsent(&self) -> usize {
        self.pending.values().flatten().map(Bytes::len).sum()
    }

    /// The code with which the peer's node closed the connection.
    pub(crate) fn close_code(&self) -> Option<u64> {
        match &self.lost {
            Some(ConnectionError::ApplicationClosed(close)) => Some(close.error_code.into_inner()),
            Some(_) | None => None,
        }
    }

    fn read(&mut self, stream: StreamId) {
        let received = self.received.entry(stream).or_default();
        let mut source = self.connection.recv_stream(stream);
        let Ok(mut chunks) = source.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            received.extend_from_slice(&chunk.bytes);
        }
        let _ = chunks.finalize();
    }

    fn flush(&mut self) {
        for (&stream, chunks) in &mut self.pending {
            while let Some(chunk) = chunks.front_mut() {
                match self.connection.send_stream(stream).write(chunk) {
                    Ok(written) => chunk.advance(written),
                    Err(_) => break,
                }
                if chunk.is_empty() {
                    chunks.pop_front();
                }
            }
        }
    }

    fn handle(&mut self, event: quinn_proto::Event) {
        use quinn_proto::Event as Quinn;
        match event {
            Quinn::Connected => self.is_up = true,
            Quinn::ConnectionLost { reason } => {
                self.lost.get_or_insert(reason);
            }
            Quinn::Stream(StreamEvent::Opened { .. }) if self.reads => {
                while let Some(stream) = self.connection.streams().accept(Dir::Uni) {
                    self.read(stream);
                }
            }
            Quinn::Stream(StreamEvent::Readable { id }) if self.reads => self.read(id),
            Quinn::Stream(_)
            | Quinn::HandshakeDataReady
            | Quinn::DatagramReceived
            | Quinn::DatagramsUnblocked => {}
        }
    }
}

impl Attacker {
    fn new(config: Config, seed: [u8; 32], now: Instant, unix_time: Duration) -> Self {
        let mut rng = Rng::from_seed(seed);
        let mut endpoint = EndpointConfig::new(Arc::new(ResetKey(rng.bytes())));
        endpoint.rng_seed(Some(rng.bytes())).grease_quic_bit(false);
        Self {
            config,
            clock: WallClock::new(unix_time),
            endpoint: Endpoint::new(Arc::new(endpoint), None, false, None),
            entropy: Entropy::new(rng.fork("tls")),
            links: BTreeMap::new(),
            dirty: VecDeque::new(),
            answers: VecDeque::new(),
            now,
            accepted: Vec::new(),
        }
    }

    /// Tells it the time.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.now = now;
    }

    /// The TLS of a machine with this key.
    pub(crate) fn tls(&self, key: &MachineKey) -> TlsConfigs {
        TlsConfigs::new(key.signing_key(), KeyExchange::default(), &self.clock)
    }

    /// Dials with the TLS and the settings of an honest node.
    pub(crate) fn dial(
        &mut self,
        now: Instant,
        target: SocketAddr,
        key: &MachineKey,
    ) -> LinkNumber {
        let tls = self.tls(key);
        self.dial_with(now, target, tls.client, transport())
    }

    /// Dials.
    pub(crate) fn dial_with(
        &mut self,
        now: Instant,
        target: SocketAddr,
        tls: Arc<rustls::ClientConfig>,
        transport: TransportConfig,
    ) -> LinkNumber {
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let mut client = ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::new(transport));
        let (endpoint, name) = (&mut self.endpoint, server_name(None));
        let connect = || endpoint.connect(now, client, target, &name).unwrap();
        let (handle, connection) = self.entropy.scope(connect);
        self.links.insert(handle.0, Link::new(connection));
        self.drive(handle.0);
        handle.0
    }

    /// Accepts connections from here on.
    pub(crate) fn serve(&mut self, tls: Arc<rustls::ServerConfig>, transport: TransportConfig) {
        let crypto = Arc::new(QuicServerConfig::try_from(tls).unwrap());
        let mut server = ServerConfig::with_crypto(crypto);
        server.transport_config(Arc::new(transport));
        self.endpoint.set_server_config(Some(Arc::new(server)));
    }

    /// Returns the datagrams that begin a connection, and forgets the connection.
    pub(crate) fn first_flight(&mut self, now: Instant, target: SocketAddr) -> Vec<Bytes> {
        let number = self.dial(now, target, &self.config.machine_key.clone());
        let mut flight = Vec::new();
        if let Some(mut link) = self.links.remove(&number) {
            let mut buffer = Vec::new();
            while link.connection.poll_transmit(now, 1, &mut buffer).is_some() {
                flight.push(Bytes::from(std::mem::take(&mut buffer)));
            }
        }
        self.endpoint.handle_event(ConnectionHandle(number), EndpointEvent::drained());
        flight
    }

    /// Writes to the stream that starts with `class`, and opens it if it is not open.
    pub(crate) fn write(&mut self, number: LinkNumber, class: u8, bytes: impl Into<Bytes>) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let stream = link.streams.get(&class).copied().or_else(|| {
            let stream = link.connection.streams().open(Dir::Uni)?;
            link.streams.insert(class, stream);
            let first = Bytes::copy_from_slice(&[class]);
            link.pending.entry(stream).or_default().push_back(first);
            Some(stream)
        });
        if let Some(stream) = stream {
            link.pending.entry(stream).or_default().push_back(bytes.into());
            link.flush();
        }
        self.drive(number);
    }

    /// Sends what was written as far as the peer lets it, but the first datagram, and is silent on the
    /// connection from here on. Returns how many bytes that is.
    pub(crate) fn send_without_start(&mut self, number: LinkNumber, now: Instant) -> usize {
        let Some(mut link) = self.links.remove(&number) else { return 0 };
        let (mut buffer, mut datagrams) = (Vec::new(), Vec::new());
        while let Some(sent) = link.connection.poll_transmit(now, 1, &mut buffer) {
            datagrams.push((sent.destination, std::mem::take(&mut buffer)));
        }
        // The endpoint still knows the connection: else it would reset it when the peer answers.
        let kept = datagrams.into_iter().skip(1);
        kept.map(|datagram| {
            let size = datagram.1.len();
            self.answers.push_back(datagram);
            size
        })
        .sum()
    }

    /// Writes a whole frame.
    pub(crate) fn frame(&mut self, number: LinkNumber, class: u8, payload: &[u8]) {
        let mut bytes = varint(payload.len() as u64);
        bytes.extend_from_slice(payload);
        self.write(number, class, bytes);
    }

    /// Forgets which stream has a class, so that the next write opens another one.
    pub(crate) fn forget_stream(&mut self, number: LinkNumber, class: u8) {
        if let Some(link) = self.links.get_mut(&number) {
            link.streams.remove(&class);
        }
    }

    /// Ends the stream of a class: by its end, or by a reset.
    pub(crate) fn end_stream(&mut self, number: LinkNumber, class: u8, reset: bool) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let mut stream = link.connection.send_stream(link.streams[&class]);
        let ended =
            if reset { stream.reset(VarInt::from_u32(0)).is_ok() } else { stream.finish().is_ok() };
        assert!(ended, "the stream was open");
        self.drive(number);
    }

    /// Asks the peer to send nothing more on the streams that it opened.
    pub(crate) fn stop_streams(&mut self, number: LinkNumber) {
        let Some(link) = self.links.get_mut(&number) else { return };
        for &stream in link.received.keys() {
            let _ = link.connection.recv_stream(stream).stop(VarInt::from_u32(0));
        }
        self.drive(number);
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self, number: LinkNumber, now: Instant) {
        if let Some(link) = self.links.get_mut(&number) {
            link.connection.close(now, VarInt::from_u32(1), Bytes::new());
        }
        self.drive(number);
    }

    /// Returns a connection; also one that is over.
    pub(crate) fn link(&self, number: LinkNumber) -> &Link {
        &self.links[&number]
    }

    /// Stops to read what arrives on a connection.
    pub(crate) fn stop_reading(&mut self, number: LinkNumber) {
        if let Some(link) = self.links.get_mut(&number) {
            link.reads = false;
        }
    }

    /// Derives a secret from a connection, as RFC 8446 §7.5 says.
    pub(crate) fn export<const N: usize>(&self, number: LinkNumber, label: &str) -> [u8; N] {
        let mut secret = [0; N];
        let session = self.links[&number].connection.crypto_session();
        session.export_keying_material(&mut secret, label.as_bytes(), &[]).unwrap();
        secret
    }

    fn receive(&mut self, now: Instant, source: SocketAddr, payload: bytes::BytesMut) {
        self.wake(now);
        let Self { endpoint, entropy, links, answers, accepted, .. } = self;
        let mut buffer = Vec::new();
        let touched = entropy.scope(|| {
            match endpoint.handle(now, source, None, None, payload, &mut buffer)? {
                DatagramEvent::ConnectionEvent(handle, event) => {
                    links.get_mut(&handle.0)?.connection.handle_event(event);
                    Some(handle.0)
                }
                DatagramEvent::NewConnection(incoming) => {
                    let result = endpoint.accept(incoming, now, &mut buffer, None);
                    let (handle, connection) = result.ok()?;
                    links.insert(handle.0, Link::new(connection));
                    accepted.push(handle.0);
                    Some(handle.0)
                }
                DatagramEvent::Response(_) => {
                    answers.push_back((source, std::mem::take(&mut buffer)));
                    None
                }
            }
        });
        if let Some(number) = touched {
            self.drive(number);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.wake(now);
        let due = self.links.iter_mut().filter_map(|(&number, link)| {
            let at = link.connection.poll_timeout()?;
            (at <= now).then_some(number)
        });
        for number in due.collect::<Vec<_>>() {
            if let Some(link) = self.links.get_mut(&number) {
                link.connection.handle_timeout(now);
            }
            self.drive(number);
        }
    }

    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Output {
        let local = self.config.sockets[0];
        buffer.clear();
        if let Some((target, bytes)) = self.answers.pop_front() {
            buffer.extend_from_slice(&bytes);
            let size = buffer.len();
            return Output::Transmit(Transmit {
                target,
                local,
                ecn: None,
                size,
                segment_size: None,
            });
        }
        while let Some(&number) = self.dirty.front() {
            let link = self.links.get_mut(&number);
            if let Some(link) = link
                && let Some(sent) = link.connection.poll_transmit(self.now, 10, buffer)
            {
                return Output::Transmit(Transmit {
                    target: sent.destination,
                    local,
                    ecn: None,
                    size: sent.size,
                    segment_size: sent.segment_size,
                });
            }
            self.dirty.pop_front();
        }
        let timeouts = self.links.values_mut().filter_map(|link| link.connection.poll_timeout());
        let deadline = timeouts.min().map(|at| Deadline { at, timer: "quic" });
        Output::Idle { deadline }
    }

    /// Moves events until nothing moves. Due after every call that touches a connection.
    fn drive(&mut self, number: LinkNumber) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let handle = ConnectionHandle(number);
        loop {
            while let Some(event) = link.connection.poll_endpoint_events() {
                if let Some(answer) = self.endpoint.handle_event(handle, event) {
                    link.connection.handle_event(answer);
                }
            }
            let Some(event) = link.connection.poll() else { break };
            link.handle(event);
        }
        link.flush();
        self.dirty.push_back(number);
    }
}

/// The settings of an honest node.
pub(crate) fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .initial_rtt(Duration::from_millis(150))
        .mtu_discovery_config(None)
        .keep_alive_interval(Some(Duration::from_secs(15)))
        .max_idle_timeout(Some(VarInt::from_u32(45_000).into()));
    config
}

struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(&blake3_keyed(&self.0, data));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        if blake3_keyed(&self.0, data) == signature { Ok(()) } else { Err(CryptoError) }
    }
}
