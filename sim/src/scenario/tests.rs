//! Scenarios with couriers in place of whole nodes.

use super::*;
use crate::courier::Courier;

#[test]
fn a_quiet_world_delivers_and_acknowledges_everything() {
    for topology in [Topology::Line, Topology::Star, Topology::Random { degree: 4 }] {
        let scenario = Scenario::new(1, 12).topology(topology).messages(10, 500);
        let report = scenario.run_with::<Courier>().unwrap();
        assert_eq!(report.links_up, report.links, "{topology}");
        assert_eq!(report.tally.sends, 120, "{topology}");
        assert_eq!(report.tally.sends_acknowledged, 120, "{topology}");
        assert_eq!(report.tally.delivered, 120, "{topology}");
        assert!(report.delivered_within(50) < report.acknowledged_within(50), "{topology}");
    }
}

#[test]
fn one_seed_gives_one_trace_under_every_fault() {
    let link = LinkProfile {
        loss: 0.05,
        jitter: Duration::from_millis(5),
        reorder: 0.02,
        duplicate: 0.02,
        ..LinkProfile::default()
    };
    let scenario = |seed| Scenario::new(seed, 10).link(link).faults(0, 2).messages(5, 200);
    let report = |seed| scenario(seed).run_with::<Courier>().unwrap();
    assert_eq!(report(3), report(3));
    assert_ne!(report(3).trace_hash, report(4).trace_hash);
}

#[test]
fn a_random_graph_is_connected_and_has_its_degree() {
    let scenario = Scenario::new(5, 40).messages(0, 16);
    let report = scenario.run_with::<Courier>().unwrap();
    assert_eq!(report.links, 80);
}

#[test]
fn a_scenario_that_does_not_recover_fails_with_its_seed() {
    // A courier that was started again has no memory of who it was, so its peers never greet it.
    let scenario = Scenario::new(9, 6)
        .topology(Topology::Line)
        .messages(0, 16)
        .faults(4, 0)
        .recovery(Duration::from_secs(60));
    let mut world = scenario.world::<Courier>();
    let failure = scenario.run_in(&mut world).unwrap_err();
    assert_eq!(failure.seed, 9);
    assert!(failure.what.contains("stay down"), "{failure}");

    // No check failed, so the world plays to its end, where it is what it was.
    let recording = world.recording();
    assert_eq!(recording.failure, Some(failure));
    let mut again: World<Courier> = recording.world();
    again.play(&recording).unwrap();
    assert_eq!(again.trace_hash(), recording.trace_hash);
}
