//! Percentiles.

use std::fmt;

/// Percentiles of times, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percentiles {
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Percentiles {
    /// Sorts times and picks; `None` if there are none.
    pub(super) fn of(mut times: Vec<u64>) -> Option<Self> {
        times.sort_unstable();
        // The nearest rank: the least time that so many hundredths do not exceed.
        let rank = |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1);
        Some(Self { p50: *rank(50)?, p90: *rank(90)?, p99: *rank(99)?, max: *times.last()? })
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |micros: u64| format!("{}.{:03} ms", micros / 1000, micros % 1000);
        let [p50, p90, p99, max] = [self.p50, self.p90, self.p99, self.max].map(millis);
        write!(formatter, "p50 {p50}, p90 {p90}, p99 {p99}, max {max}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_seen() {
        assert_eq!(Percentiles::of(Vec::new()), None);
        let one = Percentiles::of(vec![7]).expect("there is one");
        assert_eq!(one, Percentiles { p50: 7, p90: 7, p99: 7, max: 7 });
        let many = Percentiles::of((1..=1000).rev().collect()).expect("there are many");
        assert_eq!(many, Percentiles { p50: 500, p90: 900, p99: 990, max: 1000 });
        let text = "p50 0.500 ms, p90 0.900 ms, p99 0.990 ms, max 1.000 ms";
        assert_eq!(many.to_string(), text);
    }
}
