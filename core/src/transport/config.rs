//! How the QUIC endpoint of a node is set up.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, ConnectionId, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    ServerConfig, TimeSource, TransportConfig, VarInt,
};

use super::congestion::{Valve, ValvedCubic};
use super::connection_ids::{CONNECTION_ID_LEN, ConnectionIds};
use super::keys::{ResetKey, TokenKey};
use crate::crypto::hash::blake3_keyed;
use crate::crypto::signature::SigningKey;
use crate::crypto::tls::{KeyExchange, Proofs, TlsConfigs, WallClock};
use crate::support::Rng;

/// How many streams a peer may have open: one for each class of messages.
pub const PEER_STREAMS_MAX: u32 = 4;

/// How many bytes a peer may send on one stream before they are read.
pub const STREAM_WINDOW: u32 = 1 << 20;

/// How many bytes a peer may send on all streams before they are read, at first: a hello with a
/// certificate. It grows with [`State::set_window`].
///
/// [`State::set_window`]: super::State::set_window
pub const WINDOW_MIN: u32 = 16 * 1024;

/// How many bytes a peer may send on all streams before they are read, at most. Then the window of
/// the connection binds no sooner than those of its streams, and a full stream of one class takes
/// nothing from the others.
pub const WINDOW_MAX: u32 = STREAM_WINDOW * PEER_STREAMS_MAX;

/// How many handshakes of strangers wait to be decided on. Each is decided at once.
pub(super) const INCOMING_MAX: usize = 16;

/// The settings of a transport.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// How often the side that dialled shows that it is alive.
    pub keep_alive: Duration,
    /// After how long of silence a connection is lost.
    pub idle_timeout: Duration,
    /// Whether to find out the largest datagram that a path carries.
    pub discover_mtu: bool,
    /// The largest datagram payload that every path is taken to carry, in bytes.
    pub initial_mtu: u16,
}

/// Who an endpoint is.
#[derive(Clone, Copy, Debug)]
pub struct TlsIdentity<'a> {
    /// The key that both TLS roles prove.
    pub key: &'a SigningKey,
    /// A secret that outlives a restart, for stateless resets and address tokens.
    pub secret: &'a [u8; 32],
    /// The wall time, for tickets and tokens.
    pub clock: &'a WallClock,
    /// The key exchange, the same throughout a network.
    pub key_exchange: KeyExchange,
}

/// Bounds the wait for the first answer on a path of unknown length: QUIC's own default of 333 ms
/// makes each lost datagram of a first flight cost a second.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(150);

pub(super) struct Configured {
    pub(super) endpoint: Endpoint,
    pub(super) client: ClientConfig,
    pub(super) proofs: Proofs,
    pub(super) valve: Arc<Valve>,
}

/// Makes the endpoint. Nothing in it draws from the operating system or reads its clock.
pub(super) fn configure(
    settings: &TransportSettings,
    identity: &TlsIdentity<'_>,
    ids: &ConnectionIds,
    rng: &mut Rng,
) -> Configured {
    let TlsIdentity { key, secret, clock, .. } = identity;
    let derived = |purpose: &str| blake3_keyed(secret, purpose.as_bytes());
    let mut endpoint_config = EndpointConfig::new(Arc::new(ResetKey(derived("reset key"))));
    let (ids, ids_rng) = (ids.clone(), rng.fork("connection ids"));
    endpoint_config
        .cid_generator(move || Box::new(ids.generator(ids_rng.clone())))
        // The bit tells path probes from QUIC packets, see `path`.
        .grease_quic_bit(false)
        .rng_seed(Some(rng.bytes()));

    let valve = Arc::new(Valve::default());
    let congestion = Arc::new(ValvedCubic(valve.clone()));
    let tls = TlsConfigs::new(key, identity.key_exchange, clock);
    let quic_server = QuicServerConfig::try_from(tls.server)
        .expect("the cipher suites hold the one of Initial packets");
    let mut server =
        ServerConfig::new(Arc::new(quic_server), Arc::new(TokenKey(derived("address token key"))));
    server
        .transport_config(Arc::new(transport_config(settings, &congestion, None)))
        .time_source(Arc::new(TokenClock(WallClock::clone(clock))))
        .max_incoming(INCOMING_MAX)
        // To QUIC a peer's address is a label that never changes.
        .migration(false);

    let quic_client = QuicClientConfig::try_from(tls.client)
        .expect("the cipher suites hold the one of Initial packets");
    let mut client = ClientConfig::new(Arc::new(quic_client));
    client
        .transport_config(Arc::new(transport_config(
            settings,
            &congestion,
            Some(settings.keep_alive),
        )))
        .initial_dst_cid_provider(first_destination_ids(rng.fork("first destination ids")));

    let endpoint = Endpoint::new(
        Arc::new(endpoint_config),
        Some(Arc::new(server)),
        settings.discover_mtu,
        None,
    );
    Configured { endpoint, client, proofs: tls.proofs, valve }
}

fn first_destination_ids(rng: Rng) -> Arc<dyn Fn() -> ConnectionId + Send + Sync> {
    let rng = std::sync::Mutex::new(rng);
    Arc::new(move || {
        let mut rng = rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ConnectionId::new(&rng.bytes::<CONNECTION_ID_LEN>())
    })
}

fn transport_config(
    settings: &TransportSettings,
    congestion: &Arc<ValvedCubic>,
    keep_alive: Option<Duration>,
) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(PEER_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW_MIN))
        .send_window(WINDOW_MAX.into())
        .congestion_controller_factory(congestion.clone())
        .initial_rtt(INITIAL_ROUND_TRIP)
        .initial_mtu(settings.initial_mtu)
        .max_idle_timeout(Some(idle_timeout(settings.idle_timeout)))
        .keep_alive_interval(keep_alive)
        .datagram_receive_buffer_size(None);
    if !settings.discover_mtu {
        config.mtu_discovery_config(None::<MtuDiscoveryConfig>);
    }
    config
}

fn idle_timeout(timeout: Duration) -> IdleTimeout {
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    IdleTimeout::from(VarInt::from_u32(millis))
}

/// Wall time for address tokens.
struct TokenClock(WallClock);

impl TimeSource for TokenClock {
    #[expect(clippy::disallowed_types, reason = "quinn's interface; the time is our own")]
    fn now(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + self.0.now()
    }
}
