//! Identity (placeholder).
use serde::{Deserialize, Serialize};
/// Machine id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MachineId(pub [u8; 32]);
/// Agent id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgentId(pub [u8; 32]);
/// Machine key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MachineKey([u8; 32]);
/// Agent key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentKey([u8; 32]);
macro_rules! key {
    ($k:ident $i:ident) => {
        impl $k {
            /// From a seed.
            pub fn from_seed(seed: &[u8; 32]) -> Self {
                Self(*seed)
            }
            /// The id.
            pub fn id(&self) -> $i {
                $i(self.0)
            }
        }
    };
}
key!(MachineKey MachineId);
key!(AgentKey AgentId);
/// Certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentCertificate(Vec<u8>);
