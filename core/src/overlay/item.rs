//! The items of a topic, which are opaque to the overlay.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A topic, by the hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub [u8; 32]);

/// An item, by the first bytes of the hash of what its author signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemId(pub [u8; 16]);

/// The position of an item in the history of its topic: by time, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// When the author made the item by its own account, in milliseconds since the Unix epoch.
    pub time: u64,
    /// The item.
    pub id: ItemId,
}

impl Stamp {
    /// Returns the lowest stamp of a time.
    pub(super) const fn at(time: u64) -> Self {
        Self { time, id: ItemId([0; 16]) }
    }
}

/// An item that the owner has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its time and id.
    pub stamp: Stamp,
    /// A short hash of the author. Limits apply to each author, so that one cannot displace the others.
    pub source: u64,
    /// The bytes as the author made them.
    pub bytes: Bytes,
}
