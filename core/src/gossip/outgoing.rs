//! Publishing: messages collect for a moment, and one signature covers what came together.
//!
//! The first message of an idle author leaves at the next [`State::settle`]. After that, messages
//! collect until the topic's window since the last batch has passed, or a batch is full. So a slow
//! author waits for nothing, and a fast one signs rarely.
//!
//! While a neighbour of the topic is behind by more than [`BACKLOG_MARK`] no new batch is made, for
//! at most [`STALL_TIME`]: by then the overlay has put back who does not keep up, and one slow peer
//! slows nobody. What waits meanwhile is bounded for the whole node.
//!
//! # Streams and the clock
//!
//! Numbers of streams only grow, and a batch says of the one before it what was signed there,
//! whatever the clock shows. So an author never contradicts itself. When the clock is set, a stream
//! goes on if its last batch is neither later than the clock shows nor so old by the true time that
//! nobody took it; otherwise the next batch begins a new stream, which others hear at once. A run
//! that hears of a greater number of its own agent, from before a restart with a clock that went
//! back, begins a stream above it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::batch::{Draft, Root, VerifiedBatch};
use super::delivery::{Holder, deliver};
use super::limits::{
    AGE_MAX, BACKLOG_MARK, BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, PENDING_BYTES_LOW,
    PENDING_BYTES_MAX, PENDING_MESSAGES_LOW, PENDING_MESSAGES_MAX, SET_BACK_MAX, STALL_TIME,
    WINDOW, WINDOW_MAX,
};
use super::state::{State, Timer, millis};
use super::{Context, Output, PAYLOAD_MAX, PublishId, RequestError, Topic};
use crate::crypto::hash::HASH_LEN;
use crate::gossip::Counter;
use crate::identity::AgentId;
use crate::overlay::TopicId;
use crate::session::Peer;

/// The random bits below the time in the number of a stream: runs that begin at the same time by
/// their clocks must not share a number.
const STREAM_RANDOM_BITS: u32 = 20;

/// What waits in all topics.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// How many messages wait.
    messages: usize,
    /// How many bytes of payload they have.
    bytes: usize,
    /// The messages whose [`Output::Published`] waits.
    unanswered: VecDeque<PublishId>,
}

impl Pending {
    /// Returns how many messages wait.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    fn is_low(&self) -> bool {
        self.messages < PENDING_MESSAGES_LOW && self.bytes < PENDING_BYTES_LOW
    }
}

/// Where the stream of this node in a topic is.
#[derive(Clone, Copy, Debug)]
struct Stream {
    number: u64,
    sequence: u64,
    first: u64,
    previous_time: u64,
    previous: [u8; HASH_LEN],
}

/// What this node publishes to one topic.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Begins with the first message.
    stream: Option<Stream>,
    /// The greatest number of this run's streams; zero before the first.
    highest: u64,
    /// What waits, in order.
    pending: VecDeque<Bytes>,
    /// How many bytes of payload wait.
    pending_bytes: usize,
    /// How long messages collect.
    pub(super) window: Duration,
    /// When the last batch left.
    sealed_at: Option<Instant>,
    /// When a neighbour began to be too far behind.
    stalled_at: Option<Instant>,
    /// When the last message was published.
    pub(super) published_at: Option<Instant>,
}

impl Publisher {
    pub(super) fn new() -> Self {
        Self {
            stream: None,
            highest: 0,
            pending: VecDeque::new(),
            pending_bytes: 0,
            window: WINDOW,
            sealed_at: None,
            stalled_at: None,
            published_at: None,
        }
    }

    /// Tells whether a stream of the author is the one that goes on.
    pub(super) fn is_own(&self, stream: u64) -> bool {
        self.stream.is_some_and(|own| own.number == stream)
    }

    /// Tells whether a stream is no newer than one of this run, which ended it.
    pub(super) fn is_past(&self, stream: u64) -> bool {
        stream <= self.highest
    }

