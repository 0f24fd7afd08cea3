//! The frames of the overlay, in the vocabulary of HyParView and Plumtree.
//!
//! Each frame is a record, version 1. In a [`Message::Push`] the bytes of the item follow the record.
//! `docs/src/protocol/overlay.md` has the bytes. The variants are numbered in the order of their
//! declaration, so a new one goes to the end.
//!
//! # Limits
//!
//! [`TOPICS_MAX`], [`ENTRIES_MAX`], [`IDS_MAX`] and [`RECONCILE_BYTES_MAX`] bound what a frame may
//! name. The decoder rejects a frame that exceeds one of them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::tree::Beacon;
use super::{Contact, ItemId, Peer, Stamp, TopicId};
use crate::wire::{self, BoundedBytes, BoundedVec, DecodeError, Versioned};

/// The most topics in one frame, and the most topics that a node can be in.
pub const TOPICS_MAX: usize = 1024;

/// The most peers in one frame.
pub const ENTRIES_MAX: usize = 16;

/// The most item ids in one frame.
pub const IDS_MAX: usize = 256;

/// The largest reconciliation message, in bytes.
pub const RECONCILE_BYTES_MAX: usize = 32 * 1024;

/// A peer and its contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry<P> {
    pub(super) peer: P,
    /// Empty if the peer is the sender of the frame.
    pub(super) contact: Contact,
}

pub(super) type Entries<P> = BoundedVec<Entry<P>, ENTRIES_MAX>;
pub(super) type Ids = BoundedVec<ItemId, IDS_MAX>;

/// The priority of a [`Message::Neighbor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Priority {
    /// The sender has room for another neighbor.
    Low,
    /// The sender has no neighbor at all, or lost this one.
    High,
    /// The sender is close and would replace a distant neighbor.
    Closer,
}

/// A message about one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message<P> {
    /// The sender is in the topic.
    Joined,
    /// The sender left the topic.
    Left,
    /// Other peers that are in the topic.
    PeerExchange(Entries<P>),
    /// NEIGHBOR of HyParView: the sender asks the receiver to be its neighbor.
    Neighbor(Priority),
    /// The reply to [`Message::Neighbor`]: true if the sender accepts.
    NeighborReply(bool),
    /// DISCONNECT of HyParView: the sender removed the receiver from its active view.
    Disconnect,
    /// FORWARDJOIN of HyParView: a random walk on which a new peer looks for neighbors.
    ForwardJoin { entry: Entry<P>, steps: u8 },
    /// SHUFFLE of HyParView: a random walk with a sample of its origin's views. The reply finds its
    /// way back by the number of the walk.
    Shuffle { walk: u32, steps: u8, entries: Entries<P> },
    /// SHUFFLEREPLY of HyParView: a sample of the views of the node at the end of the walk.
    ShuffleReply { walk: u32, entries: Entries<P> },
    /// GOSSIP of Plumtree: an item, whose bytes follow.
    Push { stamp: Stamp, hops: u8, is_repair: bool },
    /// IHAVE of Plumtree: the sender has these items. The receiver fetches repaired ones at once.
    IHave { ids: Ids, is_repair: bool },
    /// GRAFT of Plumtree: push items to the sender from now on. The sender is a child of the receiver,
    /// or missed an item, or has no parent.
    Graft { is_child: bool, item: Option<ItemId> },
    /// PRUNE of Plumtree: the sender is not a child of the receiver. Unless the receiver is its child,
    /// it announces items to the sender and pushes none.
    Prune,
    /// Send these items once.
    IWant(Ids),
    /// See [`Beacon`].
    Beacon(Beacon<P>),
    /// A message of [`reconcile`](super::reconcile).
    Reconcile(BoundedBytes<RECONCILE_BYTES_MAX>),
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame<P> {
    /// The topics that the sender is in: the first frame of a session.
    Topics(BoundedVec<TopicId, TOPICS_MAX>),
    /// A message about one topic.
    Topic(TopicId, Message<P>),
}

impl<P> Versioned for Frame<P> {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 40 * 1024;
}

/// Encodes a frame, without the bytes of its item.
pub(super) fn encode<P: Peer>(frame: &Frame<P>) -> Bytes {
    wire::encode(frame)
}

/// Decodes a frame, and returns the bytes of its item with it. They are empty unless it is a push.
///
/// # Errors
///
/// [`DecodeError`] if the record is malformed, if a push has no item, or if another frame has trailing
/// bytes.
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
