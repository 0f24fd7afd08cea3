//! The running hash over everything that moved in a world.
//!
//! Two runs with equal hashes sent the same datagrams at the same times, and had them arrive at
//! the same times. The hash covers ciphertext: it is of use because the core draws all of its
//! randomness from its seed.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use x0x_core::crypto::hash::{Blake3, HASH_LEN};
use x0x_core::transport::Ecn;

use crate::random::nanos;
use crate::{NodeId, Packet};

const ADDRESS_LEN: usize = 18;
const HEADER_LEN: usize = 2 + 8 + 2 * ADDRESS_LEN + 8;

/// What a datagram did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It left a node.
    Sent,
    /// It arrived at an address.
    Arrived,
}

/// The hash so far.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: Blake3,
}

impl Trace {
    /// Adds a datagram: the time, both ends, the size, and for one that leaves, its bytes.
    pub fn datagram(&mut self, at: Duration, what: Move, packet: &Packet) {
        let mut header = [0; HEADER_LEN];
        header[0] = match what {
            Move::Sent => 1,
            Move::Arrived => 2,
        };
        header[1] = packet.ecn.map_or(0, Ecn::bits);
        header[2..10].copy_from_slice(&nanos(at).to_le_bytes());
        write_address(&mut header[10..10 + ADDRESS_LEN], packet.source);
        write_address(&mut header[10 + ADDRESS_LEN..10 + 2 * ADDRESS_LEN], packet.target);
        header[HEADER_LEN - 8..].copy_from_slice(&(packet.payload.len() as u64).to_le_bytes());
        self.hash.update(&header);
        if what == Move::Sent {
            self.hash.update(&packet.payload);
        }
    }

    /// Adds a crash.
    pub fn crash(&mut self, at: Duration, node: NodeId) {
        self.life(3, at, node);
    }

    /// Adds a restart.
    pub fn restart(&mut self, at: Duration, node: NodeId) {
        self.life(4, at, node);
    }

    /// Returns the hash of everything so far.
    pub fn hash(&self) -> [u8; HASH_LEN] {
        self.hash.finish()
    }

    fn life(&mut self, what: u8, at: Duration, node: NodeId) {
        let mut header = [0; 13];
        header[0] = what;
        header[1..9].copy_from_slice(&nanos(at).to_le_bytes());
        header[9..].copy_from_slice(&node.0.to_le_bytes());
        self.hash.update(&header);
    }
}

/// Returns a hash in hex.
pub fn hex(hash: &[u8; HASH_LEN]) -> String {
    hash.iter().fold(String::with_capacity(2 * HASH_LEN), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn write_address(target: &mut [u8], address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    target[..16].copy_from_slice(&ip.octets());
    target[16..].copy_from_slice(&address.port().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn the_hash_depends_on_every_field() {
        let packet = |source: &str, target: &str, ecn, payload: &[u8]| Packet {
            source: source.parse().unwrap(),
            target: target.parse().unwrap(),
            ecn,
            payload: BytesMut::from(payload),
        };
        let second = Duration::from_secs(1);
        let hash = |at, what, packet| {
            let mut trace = Trace::default();
            trace.datagram(at, what, &packet);
            trace.hash()
        };
        let (a, b) = ("10.0.0.1:1", "10.0.0.2:1");
        let hashes = [
            hash(second, Move::Sent, packet(a, b, None, b"x")),
            hash(second * 2, Move::Sent, packet(a, b, None, b"x")),
            hash(second, Move::Arrived, packet(a, b, None, b"x")),
            hash(second, Move::Sent, packet("10.0.0.1:2", b, None, b"x")),
            hash(second, Move::Sent, packet(a, "10.0.0.3:1", None, b"x")),
            hash(second, Move::Sent, packet(a, b, Some(Ecn::Ce), b"x")),
            hash(second, Move::Sent, packet(a, b, None, b"y")),
        ];
        let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
        assert_eq!(hashes[0], hash(second, Move::Sent, packet(a, b, None, b"x")));
    }
}
