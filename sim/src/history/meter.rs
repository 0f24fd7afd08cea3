//! How much moved, over time, in a fixed number of parts: when they are used up, each two become
//! one.

use std::time::Duration;

use crate::NetworkCounters;

/// How many parts there are at most.
pub(super) const PARTS_MAX: usize = 400;

/// How long the parts are at first.
const WIDTH_MIN: Duration = Duration::from_millis(50);

/// What moved in one part of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
}

impl Part {
    fn of(counters: &NetworkCounters) -> Self {
        let lost = [
            counters.lost,
            counters.queue_full,
            counters.too_large,
            counters.partitioned,
            counters.unreachable,
            counters.intercepted,
            counters.filtered,
            counters.exhausted,
            counters.asleep,
        ];
        Self {
            bytes: counters.sent_bytes,
            sent: counters.sent,
            delivered: counters.delivered,
            lost: lost.iter().sum(),
        }
    }

    fn with(self, other: Self, join: fn(u64, u64) -> u64) -> Self {
        Self {
            bytes: join(self.bytes, other.bytes),
            sent: join(self.sent, other.sent),
            delivered: join(self.delivered, other.delivered),
            lost: join(self.lost, other.lost),
        }
    }
}

/// What moved so far.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    width: Duration,
    parts: Vec<Part>,
    /// What the counters showed when the present part began.
    before: Part,
}

impl Default for Meter {
    fn default() -> Self {
        Self { width: WIDTH_MIN, parts: Vec::new(), before: Part::default() }
    }
}

impl Meter {
    /// Looks at the counters before anything happens at a time.
    pub(super) fn look(&mut self, now: Duration, counters: &NetworkCounters) {
        // The present part is the one behind those that are complete.
        while self.width * u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX) <= now {
            if self.parts.len() + 1 >= PARTS_MAX {
                self.halve();
                continue;
            }
            let shown = Part::of(counters);
            self.parts.push(shown.with(self.before, |now, before| now - before));
            self.before = shown;
        }
    }

    /// Returns the parts, each with the second in which it began, and how many seconds each has.
    pub(super) fn parts(&self, counters: &NetworkCounters) -> (f64, Vec<(f64, Part)>) {
        let shown = Part::of(counters).with(self.before, |now, before| now - before);
        let width = self.width.as_secs_f64();
        let parts = self.parts.iter().copied().chain([shown]).enumerate();
        (width, parts.map(|(number, part)| (number as f64 * width, part)).collect())
    }

    fn halve(&mut self) {
        self.width *= 2;
        // Half of a part is the beginning of the present one.
        if self.parts.len() % 2 == 1
            && let Some(last) = self.parts.pop()
        {
            self.before = self.before.with(last, |before, last| before - last);
        }
        let pairs = self.parts.chunks_exact(2);
        self.parts = pairs.map(|pair| pair[0].with(pair[1], |a, b| a + b)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_hold_everything_however_long_it_takes() {
        let mut meter = Meter::default();
        let mut counters = NetworkCounters::default();
        for tick in 0..100_000_u32 {
            meter.look(Duration::from_millis(13) * tick, &counters);
            counters.sent += 1;
            counters.lost += u64::from(tick.is_multiple_of(10));
        }
        let (width, parts) = meter.parts(&counters);
        assert!(parts.len() <= PARTS_MAX && parts.len() > PARTS_MAX / 2, "{}", parts.len());
        assert_eq!(parts.iter().map(|(_, part)| part.sent).sum::<u64>(), 100_000);
        assert_eq!(parts.iter().map(|(_, part)| part.lost).sum::<u64>(), 10_000);
        let each = width / 0.013;
        for (_, part) in &parts[..parts.len() - 1] {
            assert!((part.sent as f64 - each).abs() <= 1.0, "{part:?} of {each}");
        }
    }
}
