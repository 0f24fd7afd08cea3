//! Bare quinn on tokio, with the TLS, the QUIC settings and the socket buffers of links.
//!
//! TLS draws its randomness from the [`Entropy`] scope of the running node. Quinn's tasks know
//! none, so the runtime that they are given opens it around each poll.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    AsyncTimer, AsyncUdpSocket, ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream,
    Runtime, SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use x0x_core::crypto::entropy::Entropy;
use x0x_core::crypto::hash::blake3_keyed;
use x0x_core::crypto::tls::{KeyExchange, TlsConfigs, WallClock, server_name};
use x0x_core::identity::MachineKey;
use x0x_core::link::LinkConfig;
use x0x_core::support::Rng;
use x0x_core::transport::{PEER_STREAMS_MAX, STREAM_WINDOW};

use crate::{MTU, SIZE};

/// A message of [`SIZE`] with its length before it, as on a link.
const FRAME: usize = SIZE + 2;

/// What the driver asks of the system for its sockets.
const BUFFER_BYTES: usize = 4 << 20;

/// Lends the generator of the process to TLS while `run` runs. Each process has one thread.
fn scoped<R>(run: impl FnOnce() -> R) -> R {
    thread_local! {
        static ENTROPY: RefCell<Entropy> =
            RefCell::new(Entropy::new(Rng::from_seed(random_seed())));
    }
    ENTROPY.with_borrow_mut(|entropy| entropy.scope(run))
}

fn random_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    seed
}

/// Tokio, with the scope around each poll of quinn's tasks.
#[derive(Debug)]
struct Scoped;

impl Runtime for Scoped {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, mut future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime
            .spawn(Box::pin(poll_fn(move |context| scoped(|| future.as_mut().poll(context)))));
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }
}

/// Makes an endpoint on loopback.
pub(crate) fn endpoint(number: u8) -> Endpoint {
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let key = MachineKey::from_seed(&[number; 32]);
    let clock = WallClock::new(unix_time);
    let tls = TlsConfigs::new(key.signing_key(), KeyExchange::default(), &clock);
    let transport = Arc::new(transport_config());
    let mut server =
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls.server).unwrap()));
    server.transport_config(transport.clone());
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls.client).unwrap()));
    client.transport_config(transport);
    let config = EndpointConfig::new(Arc::new(ResetKey(random_seed())));
    let mut endpoint = Endpoint::new(config, Some(server), socket(), Arc::new(Scoped)).unwrap();
    endpoint.set_default_client_config(client);
    endpoint
}

fn socket() -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_send_buffer_size(BUFFER_BYTES).unwrap();
    socket.set_recv_buffer_size(BUFFER_BYTES).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.into()
}

/// The settings that links use.
fn transport_config() -> TransportConfig {
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
        .initial_mtu(MTU)
        .max_idle_timeout(Some(VarInt::from_u32(idle_timeout).into()))
        .keep_alive_interval(Some(link.keep_alive))
        .datagram_receive_buffer_size(None);
    config
}

/// Serves a connection for ever: the peer's first stream is echoed, frame by frame; what comes on
/// its second is counted.
pub(crate) async fn serve(endpoint: Endpoint) {
    let incoming = endpoint.accept().await.unwrap();
    let connection = scoped(|| incoming.accept()).unwrap().await.unwrap();
    let (to, from) = open_answer(&connection).await;
    tokio::spawn(echo(to, from));
    let (to, from) = open_answer(&connection).await;
    count(to, from).await;
}

async fn open_answer(connection: &Connection) -> (SendStream, RecvStream) {
    let from = connection.accept_uni().await.unwrap();
    (connection.open_uni().await.unwrap(), from)
}

async fn echo(mut to: SendStream, mut from: RecvStream) {
    let mut frame = [0; FRAME];
    while from.read_exact(&mut frame).await.is_ok() {
        to.write_all(&frame).await.unwrap();
    }
}

/// Takes the announced number of bytes as they come, without collecting them, and answers.
async fn count(mut to: SendStream, mut from: RecvStream) {
    let mut size = [0; 8];
    while from.read_exact(&mut size).await.is_ok() {
        let mut rest = usize::from_be_bytes(size);
        while rest > 0 {
            rest -= from.read_chunk(rest, true).await.unwrap().unwrap().bytes.len();
        }
        to.write_all(&[1]).await.unwrap();
    }
}

/// A connection to a process that serves.
pub(crate) struct Link {
    echo: (SendStream, RecvStream),
    count: (SendStream, RecvStream),
    _endpoint: Endpoint,
    _connection: Connection,
}

impl Link {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let endpoint = endpoint(1);
        let connecting = scoped(|| endpoint.connect(address, &server_name(None))).unwrap();
        let connection = connecting.await.unwrap();
        let mut echo = connection.open_uni().await.unwrap();
        echo.write_all(&[0; FRAME]).await.unwrap();
        let mut echoed = connection.accept_uni().await.unwrap();
        echoed.read_exact(&mut [0; FRAME]).await.unwrap();
        let mut count = connection.open_uni().await.unwrap();
        count.write_all(&0_usize.to_be_bytes()).await.unwrap();
        let mut counted = connection.accept_uni().await.unwrap();
        counted.read_exact(&mut [0]).await.unwrap();
        Self {
            echo: (echo, echoed),
            count: (count, counted),
            _endpoint: endpoint,
            _connection: connection,
        }
    }

    /// Sends a message and waits until it is back.
    pub(crate) async fn round_trip(&mut self) {
        let mut frame = [7; FRAME];
        self.echo.0.write_all(&frame).await.unwrap();
        self.echo.1.read_exact(&mut frame).await.unwrap();
    }

    /// Sends a payload several times and waits until the other end has all.
    pub(crate) async fn bulk(&mut self, payload: &Bytes, count: usize) {
        let (to, from) = &mut self.count;
        to.write_all(&(payload.len() * count).to_be_bytes()).await.unwrap();
        for _ in 0..count {
            to.write_chunk(payload.clone()).await.unwrap();
        }
        from.read_exact(&mut [0]).await.unwrap();
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
