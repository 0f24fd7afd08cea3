//! Where a subscription begins in a stream that runs already.

use std::time::Duration;

use super::super::batch::VerifiedBatch;
use super::super::{GAP_TIME, Input};
use super::harness::{BEGIN, Heard, Node, World, Writer, messages, millis, topic};

const AUTHOR: u8 = 9;

/// How far the author's clock is ahead of the subscriber's, in milliseconds.
const SKEWS: [i64; 7] = [0, 900, -900, 7000, -7000, 119_000, -119_000];

/// A node that subscribes now, with peers that are its neighbours, and an author that it never heard.
fn start() -> (Node, Writer) {
    let mut node = Node::subscribed(0, &[1, 2]);
    node.learn(1, AUTHOR);
    (node, Writer::new(AUTHOR, 1))
}

/// A time after the subscription, by a clock that is ahead by so much.
fn at(after: i64, skew: i64) -> u64 {
    BEGIN.saturating_add_signed(after + skew)
}

/// Batches that an author publishes at these times, each with its time as the text.
fn write<const N: usize>(author: &mut Writer, skew: i64, times: [i64; N]) -> [VerifiedBatch; N] {
    times.map(|after| author.write_at(at(after, skew), &[&after.to_string()]))
}

#[test]
fn who_subscribes_soon_after_a_message_hears_the_next_at_once_and_misses_nothing() {
    for skew in SKEWS {
        for before in [-1, -100, -3000, -4999, -60_000] {
            for after in [1, 100, 2000, 10_000] {
                let (mut node, mut author) = start();
                let [_, next] = write(&mut author, skew, [before, after]);
                node.advance(Duration::from_millis(after.unsigned_abs()));
                node.receive(1, &next);
                let case = format!("skew {skew}, before {before}, after {after}");
                assert_eq!(node.heard, messages(&[&after.to_string()]), "{case}");
                assert_eq!(node.own_deadline(), None, "{case}: nothing is waited for");
            }
        }
    }
}

#[test]
fn who_subscribes_to_a_busy_topic_hears_the_next_message_at_once_and_misses_nothing() {
    for skew in SKEWS {
        for pause in [20, 1000] {
            let mut world = World::linked(3);
            let clock = world.nodes[0].unix_millis().saturating_add_signed(skew);
            world.nodes[0].set_clock(clock);
            world.subscribe(0);
            world.subscribe(1);
            world.run();
            let mut published = 0;
            let mut publish = |world: &mut World| {
                world.advance(millis(pause / 2));
                world.nodes[0].publish(published.to_string());
                world.advance(millis(pause / 2));
                published += 1;
                Heard::Message((published - 1).to_string())
            };
            (0..5).for_each(|_| drop(publish(&mut world)));
            world.subscribe(2);
            world.run();
            // What the author dates after the subscription, it may hear.
            let before = world.heard(2).len();
            let case = format!("skew {skew}, a message every {pause} ms");
            assert!(before == 0 || skew > 0, "{case}");
            let next: Vec<Heard> = (0..5)
                .map(|_| {
                    let next = publish(&mut world);
                    assert_eq!(world.heard(2).last(), Some(&next), "{case}: at once");
                    next
                })
                .collect();
            world.advance(GAP_TIME + GAP_TIME);
            assert_eq!(world.heard(2)[before..], next, "{case}");
            assert!(!world.heard(2).iter().any(|heard| matches!(heard, Heard::Lagged(_))));
        }
    }
}

#[test]
fn what_was_published_since_the_subscription_is_fetched_before_what_comes_first() {
    for skew in [0, 900, 119_000] {
        let (mut node, mut author) = start();
        let batches = write(&mut author, skew, [-40, -20, 20, 40, 60]);
        node.advance(millis(65));
        node.receive(1, &batches[4]);
        assert_eq!(node.heard, [], "{skew}");
        // Repairs come in any order; those from before the subscription are not delivered.
        for index in [0, 3, 1, 2] {
            node.repair(1, &batches[index]);
        }
        assert_eq!(node.heard, messages(&["20", "40", "60"]), "{skew}");
        assert_eq!(node.own_deadline(), None);
    }
}

