//! Server-sent events.

use std::convert::Infallible;

use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use futures_util::stream::unfold;

use super::KEEP_ALIVE;
use crate::hub::Subscription;

/// Turns a subscription into a stream of events; it ends when the feed is closed.
pub(super) fn stream<T: Clone + Send + 'static>(
    subscription: Subscription<T>,
    event: impl Fn(T) -> Event + Clone + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let items = unfold(subscription, move |mut subscription| {
        let event = event.clone();
        async move {
            let item = subscription.next().await?;
            Some((Ok(event(item)), subscription))
        }
    });
    Sse::new(items).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("ping"))
}
