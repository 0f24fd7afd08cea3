//! A rate limit that refills with time.

use std::time::{Duration, Instant};

/// A token bucket: `burst` tokens at first, one more every `interval`, never more than `burst`.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    tokens: u32,
    burst: u32,
    interval: Duration,
    refilled_at: Instant,
}

impl TokenBucket {
    /// Makes a full bucket.
    ///
    /// # Panics
    ///
    /// If `interval` is zero.
    pub fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        assert!(!interval.is_zero(), "a bucket that refills at once limits nothing");
        Self { tokens: burst, burst, interval, refilled_at: now }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        taken
    }

    /// Returns how many tokens there are.
    pub fn available(&mut self, now: Instant) -> usize {
        self.refill(now);
        usize::try_from(self.tokens).unwrap_or(usize::MAX)
    }

    /// Returns when there is a token: now, or when the next comes.
    pub fn ready_at(&mut self, now: Instant) -> Instant {
        self.refill(now);
        if self.tokens > 0 { now } else { self.refilled_at + self.interval }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled_at);
        let earned = elapsed.as_nanos() / self.interval.as_nanos();
        let missing = self.burst - self.tokens;
        match u32::try_from(earned) {
            Ok(earned) if earned < missing => {
                self.tokens += earned;
                self.refilled_at += self.interval * earned;
            }
            Ok(_) | Err(_) => {
                self.tokens = self.burst;
                self.refilled_at = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_token_per_interval() {
        let start = crate::support::testing::start();
        let mut bucket = TokenBucket::new(2, Duration::from_secs(1), start);
        let at = |millis| start + Duration::from_millis(millis);
        let taken: Vec<bool> =
            [0, 0, 0, 999, 1000, 1001, 60_000, 60_000, 60_000].map(|t| bucket.take(at(t))).to_vec();
        assert_eq!(taken, [true, true, false, false, true, false, true, true, false]);
    }

    #[test]
    fn an_empty_bucket_says_when_its_next_token_comes() {
        let start = crate::support::testing::start();
        let at = |millis| start + Duration::from_millis(millis);
        let mut bucket = TokenBucket::new(2, Duration::from_secs(1), start);
        for (millis, available, ready_at) in [(0, 2, 0), (100, 1, 100), (200, 0, 1000)] {
            assert_eq!(bucket.available(at(millis)), available, "after {millis} ms");
            assert_eq!(bucket.ready_at(at(millis)), at(ready_at), "after {millis} ms");
            assert_eq!(bucket.take(at(millis)), available > 0);
        }
        assert!(bucket.take(at(1000)));
    }
}
