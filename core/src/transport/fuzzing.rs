//! Doors for the fuzz targets: connection ids.

use quinn_proto::ConnectionIdGenerator;

use super::connection_ids::{ConnectionIds, destination};
use crate::support::Rng;

/// Returns the destination connection id of a datagram and the connection that it names.
pub fn owner(datagram: &[u8], seed: [u8; 32]) -> Option<([u8; 8], u32)> {
    let id = destination(datagram)?;
    Some((*id, ConnectionIds::new(&mut Rng::from_seed(seed)).number(id)))
}

/// Issues an id that names the connection.
pub fn issue(number: u32, seed: [u8; 32]) -> Vec<u8> {
    let mut rng = Rng::from_seed(seed);
    let ids = ConnectionIds::new(&mut rng);
    ids.select(number);
    ids.generator(rng.fork("ids")).generate_cid().to_vec()
}
