//! The body of a request, which must arrive in time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::admission::Place;

/// How long a body may take.
pub const BODY_TIME: Duration = Duration::from_secs(20);

/// See the [module](self).
pub(super) struct TimedBody {
    body: Incoming,
    /// Set once the body has to be waited for: most are there with their header.
    deadline: Option<Pin<Box<Sleep>>>,
    place: Arc<Place>,
}

impl TimedBody {
    pub(super) fn new(body: Incoming, place: Arc<Place>) -> Self {
        Self { body, deadline: None, place }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(BODY_TIME)));
        ready!(deadline.as_mut().poll(context));
        self.place.has_late_body.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err("the body of the request did not arrive in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
