//! Hostile nodes in a topic: whatever a tenth of them does, the honest ones reach one another, what
//! that costs is bounded, and who is to blame is named.

mod topics {
    pub(crate) mod arena;

    mod abuse;
}

use topics::arena::{Arena, S};
use x0x_core::gossip;
use x0x_sim::model::GossipNode;
use x0x_sim::model::attack::{Filler, Flood, Puppet, Recorder, Twist, Twisted, TwoFaced};

#[test]
fn honest_nodes_among_themselves_accuse_nobody() {
    let arena = Arena::new(1, 0, |_, _, _| unreachable!("nobody is hostile")).talk();
    arena.assert_unharmed(9_000.0, 8_000.0);
    assert!(arena.world.rules().is_empty(), "{:?}", arena.world.rules());
    assert_eq!(arena.world.tally().delivered_twice, 0);
}

#[test]
fn who_forges_batches_is_cut_off() {
    let arena = Arena::twisted(8, &Twist::Forge).talk();
    arena.assert_unharmed(12_000.0, 12_000.0);
    assert!(arena.count(gossip::Counter::BatchesForged) > 0);
    arena.assert_accused(1);
}

#[test]
fn who_sends_junk_is_cut_off() {
    let arena = Arena::new(3, 10, |_, _, targets| {
        Box::new(Flood::new(Filler::Junk(2000), targets, S / 10))
    });
    let arena = arena.talk();
    arena.assert_unharmed(20_000.0, 12_000.0);
    arena.assert_all_accused();
}

#[test]
fn who_announces_and_does_not_give_delays_nobody_for_long() {
    let arena = Arena::twisted(4, &Twist::Mute).talk();
    arena.assert_unharmed(12_000.0, 12_000.0);
    let slowest = arena.world.records().iter().map(|record| record.duration()).max().unwrap();
    assert!(slowest < 10 * S, "{slowest:?}");
}

#[test]
fn who_announces_what_does_not_exist_is_cut_off() {
    let arena = Arena::twisted(2, &Twist::Invent).talk();
    arena.assert_unharmed(12_000.0, 12_000.0);
    arena.talk().assert_all_accused();
}

#[test]
fn who_takes_and_never_gives_loses_nothing_for_others() {
    Arena::twisted(5, &Twist::Swallow).talk().assert_unharmed(12_000.0, 12_000.0);
}

#[test]
fn topics_that_nobody_knows_cost_little() {
    Arena::twisted(6, &Twist::Topics(1000)).talk().assert_unharmed(20_000.0, 12_000.0);
}

#[test]
fn who_says_that_it_is_in_ever_more_topics_is_cut_off() {
    let arena =
        Arena::new(11, 10, |_, _, targets| Box::new(Flood::new(Filler::Topics, targets, S / 2)));
    let arena = arena.talk();
    arena.assert_unharmed(20_000.0, 12_000.0);
    arena.assert_all_accused();
}

#[test]
fn what_is_said_again_is_not_delivered_again() {
    let arena = Arena::twisted(7, &Twist::Repeat(10)).talk();
    arena.assert_unharmed(75_000.0, 12_000.0);
    assert_eq!(arena.world.tally().delivered_twice, 0);
    let arena = Arena::new(8, 10, |_, _, targets| Box::new(Recorder::new(targets, S / 5))).talk();
    arena.assert_unharmed(75_000.0, 12_000.0);
    assert_eq!(arena.world.tally().delivered_twice, 0);
}

#[test]
fn who_says_everything_a_hundred_times_is_cut_off() {
    let arena = Arena::twisted(7, &Twist::Repeat(100)).talk();
    arena.assert_unharmed(75_000.0, 12_000.0);
    assert_eq!(arena.world.tally().delivered_twice, 0);
    arena.assert_accused(1);
}

#[test]
fn who_replays_what_it_heard_without_end_is_cut_off() {
    let arena = Arena::new(13, 10, |_, _, targets| Box::new(Recorder::new(targets, S / 50))).talk();
    arena.assert_unharmed(500_000.0, 12_000.0);
    assert_eq!(arena.world.tally().delivered_twice, 0);
    arena.assert_all_accused();
}

#[test]
fn a_node_that_a_third_of_all_surround_hears_everything() {
    let arena = Arena::new(9, 3, |me, rng, targets| {
        let targets = vec![targets[3]];
        let plan = Twisted { twist: Twist::Mute, targets, patience: S };
        Box::new(Puppet::<GossipNode>::new(me, rng, plan))
    });
    let arena = arena.talk();
    let heard = arena.world.records().iter().filter(|record| record.received.contains(3)).count();
    assert_eq!(heard, arena.world.records().len());
    arena.assert_unharmed(20_000.0, 12_000.0);
}

#[test]
fn an_author_with_two_faces_is_found_out_by_all() {
    let arena =
        Arena::new(10, 30, |me, rng, _| Box::new(TwoFaced::<GossipNode>::new(me, rng, 70 * S)));
    let arena = arena.talk();
    assert!(arena.reached() >= 0.999, "{}", arena.reached());
    let tally = arena.world.tally();
    assert_eq!((tally.forgeries, tally.wrongly_accused), (0, 0), "{:?}", arena.world.rules());
    let honest = u64::from(arena.world.present().count());
    let authors = arena.hostile.len() as u64;
    assert_eq!(tally.equivocations, honest * authors, "{tally:?}");
}