#[test]
fn what_no_neighbour_offers_is_not_waited_for() {
    // Neighbours offer what is dated after the subscription by the subscriber's clock.
    for skew in [-900, -119_000] {
        let (mut node, mut author) = start();
        let [.., last] = write(&mut author, skew, [-40, -20, 20, 40, 60]);
        node.advance(millis(65));
        node.receive(1, &last);
        assert_eq!(node.heard, messages(&["60"]), "{skew}");
    }
}

#[test]
fn a_message_that_was_surely_published_since_the_subscription_is_told_when_it_does_not_come() {
    let (mut node, mut author) = start();
    let [.., last] = write(&mut author, 0, [-40, -20, 20, 40, 60]);
    node.advance(millis(65));
    node.receive(1, &last);
    node.advance(GAP_TIME);
    assert_eq!(node.heard, [vec![Heard::Lagged(1)], messages(&["60"])].concat());
}

#[test]
fn repairs_alone_tell_of_no_message_that_may_be_older_than_the_subscription() {
    // By its author's clock it was published after, but that may be ahead.
    for (after, told) in [(100, false), (119_000, false), (121_000, true)] {
        let (mut node, mut author) = start();
        let [.., last] = write(&mut author, 0, [-20, after, after]);
        node.advance(Duration::from_millis(after.unsigned_abs()));
        node.repair(1, &last);
        node.advance(GAP_TIME);
        let lag = if told { vec![Heard::Lagged(1)] } else { Vec::new() };
        assert_eq!(node.heard, [lag, messages(&[&after.to_string()])].concat(), "{after}");
    }
}

#[test]
fn repairs_that_turn_out_to_be_older_than_the_subscription_are_not_waited_for() {
    // The author's clock is ahead, so its old batches seem to be of after the subscription.
    let (mut node, mut author) = start();
    let batches = write(&mut author, 60_000, [-5000, -4000, -3000, 500]);
    node.repair(1, &batches[2]);
    assert_eq!(node.heard, [], "the one before it may be of interest");
    node.advance(millis(500));
    node.receive(1, &batches[3]);
    assert_eq!(node.heard, messages(&["500"]));
    assert_eq!(node.own_deadline(), None);
}

#[test]
fn who_subscribes_again_hears_the_next_message_at_once_and_nothing_twice() {
    for skew in SKEWS {
        let (mut node, mut author) = start();
        let [a, missed, c, d] = write(&mut author, skew, [100, 3000, 7000, 7500]);
        node.advance(millis(100));
        node.receive(1, &a);
        node.handle(Input::Unsubscribe { topic: topic() });
        node.advance(millis(4000));
        node.handle(Input::Subscribe { topic: topic() });
        node.advance(millis(2900));
        node.receive(1, &c);
        assert_eq!(node.heard, messages(&["100", "7000"]), "{skew}");
        for batch in [&a, &missed, &d, &c] {
            node.receive(1, batch);
        }
        assert_eq!(node.heard, messages(&["100", "7000", "7500"]), "{skew}");
        assert_eq!(node.own_deadline(), None, "{skew}");
    }
}

#[test]
fn a_stream_that_begins_within_a_subscription_is_told_as_missed_from_its_start() {
    let (mut node, mut author) = start();
    let [a] = write(&mut author, 0, [100]);
    node.receive(1, &a);
    let mut again = Writer::new(AUTHOR, 2);
    let [.., last] = write(&mut again, 0, [200, 300, 400, 500]);
    node.advance(millis(500));
    node.receive(1, &last);
    node.advance(GAP_TIME);
    let expected = [messages(&["100"]), vec![Heard::Lagged(3)], messages(&["500"])].concat();
    assert_eq!(node.heard, expected);
}
