//! Networks of one subscriber.
//!
//! An attacker gets many addresses with one contract, but few networks. So limits by address are
//! limits by network first: an IPv4 network of 24 bits, and an IPv6 network of 48 bits, which is what
//! a site gets (RFC 6177), with its parts of 56 and 64 bits inside.

use std::net::IpAddr;

/// The number of networks around an address, one within the other.
pub const LEVELS: usize = 3;

/// A network: its prefix and the length of the prefix in bits. An IPv4 network is that of the mapped
/// address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    prefix: u128,
    bits: u32,
}

impl Network {
    /// Returns the network of one subscriber: 24 bits of IPv4 or 48 bits of IPv6.
    pub fn of(address: IpAddr) -> Self {
        let [site, ..] = Self::around(address);
        site
    }

    /// Returns the networks around an address, the widest first.
    pub fn around(address: IpAddr) -> [Self; LEVELS] {
        let (address, sizes) = match address.to_canonical() {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped(), [96 + 24, 128, 128]),
            IpAddr::V6(ip) => (ip, [48, 56, 64]),
        };
        sizes.map(|bits| Self { prefix: address.to_bits() >> (128 - bits), bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_the_addresses_of_one_subscriber() {
        let cases = [
            ("192.0.2.1", "192.0.2.1", 3),
            ("192.0.2.1", "::ffff:192.0.2.1", 3),
            ("192.0.2.1", "192.0.2.255", 1),
            ("192.0.2.1", "192.0.3.1", 0),
            ("2001:db8::1", "2001:db8::ffff", 3),
            ("2001:db8::1", "2001:db8:0:1::1", 2),
            ("2001:db8::1", "2001:db8:0:100::1", 1),
            ("2001:db8::1", "2001:db8:1::1", 0),
        ];
        for (one, other, shared) in cases {
            let [a, b] = [one, other].map(|text| Network::around(text.parse().unwrap()));
            let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
            assert_eq!(same, shared, "{one} and {other}");
            assert_eq!(Network::of(one.parse().unwrap()), a[0]);
        }
    }
}
