//! The overlay's frames as an attacker writes them: the form of the core's, without its limits.
//!
//! The core keeps its frames to itself, so these are written down once more. A test in `abuse`
//! shows that honest nodes take each of them for what it says.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use x0x_core::overlay::{ItemId, Stamp, TopicId};
use x0x_core::session::Contact;

use crate::model::peer::PeerId;

/// The version of the overlay's records.
const VERSION: u8 = 1;

/// A peer and where it is said to be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The peer.
    pub peer: PeerId,
    /// Where it is said to be reached.
    pub contact: Contact,
}

/// How much a node says that it wants to be a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Priority {
    /// It has room for one more.
    Low,
    /// It has no neighbour at all.
    High,
    /// It is close, and would give up a distant neighbour.
    Closer,
}

/// What is said about a topic, in the order in which the overlay numbers its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the messages of the overlay")]
pub enum Message {
    Joined,
    Left,
    Refer(Vec<Entry>),
    Neighbour(Priority),
    Answer(bool),
    Part,
    Newcomer { entry: Entry, steps: u8 },
    Shuffle { walk: u32, steps: u8, entries: Vec<Entry> },
    Shuffled { walk: u32, entries: Vec<Entry> },
    Push { stamp: Stamp, hops: u8, is_repair: bool },
    Have { ids: Vec<ItemId>, is_repair: bool },
    Graft { is_child: bool, item: Option<ItemId> },
    Prune,
    Want(Vec<ItemId>),
    Beacon { root: PeerId, generation: u64, sequence: u64, hops: u8 },
    Reconcile(Vec<u8>),
}

/// A frame of the overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// All topics that the sender is in.
    Topics(Vec<TopicId>),
    /// Something about one topic.
    Topic(TopicId, Message),
}

impl Frame {
    /// Writes the frame, or what comes before the bytes of its item.
    pub fn encode(&self) -> Vec<u8> {
        let record = postcard::to_stdvec(self).expect("a frame has a postcard form");
        [&[VERSION], &record[..]].concat()
    }

    /// Reads a frame; what follows it is the item of a push.
    pub fn decode(bytes: &[u8]) -> Option<(Self, Bytes)> {
        let record = bytes.strip_prefix(&[VERSION])?;
        let (frame, item) = postcard::take_from_bytes(record).ok()?;
        Some((frame, Bytes::copy_from_slice(item)))
    }
}
