//! Items that were announced and do not come.

use super::super::frames::{Ids, Message};
use super::super::{Fault, Input, Item, MISSING_BY_PEER_MAX, MISSING_MAX};
use super::lone::{LONG, Lone, ROOMY, item_id, peer, topic};
use super::world::{ms, secs};
use crate::overlay::Counter;
use crate::session;

const LIAR: &str = "announced items and did not send them";

/// A node in a number of topics, with sessions.
fn among(topics: u32, peers: impl IntoIterator<Item = u32>) -> Lone {
    let mut lone = Lone::new();
    for number in 0..topics {
        lone.handle(Input::Join { topic: topic(number) });
    }
    lone.up(peers, ROOMY);
    lone.run(secs(1));
    lone.turns = 0;
    lone
}

fn announce_one(lone: &mut Lone, number: u32, id: u64) {
    let ids = Ids::new(vec![item_id(id)]).unwrap();
    lone.say(number, topic(0), Message::IHave { ids, is_repair: false });
}

#[test]
fn what_is_missing_costs_a_turn_for_each_request_and_none_while_it_waits() {
    let calm = |topics| {
        let mut lone = among(topics, [1, 2]);
        lone.run(LONG);
        let turns = lone.turns;
        lone.run(LONG);
        [turns, lone.turns - turns]
    };
    for topics in [1, 16] {
        let mut lone = among(topics, [1, 2]);
        for number in 0..topics {
            for _ in 0..16 {
                lone.announce(1, topic(number), (256, false));
                lone.announce(2, topic(number), (256, false));
            }
        }
        assert_eq!(lone.missing(topics), 2 * MISSING_BY_PEER_MAX);
        assert!(lone.counters.get(Counter::AnnouncementsDropped) > 6000);
        lone.run(LONG);
        let requests = lone.asked(1).1 + lone.asked(2).1;
        let [first, second] = calm(topics);
        assert!(requests > 300, "{requests}");
        assert!(lone.turns <= first + 2 * requests + 16, "{} turns", lone.turns);
        assert_eq!(lone.missing(topics), 0, "a peer that sends nothing at all is asked no more");
        lone.turns = 0;
        lone.run(LONG);
        assert!(lone.turns <= second + 8, "{} turns", lone.turns);
        assert_eq!(lone.violations, []);
    }
}

#[test]
fn a_peer_that_is_slow_for_a_while_is_asked_again_when_it_announces() {
    let mut lone = among(1, [1]);
    announce_one(&mut lone, 1, 1);
    lone.run(LONG);
    assert_eq!(lone.missing(1), 0);
    let before = lone.asked(1).0.len();
    announce_one(&mut lone, 1, 2);
    lone.run(secs(2));
    assert!(lone.asked(1).0[before..].contains(&item_id(2)));
}

#[test]
fn of_a_full_node_the_peer_with_the_most_missing_items_gives_way() {
    let peers = u32::try_from(MISSING_MAX / MISSING_BY_PEER_MAX).unwrap() + 1;
    let mut lone = among(1, 1..=peers + 1);
    for number in 1..=peers {
        for count in [256, 256, 88] {
            lone.announce(number, topic(0), (count, false));
        }
    }
    assert_eq!(lone.missing(1), MISSING_MAX);
    announce_one(&mut lone, peers + 1, 1);
    assert_eq!(lone.missing(1), MISSING_MAX);
    lone.run(secs(2));
    assert!(lone.asked(peers + 1).0.contains(&item_id(1)));
}

#[test]
fn peers_that_fill_their_places_keep_nobody_from_being_asked() {
    // They push what the node has, each time something else, or say nothing at all.
    for pushes in [false, true] {
        let mut lone = Lone::with_items(600, 16);
        lone.up([1, 2, 10], ROOMY);
        lone.run(secs(1));
        let mut known = 0;
        for minute in 0..4_u64 {
            for second in 0..30 {
                for number in [1, 2] {
                    if pushes {
                        lone.push(number, topic(0), item_id(known));
                        known += 1;
                    }
                    if pushes || second == 0 {
                        lone.announce(number, topic(0), (256, false));
                    }
                }
                lone.run(secs(2));
            }
            let id = 1 << 40 | minute;
            announce_one(&mut lone, 10, id);
            lone.run(secs(2));
            assert!(lone.asked(10).0.contains(&item_id(id)), "minute {minute}");
        }
        if pushes {
            lone.violations.sort_unstable();
            assert_eq!(lone.violations, [(peer(1), LIAR), (peer(2), LIAR)]);
        }
    }
}

/// A peer pushes an item that is new and good.
fn deliver(lone: &mut Lone, number: u32, id: u64) {
    lone.push(number, topic(0), item_id(id));
    let receipt = lone.receipts.pop().expect("it is new");
    let item = Item { stamp: receipt.stamp, source: 1, bytes: vec![0; 24].into() };
    lone.act(|state, context| state.accept(context, receipt, item));
}

#[test]
fn an_answer_that_comes_too_late_keeps_the_promise() {
    for (answers, fault) in [(true, None), (false, Some(LIAR))] {
        let mut lone = among(1, [1, 2]);
        announce_one(&mut lone, 1, 100);
        deliver(&mut lone, 1, 100);
        for id in 0..40 {
            announce_one(&mut lone, 1, id);
            lone.run(ms(700));
            // It was asked, and says something else before it is judged; another is faster.
            lone.say(1, topic(0), Message::Prune);
            lone.run(secs(2));
            deliver(&mut lone, 2, id);
            if answers {
                lone.push(1, topic(0), item_id(id));
            }
        }
        assert_eq!(lone.violations.first().map(|(_, rule)| *rule), fault);
    }
}

#[test]
fn repairs_that_were_not_answered_are_asked_for_together() {
    let mut lone = among(1, [1]);
    lone.announce(1, topic(0), (256, true));
    lone.announce(1, topic(0), (256, true));
    lone.run(secs(10));
    let (ids, frames) = lone.asked(1);
    assert_eq!(ids.len(), 512 * 6, "each is asked for six times");
    assert!(frames <= 2 * 6, "{frames} frames");
}

#[test]
fn what_is_checked_is_asked_for_when_it_turns_out_to_be_unchecked() {
    let mut lone = among(1, [1, 2]);
    lone.push(1, topic(0), item_id(1));
    announce_one(&mut lone, 2, 1);
    lone.turns = 0;
    lone.run(secs(20));
    assert_eq!(lone.asked(2).0, []);
    let receipt = lone.receipts.pop().unwrap();
    lone.act(|state, context| state.reject(context, receipt, Fault::Unchecked));
    lone.run(ms(1));
    assert_eq!(lone.asked(2).0, [item_id(1)]);
}

#[test]
fn what_a_peer_announced_is_asked_of_others_when_its_session_ends() {
    let mut lone = among(1, [1, 2]);
    announce_one(&mut lone, 1, 1);
    announce_one(&mut lone, 1, 2);
    announce_one(&mut lone, 2, 2);
    lone.handle(Input::Session(session::Event::Closed { peer: peer(1) }));
    assert_eq!(lone.missing(1), 1);
    lone.run(ms(1));
    assert_eq!(lone.asked(2).0, [item_id(2)]);
    lone.handle(Input::Leave { topic: topic(0) });
    assert_eq!(lone.state.held().index, 0);
}
