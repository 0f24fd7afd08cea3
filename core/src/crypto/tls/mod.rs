//! The TLS of QUIC connections: TLS 1.3 (RFC 8446) with raw public keys (RFC 7250) both ways.
//!
//! * **Identity.** Each side shows an ML-DSA-65 key and signs with it. A client that knows whom it
//!   calls says so with the [`server_name`]; a server accepts every well-formed key, and the module that
//!   drives the connection decides what the key may do ([`peer_key`]).
//! * **Key exchange.** ML-KEM-768, alone or with X25519: see [`KeyExchange`].
//! * **Randomness** comes from the [`Entropy`](super::entropy::Entropy) scope of the node that is
//!   running, and **time** from its [`WallClock`]. The same seeds give the same bytes.
//! * **Resumption.** A session is resumed at most once, with a fresh key exchange; servers keep
//!   the state (no sealed tickets), clients keep one ticket per known machine. Neither side checks
//!   the peer's key again when a session is resumed, it returns as it was: policy belongs to the
//!   reader of [`peer_key`]. There is no early data, because it can be replayed.
//!
//! The session caches grow with use and are bounded by [`SERVER_SESSIONS_MAX`] and
//! [`CLIENT_SESSIONS_MAX`].

mod clock;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod key_exchange;
mod name;
mod sessions;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::PrivateKeyDer;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite};

use super::entropy::ScopedRandom;
use super::signature::SigningKey;

pub use clock::WallClock;
pub use identity::{Proofs, peer_key};
pub use key_exchange::KeyExchange;
pub use name::server_name;
pub use sessions::{CLIENT_SESSIONS_MAX, SERVER_SESSIONS_MAX};

#[cfg(feature = "native-crypto")]
use rustls::crypto::aws_lc_rs::cipher_suite;
#[cfg(not(feature = "native-crypto"))]
use rustls::crypto::ring::cipher_suite;

/// The application protocol of the network (RFC 7301).
pub const ALPN: &[u8] = b"x0x/1";

/// The cipher suites, best first. QUIC needs the first one for its first packets (RFC 9001 §5.2).
const CIPHER_SUITES: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// How many tickets a server gives a client after each handshake.
const TICKETS_PER_HANDSHAKE: usize = 1;

/// The TLS of one node, as a client and as a server.
#[derive(Clone, Debug)]
pub struct TlsConfigs {
    /// For the connections that the node opens.
    pub client: Arc<ClientConfig>,
    /// For the connections that the node accepts.
    pub server: Arc<ServerConfig>,
    /// How many peers proved their key, in both roles.
    pub proofs: Proofs,
}

impl TlsConfigs {
    /// Makes the configurations of the node that owns the key.
    pub fn new(key: &SigningKey, key_exchange: KeyExchange, clock: &WallClock) -> Self {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: CIPHER_SUITES.to_vec(),
            kx_groups: key_exchange.groups(),
            signature_verification_algorithms: identity::ALGORITHMS,
            secure_random: &ScopedRandom,
            key_provider: &NoKeyFiles,
        });
        let shown = identity::shown(key);
        let proofs = Proofs::default();
        Self {
            client: Arc::new(client(Arc::clone(&provider), shown.clone(), clock, proofs.clone())),
            server: Arc::new(server(provider, shown, clock, proofs.clone())),
            proofs,
        }
    }
}

fn client(
    provider: Arc<CryptoProvider>,
    shown: identity::Shown,
    clock: &WallClock,
    proofs: Proofs,
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])
        .expect("the suites and groups are those of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(identity::ServerVerifier(proofs)))
        .with_client_cert_resolver(shown.client());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.enable_early_data = false;
    config.resumption = Resumption::store(Arc::new(sessions::ClientSessions::default()));
    config
}

fn server(
    provider: Arc<CryptoProvider>,
    shown: identity::Shown,
    clock: &WallClock,
    proofs: Proofs,
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])
        .expect("the suites and groups are those of TLS 1.3")
        .with_client_cert_verifier(Arc::new(identity::ClientVerifier(proofs)))
        .with_cert_resolver(shown.server());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
    config.session_storage = Arc::new(sessions::ServerSessions::default());
    config
}

/// Keys are never loaded through TLS: a node has its key from its own store.
#[derive(Debug)]
struct NoKeyFiles;

impl KeyProvider for NoKeyFiles {
    fn load_private_key(
        &self,
        _: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn rustls::sign::SigningKey>, rustls::Error> {
        Err(rustls::Error::General("keys are not loaded through TLS".into()))
    }
}
