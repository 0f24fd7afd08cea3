//! Admission of incoming connections.
//!
//! A handshake costs a node a key exchange and a signature, and memory while it is under way. So
//! incoming connections are limited three times:
//!
//! - *By the number of handshakes under way.* At most [`HALF_OPEN_MAX`] incoming connections that never
//!   had a session exist, those included that are being closed. When all places are taken, the network
//!   that has the most gives up the oldest of its largest part for a network that has fewer. If none
//!   has more than one, a newcomer from a network that has none takes the place of one drawn at
//!   random. So no source keeps the others out, and an attacker with many networks must be faster than
//!   the handshakes of others to do so.
//! - *By Retry* (RFC 9000, section 8.1.2). While many are under way, peers have to prove their address
//!   first. That costs no memory.
//! - *By source.* Each has an allowance, wide enough for hundreds of nodes on one host, and its
//!   subscriber's network has one that is [`NETWORK_FACTOR`] times as wide. Claimed and proven
//!   addresses have allowances of their own: a peer that used up that of a claimed address has to
//!   prove it, and claiming the address of another uses up nothing of the other's.
//!
//! A source is an IPv4 address in its network of 24 bits, or an IPv6 network of 64 bits in those of
//! 56 and 48 bits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Context, Counter};
use crate::address_book::{LEVELS, Network};
use crate::support::{BoundedMap, Rng, TokenBucket};
use crate::transport::ConnectionKey;

/// The most incoming connections that never had a session.
pub const HALF_OPEN_MAX: usize = 256;

/// The most sources and networks with an allowance, claimed and proven ones each. The least recently
/// used one is forgotten.
pub const SOURCES_MAX: usize = 4096;

/// The most handshakes that a source may start at once.
pub const SOURCE_BURST: u32 = 512;

/// The interval in which a source may start another one after that.
const SOURCE_INTERVAL: Duration = Duration::from_millis(10);

/// The allowance of a subscriber's network, in allowances of a source.
pub const NETWORK_FACTOR: u32 = 4;

/// The source of an incoming connection: networks within each other, the widest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source([Network; LEVELS]);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(Network::around(address))
    }
}

/// What an incoming connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It has to prove its address first (RFC 9000, section 8.1.2).
    Retry,
    /// Nothing.
    Ignore,
    /// It is accepted, after this other one is closed, if there is one.
    Accept(Option<ConnectionKey>),
}

/// The incoming connections that never had a session.
#[derive(Debug)]
pub(super) struct Admission {
    /// Until nothing is left of them, with their sources.
    half_open: BTreeMap<ConnectionKey, Source>,
    half_open_max: usize,
    /// From how many on peers must prove their address first.
    retry_threshold: usize,
    sources: Sources,
}

impl Admission {
    pub(super) fn new(half_open_max: usize, retry_threshold: usize) -> Self {
        let (half_open, sources) = (BTreeMap::new(), Sources::new());
        Self { half_open, half_open_max, retry_threshold, sources }
    }

    /// Returns the incoming connections that never had a session.
    pub(super) fn half_open(&self) -> impl ExactSizeIterator<Item = ConnectionKey> {
        self.half_open.keys().copied()
    }

    /// Decides about an incoming connection, and counts why it is not accepted. `is_validated` says
    /// whether it proved its address.
    pub(super) fn decide(
        &mut self,
        context: &mut Context<'_>,
        source: Source,
        is_validated: bool,
    ) -> Decision {
        let is_allowed = self.sources.take(source, is_validated, context.now);
        let is_crowded = self.half_open.len() >= self.retry_threshold;
        if !is_validated && (is_crowded || !is_allowed) {
            context.count(Counter::HandshakesRetried);
            return Decision::Retry;
        }
        if !is_allowed {
            context.count(Counter::HandshakesOverSourceLimit);
            return Decision::Ignore;
        }
        if self.half_open.len() < self.half_open_max {
            return Decision::Accept(None);
        }
        match surplus(&self.half_open, source, context.rng) {
            Some(key) => {
                context.count(Counter::HandshakesEvicted);
                Decision::Accept(Some(key))
            }
            None => {
                context.count(Counter::HandshakesOverLimit);
                Decision::Ignore
            }
        }
    }

    /// An incoming connection was accepted.
    pub(super) fn accepted(&mut self, key: ConnectionKey, source: Source) {
        self.half_open.insert(key, source);
    }

    /// A connection has a session, or nothing is left of it.
    pub(super) fn ended(&mut self, key: ConnectionKey) {
        self.half_open.remove(&key);
    }
}

/// The allowances of all sources.
#[derive(Debug)]
struct Sources {
    claimed: BoundedMap<Network, TokenBucket>,
    proven: BoundedMap<Network, TokenBucket>,
}

impl Sources {
    fn new() -> Self {
        Self { claimed: BoundedMap::new(SOURCES_MAX), proven: BoundedMap::new(SOURCES_MAX) }
    }

    /// Takes one handshake from the allowance of a source. Returns whether it had one left.
    fn take(&mut self, source: Source, is_proven: bool, now: Instant) -> bool {
        let buckets = if is_proven { &mut self.proven } else { &mut self.claimed };
        let mut take = |network: Network, factor: u32| {
            if let Some(bucket) = buckets.get_mut(&network) {
                return bucket.take(now);
            }
            let mut bucket = TokenBucket::new(SOURCE_BURST * factor, SOURCE_INTERVAL / factor, now);
            let taken = bucket.take(now);
            buckets.insert(network, bucket);
            taken
        };
        let [network, .., narrowest] = source.0;
        take(narrowest, 1) && take(network, NETWORK_FACTOR)
    }
}

