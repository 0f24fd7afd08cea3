//! The frames of the overlay. Each is a record, version 1; a push is followed by the bytes of its
//! item.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Contact, ItemId, Peer, Stamp, TopicId};
use crate::wire::{self, BoundedBytes, BoundedVec, DecodeError, Versioned};

/// The most topics that a node tells a peer of.
pub const TOPICS_MAX: usize = 1024;

/// The most peers that one frame names.
pub const ENTRIES_MAX: usize = 16;

/// The most items that one frame names.
pub const IDS_MAX: usize = 256;

/// The largest message of a reconciliation.
pub const RECONCILE_BYTES_MAX: usize = 32 * 1024;

/// A peer and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry<P> {
    pub(super) peer: P,
    /// Empty if it is the sender of the frame.
    pub(super) contact: Contact,
}

pub(super) type Entries<P> = BoundedVec<Entry<P>, ENTRIES_MAX>;
pub(super) type Ids = BoundedVec<ItemId, IDS_MAX>;

/// How much a node wants to be a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Priority {
    /// It has room for one more.
    Low,
    /// It has no neighbour at all.
    High,
    /// It is close, and would give up a distant neighbour.
    Closer,
}

/// Who is the root of a topic's tree, and how far it is. The higher generation wins, then the
/// lower id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beacon<P> {
    pub(super) root: P,
    pub(super) generation: u64,
    /// Grows with each beacon of the root.
    pub(super) sequence: u64,
    /// How many links the sender is away from the root.
    pub(super) hops: u8,
}

/// What nodes tell each other about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message<P> {
    /// The sender is in the topic.
    Joined,
    /// The sender is no longer in the topic.
    Left,
    /// These peers are in the topic, too.
    Refer(Entries<P>),
    /// The sender would be a neighbour.
    Neighbour(Priority),
    /// The answer: whether it is one.
    Answer(bool),
    /// The sender is no neighbour any more.
    Part,
    /// A newcomer looks for neighbours, on a random walk of so many steps.
    Newcomer { entry: Entry<P>, steps: u8 },
    /// Peers that the origin of a random walk knows; the number finds the way back.
    Shuffle { walk: u32, steps: u8, entries: Entries<P> },
    /// Peers in exchange, on the way back.
    Shuffled { walk: u32, entries: Entries<P> },
    /// An item; its bytes follow.
    Push { stamp: Stamp, hops: u8, is_repair: bool },
    /// The sender has these items. After a repair they are to be asked for at once.
    Have { ids: Ids, is_repair: bool },
    /// Push to the sender from here on, because it is below the receiver in the tree, or missed an
    /// item, or has no parent.
    Graft { is_child: bool, item: Option<ItemId> },
    /// The sender is not below the receiver: if it is not above either, push to it no more, and tell
    /// it what there is.
    Prune,
    /// Send these items once.
    Want(Ids),
    /// See [`Beacon`].
    Beacon(Beacon<P>),
    /// Compares histories, see [`reconcile`](super::reconcile).
    Reconcile(BoundedBytes<RECONCILE_BYTES_MAX>),
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame<P> {
    /// All topics that the sender is in: the first frame of a session.
    Topics(BoundedVec<TopicId, TOPICS_MAX>),
    /// Something about one topic.
    Topic(TopicId, Message<P>),
}

impl<P> Versioned for Frame<P> {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 40 * 1024;
}

/// Writes a frame, or what comes before the bytes of its item.
pub(super) fn encode<P: Peer>(frame: &Frame<P>) -> Bytes {
    wire::encode(frame)
}

/// Reads a frame, and the bytes of the item if it is a push.
pub(super) fn decode<P: Peer>(bytes: &Bytes) -> Result<(Frame<P>, Bytes), DecodeError> {
    let (frame, rest) = wire::decode_prefix::<Frame<P>>(bytes)?;
    let is_push = matches!(frame, Frame::Topic(_, Message::Push { .. }));
    let count = rest.len();
    match (is_push, count) {
        (false, 0) => Ok((frame, Bytes::new())),
        (true, 1..) => Ok((frame, bytes.slice(bytes.len() - count..))),
        (true, 0) => Err(DecodeError::Truncated),
        (false, count) => Err(DecodeError::TrailingBytes { count }),
    }
}
