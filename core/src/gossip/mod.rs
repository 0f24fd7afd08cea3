//! Gossip: signed messages from an agent to everybody who subscribed to a topic.
//!
//! Messages travel in [batches](batch), each under one signature of its author, over the
//! [overlay](crate::overlay). This module signs, verifies and orders them; the overlay decides which
//! peers a batch goes to. `docs/src/protocol/gossip.md` specifies the bytes and the rules.
//!
//! [`State`] composes three parts, each with state of its own:
//!
//! - `publisher`: messages collect for a moment and are signed together, in the streams of this
//!   node's agent.
//! - `receiver`: batches are verified, handed back to the overlay to be forwarded, and delivered in
//!   the order of their author's stream. It holds the keys of authors, the batches that wait, and
//!   how far each author was delivered.
//! - `network`: the overlay and the sessions. Both halves send through it.
//!
//! Beside them, [`Evidence`] proves to anybody that an author equivocated, and [`Proof`] that an
//! author published a message. The limits are in `limits`.
//!
//! This module is not a store: what waits is in memory, and the overlay keeps the history.
//!
//! # How it is driven
//!
//! Inputs through [`State::handle`], then [`State::flush`] once after one or more inputs: it signs
//! what was published. [`Input::Timeout`] at [`State::deadline`], then [`State::flush`]. The owner
//! carries whole frames over *sessions*, of which a peer has at most one. Frames of a session arrive
//! in order and without gaps.
//!
//! # Invariants
//!
//! - No batch is delivered or forwarded before the signature of its author was checked.
//! - The messages of one author's stream are delivered in order and at most once, even if the topic
//!   is left and subscribed to again. A gap is reported ([`Event::Lagged`]) before the messages
//!   behind it.
//! - An author that equivocates in a topic is reported once and no longer accepted there.
//! - The batches of a blocked author are forwarded and not delivered: the block of one user cuts off
//!   nobody else.
//! - Nothing grows beyond its limit, whatever a peer sends.
//!
//! # References
//!
//! RFC 6962 (Merkle trees); "Batch Signatures, Revisited" (eprint 2023/492).

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
mod limits;
mod network;
mod proof;
mod publisher;
mod receiver;
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
pub use crate::support::NoTable as Table;
use crate::support::Vocabulary;

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
    type Table = Table;
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
