//! The limits of gossip, and what each held object counts against the share of memory for ordering.
//!
//! The sizes of encoded records follow from their fields and stand beside them: `BATCH_SIZE_MAX`,
//! `EVIDENCE_SIZE_MAX`, `PROOF_SIZE_MAX` and `FRAME_SIZE_MAX`.

use std::time::Duration;

use crate::identity::CLOCK_SKEW_MAX;

/// The largest payload of a message, in bytes.
pub const PAYLOAD_MAX: usize = 1 << 20;

/// The longest name of a topic, in bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// The most topics that a node is in, including those that it only publishes to.
pub const TOPICS_MAX: usize = 1024;

/// The most agents that are blocked.
pub const BLOCKED_MAX: usize = 65_536;

// Batches and proofs.

/// The most messages of a batch.
pub const BATCH_MESSAGES_MAX: u16 = 64;

/// The most bytes of payload of a batch that has several messages.
pub const BATCH_BYTES_MAX: usize = 64 << 10;

/// The most nodes of the Merkle path in a proof: the height of a tree of [`BATCH_MESSAGES_MAX`]
/// leaves.
pub const PROOF_NODES_MAX: usize = BATCH_MESSAGES_MAX.ilog2() as usize;

// Publishing.

/// How long messages of a busy author collect before they are signed, unless the topic has another
/// window.
pub const WINDOW: Duration = Duration::from_millis(2);

/// The longest window of a topic.
pub const WINDOW_MAX: Duration = Duration::from_secs(1);

/// The bytes that may be queued for a neighbour of a topic before new batches are held back.
pub const BACKLOG_MARK: usize = 256 << 10;

/// The longest time for which one slow neighbour holds back new batches.
pub const STALL_TIME: Duration = Duration::from_millis(500);

/// The most messages that wait to be signed, in all topics.
pub const PENDING_MESSAGES_MAX: usize = 16_384;

/// The most bytes of payload that wait to be signed, in all topics.
pub const PENDING_BYTES_MAX: usize = 8 << 20;

/// While fewer messages than this wait, [`Output::Published`](super::Output::Published) is emitted
/// at once.
pub const PENDING_MESSAGES_LOW: usize = PENDING_MESSAGES_MAX / 4;

/// While fewer bytes than this wait, [`Output::Published`](super::Output::Published) is emitted at
/// once.
pub const PENDING_BYTES_LOW: usize = PENDING_BYTES_MAX / 4;

/// How long after its last message a node stays in a topic that it only publishes to.
pub const PUBLISHER_TIME: Duration = Duration::from_secs(300);

/// A stream survives a wall clock that is set back by no more than this. The times of its batches
/// stand still until the clock has caught up.
pub const SET_BACK_MAX: Duration = Duration::from_secs(1);

// Receiving.

/// Batches older than this are not accepted.
pub const AGE_MAX: Duration = Duration::from_secs(15 * 60);

/// After this time without a batch of an author, no node accepts any batch that it made before.
pub const SILENCE_MAX: Duration = AGE_MAX.saturating_add(CLOCK_SKEW_MAX);

/// How many authors that are unknown in a topic a peer may introduce at once. After that, one more
/// every [`STRANGER_INTERVAL`].
pub const STRANGERS_BURST: u32 = 1024;

/// See [`STRANGERS_BURST`].
pub const STRANGER_INTERVAL: Duration = Duration::from_millis(16);

/// The most authors, counted once for each topic, that are remembered as equivocators.
pub const EQUIVOCATORS_MAX: usize = 4096;

/// How much evidence of one peer is checked at once. After that, one more every
/// [`EVIDENCE_INTERVAL`].
pub const EVIDENCE_BURST: u32 = 16;

/// See [`EVIDENCE_BURST`].
pub const EVIDENCE_INTERVAL: Duration = Duration::from_secs(1);

// Keys of authors.

/// The most proven keys of authors that are kept.
pub const AUTHOR_KEYS_MAX: usize = 4096;

/// The most unproven keys that are kept for each peer.
pub const UNPROVEN_KEYS_MAX: usize = 8;

/// The most authors whose keys a session knows its peer to have.
pub const KEYS_SENT_MAX: usize = 4096;

/// How many key requests of one peer are answered at once. After that, one more every
/// [`ANSWER_INTERVAL`].
pub const ANSWERS_BURST: u32 = 64;

/// See [`ANSWERS_BURST`].
pub const ANSWER_INTERVAL: Duration = Duration::from_millis(10);

/// The most batches of one peer that wait for a key.
pub const PARKED_PEER_BATCHES_MAX: usize = 64;

/// The most bytes of batches of one peer that wait for a key.
pub const PARKED_PEER_BYTES_MAX: usize = 2 << 20;

/// The most bytes of batches that wait for a key.
pub const PARKED_BYTES_MAX: usize = 16 << 20;

/// How long a batch waits for the key of its author.
pub const PARKED_TIME: Duration = Duration::from_secs(2);

// Ordering.

/// The most authors that are known in a topic.
pub const AUTHORS_MAX: usize = 4096;

/// How many of the latest batches of each author are remembered to detect equivocation.
pub const ROOTS_MAX: usize = 64;

/// The most batches of one author that wait for earlier ones.
pub const WAITING_BATCHES_MAX: usize = 512;

/// The most bytes of batches of one author that wait for earlier ones.
pub const WAITING_BYTES_MAX: usize = 4 << 20;

/// The most bytes of batches of all authors of a topic that wait for earlier ones.
pub const TOPIC_WAITING_BYTES_MAX: usize = 16 << 20;

/// When missing batches are requested again.
pub const PULL_AGAIN: Duration = Duration::from_secs(1);

/// When missing batches are given up.
pub const GAP_TIME: Duration = Duration::from_secs(5);

/// The most delivery watermarks of authors that are no longer known, counted once for each topic.
pub const PAST_AUTHORS_MAX: usize = 8192;

/// How often silent authors are evicted.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

// Memory accounting: bytes that an object counts beside its payload.

/// An author of a topic, without its batches.
pub(super) const AUTHOR_COST: usize = 512;

/// A remembered batch, or one that waits for earlier ones.
pub(super) const SEEN_BATCH_COST: usize = 192;

/// A batch that waits for a key.
pub(super) const PARKED_COST: usize = 512;

/// An author whose key a session knows its peer to have.
pub(super) const KNOWN_KEY_COST: usize = 160;
