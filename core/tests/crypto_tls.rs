//! TLS as QUIC uses it: two endpoints in one process, joined by a queue, in virtual time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn_proto::crypto::{CryptoError, HmacKey};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionEvent, ConnectionHandle, ConnectionId,
    ConnectionIdGenerator, DatagramEvent, Endpoint, EndpointConfig, Event, ServerConfig,
    TransportErrorCode,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use x0x_core::crypto::entropy::Entropy;
use x0x_core::crypto::hash::{Sha256, blake3_keyed, sha256};
use x0x_core::crypto::signature::{SIGNATURE_LEN, SigningKey, VERIFYING_KEY_LEN, VerifyingKey};
use x0x_core::crypto::tls::{KeyExchange, TlsConfigs, WallClock, peer_key, server_name};
use x0x_core::support::Rng;

const CLIENT: usize = 0;
const SERVER: usize = 1;
const DELAY: Duration = Duration::from_millis(10);
const UNIX_TIME: Duration = Duration::from_secs(1_800_000_000);

/// The hash of all datagrams of [`trace`]. It changes when a dependency writes other bytes; it
/// must never differ between the two back-ends.
const TRACE_HASH: &str = "aac678a97d73741baf665a26aeb5de31b8402be1b7492ad7475215e73a3070f9";

#[test]
fn a_handshake_proves_both_identities_with_every_pair_of_key_exchanges() {
    let settings = [KeyExchange::MlKem768, KeyExchange::X25519MlKem768];
    for client in settings {
        for server in settings {
            let mut world = World::new([client, server], 1);
            world.connect(Some(world.id(SERVER)));
            world.run(Duration::from_secs(1));
            let pair = format!("{client:?} to {server:?}");
            assert_eq!(world.nodes[CLIENT].met(), [world.key(SERVER)], "{pair}");
            assert_eq!(world.nodes[SERVER].met(), [world.key(CLIENT)], "{pair}");
        }
    }
}

#[test]
fn the_protocol_is_negotiated_and_the_name_stays_at_home() {
    let mut world = World::new([KeyExchange::default(); 2], 1);
    world.connect(Some(world.id(SERVER)));
    world.run(Duration::from_secs(1));
    let session = world.nodes[SERVER].connections.values().next().unwrap().crypto_session();
    let data = session.handshake_data().unwrap().downcast::<HandshakeData>().unwrap();
    assert_eq!(data.protocol.as_deref(), Some(b"x0x/1".as_slice()));
    assert_eq!(data.server_name, None);
}

#[test]
fn an_unknown_server_is_met_and_proves_its_key() {
    let mut world = World::new([KeyExchange::default(); 2], 1);
    world.connect(None);
    world.run(Duration::from_secs(1));
    assert_eq!(world.nodes[CLIENT].met(), [world.key(SERVER)]);
}

#[test]
fn a_server_with_another_key_than_the_pinned_one_is_refused() {
    let mut world = World::new([KeyExchange::default(); 2], 1);
    world.connect(Some([7; 32]));
    world.run(Duration::from_secs(1));
    assert_eq!(world.nodes[CLIENT].met(), []);
    assert_eq!(world.nodes[SERVER].met(), []);
    assert_eq!(world.nodes[CLIENT].alerts(), [ACCESS_DENIED]);
    assert_eq!(world.nodes[SERVER].alerts(), [ACCESS_DENIED]);
}

#[test]
fn a_server_that_shows_a_key_which_it_does_not_own_is_refused() {
    let mut world = World::new([KeyExchange::default(); 2], 1);
    let victim = signing_key(9);
    let stolen = AlwaysResolvesServerRawPublicKeys::new(stolen(&victim, &world.nodes[SERVER]));
    let mut config = (*world.nodes[SERVER].tls.server).clone();
    config.cert_resolver = Arc::new(stolen);
    world.nodes[SERVER].serve(config);

    world.connect(Some(sha256(victim.verifying_key().as_bytes())));
    world.run(Duration::from_secs(1));
    assert_eq!(world.nodes[CLIENT].met(), []);
    assert_eq!(world.nodes[SERVER].met(), []);
    assert_eq!(world.nodes[CLIENT].alerts(), [DECRYPT_ERROR]);
}

