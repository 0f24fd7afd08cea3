//! Attackers whose frames are those of honest nodes: whatever they say, every message reaches everybody
//! in time, and what they make others send is bounded by what they send.

use x0x_sim::model::experiment::Attack;

use super::arena::{Arena, S};

/// How many bytes all honest nodes together may send for one of the attackers, and for one of those
/// who come with ever new names: a session costs them a handshake.
const FACTOR_MAX: u64 = 8;
const STRANGERS_FACTOR_MAX: u64 = 1;

/// Plays a world with an attack, and without; asserts that it acts and that it harms nobody.
fn assert_harmless(seed: u64, attack: Attack, kind: &str, frames_min: u64) -> Arena {
    let factor_max = if attack == Attack::Strangers { STRANGERS_FACTOR_MAX } else { FACTOR_MAX };
    let calm = Arena::attacked(seed, None).talk();
    let arena = Arena::attacked(seed, Some(attack)).talk();
    let (frames, before) = (arena.abused(kind), calm.abused(kind));
    assert!(frames >= before + frames_min, "{frames} frames of {kind}, {before} without");
    let tally = arena.world.tally();
    let seen = format!("{:?} {tally:?}", arena.world.rules());
    assert_eq!(
        (tally.forgeries, tally.wrongly_accused, tally.delivered_twice, tally.equivocations),
        (0, 0, 0, 0),
        "{seen}"
    );
    for record in arena.world.records() {
        let (expected, has) = arena.world.reached(record);
        assert!(has == expected, "{has} of {expected}: {seen}");
    }
    let late = arena.world.records().iter().filter(|record| record.duration() > 10 * S).count();
    assert_eq!(late, 0, "messages were late: {seen}");
    let ([honest, hostile], [before, spent]) = (arena.sent(), calm.sent());
    let most = before + before / 5 + factor_max * hostile.saturating_sub(spent);
    assert!(honest <= most, "{honest} bytes, {before} without, for {hostile}: {seen}");
    arena
}

#[test]
fn beacons_without_end_move_no_tree_and_flood_no_topic() {
    assert_harmless(21, Attack::Beacons, "beacon", 200);
}

#[test]
fn peers_that_do_not_exist_push_out_nobody() {
    let arena = assert_harmless(22, Attack::NamedAddresses, "refer", 50);
    let dials = arena.world.tally().dials_failed;
    assert!(dials <= 3000, "{dials} dials to nobody");
}

#[test]
fn ever_new_authors_delay_nobody() {
    assert_harmless(23, Attack::PuppetAuthors, "push", 1000);
}

#[test]
fn items_that_do_not_exist_hide_none_that_do() {
    assert_harmless(24, Attack::InventedItems, "have", 100);
}

#[test]
fn who_compares_and_comes_and_goes_without_end_costs_little() {
    assert_harmless(25, Attack::Reconciler, "reconcile", 100);
}

#[test]
fn strangers_without_end_push_out_nobody() {
    let arena = assert_harmless(26, Attack::Strangers, "newcomer", 200);
    let sessions = arena.world.tally().sessions;
    assert!(sessions >= 200, "{sessions} sessions");
}
