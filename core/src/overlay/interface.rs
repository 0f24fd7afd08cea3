//! The inputs and outputs of the module, its configuration, and its figures.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Counter, Stamp, TopicId};
use crate::session::{Event, Request};
use crate::support::{NoTable, Vocabulary};

/// An input of the module.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// An event of a session.
    Session(Event<P>),
    /// The owner wants to receive the items of a topic, or to publish to it.
    Join {
        /// The topic.
        topic: TopicId,
    },
    /// The owner is done with a topic.
    Leave {
        /// The topic.
        topic: TopicId,
    },
    /// The deadline has passed.
    Timeout,
}

/// An output of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// A request to a session.
    Session(Request<P>),
    /// A new item arrived. The owner checks it and calls [`State::accept`](super::State::accept) or
    /// [`State::reject`](super::State::reject) with the receipt. Until then it is not forwarded.
    Received {
        /// The receipt to return.
        receipt: Receipt<P>,
        /// The bytes of the item.
        bytes: Bytes,
    },
    /// The node knows no other node in a topic. Sessions with any peers may help.
    Lonely {
        /// The topic.
        topic: TopicId,
    },
}

impl<P> Vocabulary for Output<P> {
    type Counter = Counter;
    type Table = NoTable;
}

/// An item that the owner is checking.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt<P> {
    /// The topic.
    pub topic: TopicId,
    /// The stamp that the peer claimed for the item.
    pub stamp: Stamp,
    /// The peer that sent it.
    pub peer: P,
    /// The number of links that it has travelled.
    pub hops: u8,
    /// Whether it was fetched by repair, and did not come over the tree.
    pub is_repair: bool,
}

/// Why the owner rejects an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is forged or malformed. The peer should not have forwarded it.
    Forged,
    /// It is too old, or its author is blocked. The peer is not to blame. The item is known from now on
    /// and never fetched.
    Unwanted,
    /// It could not be checked. Another copy may be good.
    Unchecked,
}

/// The largest value of [`Config::active_max`].
pub const ACTIVE_MAX: usize = 64;

/// The largest value of [`Config::passive_max`].
pub const PASSIVE_MAX: usize = 1024;

/// The largest value of [`Config::walk_steps`] and [`Config::passive_walk_steps`].
pub const WALK_STEPS_MAX: u8 = 16;

/// The parameters of HyParView: the sizes of the views of a topic, and the length of its walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The most neighbors in a topic. The root of its tree has up to twice as many.
    pub active_max: usize,
    /// The most peers in the passive view.
    pub passive_max: usize,
    /// The number of steps of a ForwardJoin (ARWL).
    pub walk_steps: u8,
    /// The number of remaining steps at which a ForwardJoin adds the new peer to the passive view (PRWL).
    pub passive_walk_steps: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self { active_max: 10, passive_max: 128, walk_steps: 6, passive_walk_steps: 3 }
    }
}

/// The figures of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The neighbors.
    pub neighbours: usize,
    /// The neighbors to which items are pushed.
    pub eager: usize,
    /// The peers in the passive view.
    pub passive: usize,
    /// The announced items that have not arrived.
    pub missing: usize,
    /// The items in the history.
    pub history_items: usize,
    /// Their bytes.
    pub history_bytes: usize,
    /// The number of links to the root of the tree, if there is one.
    pub depth: Option<u8>,
}

/// The memory that peers and topics take, in bytes, as counted against the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Control frames in send queues.
    pub control: usize,
    /// Items in send queues, and the ids of displaced items.
    pub items: usize,
    /// Ids of items that are missing, seen or gone, and of topics that only peers are in.
    pub index: usize,
    /// Items in histories.
    pub history: usize,
}
