//! The credit of one connection: how much the peer may send before it is read, and how fast it does.
//!
//! QUIC holds what arrives out of order, and links hold frames that are not complete. A peer decides
//! for how long. So each connection begins with [`WINDOW_MIN`] bytes of credit. The window doubles,
//! up to [`WINDOW_MAX`](crate::transport::WINDOW_MAX), when the peer uses half of it within two round trips: then the window is what
//! limits it. TCP tunes its receive windows in the same way.
//!
//! The first windows of all possible connections are set aside in the node's share of memory for
//! receiving; a small share allows fewer connections. The rest is the *pool*. Windows take at most a
//! third of it; incomplete frames take the other two thirds, and what windows leave. When the pool is
//! used up, the connection that holds the most of it is closed. Credit cannot be taken back: if a
//! window cannot grow while another connection has a larger one, of which it has not used half for
//! [`IDLE_TIME`], that connection is closed.

use std::time::{Duration, Instant};

use super::super::LINKS_MAX;
use super::super::admission::HALF_OPEN_MAX;
use crate::support::MemoryBudget;
use crate::transport::WINDOW_MIN;

/// After how long without use the window of one peer may be taken for another.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// The least time that counts as two round trips: scheduling alone takes that long.
pub(super) const TWO_ROUND_TRIPS_MIN: Duration = Duration::from_millis(2);

/// The limits that follow from the memory budget of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::link) struct Limits {
    /// The most sessions.
    pub(in crate::link) links: usize,
    /// The most incoming connections without a session.
    pub(in crate::link) half_open: usize,
    /// The bytes that windows beyond the first and incomplete frames take together.
    pub(in crate::link) pool: usize,
    /// The bytes that wait in send buffers.
    pub(in crate::link) send: usize,
}

impl Limits {
    /// Half of the share for receiving is for first windows, if that many connections are allowed.
    pub(in crate::link) fn of(memory: MemoryBudget) -> Self {
        let (share, first) = (memory.receive(), WINDOW_MIN as usize);
        let half_open = (share / 10 / first).min(HALF_OPEN_MAX);
        let links = (share / 2 / first).saturating_sub(half_open).min(LINKS_MAX);
        let pool = share - (links + half_open) * first;
        Self { links, half_open, pool, send: memory.send() }
    }

    /// Returns the part of the pool that windows may take.
    pub(super) fn windows(&self) -> usize {
        self.pool / 3
    }
}

/// What a peer may send, and how fast it does.
#[derive(Debug)]
pub(in crate::link) struct Credit {
    window: u32,
    /// How much of it was used since `since`.
    used: usize,
    since: Option<Instant>,
}

impl Default for Credit {
    fn default() -> Self {
        Self { window: WINDOW_MIN, used: 0, since: None }
    }
}

impl Credit {
    /// Returns the window beyond the first, in bytes.
    pub(in crate::link) fn grown(&self) -> usize {
        (self.window - WINDOW_MIN) as usize
    }

    /// Returns the whole window, in bytes.
    pub(in crate::link) fn window(&self) -> u32 {
        self.window
    }

    /// Doubles the window and returns the new one, in bytes.
    pub(super) fn double(&mut self) -> u32 {
        self.window *= 2;
        self.window
    }

    /// Notes what was read. Returns how long half of the window took, if this used it up.
    pub(super) fn read(&mut self, now: Instant, count: usize) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        self.used = self.used.saturating_add(count);
        if self.used < self.window as usize / 2 {
            return None;
        }
        (self.used, self.since) = (0, Some(now));
        Some(now.saturating_duration_since(since))
    }

    /// Returns whether less than half of the window was used for [`IDLE_TIME`].
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= IDLE_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Class;
    use crate::support::testing::start;

    #[test]
    fn the_first_windows_of_all_connections_and_the_pool_are_the_share_for_receiving() {
        for bytes in [MemoryBudget::BYTES_MIN, 64 << 20, 256 << 20, MemoryBudget::BYTES_MAX] {
            let memory = MemoryBudget::new(bytes).unwrap();
            let limits = Limits::of(memory);
            let first = (limits.links + limits.half_open) * WINDOW_MIN as usize;
            assert_eq!(first + limits.pool, memory.receive(), "{bytes}");
            assert!(limits.links >= 128 && limits.half_open >= 32, "{bytes}: {limits:?}");
        }
        let limits = Limits::of(MemoryBudget::DEFAULT);
        assert_eq!((limits.links, limits.half_open), (LINKS_MAX, HALF_OPEN_MAX));
        let left = limits.pool - limits.windows();
        assert!(left > Class::Direct.frame_size_max(), "the largest message fits beside windows");
    }

    #[test]
    fn the_time_that_half_of_a_window_takes_is_measured() {
        let (now, mut credit) = (start(), Credit::default());
        let half = credit.window() as usize / 2;
        assert_eq!(credit.read(now, half - 1), None);
        let later = now + Duration::from_secs(3);
        assert_eq!(credit.read(later, 1), Some(Duration::from_secs(3)));
        assert_eq!(credit.read(later, half), Some(Duration::ZERO));
        assert!(!credit.is_idle(later + IDLE_TIME - Duration::from_millis(1)));
        assert!(credit.is_idle(later + IDLE_TIME));
    }
}
