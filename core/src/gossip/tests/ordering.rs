//! In which order messages are delivered, and what is said of those that are missing.

use std::time::Duration;

use super::super::batch::VerifiedBatch;
use super::super::receiver::{DeliveryWatermarks, ResumePoint, StreamPosition, Watermark};
use super::super::{
    AGE_MAX, AUTHORS_MAX, GAP_TIME, Input, PAST_AUTHORS_MAX, PAYLOAD_MAX, PULL_AGAIN,
    STRANGER_INTERVAL, TOPIC_WAITING_BYTES_MAX, Topic, WAITING_BATCHES_MAX,
};
use super::harness::{BEGIN, Heard, Node, Writer, messages, millis};
use crate::crypto::hash::blake3;
use crate::gossip::Counter;
use crate::identity::{AgentId, AgentKey, CLOCK_SKEW_MAX};
use crate::support::MemoryBudget;

const AUTHOR: u8 = 9;

/// A subscriber that knows the author's key, and the author, whose stream begins at this time.
fn start(stream: u64) -> (Node, Writer) {
    let mut node = Node::subscribed(0, &[1, 2]);
    node.learn(1, AUTHOR);
    (node, Writer::new(AUTHOR, stream))
}

fn write<const N: usize>(writer: &mut Writer, texts: [&str; N]) -> [VerifiedBatch; N] {
    texts.map(|text| writer.write(&[text]))
}

#[test]
fn batches_that_come_in_any_order_are_delivered_in_the_authors() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (mut node, mut author) = start(BEGIN);
        let batches = write(&mut author, ["a", "b", "c"]);
        for index in order {
            node.receive(1, &batches[index]);
        }
        assert_eq!(node.heard, messages(&["a", "b", "c"]), "{order:?}");
        node.advance(2 * GAP_TIME);
        assert_eq!(node.heard.len(), 3, "nothing was missed");
    }
}

#[test]
fn a_batch_that_comes_again_is_not_delivered_again() {
    let (mut node, mut author) = start(BEGIN);
    let [a, b] = write(&mut author, ["a", "b"]);
    for batch in [&a, &b, &a, &b] {
        node.receive(1, batch);
        node.repair(2, batch);
    }
    assert_eq!(node.heard, messages(&["a", "b"]));
    assert_eq!(node.count(Counter::BatchesDuplicate), 6);
    assert_eq!(node.count(Counter::BatchesVerified), 2, "nothing is checked twice");
    assert_eq!(node.broken, []);
}

#[test]
fn a_gap_that_is_not_filled_is_told_and_delivery_goes_on() {
    let (mut node, mut author) = start(BEGIN);
    let [a] = write(&mut author, ["a"]);
    let lost = author.write(&["b", "c", "d"]);
    let [e, f] = write(&mut author, ["e", "f"]);
    for batch in [&a, &e] {
        node.receive(1, batch);
    }
    assert_eq!(node.own_deadline(), Some(node.now + PULL_AGAIN));
    node.advance(GAP_TIME - millis(1));
    assert_eq!(node.heard, messages(&["a"]));
    node.advance(millis(1));
    let expected = [messages(&["a"]), vec![Heard::Lagged(3)], messages(&["e"])].concat();
    assert_eq!(node.heard, expected);
    node.repair(1, &lost);
    node.receive(1, &f);
    assert_eq!(node.heard, [expected, messages(&["f"])].concat(), "what is given up is over");
    assert_eq!(node.count(Counter::MessagesLagged), 3);
    assert_eq!(node.own_deadline(), None);
}

#[test]
fn a_gap_behind_a_gap_has_its_own_time() {
    let (mut node, mut author) = start(BEGIN);
    let [a, _, c, _, e] = write(&mut author, ["a", "b", "c", "d", "e"]);
    for batch in [&a, &c, &e] {
        node.receive(1, batch);
    }
    node.advance(GAP_TIME);
    assert_eq!(node.heard.len(), 3, "a, one missed, c");
    node.advance(GAP_TIME - millis(1));
    assert_eq!(node.heard.len(), 3);
    node.advance(millis(1));
    let heard = ["a", "c", "e"].map(|text| Heard::Message(text.to_owned()));
    let [a, c, e] = heard;
    assert_eq!(node.heard, [a, Heard::Lagged(1), c, Heard::Lagged(1), e]);
}

