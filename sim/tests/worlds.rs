//! Whole nodes in whole worlds: what must hold whatever happens.

use std::time::Duration;

use x0x_sim::{Scenario, Topology};

/// A hundred seconds of a calm network: everything arrives.
#[test]
fn in_a_calm_world_every_message_is_acknowledged() {
    let report = Scenario::new(7, 10)
        .topology(Topology::Random { degree: 3 })
        .duration(Duration::from_secs(30))
        .messages(20, 2000)
        .run()
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(report.links_up, report.links);
    assert_eq!(report.tally.sends_acknowledged, 10 * 20);
    assert_eq!(report.tally.sends, 10 * 20);
}

/// Seeds that run on each change. A seed that found a fault joins with a word on what it found.
const SEEDS: std::ops::Range<u64> = 1..31;

#[test]
fn random_worlds_keep_their_promises_and_heal() {
    for seed in SEEDS {
        println!("SEED={seed}: x0x-sim worlds --seed {seed} --count 1");
        Scenario::random(seed).run().unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 11] {
        let run = || Scenario::random(seed).run().map(|report| report.trace_hash);
        let (first, second) = (run(), run());
        assert_eq!(first.ok(), second.ok(), "seed {seed}");
    }
    let trace = |seed| Scenario::random(seed).run().map(|report| report.trace_hash).ok();
    assert_ne!(trace(3), trace(4));
}
