//! The one event queue, ordered by time and then by the order of insertion.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::NodeId;

/// Something that will happen. It is small: what is large waits in a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pending {
    /// A datagram arrives.
    Arrival(Slot),
    /// A node's deadline may have come. Only the newest generation counts.
    Timer { node: NodeId, generation: u32 },
    /// The oldest write of a node's disk ends, if the node still runs the same run.
    Stored { node: NodeId, run: u32 },
    /// A read ends.
    Loaded(Slot),
    /// A planned step is due.
    Step(Slot),
}

/// The events that wait for their time.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(Duration, u64, Pending)>>,
    sequence: u64,
}

impl Queue {
    /// Adds an event.
    pub(crate) fn push(&mut self, at: Duration, pending: Pending) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, pending)));
    }

    /// Takes the earliest event that is not later than `until`.
    pub(crate) fn pop(&mut self, until: Duration) -> Option<(Duration, Pending)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > until {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, pending))| (at, pending))
    }
}

/// A place in a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

/// Values that wait for their event. Places are used again, so a steady load allocates nothing.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Keeps a value.
    pub(crate) fn insert(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.values[slot.0 as usize] = Some(value);
            return slot;
        }
        let slot = Slot(u32::try_from(self.values.len()).expect("fewer than 2³² values wait"));
        self.values.push(Some(value));
        slot
    }

    /// Takes a value; each can be taken once.
    pub(crate) fn take(&mut self, slot: Slot) -> Option<T> {
        let value = self.values.get_mut(slot.0 as usize)?.take()?;
        self.free.push(slot);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_time_come_in_the_order_of_insertion() {
        let mut queue = Queue::default();
        let timer = |node| Pending::Timer { node: NodeId(node), generation: 0 };
        let at = Duration::from_secs;
        for (seconds, node) in [(2, 9), (1, 5), (1, 3), (3, 0)] {
            queue.push(at(seconds), timer(node));
        }
        assert_eq!(queue.pop(at(2)), Some((at(1), timer(5))));
        assert_eq!(queue.pop(at(2)), Some((at(1), timer(3))));
        assert_eq!(queue.pop(at(2)), Some((at(2), timer(9))));
        assert_eq!(queue.pop(at(2)), None);
    }

    #[test]
    fn places_are_used_again() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        slab.insert('b');
        assert_eq!(slab.take(first), Some('a'));
        assert_eq!(slab.take(first), None);
        assert_eq!(slab.insert('c'), first);
        assert_eq!(slab.values.len(), 2);
    }
}
