//! What becomes of an author whose wall clock is set.

use std::time::Duration;

use bytes::Bytes;

use super::super::author::AuthorKey;
use super::super::batch::{Batch, VerifiedBatch};
use super::super::evidence::prove;
use super::super::{AGE_MAX, SET_BACK_MAX};
use super::harness::{BEGIN, Heard, Node, World, Writer, key, messages, millis};
use crate::gossip::Counter;
use crate::identity::CLOCK_SKEW_MAX;
use crate::support::Rng;

const AUTHOR: u8 = 0;
const DAY: u64 = 86_400_000;

fn age_max() -> u64 {
    u64::try_from(AGE_MAX.as_millis()).unwrap()
}

fn skew_max() -> u64 {
    u64::try_from(CLOCK_SKEW_MAX.as_millis()).unwrap()
}

/// The author publishes, and nothing is sent afterwards for a while.
fn publish(world: &mut World, text: &str) {
    world.nodes[0].publish(text.to_owned());
    world.advance(millis(20));
}

#[test]
fn an_author_whose_clock_is_set_back_is_heard_at_once_by_all() {
    for back in [1, 200, 1000, 1001, 1500, 5000, 60_000, 115_000, 130_000, 200_000, 800_000] {
        let mut world = World::line(3);
        ["a", "b", "c"].iter().for_each(|text| publish(&mut world, text));
        let set = world.nodes[0].unix_millis() - back;
        world.nodes[0].set_clock(set);
        ["d", "e", "f"].iter().for_each(|text| publish(&mut world, text));
        for node in 0..3 {
            assert_eq!(world.heard(node), messages(&["a", "b", "c", "d", "e", "f"]), "{back} ms");
        }
    }
}

#[test]
fn an_author_whose_clock_was_wrong_is_heard_at_once_when_it_is_right_again() {
    let year = 365 * DAY;
    for (name, offset) in [
        ("fast", 115_000_i64),
        ("too fast", 130_000),
        ("a year fast", i64::try_from(year).unwrap()),
        ("slow", -800_000),
        ("too slow", -1_000_000),
        ("a year slow", -i64::try_from(year).unwrap()),
    ] {
        let mut world = World::line(3);
        publish(&mut world, "right");
        let wrong = world.nodes[0].unix_millis().saturating_add_signed(offset);
        world.nodes[0].set_clock(wrong);
        publish(&mut world, "wrong");
        let right = world.nodes[1].unix_millis();
        world.nodes[0].set_clock(right);
        publish(&mut world, "right again");
        let is_taken = (-900_000..=120_000).contains(&offset);
        let heard: &[&str] =
            if is_taken { &["right", "wrong", "right again"] } else { &["right", "right again"] };
        for node in 1..3 {
            assert_eq!(world.heard(node), messages(heard), "{name}");
        }
    }
}

#[test]
fn an_author_that_starts_again_with_a_clock_set_back_is_heard_once_it_hears_of_its_earlier_run() {
    for back in [1, 60_000, 800_000] {
        let mut world = World::line(3);
        publish(&mut world, "before");
        let clock = world.nodes[0].unix_millis() - back;
        world.restart(AUTHOR, clock, 77);
        // What it published comes back to it.
        world.advance(Duration::from_secs(20));
        publish(&mut world, "after");
        for node in 1..3 {
            assert_eq!(world.heard(node), messages(&["before", "after"]), "{back} ms");
        }
    }
}

#[test]
fn an_agent_that_runs_twice_is_heard_with_both_and_accused_of_nothing() {
    let mut node = Node::subscribed(AUTHOR, &[1]);
    let mut other = Writer::new(AUTHOR, u64::MAX >> 22);
    for (number, text) in ["a", "b", "c"].into_iter().enumerate() {
        let batch = other.write_at(BEGIN, &[text]);
        node.receive(1, &batch);
        node.publish(format!("own {number}"));
        node.flush();
        node.advance(millis(10));
        let own = node.batches().pop().unwrap().root().stream;
        assert!(own > batch.root().stream, "a newer stream than that of the other run");
        other = Writer::new(AUTHOR, own + 1);
    }
    let heard = ["a", "own 0", "b", "own 1", "c", "own 2"];
    assert_eq!(node.heard, messages(&heard));
}

