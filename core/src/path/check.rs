//! The check of one route: its probes, its amplification budget and its answer.

use std::time::{Duration, Instant};

use super::probe::{CHALLENGE_LEN, PROBE_LEN, Probe};
use crate::support::Rng;

/// The most probes of one check.
pub const PROBES_MAX: u32 = 6;

/// The pause after the first probe; it doubles after each.
const PROBE_INTERVAL: Duration = Duration::from_millis(40);

/// How long a check lasts if its route does not answer.
pub const CHECK_TIME: Duration = PROBE_INTERVAL.saturating_mul(2_u32.pow(PROBES_MAX));

/// Bytes that may go to a route for each byte that came over it, until it answers (RFC 9000,
/// section 8.1).
pub const AMPLIFICATION_MAX: usize = 3;

/// Bytes of own probes that a probe of the peer pays for. Its answer takes the rest.
pub(super) const PROBE_BUDGET: usize = PROBE_LEN * (AMPLIFICATION_MAX - 1);

/// A check of one route.
#[derive(Debug)]
pub(super) struct Check<R> {
    pub(super) route: R,
    challenge: [u8; CHALLENGE_LEN],
    sent: u32,
    next_at: Instant,
    /// The bytes that may still go there before it answers; `None` if there is no limit.
    budget: Option<usize>,
    answered_at: Option<Instant>,
}

impl<R: Copy + Eq> Check<R> {
    pub(super) fn new(route: R, budget: Option<usize>, now: Instant, rng: &mut Rng) -> Self {
        Self { route, challenge: rng.bytes(), sent: 0, next_at: now, budget, answered_at: None }
    }

    /// Adds to the budget what came over the route.
    pub(super) fn earn(&mut self, bytes: usize) {
        if let Some(budget) = &mut self.budget {
            *budget = budget.saturating_add(bytes);
        }
    }

    /// Returns the next probe if it is due and within the budget.
    pub(super) fn poll(&mut self, now: Instant, prefer: bool) -> Option<Probe> {
        if self.answered_at.is_some() || self.next_at > now || self.sent >= PROBES_MAX {
            return None;
        }
        if let Some(budget) = &mut self.budget {
            *budget = budget.checked_sub(PROBE_LEN)?;
        }
        self.next_at = now + PROBE_INTERVAL * 2_u32.pow(self.sent);
        self.sent += 1;
        Some(Probe::Ask { challenge: self.challenge, prefer })
    }

    /// Takes an answer. Returns whether it is one to this check.
    pub(super) fn handle_answer(
        &mut self,
        route: R,
        challenge: [u8; CHALLENGE_LEN],
        now: Instant,
    ) -> bool {
        let matches = self.route == route && self.challenge == challenge && self.sent > 0;
        if matches {
            self.answered_at.get_or_insert(now);
        }
        matches
    }

    /// Returns when the first answer came.
    pub(super) fn answered_at(&self) -> Option<Instant> {
        self.answered_at
    }

    /// Returns when the next probe is due, if there is one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let is_affordable = self.budget.is_none_or(|budget| budget >= PROBE_LEN);
        let is_pending = self.answered_at.is_none() && self.sent < PROBES_MAX && is_affordable;
        is_pending.then_some(self.next_at)
    }
}
