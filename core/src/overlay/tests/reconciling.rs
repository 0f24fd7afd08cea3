//! Who may compare histories, and what an answer costs.

use super::super::Input;
use super::super::frames::{Message, Priority};
use super::lone::{Lone, ROOMY, peer, topic};
use super::world::{ms, secs};
use crate::overlay::Counter;

fn is_comparison(message: &Message<super::lone::Id>) -> bool {
    matches!(message, Message::IHave { .. } | Message::Reconcile(_))
}

#[test]
fn a_small_comparison_gets_a_small_answer() {
    let mut lone = Lone::with_items(4096, 16);
    lone.up([1], ROOMY);
    lone.say(1, topic(0), Message::Neighbor(Priority::High));
    lone.run(ms(10));
    let (bytes, frames) = (lone.bytes, lone.count(is_comparison));
    let asked = lone.compare(1, topic(0));
    assert_eq!(lone.count(is_comparison) - frames, 2, "256 ids, and a fingerprint of the rest");
    let answered = lone.bytes - bytes;
    assert!(answered <= 88 * asked, "{answered} bytes for {asked}");
}

#[test]
fn histories_are_compared_with_those_in_the_topic_alone() {
    for (name, joins, is_neighbour, answers) in [
        ("a stranger", false, false, 0),
        ("a member", true, false, 8),
        ("a neighbour", true, true, 30),
    ] {
        let mut lone = Lone::with_items(600, 16);
        lone.up([1], ROOMY);
        if joins {
            lone.say(1, topic(0), Message::Joined);
        }
        if is_neighbour {
            lone.say(1, topic(0), Message::Neighbor(Priority::High));
        }
        let before = lone.count(|message| matches!(message, Message::Reconcile(_)));
        for _ in 0..30 {
            lone.compare(1, topic(0));
        }
        let sent = lone.count(|message| matches!(message, Message::Reconcile(_))) - before;
        assert_eq!(sent, answers, "{name}");
    }
}

#[test]
fn a_peer_that_the_node_asked_may_answer() {
    let mut lone = Lone::with_items(600, 16);
    lone.up([1], ROOMY);
    lone.act(|state, context| state.pull(context, topic(0), peer(1)));
    for (wait, answers) in [(secs(9), 1), (secs(2), 0)] {
        lone.run(wait);
        let before = lone.count(|message| matches!(message, Message::IHave { .. }));
        lone.compare(1, topic(0));
        let sent = lone.count(|message| matches!(message, Message::IHave { .. })) - before;
        assert_eq!(sent, answers);
    }
}

#[test]
fn all_peers_together_get_no_more_than_a_hundred_answers_a_second() {
    let mut lone = Lone::with_items(600, 16);
    lone.up(1..=100, ROOMY);
    for number in 1..=100 {
        lone.say(number, topic(0), Message::Joined);
    }
    let before = lone.count(is_comparison);
    for _ in 0..10 {
        lone.run(ms(100));
        for number in 1..=100 {
            lone.compare(number, topic(0));
        }
    }
    let sent = lone.count(is_comparison) - before;
    // Two hundred at once, a hundred in the second; each is a list of ids and a fingerprint.
    assert!((400..=600).contains(&sent), "{sent} frames");
    assert!(lone.counters.get(Counter::RequestsOverLimit) >= 700);
}

#[test]
fn announcements_in_an_answer_count_as_requests() {
    let mut lone = Lone::with_items(4096, 16);
    lone.up([1], ROOMY);
    lone.say(1, topic(0), Message::Joined);
    lone.say(1, topic(0), Message::Neighbor(Priority::High));
    let before = lone.count(is_comparison);
    for _ in 0..64 {
        lone.compare(1, topic(0));
    }
    // Of 64 tokens, one for having joined.
    assert_eq!(lone.count(is_comparison) - before, 2 * 32);
}

#[test]
fn a_neighbour_that_asks_too_often_is_banned() {
    let mut lone = Lone::with_items(600, 16);
    lone.up([1], ROOMY);
    lone.handle(Input::Join { topic: topic(1) });
    for _ in 0..1200 {
        lone.compare(1, topic(1));
    }
    assert_eq!(lone.violations, [(peer(1), "keeps sending useless frames")]);
}
