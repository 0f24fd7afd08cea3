//! Delivery watermarks of authors that are no longer known in a topic, so that no message is
//! delivered twice and none that was delivered is reported as missed.
//!
//! An author leaves a watermark when its topic is left, when it was silent for [`SILENCE_MAX`], and
//! when it is evicted for others. Batches from before may still be on their way when the topic is
//! subscribed to again, and their times do not distinguish them from new ones of an author whose
//! clock is slow.
//!
//! At most [`PAST_AUTHORS_MAX`] watermarks are kept. Those of authors of whom one batch arrived are
//! evicted first, so a crowd of them evicts one another. Whatever was made before the evicted
//! watermark counts as delivered, for every author without a watermark.

use std::time::Instant;

use super::reorder::{ResumePoint, StreamPosition};
use crate::gossip::limits::{PAST_AUTHORS_MAX, SILENCE_MAX};
use crate::identity::AgentId;
use crate::overlay::TopicId;
use crate::support::TieredMap;

/// How far one author was delivered.
#[derive(Clone, Copy, Debug)]
pub(in crate::gossip) struct Watermark {
    /// The latest stream.
    pub(in crate::gossip) stream: u64,
    /// The first batch that was neither delivered nor reported as missed.
    pub(in crate::gossip) position: StreamPosition,
    /// The latest time of a batch, in milliseconds since the Unix epoch.
    pub(in crate::gossip) time: u64,
    /// When the last batch arrived.
    pub(in crate::gossip) heard_at: Instant,
}

impl Watermark {
    /// Returns whether no node accepts any batch that the watermark covers, because they are too
    /// old.
    fn is_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) > SILENCE_MAX
    }
}

/// The watermarks of authors in topics.
#[derive(Debug)]
pub(in crate::gossip) struct DeliveryWatermarks {
    /// By topic and author, with the time at which they were noted.
    watermarks: TieredMap<(TopicId, AgentId), (Instant, Watermark)>,
    /// Batches made at this time or earlier may have been delivered, of an author without a
    /// watermark.
    heard_until: u64,
}

impl DeliveryWatermarks {
    /// Makes an empty set.
    pub(in crate::gossip) fn new() -> Self {
        Self { watermarks: TieredMap::new(PAST_AUTHORS_MAX), heard_until: 0 }
    }

    /// Notes how far an author was delivered. `is_frequent` says that several of its batches
    /// arrived.
    pub(in crate::gossip) fn note(
        &mut self,
        (now, unix_millis): (Instant, u64),
        subject: (TopicId, AgentId),
        watermark: Watermark,
        is_frequent: bool,
    ) {
        let evicted = self.watermarks.insert(subject, (now, watermark));
        if is_frequent {
            self.watermarks.touch(&subject);
        }
        if let Some((_, (_, evicted))) = evicted
            && !evicted.is_expired(now)
        {
            // An author that dates its batches in the future hides nothing of others.
            self.heard_until = self.heard_until.max(evicted.time.min(unix_millis));
        }
    }

    /// Handles that the wall clock was set: batches made from now on were not delivered.
    pub(in crate::gossip) fn clock_was_set(&mut self, unix_millis: u64) {
        self.heard_until = self.heard_until.min(unix_millis);
    }

    /// Returns whether an author has a watermark.
    pub(in crate::gossip) fn contains(&self, subject: &(TopicId, AgentId)) -> bool {
        self.watermarks.get(subject).is_some()
    }

    /// Returns where the delivery of a stream resumes, for a subscription that began at some time.
    pub(in crate::gossip) fn resume_point(
        &self,
        now: Instant,
        subject: (TopicId, AgentId),
        stream: u64,
        subscribed_at: Instant,
    ) -> ResumePoint {
        let Some(&(noted_at, watermark)) = self.watermarks.get(&subject) else {
            return ResumePoint::Time(self.heard_until);
        };
        let is_same_subscription = noted_at > subscribed_at;
        if stream == watermark.stream {
            match is_same_subscription {
                true => ResumePoint::Position(watermark.position),
                false => ResumePoint::Sequence(watermark.position.sequence),
            }
        } else if stream < watermark.stream && !watermark.is_expired(now) {
            ResumePoint::Sequence(u64::MAX)
        } else if stream > watermark.stream && is_same_subscription {
            ResumePoint::Position(StreamPosition::START)
        } else {
            ResumePoint::Sequence(0)
        }
    }

    /// Returns how many watermarks there are.
    #[cfg(test)]
    pub(in crate::gossip) fn len(&self) -> usize {
        self.watermarks.len()
    }
}
