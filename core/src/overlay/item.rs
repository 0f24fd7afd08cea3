//! What the overlay carries: items of a topic, opaque to it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A topic: the hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub [u8; 32]);

/// Names an item: the first bytes of the hash of what its author signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemId(pub [u8; 16]);

/// The place of an item in the history of its topic: by time, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// When the author says that it made the item, in milliseconds since the Unix epoch.
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

/// An item whose origin is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name and time.
    pub stamp: Stamp,
    /// Tells authors apart, so that one cannot crowd out the others: a short hash of the author.
    pub source: u64,
    /// The bytes that travel, as the author made them.
    pub bytes: Bytes,
}
