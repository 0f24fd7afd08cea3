//! Doors for the fuzz targets: probe datagrams.

use super::{EXPORT_LEN, PROBE_LEN, ProbeKeys, receiver};
use crate::transport::Side;

/// Takes a probe datagram at the client's or the server's end of a connection. If it is accepted,
/// returns the datagram that the other end would make of its content.
pub fn probe(
    datagram: &[u8],
    exported: &[u8; EXPORT_LEN],
    at_client: bool,
) -> Option<[u8; PROBE_LEN]> {
    let (own, peer) = ends(exported, at_client);
    if receiver(datagram) != Some(own.own_id) {
        return None;
    }
    own.open(datagram).map(|probe| peer.seal(&probe))
}

/// Cuts or fills a datagram to the size of a probe and gives it the right MAC, as only the other
/// end could.
pub fn authenticated(
    datagram: &[u8],
    exported: &[u8; EXPORT_LEN],
    at_client: bool,
) -> [u8; PROBE_LEN] {
    let (own, peer) = ends(exported, at_client);
    let mut sealed = [0; PROBE_LEN];
    let len = datagram.len().min(PROBE_LEN);
    sealed[..len].copy_from_slice(&datagram[..len]);
    sealed[2..2 + own.own_id.len()].copy_from_slice(&own.own_id);
    peer.with_mac(&sealed)
}

fn ends(exported: &[u8; EXPORT_LEN], at_client: bool) -> (ProbeKeys, ProbeKeys) {
    let client = ProbeKeys::new(exported, Side::Client);
    let server = ProbeKeys::new(exported, Side::Server);
    if at_client { (client, server) } else { (server, client) }
}
