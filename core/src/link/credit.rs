//! How much peers may send before it is read, and how much of it all together.
//!
//! QUIC holds what arrives out of order, and links hold frames that are not complete. A peer decides
//! how long. So every connection begins with [`WINDOW_MIN`] bytes of credit, and its window doubles,
//! up to [`WINDOW_MAX`], when the peer uses half of it within two round trips: then the window is
//! what holds it back. (The receive windows of TCP are tuned in the same way.)
//!
//! The first windows of all the connections that may exist are set aside in the node's share for
//! receiving; a small share allows fewer connections. What is left is the *pool*. Windows take at most
//! a third of it; incomplete frames take the rest, and what is left of that third. When the pool is
//! used up, the connection that holds the most of it is closed. A window that cannot grow while
//! another connection has a larger one and has not used half of it for [`IDLE_TIME`] costs that
//! connection its place, since credit cannot be taken back.

use std::time::{Duration, Instant};

use super::admission::HALF_OPEN_MAX;
use super::connection::{Connection, Phase};
use super::frames::CloseCode;
use super::{Context, LINKS_MAX, State};
use crate::link::Counter;
use crate::support::MemoryBudget;
use crate::transport::{ConnectionKey, WINDOW_MAX, WINDOW_MIN};

/// After how long without use a window may be taken from a peer for the sake of another.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// The least time that counts as two round trips: scheduling alone takes that long.
const TWO_ROUND_TRIPS_MIN: Duration = Duration::from_millis(2);

/// The limits that follow from the memory of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// How many sessions it has.
    pub(super) links: usize,
    /// How many handshakes of strangers are under way.
    pub(super) half_open: usize,
    /// How many bytes windows beyond the first and incomplete frames take together.
    pub(super) pool: usize,
    /// How many bytes wait in lanes.
    pub(super) send: usize,
}

impl Limits {
    /// Half of the share for receiving is for first windows, if that many connections are allowed.
    pub(super) fn of(memory: MemoryBudget) -> Self {
        let (share, first) = (memory.receive(), WINDOW_MIN as usize);
        let half_open = (share / 10 / first).min(HALF_OPEN_MAX);
        let links = (share / 2 / first).saturating_sub(half_open).min(LINKS_MAX);
        let pool = share - (links + half_open) * first;
        Self { links, half_open, pool, send: memory.send() }
    }

    /// How much of the pool windows take.
    fn windows(&self) -> usize {
        self.pool / 3
    }
}

/// What a peer may send, and how fast it does.
#[derive(Debug)]
pub(super) struct Credit {
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
    /// The window beyond the first.
    pub(super) fn grown(&self) -> usize {
        (self.window - WINDOW_MIN) as usize
    }

    /// The whole window.
    pub(super) fn window(&self) -> usize {
        self.window as usize
    }

    /// Notes what was read. Returns how long half of the window took, if it was used just now.
    fn read(&mut self, now: Instant, count: usize) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        self.used = self.used.saturating_add(count);
        if self.used < self.window() / 2 {
            return None;
        }
        (self.used, self.since) = (0, Some(now));
        Some(now.saturating_duration_since(since))
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= IDLE_TIME)
    }
}

impl Connection {
    /// How much of the pool it holds.
    pub(super) fn held(&self) -> usize {
        self.credit.grown() + self.accounted()
    }
}

impl State {
    /// A peer used its credit: it gets more if that was too little.
    pub(super) fn credit_used(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        count: usize,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let Some(took) = connection.credit.read(context.now, count) else { return };
        let window = connection.credit.window;
        if connection.phase != Phase::Up || window == WINDOW_MAX {
            return;
        }
        let round_trip = self.transport.round_trip(key).unwrap_or_default();
        if took > (2 * round_trip).max(TWO_ROUND_TRIPS_MIN) {
            return;
        }
        let more = window as usize;
        let has_room = |state: &Self| {
            let (limits, grown) = (&state.limits, state.grown_bytes + more);
            grown <= limits.windows() && grown + state.reassembly_bytes <= limits.pool
        };
        if !has_room(self) {
            self.take_idle_window(context, window);
        }
        if has_room(self)
            && let Some(connection) = self.connections.get_mut(&key)
        {
            connection.credit.window = 2 * window;
            self.grown_bytes += more;
            self.transport.set_window(key, 2 * window);
        }
    }

    /// Closes the connection with the largest window that nobody uses, if it is larger than this.
    pub(super) fn take_idle_window(&mut self, context: &mut Context<'_>, window: u32) {
        let idle = self.connections.iter().filter(|(_, connection)| {
            connection.credit.window > window
                && connection.credit.is_idle(context.now)
                && connection.phase == Phase::Up
        });
        let largest = idle.map(|(&key, connection)| (connection.credit.window, key)).max();
        if let Some((_, key)) = largest {
            context.count(Counter::CreditOverLimit);
            self.close(context, key, CloseCode::Bye);
        }
    }

    /// Accounts for what a lane holds of incomplete frames.
    pub(super) fn account(&mut self, context: &mut Context<'_>, key: ConnectionKey, index: usize) {
        let connection = self.connections.get_mut(&key);
        let Some(lane) = connection.and_then(|c| c.lanes.get_mut(index)) else { return };
        let held = lane.buffered();
        let before = std::mem::replace(&mut lane.accounted, held);
        self.reassembly_bytes = self.reassembly_bytes + held - before;
        if self.grown_bytes + self.reassembly_bytes > self.limits.pool {
            let living = self.connections.iter().filter(|(_, c)| c.phase != Phase::Over);
            let largest = living.map(|(key, connection)| (connection.held(), *key)).max();
            if let Some((_, key)) = largest {
                context.count(Counter::ReassemblyOverLimit);
                self.close(context, key, CloseCode::Protocol);
            }
        }
    }

    /// Closes connections until what waits in lanes is within its share: those first whose peers
    /// read least.
    pub(super) fn limit_lanes(&mut self, context: &mut Context<'_>) {
        while self.lane_bytes > self.limits.send {
            let living = self.connections.iter().filter(|(_, c)| c.phase != Phase::Over);
            let largest = living.map(|(key, connection)| (connection.lane_bytes(), *key)).max();
            let Some((_, key)) = largest else { return };
            context.count(Counter::LanesOverLimit);
            self.close(context, key, CloseCode::Bye);
        }
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
        let half = credit.window() / 2;
        assert_eq!(credit.read(now, half - 1), None);
        let later = now + Duration::from_secs(3);
        assert_eq!(credit.read(later, 1), Some(Duration::from_secs(3)));
        assert_eq!(credit.read(later, half), Some(Duration::ZERO));
        assert!(!credit.is_idle(later + IDLE_TIME - Duration::from_millis(1)));
        assert!(credit.is_idle(later + IDLE_TIME));
    }
}
