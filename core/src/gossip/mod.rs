//! Gossip: signed messages from an agent to everybody who subscribed to a topic.
//!
//! Messages travel in [batches](batch), each under one signature of its author, over the
//! [overlay](crate::overlay). This module signs, checks and orders; which peers a batch goes to is
//! the overlay's decision. `docs/src/protocol/gossip.md` has the bytes and the rules.
//!
//! - `outgoing`: messages collect for a moment and are signed together.
//! - `incoming`: what came is checked, then goes on to others.
//! - `delivery`: what is known of authors; `order`: a batch waits for its turn.
//! - `past`: how far authors were heard that are no longer known.
//! - `keys`: a batch names its author by a hash, and keys are fetched once.
//! - [`Evidence`]: what proves that an author contradicts itself.
//! - [`Proof`]: what proves to a third party that an author published a message.
//!
//! It is not a store: what waits is in memory, and history is what the overlay keeps.
//!
//! # How it is driven
//!
//! Inputs through [`State::handle`], then [`State::settle`] once after one or more inputs: it signs
//! what was published. [`Input::Timeout`] at [`State::deadline`], then [`State::settle`]. The owner
//! carries whole frames over *sessions*, of which a peer has at most one; frames of a session arrive
//! in order and without gaps.
//!
//! # Invariants
//!
//! - Nothing is delivered or handed on to others before its author's signature was checked.
//! - What is delivered of one author's stream is in order and at most once, even if the topic is left
//!   and subscribed to again. What is missing in between is told ([`Event::Lagged`]) before what
//!   comes after it.
//! - An author that contradicts itself is told once and not heard again in the topic.
//! - A blocked author is not delivered and still handed on: one user's block cuts off nobody else.
//! - Nothing grows beyond the limits that the parts name, whatever a peer sends.
//!
//! # References
//!
//! RFC 6962 (the tree); "Batch Signatures, Revisited" (eprint 2023/492).

mod author;
pub mod batch;
mod command;
mod counters;
mod delivery;
mod error;
mod event;
mod evidence;
mod frames;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod incoming;
mod keys;
mod limits;
mod network;
mod order;
mod past;
mod proof;
mod publisher;
mod state;
#[cfg(test)]
mod tests;
mod time;
mod topic;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use author::AuthorKey;
pub use batch::BATCH_SIZE_MAX;
pub use command::{
    ListTopics, ProveMessage, Publish, Published, Reply, Request, Subscribe, Subscribed,
    Unsubscribe, Unsubscribed,
};
pub use counters::Counter;
pub use error::RequestError;
pub use event::Event;
pub use evidence::{EVIDENCE_SIZE_MAX, Evidence, EvidenceError};
pub use frames::FRAME_SIZE_MAX;
pub use limits::*;
pub use proof::{PROOF_SIZE_MAX, Proof, ProofError, ProvenMessage};
pub use state::State;
pub use topic::{Topic, TopicError};

use crate::identity::AgentId;
use crate::overlay::ItemId;
use crate::session;
use crate::support::{NoTable, Vocabulary};

/// The context of this module.
pub type Context<'a, P> = crate::support::Context<'a, Output<P>>;

/// The name that the caller gives to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub u64);

/// A message, by the batch that it came in and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The batch.
    pub batch: ItemId,
    /// The place in the batch, from zero.
    pub index: u16,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// Something happened to a session.
    Session(session::Event<P>),
    /// The application wants the messages of a topic. [`State::check_subscribe`] has nothing to
    /// say.
    Subscribe {
        /// The topic.
        topic: Topic,
    },
    /// The application wants no more messages of a topic.
    Unsubscribe {
        /// The topic.
        topic: Topic,
    },
    /// The application publishes a message. [`State::check_publish`] has nothing to say.
    Publish {
        /// Names the message in its [`Output::Published`].
        id: PublishId,
        /// The topic.
        topic: Topic,
        /// What is said.
        payload: Bytes,
    },
    /// The user blocks an agent, or no longer does: its messages are not delivered.
    SetBlocked {
        /// The agent.
        agent: AgentId,
        /// Whether it is blocked.
        blocked: bool,
    },
    /// The deadline has passed.
    Timeout,
    /// The node shuts down.
    ShutDown,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// What is wanted of a session.
    Session(session::Request<P>),
    /// The node knows nobody in a topic: have sessions with any peers that may.
    Lonely,
    /// Report something to the application.
    Event(Event),
    /// A message was taken on its way: it is signed, or waits for no more than its batch.
    Published {
        /// The name that the caller gave it.
        id: PublishId,
    },
}

impl<P> Vocabulary for Output<P> {
    type Counter = Counter;
    type Table = NoTable;
}

/// What a node holds for authors and peers. All but what is known of them returns to zero when
/// nobody says anything; that goes after [`SILENCE_MAX`], and with the sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// What counts against the share for ordering, in bytes as allocated.
    pub ordering_bytes: usize,
    /// Authors that are known, counted once for each topic.
    pub authors: usize,
    /// The bytes of batches that wait for those before them.
    pub waiting_bytes: usize,
    /// Batches that wait for the key of their author.
    pub batches_without_key: usize,
    /// Authors whose keys peers are known to have, counted once for each session.
    pub keys_of_peers: usize,
    /// Messages that wait to be signed.
    pub messages_unsigned: usize,
}

/// What is known of a topic that the node is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// The topic.
    pub topic: Topic,
    /// Whether its messages are delivered here. If not, the node is in it to publish.
    pub is_subscribed: bool,
    /// How many neighbours the node has in it.
    pub neighbours: usize,
    /// How many of them get items unasked.
    pub eager: usize,
    /// How many others are known.
    pub passive: usize,
    /// How many items are kept.
    pub history_items: usize,
    /// How many bytes they have.
    pub history_bytes: usize,
}