#[test]
fn a_client_that_shows_a_key_which_it_does_not_own_is_refused() {
    let mut world = World::new([KeyExchange::default(); 2], 1);
    let stolen = stolen(&signing_key(9), &world.nodes[CLIENT]);
    let resolver = rustls::client::AlwaysResolvesClientRawPublicKeys::new(stolen);
    let mut config = (*world.nodes[CLIENT].tls.client).clone();
    config.client_auth_cert_resolver = Arc::new(resolver);
    world.nodes[CLIENT].tls.client = Arc::new(config);

    world.connect(Some(world.id(SERVER)));
    world.run(Duration::from_secs(1));
    assert_eq!(world.nodes[SERVER].met(), []);
    assert_eq!(world.nodes[SERVER].alerts(), [DECRYPT_ERROR]);
    // The client is done before the server has seen its signature; the refusal comes after.
    assert_eq!(world.nodes[CLIENT].alerts(), [DECRYPT_ERROR]);
}

#[test]
fn a_second_connection_resumes_the_session_and_restores_both_identities() {
    let mut world = World::new([KeyExchange::default(); 2], 1);
    let pinned = Some(world.id(SERVER));
    let full = world.bytes_of_connecting(pinned);
    let resumed = world.bytes_of_connecting(pinned);
    let again = world.bytes_of_connecting(pinned);
    assert_eq!(full.map(proves_a_key), [true, true]);
    assert_eq!(resumed.map(proves_a_key), [false, false], "{resumed:?}");
    assert_eq!(again.map(proves_a_key), [false, false], "a resumed session gives a ticket, too");
    assert_eq!(world.nodes[CLIENT].met(), vec![world.key(SERVER); 3]);
    assert_eq!(world.nodes[SERVER].met(), vec![world.key(CLIENT); 3]);
}

#[test]
fn an_expired_session_is_not_resumed() {
    let mut world = World::new([KeyExchange::default(); 2], 1);
    let pinned = Some(world.id(SERVER));
    world.bytes_of_connecting(pinned);
    for node in &world.nodes {
        node.clock.set(UNIX_TIME + Duration::from_secs(8 * 24 * 3600));
    }
    assert_eq!(world.bytes_of_connecting(pinned).map(proves_a_key), [true, true]);
}

#[test]
fn a_session_with_a_stranger_is_not_resumed() {
    let mut world = World::new([KeyExchange::default(); 2], 1);
    for _ in 0..2 {
        assert_eq!(world.bytes_of_connecting(None).map(proves_a_key), [true, true]);
    }
}

#[test]
fn the_same_seed_gives_the_same_datagrams_and_another_seed_gives_others() {
    assert!(trace(1) == trace(1), "one seed, two traces");
    assert!(trace(1) != trace(2), "two seeds, one trace");
}

#[test]
fn both_back_ends_give_the_same_datagrams() {
    let mut hash = Sha256::new();
    for (time, source, datagram) in trace(1) {
        hash.update(&time.as_nanos().to_be_bytes());
        hash.update(&source.to_be_bytes());
        hash.update(&datagram);
    }
    let hash: String = hash.finish().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, TRACE_HASH);
}

/// The alert of a key that is not the expected one (RFC 8446 §6.2).
const ACCESS_DENIED: u8 = 49;
/// The alert of a signature that is not the key's.
const DECRYPT_ERROR: u8 = 51;

/// Tells whether so many bytes are enough for a key and a signature with it.
fn proves_a_key(bytes: usize) -> bool {
    bytes > VERIFYING_KEY_LEN + SIGNATURE_LEN
}

/// One datagram: when it was sent, by whom, and its bytes.
type Sent = (Duration, usize, Vec<u8>);

/// Two full handshakes of either kind and a resumed one.
fn trace(seed: u8) -> Vec<Sent> {
    let settings = [KeyExchange::MlKem768, KeyExchange::X25519MlKem768];
    let traces = settings.map(|setting| {
        let mut world = World::new([setting; 2], seed);
        for _ in 0..2 {
            world.bytes_of_connecting(Some(world.id(SERVER)));
        }
        world.trace
    });
    traces.concat()
}

/// What `owner` shows, signed with the key of `thief`.
fn stolen(owner: &SigningKey, thief: &Node) -> Arc<CertifiedKey> {
    let shown = |tls: &TlsConfigs| tls.client.client_auth_cert_resolver.resolve(&[], &[]).unwrap();
    let owner = shown(&TlsConfigs::new(owner, KeyExchange::default(), &thief.clock));
    let thief = shown(&thief.tls);
    Arc::new(CertifiedKey::new(owner.cert.clone(), Arc::clone(&thief.key)))
}

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

