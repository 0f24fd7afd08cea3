//! A bounded queue to one listener. When it is full the oldest item goes, and the listener is told
//! how many went before it gets the next.
//!
//! There is one reader, which polls; a writer never waits. A push wakes the reader only if it
//! sleeps, so a burst costs one wake-up.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Locks, whatever became of the thread that held the lock last: all data here are valid after each
/// statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much waits for one listener. The newest item is kept, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many items.
    pub items: usize,
    /// How many bytes they have together.
    pub bytes: usize,
}

/// What a listener gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The next item.
    Item(T),
    /// So many items went before the next one, because there was no room.
    Missed(u64),
}

#[derive(Debug)]
struct State<T> {
    /// Items with their sizes.
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// What went and was not told yet.
    missed: u64,
    is_closed: bool,
    /// Who sleeps until there is an item.
    waker: Option<Waker>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Queue<T> {
    limits: Limits,
    state: Mutex<State<T>>,
}

impl<T> Queue<T> {
    /// Makes an empty queue.
    pub fn new(limits: Limits) -> Self {
        let state =
            State { items: VecDeque::new(), bytes: 0, missed: 0, is_closed: false, waker: None };
        Self { limits, state: Mutex::new(state) }
    }

    /// Adds an item of so many bytes. Returns how many had to go for it.
    pub fn push(&self, item: T, size: usize) -> u64 {
        let mut state = lock(&self.state);
        state.items.push_back((item, size));
        state.bytes += size;
        let mut evicted = 0;
        while state.items.len() > self.limits.items.max(1)
            || (state.bytes > self.limits.bytes && state.items.len() > 1)
        {
            let Some((_, size)) = state.items.pop_front() else { break };
            state.bytes -= size;
            evicted += 1;
        }
        state.missed += evicted;
        wake(state);
        evicted
    }

    /// Tells the listener that it missed items that never came here.
    pub fn miss(&self, missed: u64) {
        let mut state = lock(&self.state);
        state.missed += missed;
        wake(state);
    }

    /// Takes what is there; `None` once the queue is closed and empty. Pending means that the waker
    /// is woken when there is more.
    pub fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Taken<T>>> {
        let mut state = lock(&self.state);
        if state.missed > 0 {
            return Poll::Ready(Some(Taken::Missed(std::mem::take(&mut state.missed))));
        }
        if let Some((item, size)) = state.items.pop_front() {
            state.bytes -= size;
            return Poll::Ready(Some(Taken::Item(item)));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Drops the items that are not wanted any more.
    pub fn retain(&self, mut is_wanted: impl FnMut(&T) -> bool) {
        let mut state = lock(&self.state);
        state.items.retain(|(item, _)| is_wanted(item));
        state.bytes = state.items.iter().map(|(_, size)| size).sum();
    }

    /// Ends the queue, once what waits is taken.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        wake(state);
    }
}

fn wake<T>(mut state: MutexGuard<'_, State<T>>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(queue: &Queue<u32>) -> Vec<Taken<u32>> {
        let context = Context::from_waker(Waker::noop());
        let next = || match queue.poll_next(&context) {
            Poll::Ready(taken) => taken,
            Poll::Pending => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_does_not_fit_goes_and_is_told() {
        let (item, missed) = (Taken::Item, Taken::Missed);
        for (name, limits, sizes, expected) in [
            (
                "there is room",
                Limits { items: 3, bytes: 9 },
                [3, 3, 3],
                vec![item(0), item(1), item(2)],
            ),
            (
                "too many",
                Limits { items: 2, bytes: 9 },
                [1, 1, 1],
                vec![missed(1), item(1), item(2)],
            ),
            ("too large", Limits { items: 9, bytes: 4 }, [2, 2, 4], vec![missed(2), item(2)]),
            ("larger than all", Limits { items: 9, bytes: 4 }, [9, 9, 9], vec![missed(2), item(2)]),
            ("no room at all", Limits { items: 0, bytes: 0 }, [0, 0, 0], vec![missed(2), item(2)]),
        ] {
            let queue = Queue::new(limits);
            for (item, size) in (0..).zip(sizes) {
                queue.push(item, size);
            }
            assert_eq!(take(&queue), expected, "{name}");
            assert_eq!(take(&queue), [], "{name}: it is told once");
        }
    }

    #[test]
    fn a_burst_wakes_a_sleeper_once() {
        let queue = Queue::new(Limits { items: 9, bytes: 9 });
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        assert_eq!(queue.poll_next(&Context::from_waker(&waker)), Poll::Pending);
        for item in 0..5 {
            queue.push(item, 1);
        }
        queue.miss(2);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        queue.retain(|item| *item != 3);
        queue.close();
        let items = [0, 1, 2, 4].map(Taken::Item);
        assert_eq!(take(&queue), [&[Taken::Missed(2)][..], &items].concat());
        assert_eq!(queue.poll_next(&Context::from_waker(&waker)), Poll::Ready(None));
    }
}