#[test]
fn a_stream_that_was_quiet_before_the_subscription_begins_with_its_next_batch() {
    let (mut node, mut author) = start(BEGIN - 60_000);
    write(&mut author, ["a", "b"]);
    let c = author.write_at(BEGIN, &["c"]);
    node.receive(1, &c);
    assert_eq!(node.heard, messages(&["c"]));
    assert_eq!(node.own_deadline(), None, "nothing is missing");
}

#[test]
fn repaired_batches_from_before_the_subscription_only_tell_where_a_stream_is() {
    let (mut node, mut author) = start(BEGIN - 10_000);
    let a = author.write(&["a"]);
    let b = author.write_at(BEGIN - 2000, &["b"]);
    let c = author.write_at(BEGIN, &["c"]);
    node.receive(1, &c);
    assert_eq!(node.heard, messages(&["c"]), "what came before it is of no interest");
    node.repair(1, &a);
    node.repair(1, &b);
    assert_eq!(node.heard, messages(&["c"]));
    assert_eq!(node.own_deadline(), None);
    // The same when the history comes first.
    let (mut node, mut author) = start(BEGIN - 10_000);
    let [a, b] = write(&mut author, ["a", "b"]);
    let c = author.write_at(BEGIN, &["c"]);
    for batch in [&a, &b] {
        node.repair(1, batch);
    }
    node.receive(1, &c);
    assert_eq!(node.heard, messages(&["c"]));
}

#[test]
fn a_new_stream_of_an_author_replaces_the_old() {
    let (mut node, mut author) = start(BEGIN);
    let [a, _, c] = write(&mut author, ["a", "b", "c"]);
    let late = author.write(&["late"]);
    let mut again = Writer::new(AUTHOR, BEGIN + 1);
    let [d, e] = write(&mut again, ["d", "e"]);
    for batch in [&a, &c, &d, &late, &e] {
        node.receive(1, batch);
    }
    let [first, rest] = [messages(&["a"]), messages(&["c", "d", "e"])];
    assert_eq!(node.heard, [first, vec![Heard::Lagged(1)], rest].concat());
    assert_eq!(node.count(Counter::BatchesPast), 1);
    assert_eq!(node.own_deadline(), None);
}

/// What an author said before it started again comes back to it from others, but not after what it
/// says now.
#[test]
fn a_stream_of_ones_own_replaces_that_of_an_earlier_run() {
    for is_waiting in [false, true] {
        let mut node = Node::subscribed(AUTHOR, &[1, 2]);
        let mut earlier = Writer::new(AUTHOR, BEGIN);
        let [a, b, c] = write(&mut earlier, ["a", "b", "c"]);
        node.receive(1, if is_waiting { &b } else { &a });
        node.publish("new");
        node.flush();
        let told = if is_waiting { vec![Heard::Lagged(1)] } else { Vec::new() };
        let text = if is_waiting { "b" } else { "a" };
        let expected = [told, messages(&[text, "new"])].concat();
        assert_eq!(node.heard, expected);
        node.receive(2, &c);
        node.advance(2 * GAP_TIME);
        assert_eq!(node.heard, expected, "the earlier run is over");
        assert_eq!(node.count(Counter::BatchesPast), 1);
        assert_eq!(node.broken, []);
    }
}

#[test]
fn topics_let_no_more_wait_than_their_limit_alone_and_together() {
    let mut node = Node::subscribed(0, &[1]);
    node.learn(1, AUTHOR);
    let large = "x".repeat(PAYLOAD_MAX);
    for number in 0..6 {
        let topic = Topic::new(&format!("topic {number}")).unwrap();
        node.handle(Input::Subscribe { topic: topic.clone() });
        // What one author may let wait is less, so there are several.
        for author in 0..6 {
            node.learn(1, AUTHOR + author);
            let mut author = Writer::new(AUTHOR + author, BEGIN);
            author.next.topic = topic.id();
            let [first, _lost] = write(&mut author, ["first", "lost"]);
            node.receive_in(topic.id(), 1, first.item().bytes, false);
            for _ in 0..3 {
                let batch = author.write(&[&large]);
                node.receive_in(topic.id(), 1, batch.item().bytes, false);
            }
        }
        let topics = node.state.receiver_mut().topics();
        let waiting: Vec<usize> = topics.map(|(_, topic)| topic.waiting_bytes()).collect();
        assert!(waiting.iter().all(|&bytes| bytes <= TOPIC_WAITING_BYTES_MAX));
        let all: usize = waiting.iter().sum();
        let share = MemoryBudget::DEFAULT.ordering();
        assert!(all <= share, "{all}");
        assert!(number < 4 || all > share / 2, "{all} in {number}");
        assert!(node.heard.contains(&Heard::Lagged(1)), "a topic has less room than that");
    }
}

