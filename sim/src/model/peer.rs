//! The ids of modelled nodes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x0x_core::session::Contact;

/// As many bytes as the id of a machine, so that frames have the size that they have in a node.
const WIRE_LEN: usize = 32;

/// As many bytes as an IPv6 address with its port and a kind.
const CONTACT_LEN: usize = 19;

/// A node: its number, and a hash that orders it among others as the ids of machines do.
///
/// It travels as 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    order: u32,
    index: u32,
}

impl PeerId {
    /// Names the node of this number in the world of this seed.
    pub fn new(seed: u64, index: u32) -> Self {
        let hash = mix(mix(seed ^ 0x7065_6572) ^ u64::from(index));
        Self { order: u32::try_from(hash >> 32).expect("32 bits"), index }
    }

    /// Names a node that is in no world.
    pub fn invented(number: u64) -> Self {
        let order = u32::try_from(number >> 32).expect("32 bits");
        let index = u32::try_from(number & 0x7fff_ffff).expect("31 bits") | 1 << 31;
        Self { order, index }
    }

    /// Names the same node as another peer, which nobody knows.
    #[must_use]
    pub fn reborn(self) -> Self {
        Self::new(u64::from(self.order), self.index)
    }

    /// Returns the number of the node.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Returns what says where the node is reached.
    pub fn contact(self) -> Contact {
        let mut bytes = [0; CONTACT_LEN];
        bytes[..4].copy_from_slice(&self.order.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.index.to_le_bytes());
        Contact::copy_from(&bytes).expect("19 bytes are within the limit of a contact")
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "n{}", self.index)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "n{}", self.index)
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [0; WIRE_LEN];
        bytes[..4].copy_from_slice(&self.order.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.index.to_le_bytes());
        bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [a, b, c, d, e, f, g, h, ..] = <[u8; WIRE_LEN]>::deserialize(deserializer)?;
        let (order, index) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        Ok(Self { order, index })
    }
}

/// Spreads the bits of a number (the finish of splitmix64, a bijection).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_travels_as_32_bytes() {
        let id = PeerId::new(3, 99_999);
        let bytes = postcard::to_stdvec(&id).unwrap();
        assert_eq!(bytes.len(), 32);
        assert_eq!(postcard::from_bytes::<PeerId>(&bytes).unwrap(), id);
    }
}
