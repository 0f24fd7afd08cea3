//! Which of the addresses that peers name for others are dialled.
//!
//! Anybody in a topic can name any address, so that others send first packets of QUIC there. What
//! lies in a network of its own is dialled only by those who have a peer in such a network already:
//! an address like 10.0.0.5 named from outside means a host that the namer cannot know.

use std::net::{IpAddr, SocketAddr};

/// Where an address means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Nowhere: nothing can be sent there.
    Nowhere,
    /// On this host.
    Host,
    /// In a network that has its own addresses (RFC 1918, 3927, 4193, 6598).
    Site,
    /// Everywhere.
    World,
}

/// Returns whether an address that a peer named may be dialled by a node with peers at these.
pub(super) fn may_dial(named: SocketAddr, mut peers: impl Iterator<Item = SocketAddr>) -> bool {
    match scope(named) {
        Scope::Nowhere => false,
        Scope::World => true,
        near @ (Scope::Host | Scope::Site) => peers.any(|peer| scope(peer) == near),
    }
}

fn scope(address: SocketAddr) -> Scope {
    let ip = address.ip().to_canonical();
    if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
        return Scope::Nowhere;
    }
    let is_site = match ip {
        IpAddr::V4(ip) if ip.is_broadcast() => return Scope::Nowhere,
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || a == 100 && b & 0xc0 == 64
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    match (ip.is_loopback(), is_site) {
        (true, _) => Scope::Host,
        (false, true) => Scope::Site,
        (false, false) => Scope::World,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_elsewhere_only_is_not_dialled() {
        let public = ["192.0.2.1:5483", "[2001:db8::1]:5483"];
        let site =
            ["10.0.0.5:53", "192.168.1.1:80", "169.254.1.1:9", "100.64.0.1:9", "[fd00::1]:9"];
        let host = ["127.0.0.1:12700", "[::1]:12700", "[::ffff:127.0.0.1]:9"];
        let nowhere =
            ["0.0.0.0:9", "255.255.255.255:9", "224.0.0.1:9", "[ff02::1]:9", "192.0.2.1:0"];
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let dialled = |named: &[&str], peer: &str| {
            let all: Vec<bool> = named
                .iter()
                .map(|named| may_dial(parse(named), [parse(peer)].into_iter()))
                .collect();
            assert!(all.iter().all(|one| *one == all[0]), "{named:?} with {peer}: {all:?}");
            all[0]
        };
        for (peer, sees_site, sees_host) in
            [(public[0], false, false), (site[0], true, false), (host[0], false, true)]
        {
            assert!(dialled(&public, peer));
            assert_eq!(dialled(&site, peer), sees_site);
            assert_eq!(dialled(&host, peer), sees_host);
            assert!(!dialled(&nowhere, peer));
        }
    }
}
