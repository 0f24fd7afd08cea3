//! Draws that more than one module makes.

use std::time::Duration;

use x0x_core::support::Rng;

/// Makes the generator of a world from its seed.
pub(crate) fn from_number(seed: u64) -> Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Rng::from_seed(bytes)
}

/// Tells whether something of this probability happens. What cannot happen draws nothing.
pub(crate) fn chance(rng: &mut Rng, probability: f64) -> bool {
    const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
    probability > 0.0 && (rng.next_u64() >> 11) as f64 * UNIT < probability
}

/// Draws a duration from zero to `longest`. A longest of zero draws nothing.
pub(crate) fn up_to(rng: &mut Rng, longest: Duration) -> Duration {
    if longest.is_zero() {
        return Duration::ZERO;
    }
    Duration::from_nanos(rng.below(nanos(longest).saturating_add(1)))
}

/// Draws a duration from `shortest` to `longest`.
pub(crate) fn between(rng: &mut Rng, shortest: Duration, longest: Duration) -> Duration {
    shortest + up_to(rng, longest.saturating_sub(shortest))
}

/// Draws an index below `count`, which is not zero.
pub(crate) fn index(rng: &mut Rng, count: usize) -> usize {
    usize::try_from(rng.below(count as u64)).expect("an index below a usize fits a usize")
}

/// Returns the duration in nanoseconds; it is the largest number after 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_follow_their_probability() {
        let mut rng = from_number(1);
        for (probability, expected) in [(0.0, 0..=0), (0.25, 2300..=2700), (1.0, 10_000..=10_000)] {
            let count = (0..10_000).filter(|_| chance(&mut rng, probability)).count();
            assert!(expected.contains(&count), "{probability}: {count}");
        }
    }
}
