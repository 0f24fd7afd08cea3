//! The events of a modelled world, ordered by time and then by the order of insertion.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::session::End;
use crate::queue::Slot;

/// Something that will happen. It is small: what is large waits in a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The frames of one flush arrive.
    Burst(Slot),
    /// A node's deadline may have come.
    Timer(u32),
    /// A dial has gone there and back, and there again.
    Connected(End),
    /// A dial is given up.
    DialFailed(End),
    /// A dial to nowhere is given up.
    Nowhere(Slot),
    /// An end of a session learns that it is over.
    Down(End),
    /// The idle timeout of an end has passed, unless something came.
    Doomed(End),
    /// An end of a session may send more.
    Writable(End),
}

/// The events that wait for their time, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
}

impl Queue {
    /// Adds an event.
    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, event)));
    }

    /// Takes the earliest event that is not later than `until`.
    pub(crate) fn pop(&mut self, until: u64) -> Option<(u64, Event)> {
        let &Reverse((at, _, event)) = self.heap.peek()?;
        if at > until {
            return None;
        }
        self.heap.pop();
        Some((at, event))
    }
}