#[test]
fn a_blocked_author_is_not_delivered_and_still_handed_on() {
    let (mut node, mut author) = start(BEGIN);
    let [a, b, c] = write(&mut author, ["a", "b", "c"]);
    let agent = author.key.id();
    node.handle(Input::SetBlocked { agent, blocked: true });
    node.receive(1, &a);
    assert_eq!((&node.heard[..], node.batches().len()), (&[][..], 1));
    assert_eq!(node.sent.iter().filter(|sent| sent.peer == 1).count(), 0);
    node.handle(Input::SetBlocked { agent, blocked: false });
    node.receive(1, &b);
    node.receive(1, &c);
    assert_eq!(node.heard, messages(&["b", "c"]));
    assert_eq!(node.count(Counter::MessagesBlocked), 1);
}

#[test]
fn batches_outside_the_window_of_time_are_neither_delivered_nor_handed_on() {
    let age = u64::try_from(AGE_MAX.as_millis()).unwrap();
    let skew = u64::try_from(CLOCK_SKEW_MAX.as_millis()).unwrap();
    let cases = [(BEGIN - age - 1, 0), (BEGIN - age, 1), (BEGIN + skew, 1), (BEGIN + skew + 1, 0)];
    for (time, taken) in cases {
        let (mut node, mut author) = start(BEGIN - age - 1);
        let batch = author.write_at(time, &["x"]);
        node.receive(1, &batch);
        assert_eq!((node.heard.len(), node.batches().len()), (taken, taken), "{time}");
        assert_eq!(node.count(Counter::BatchesUnwanted), 1 - taken as u64);
        assert_eq!(node.broken, [], "nobody is to blame");
    }
}

#[test]
fn what_came_before_a_second_subscription_is_not_delivered_in_it() {
    let (mut node, mut author) = start(BEGIN);
    let [a, b] = write(&mut author, ["a", "b"]);
    node.receive(1, &a);
    node.handle(Input::Unsubscribe { topic: super::harness::topic() });
    node.advance(Duration::from_secs(20));
    node.handle(Input::Subscribe { topic: super::harness::topic() });
    node.repair(1, &a);
    node.repair(1, &b);
    let c = author.write_at(BEGIN + 20_000, &["c"]);
    node.receive(1, &c);
    assert_eq!(node.heard, messages(&["a", "c"]));
}

#[test]
fn what_was_delivered_is_not_delivered_again_to_a_later_subscription() {
    let again = |node: &mut Node| {
        node.handle(Input::Unsubscribe { topic: super::harness::topic() });
        node.advance(Duration::from_secs(20));
        node.handle(Input::Subscribe { topic: super::harness::topic() });
    };
    let (mut node, mut author) = start(BEGIN);
    let mut older = Writer::new(AUTHOR, BEGIN - 1);
    let [a, b, c] = write(&mut author, ["a", "b", "c"]);
    node.receive(1, &a);
    node.receive(1, &b);
    for _ in 0..2 {
        again(&mut node);
        // No repair: it was on its way for long, or its author's clock is slow.
        node.receive(1, &a);
        node.receive(1, &b);
        node.receive(1, &older.write(&["older"]));
    }
    node.receive(1, &c);
    assert_eq!(node.heard, messages(&["a", "b", "c"]), "what is new is delivered at once");

    again(&mut node);
    node.receive(1, &Writer::new(AUTHOR, BEGIN + 1).write(&["another stream"]));
    assert_eq!(node.heard.last(), messages(&["another stream"]).last());
}

#[test]
fn it_is_forgotten_how_far_an_author_was_heard_once_nobody_takes_what_it_said() {
    let (mut node, mut author) = start(BEGIN);
    node.receive(1, &author.write(&["a"]));
    node.handle(Input::Unsubscribe { topic: super::harness::topic() });
    node.advance(AGE_MAX + CLOCK_SKEW_MAX + Duration::from_secs(1));
    node.handle(Input::Subscribe { topic: super::harness::topic() });
    // Its clock went back, so that its next stream seems older.
    let now = super::super::time::millis(node.unix_time);
    node.receive(1, &Writer::new(AUTHOR, BEGIN - 1).write_at(now, &["b"]));
    assert_eq!(node.heard, messages(&["a", "b"]));
}

