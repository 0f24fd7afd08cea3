//! Connection ids that tell their issuer, and nobody else, which connection they belong to.
//!
//! An id is eight bytes: a random nonce of four, then the connection's number hidden under a
//! SipHash of the nonce. So a datagram is known to be ours wherever it comes from, two ids of one
//! connection look unrelated to an observer (RFC 9000 §9.5), and no table is kept. A guessed id
//! names a connection with a chance of one in 2³² per living connection, and then fails
//! authentication like any other forged packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

use crate::crypto::hash::siphash;
use crate::support::Rng;

/// The length of each connection id that this node issues.
pub(super) const CONNECTION_ID_LEN: usize = 8;

const NONCE_LEN: usize = 4;

/// Issues ids for the connection that is selected at the moment, and reads them back.
#[derive(Clone)]
pub(super) struct ConnectionIds {
    key: [u8; 16],
    selected: Arc<AtomicU32>,
}

impl ConnectionIds {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { key: rng.bytes(), selected: Arc::default() }
    }

    /// Makes the ids that are generated from here on name this connection. Quinn's generator is
    /// asked without being told for whom, but always within a call that concerns one connection.
    pub(super) fn select(&self, number: u32) {
        self.selected.store(number, Ordering::Relaxed);
    }

    /// Returns the number in an id; for an id of somebody else's making the number is arbitrary.
    pub(super) fn number(&self, id: &[u8; CONNECTION_ID_LEN]) -> u32 {
        let [n0, n1, n2, n3, m0, m1, m2, m3] = *id;
        u32::from_be_bytes([m0, m1, m2, m3]) ^ self.mask([n0, n1, n2, n3])
    }

    /// Makes the generator for the endpoint.
    pub(super) fn generator(&self, rng: Rng) -> Generator {
        Generator { ids: self.clone(), rng }
    }

    fn mask(&self, nonce: [u8; NONCE_LEN]) -> u32 {
        let [.., b0, b1, b2, b3] = siphash(&self.key, &nonce).to_be_bytes();
        u32::from_be_bytes([b0, b1, b2, b3])
    }
}

/// The generator that the endpoint owns.
pub(super) struct Generator {
    ids: ConnectionIds,
    rng: Rng,
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let nonce: [u8; NONCE_LEN] = self.rng.bytes();
        let number = self.ids.selected.load(Ordering::Relaxed);
        let mut id = [0; CONNECTION_ID_LEN];
        let (head, tail) = id.split_at_mut(NONCE_LEN);
        head.copy_from_slice(&nonce);
        tail.copy_from_slice(&(number ^ self.ids.mask(nonce)).to_be_bytes());
        ConnectionId::new(&id)
    }

    fn validate(&self, _: &ConnectionId) -> Result<(), InvalidCid> {
        Ok(())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LEN
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Returns the destination connection id of a datagram, if it can be one that this node issued:
/// the id of a short header, or an id of the right length in a long header (RFC 8999 §5).
pub(super) fn destination(datagram: &[u8]) -> Option<&[u8; CONNECTION_ID_LEN]> {
    let (&first, rest) = datagram.split_first()?;
    if first & 0x80 == 0 {
        return rest.first_chunk();
    }
    let (_version, rest) = rest.split_first_chunk::<4>()?;
    let (&length, rest) = rest.split_first()?;
    if usize::from(length) == CONNECTION_ID_LEN { rest.first_chunk() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_the_connection_that_was_selected() {
        let mut rng = Rng::from_seed([1; 32]);
        let ids = ConnectionIds::new(&mut rng);
        let mut generator = ids.generator(rng.fork("ids"));
        for number in [0, 1, 77, u32::MAX] {
            ids.select(number);
            for _ in 0..3 {
                let id: [u8; CONNECTION_ID_LEN] = generator.generate_cid()[..].try_into().unwrap();
                assert_eq!(ids.number(&id), number);
            }
        }
    }

    #[test]
    fn ids_of_one_connection_look_unrelated() {
        let mut rng = Rng::from_seed([1; 32]);
        let ids = ConnectionIds::new(&mut rng);
        let mut generator = ids.generator(rng.fork("ids"));
        ids.select(5);
        let tails: std::collections::BTreeSet<Vec<u8>> =
            (0..100).map(|_| generator.generate_cid()[NONCE_LEN..].to_vec()).collect();
        assert_eq!(tails.len(), 100);
    }

    #[test]
    fn the_destination_is_found_in_both_header_forms() {
        let id = *b"12345678";
        let short = [&[0x40][..], &id, b"rest"].concat();
        let long = [&[0xc0, 0, 0, 0, 1, 8][..], &id, b"rest"].concat();
        let long_other = [&[0xc0, 0, 0, 0, 1, 9][..], &id, b"9rest"].concat();
        let cases = [
            ("short", &short[..], Some(&id)),
            ("short, cut", &short[..8], None),
            ("long", &long, Some(&id)),
            ("long, cut", &long[..13], None),
            ("long, other length", &long_other, None),
            ("empty", &[], None),
        ];
        for (name, datagram, expected) in cases {
            assert_eq!(destination(datagram), expected, "{name}");
        }
    }
}
