//! The wall time that TLS sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// The wall time of one node, in milliseconds since the Unix epoch. Clones share it.
///
/// The node sets it at each input; TLS reads it to tell the age of a ticket. It begins at zero.
#[derive(Clone, Debug, Default)]
pub struct WallClock(Arc<AtomicU64>);

impl WallClock {
    /// Makes a clock that shows the given time since the Unix epoch.
    pub fn new(unix_time: Duration) -> Self {
        let clock = Self::default();
        clock.set(unix_time);
        clock
    }

    /// Sets the time since the Unix epoch. It may go backwards.
    pub fn set(&self, unix_time: Duration) {
        let millis = u64::try_from(unix_time.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    /// Returns the time since the Unix epoch.
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.now()))
    }
}
