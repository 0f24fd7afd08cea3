//! What goes into an overlay and comes out of it, and what it says of itself.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Counter, Stamp, TopicId};
use crate::session::{Event, Request};
use crate::support::{NoTable, Vocabulary};

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// Something happened to a session.
    Session(Event<P>),
    /// The owner wants to hear of a topic, or to publish to it.
    Join {
        /// The topic.
        topic: TopicId,
    },
    /// The owner wants no more of a topic.
    Leave {
        /// The topic.
        topic: TopicId,
    },
    /// The deadline has passed.
    Timeout,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// What is wanted of a session.
    Session(Request<P>),
    /// An item came that was not seen before: check it, then call [`State::accept`](super::State::accept) or
    /// [`State::reject`](super::State::reject) with the receipt. Until then nobody else gets it.
    Received {
        /// What to give back.
        receipt: Receipt<P>,
        /// The bytes of the item.
        bytes: Bytes,
    },
    /// The node knows nobody in a topic: have sessions with any peers that may.
    Lonely {
        /// The topic.
        topic: TopicId,
    },
}

impl<P> Vocabulary for Output<P> {
    type Counter = Counter;
    type Table = NoTable;
}

/// An item that is being checked.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt<P> {
    /// The topic.
    pub topic: TopicId,
    /// The name and time that the peer gave the item.
    pub stamp: Stamp,
    /// Who sent it.
    pub peer: P,
    /// How many links it has come over.
    pub hops: u8,
    /// Whether it comes late, by repair, rather than fresh from its author.
    pub is_repair: bool,
}

/// Why an item is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever sent it should have known better: it is forged or malformed.
    Forged,
    /// Nobody is to blame: it is too old, or its author is no longer heard. It is known from here
    /// on and never asked for.
    Unwanted,
    /// It could not be checked. Another copy may be good.
    Unchecked,
}

/// The most neighbours in a topic that a node can be configured to have.
pub const ACTIVE_MAX: usize = 64;

/// The most other peers of a topic that a node can be configured to know.
pub const PASSIVE_MAX: usize = 1024;

/// The most steps of a walk that a node can be configured to take.
pub const WALK_STEPS_MAX: u8 = 16;

/// How large the views of a topic are, and how far newcomers walk: the parameters of HyParView.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The most neighbours in a topic. The root of its tree has up to twice as many.
    pub active_max: usize,
    /// The most peers that are known beside them.
    pub passive_max: usize,
    /// The steps of a newcomer's walk (ARWL).
    pub walk_steps: u8,
    /// The step at which a newcomer is noted in the passive view (PRWL).
    pub passive_walk_steps: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self { active_max: 10, passive_max: 128, walk_steps: 6, passive_walk_steps: 3 }
    }
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Neighbours.
    pub neighbours: usize,
    /// Neighbours to which items are pushed.
    pub eager: usize,
    /// Other peers that are known.
    pub passive: usize,
    /// Items that were announced and have not come.
    pub missing: usize,
    /// Items that are kept.
    pub history_items: usize,
    /// Their bytes.
    pub history_bytes: usize,
    /// How far the node is from the root of the tree, if there is one.
    pub depth: Option<u8>,
}

/// What a node holds, in bytes, as it counts against the shares of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Control frames that wait for peers to read.
    pub control: usize,
    /// Items that wait for peers to read, and names of those that found no room.
    pub items: usize,
    /// Names: of items that are missing, that were seen or are gone, and of topics of others.
    pub index: usize,
    /// Items that are kept.
    pub history: usize,
}
