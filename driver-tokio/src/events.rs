//! What the node tells the application, through a queue that never makes the node wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use x0x_core::node::Event;

/// How many events wait for the application. Beyond it the oldest are lost.
pub const EVENTS_MAX: usize = 65_536;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    lost: u64,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    added: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending end.
#[derive(Debug, Default)]
pub(crate) struct EventSender {
    shared: Arc<Shared>,
    /// What was not handed over yet.
    pending: Vec<Event>,
}

impl EventSender {
    /// Makes the receiving end.
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
        let mut queue = self.shared.lock();
        queue.events.extend(self.pending.drain(..));
        let excess = queue.events.len().saturating_sub(EVENTS_MAX);
        queue.events.drain(..excess);
        queue.lost = queue.lost.saturating_add(excess.try_into().unwrap_or(u64::MAX));
        drop(queue);
        self.shared.added.notify_one();
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.flush();
        self.shared.lock().is_closed = true;
        self.shared.added.notify_one();
    }
}

/// The events of a node, in order.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
    taken: VecDeque<Event>,
    /// How many were lost before those that are taken.
    lost: u64,
}

impl Events {
    /// Waits for the next event; `None` once the node has stopped and all were taken. It may be
    /// cancelled without a loss.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.taken.pop_front() {
                return Some(event);
            }
            let is_closed = {
                let mut queue = self.shared.lock();
                std::mem::swap(&mut queue.events, &mut self.taken);
                self.lost = queue.lost;
                queue.is_closed
            };
            if !self.taken.is_empty() {
                continue;
            }
            if is_closed {
                return None;
            }
            self.shared.added.notified().await;
        }
    }

    /// Returns how many events were lost before the last one that was returned, because they were
    /// not taken in time.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use x0x_core::identity::MachineId;

    use super::*;

    fn event(number: usize) -> Event {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Event::PathChanged { machine: MachineId(id), address: ([127, 0, 0, 1], 1).into() }
    }

    #[tokio::test]
    async fn a_full_queue_loses_the_oldest_and_counts_them() {
        let mut sender = EventSender::default();
        let mut events = sender.subscribe();
        for number in 0..EVENTS_MAX + 5 {
            sender.push(event(number));
            if number % 1000 == 0 {
                sender.flush();
            }
        }
        drop(sender);
        for number in 5..EVENTS_MAX + 5 {
            assert_eq!(events.next().await, Some(event(number)));
            assert_eq!(events.lost(), 5);
        }
        assert_eq!(events.next().await, None);
    }
}
