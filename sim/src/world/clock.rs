//! The clocks of one host: how its time differs from that of the world.
//!
//! A node sees two times. The *monotonic* one may run too fast or too slow, and may stand still while
//! the host sleeps, as it does on many systems; it never jumps back. The *wall* time is right but for
//! an offset, which may jump. A node is told the wall time when it starts, counts on from there by
//! its monotonic clock, and is told again before an input if that is off by more than a second.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use x0x_core::identity::CLOCK_SKEW_MAX;

use crate::random::nanos;

const MILLION: u128 = 1_000_000;

/// How the clocks of a host differ from those of the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClockProfile {
    /// How far the wall clock is ahead, in milliseconds; negative if it is behind.
    pub ahead_ms: i64,
    /// How much faster the monotonic clock runs, in millionths; it may be slower by less than all.
    pub drift_ppm: i32,
}

/// The clocks of a host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostClock {
    profile: ClockProfile,
    /// When the rate changed last or the clock went on, in the time of the world.
    world: Duration,
    /// What the monotonic clock showed then.
    local: Duration,
}

impl HostClock {
    pub(super) fn new(profile: ClockProfile) -> Self {
        Self { profile, ..Self::default() }
    }

    /// Changes how the clocks differ. The monotonic one goes on from where it is.
    pub(super) fn set(&mut self, now: Duration, profile: ClockProfile) {
        *self = Self { profile, world: now, local: self.local(now) };
    }

    /// The monotonic clock goes on after it stood still since a time.
    pub(super) fn go_on(&mut self, since: Duration, now: Duration) {
        *self = Self { profile: self.profile, world: now, local: self.local(since) };
    }

    /// Returns what the monotonic clock shows.
    pub(super) fn local(&self, now: Duration) -> Duration {
        let passed = scale(now.saturating_sub(self.world), self.rate(), MILLION, false);
        self.local.saturating_add(passed)
    }

    /// Returns the first time of the world at which the monotonic clock shows this or more.
    pub(super) fn world(&self, local: Duration) -> Duration {
        let passed = scale(local.saturating_sub(self.local), MILLION, self.rate(), true);
        self.world.saturating_add(passed)
    }

    /// Tells whether its wall time is so far off that others do not take what it says.
    pub(super) fn is_wrong(&self) -> bool {
        Duration::from_millis(self.profile.ahead_ms.unsigned_abs()) > CLOCK_SKEW_MAX
    }

    /// Returns the wall time that this host shows when it is really `unix_time`.
    pub(super) fn wall(&self, unix_time: Duration) -> Duration {
        let offset = Duration::from_millis(self.profile.ahead_ms.unsigned_abs());
        if self.profile.ahead_ms < 0 {
            unix_time.saturating_sub(offset)
        } else {
            unix_time.saturating_add(offset)
        }
    }

    fn rate(&self) -> u128 {
        let rate = i64::from(self.profile.drift_ppm) + 1_000_000;
        u128::from(u64::try_from(rate).unwrap_or(0).max(1))
    }
}

fn scale(time: Duration, by: u128, over: u128, is_rounded_up: bool) -> Duration {
    if by == over {
        return time;
    }
    let product = u128::from(nanos(time)) * by;
    let scaled = if is_rounded_up { product.div_ceil(over) } else { product / over };
    Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(drift_ppm: i32) -> HostClock {
        HostClock::new(ClockProfile { ahead_ms: 0, drift_ppm })
    }

    #[test]
    fn a_clock_that_drifts_gains_or_loses_its_share() {
        for (ppm, expected_ms) in [(0, 1_000_000), (100, 1_000_100), (-100, 999_900)] {
            let shown = clock(ppm).local(Duration::from_secs(1000));
            assert_eq!(shown, Duration::from_millis(expected_ms), "{ppm}");
        }
    }

    #[test]
    fn a_timer_never_goes_off_before_the_clock_shows_its_time() {
        for ppm in [-999_999, -500, -1, 0, 1, 37, 500, 400_000] {
            let mut clock = clock(ppm);
            clock.set(
                Duration::from_nanos(12_345),
                ClockProfile { drift_ppm: -ppm, ..clock.profile },
            );
            for local in (0..2000).map(|n| Duration::from_nanos(100_000 + n * 7919)) {
                let at = clock.world(local);
                assert!(clock.local(at) >= local, "{ppm} {local:?}");
                assert!(clock.local(at - Duration::from_nanos(1)) < local, "{ppm} {local:?}");
            }
        }
    }

    #[test]
    fn a_clock_that_stood_still_goes_on_from_where_it_was() {
        let seconds = Duration::from_secs;
        let mut clock = clock(0);
        clock.go_on(seconds(10), seconds(70));
        assert_eq!(clock.local(seconds(75)), seconds(15));
        assert_eq!(clock.world(seconds(15)), seconds(75));
        let wall = HostClock::new(ClockProfile { ahead_ms: -1500, drift_ppm: 0 });
        assert_eq!(wall.wall(seconds(10)), Duration::from_millis(8500));
    }
}
