//! Wall times as batches carry them.

use std::time::Duration;

/// Returns a duration in whole milliseconds; [`u64::MAX`] if it is longer than that.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