#[test]
fn how_far_authors_were_heard_before_is_known_of_a_bounded_number() {
    let now = Node::new(0).now;
    let mut watermarks = DeliveryWatermarks::new();
    let subject =
        |number: usize| (super::harness::topic().id(), AgentId(blake3(&number.to_be_bytes())));
    let position = StreamPosition { sequence: 5, message: 9 };
    // The first two said more than one thing.
    for number in 0..PAST_AUTHORS_MAX + 2 {
        let time = BEGIN + u64::try_from(number).unwrap();
        let watermark = Watermark { stream: 1, position, time, heard_at: now };
        watermarks.note((now, BEGIN + 3), subject(number), watermark, number < 2);
    }
    assert_eq!(watermarks.len(), PAST_AUTHORS_MAX);
    let earlier = now - Duration::from_secs(1);
    let heard = |number: usize, since| watermarks.resume_point(now, subject(number), 1, since);
    assert_eq!(heard(0, now), ResumePoint::Sequence(5));
    assert_eq!(heard(4, earlier), ResumePoint::Position(position), "in the same subscription");
    let forgotten = ResumePoint::Time(BEGIN + 3);
    assert_eq!([2, 3].map(|number| heard(number, now)), [forgotten; 2], "the first of the others");
    watermarks.clock_was_set(BEGIN - 7);
    let heard = watermarks.resume_point(now, subject(2), 1, now);
    assert_eq!(heard, ResumePoint::Time(BEGIN - 7), "what is made from now on was not heard");
}

#[test]
fn a_gap_is_given_up_when_too_many_batches_wait() {
    let (mut node, mut author) = start(BEGIN);
    let [a, _] = write(&mut author, ["a", "b"]);
    node.receive(1, &a);
    for _ in 0..WAITING_BATCHES_MAX {
        let batch = author.write(&["x"]);
        node.receive(1, &batch);
    }
    assert_eq!(node.heard.len(), 1);
    let batch = author.write(&["y"]);
    node.receive(1, &batch);
    assert_eq!(node.heard[1], Heard::Lagged(1));
    assert_eq!(node.heard.len(), 1 + 1 + WAITING_BATCHES_MAX + 1);
    assert_eq!(node.own_deadline(), None);
}

#[test]
fn a_gap_is_given_up_when_too_many_bytes_wait() {
    let large = "x".repeat(PAYLOAD_MAX);
    let (mut node, mut author) = start(BEGIN);
    write(&mut author, ["a"]);
    for _ in 0..3 {
        node.receive(1, &author.write(&[&large]));
    }
    assert_eq!(node.heard, [], "three and a bit");
    node.receive(1, &author.write(&[&large]));
    assert_eq!(node.heard.len(), 1 + 4);
    assert_eq!(node.heard[0], Heard::Lagged(1));
}

#[test]
fn a_gap_is_given_up_when_too_many_bytes_wait_in_the_topic() {
    let large = "x".repeat(PAYLOAD_MAX);
    let (mut node, _) = start(BEGIN);
    for number in 10..16 {
        node.learn(1, number);
        let mut author = Writer::new(number, BEGIN);
        write(&mut author, ["a"]);
        for _ in 0..3 {
            node.receive(1, &author.write(&[&large]));
        }
    }
    assert_eq!(node.heard.iter().filter(|heard| **heard == Heard::Lagged(1)).count(), 1);
    assert_eq!(node.heard.len(), 1 + 3, "the last author alone");
    node.advance(GAP_TIME);
    assert_eq!(node.heard.len(), 6 * (1 + 3));
}

#[test]
fn a_crowd_of_authors_is_forgotten_from_the_one_that_was_silent_for_longest() {
    let (mut node, _) = start(BEGIN);
    let mut first = None;
    for number in 0..=AUTHORS_MAX {
        let mut seed = [77; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let mut author = Writer::new(0, BEGIN);
        author.key = AgentKey::from_seed(&seed);
        node.frame(1, super::super::frames::key(author.key.public()).into());
        let batch = author.write(&["x"]);
        node.receive(1, &batch);
        node.advance(STRANGER_INTERVAL);
        node.take_sent();
        first.get_or_insert(author);
    }
    assert_eq!(node.heard.len(), AUTHORS_MAX + 1);
    assert_eq!(node.count(Counter::AuthorsForgotten), 1);
    let again = first.unwrap().write(&["again"]);
    node.receive(1, &again);
    let sent = node.take_sent();
    assert!(sent.len() == 1 && sent[0].is_key_request(), "its key is forgotten as well");
}
