//! What the application hears of a stream: its messages, and how many of them it misses.

use std::time::Duration;

use super::batch::VerifiedBatch;
use super::{Context, Counter, Event, MessageId, Output, Topic};
use crate::identity::AgentId;

/// Delivers the messages of a batch, unless its author is blocked.
pub(super) fn deliver<P>(
    context: &mut Context<'_, P>,
    topic: &Topic,
    is_blocked: bool,
    batch: &VerifiedBatch,
) {
    let root = batch.root();
    if is_blocked {
        return context.count_many(Counter::MessagesBlocked, root.count.into());
    }
    context.count_many(Counter::MessagesDelivered, root.count.into());
    let published_at = Duration::from_millis(root.time);
    for (index, payload) in (0..).zip(batch.payloads()) {
        context.emit(Output::Event(Event::Received {
            topic: topic.clone(),
            author: root.author,
            payload,
            published_at,
            message: MessageId { batch: batch.id(), index },
        }));
    }
}

/// Reports that messages were missed, if any were.
pub(super) fn lag<P>(context: &mut Context<'_, P>, topic: &Topic, author: AgentId, missed: u64) {
    if missed > 0 {
        context.count_many(Counter::MessagesLagged, missed);
        context.emit(Output::Event(Event::Lagged { topic: topic.clone(), author, missed }));
    }
}
