//! How far authors were heard that are no longer known in a topic, so that nothing is delivered twice
//! and nothing is said to be missing that was heard.
//!
//! That is so for those of a topic that was left: batches of before may still be on their way when it
//! is subscribed to again, and their time alone does not tell them from those of an author whose
//! clock is slow. And it is so for those that were silent for long, or had to make room for others.
//!
//! Of authors that had to be forgotten here, too, what was made until then counts as heard. A crowd of
//! authors that say one thing each pushes out one another first.

use std::time::Instant;

use super::limits::{PAST_AUTHORS_MAX, SILENCE_MAX};
use super::order::{self, Place};
use crate::identity::AgentId;
use crate::overlay::TopicId;
use crate::support::TieredMap;

/// How far an author was heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) stream: u64,
    /// The first batch that was neither delivered nor told as missed.
    pub(super) place: Place,
    /// The latest time of a batch, in milliseconds since the Unix epoch.
    pub(super) time: u64,
    /// When the last batch came.
    pub(super) heard_at: Instant,
}

/// How far authors were heard.
#[derive(Debug)]
pub(super) struct Past {
    /// By topic and author, with when it was noted.
    marks: TieredMap<(TopicId, AgentId), (Instant, Mark)>,
    /// What was made at this time or before may have been heard of an author that has no mark.
    heard_until: u64,
}

impl Past {
    pub(super) fn new() -> Self {
        Self { marks: TieredMap::new(PAST_AUTHORS_MAX), heard_until: 0 }
    }

    /// Notes how far an author was heard. `is_frequent` are those that said more than one thing.
    pub(super) fn note(
        &mut self,
        (now, unix_millis): (Instant, u64),
        subject: (TopicId, AgentId),
        mark: Mark,
        is_frequent: bool,
    ) {
        let forgotten = self.marks.insert(subject, (now, mark));
        if is_frequent {
            self.marks.touch(&subject);
        }
        if let Some((_, (_, mark))) = forgotten
            && !is_over(now, &mark)
        {
            // What an author dates ahead of time hides nothing of others.
            self.heard_until = self.heard_until.max(mark.time.min(unix_millis));
        }
    }

    /// The wall clock was set: what is made from now on was not heard.
    pub(super) fn clock_was_set(&mut self, unix_millis: u64) {
        self.heard_until = self.heard_until.min(unix_millis);
    }

    /// Tells whether it is known how far an author was heard.
    pub(super) fn contains(&self, subject: &(TopicId, AgentId)) -> bool {
        self.marks.get(subject).is_some()
    }

    /// Returns what was heard of a stream, for a subscription that began at some time.
    pub(super) fn of(
        &self,
        now: Instant,
        subject: (TopicId, AgentId),
        stream: u64,
        subscribed_at: Instant,
    ) -> order::Past {
        let Some(&(noted_at, mark)) = self.marks.get(&subject) else {
            return order::Past::Time(self.heard_until);
        };
        let is_same_subscription = noted_at > subscribed_at;
        if stream == mark.stream {
            match is_same_subscription {
                true => order::Past::Place(mark.place),
                false => order::Past::Sequence(mark.place.sequence),
            }
        } else if stream < mark.stream && !is_over(now, &mark) {
            order::Past::Sequence(u64::MAX)
        } else if stream > mark.stream && is_same_subscription {
            order::Past::Place(Place::START)
        } else {
            order::Past::Sequence(0)
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }
}

/// Tells whether nobody takes any batch of an author that was heard so long ago.
fn is_over(now: Instant, mark: &Mark) -> bool {
    now.saturating_duration_since(mark.heard_at) > SILENCE_MAX
}