    /// The clock was set to `unix_millis`. Ends the stream if its next batch would be dated later
    /// than the clock shows, or if the clock was so slow that nobody took the last one.
    pub(super) fn clock_was_set(&mut self, now: Instant, unix_millis: u64) {
        let (Some(stream), Some(sealed_at)) = (self.stream, self.sealed_at) else { return };
        let passed = now.saturating_duration_since(sealed_at);
        let was_shown = Duration::from_millis(stream.previous_time).saturating_add(passed);
        let is_later = stream.previous_time > unix_millis.saturating_add(millis(SET_BACK_MAX));
        if is_later || unix_millis > millis(was_shown.saturating_add(AGE_MAX)) {
            self.stream = None;
        }
    }

    /// This agent published a stream, maybe in another run. If it is newer than that of this run,
    /// nobody who heard it hears this run.
    pub(super) fn outdone_by(&mut self, stream: u64) {
        self.stream = self.stream.filter(|own| own.number >= stream);
    }

    /// When the next batch may leave, if not at once.
    pub(super) fn held_until(&mut self, now: Instant, backlog: usize) -> Option<Instant> {
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
        let until = self.sealed_at? + self.window;
        (!is_full && now < until).then_some(until)
    }

    /// Takes the messages of the next batch.
    fn take(&mut self) -> Vec<Bytes> {
        let (mut count, mut bytes) = (0, 0);
        for payload in self.pending.iter().take(BATCH_MESSAGES_MAX.into()) {
            if count > 0 && bytes + payload.len() > BATCH_BYTES_MAX {
                break;
            }
            count += 1;
            bytes += payload.len();
        }
        self.pending_bytes -= bytes;
        self.pending.drain(..count).collect()
    }
}

impl<P: Peer> State<P> {
    /// Tells whether a message can be published.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if it is too large, too much waits, or there are too many topics.
    pub fn check_publish(&self, topic: &Topic, size: usize) -> Result<(), RequestError> {
        if size > PAYLOAD_MAX {
            return Err(RequestError::TooLarge { size, size_max: PAYLOAD_MAX });
        }
        let is_full = self.pending.messages >= PENDING_MESSAGES_MAX
            || self.pending.bytes + size > PENDING_BYTES_MAX;
        if is_full { Err(RequestError::QueueFull) } else { self.check_subscribe(topic) }
    }

    /// Chooses how long the messages of a busy author collect in a topic that the node is in, at
    /// most [`WINDOW_MAX`]. It holds until the node leaves the topic.
    pub fn set_window(&mut self, topic: &Topic, window: Duration) {
        if let Some(room) = self.topics.get_mut(&topic.id()) {
            room.publisher.window = window.min(WINDOW_MAX);
        }
    }

    pub(super) fn handle_publish(
        &mut self,
        context: &mut Context<'_, P>,
        id: PublishId,
        topic: &Topic,
        payload: Bytes,
    ) {
        let checked = self.check_publish(topic, payload.len());
        assert_eq!(checked, Ok(()), "the caller checks before it publishes");
        let topic_id = self.enter(context, topic);
        let Some(room) = self.topics.get_mut(&topic_id) else { return };
        room.publisher.published_at = Some(context.now);
        room.publisher.pending_bytes += payload.len();
        self.pending.messages += 1;
        self.pending.bytes += payload.len();
        room.publisher.pending.push_back(payload);
        self.unsealed.insert(topic_id);
        self.pending.unanswered.push_back(id);
        self.answer(context);
    }

    /// Signs and publishes what has waited long enough; all of it if `is_last`.
    pub(super) fn seal_due(&mut self, context: &mut Context<'_, P>, is_last: bool) {
        let mut unsealed = std::mem::take(&mut self.unsealed);
        unsealed.retain(|topic| self.seal_topic(context, *topic, is_last));
        self.unsealed = unsealed;
        self.answer(context);
    }

