//! Limits on dials to addresses that only peers named.
//!
//! Anybody can name any address for a machine. A node that dials it sends the first packets of a
//! handshake to a host that did not ask for them. So such dials are limited:
//!
//! - [`HEARSAY_DIALS_BURST`] at once and one each second after that, for the whole node;
//! - one at a time for each address, and [`HEARSAY_DIALS_PER_NETWORK`] at a time for each network of
//!   one subscriber (24 bits of IPv4, 48 bits of IPv6);
//! - [`HEARSAY_DATAGRAMS_MAX`] datagrams, which is the first flight and one repetition, until an
//!   answer comes; a dial without an answer ends without a close;
//! - no port below [`HEARSAY_PORT_MIN`], and no address that cannot be another host's.
//!
//! A dial that may not begin yet waits as long as it is wanted. So a network gets at most
//! [`HEARSAY_DIALS_PER_NETWORK`] × [`HEARSAY_DATAGRAMS_MAX`] datagrams from a node within one dial
//! timeout, however often it is named.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::address_book::Network;
use crate::support::TokenBucket;
use crate::transport::ConnectionKey;

/// The most dials to addresses that peers named that begin at once.
pub const HEARSAY_DIALS_BURST: u32 = 16;

/// The interval in which another one may begin after that.
const HEARSAY_DIAL_INTERVAL: Duration = Duration::from_secs(1);

/// The most dials without an answer to one network that peers named.
pub const HEARSAY_DIALS_PER_NETWORK: usize = 4;

/// The most datagrams to an address that a peer named before an answer comes.
pub const HEARSAY_DATAGRAMS_MAX: usize = 4;

/// The lowest port that is dialled because a peer named it. Below are well-known services.
pub const HEARSAY_PORT_MIN: u16 = 1024;

/// The dials to addresses that peers named.
#[derive(Debug)]
pub(in crate::link) struct HearsayDials {
    bucket: TokenBucket,
    /// Those without an answer: their addresses, and how many datagrams each may still send.
    unanswered: BTreeMap<ConnectionKey, (SocketAddr, usize)>,
}

impl HearsayDials {
    pub(super) fn new(now: Instant) -> Self {
        let bucket = TokenBucket::new(HEARSAY_DIALS_BURST, HEARSAY_DIAL_INTERVAL, now);
        Self { bucket, unanswered: BTreeMap::new() }
    }

    /// Returns whether one more dial may begin, and counts it if so.
    pub(super) fn take(&mut self, address: SocketAddr, now: Instant) -> bool {
        let network = Network::of(address.ip());
        let under_way = || self.unanswered.values().map(|(address, _)| *address);
        let to_network = under_way().filter(|other| Network::of(other.ip()) == network).count();
        !under_way().any(|other| other == address)
            && to_network < HEARSAY_DIALS_PER_NETWORK
            && self.bucket.take(now)
    }

    /// A dial of this address began.
    pub(super) fn began(&mut self, key: ConnectionKey, address: SocketAddr) {
        self.unanswered.insert(key, (address, HEARSAY_DATAGRAMS_MAX));
    }

    /// An answer came, or the dial is over: no limit applies any longer.
    pub(in crate::link) fn answered(&mut self, key: ConnectionKey) {
        self.unanswered.remove(&key);
    }

    /// Returns whether a dial still waits for its first answer.
    pub(in crate::link) fn is_unanswered(&self, key: ConnectionKey) -> bool {
        self.unanswered.contains_key(&key)
    }

    /// Returns whether a connection may send this many datagrams, and counts them.
    pub(in crate::link) fn may_send(&mut self, key: ConnectionKey, datagrams: usize) -> bool {
        let Some((_, left)) = self.unanswered.get_mut(&key) else { return true };
        let may = datagrams <= *left;
        *left = left.saturating_sub(datagrams);
        may
    }
}

/// Returns whether an address that a peer named can be that of another host. `sockets` are the local
/// addresses of this node.
pub(super) fn can_be_another_host(address: SocketAddr, sockets: &[SocketAddr]) -> bool {
    let ip = address.ip().to_canonical();
    let is_host = match ip {
        // Networks 0 and 240 to 255 have no hosts (RFC 1122, RFC 1112).
        IpAddr::V4(ip) => !matches!(ip.octets()[0], 0 | 240..=255),
        IpAddr::V6(ip) => !ip.is_unspecified(),
    };
    let is_own = sockets.iter().any(|own| {
        own.port() == address.port() && (ip.is_loopback() || own.ip().to_canonical() == ip)
    });
    address.port() >= HEARSAY_PORT_MIN && is_host && !ip.is_multicast() && !is_own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::testing::start;

    #[test]
    fn dials_that_peers_cause_are_limited_by_time_address_and_network() {
        let now = start();
        let mut dials = HearsayDials::new(now);
        let address = |network: u8, host: u8| SocketAddr::from(([203, 0, network, host], 4000));
        let begin = |dials: &mut HearsayDials, address, now| {
            let may = dials.take(address, now);
            if may {
                let key = ConnectionKey::for_test(dials.unanswered.len());
                dials.began(key, address);
            }
            may
        };
        assert!(begin(&mut dials, address(1, 1), now));
        assert!(!begin(&mut dials, address(1, 1), now), "one at a time for each address");
        for host in 2..=4 {
            assert!(begin(&mut dials, address(1, host), now));
        }
        assert!(!begin(&mut dials, address(1, 5), now), "four at a time for each network");
        for network in 2..=13 {
            assert!(begin(&mut dials, address(network, 1), now));
        }
        assert!(!begin(&mut dials, address(14, 1), now), "the burst is used up");
        let later = now + HEARSAY_DIAL_INTERVAL;
        assert!(begin(&mut dials, address(14, 1), later));
        assert!(!begin(&mut dials, address(15, 1), later));
        dials.answered(ConnectionKey::for_test(0));
        assert!(begin(&mut dials, address(1, 1), later + HEARSAY_DIAL_INTERVAL));
    }
}
