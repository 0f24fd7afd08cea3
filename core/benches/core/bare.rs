//! Bare QUIC endpoints with the TLS and the settings of links.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::crypto::{CryptoError, HmacKey};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    ServerConfig, StreamEvent, StreamId, TransportConfig, VarInt,
};
use x0x_core::crypto::entropy::Entropy;
use x0x_core::crypto::hash::blake3_keyed;
use x0x_core::crypto::tls::{KeyExchange, TlsConfigs, WallClock, server_name};
use x0x_core::identity::MachineKey;
use x0x_core::link::LinkConfig;
use x0x_core::support::Rng;
use x0x_core::transport::{Datagram, PEER_STREAMS_MAX, STREAM_WINDOW, Transmit};

use crate::world::{End, PAYLOAD, Pipe, UNIX_TIME, address, fresh_seed, seed};

pub(crate) struct BareEnd {
    address: SocketAddr,
    endpoint: Endpoint,
    client: ClientConfig,
    entropy: Entropy,
    connections: BTreeMap<usize, Connection>,
    /// Connections that may have something to send.
    dirty: VecDeque<ConnectionHandle>,
    up: usize,
    stream: Option<StreamId>,
    to_send: usize,
    received: usize,
}

/// Makes endpoints.
pub(crate) fn bare(count: usize, initial_mtu: u16) -> Vec<BareEnd> {
    (0..count).map(|index| BareEnd::new(index, initial_mtu)).collect()
}

impl BareEnd {
    fn new(index: usize, initial_mtu: u16) -> Self {
        let key = MachineKey::from_seed(&seed("machine", index));
        let clock = WallClock::new(UNIX_TIME);
        let tls = TlsConfigs::new(key.signing_key(), KeyExchange::default(), &clock);
        let crypto = Arc::new(QuicServerConfig::try_from(tls.server).unwrap());
        let mut server = ServerConfig::with_crypto(crypto);
        server.transport_config(Arc::new(transport_config(initial_mtu, None)));
        let crypto = Arc::new(QuicClientConfig::try_from(tls.client).unwrap());
        let mut client = ClientConfig::new(crypto);
        let keep_alive = LinkConfig::default().keep_alive;
        client.transport_config(Arc::new(transport_config(initial_mtu, Some(keep_alive))));
        let mut config = EndpointConfig::new(Arc::new(ResetKey(fresh_seed())));
        config.rng_seed(Some(fresh_seed()));
        Self {
            address: address(index),
            endpoint: Endpoint::new(Arc::new(config), Some(Arc::new(server)), true, None),
            client,
            entropy: Entropy::new(Rng::from_seed(fresh_seed())),
            connections: BTreeMap::new(),
            dirty: VecDeque::new(),
            up: 0,
            stream: None,
            to_send: 0,
            received: 0,
        }
    }

    /// Moves events until nothing moves. Due after every call that touches a connection.
    fn drive(&mut self, handle: ConnectionHandle) {
        let connection = self.connections.get_mut(&handle.0).unwrap();
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                connection.handle_event(event);
            }
        }
        let mut writable = false;
        while let Some(event) = connection.poll() {
            use quinn_proto::Event as Quinn;
            match event {
                Quinn::Connected => self.up += 1,
                Quinn::ConnectionLost { reason } => panic!("a connection was lost: {reason}"),
                Quinn::Stream(StreamEvent::Opened { .. }) => {
                    let stream = connection.streams().accept(Dir::Uni).unwrap();
                    self.received += read(connection, stream);
                }
                Quinn::Stream(StreamEvent::Readable { id }) => {
                    self.received += read(connection, id);
                }
                Quinn::Stream(StreamEvent::Writable { .. }) => writable = true,
                Quinn::Stream(_)
                | Quinn::HandshakeDataReady
                | Quinn::DatagramReceived
                | Quinn::DatagramsUnblocked => {}
            }
        }
        if self.dirty.back() != Some(&handle) {
            self.dirty.push_back(handle);
        }
        if writable {
            self.write();
        }
    }

    fn write(&mut self) {
        let (&index, connection) = self.connections.iter_mut().next().unwrap();
        let stream = match self.stream {
            Some(stream) => stream,
            None => connection.streams().open(Dir::Uni).unwrap(),
        };
        self.stream = Some(stream);
        while self.to_send > 0 {
            let size = self.to_send.min(PAYLOAD.len());
            let mut chunks = [Bytes::from_static(&PAYLOAD[..size])];
            match connection.send_stream(stream).write_chunks(&mut chunks) {
                Ok(written) => self.to_send -= written.bytes,
                Err(_) => break,
            }
        }
        self.dirty.push_back(ConnectionHandle(index));
    }
}

