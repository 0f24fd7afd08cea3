//! Keys: what a machine, an agent and a human user sign with.
//!
//! A key is a seed of 32 bytes, from which FIPS 204 makes the ML-DSA-65 key pair. Each kind has its
//! own type. Clones share one secret, which is wiped when the last of them is dropped. Two keys
//! are equal if their ids are.
//!
//! # Domains
//!
//! One key signs several kinds of statements. What is signed is never the statement alone but the
//! name of its [`Domain`], a zero byte and the statement, so that a signature for one kind never
//! holds for another. No name contains a zero byte.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::ids::{AgentId, MachineId, UserId};
use crate::crypto::hash::blake3_keyed;
use crate::crypto::signature::{BadSignature, Signature, SigningKey, VerifyingKey};

/// The length of the seed of a key in bytes.
pub const SEED_LEN: usize = 32;

/// The kind of a signed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// An agent lives on a machine.
    AgentBinding,
    /// An agent belongs to a user.
    AgentCertificate,
    /// An agent's bindings, or the agent, are withdrawn.
    Revocation,
    /// An agent publishes a batch of messages to a topic.
    GossipBatch,
}

impl Domain {
    /// Every domain.
    pub const ALL: &[Self] =
        &[Self::AgentBinding, Self::AgentCertificate, Self::Revocation, Self::GossipBatch];

    /// Returns the name that is signed with the statement.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentBinding => "x0x agent binding",
            Self::AgentCertificate => "x0x agent certificate",
            Self::Revocation => "x0x revocation",
            Self::GossipBatch => "x0x gossip batch",
        }
    }

    /// Returns what is signed: the name, a zero byte and the statement.
    fn message(self, body: &[u8]) -> Vec<u8> {
        [self.name().as_bytes(), &[0], body].concat()
    }
}

/// Checks that the key's owner signed the statement as one of this domain.
///
/// # Errors
///
/// If they did not.
pub fn verify(
    domain: Domain,
    key: &VerifyingKey,
    body: &[u8],
    signature: &Signature,
) -> Result<(), BadSignature> {
    key.verify(&domain.message(body), signature)
}

/// What the clones of one key share.
struct Secret {
    /// All that is secret about the key.
    seed: Zeroizing<[u8; SEED_LEN]>,
    /// The key pair made from it.
    signing_key: SigningKey,
}

macro_rules! key {
    ($name:ident, $id:ident, $what:literal) => {
        #[doc = concat!("The private key of ", $what, ".")]
        ///
        /// Its serde form is the seed and thus a secret; its `Debug` form shows the id alone.
        #[derive(Clone)]
        pub struct $name {
            secret: Arc<Secret>,
            id: $id,
        }

        impl $name {
            /// Makes the key that belongs to the seed.
            pub fn from_seed(seed: &[u8; SEED_LEN]) -> Self {
                let signing_key = SigningKey::from_seed(seed);
                let id = $id::of(signing_key.verifying_key());
                let seed = Zeroizing::new(*seed);
                Self { secret: Arc::new(Secret { seed, signing_key }), id }
            }

            /// Returns the id of the public half.
            pub fn id(&self) -> $id {
                self.id
            }

            /// Returns the public half.
            pub fn public(&self) -> &VerifyingKey {
                self.secret.signing_key.verifying_key()
            }

            /// Returns the key pair. What it signs has no domain: TLS brings its own.
            pub fn signing_key(&self) -> &SigningKey {
                &self.secret.signing_key
            }

            /// Returns the seed, which is a secret.
            pub fn seed(&self) -> &[u8; SEED_LEN] {
                &self.secret.seed
            }

            /// Returns a secret for one purpose: the keyed BLAKE3 hash of its name under the seed.
            /// It tells nothing about the seed or about the secrets for other purposes.
            pub fn derive_secret(&self, purpose: &str) -> [u8; 32] {
                blake3_keyed(&self.secret.seed, purpose.as_bytes())
            }

            /// Signs a statement of a domain. See [`SigningKey::sign`] for the randomness.
            pub fn sign(&self, domain: Domain, body: &[u8], randomness: &[u8; 32]) -> Signature {
                self.secret.signing_key.sign(&domain.message(body), randomness)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .debug_struct(stringify!($name))
                    .field("id", &self.id)
                    .finish_non_exhaustive()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.id == other.id
            }
        }

        impl Eq for $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.seed().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let seed = Zeroizing::new(<[u8; SEED_LEN]>::deserialize(deserializer)?);
                Ok(Self::from_seed(&seed))
            }
        }
    };
}

key!(MachineKey, MachineId, "a machine");
key!(AgentKey, AgentId, "an agent");
key!(UserKey, UserId, "a human user");
