//! The selection of the route of one connection.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::check::{CHECK_TIME, Check, PROBE_BUDGET};
use super::probe::{CHALLENGE_LEN, Probe};
use super::route::{Candidate, Path};
use crate::support::Rng;

/// The most candidates that one connection checks at once.
pub const CANDIDATES_MAX: usize = 8;

/// The least time that the current route is given to answer after a candidate has.
pub(super) const GRACE_MIN: Duration = Duration::from_millis(100);

/// The most, whatever round trip QUIC measured: after an interruption it may exceed what is left
/// of the idle timeout.
pub(super) const GRACE_MAX: Duration = CHECK_TIME;

/// A candidate under check.
#[derive(Debug)]
struct Checked<R> {
    new: Check<R>,
    /// The check of the current route, which must not be answered; `None` if its silence is not
    /// needed.
    current: Option<Check<R>>,
    /// Whether an end asked for this move.
    prefer: bool,
    ends_at: Instant,
}

/// The route of one connection and the candidates that may replace it.
#[derive(Debug)]
pub struct PathState<R = Path> {
    current: R,
    /// The oldest first.
    candidates: Vec<Checked<R>>,
    candidates_max: usize,
}

/// What a [`PathState`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOutput<R = Path> {
    /// Send this probe over this route.
    Probe(R, Probe),
    /// The connection has moved to this route.
    Moved(R),
}

impl<R: Candidate> Checked<R> {
    fn new(new: Check<R>, current: Option<Check<R>>, prefer: bool, now: Instant) -> Self {
        Self { new, current, prefer, ends_at: now + CHECK_TIME }
    }

    fn checks(&self) -> impl Iterator<Item = &Check<R>> {
        [Some(&self.new), self.current.as_ref()].into_iter().flatten()
    }

    /// Returns when the candidate answered, if the connection may move to it now.
    fn ready_since(&self, now: Instant) -> Option<Instant> {
        let is_silent = self.current.is_none() || self.ends_at <= now;
        self.new.answered_at().filter(|_| is_silent)
    }

    fn deadline(&self) -> Instant {
        let next = self.checks().filter_map(Check::deadline).min();
        next.map_or(self.ends_at, |next| next.min(self.ends_at))
    }
}

impl<R: Candidate> PathState<R> {
    /// Makes the state of a connection that runs over a route, and checks at most
    /// `candidates_max` others at once.
    ///
    /// # Panics
    ///
    /// If `candidates_max` is zero or greater than [`CANDIDATES_MAX`].
    pub fn new(current: R, candidates_max: usize) -> Self {
        assert!((1..=CANDIDATES_MAX).contains(&candidates_max), "{candidates_max} candidates");
        Self { current, candidates: Vec::new(), candidates_max }
    }

    /// Returns the route of the moment.
    pub fn current(&self) -> R {
        self.current
    }

    /// Returns how many candidates are under check.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// A datagram of this connection came over another route, so that `earned` bytes may go there.
    pub fn handle_foreign(&mut self, now: Instant, route: R, earned: usize, rng: &mut Rng) {
        if route == self.current {
            return;
        }
        if let Some(candidate) = self.candidates.iter_mut().find(|one| one.new.route == route) {
            return candidate.new.earn(earned);
        }
        if self.candidates.len() >= self.candidates_max {
            return;
        }
        let is_better = route.type_preference() > self.current.type_preference();
        let current = (!is_better).then(|| Check::new(self.current, None, now, rng));
        let new = Check::new(route, Some(earned), now, rng);
        self.candidates.push(Checked::new(new, current, false, now));
    }

    /// This node wants to move, because the socket of the current route is gone.
    pub fn move_to(&mut self, now: Instant, route: R, rng: &mut Rng) {
        // The peer's address is proven; only this node's socket is new.
        self.prefer(now, Check::new(route, None, now, rng));
    }

    /// The peer sent a probe over a route, which the owner answers. With `prefer`, it asks to move
    /// there.
    pub fn handle_ask(&mut self, now: Instant, route: R, prefer: bool, rng: &mut Rng) {
        if route == self.current || !prefer {
            return self.handle_foreign(now, route, PROBE_BUDGET, rng);
        }
        let mut candidates = self.candidates.iter_mut();
        match candidates.find(|one| one.prefer && one.new.route == route) {
            Some(candidate) => candidate.new.earn(PROBE_BUDGET),
            None => self.prefer(now, Check::new(route, Some(PROBE_BUDGET), now, rng)),
        }
    }

    /// The peer answered a probe over a route. `round_trip` is the smoothed round-trip time of the
    /// connection.
    pub fn handle_answer(
        &mut self,
        now: Instant,
        route: R,
        challenge: [u8; CHALLENGE_LEN],
        round_trip: Duration,
    ) {
        for candidate in &mut self.candidates {
            if candidate.new.handle_answer(route, challenge, now) {
                candidate.ends_at = now + (round_trip * 2).clamp(GRACE_MIN, GRACE_MAX);
                return;
            }
            if let Some(current) = &mut candidate.current
                && current.handle_answer(route, challenge, now)
            {
                // The current route works: stay, unless an end asked for a move.
                return self.candidates.retain(|one| one.current.is_none());
            }
        }
    }

    /// Returns what is due. Call until it returns nothing.
    pub fn poll(&mut self, now: Instant) -> Option<PathOutput<R>> {
        for candidate in &mut self.candidates {
            let checks = [Some(&mut candidate.new), candidate.current.as_mut()];
            for check in checks.into_iter().flatten() {
                if let Some(probe) = check.poll(now, candidate.prefer) {
                    return Some(PathOutput::Probe(check.route, probe));
                }
            }
        }
        let ready = self.candidates.iter().filter_map(|one| {
            let since = one.ready_since(now)?;
            let order = (Reverse(one.new.route.type_preference()), Reverse(one.prefer), since);
            Some((order, one.new.route))
        });
        if let Some((_, route)) = ready.min_by_key(|(order, _)| *order) {
            self.select(route);
            return Some(PathOutput::Moved(route));
        }
        self.candidates.retain(|one| one.ends_at > now);
        None
    }

    /// Returns when [`PathState::poll`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.candidates.iter().map(Checked::deadline).min()
    }

    /// Moves to a route. Only better ones remain under check, and they need not wait for it.
    fn select(&mut self, route: R) {
        self.current = route;
        self.candidates.retain(|one| one.new.route.type_preference() > route.type_preference());
        for candidate in &mut self.candidates {
            candidate.current = None;
        }
    }

    /// Checks a route that an end asked for. It takes the place of an earlier check of the same
    /// route, or if there is no place left, of the oldest candidate that nobody asked for.
    fn prefer(&mut self, now: Instant, new: Check<R>) {
        let same = self.candidates.iter().position(|one| one.new.route == new.route);
        let is_full = self.candidates.len() >= self.candidates_max;
        let oldest = || self.candidates.iter().position(|one| !one.prefer).unwrap_or(0);
        if let Some(index) = same.or_else(|| is_full.then(oldest)) {
            self.candidates.remove(index);
        }
        self.candidates.push(Checked::new(new, None, true, now));
    }
}
