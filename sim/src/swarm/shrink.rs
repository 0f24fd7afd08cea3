//! Makes a recording that fails smaller: delta debugging (Zeller and Hildebrandt, 2002).
//!
//! Steps are dropped, many at first and then few, as long as what is left fails in the same way: the
//! same rule, whatever the numbers and the nodes in its words. A world that failed after it was calm
//! ([`Step::Calm`]) keeps all steps from there on: they are what is demanded.
//!
//! The steps that are left are played at their times, not at their places among the events, since
//! those move. What comes out is a new recording, which plays again exactly.

use std::panic::AssertUnwindSafe;

use crate::{Failure, Machine, RecordedStep, Recording, Step};

/// Makes a recording smaller, with at most so many worlds; `progress` is told the number of steps
/// after each. Nothing if its steps, played at their times, do not fail as they did.
pub fn shrink<M: Machine>(
    recording: &Recording,
    runs_max: u32,
    mut progress: impl FnMut(usize),
) -> Option<Recording> {
    let way = way_of(recording.failure.as_ref());
    let (steps, fixed) = split(recording);
    let mut best = None;
    minimise(steps, runs_max, |steps| {
        let smaller = attempt::<M>(recording, steps, &fixed, &way);
        let is_same = smaller.is_some();
        if is_same {
            progress(steps.len() + fixed.len());
            best = smaller;
        }
        is_same
    });
    best
}

/// Leaves out what is not needed to fail; `fails` is asked at most so often, and first of all about
/// everything.
pub(super) fn minimise<T: Clone>(
    mut steps: Vec<T>,
    runs_max: u32,
    mut fails: impl FnMut(&[T]) -> bool,
) {
    if !fails(&steps) {
        return;
    }
    let (mut runs, mut parts) = (1, 2);
    while runs < runs_max && !steps.is_empty() {
        let size = steps.len().div_ceil(parts);
        let mut is_smaller = false;
        let mut begin = 0;
        while begin < steps.len() && runs < runs_max {
            let end = (begin + size).min(steps.len());
            let rest = [&steps[..begin], &steps[end..]].concat();
            runs += 1;
            if fails(&rest) {
                (steps, is_smaller) = (rest, true);
            } else {
                begin = end;
            }
        }
        if !is_smaller && size == 1 {
            break;
        }
        parts = if is_smaller { parts } else { parts * 2 }.clamp(2, steps.len().max(2));
    }
}

/// Splits the steps into those that may be dropped and those that stay. What came after the failure
/// is gone.
fn split(recording: &Recording) -> (Vec<RecordedStep>, Vec<RecordedStep>) {
    let steps = &recording.steps;
    let calm = steps.iter().position(|step| step.step == Step::Calm);
    let failed_at = recording.failure.as_ref().map_or(recording.stopped_at, |failure| failure.at);
    let is_demand = |&place: &usize| steps[place].at < failed_at;
    let keep_from = calm.filter(is_demand).unwrap_or(steps.len());
    (steps[..keep_from].to_vec(), steps[keep_from..].to_vec())
}

/// Plays steps at their times. Returns what was played if it fails in that way.
fn attempt<M: Machine>(
    recording: &Recording,
    steps: &[RecordedStep],
    fixed: &[RecordedStep],
    way: &str,
) -> Option<Recording> {
    let mut world = recording.world::<M>();
    world.config.record_steps = true;
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| {
        for RecordedStep { at, step, .. } in steps.iter().chain(fixed) {
            world.run_until(*at)?;
            // What is refused is counted.
            let _ = world.apply(step.clone());
            world.check()?;
        }
        world.run_until(recording.stopped_at)
    }));
    let is_same = match played {
        Ok(Ok(())) => false,
        Ok(Err(failure)) => way_of(Some(&failure)) == way,
        Err(_) => way_of(None) == way,
    };
    is_same.then(|| world.recording())
}

/// Returns the way of a failure. A panic has none.
fn way_of(failure: Option<&Failure>) -> String {
    way(failure.map_or("panic", |failure| failure.what.as_str()))
}

/// Returns the way of a failure: its words without numbers.
pub(super) fn way(what: &str) -> String {
    let mut way = String::new();
    for character in what.chars() {
        if !character.is_ascii_digit() {
            way.push(character);
        } else if !way.ends_with('#') {
            way.push('#');
        }
    }
    way
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use x0x_core::node::{Connect, SendDirect, Target};

    use super::*;
    use crate::courier::Courier;
    use crate::{NodeId, World, WorldConfig};

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn forged(world: &World<Courier>) -> Step {
        let mut forged = vec![1];
        forged.extend(world.node_config(A).machine_key.id().0);
        forged.extend(world.node_config(A).agent_key.id().0);
        forged.extend([9; 16]);
        let (source, target) = (world.address(A), world.address(B));
        Step::Inject { source, target, ecn: None, payload: Bytes::from(forged) }
    }

    #[test]
    fn only_what_makes_it_fail_is_left() {
        let mut world = World::<Courier>::with_machines(WorldConfig::new(1, 2));
        let recipient = world.node_config(B).agent_key.id();
        let machine = Some(world.node_config(B).machine_key.id());
        let target = Target::Address { address: world.address(B), machine };
        let timeout = Duration::from_secs(5);
        world.command(A, Connect { target, keep: true, timeout }).unwrap();
        for number in 0..40_u8 {
            let at = Duration::from_millis(1000 + 100 * u64::from(number));
            let payload = Bytes::copy_from_slice(&[number]);
            let request = SendDirect { recipient, payload, timeout }.into();
            world.schedule(at, Step::Command { node: A, request });
        }
        world.schedule(Duration::from_secs(4), forged(&world));
        let failure = world.run_until(Duration::from_secs(9)).unwrap_err();
        let recording = world.recording();
        assert!(recording.steps.len() > 25, "{failure}: {}", recording.steps.len());

        let mut sizes = Vec::new();
        let shrunk = shrink::<Courier>(&recording, 200, |size| sizes.push(size)).unwrap();
        assert_eq!(shrunk.steps.len(), 1, "{:?}", shrunk.steps);
        assert!(matches!(shrunk.steps[0].step, Step::Inject { .. }));
        assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
        let mut again: World<Courier> = shrunk.world();
        let failed = again.play(&shrunk).unwrap_err();
        assert_eq!((failed.what, failed.at), (failure.what, failure.at));
    }

    #[test]
    fn what_is_demanded_stays() {
        let mut world = World::<Courier>::with_machines(WorldConfig::new(1, 2));
        for _ in 0..10 {
            world.apply(Step::Crash { node: A }).unwrap();
        }
        world.run_for(Duration::from_secs(1)).unwrap();
        world.apply(Step::Calm).unwrap();
        world.run_for(Duration::from_secs(1)).unwrap();
        let expectation = crate::step::Expectation::Linked { a: A, b: B };
        world.apply(Step::Expect(expectation)).unwrap();
        world.check().unwrap_err();
        let shrunk = shrink::<Courier>(&world.recording(), 100, |_| {}).unwrap();
        let left: Vec<_> = shrunk.steps.into_iter().map(|step| step.step).collect();
        assert!(matches!(left[..], [Step::Calm, Step::Expect(_)]), "{left:?}");
    }

    #[test]
    fn a_recording_that_does_not_fail_is_not_made_smaller() {
        let mut world = World::<Courier>::with_machines(WorldConfig::new(1, 2));
        world.apply(Step::Crash { node: A }).unwrap();
        world.run_for(Duration::from_secs(1)).unwrap();
        assert!(shrink::<Courier>(&world.recording(), 100, |_| {}).is_none());
    }
}
