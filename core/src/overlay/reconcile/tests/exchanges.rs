//! What an exchange finds, and what it leaves alone.

use super::super::super::history::{END, HISTORY_ITEMS_MAX, HISTORY_MILLIS};
use super::super::super::{ItemId, Stamp};
use super::super::message::{Content, Span};
use super::super::{LIST_MAX, Message, Opening, PARTS_MAX, Response, SLACK_MILLIS, open, respond};
use super::harness::{NOW, Pair, history, stamp, stamp_at};

const SINCE: u64 = NOW - HISTORY_MILLIS;

fn opening() -> Opening {
    Opening { now: NOW, until: u64::MAX, salt: 5 }
}

fn ids(stamps: impl IntoIterator<Item = Stamp>) -> Vec<ItemId> {
    stamps.into_iter().map(|stamp| stamp.id).collect()
}

fn listing(start: Stamp, end: Stamp, stamps: Vec<Stamp>) -> Message {
    Message { salt: 5, spans: vec![Span { start, end, content: Content::Ids(stamps) }] }
}

#[test]
fn equal_histories_end_with_the_first_message() {
    for count in [0, 1, 33, 1000] {
        let mut pair =
            Pair::new(history(SINCE, (0..count).map(stamp)), history(SINCE, (0..count).map(stamp)));
        let cost = pair.exchange();
        assert_eq!((cost.messages, cost.items), (1, 0), "{count}");
    }
}

#[test]
fn what_either_lacks_reaches_it() {
    for (name, left, right) in [
        ("one at the left", 0..101, 0..100),
        ("one at the right", 0..100, 0..101),
        ("all at the left", 0..500, 0..0),
        ("all at the right", 0..0, 0..500),
        ("both", 0..600, 400..1000),
    ] {
        for is_slow in [false, true] {
            let mut pair = Pair::new(
                history(SINCE, left.clone().map(stamp)),
                history(SINCE, right.clone().map(stamp)),
            );
            pair.is_slow = is_slow;
            let missed = left
                .clone()
                .chain(right.clone())
                .filter(|number| left.contains(number) != right.contains(number));
            assert_eq!(pair.exchange().items, missed.count(), "{name}");
            assert_eq!(pair.common(0), pair.common(1), "{name}");
            assert_eq!(pair.exchange().messages, 1, "{name}");
        }
    }
}

#[test]
fn an_item_that_is_gone_is_listed_and_not_sent() {
    let mut node = history(SINCE, (0..10).map(stamp));
    let _ = node.refuse(stamp(10), NOW);
    let whole = |stamps| listing(stamp(0), END, stamps);
    let response = respond(&node, &whole((0..10).map(stamp).collect()));
    assert_eq!(response, Response::default());
    let other = history(SINCE, (0..10).map(stamp));
    let reply = respond(&node, &open(&other, opening()).unwrap()).reply.unwrap();
    assert_eq!(reply.ids_len(), 11, "so that the other does not send it");
    assert_eq!(respond(&other, &reply).want, [stamp(10).id], "useless, if nobody else has it");
}

#[test]
fn a_refused_item_is_not_offered_again() {
    let mut left = history(SINCE, (0..10).map(stamp));
    let _ = left.refuse(stamp(10), NOW);
    let mut pair = Pair::new(left, history(SINCE, (0..11).map(stamp)));
    assert_eq!((pair.exchange().messages, pair.exchange().items), (1, 0));
}

#[test]
fn nothing_below_the_higher_floor_is_listed_or_wanted() {
    let joined = stamp(500).time;
    for is_left in [true, false] {
        let (since, late) = (history(SINCE, (0..600).map(stamp)), history(joined, []));
        let mut pair = if is_left { Pair::new(late, since) } else { Pair::new(since, late) };
        let cost = pair.exchange();
        assert_eq!(cost.items, 100);
        assert_eq!(pair.common(0), pair.common(1));
        // Once equal, the floors cost one more message if the lower one opens.
        let again = pair.exchange();
        assert_eq!((again.messages, again.items), (if is_left { 1 } else { 2 }, 0));
        assert!(again.bytes < 100, "{again:?}");
    }
}

#[test]
fn a_list_below_the_floor_is_cut() {
    let floor = stamp(50);
    let node = history(floor.time, (40..60).map(stamp));
    let message = listing(stamp(0), stamp(70), (0..70).step_by(2).map(stamp).collect());
    let response = respond(&node, &message);
    assert_eq!(response.reply, None);
    assert_eq!(response.send, ids((51..60).step_by(2).map(stamp)));
    assert_eq!(response.want, ids((60..70).step_by(2).map(stamp)));
    let below = listing(stamp(0), floor, vec![stamp(1)]);
    let above = respond(&history(floor.time + 1, []), &below);
    assert_eq!(above, Response::default());
}

#[test]
fn the_window_begins_after_the_age_limit_and_ends_where_the_owner_says() {
    let oldest = NOW - HISTORY_MILLIS + SLACK_MILLIS;
    let node = history(SINCE, [stamp_at(1, oldest - 1), stamp_at(2, NOW)]);
    let span = |message: Option<Message>| message.map(|message| message.spans[0].clone());
    let whole = span(open(&node, opening())).unwrap();
    assert_eq!((whole.start, whole.end), (Stamp::at(oldest), END));
    assert_eq!(whole.content, Content::Fingerprint(node.fingerprint(stamp_at(2, NOW)..END, 5)));
    let cut = span(open(&node, Opening { until: NOW, ..opening() })).unwrap();
    assert_eq!((cut.end, cut.content), (Stamp::at(NOW), Content::Ids(Vec::new())));
    assert_eq!(open(&node, Opening { until: oldest, ..opening() }), None);
    let late = history(NOW - 5, []);
    assert_eq!(span(open(&late, opening())).unwrap().start, Stamp::at(NOW - 5));
}