/// Returns the handshake that gives way to a newcomer, if there is one.
///
/// From the widest networks to the narrowest: if one has more than the newcomer's would have, the
/// oldest handshake of its largest part gives way. If none has, and the newcomer's has none, one drawn
/// at random gives way. Else only the newcomer's own network is looked at.
fn surplus<K: Copy>(half_open: &BTreeMap<K, Source>, newcomer: Source, rng: &mut Rng) -> Option<K> {
    let mut among: Vec<(K, Source)> =
        half_open.iter().map(|(&key, &source)| (key, source)).collect();
    for level in 0..LEVELS {
        let own = newcomer.0[level];
        let held = among.iter().filter(|(_, source)| source.0[level] == own).count();
        let (largest, most) = largest(&among, level)?;
        if most > held + 1 {
            among.retain(|(_, source)| source.0[level] == largest);
            return oldest_of_largest(among, level + 1);
        }
        if held == 0 {
            let count = u64::try_from(among.len()).unwrap_or(u64::MAX);
            return usize::try_from(rng.below(count)).ok().map(|index| among[index].0);
        }
        among.retain(|(_, source)| source.0[level] == own);
    }
    None
}

/// Returns the oldest handshake of the part that has the most, in each network down from a level.
fn oldest_of_largest<K: Copy>(mut among: Vec<(K, Source)>, level: usize) -> Option<K> {
    for level in level..LEVELS {
        let (largest, _) = largest(&among, level)?;
        among.retain(|(_, source)| source.0[level] == largest);
    }
    among.first().map(|&(key, _)| key)
}

/// Returns the network of a level that has the most handshakes, and their number.
fn largest<K>(among: &[(K, Source)], level: usize) -> Option<(Network, usize)> {
    let mut counts: BTreeMap<Network, usize> = BTreeMap::new();
    for (_, source) in among {
        *counts.entry(source.0[level]).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::support::testing::start;

    fn v4(number: u8) -> Source {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)).into()
    }

    /// A network of 64 bits in one of 48 bits.
    fn v6(network: u16, part: u16) -> Source {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, network, part, 0, 0, 0, 1)).into()
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
    fn a_subscriber_that_has_many_networks_has_the_allowance_of_a_few() {
        let (now, mut sources) = (start(), Sources::new());
        for is_proven in [false, true] {
            let taken = (0..4 * SOURCE_BURST * NETWORK_FACTOR).filter(|number| {
                sources.take(v6(1, u16::try_from(number % 1000).unwrap()), is_proven, now)
            });
            assert_eq!(taken.count(), (SOURCE_BURST * NETWORK_FACTOR) as usize, "{is_proven}");
            assert!(sources.take(v6(2, 0), is_proven, now));
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

    fn surplus_of(half_open: impl IntoIterator<Item = Source>, newcomer: Source) -> Option<usize> {
        let half_open = half_open.into_iter().enumerate().collect();
        surplus(&half_open, newcomer, &mut Rng::from_seed([1; 32]))
    }

    #[test]
    fn only_a_source_that_has_more_than_the_newcomers_gives_up_its_oldest_handshake() {
        let cases: [(&str, &[u8], u8, Option<usize>); 5] = [
            ("the largest gives", &[2, 1, 1, 1], 3, Some(1)),
            ("the largest of several", &[1, 1, 2, 2, 2], 3, Some(2)),
            ("also to one that has some", &[3, 1, 1, 1], 3, Some(1)),
            ("not to one that would have as many", &[3, 1, 1], 3, None),
            ("not to itself", &[1, 1, 1], 1, None),
        ];
        for (name, sources, newcomer, expected) in cases {
            let half_open = sources.iter().map(|&number| v4(number));
            assert_eq!(surplus_of(half_open, v4(newcomer)), expected, "{name}");
        }
    }

    #[test]
    fn the_widest_network_that_has_the_most_gives_way_in_its_largest_part() {
        let half_open = [v6(1, 0), v6(2, 0), v6(1, 0x100), v6(1, 0x101), v6(1, 0x101), v6(2, 0)];
        assert_eq!(surplus_of(half_open, v6(3, 0)), Some(3), "the oldest of the largest part");
        assert_eq!(surplus_of(half_open, v6(1, 0x200)), Some(3), "a part of it takes from it");
        assert_eq!(surplus_of(half_open, v6(2, 1)), Some(3), "so does one that has fewer");
        assert_eq!(surplus_of(half_open, v4(1)), Some(3));
    }

    #[test]
    fn where_nobody_has_a_surplus_any_place_may_be_the_newcomers() {
        let half_open: BTreeMap<usize, Source> =
            (0..8).map(|number| (number, v6(u16::try_from(number).unwrap(), 0))).collect();
        let mut rng = Rng::from_seed([1; 32]);
        let mut times = [0; 8];
        for _ in 0..800 {
            times[surplus(&half_open, v6(100, 0), &mut rng).unwrap()] += 1;
        }
        assert!(times.iter().all(|count| (60..140).contains(count)), "{times:?}");
        assert_eq!(surplus(&half_open, v6(1, 0), &mut rng), None, "it has a place");
        assert_eq!(surplus(&half_open, v6(1, 1), &mut rng), Some(1), "its own part gives way");
    }
}
