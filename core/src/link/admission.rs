//! Who may start a handshake.
//!
//! A handshake costs a node a key exchange and a signature, and memory while it is under way. So
//! strangers are limited three times:
//!
//! - *By the number of handshakes under way.* At most [`HALF_OPEN_MAX`] connections that strangers
//!   dialled and that never had a session exist, those included that are being closed. When all
//!   places are taken, the source that has the most gives up its oldest one for a source that has
//!   fewer, so no source keeps the others out.
//! - *By Retry* (RFC 9000 §8.1.2). While many are under way, strangers have to prove their address
//!   first. That costs no memory.
//! - *By source.* Each has an allowance, wide enough for hundreds of nodes on one host. Addresses
//!   that are claimed and addresses that are proven have allowances of their own: whoever used up
//!   that of a claimed address has to prove it, and whoever claims another's address uses up
//!   nothing of theirs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::support::{BoundedMap, TokenBucket};

/// How many connections exist that strangers dialled and that never had a session.
pub const HALF_OPEN_MAX: usize = 256;

/// How many sources are told apart, claimed and proven ones each. The one that was heard of longest
/// ago is forgotten.
pub const SOURCES_MAX: usize = 4096;

/// How many handshakes a source may start at once.
pub const SOURCE_BURST: u32 = 512;

/// How often a source may start another one after that.
const SOURCE_INTERVAL: Duration = Duration::from_millis(10);

/// Where strangers come from: an IPv4 address or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source(u128);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits() >> 64,
        })
    }
}

/// The allowances of all sources.
#[derive(Debug)]
pub(super) struct Sources {
    claimed: BoundedMap<Source, TokenBucket>,
    proven: BoundedMap<Source, TokenBucket>,
}

impl Sources {
    pub(super) fn new() -> Self {
        Self { claimed: BoundedMap::new(SOURCES_MAX), proven: BoundedMap::new(SOURCES_MAX) }
    }

    /// Takes one handshake from the allowance of a source.
    pub(super) fn take(&mut self, source: Source, is_proven: bool, now: Instant) -> bool {
        let buckets = if is_proven { &mut self.proven } else { &mut self.claimed };
        if let Some(bucket) = buckets.get_mut(&source) {
            return bucket.take(now);
        }
        let mut bucket = TokenBucket::new(SOURCE_BURST, SOURCE_INTERVAL, now);
        let taken = bucket.take(now);
        buckets.insert(source, bucket);
        taken
    }
}

/// Returns the oldest handshake of the source that has the most, if a newcomer may have its place:
/// if the newcomer's source has fewer even then.
pub(super) fn surplus<K: Copy>(half_open: &BTreeMap<K, Source>, newcomer: Source) -> Option<K> {
    let mut counts: BTreeMap<Source, usize> = BTreeMap::new();
    for &source in half_open.values() {
        *counts.entry(source).or_default() += 1;
    }
    let own = counts.get(&newcomer).copied().unwrap_or(0);
    let (&largest, _) =
        counts.iter().filter(|(_, count)| **count > own + 1).max_by_key(|(_, count)| **count)?;
    half_open.iter().find(|(_, source)| **source == largest).map(|(&key, _)| key)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::support::testing::start;

    fn v4(number: u8) -> Source {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)).into()
    }

    #[test]
    fn a_source_that_used_up_its_allowance_harms_no_other() {
        let (now, mut sources) = (start(), Sources::new());
        let (flood, other) = (v4(1), v4(2));
        for is_proven in [false, true] {
            let taken = (0..2 * SOURCE_BURST).filter(|_| sources.take(flood, is_proven, now));
            assert_eq!(taken.count(), SOURCE_BURST as usize, "proven: {is_proven}");
            assert!(sources.take(other, is_proven, now));
            assert!(sources.take(flood, is_proven, now + SOURCE_INTERVAL));
        }
    }

    #[test]
    fn the_table_of_sources_never_outgrows_its_limit() {
        let (now, mut sources) = (start(), Sources::new());
        for host in 0..2 * SOURCES_MAX as u128 {
            let ip = IpAddr::V6(Ipv6Addr::from_bits((0x2001 << 112) | (host << 64)));
            sources.take(ip.into(), false, now);
            sources.take(ip.into(), true, now);
        }
        assert_eq!(sources.claimed.len(), SOURCES_MAX);
        assert_eq!(sources.proven.len(), SOURCES_MAX);
    }

    #[test]
    fn only_a_source_that_has_more_than_the_newcomers_gives_up_its_oldest_handshake() {
        let cases: [(&str, &[u8], u8, Option<usize>); 6] = [
            ("the largest gives", &[2, 1, 1, 1], 3, Some(1)),
            ("the largest of several", &[1, 1, 2, 2, 2], 3, Some(2)),
            ("also to one that has some", &[3, 1, 1, 1], 3, Some(1)),
            ("not to one that would have as many", &[3, 1, 1], 3, None),
            ("not to itself", &[1, 1, 1], 1, None),
            ("nobody has a surplus", &[1, 2, 3], 4, None),
        ];
        for (name, sources, newcomer, expected) in cases {
            let half_open = sources.iter().map(|&number| v4(number)).enumerate().collect();
            assert_eq!(surplus(&half_open, v4(newcomer)), expected, "{name}");
        }
    }
}
