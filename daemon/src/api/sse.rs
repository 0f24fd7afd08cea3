//! Server-sent events.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Sse};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::time::timeout;

use super::KEEP_ALIVE;
use crate::hub::Subscription;
use crate::queue::{Queue, Taken};
use crate::topics::{Listener, missed_event};

/// How many bytes of events are written at a time.
const CHUNK_BYTES: usize = 64 << 10;

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

/// Streams events that are made already; many that wait go out together. A comment shows that the
/// stream lives while nothing happens.
pub(super) fn frames(listener: Listener) -> impl IntoResponse {
    let chunks = unfold(listener, |listener| async move {
        let next = timeout(KEEP_ALIVE, poll_fn(|context| poll_chunk(&listener.queue, context)));
        let chunk = next.await.unwrap_or(Some(Bytes::from_static(b": ping\n\n")))?;
        Some((Ok::<_, Infallible>(chunk), listener))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(chunks))
}

/// Takes the events that wait, as one piece. One alone is not copied.
fn poll_chunk(queue: &Queue<Bytes>, context: &Context<'_>) -> Poll<Option<Bytes>> {
    let Poll::Ready(first) = queue.poll_next(context) else { return Poll::Pending };
    let Some(first) = first.map(event) else { return Poll::Ready(None) };
    let mut chunk = BytesMut::new();
    while chunk.len().max(first.len()) < CHUNK_BYTES {
        let Poll::Ready(Some(next)) = queue.poll_next(context) else { break };
        if chunk.is_empty() {
            chunk.reserve(CHUNK_BYTES);
            chunk.extend_from_slice(&first);
        }
        chunk.extend_from_slice(&event(next));
    }
    Poll::Ready(Some(if chunk.is_empty() { first } else { chunk.freeze() }))
}

fn event(taken: Taken<Bytes>) -> Bytes {
    match taken {
        Taken::Item(event) => event,
        Taken::Missed(missed) => missed_event(missed),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::queue::Limits;

    #[test]
    fn events_that_wait_go_out_together_and_gaps_are_told() {
        let context = Context::from_waker(Waker::noop());
        let queue = Queue::new(Limits { items: 3, bytes: 1 << 20 });
        let chunk = || poll_chunk(&queue, &context);
        assert_eq!(chunk(), Poll::Pending);
        queue.push(Bytes::from_static(b"a"), 1);
        assert_eq!(chunk(), Poll::Ready(Some("a".into())));
        for event in ["b", "c", "d", "e"] {
            queue.push(event.into(), 1);
        }
        let expected = [&missed_event(1)[..], b"cde"].concat();
        assert_eq!(chunk(), Poll::Ready(Some(expected.into())));
        let large = Bytes::from(vec![7; CHUNK_BYTES]);
        queue.push(large.clone(), large.len());
        queue.push("f".into(), 1);
        queue.close();
        assert_eq!(chunk(), Poll::Ready(Some(large)), "a large one goes alone");
        assert_eq!((chunk(), chunk()), (Poll::Ready(Some("f".into())), Poll::Ready(None)));
    }
}