#[test]
fn a_range_is_listed_or_cut_into_parts_of_about_equal_counts() {
    for (count, parts) in [(1, 1), (LIST_MAX, 1), (LIST_MAX + 1, 3), (256, 16), (4000, PARTS_MAX)] {
        let stamps: Vec<Stamp> = (0..count as u64).map(stamp).collect();
        let node = history(SINCE, stamps.clone());
        let other = history(SINCE, [stamp(4001)]);
        let reply = respond(&node, &open(&other, opening()).unwrap()).reply.unwrap();
        assert_eq!(reply.spans_len(), parts, "{count}");
        assert_eq!(reply.ids_len(), if parts == 1 { count } else { 0 }, "{count}");
        for pair in reply.spans.windows(2) {
            assert_eq!(pair[0].end, pair[1].start, "no gap");
        }
        let sizes = reply.spans.iter().map(|span| node.stamps(span.start..span.end).len());
        let (least, most) = (sizes.clone().min().unwrap(), sizes.clone().max().unwrap());
        assert!(most - least <= 1 && sizes.sum::<usize>() == count, "{count}");
    }
}

#[test]
fn items_of_one_time_are_told_apart_by_their_ids() {
    let all = || (0..3000).map(|number| stamp_at(number, NOW - 5000));
    let left = all().filter(|stamp| stamp.id.0[15] % 3 != 0);
    let right = all().filter(|stamp| stamp.id.0[15] % 3 != 1);
    let mut pair = Pair::new(history(SINCE, left), history(SINCE, right));
    pair.exchange();
    assert_eq!(pair.common(0), all().collect());
    assert_eq!(pair.common(1), all().collect());
}

#[test]
fn full_histories_without_a_common_item_end() {
    let count = HISTORY_ITEMS_MAX as u64;
    let at = |number| stamp_at(number, NOW - 600_000 + number * 60);
    let mut pair = Pair::new(
        history(SINCE, (0..count).map(|number| at(2 * number))),
        history(SINCE, (0..count).map(|number| at(2 * number + 1))),
    );
    pair.is_slow = true;
    // Whatever arrives evicts something, so the items that are carried are not all that exist.
    pair.exchange();
    let floor = pair.nodes[0].floor().max(pair.nodes[1].floor());
    assert!(floor > at(0));
    pair.exchange();
    assert_eq!(pair.common(0), pair.common(1));
}

#[test]
fn a_peer_that_lies_gets_a_bounded_answer() {
    let node = history(SINCE, (0..4000).map(stamp));
    let lie = |count: u64| {
        let spans = (0..count).map(|number| Span {
            start: stamp_at(0, NOW - 800_000 + number * 1500),
            end: stamp_at(0, NOW - 800_000 + number * 1500 + 1500),
            content: Content::Fingerprint(super::super::Fingerprint([7; 16])),
        });
        Message { salt: 5, spans: spans.collect() }
    };
    for count in [1, 2, 100, 450] {
        let message = Message::decode(&lie(count).encode()).unwrap();
        let response = respond(&node, &message);
        let reply = response.reply.unwrap();
        let bytes = reply.encode();
        assert!(bytes.len() <= super::super::MESSAGE_SIZE_MAX, "{count}");
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(&reply), "{count}");
        assert_eq!((response.send, response.want), (vec![], vec![]), "{count}");
    }
}

#[test]
fn a_peer_is_told_of_no_more_than_it_lists_and_a_few_for_one_message() {
    let node = history(SINCE, (0..4000).map(stamp));
    let message = open(&history(SINCE, []), opening()).unwrap();
    let response = respond(&node, &message);
    assert_eq!(response.send, ids((0..256).map(stamp)));
    let reply = response.reply.unwrap();
    let rest = stamp(256)..END;
    let content = Content::Fingerprint(node.fingerprint(rest.clone(), message.salt));
    assert_eq!(reply.spans, [Span { start: rest.start, end: rest.end, content }]);
    let listed: Vec<Stamp> = (0..4000).step_by(40).map(stamp).collect();
    let response = respond(&node, &listing(stamp(0), END, listed));
    assert_eq!(response.send.len(), 256 + 100);
}

#[test]
fn what_is_wanted_of_a_list_ends_where_what_is_sent_ends() {
    let node = history(SINCE, (0..4000).filter(|number| number % 100 != 7).map(stamp));
    let listed: Vec<Stamp> = (0..40).map(|number| stamp(number * 100 + 7)).collect();
    let response = respond(&node, &listing(stamp(0), END, listed));
    assert_eq!(response.send.len(), 256 + 40);
    assert_eq!(response.want, ids([7, 107, 207].map(stamp)));
}

#[test]
fn a_peer_without_items_gets_all_of_them() {
    let mut pair = Pair::new(history(SINCE, []), history(SINCE, (0..4000).map(stamp)));
    let cost = pair.exchange();
    assert_eq!((cost.items, cost.messages), (4000, 2 * 4000_usize.div_ceil(256) - 1));
    assert_eq!(pair.common(0), pair.common(1));
}
