//! Random choices. Each draws from the generator of the module, so a seed reproduces them.

use std::time::Duration;

use crate::support::Rng;

/// Returns a random duration from `least` up to, not including, `most`.
pub(super) fn between(rng: &mut Rng, least: Duration, most: Duration) -> Duration {
    let span = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX);
    least + Duration::from_micros(rng.below(span.max(1)))
}

/// Returns a random index below a length, or `None` if the length is 0.
pub(super) fn index(rng: &mut Rng, length: usize) -> Option<usize> {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    (length > 0).then(|| usize::try_from(rng.below(length)).unwrap_or(0))
}

/// Returns a random element.
pub(super) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> Option<T> {
    let index = index(rng, from.len())?;
    from.get(index).copied()
}

/// Returns up to `count` random elements in random order.
pub(super) fn sample<T>(rng: &mut Rng, mut from: Vec<T>, count: usize) -> Vec<T> {
    let mut taken = Vec::new();
    while taken.len() < count
        && let Some(index) = index(rng, from.len())
    {
        taken.push(from.swap_remove(index));
    }
    taken
}
