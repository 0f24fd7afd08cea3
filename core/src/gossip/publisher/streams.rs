//! The streams of this node's own agent, at most one at a time in each topic.
//!
//! # Numbers
//!
//! The number of a stream is the time at which it begins, in milliseconds, with
//! [`STREAM_RANDOM_BITS`] random bits below it. It is greater than that of every stream of this
//! agent that the node knows, in any topic and of any run. If the node receives a batch of its own
//! agent with a greater number, from a run before a restart or from another machine, peers that
//! have that batch ignore the current stream. The next batch then begins a stream above it.
//!
//! # The wall clock
//!
//! A batch repeats the time that was signed in its predecessor, whatever the wall clock shows now.
//! So this node never signs two roots that exclude each other. When the clock is set, the stream
//! continues unless
//!
//! - its last batch is dated more than [`SET_BACK_MAX`] after the new time, or
//! - the clock was so slow that peers rejected the last batch as older than [`AGE_MAX`].
//!
//! Otherwise the next batch begins a new stream, dated by the new clock, and peers accept it at
//! once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::crypto::hash::HASH_LEN;
use crate::gossip::Context;
use crate::gossip::batch::{Root, VerifiedBatch};
use crate::gossip::limits::{AGE_MAX, SET_BACK_MAX};
use crate::gossip::time::millis;
use crate::identity::AgentId;
use crate::overlay::TopicId;

/// The random bits below the time in the number of a stream. Two runs that begin at the same time
/// by their clocks must not share a number.
const STREAM_RANDOM_BITS: u32 = 20;

/// The streams of this node's agent.
#[derive(Debug, Default)]
pub(in crate::gossip) struct OwnStreams {
    /// The topics in which this run published.
    topics: BTreeMap<TopicId, TopicStreams>,
    /// The greatest number of a stream of this agent that the node knows, in any topic.
    latest: u64,
}

/// The streams in one topic.
#[derive(Debug, Default)]
struct TopicStreams {
    /// The stream that the next batch continues.
    current: Option<Stream>,
    /// The greatest number of this run's streams; zero before the first.
    highest: u64,
}

/// A stream, described by what its next batch says of its predecessor.
#[derive(Clone, Copy, Debug)]
struct Stream {
    number: u64,
    sequence: u64,
    first: u64,
    previous_time: u64,
    previous: [u8; HASH_LEN],
    /// When the last batch was signed.
    signed_at: Instant,
}

impl OwnStreams {
    /// Returns whether this run continues the stream.
    pub(in crate::gossip) fn is_current(&self, topic: &TopicId, stream: u64) -> bool {
        let current = self.topics.get(topic).and_then(|streams| streams.current);
        current.is_some_and(|current| current.number == stream)
    }

    /// Returns whether a stream is no newer than the newest of this run.
    pub(in crate::gossip) fn is_superseded(&self, topic: &TopicId, stream: u64) -> bool {
        stream <= self.topics.get(topic).map_or(0, |streams| streams.highest)
    }

    /// Notes that this agent published a stream, perhaps in another run. A current stream with a
    /// smaller number ends, because peers that have the other one ignore it.
    pub(in crate::gossip) fn observe(&mut self, topic: &TopicId, stream: u64) {
        self.latest = self.latest.max(stream);
        if let Some(streams) = self.topics.get_mut(topic) {
            streams.current = streams.current.filter(|current| current.number >= stream);
        }
    }

    /// Ends the streams that peers would reject, or have rejected, by the new wall time.
    pub(super) fn clock_was_set(&mut self, now: Instant, unix_millis: u64) {
        for streams in self.topics.values_mut() {
            streams.current = streams.current.filter(|stream| {
                let passed = now.saturating_duration_since(stream.signed_at);
                let was_shown = Duration::from_millis(stream.previous_time).saturating_add(passed);
                let latest = unix_millis.saturating_add(millis(SET_BACK_MAX));
                let is_later = stream.previous_time > latest;
                let was_slow = unix_millis > millis(was_shown.saturating_add(AGE_MAX));
                !is_later && !was_slow
            });
        }
    }

    /// Returns whether the next batch of a topic continues a stream.
    pub(super) fn has_current(&self, topic: &TopicId) -> bool {
        self.topics.get(topic).is_some_and(|streams| streams.current.is_some())
    }

    /// Returns the root of the next batch of a topic, in which the fields that [`Draft::sign`] sets
    /// are empty. Begins a stream if none continues.
    ///
    /// [`Draft::sign`]: crate::gossip::batch::Draft::sign
    pub(super) fn next_root<P>(&mut self, context: &mut Context<'_, P>, topic: TopicId) -> Root {
        let now = millis(context.unix_time);
        let streams = self.topics.entry(topic).or_default();
        let stream = streams.current.get_or_insert_with(|| {
            self.latest = next_number(now, self.latest, context.rng.next_u64());
            Stream {
                number: self.latest,
                sequence: 0,
                first: 0,
                previous_time: 0,
                previous: [0; HASH_LEN],
                signed_at: context.now,
            }
        });
        streams.highest = stream.number;
        Root {
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
        }
    }

    /// Moves the stream of a topic behind a batch that was signed.
    pub(super) fn advance(&mut self, batch: &VerifiedBatch, signed_at: Instant) {
        let root = batch.root();
        let streams = self.topics.entry(root.topic).or_default();
        streams.current = Some(Stream {
            number: root.stream,
            sequence: root.sequence + 1,
            first: root.end(),
            previous_time: root.time,
            previous: *batch.hash(),
            signed_at,
        });
    }

    /// Forgets the stream of a topic that the node left. The next one has a greater number.
    pub(super) fn leave(&mut self, topic: &TopicId) {
        self.topics.remove(topic);
    }
}

/// Returns the number of a stream that begins at `now`, greater than `last`.
fn next_number(now: u64, last: u64, random: u64) -> u64 {
    let after_last = (last >> STREAM_RANDOM_BITS).saturating_add(1);
    let latest = u64::MAX >> STREAM_RANDOM_BITS;
    let time = now.max(after_last).min(latest);
    time << STREAM_RANDOM_BITS | random >> (u64::BITS - STREAM_RANDOM_BITS)
}
