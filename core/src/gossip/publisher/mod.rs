//! The publisher's half: messages collect for a moment, and one signature covers those that came
//! together.
//!
//! [`TopicQueue`] decides when the batch of a topic is due, [`OwnStreams`] which place it takes
//! among the batches of this agent. A batch that was signed is handed to the owner, which delivers
//! it here and gives it to the overlay.
//!
//! # How it is driven
//!
//! [`Publisher::publish`] after [`Publisher::check`]. At each flush, and for each topic of
//! [`Publisher::next_unsigned`]: [`Publisher::sign_batch`] while [`Publisher::is_due`], then
//! [`Publisher::acknowledge`]. A timer only makes the owner flush again.
//!
//! # Invariants
//!
//! - Messages of a topic are signed in the order in which they were published.
//! - Each message is acknowledged once, no later than when it is signed.
//!
//! # Limits
//!
//! [`PENDING_MESSAGES_MAX`] and [`PENDING_BYTES_MAX`], for all topics together.

mod queue;
mod streams;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(super) use queue::TopicQueue;
pub(super) use streams::OwnStreams;

use super::batch::{Draft, VerifiedBatch};
use super::limits::{
    PAYLOAD_MAX, PENDING_BYTES_LOW, PENDING_BYTES_MAX, PENDING_MESSAGES_LOW, PENDING_MESSAGES_MAX,
};
use super::network::Network;
use super::time::millis;
use super::{Context, Counter, Output, PublishId, RequestError};
use crate::identity::AgentKey;
use crate::overlay::TopicId;
use crate::session::Peer;
use crate::support::{Deadline, TimerName, Timers};

/// The batch of a topic becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SignTimer(TopicId);

impl TimerName for SignTimer {
    fn name(&self) -> &'static str {
        "sign"
    }
}

/// What this node publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    /// What this node signs with.
    key: AgentKey,
    /// The topics in which something was published, or whose window was set.
    queues: BTreeMap<TopicId, TopicQueue>,
    /// The topics in which messages wait to be signed.
    unsigned: BTreeSet<TopicId>,
    /// What waits in all topics.
    pending: Pending,
    streams: OwnStreams,
    timers: Timers<SignTimer>,
}

/// The messages that wait in all topics.
#[derive(Debug, Default)]
struct Pending {
    /// How many messages wait.
    messages: usize,
    /// How many bytes of payload they have.
    bytes: usize,
    /// The messages whose [`Output::Published`] is due, the oldest first. They are no more than
    /// the messages that wait.
    unacknowledged: VecDeque<PublishId>,
}

impl Publisher {
    /// Makes the half of a node that published nothing.
    pub(super) fn new(key: AgentKey) -> Self {
        Self {
            key,
            queues: BTreeMap::new(),
            unsigned: BTreeSet::new(),
            pending: Pending::default(),
            streams: OwnStreams::default(),
            timers: Timers::default(),
        }
    }

    /// Returns the streams of this node's agent, to compare received batches with them.
    pub(super) fn streams_mut(&mut self) -> &mut OwnStreams {
        &mut self.streams
    }

    /// Checks whether a message can be published, regardless of its topic.
    pub(super) fn check(&self, size: usize) -> Result<(), RequestError> {
        if size > PAYLOAD_MAX {
            return Err(RequestError::TooLarge { size, size_max: PAYLOAD_MAX });
        }
        let is_full = self.pending.messages >= PENDING_MESSAGES_MAX
            || self.pending.bytes + size > PENDING_BYTES_MAX;
        if is_full { Err(RequestError::QueueFull) } else { Ok(()) }
    }

    /// Adds a message, for which [`Self::check`] returned no error.
    pub(super) fn publish<P>(
        &mut self,
        context: &mut Context<'_, P>,
        id: PublishId,
        topic: TopicId,
        payload: Bytes,
    ) {
        self.pending.messages += 1;
        self.pending.bytes += payload.len();
        self.pending.unacknowledged.push_back(id);
        self.queue(topic).push(context.now, payload);
        self.unsigned.insert(topic);
        self.acknowledge(context);
    }

