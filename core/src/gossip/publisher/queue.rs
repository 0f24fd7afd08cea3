//! The messages of one topic that wait to be signed, and when the next batch is due.
//!
//! The first message of an idle author is due at once. After that, messages collect until the
//! topic's window since the last batch has passed, or a batch is full. So a slow author never waits,
//! and a fast one signs rarely.
//!
//! While a neighbour of the topic is behind by more than [`BACKLOG_MARK`], no batch is due, for at
//! most [`STALL_TIME`]. By then the overlay has stopped pushing to a neighbour that does not keep
//! up, and one slow peer slows nobody down.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::gossip::limits::{
    BACKLOG_MARK, BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, STALL_TIME, WINDOW, WINDOW_MAX,
};

/// The unsigned messages of a topic. The limits `PENDING_…` hold for all topics together.
#[derive(Debug)]
pub(in crate::gossip) struct TopicQueue {
    /// The messages, in order.
    pending: VecDeque<Bytes>,
    /// How many bytes of payload they have.
    pending_bytes: usize,
    /// How long messages collect.
    window: Duration,
    /// When the last batch was signed.
    signed_at: Option<Instant>,
    /// When a neighbour began to be too far behind.
    stalled_at: Option<Instant>,
    /// When the last message was published.
    published_at: Option<Instant>,
}

impl TopicQueue {
    /// Makes an empty queue with the default window.
    pub(in crate::gossip) fn new() -> Self {
        Self {
            pending: VecDeque::new(),
            pending_bytes: 0,
            window: WINDOW,
            signed_at: None,
            stalled_at: None,
            published_at: None,
        }
    }

    /// Chooses how long messages collect, at most [`WINDOW_MAX`].
    pub(super) fn set_window(&mut self, window: Duration) {
        self.window = window.min(WINDOW_MAX);
    }

    /// Adds a message.
    pub(super) fn push(&mut self, now: Instant, payload: Bytes) {
        self.published_at = Some(now);
        self.pending_bytes += payload.len();
        self.pending.push_back(payload);
    }

    /// Takes the messages of the next batch, which is signed at `now`.
    pub(super) fn pop_batch(&mut self, now: Instant) -> Vec<Bytes> {
        let (mut count, mut bytes) = (0, 0);
        for payload in self.pending.iter().take(BATCH_MESSAGES_MAX.into()) {
            if count > 0 && bytes + payload.len() > BATCH_BYTES_MAX {
                break;
            }
            count += 1;
            bytes += payload.len();
        }
        self.pending_bytes -= bytes;
        self.signed_at = Some(now);
        self.pending.drain(..count).collect()
    }

    /// Returns when the next batch is due, or `None` if it is due now. `backlog` is how many bytes
    /// are queued for the slowest neighbour.
    pub(in crate::gossip) fn held_until(
        &mut self,
        now: Instant,
        backlog: usize,
    ) -> Option<Instant> {
        if backlog <= BACKLOG_MARK {
            self.stalled_at = None;
        } else {
            let until = *self.stalled_at.get_or_insert(now) + STALL_TIME;
            if now < until {
                return Some(until);
            }
        }
        let is_full = self.pending.len() >= usize::from(BATCH_MESSAGES_MAX)
            || self.pending_bytes >= BATCH_BYTES_MAX;
        let until = self.signed_at? + self.window;
        (!is_full && now < until).then_some(until)
    }

    /// Returns whether no message waits.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns whether a neighbour was too far behind at the last [`Self::held_until`].
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled_at.is_some()
    }

    /// Returns when the last message was published.
    pub(super) fn published_at(&self) -> Option<Instant> {
        self.published_at
    }
}
