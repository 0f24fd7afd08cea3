//! What a modelled world is made from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::peer::mix;

/// A range of durations, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Span {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl Span {
    /// Makes a range of milliseconds.
    pub const fn from_millis(min: u64, max: u64) -> Self {
        Self { min: Duration::from_millis(min), max: Duration::from_millis(max) }
    }

    /// Picks a duration by a hash: uniform if the hash is.
    pub(crate) fn pick(self, hash: u64) -> Duration {
        let width = self.max.saturating_sub(self.min).as_nanos();
        let part = (width * u128::from(hash)) >> 64;
        self.min + Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

impl From<[f64; 2]> for Span {
    /// Takes milliseconds.
    fn from([min, max]: [f64; 2]) -> Self {
        let duration = |ms: f64| Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default();
        Self { min: duration(min), max: duration(max.max(min)) }
    }
}

impl From<Span> for [f64; 2] {
    /// Gives milliseconds.
    fn from(span: Span) -> Self {
        [span.min, span.max].map(|duration| duration.as_secs_f64() * 1000.0)
    }
}

/// What a modelled world is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The seed of everything random.
    pub seed: u64,
    /// How many nodes there can be.
    pub nodes: u32,
    /// The latency of a pair, one way.
    pub latency: Span,
    /// How many bytes a session carries each second in one direction; `None` is any number.
    pub bandwidth: Option<u64>,
    /// How many bytes a lane holds.
    pub room: usize,
    /// How long it takes until a dial is given up.
    pub dial_timeout: Duration,
    /// How long after the last packet of the other side a session is over. The real link sends a
    /// keep-alive every 15 s and waits for 45 s.
    pub idle_timeout: Span,
    /// How far the wall clock of a node may be off, in either direction.
    pub clock_offset_max: Duration,
}

impl ModelConfig {
    /// Makes the default world: links of 10 to 50 ms and any bandwidth.
    pub fn new(seed: u64, nodes: u32) -> Self {
        Self {
            seed,
            nodes,
            latency: Span::from_millis(10, 50),
            bandwidth: None,
            room: 256 * 1024,
            dial_timeout: Duration::from_secs(3),
            idle_timeout: Span::from_millis(15_000, 45_000),
            clock_offset_max: Duration::ZERO,
        }
    }

    /// Returns the latency between two nodes.
    pub fn latency_of(&self, a: u32, b: u32) -> Duration {
        let pair = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
        self.latency.pick(mix(mix(self.seed ^ 0x006c_6174_656e_6379) ^ pair))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_uniform_and_the_same_both_ways() {
        let config = ModelConfig::new(7, 1000);
        let pairs = (0..1000).map(|b| (config.latency_of(1000, b), config.latency_of(b, 1000)));
        let mut sum = Duration::ZERO;
        for (there, back) in pairs {
            assert_eq!(there, back);
            assert!(there >= config.latency.min && there <= config.latency.max);
            sum += there;
        }
        assert!((29..=31).contains(&(sum / 1000).as_millis()), "{sum:?}");
    }
}
