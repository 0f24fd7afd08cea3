//! Who may start a handshake.
//!
//! A handshake costs a node a key exchange and a signature, so strangers are limited three times:
//! by source, by the number of handshakes under way, and, before that number is reached, by a Retry
//! that makes them prove their address (RFC 9000 §8.1.2). A source is an IPv4 address or an IPv6
//! network of 64 bits; its allowance is wide enough for hundreds of nodes on one host.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::support::{BoundedMap, TokenBucket};

/// How many handshakes of strangers may be under way.
pub const HALF_OPEN_MAX: usize = 256;

/// How many sources are told apart. The one that was heard of longest ago is forgotten.
pub const SOURCES_MAX: usize = 4096;

/// How many handshakes a source may start at once.
pub const SOURCE_BURST: u32 = 512;

/// How often a source may start another one after that.
const SOURCE_INTERVAL: Duration = Duration::from_millis(10);

/// The allowances of all sources.
#[derive(Debug)]
pub(super) struct Sources(BoundedMap<u128, TokenBucket>);

impl Sources {
    pub(super) fn new() -> Self {
        Self(BoundedMap::new(SOURCES_MAX))
    }

    /// Takes one handshake from the allowance of a source.
    pub(super) fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        let key = match source {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits() >> 64,
        };
        if let Some(bucket) = self.0.get_mut(&key) {
            return bucket.take(now);
        }
        let mut bucket = TokenBucket::new(SOURCE_BURST, SOURCE_INTERVAL, now);
        let taken = bucket.take(now);
        self.0.insert(key, bucket);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::support::testing::start;

    #[test]
    fn a_source_that_used_up_its_allowance_harms_no_other() {
        let (now, mut sources) = (start(), Sources::new());
        let flood = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
        let taken = (0..2 * SOURCE_BURST).filter(|_| sources.take(flood, now)).count();
        assert_eq!(taken, SOURCE_BURST as usize);
        assert!(sources.take(other, now));
        assert!(sources.take(flood, now + SOURCE_INTERVAL));
    }

    #[test]
    fn the_table_of_sources_never_outgrows_its_limit() {
        let (now, mut sources) = (start(), Sources::new());
        for host in 0..2 * SOURCES_MAX as u128 {
            sources.take(IpAddr::V6(Ipv6Addr::from_bits((0x2001 << 112) | (host << 64))), now);
        }
        assert_eq!(sources.0.len(), SOURCES_MAX);
    }
}
