//! Several candidates at once, and routes of several types.

use super::*;

fn direct(number: u8) -> Route {
    Route::Direct(path(number))
}

fn relayed(number: u64) -> Route {
    Route::Relayed(CircuitId(number))
}

#[test]
fn candidates_up_to_the_limit_are_checked_at_once_each_within_its_own_budget() {
    let mut case = Case::of(path(1), 3);
    case.foreign(path(2), 1200);
    case.foreign(path(3), PROBE_LEN.div_ceil(AMPLIFICATION_MAX));
    case.foreign(path(4), 1);
    case.foreign(path(5), 1200);
    case.pass(CHECK_TIME / 2);
    assert_eq!(case.state.candidates(), 3);
    let probes = [2, 3, 4, 5].map(|number| case.probes_to(path(number)));
    assert_eq!(probes, [PROBES_MAX as usize, 1, 0, 0]);
}

#[test]
fn each_candidate_has_its_own_timeout() {
    let mut case = Case::of(path(1), CANDIDATES_MAX);
    case.foreign(path(2), 1200);
    case.pass(CHECK_TIME / 2);
    case.foreign(path(3), 1200);
    case.pass(CHECK_TIME / 2);
    assert_eq!(case.state.candidates(), 1, "the first has timed out");
    case.answer(path(3));
    case.pass(GRACE_MIN);
    assert_eq!(case.moves, [path(3)]);
}

#[test]
fn the_first_candidate_that_answers_wins_and_the_others_are_dropped() {
    let mut case = Case::of(path(1), CANDIDATES_MAX);
    for number in 2..=4 {
        case.foreign(path(number), 1200);
    }
    case.answer(path(3));
    case.pass(Duration::from_millis(1));
    case.answer(path(2));
    case.pass(GRACE_MIN);
    assert_eq!(case.moves, [path(3)]);
    assert_eq!((case.state.candidates(), case.state.deadline()), (0, None));
}

#[test]
fn a_current_path_that_works_ends_every_check_but_the_moves_that_an_end_asked_for() {
    let mut case = Case::of(path(1), CANDIDATES_MAX);
    case.foreign(path(2), 1200);
    case.foreign(path(3), 1200);
    case.ask(path(4), true);
    case.answer(path(1));
    assert_eq!(case.state.candidates(), 1);
    case.answer(path(4));
    assert_eq!(case.moves, [path(4)]);
}

#[test]
fn a_move_that_an_end_asks_for_takes_the_place_of_the_oldest_candidate() {
    let mut case = Case::of(path(1), 2);
    case.ask(path(2), true);
    case.foreign(path(3), 1200);
    case.ask(path(4), true);
    case.answer(path(2));
    assert_eq!(case.moves, [path(2)], "the one that was asked for stayed");
    let mut case = Case::of(path(1), 2);
    case.foreign(path(2), 1200);
    case.foreign(path(3), 1200);
    case.ask(path(4), true);
    case.answer(path(2));
    case.pass(GRACE_MIN);
    assert_eq!(case.moves, [], "the oldest is gone");
    case.answer(path(3));
    case.pass(GRACE_MIN);
    assert_eq!(case.moves, [path(3)]);
}

#[test]
fn a_direct_path_replaces_a_relayed_one_at_once_and_a_relayed_one_waits_for_silence() {
    let mut case = Case::of(relayed(1), CANDIDATES_MAX);
    case.foreign(direct(2), 1200);
    case.answer(direct(2));
    assert_eq!(case.moves, [direct(2)]);
    assert_eq!(case.probes_to(relayed(1)), 0, "its silence is not needed");

    let mut case = Case::of(direct(1), CANDIDATES_MAX);
    case.foreign(relayed(2), 1200);
    case.answer(relayed(2));
    case.answer(direct(1));
    case.pass(CHECK_TIME);
    assert_eq!(case.moves, [], "the direct path works");
    case.foreign(relayed(2), 1200);
    case.answer(relayed(2));
    case.pass(GRACE_MIN);
    assert_eq!(case.moves, [relayed(2)]);
}

#[test]
fn a_direct_candidate_stays_under_check_after_a_move_to_a_relayed_one() {
    let mut case = Case::of(direct(1), CANDIDATES_MAX);
    case.foreign(relayed(2), 1200);
    case.foreign(relayed(3), 1200);
    case.foreign(direct(4), 1200);
    case.answer(relayed(2));
    case.pass(GRACE_MIN);
    assert_eq!(case.moves, [relayed(2)]);
    assert_eq!(case.state.candidates(), 1);
    case.answer(direct(4));
    assert_eq!(case.moves, [relayed(2), direct(4)]);
}

#[test]
fn among_several_that_are_ready_a_direct_one_wins() {
    let mut case = Case::of(direct(1), CANDIDATES_MAX);
    case.foreign(relayed(2), 1200);
    case.foreign(direct(3), 1200);
    let (first, second) = (case.challenge(relayed(2)), case.challenge(direct(3)));
    case.state.handle_answer(case.now, relayed(2), first, ROUND_TRIP);
    case.state.handle_answer(case.now, direct(3), second, ROUND_TRIP);
    case.pass(GRACE_MIN);
    assert_eq!(case.moves, [direct(3)]);
}

/// Plays a drawn script in which only two paths occur, and returns what it caused.
fn play(candidates_max: usize, seed: u8) -> (Vec<(Path, Probe)>, Vec<Path>) {
    let mut script = Rng::from_seed([seed; 32]);
    let mut case = Case::of(path(1), candidates_max);
    for _ in 0..200 {
        let over = if case.state.current() == path(1) { path(2) } else { path(1) };
        match script.below(6) {
            0 => case.foreign(over, usize::try_from(script.below(100)).unwrap()),
            1 => case.ask(over, script.below(2) == 0),
            2 => {
                case.state.move_to(case.now, over, &mut case.rng);
                case.poll();
            }
            choice => {
                let over = if choice == 3 { case.state.current() } else { over };
                if case.probes_to(over) > 0 && script.below(3) == 0 {
                    case.answer(over);
                }
            }
        }
        case.pass(Duration::from_millis(script.below(400)));
    }
    (case.probes, case.moves)
}

#[test]
fn with_one_candidate_at_a_time_the_limit_makes_no_difference() {
    let mut moves = 0;
    for seed in 0..50 {
        let outcome = play(1, seed);
        moves += outcome.1.len();
        assert_eq!(play(CANDIDATES_MAX, seed), outcome, "seed {seed}");
    }
    assert!(moves > 100, "connections moved: {moves}");
}
