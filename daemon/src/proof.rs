//! How a daemon proves that it knows the token without showing it.
//!
//! The client sends a random nonce. The daemon answers with a keyed BLAKE3 hash of the nonce and of
//! the address at which the connection reached it. The key is derived from the token under a label of
//! its own, so an answer serves for nothing else.
//!
//! The address binds the answer to the connection: a program that forwards the nonce from its own
//! port to the real daemon gets an answer for the daemon's address, which the client refuses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use x0x_core::crypto::hash::{Blake3, HASH_LEN, equal};

/// What the key is derived under.
const LABEL: &[u8] = b"x0x API proof 1\0";

/// A random number that is used once.
pub type Nonce = [u8; 32];

/// The key of the proofs, derived from the token of the API.
#[derive(Clone)]
pub struct ProofKey([u8; HASH_LEN]);

impl ProofKey {
    /// Derives the key.
    pub fn of(token: &str) -> Self {
        let mut hash = Blake3::new();
        hash.update(LABEL);
        hash.update(token.as_bytes());
        Self(hash.finish())
    }

    /// Proves the key to the client that sent a nonce over a connection to an address.
    pub fn prove(&self, nonce: &Nonce, address: SocketAddr) -> [u8; HASH_LEN] {
        // A socket for both families shows IPv4 addresses as IPv6 ones.
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut hash = Blake3::keyed(&self.0);
        hash.update(nonce);
        hash.update(&ip.octets());
        hash.update(&address.port().to_be_bytes());
        hash.finish()
    }

    /// Checks a proof, in constant time.
    pub fn is_proved(&self, nonce: &Nonce, address: SocketAddr, proof: &[u8]) -> bool {
        equal(&self.prove(nonce, address), proof)
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProofKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_token_one_nonce_and_one_address() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let here = address("127.0.0.1:12700");
        let (key, nonce) = (ProofKey::of(&"a".repeat(64)), [7; 32]);
        let proof = key.prove(&nonce, here);
        assert!(key.is_proved(&nonce, here, &proof));
        assert!(key.is_proved(&nonce, address("[::ffff:127.0.0.1]:12700"), &proof));
        assert!(!ProofKey::of(&"b".repeat(64)).is_proved(&nonce, here, &proof));
        assert!(!key.is_proved(&[8; 32], here, &proof));
        for other in ["127.0.0.1:12701", "127.0.0.2:12700", "[::1]:12700"] {
            assert!(!key.is_proved(&nonce, address(other), &proof), "{other}");
        }
        for wrong in [&proof[..31], &[0; 32], &[]] {
            assert!(!key.is_proved(&nonce, here, wrong));
        }
        assert!(!format!("{key:?}").contains(&crate::files::hex(&key.0)));
    }
}
