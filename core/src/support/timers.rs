//! A set of timers, each at most once, of which the earliest is the module's deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// When a module wants to be called, and for which timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// The time.
    pub at: Instant,
    /// The name of the timer, for logs and recordings.
    pub timer: &'static str,
}

/// A key of a timer, which names the kind of the timer.
pub trait TimerName {
    /// Returns the name.
    fn name(&self) -> &'static str;
}

/// Timers by key. Setting one again moves it.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    due: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets a timer.
    pub fn set(&mut self, key: K, at: Instant) {
        self.cancel(&key);
        self.due.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    /// Cancels a timer, if it is set.
    pub fn cancel(&mut self, key: &K) {
        if let Some(at) = self.due.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// Returns whether a timer is set.
    pub fn contains(&self, key: &K) -> bool {
        self.due.contains_key(key)
    }

    /// Takes the earliest timer whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, _) = self.order.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.due.remove(&key);
        Some(key)
    }

    /// Returns the earliest timer.
    pub fn first(&self) -> Option<(Instant, &K)> {
        self.order.first().map(|(at, key)| (*at, key))
    }

    /// Returns the time and the name of the earliest timer.
    pub fn deadline(&self) -> Option<Deadline>
    where
        K: TimerName,
    {
        self.first().map(|(at, key)| Deadline { at, timer: key.name() })
    }

    /// Returns how many timers are set.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Returns whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::support::testing::start;

    #[test]
    fn a_timer_that_is_set_again_fires_once_at_its_new_time() {
        let now = start();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set('a', at(1));
        timers.set('b', at(2));
        timers.set('a', at(3));
        assert_eq!(timers.first(), Some((at(2), &'b')));
        assert_eq!(timers.pop_due(at(1)), None);
        assert_eq!(timers.pop_due(at(5)), Some('b'));
        assert_eq!(timers.pop_due(at(5)), Some('a'));
        assert_eq!(timers.pop_due(at(5)), None);
        assert!(timers.is_empty());
    }
}