    /// Tells whether something is left.
    fn seal_topic(&mut self, context: &mut Context<'_, P>, topic: TopicId, is_last: bool) -> bool {
        while let Some(room) = self.topics.get_mut(&topic) {
            if room.publisher.pending.is_empty() {
                self.timers.cancel(&Timer::Seal(topic));
                return false;
            }
            let (was_stalled, backlog) =
                (room.publisher.stalled_at.is_some(), self.network.backlog(&topic));
            let until = room.publisher.held_until(context.now, backlog);
            if !was_stalled && room.publisher.stalled_at.is_some() {
                context.count(Counter::Stalls);
            }
            if let Some(until) = until.filter(|_| !is_last) {
                self.timers.set(Timer::Seal(topic), until);
                return true;
            }
            self.seal(context, topic);
        }
        false
    }

    fn seal(&mut self, context: &mut Context<'_, P>, topic: TopicId) {
        let own = self.key.id();
        let Some(room) = self.topics.get_mut(&topic) else { return };
        if room.publisher.stream.is_none()
            && let Some(mut earlier) = room.authors.remove(&own)
        {
            // What came of an earlier run is told before what this run says, or never.
            room.finish(context, own, &mut earlier, self.blocked.contains(&own));
            self.timers.cancel(&Timer::Gap(topic, own));
            self.held.set(Holder::Author(topic, own), 0);
        }
        let publisher = &mut room.publisher;
        let now = millis(context.unix_time);
        let stream = publisher.stream.get_or_insert_with(|| {
            self.last_stream = next_stream(now, self.last_stream, context.rng.next_u64());
            Stream {
                number: self.last_stream,
                sequence: 0,
                first: 0,
                previous_time: 0,
                previous: [0; HASH_LEN],
            }
        });
        publisher.highest = stream.number;
        let root = Root {
            author: AgentId([0; 32]),
            topic,
            stream: stream.number,
            sequence: stream.sequence,
            first: stream.first,
            count: 0,
            time: now.max(stream.previous_time),
            previous_time: stream.previous_time,
            previous: stream.previous,
            merkle: [0; HASH_LEN],
        };
        let payloads = publisher.take();
        self.pending.messages -= payloads.len();
        self.pending.bytes -= payloads.iter().map(Bytes::len).sum::<usize>();
        let draft = Draft { root, payloads: &payloads, seed: context.rng.bytes() };
        let batch = draft.seal(&self.key, &context.rng.bytes());
        let stream = publisher.stream.insert(follow(&batch));
        debug_assert_eq!(stream.number, batch.root().stream, "a stream goes on");
        publisher.sealed_at = Some(context.now);
        context.count_many(Counter::MessagesPublished, batch.root().count.into());
        if room.since.is_some() {
            let is_blocked = self.blocked.contains(&batch.root().author);
            deliver(context, &room.topic, is_blocked, &batch);
        }
        let item = batch.item();
        self.network.publish(context, topic, item);
        self.drain(context);
    }

    /// Says that messages are on their way, once little enough waits. No more answers wait than
    /// messages.
    fn answer(&mut self, context: &mut Context<'_, P>) {
        let Pending { messages, unanswered, .. } = &self.pending;
        let over = if self.pending.is_low() { 0 } else { *messages };
        let count = unanswered.len().saturating_sub(over);
        for id in self.pending.unanswered.drain(..count) {
            context.emit(Output::Published { id });
        }
    }
}

/// Returns a number for a stream that begins now, greater than the last.
fn next_stream(now: u64, last: u64, random: u64) -> u64 {
    let after_last = (last >> STREAM_RANDOM_BITS).saturating_add(1);
    let latest = u64::MAX >> STREAM_RANDOM_BITS;
    let time = now.max(after_last).min(latest);
    time << STREAM_RANDOM_BITS | random >> (u64::BITS - STREAM_RANDOM_BITS)
}

/// Where the stream is after a batch.
fn follow(batch: &VerifiedBatch) -> Stream {
    let root = batch.root();
    Stream {
        number: root.stream,
        sequence: root.sequence + 1,
        first: root.end(),
        previous_time: root.time,
        previous: *batch.hash(),
    }
}
