//! The key exchanges: ML-KEM-768 alone, or together with X25519.
//!
//! A key share and a shared secret of the hybrid are those of ML-KEM-768 followed by those of
//! X25519 (draft-ietf-tls-ecdhe-mlkem §3); the pure exchange is draft-ietf-tls-mlkem. All
//! randomness comes from the entropy scope: a client draws the 64 bytes of a key and then, in the
//! hybrid, 32 bytes for X25519; a server draws the 32 bytes of a message, then the same.

use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::crypto::entropy::draw;
use crate::crypto::kem::{
    CIPHERTEXT_LEN, Ciphertext, DecapsulationKey, ENCAPSULATION_KEY_LEN, EncapsulationKey,
};

const INVALID_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

/// How two machines agree on a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyExchange {
    /// ML-KEM-768 first. A peer that insists on the hybrid gets it.
    #[default]
    MlKem768,
    /// ML-KEM-768 together with X25519, and nothing else: safe while either of them is.
    X25519MlKem768,
}

impl KeyExchange {
    /// Returns the groups to offer and to accept, best first.
    pub(super) fn groups(self) -> Vec<&'static dyn SupportedKxGroup> {
        match self {
            Self::MlKem768 => vec![&MlKem768, &X25519MlKem768],
            Self::X25519MlKem768 => vec![&X25519MlKem768],
        }
    }
}

#[derive(Debug)]
struct MlKem768;

impl SupportedKxGroup for MlKem768 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(StartedMlKem768 { key: DecapsulationKey::from_seed(&*draw()?) }))
    }

    fn start_and_complete(&self, client_share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let key = EncapsulationKey::from_bytes(client_share).map_err(|_| INVALID_SHARE)?;
        let (ciphertext, secret) = key.encapsulate(&*draw()?);
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: ciphertext.as_bytes().to_vec(),
            secret: SharedSecret::from(secret.as_bytes().as_slice()),
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

struct StartedMlKem768 {
    key: DecapsulationKey,
}

impl ActiveKeyExchange for StartedMlKem768 {
    fn complete(self: Box<Self>, server_share: &[u8]) -> Result<SharedSecret, Error> {
        let ciphertext = Ciphertext::from_bytes(server_share).map_err(|_| INVALID_SHARE)?;
        Ok(SharedSecret::from(self.key.decapsulate(&ciphertext).as_bytes().as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        self.key.encapsulation_key().as_bytes()
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::MLKEM768
    }
}

#[derive(Debug)]
struct X25519MlKem768;

impl SupportedKxGroup for X25519MlKem768 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let key = DecapsulationKey::from_seed(&*draw()?);
        let x25519 = StaticSecret::from(*draw()?);
        let share = concat(key.encapsulation_key().as_bytes(), PublicKey::from(&x25519).as_bytes());
        Ok(Box::new(StartedX25519MlKem768 { key, x25519, share }))
    }

    fn start_and_complete(&self, client_share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (key, client_x25519) =
            client_share.split_at_checked(ENCAPSULATION_KEY_LEN).ok_or(INVALID_SHARE)?;
        let key = EncapsulationKey::from_bytes(key).map_err(|_| INVALID_SHARE)?;
        let (ciphertext, secret) = key.encapsulate(&*draw()?);
        let x25519 = StaticSecret::from(*draw()?);
        let x25519_secret = diffie_hellman(&x25519, client_x25519)?;
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: concat(ciphertext.as_bytes(), PublicKey::from(&x25519).as_bytes()),
            secret: concat(secret.as_bytes(), x25519_secret.as_bytes()).into(),
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

struct StartedX25519MlKem768 {
    key: DecapsulationKey,
    x25519: StaticSecret,
    share: Vec<u8>,
}

impl ActiveKeyExchange for StartedX25519MlKem768 {
    fn complete(self: Box<Self>, server_share: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, server_x25519) =
            server_share.split_at_checked(CIPHERTEXT_LEN).ok_or(INVALID_SHARE)?;
        let ciphertext = Ciphertext::from_bytes(ciphertext).map_err(|_| INVALID_SHARE)?;
        let x25519_secret = diffie_hellman(&self.x25519, server_x25519)?;
        let secret = self.key.decapsulate(&ciphertext);
        Ok(concat(secret.as_bytes(), x25519_secret.as_bytes()).into())
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

/// Computes the X25519 secret, which must depend on both keys (RFC 8446 §7.4.2).
fn diffie_hellman(own: &StaticSecret, peer: &[u8]) -> Result<x25519_dalek::SharedSecret, Error> {
    let peer: [u8; 32] = peer.try_into().map_err(|_| INVALID_SHARE)?;
    let secret = own.diffie_hellman(&PublicKey::from(peer));
    if secret.was_contributory() { Ok(secret) } else { Err(INVALID_SHARE) }
}

fn concat(ml_kem: &[u8], x25519: &[u8; 32]) -> Vec<u8> {
    [ml_kem, x25519].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::entropy::Entropy;
    use crate::support::Rng;

    const GROUPS: [(&str, &dyn SupportedKxGroup, usize, usize, usize); 2] = [
        ("ML-KEM-768", &MlKem768, 1184, 1088, 32),
        ("X25519MLKEM768", &X25519MlKem768, 1216, 1120, 64),
    ];

    fn scoped<R>(run: impl FnOnce() -> R) -> R {
        Entropy::new(Rng::from_seed([3; 32])).scope(run)
    }

    #[test]
    fn both_sides_get_the_same_secret_and_the_standard_lengths() {
        for (name, group, client_len, server_len, secret_len) in GROUPS {
            scoped(|| {
                let client = group.start().unwrap();
                assert_eq!(client.pub_key().len(), client_len, "{name}");
                assert_eq!(client.group(), group.name(), "{name}");
                let server = group.start_and_complete(client.pub_key()).unwrap();
                assert_eq!(server.pub_key.len(), server_len, "{name}");
                let secret = client.complete(&server.pub_key).unwrap();
                assert_eq!(secret.secret_bytes(), server.secret.secret_bytes(), "{name}");
                assert_eq!(secret.secret_bytes().len(), secret_len, "{name}");
            });
        }
    }

    #[test]
    fn malformed_shares_are_refused() {
        for (name, group, client_len, server_len, _) in GROUPS {
            scoped(|| {
                for len in [0, 31, 32, client_len - 1, client_len + 1] {
                    assert!(group.start_and_complete(&vec![0; len]).is_err(), "{name}: {len}");
                }
                let unreduced = vec![0xff; client_len];
                assert!(group.start_and_complete(&unreduced).is_err(), "{name}: not reduced");
                for len in [0, 31, 32, server_len - 1, server_len + 1] {
                    let client = group.start().unwrap();
                    assert!(client.complete(&vec![0; len]).is_err(), "{name}: {len}");
                }
            });
        }
    }

    #[test]
    fn an_x25519_key_that_fixes_the_secret_is_refused() {
        scoped(|| {
            let client = X25519MlKem768.start().unwrap();
            let mut share = client.pub_key().to_vec();
            share[ENCAPSULATION_KEY_LEN..].fill(0);
            assert!(X25519MlKem768.start_and_complete(&share).is_err());
        });
    }

    #[test]
    fn without_a_scope_no_exchange_starts() {
        for (name, group, ..) in GROUPS {
            let Err(error) = group.start() else { panic!("{name} started") };
            assert_eq!(error, Error::FailedToGetRandomBytes, "{name}");
        }
    }
}
