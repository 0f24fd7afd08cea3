//! ML-KEM-768 as a group of TLS 1.3 (draft-ietf-tls-mlkem, code point 0x0201).

use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use zeroize::Zeroize;

use crate::crypto::entropy;
use crate::crypto::kem::{Ciphertext, DecapsulationKey, EncapsulationKey};

/// The group.
#[derive(Debug)]
pub(super) struct MlKem768;

const INVALID_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

impl SupportedKxGroup for MlKem768 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut seed: [u8; 64] = entropy::draw_array()?;
        let key = DecapsulationKey::from_seed(&seed);
        seed.zeroize();
        let share = key.encapsulation_key().as_bytes().to_vec();
        Ok(Box::new(Started { key, share }))
    }

    fn start_and_complete(&self, peer_share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let peer = EncapsulationKey::from_bytes(peer_share).map_err(|_| INVALID_SHARE)?;
        let mut message: [u8; 32] = entropy::draw_array()?;
        let (ciphertext, secret) = peer.encapsulate(&message);
        message.zeroize();
        Ok(CompletedKeyExchange {
            group: NamedGroup::MLKEM768,
            pub_key: ciphertext.as_bytes().to_vec(),
            secret: SharedSecret::from(&secret.as_bytes()[..]),
        })
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::MLKEM768
    }
}

/// What the client keeps until the server answers.
struct Started {
    key: DecapsulationKey,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, peer_share: &[u8]) -> Result<SharedSecret, Error> {
        let ciphertext = Ciphertext::from_bytes(peer_share).map_err(|_| INVALID_SHARE)?;
        let secret = self.key.decapsulate(&ciphertext);
        Ok(SharedSecret::from(&secret.as_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::MLKEM768
    }
}
