//! The events of a node on their way to the application, in a queue that never makes the node wait.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use x0x_core::node::Event;

/// How many events wait for the application. Beyond it the oldest are lost.
pub const EVENTS_MAX: usize = 65_536;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    lost: u64,
    is_closed: bool,
    /// Wakes the application if it waits for an event.
    waker: Option<Waker>,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Queue>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue and wakes the application.
    fn update(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.lock();
        change(&mut queue);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The sending end.
#[derive(Debug, Default)]
pub(crate) struct EventSender {
    shared: Shared,
    /// What has not been handed over yet.
    pending: Vec<Event>,
}

impl EventSender {
    /// Makes the receiving end, of which there is one.
    pub(crate) fn subscribe(&self) -> Events {
        Events { shared: self.shared.clone(), taken: VecDeque::new(), lost: 0 }
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.pending.push(event);
    }

    /// Hands over what was pushed, with one lock for all.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let pending = self.pending.drain(..);
        self.shared.update(|queue| {
            queue.events.extend(pending);
            let excess = queue.events.len().saturating_sub(EVENTS_MAX);
            queue.events.drain(..excess);
            queue.lost = queue.lost.saturating_add(excess.try_into().unwrap_or(u64::MAX));
        });
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.flush();
        self.shared.update(|queue| queue.is_closed = true);
    }
}

/// The events of a node, in order.
#[derive(Debug)]
pub struct Events {
    shared: Shared,
    taken: VecDeque<Event>,
    /// How many were lost before those that are taken.
    lost: u64,
}

impl Events {
    /// Waits for the next event; `None` once the node has stopped and all were taken. It may be
    /// cancelled without a loss.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Returns how many events were lost before the last one that was returned, because they were
    /// not taken in time.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn poll_next(&mut self, context: &Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.taken.pop_front() {
            return Poll::Ready(Some(event));
        }
        let mut queue = self.shared.lock();
        std::mem::swap(&mut queue.events, &mut self.taken);
        self.lost = queue.lost;
        match self.taken.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if queue.is_closed => Poll::Ready(None),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
