//! How far authors were heard in topics that were left, so that who comes back hears nothing twice.
//!
//! Batches of before may still be on their way when a topic is subscribed to again. Their time alone
//! does not tell them from those of an author whose clock is slow.

use std::time::{Duration, Instant};

use super::incoming::AGE_MAX;
use crate::identity::{AgentId, CLOCK_SKEW_MAX};
use crate::overlay::TopicId;
use crate::support::BoundedMap;

/// The most authors, counted once for each topic, of which this is known. Who was noted first is
/// forgotten first.
pub const PAST_AUTHORS_MAX: usize = 8192;

/// After this time nobody takes any of the batches.
const PAST_TIME: Duration = AGE_MAX.saturating_add(CLOCK_SKEW_MAX);

/// How far an author was heard.
#[derive(Clone, Copy, Debug)]
struct Place {
    stream: u64,
    /// The first sequence that was not delivered.
    next: u64,
    left_at: Instant,
}

/// How far authors were heard in topics that were left.
#[derive(Debug)]
pub(super) struct Past {
    places: BoundedMap<(TopicId, AgentId), Place>,
}

impl Past {
    pub(super) fn new() -> Self {
        Self { places: BoundedMap::new(PAST_AUTHORS_MAX) }
    }

    /// Notes that a stream was delivered up to before the sequence `next`, when its topic is left.
    pub(super) fn note(
        &mut self,
        now: Instant,
        subject: (TopicId, AgentId),
        stream: u64,
        next: u64,
    ) {
        self.places.insert(subject, Place { stream, next, left_at: now });
    }

    /// Returns the first sequence of a stream that may be delivered; none of a stream that a newer
    /// one ended.
    pub(super) fn next(&self, now: Instant, subject: (TopicId, AgentId), stream: u64) -> u64 {
        match self.places.peek(&subject) {
            Some(place) if now.saturating_duration_since(place.left_at) > PAST_TIME => 0,
            Some(place) if stream == place.stream => place.next,
            Some(place) if stream < place.stream => u64::MAX,
            _ => 0,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}