#[expect(clippy::disallowed_methods, reason = "an anchor for virtual time; its value is not used")]
fn anchor() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// A client and a server, and the datagrams between them.
struct World {
    start: Instant,
    now: Instant,
    nodes: [Node; 2],
    /// What is under way, by arrival and number: the receiver and the bytes.
    queue: BTreeMap<(Instant, usize), (usize, Vec<u8>)>,
    trace: Vec<Sent>,
}

impl World {
    fn new(settings: [KeyExchange; 2], seed: u8) -> Self {
        let start = anchor();
        let nodes = [CLIENT, SERVER].map(|index| Node::new(index, settings[index], seed));
        Self { start, now: start, nodes, queue: BTreeMap::new(), trace: Vec::new() }
    }

    fn key(&self, node: usize) -> VerifyingKey {
        self.nodes[node].key.verifying_key().clone()
    }

    fn id(&self, node: usize) -> [u8; 32] {
        sha256(self.key(node).as_bytes())
    }

    fn connect(&mut self, machine: Option<[u8; 32]>) {
        self.nodes[CLIENT].connect(self.now, &server_name(machine.as_ref()));
        self.collect();
    }

    /// Connects and returns how many bytes each side sent for it.
    fn bytes_of_connecting(&mut self, machine: Option<[u8; 32]>) -> [usize; 2] {
        let before = self.trace.len();
        self.connect(machine);
        self.run(Duration::from_secs(1));
        [CLIENT, SERVER].map(|node| {
            let sent = self.trace[before..].iter().filter(|(_, source, _)| *source == node);
            sent.map(|(_, _, datagram)| datagram.len()).sum()
        })
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let arrival = self.queue.keys().next().map(|&(at, _)| at);
            let timer = self.nodes.iter_mut().filter_map(Node::deadline).min();
            let next = arrival.into_iter().chain(timer).min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                Some(_) | None => break,
            }
            while let Some(entry) = self.queue.first_entry()
                && entry.key().0 <= self.now
            {
                let (receiver, datagram) = entry.remove();
                self.nodes[receiver].receive(self.now, &datagram);
            }
            for node in &mut self.nodes {
                node.handle_timeouts(self.now);
            }
            self.collect();
        }
        self.now = end;
    }

    /// Takes what the nodes send.
    fn collect(&mut self) {
        for index in [CLIENT, SERVER] {
            for datagram in self.nodes[index].drive(self.now) {
                let number = self.trace.len();
                self.trace.push((self.now - self.start, index, datagram.clone()));
                self.queue.insert((self.now + DELAY, number), (1 - index, datagram));
            }
        }
    }
}

/// One endpoint and its connections.
struct Node {
    key: SigningKey,
    clock: WallClock,
    tls: TlsConfigs,
    entropy: Entropy,
    endpoint: Endpoint,
    peer: SocketAddr,
    connections: BTreeMap<usize, Connection>,
    /// The keys of those who proved to own them, in the order in which they did.
    met: Vec<VerifyingKey>,
    lost: Vec<ConnectionError>,
    outgoing: Vec<Vec<u8>>,
    drawn: Rng,
}