    /// Returns the first topic after `last` in which messages wait to be signed.
    pub(super) fn next_unsigned(&self, last: Option<TopicId>) -> Option<TopicId> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.unsigned.range((start, Bound::Unbounded)).next().copied()
    }

    /// Returns whether the next batch of a topic is due. If messages wait that are not due, sets
    /// the timer. If `is_last`, everything is due.
    pub(super) fn is_due<P: Peer>(
        &mut self,
        context: &mut Context<'_, P>,
        network: &Network<P>,
        topic: TopicId,
        is_last: bool,
    ) -> bool {
        let Some(queue) = self.queues.get_mut(&topic).filter(|queue| !queue.is_empty()) else {
            self.unsigned.remove(&topic);
            self.timers.cancel(&SignTimer(topic));
            return false;
        };
        let was_stalled = queue.is_stalled();
        let until = queue.held_until(context.now, network.backlog(&topic));
        if !was_stalled && queue.is_stalled() {
            context.count(Counter::Stalls);
        }
        let held_until = until.filter(|_| !is_last);
        if let Some(until) = held_until {
            self.timers.set(SignTimer(topic), until);
        }
        held_until.is_none()
    }

    /// Returns whether the next batch of a topic continues a stream of this run.
    pub(super) fn has_stream(&self, topic: &TopicId) -> bool {
        self.streams.has_current(topic)
    }

    /// Signs the next batch of a topic. [`Self::is_due`] said that there is one.
    pub(super) fn sign_batch<P>(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
    ) -> VerifiedBatch {
        let root = self.streams.next_root(context, topic);
        let payloads = self.queue(topic).pop_batch(context.now);
        self.pending.messages -= payloads.len();
        self.pending.bytes -= payloads.iter().map(Bytes::len).sum::<usize>();
        let draft = Draft { root, payloads: &payloads, seed: context.rng.bytes() };
        let batch = draft.sign(&self.key, &context.rng.bytes());
        self.streams.advance(&batch, context.now);
        context.count_many(Counter::MessagesPublished, batch.root().count.into());
        batch
    }

    /// Emits [`Output::Published`] for all messages while few enough wait, otherwise for those that
    /// were signed.
    pub(super) fn acknowledge<P>(&mut self, context: &mut Context<'_, P>) {
        let Pending { messages, bytes, unacknowledged } = &mut self.pending;
        let is_low = *messages < PENDING_MESSAGES_LOW && *bytes < PENDING_BYTES_LOW;
        let kept = if is_low { 0 } else { *messages };
        let count = unacknowledged.len().saturating_sub(kept);
        for id in unacknowledged.drain(..count) {
            context.emit(Output::Published { id });
        }
    }

    /// Chooses how long the messages of a topic collect.
    pub(super) fn set_window(&mut self, topic: TopicId, window: Duration) {
        self.queue(topic).set_window(window);
    }

    /// Forgets a topic that the node left.
    pub(super) fn leave(&mut self, topic: &TopicId) {
        self.queues.remove(topic);
        self.streams.leave(topic);
        self.unsigned.remove(topic);
        self.timers.cancel(&SignTimer(*topic));
    }

    /// Handles that the wall clock was set.
    pub(super) fn clock_was_set<P>(&mut self, context: &Context<'_, P>) {
        self.streams.clock_was_set(context.now, millis(context.unix_time));
    }

    /// Returns when the last message of a topic was published.
    pub(super) fn published_at(&self, topic: &TopicId) -> Option<Instant> {
        self.queues.get(topic)?.published_at()
    }

    /// Returns how many messages wait to be signed.
    pub(super) fn pending_len(&self) -> usize {
        self.pending.messages
    }

    /// Returns when the owner flushes next.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.timers.deadline()
    }

    /// Drops the first timer that is due at `at`, if there is one. Returns whether there was: the
    /// flush that follows signs what is due.
    pub(super) fn handle_timeout(&mut self, at: Instant) -> bool {
        self.timers.pop_due(at).is_some()
    }

    fn queue(&mut self, topic: TopicId) -> &mut TopicQueue {
        self.queues.entry(topic).or_insert_with(TopicQueue::new)
    }
}
