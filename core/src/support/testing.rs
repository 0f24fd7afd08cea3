//! What unit tests need.

use std::time::Instant;

/// The one instant from which a test counts.
#[expect(clippy::disallowed_methods, reason = "an instant has no other constructor")]
pub(crate) fn start() -> Instant {
    Instant::now()
}
