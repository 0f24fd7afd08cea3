//! Counts of small numbers.

/// How often each number came: milliseconds, hops or neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

/// Larger numbers are counted as this one.
const LARGEST: usize = 1_000_000;

impl Histogram {
    /// Counts a number.
    pub fn add(&mut self, number: usize) {
        let number = number.min(LARGEST);
        if number >= self.counts.len() {
            self.counts.resize(number + 1, 0);
        }
        self.counts[number] += 1;
        self.total += 1;
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// Returns how many numbers were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns each number that came, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        self.counts.iter().copied().enumerate().filter(|&(_, count)| count > 0)
    }

    /// Returns the number that this share of all does not exceed, if there are any.
    pub fn quantile(&self, share: f64) -> Option<usize> {
        let mut left = (share.clamp(0.0, 1.0) * self.total as f64).ceil().max(1.0);
        for (number, count) in self.iter() {
            left -= count as f64;
            if left <= 0.0 {
                return Some(number);
            }
        }
        self.largest()
    }

    /// Returns the largest number.
    pub fn largest(&self) -> Option<usize> {
        self.counts.iter().rposition(|&count| count > 0)
    }

    /// Returns the mean, which is zero if there are none.
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.iter().map(|(number, count)| number as f64 * count as f64).sum();
        if self.total == 0 { 0.0 } else { sum / self.total as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numbers_that_came() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for number in [1, 1, 5, 9] {
            histogram.add(number);
        }
        let found = [0.0, 0.5, 0.75, 1.0].map(|share| histogram.quantile(share));
        assert_eq!(found, [Some(1), Some(1), Some(5), Some(9)]);
        assert!((histogram.mean() - 4.0).abs() < 1e-9);
    }
}