fn read(connection: &mut Connection, stream: StreamId) -> usize {
    let mut source = connection.recv_stream(stream);
    let mut chunks = source.read(true).unwrap();
    let mut total = 0;
    while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
        total += chunk.bytes.len();
    }
    // Whoever reads drives the connection afterwards, with or without a new credit.
    let _ = chunks.finalize();
    total
}

/// The settings that links use.
fn transport_config(initial_mtu: u16, keep_alive: Option<Duration>) -> TransportConfig {
    let link = LinkConfig::default();
    let windows = u64::from(STREAM_WINDOW) * u64::from(PEER_STREAMS_MAX);
    let idle_timeout = u32::try_from(link.idle_timeout.as_millis()).unwrap();
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(PEER_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u64(windows).unwrap())
        .send_window(windows)
        .initial_rtt(Duration::from_millis(150))
        .initial_mtu(initial_mtu)
        .max_idle_timeout(Some(VarInt::from_u32(idle_timeout).into()))
        .keep_alive_interval(keep_alive)
        .datagram_receive_buffer_size(None);
    config
}

impl End for BareEnd {
    fn dial(&mut self, now: Instant, target: SocketAddr) {
        let (endpoint, config) = (&mut self.endpoint, self.client.clone());
        let name = server_name(None);
        let connect = || endpoint.connect(now, config, target, &name).unwrap();
        let (handle, connection) = self.entropy.scope(connect);
        self.connections.insert(handle.0, connection);
        self.drive(handle);
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        let Self { endpoint, entropy, connections, .. } = self;
        let mut buf = Vec::new();
        let handle = entropy.scope(|| {
            let Datagram { source, payload, .. } = datagram;
            match endpoint.handle(now, source, None, None, payload, &mut buf)? {
                DatagramEvent::ConnectionEvent(handle, event) => {
                    connections.get_mut(&handle.0)?.handle_event(event);
                    Some(handle)
                }
                DatagramEvent::NewConnection(incoming) => {
                    let (handle, connection) =
                        endpoint.accept(incoming, now, &mut buf, None).ok()?;
                    connections.insert(handle.0, connection);
                    Some(handle)
                }
                DatagramEvent::Response(_) => panic!("nothing here is answered without state"),
            }
        });
        if let Some(handle) = handle {
            self.drive(handle);
        }
    }

    fn transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        while let Some(&handle) = self.dirty.front() {
            buf.clear();
            let connection = self.connections.get_mut(&handle.0).unwrap();
            let segments = (65_507 / usize::from(connection.current_mtu())).clamp(1, 44);
            if let Some(transmit) = connection.poll_transmit(now, segments, buf) {
                return Some(Transmit {
                    target: transmit.destination,
                    local: self.address,
                    ecn: None,
                    size: transmit.size,
                    segment_size: transmit.segment_size,
                });
            }
            self.dirty.pop_front();
        }
        None
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.connections.values_mut().filter_map(Connection::poll_timeout).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        let handles: Vec<usize> = self.connections.keys().copied().collect();
        for handle in handles.into_iter().map(ConnectionHandle) {
            let connection = self.connections.get_mut(&handle.0).unwrap();
            if connection.poll_timeout().is_some_and(|at| at <= now) {
                connection.handle_timeout(now);
                self.drive(handle);
            }
        }
    }

    fn up(&self) -> usize {
        self.up
    }
}

impl Pipe for BareEnd {
    fn send(&mut self, size: usize) {
        self.to_send += size;
        self.write();
    }

    fn received(&self) -> usize {
        self.received
    }
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