#[test]
fn times_in_a_stream_stand_still_while_a_clock_catches_up() {
    let mut node = Node::subscribed(AUTHOR, &[1]);
    node.publish("a");
    node.flush();
    let back = u64::try_from(SET_BACK_MAX.as_millis()).unwrap();
    for (set, is_same) in [(BEGIN - back, true), (BEGIN - back - 1, false)] {
        node.advance(millis(2));
        node.set_clock(set);
        node.publish("b");
        node.flush();
        let batches = node.batches();
        let [.., first, second] = &batches[..] else { panic!("two batches") };
        assert_eq!(first.root().stream == second.root().stream, is_same);
        assert_eq!(second.root().time, if is_same { BEGIN } else { set });
    }
}

/// Any two roots that an author signed, however its clock runs, and whether or not it starts again.
#[test]
fn no_two_roots_of_an_honest_author_exclude_each_other_whatever_its_clock_does() {
    let mut rng = Rng::from_seed([42; 32]);
    let steps = [1, 200, 999, 1001, 1500, 60_000, 115_000, 130_000, 901_000, DAY, 365 * DAY];
    for round in 0..20 {
        let mut world = World::line(3);
        let (mut signed, mut published) = (Vec::new(), 0);
        for step in 0..40_u8 {
            let size = steps[usize::try_from(rng.below(11)).unwrap()] + rng.below(3);
            let clock = world.nodes[0].unix_millis();
            match rng.below(8) {
                0 => world.nodes[0].set_clock(clock + size),
                1 => world.nodes[0].set_clock(clock.saturating_sub(size)),
                2 => world.nodes[0].set_clock(BEGIN),
                3 => world.restart(AUTHOR, clock.saturating_sub(size), 50 + step),
                4 => world.restart(AUTHOR, BEGIN, 100 + step),
                _ => {}
            }
            for _ in 0..=rng.below(3) {
                published += 1;
                world.nodes[0].publish(format!("{published}"));
                for _ in 0..=rng.below(3) {
                    world.nodes[0].advance(millis(1));
                    signed.extend(world.nodes[0].batches());
                    world.advance(millis(1));
                }
            }
            world.advance(Duration::from_secs(rng.below(3)) / 4);
        }
        assert!(signed.len() > 40, "{}", signed.len());
        let author = AuthorKey::new(key(AUTHOR).public().clone());
        for (at, one) in signed.iter().enumerate() {
            for other in &signed[..at] {
                assert_eq!(prove(&author, one, other), None, "round {round}");
            }
        }
        for node in &world.nodes {
            assert_eq!(node.count(Counter::Equivocations), 0, "round {round}");
            assert_eq!(node.broken, [], "round {round}");
        }
    }
}

/// Each subscriber hears what it takes by its own clock, in order, whatever the author's shows.
#[test]
fn whatever_an_authors_clock_does_what_is_dated_well_is_heard_at_once_and_in_order() {
    let mut rng = Rng::from_seed([43; 32]);
    for round in 0..10 {
        let mut world = World::line(3);
        let (mut expected, mut is_too_slow): (Vec<Heard>, bool) = (Vec::new(), false);
        for number in 0..60 {
            let right = world.nodes[1].unix_millis();
            let set = match rng.below(4) {
                _ if is_too_slow => right,
                0 => right,
                1 => right - rng.below(age_max()),
                2 => right - age_max() - 1 - rng.below(60_000),
                _ => right + rng.below(skew_max() + 60_000),
            };
            is_too_slow = set < right - age_max();
            world.nodes[0].set_clock(set);
            let text = format!("message {number}");
            if (right - age_max()..=right + skew_max()).contains(&set) {
                expected.push(Heard::Message(text.clone()));
            }
            world.nodes[0].publish(text);
            world.run();
            world.advance(millis(3));
            for node in 1..3 {
                assert_eq!(world.heard(node), expected, "round {round}");
            }
        }
    }
}

/// Numbers of streams are no times: a batch may be dated long before what its stream's number says.
#[test]
fn the_number_of_a_stream_says_nothing_of_its_times() {
    let mut author = Writer::new(9, u64::MAX - 1);
    let batch: VerifiedBatch = author.write_at(BEGIN, &["x"]);
    let bytes: Bytes = batch.item().bytes;
    assert!(Batch::parse(bytes).is_ok());
}
