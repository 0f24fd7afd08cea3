//! One topic that the node is in: its subscription, and the authors that publish to it.

use std::time::{Duration, Instant};

use super::author::Author;
use super::reorder::{ReorderBuffer, SubscriptionTime};
use crate::gossip::delivery::{deliver, lag};
use crate::gossip::limits::{AUTHORS_MAX, TOPIC_WAITING_BYTES_MAX};
use crate::gossip::time::millis;
use crate::gossip::{Context, Topic};
use crate::identity::AgentId;
use crate::support::TieredMap;

/// A topic that the node is in.
#[derive(Debug)]
pub(in crate::gossip) struct TopicState<P> {
    name: Topic,
    /// The subscription; `None` if the node is in the topic only to publish.
    pub(super) subscription: Option<Subscription>,
    /// The authors, at most [`AUTHORS_MAX`]. Those of whom one batch arrived are evicted first.
    pub(super) authors: TieredMap<AgentId, Author<P>>,
    /// How many bytes of batches wait for delivery.
    waiting_bytes: usize,
}

/// The beginning of a subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
    pub(super) since: Instant,
    /// What the wall clock showed then.
    pub(super) since_unix: Duration,
}

impl Subscription {
    /// Returns when the subscription began, as seen now. The longer of both clocks' durations
    /// counts, because the monotonic clock may stand still while the host sleeps.
    pub(super) fn time(&self, now: Instant, unix_time: Duration) -> SubscriptionTime {
        let elapsed = now.saturating_duration_since(self.since);
        let elapsed = elapsed.max(unix_time.saturating_sub(self.since_unix));
        let ago = millis(elapsed + Duration::from_nanos(999_999));
        SubscriptionTime { at: millis(unix_time).saturating_sub(ago), ago }
    }
}

impl<P: Copy> TopicState<P> {
    /// Makes a topic without a subscription.
    pub(super) fn new(name: Topic) -> Self {
        let authors = TieredMap::new(AUTHORS_MAX);
        Self { name, subscription: None, authors, waiting_bytes: 0 }
    }

    /// Returns the name of the topic.
    pub(in crate::gossip) fn name(&self) -> &Topic {
        &self.name
    }

    /// Returns whether messages of the topic are delivered.
    pub(in crate::gossip) fn is_subscribed(&self) -> bool {
        self.subscription.is_some()
    }

    /// Returns how many bytes of batches wait for delivery.
    pub(in crate::gossip) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Ends the subscription. The batches that wait are dropped by the owner.
    pub(super) fn unsubscribe(&mut self) {
        (self.subscription, self.waiting_bytes) = (None, 0);
    }

    /// Notes that the bytes waiting of one author changed.
    pub(super) fn replace_waiting(&mut self, before: usize, after: usize) {
        self.waiting_bytes = self.waiting_bytes - before + after;
    }

    /// Delivers what is next of an author. Gaps are skipped while the topic or the author has too
    /// much waiting; nothing waits of a blocked author. Returns the first sequence that is missing
    /// after that, if a batch waits for it.
    pub(super) fn deliver_ready(
        &mut self,
        context: &mut Context<'_, P>,
        author: AgentId,
        is_blocked: bool,
    ) -> Option<u64> {
        let buffer = self.authors.get_mut(&author)?.buffer_mut()?;
        loop {
            while let Some(batch) = buffer.pop_next() {
                self.waiting_bytes -= batch.size();
                deliver(context, &self.name, is_blocked, &batch);
            }
            let may_wait =
                !is_blocked && !buffer.is_full() && self.waiting_bytes <= TOPIC_WAITING_BYTES_MAX;
            if may_wait {
                break;
            }
            let Some(missed) = buffer.skip_gap() else { break };
            lag(context, &self.name, author, if is_blocked { 0 } else { missed });
        }
        buffer.missing()
    }

    /// Gives up the first gap of an author.
    pub(super) fn skip_gap(
        &mut self,
        context: &mut Context<'_, P>,
        author: AgentId,
        is_blocked: bool,
    ) {
        let buffer = self.authors.get_mut(&author).and_then(Author::buffer_mut);
        if let Some(missed) = buffer.and_then(ReorderBuffer::skip_gap) {
            lag(context, &self.name, author, if is_blocked { 0 } else { missed });
        }
    }

    /// Ends the stream of an author, which is no longer in the table: what waits is delivered, and
    /// gaps are reported.
    pub(super) fn finish(
        &mut self,
        context: &mut Context<'_, P>,
        author: AgentId,
        known: &mut Author<P>,
        is_blocked: bool,
    ) {
        let Some(buffer) = known.buffer_mut() else { return };
        loop {
            while let Some(batch) = buffer.pop_next() {
                self.waiting_bytes -= batch.size();
                deliver(context, &self.name, is_blocked, &batch);
            }
            let Some(missed) = buffer.skip_gap() else { return };
            lag(context, &self.name, author, if is_blocked { 0 } else { missed });
        }
    }
}
