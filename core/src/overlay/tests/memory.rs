//! What peers make a node hold.

use super::super::frames::{Ids, Message, Priority};
use super::super::{Held, Input, OTHER_TOPICS_MAX, TOPICS_MAX};
use super::lone::{Lone, ROOMY, item_id, peer, topic};
use super::world::{ms, secs};
use crate::overlay::Counter;
use crate::session;
use crate::support::MemoryBudget;

const SMALL: usize = MemoryBudget::BYTES_MIN;

fn small() -> (Lone, MemoryBudget) {
    let memory = MemoryBudget::new(SMALL).unwrap();
    (Lone::with_memory(memory), memory)
}

fn check(lone: &Lone, memory: MemoryBudget) {
    let Held { control, items, index, history } = lone.state.held();
    for (name, held, share) in [
        ("control", control, memory.control()),
        ("items", items, memory.items()),
        ("index", index, memory.index()),
        ("history", history, memory.history()),
    ] {
        assert!(held <= share, "{name}: {held} of {share}");
    }
}

/// Peers that read nothing send all kinds of messages, in as many topics.
fn fill(lone: &mut Lone, memory: MemoryBudget, count: u32) {
    for number in 0..count {
        lone.handle(Input::Join { topic: topic(number) });
    }
    lone.up(1..=count, 0);
    let mut item = 0;
    for number in 1..=count {
        let home = topic(number - 1);
        lone.name_topics(number, (0..1000).map(|other| number * 2048 + other));
        check(lone, memory);
        for other in 0..count.min(16) {
            lone.announce(number, topic(other), (256, false));
        }
        check(lone, memory);
        let ids = (0..128).map(|_| {
            item += 1;
            lone.publish(home, item, 32 << 10);
            item_id(item)
        });
        let ids = Ids::new(ids.collect()).unwrap();
        lone.say(number, home, Message::IWant(ids));
        check(lone, memory);
        lone.say(number, home, Message::Joined);
        let dropped = lone.counters.get(Counter::ControlDropped);
        for _ in 0..7000 {
            lone.say(number, home, Message::Neighbor(Priority::Low));
        }
        assert!(lone.counters.get(Counter::ControlDropped) > dropped);
        check(lone, memory);
        lone.run(ms(20));
    }
}

#[test]
fn whatever_peers_do_at_once_the_node_stays_within_its_budget() {
    for (bytes, count) in [(SMALL, 16), (MemoryBudget::DEFAULT.total(), 64)] {
        let memory = MemoryBudget::new(bytes).unwrap();
        let mut lone = Lone::with_memory(memory);
        fill(&mut lone, memory, count);
        let Held { control, items, index, history } = lone.state.held();
        assert!(control + items + index + history > bytes / 8, "it was under pressure");
        for number in 1..=count {
            lone.handle(Input::Session(session::Event::Closed { peer: peer(number) }));
        }
        let held = lone.state.held();
        assert_eq!((held.control, held.items), (0, 0));
        for number in 0..count {
            lone.handle(Input::Leave { topic: topic(number) });
        }
        assert_eq!(lone.state.held(), Held::default());
    }
}

#[test]
fn histories_forget_what_is_old_and_nothing_stays_of_it() {
    let mut lone = Lone::with_items(2000, 100);
    assert!(lone.state.held().index >= 2000 * 64);
    lone.run(secs(16 * 60));
    // Histories expire when they are compared.
    assert_eq!(lone.state.held(), Held::default());
}

#[test]
fn a_peer_for_which_the_most_waits_loses_it_and_then_its_session() {
    let (mut lone, memory) = small();
    lone.handle(Input::Join { topic: topic(0) });
    lone.up([1, 2, 3], 0);
    let fill = |lone: &mut Lone, number| {
        for _ in 0..6000 {
            lone.say(number, topic(0), Message::Neighbor(Priority::Low));
        }
        check(lone, memory);
    };
    // There is room for two of them. Each loses what waits once, then the second has the most again.
    for number in [1, 2, 3, 1, 2, 3, 1, 2, 3] {
        assert_eq!(lone.violations, [], "{number}");
        fill(&mut lone, number);
    }
    assert_eq!(lone.violations, [(peer(2), "does not read what it is sent")]);
}

#[test]
fn one_refusal_waits_for_a_peer_that_does_not_read() {
    let mut lone = Lone::new();
    lone.up([1], 0);
    for number in 0..100 {
        lone.say(1, topic(number), Message::Neighbor(Priority::Low));
    }
    assert_eq!(lone.counters.get(Counter::ControlDropped), 99);
    lone.handle(Input::Session(session::Event::Writable { peer: peer(1), send_window: ROOMY }));
    assert_eq!(lone.count(|message| matches!(message, Message::NeighborReply(false))), 1);
    assert_eq!(lone.state.held(), Held::default());
    for number in 0..1000 {
        lone.say(1, topic(number), Message::Neighbor(Priority::Low));
    }
    assert_eq!(lone.violations.len(), 1, "it asks for what it cannot have");
}

#[test]
fn of_the_topics_of_a_peer_the_own_are_noted_and_a_few_others() {
    let mut lone = Lone::new();
    for number in 900..1000 {
        lone.handle(Input::Join { topic: topic(number) });
    }
    lone.up([1, 2], ROOMY);
    lone.name_topics(1, 0..1000);
    let members = |lone: &Lone, number| lone.state.members(&topic(number)).count();
    let noted = |lone: &Lone| (0..1000).filter(|number| members(lone, *number) > 0).count();
    assert_eq!(noted(&lone), OTHER_TOPICS_MAX + 100);
    assert!((900..1000).all(|number| members(&lone, number) == 1));
    let held = lone.state.held().index;
    assert_eq!(held, OTHER_TOPICS_MAX * 540);
    lone.handle(Input::Join { topic: topic(0) });
    assert_eq!(lone.state.held().index, held - 540);
    // A peer that names more topics than allowed is penalized.
    for _ in 0..2 {
        lone.name_topics(2, 0..u32::try_from(TOPICS_MAX).unwrap());
    }
    lone.name_topics(2, 5000..5100);
    assert_eq!(lone.violations, [(peer(2), "keeps sending useless frames")]);
}

#[test]
fn names_of_items_give_way_to_others_within_their_share() {
    let (mut lone, memory) = small();
    lone.up([1], ROOMY);
    for number in 0..3 {
        lone.handle(Input::Join { topic: topic(number) });
        for item in 0..25_000 {
            lone.publish(topic(number), u64::from(number) << 32 | item, 16);
            if item % 100 == 0 {
                lone.run(ms(10));
            }
        }
        check(&lone, memory);
    }
    assert!(lone.state.held().index > memory.index() / 2);
    for number in 0..3 {
        let newest = item_id(u64::from(number) << 32 | 24_999);
        assert!(lone.state.item(&topic(number), &newest).is_some());
    }
    // Missing items still have their half of the share.
    lone.announce(1, topic(0), (256, false));
    assert_eq!(lone.missing(3), 256);
    check(&lone, memory);
}
