//! Virtual time: nanoseconds since the world began, and the bridge to the core's `Instant`.

use std::time::{Duration, Instant};

/// Virtual time since the world began. 64 bits of nanoseconds are 584 years.
pub(crate) type Nanos = u64;

/// The wall time at which every world begins, in seconds since the Unix epoch.
pub const UNIX_TIME_AT_START: Duration = Duration::from_secs(1_750_000_000);

/// How far the anchor lies above the earliest instant, so that subtractions cannot underflow.
const ANCHOR_OFFSET: Duration = Duration::from_secs(3600);

/// Converts a duration; a longer one than the clock can show becomes the last moment.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// The one place that knows which instant a virtual time is.
///
/// `Instant` has no constructor, so a clock takes one anchor and adds offsets. Nothing that a
/// world does or records depends on the anchor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    anchor: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { anchor: Instant::now() + ANCHOR_OFFSET }
    }

    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        self.anchor + Duration::from_nanos(at)
    }

    pub(crate) fn nanos(&self, instant: Instant) -> Nanos {
        nanos(instant.saturating_duration_since(self.anchor))
    }
}
