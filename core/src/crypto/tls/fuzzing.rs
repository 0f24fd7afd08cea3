//! Doors for the fuzz targets: server names, raw public keys and key shares.

use super::KeyExchange;
use super::identity::{encode_spki, parse_spki};
use super::name::{Expected, expected};
use crate::crypto::entropy::Entropy;
use crate::support::Rng;

/// Reads a server name: `Some(None)` accepts any server.
pub fn name(name: &str) -> Option<Option<[u8; 32]>> {
    match expected(name)? {
        Expected::Machine(id) => Some(Some(id)),
        Expected::Anyone => Some(None),
    }
}

/// Reads the key that a peer shows; returns the bytes that show it.
pub fn spki(bytes: &[u8]) -> Option<Vec<u8>> {
    parse_spki(bytes).map(|key| encode_spki(&key))
}

/// Answers a client's key share as a server does, in the pure exchange or in the hybrid; returns
/// the server's share and the secret.
pub fn answer_share(share: &[u8], hybrid: bool, seed: [u8; 32]) -> Option<(Vec<u8>, Vec<u8>)> {
    let groups = KeyExchange::MlKem768.groups();
    let group = groups.get(usize::from(hybrid))?;
    let mut entropy = Entropy::new(Rng::from_seed(seed));
    let done = entropy.scope(|| group.start_and_complete(share)).ok()?;
    Some((done.pub_key, done.secret.secret_bytes().to_vec()))
}

/// Starts an exchange as a client and takes the server's share; returns the client's share and,
/// if the server's is well formed, the secret.
pub fn take_share(share: &[u8], hybrid: bool, seed: [u8; 32]) -> (Vec<u8>, Option<Vec<u8>>) {
    let groups = KeyExchange::MlKem768.groups();
    let mut entropy = Entropy::new(Rng::from_seed(seed));
    let started = entropy.scope(|| groups[usize::from(hybrid)].start());
    let started = started.expect("the scope has randomness");
    let own = started.pub_key().to_vec();
    let secret = started.complete(share).ok();
    (own, secret.map(|secret| secret.secret_bytes().to_vec()))
}
