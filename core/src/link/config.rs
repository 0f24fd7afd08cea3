//! The configuration of links.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::crypto::tls::{KeyExchange, WallClock};
use crate::identity::{AgentCertificate, AgentKey, MachineKey};

/// The version of the protocol above QUIC.
pub const PROTOCOL_VERSION: u16 = 1;

/// The newest version of the protocol that a node can be configured to speak. It is the same as
/// [`PROTOCOL_VERSION`] by another number: upgrades are rehearsed with it.
pub const PROTOCOL_VERSION_MAX: u16 = 2;

/// How links behave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkConfig {
    /// The interval in which an idle link is kept alive. The default holds NAT mappings open.
    pub keep_alive: Duration,
    /// The time after which a silent link is down.
    pub idle_timeout: Duration,
    /// The shortest pause before a kept peer is dialled again; it doubles each time.
    pub redial_pause_min: Duration,
    /// The longest pause before a kept peer is dialled again.
    pub redial_pause_max: Duration,
    /// The time after which a dial has failed.
    pub dial_timeout: Duration,
    /// The number of incoming handshakes under way from which on newcomers must prove their address
    /// with a Retry first.
    pub retry_threshold: usize,
    /// Whether to discover the largest datagram that a path carries (RFC 8899).
    pub discover_mtu: bool,
    /// The datagram size that every path is taken to carry, in bytes of UDP payload.
    pub initial_mtu: u16,
    /// The key exchange, the same throughout a network.
    pub key_exchange: KeyExchange,
    /// The versions of the protocol in the node's hello. The default is
    /// [`PROTOCOL_VERSION`] alone; others are for the rehearsal of upgrades, and at most
    /// [`PROTOCOL_VERSION_MAX`].
    pub versions: RangeInclusive<u16>,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(45),
            redial_pause_min: Duration::from_millis(500),
            redial_pause_max: Duration::from_secs(60),
            dial_timeout: Duration::from_secs(10),
            retry_threshold: 64,
            discover_mtu: true,
            initial_mtu: 1200,
            key_exchange: KeyExchange::MlKem768,
            versions: PROTOCOL_VERSION..=PROTOCOL_VERSION,
        }
    }
}

/// The identity of the node.
#[derive(Clone, Debug)]
pub struct LinkIdentity {
    /// The key of the machine, which TLS proves.
    pub machine_key: MachineKey,
    /// The key of the agent that lives here.
    pub agent_key: AgentKey,
    /// The certificate of the agent by its human.
    pub certificate: Option<AgentCertificate>,
    /// The wall time for TLS, moved by the node.
    pub clock: WallClock,
}
