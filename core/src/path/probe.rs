//! Probe datagrams: their secrets, their MAC and their bytes.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | `0x01`: the two top bits are zero, which no QUIC packet of this network has |
//! | 1 | kind: 1 probe, 2 probe that asks to move here, 3 answer |
//! | 8 | the receiver's probe id in this connection |
//! | 8 | challenge; the answer repeats it |
//! | 18 | answer: the address that the probe came from (IPv6 or mapped, port); else all zero |
//! | 16 | BLAKE3 under the probe key over all of the above and the sender's role |
//!
//! Probe ids and key come from the TLS exporter with the label [`EXPORT_LABEL`]: 8 bytes id of the
//! client, 8 bytes id of the server, 32 bytes key. A probe and its answer have the same size.

use std::net::{IpAddr, SocketAddr};

use crate::crypto::hash::{blake3_keyed, equal};
use crate::transport::Side;

/// The label under which the probe secrets are exported from TLS.
pub const EXPORT_LABEL: &str = "x0x path probe v1";

/// The size of what is exported from TLS for the probes of a connection, in bytes.
pub const EXPORT_LEN: usize = 48;

const FIRST_BYTE: u8 = 0x01;
const ID_LEN: usize = 8;
const ADDRESS_LEN: usize = 18;
const MAC_LEN: usize = 16;
const BODY_LEN: usize = 2 + ID_LEN + CHALLENGE_LEN + ADDRESS_LEN;

/// The size of a challenge, in bytes.
pub const CHALLENGE_LEN: usize = 8;

/// The size of each probe and each answer, in bytes.
pub const PROBE_LEN: usize = BODY_LEN + MAC_LEN;

/// The name of a connection in the probes to one end.
pub type ProbeId = [u8; ID_LEN];

/// The probe secrets of one connection.
#[derive(Clone)]
pub struct ProbeKeys {
    /// The name of the connection in the peer's probes.
    pub own_id: ProbeId,
    peer_id: ProbeId,
    key: [u8; 32],
    side: Side,
}

/// The content of a probe datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Asks whether the route works.
    Ask {
        /// What the answer repeats.
        challenge: [u8; CHALLENGE_LEN],
        /// Whether the peer is asked to move to the route.
        prefer: bool,
    },
    /// Answers a probe.
    Answer {
        /// The challenge of the probe.
        challenge: [u8; CHALLENGE_LEN],
        /// The address that the probe came from.
        observed: SocketAddr,
    },
}

/// Returns whether a datagram is a probe rather than a QUIC packet.
pub fn is_probe(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xc0 == 0)
}

/// Returns the probe id in a datagram, if it has the form of a probe.
pub fn receiver(datagram: &[u8]) -> Option<ProbeId> {
    if datagram.len() != PROBE_LEN || datagram.first() != Some(&FIRST_BYTE) {
        return None;
    }
    datagram.get(2..2 + ID_LEN)?.try_into().ok()
}

impl std::fmt::Debug for ProbeKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ProbeKeys").field("side", &self.side).finish_non_exhaustive()
    }
}

impl ProbeKeys {
    /// Takes what TLS exported under [`EXPORT_LABEL`].
    pub fn new(exported: &[u8; EXPORT_LEN], side: Side) -> Self {
        let (ids, key) = exported.split_at(2 * ID_LEN);
        let (client, server) = ids.split_at(ID_LEN);
        let (own, peer) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let fixed = |bytes: &[u8]| bytes.try_into().expect("the parts have their fixed lengths");
        Self {
            own_id: fixed(own),
            peer_id: fixed(peer),
            key: key.try_into().expect("the parts have their fixed lengths"),
            side,
        }
    }

    /// Makes the datagram of a probe to the peer.
    pub fn seal(&self, probe: &Probe) -> [u8; PROBE_LEN] {
        let mut datagram = [0; PROBE_LEN];
        let (kind, challenge, observed) = match probe {
            Probe::Ask { challenge, prefer: false } => (1, challenge, None),
            Probe::Ask { challenge, prefer: true } => (2, challenge, None),
            Probe::Answer { challenge, observed } => (3, challenge, Some(observed)),
        };
        datagram[0] = FIRST_BYTE;
        datagram[1] = kind;
        datagram[2..10].copy_from_slice(&self.peer_id);
        datagram[10..18].copy_from_slice(challenge);
        if let Some(address) = observed {
            datagram[18..BODY_LEN].copy_from_slice(&encode_address(address));
        }
        let mac = self.mac(&datagram[..BODY_LEN], self.side);
        datagram[BODY_LEN..].copy_from_slice(&mac);
        datagram
    }

    /// Returns the content of a probe of the peer; `None` if it is forged or malformed.
    pub fn open(&self, datagram: &[u8]) -> Option<Probe> {
        let datagram: &[u8; PROBE_LEN] = datagram.try_into().ok()?;
        let (body, mac) = datagram.split_at(BODY_LEN);
        let sender = match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        if !equal(&self.mac(body, sender), mac) {
            return None;
        }
        let challenge = body[10..18].try_into().ok()?;
        let address = &body[18..];
        let is_empty = address.iter().all(|&byte| byte == 0);
        match body[1] {
            1 if is_empty => Some(Probe::Ask { challenge, prefer: false }),
            2 if is_empty => Some(Probe::Ask { challenge, prefer: true }),
            3 => Some(Probe::Answer { challenge, observed: decode_address(address)? }),
            _ => None,
        }
    }

    /// Replaces the MAC of a datagram by the right one, whatever the datagram holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn with_mac(&self, datagram: &[u8; PROBE_LEN]) -> [u8; PROBE_LEN] {
        let mut datagram = *datagram;
        let mac = self.mac(&datagram[..BODY_LEN], self.side);
        datagram[BODY_LEN..].copy_from_slice(&mac);
        datagram
    }

    fn mac(&self, body: &[u8], sender: Side) -> [u8; MAC_LEN] {
        let mut input = [0; BODY_LEN + 1];
        input[..BODY_LEN].copy_from_slice(body);
        input[BODY_LEN] = match sender {
            Side::Client => 0,
            Side::Server => 1,
        };
        let full = blake3_keyed(&self.key, &input);
        full[..MAC_LEN].try_into().expect("a hash is longer than a MAC")
    }
}

fn encode_address(address: &SocketAddr) -> [u8; ADDRESS_LEN] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; ADDRESS_LEN];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

fn decode_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(IpAddr::from(*ip).to_canonical(), port))
}