impl Node {
    fn new(index: usize, setting: KeyExchange, seed: u8) -> Self {
        let label = u8::try_from(index).unwrap();
        let rng = Rng::from_seed([seed; 32]).fork(["client", "server"][index]);
        let key = signing_key(label + 1);
        let clock = WallClock::new(UNIX_TIME);
        let tls = TlsConfigs::new(&key, setting, &clock);
        let mut config = EndpointConfig::new(Arc::new(ResetKey([label; 32])));
        config.rng_seed(Some([label; 32]));
        let cids = rng.fork("cids");
        config.cid_generator(move || Box::new(SeededIds(cids.clone())));
        let server = QuicServerConfig::try_from(Arc::clone(&tls.server)).unwrap();
        let server = Arc::new(ServerConfig::with_crypto(Arc::new(server)));
        Self {
            key,
            clock,
            tls,
            entropy: Entropy::new(rng.fork("tls")),
            endpoint: Endpoint::new(Arc::new(config), Some(server), false, None),
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 4433 - u16::from(label))),
            connections: BTreeMap::new(),
            met: Vec::new(),
            lost: Vec::new(),
            outgoing: Vec::new(),
            drawn: rng.fork("test"),
        }
    }

    fn met(&self) -> Vec<VerifyingKey> {
        self.met.clone()
    }

    /// The TLS alerts that ended connections, of either side.
    fn alerts(&self) -> Vec<u8> {
        let code = |error: &ConnectionError| {
            if let ConnectionError::TransportError(error) = error {
                error.code
            } else if let ConnectionError::ConnectionClosed(close) = error {
                close.error_code
            } else {
                panic!("no alert: {error}")
            }
        };
        let alert = |error: &ConnectionError| {
            (0..=u8::MAX).find(|&alert| TransportErrorCode::crypto(alert) == code(error)).unwrap()
        };
        self.lost.iter().map(alert).collect()
    }

    fn serve(&mut self, config: rustls::ServerConfig) {
        let config = QuicServerConfig::try_from(config).unwrap();
        let config = Arc::new(ServerConfig::with_crypto(Arc::new(config)));
        self.endpoint.set_server_config(Some(config));
    }

    fn connect(&mut self, now: Instant, name: &str) {
        let crypto = QuicClientConfig::try_from(Arc::clone(&self.tls.client)).unwrap();
        let mut config = ClientConfig::new(Arc::new(crypto));
        let id: [u8; 20] = self.drawn.bytes();
        config.initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&id)));
        let (handle, connection) =
            self.entropy.scope(|| self.endpoint.connect(now, config, self.peer, name)).unwrap();
        self.connections.insert(handle.0, connection);
    }

    fn receive(&mut self, now: Instant, datagram: &[u8]) {
        let Self { entropy, endpoint, connections, outgoing, peer, .. } = self;
        entropy.scope(|| {
            let mut buffer = Vec::new();
            let data = BytesMut::from(datagram);
            match endpoint.handle(now, *peer, None, None, data, &mut buffer) {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    handle_event(connections, handle, event);
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    match endpoint.accept(incoming, now, &mut buffer, None) {
                        Ok((handle, connection)) => {
                            connections.insert(handle.0, connection);
                        }
                        Err(error) => outgoing.extend(error.response.map(|_| buffer)),
                    }
                }
                Some(DatagramEvent::Response(_)) => outgoing.push(buffer),
                None => {}
            }
        });
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.connections.values_mut().filter_map(Connection::poll_timeout).min()
    }

    fn handle_timeouts(&mut self, now: Instant) {
        for connection in self.connections.values_mut() {
            if connection.poll_timeout().is_some_and(|at| at <= now) {
                self.entropy.scope(|| connection.handle_timeout(now));
            }
        }
    }

    /// Lets everything happen that can happen now, and returns what is to be sent.
    fn drive(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let handles: Vec<usize> = self.connections.keys().copied().collect();
        for handle in handles {
            let Self { entropy, endpoint, connections, outgoing, .. } = self;
            entropy.scope(|| {
                while let Some(event) = connections.get_mut(&handle).unwrap().poll_endpoint_events()
                {
                    if let Some(event) = endpoint.handle_event(ConnectionHandle(handle), event) {
                        handle_event(connections, ConnectionHandle(handle), event);
                    }
                }
                let mut buffer = Vec::new();
                let connection = connections.get_mut(&handle).unwrap();
                while connection.poll_transmit(now, 1, &mut buffer).is_some() {
                    outgoing.push(std::mem::take(&mut buffer));
                }
            });
            while let Some(event) = self.connections.get_mut(&handle).unwrap().poll() {
                match event {
                    Event::Connected => {
                        let session = self.connections[&handle].crypto_session();
                        self.met.push(peer_key(session.peer_identity().unwrap()).unwrap());
                    }
                    Event::ConnectionLost { reason } => self.lost.push(reason),
                    Event::HandshakeDataReady
                    | Event::Stream(_)
                    | Event::DatagramReceived
                    | Event::DatagramsUnblocked => {}
                }
            }
        }
        self.connections.retain(|_, connection| !connection.is_drained());
        std::mem::take(&mut self.outgoing)
    }
}

fn handle_event(
    connections: &mut BTreeMap<usize, Connection>,
    handle: ConnectionHandle,
    event: ConnectionEvent,
) {
    connections.get_mut(&handle.0).unwrap().handle_event(event);
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

struct SeededIds(Rng);

impl ConnectionIdGenerator for SeededIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.bytes::<8>())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
