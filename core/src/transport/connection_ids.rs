//! Connection ids that tell their issuer, and nobody else, which connection they belong to.
//!
//! An id is eight bytes: a random nonce of four and the connection's number, encrypted as one block
//! by a Feistel network over SipHash. So a datagram is known to be ours wherever it comes from, two
//! ids of one connection look unrelated to an observer (RFC 9000 §9.5), and no table is kept. Any
//! change of an id changes all of what it says: ids of one connection do not help to make one of
//! another. A guessed id names a connection with a chance of one in 2³² per living connection, and
//! then fails authentication like any other forged packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

use crate::crypto::hash::siphash;
use crate::support::Rng;

/// The length of each connection id that this node issues.
pub(super) const CONNECTION_ID_LEN: usize = 8;

/// How often the halves of an id are mixed. Four rounds of a random function make a block that
/// neither its encryption nor its decryption tells from a random one (Luby and Rackoff).
const ROUNDS: u8 = 4;

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
        let (mut nonce, mut number) = halves(id);
        for round in (0..ROUNDS).rev() {
            (nonce, number) = (number ^ self.mix(round, nonce), nonce);
        }
        number
    }

    /// Returns the id of a connection for a nonce.
    fn id(&self, nonce: u32, number: u32) -> [u8; CONNECTION_ID_LEN] {
        let (mut left, mut right) = (nonce, number);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.mix(round, right));
        }
        (u64::from(left) << 32 | u64::from(right)).to_be_bytes()
    }

    /// Makes the generator for the endpoint.
    pub(super) fn generator(&self, rng: Rng) -> Generator {
        Generator { ids: self.clone(), rng }
    }

    fn mix(&self, round: u8, half: u32) -> u32 {
        let [b0, b1, b2, b3] = half.to_be_bytes();
        let [.., h0, h1, h2, h3] = siphash(&self.key, &[round, b0, b1, b2, b3]).to_be_bytes();
        u32::from_be_bytes([h0, h1, h2, h3])
    }
}

fn halves(id: &[u8; CONNECTION_ID_LEN]) -> (u32, u32) {
    let [l0, l1, l2, l3, r0, r1, r2, r3] = *id;
    (u32::from_be_bytes([l0, l1, l2, l3]), u32::from_be_bytes([r0, r1, r2, r3]))
}

/// The generator that the endpoint owns.
pub(super) struct Generator {
    ids: ConnectionIds,
    rng: Rng,
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let nonce = u32::from_be_bytes(self.rng.bytes());
        let id = self.ids.id(nonce, self.ids.selected.load(Ordering::Relaxed));
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
        let issued: Vec<Vec<u8>> = (0..100).map(|_| generator.generate_cid().to_vec()).collect();
        for half in [0..4, 4..8] {
            let halves: std::collections::BTreeSet<&[u8]> =
                issued.iter().map(|id| &id[half.clone()]).collect();
            assert_eq!(halves.len(), 100);
        }
    }

    #[test]
    fn an_id_of_one_connection_does_not_make_one_of_another() {
        let mut rng = Rng::from_seed([1; 32]);
        let ids = ConnectionIds::new(&mut rng);
        let id = ids.id(rng.next_u32(), 5);
        for byte in 0..CONNECTION_ID_LEN {
            for change in 1..=u8::MAX {
                let mut changed = id;
                changed[byte] ^= change;
                assert!(ids.number(&changed) > 1000, "byte {byte} changed by {change}");
            }
        }
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
