//! TLS 1.3 for QUIC, post-quantum in both directions.
//!
//! Both sides show a raw public key (RFC 7250), an ML-DSA-65 key in the form of RFC 9881, and
//! prove it with scheme 0x0905; keys are exchanged with ML-KEM-768 (group 0x0201). There are no
//! certificate authorities and no certificates: whom a key belongs to is decided above, by its
//! hash.
//!
//! A client that knows whom it dials puts the machine id into the server name, where the verifier
//! and the ticket store find it; the name never leaves the client. Resumption (RFC 8446 §2.2) skips
//! the signatures but not the key exchange. Early data is off: see `docs/` for why.
//!
//! All randomness comes from [`entropy`](super::entropy), all time from a [`WallClock`].

mod identity;
mod key_exchange;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom, WebPkiSupportedAlgorithms};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite};

pub use identity::{peer_key, server_name};

use super::entropy;
use super::signature::SigningKey;

#[cfg(feature = "native-crypto")]
use rustls::crypto::aws_lc_rs as suites;
#[cfg(not(feature = "native-crypto"))]
use rustls::crypto::ring as suites;

/// The protocol that both sides must name (RFC 7301).
pub const ALPN: &[u8] = b"x0x/1";

/// How many tickets of others a client keeps, by peer.
pub const CLIENT_SESSIONS_MAX: usize = 256;

/// How many tickets a server can still resume.
pub const SERVER_SESSIONS_MAX: usize = 1024;

/// The wall time of a node, moved by its inputs.
#[derive(Clone, Debug, Default)]
pub struct WallClock(Arc<AtomicU64>);

impl WallClock {
    /// Sets the time, since the Unix epoch; TLS knows it to the millisecond.
    pub fn set(&self, unix_time: Duration) {
        let millis = u64::try_from(unix_time.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    /// Returns the time, since the Unix epoch.
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.now()))
    }
}

/// Makes the configuration for dialling.
pub fn client_config(key: &SigningKey, clock: &WallClock) -> ClientConfig {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(identity::PeerVerifier))
        .with_client_cert_resolver(Arc::new(identity::OwnKey::new(key)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::store(Arc::new(sessions::PeerSessions::new()));
    config
}

/// Makes the configuration for being dialled.
pub fn server_config(key: &SigningKey, clock: &WallClock) -> ServerConfig {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(identity::PeerVerifier))
        .with_cert_resolver(Arc::new(identity::OwnKey::new(key)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(SERVER_SESSIONS_MAX);
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    config
}

fn provider() -> Arc<CryptoProvider> {
    // QUIC protects its first packets with the suite of AES-128 (RFC 9001 §5.2).
    let cipher_suites: Vec<SupportedCipherSuite> = vec![
        suites::cipher_suite::TLS13_AES_128_GCM_SHA256,
        suites::cipher_suite::TLS13_AES_256_GCM_SHA384,
        suites::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider {
        cipher_suites,
        kx_groups: vec![&key_exchange::MlKem768],
        signature_verification_algorithms: WebPkiSupportedAlgorithms {
            all: &[&identity::MlDsa65],
            mapping: &[(rustls::SignatureScheme::ML_DSA_65, &[&identity::MlDsa65])],
        },
        secure_random: &Hook,
        key_provider: &Hook,
    })
}

/// The static hooks of the provider.
#[derive(Debug)]
struct Hook;

impl SecureRandom for Hook {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        entropy::draw(buffer)
    }
}

impl rustls::crypto::KeyProvider for Hook {
    fn load_private_key(
        &self,
        _: rustls::pki_types::PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn rustls::sign::SigningKey>, rustls::Error> {
        Err(rustls::Error::General("keys are made from seeds, never loaded".into()))
    }
}
