//! Where a peer is reached, as peers tell one another.

use std::net::{IpAddr, SocketAddr};

use crate::wire::BoundedBytes;

/// The most bytes that say where a peer is reached.
pub const CONTACT_SIZE_MAX: usize = 64;

/// Where a peer is reached. Overlays pass it on unread. It is empty for the peer at the other end
/// of the link, whose address the receiver knows.
pub type Contact = BoundedBytes<CONTACT_SIZE_MAX>;

/// Returns the contact of a socket address: the IP address in 4 or 16 bytes, then the port in 2,
/// both big-endian. An IPv4-mapped IPv6 address has the form of its IPv4 address.
pub fn contact_of(address: SocketAddr) -> Contact {
    let port = address.port().to_be_bytes();
    let bytes = match address.ip().to_canonical() {
        IpAddr::V4(ip) => [&ip.octets()[..], &port].concat(),
        IpAddr::V6(ip) => [&ip.octets()[..], &port].concat(),
    };
    Contact::copy_from(&bytes).expect("18 bytes at most")
}

/// Returns the socket address that a contact holds; `None` if it holds none.
pub fn address_of(contact: &Contact) -> Option<SocketAddr> {
    let (ip, port) = contact.split_last_chunk::<2>()?;
    let ip: IpAddr = match ip.len() {
        4 => <[u8; 4]>::try_from(ip).ok()?.into(),
        16 => <[u8; 16]>::try_from(ip).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}
