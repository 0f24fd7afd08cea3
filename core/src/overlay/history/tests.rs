//! What a history keeps, what it gives up, and what it claims.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::crypto::hash::blake3;

const NOW: u64 = 1_750_000_000_000;

fn id(number: u64) -> ItemId {
    let hash = blake3(&number.to_be_bytes());
    ItemId(*hash.first_chunk().unwrap())
}

fn stamp(number: u64, time: u64) -> Stamp {
    Stamp { time, id: id(number) }
}

fn item(number: u64, time: u64, source: u64, size: usize) -> Item {
    static BYTES: [u8; 1 << 20] = [0; 1 << 20];
    Item { stamp: stamp(number, time), source, bytes: Bytes::from_static(&BYTES[..size]) }
}

fn history() -> History {
    History::new(NOW - HISTORY_MILLIS)
}

fn all() -> Range<Stamp> {
    Stamp::at(0)..END
}

#[test]
fn an_item_is_taken_once_and_served() {
    let mut history = history();
    let one = item(1, NOW, 7, 10);
    assert!(!history.has_seen(&id(1)) && history.get(&id(1)).is_none());
    assert_eq!(history.insert(one.clone(), NOW), Insertion::New);
    assert_eq!(history.insert(one.clone(), NOW), Insertion::Seen);
    assert_eq!(history.refuse(one.stamp, NOW), Insertion::Seen);
    assert!(history.has_seen(&id(1)) && history.contains(&id(1)));
    assert_eq!(history.get(&id(1)), Some(&one));
    assert_eq!((history.len(), history.bytes()), (1, 10 + ITEM_COST));
}

#[test]
fn a_refused_item_is_seen_and_known_and_not_kept() {
    let (mut left, mut right) = (history(), history());
    assert_eq!(left.refuse(stamp(1, NOW), NOW), Insertion::New);
    assert_eq!(left.insert(item(1, NOW, 7, 10), NOW), Insertion::Seen);
    assert!(left.has_seen(&id(1)) && !left.contains(&id(1)));
    assert_eq!((left.len(), left.bytes(), left.gone_len()), (0, 0, 1));
    assert_eq!(right.insert(item(1, NOW, 7, 10), NOW), Insertion::New);
    assert_eq!(left.fingerprint(all(), 5), right.fingerprint(all(), 5));
    assert_eq!(left.stamps(all()), right.stamps(all()));
}

#[test]
fn the_age_of_an_item_has_a_limit_at_both_ends() {
    let oldest = NOW - HISTORY_MILLIS;
    let cases = [
        ("too old", oldest - 1, Insertion::OutOfTime),
        ("the oldest", oldest, Insertion::New),
        ("of the future", NOW + 1000, Insertion::New),
        ("the latest", END.time - 1, Insertion::New),
        ("at the end", END.time, Insertion::OutOfTime),
        ("beyond the end", u64::MAX, Insertion::OutOfTime),
    ];
    for (number, (name, time, expected)) in (1..).zip(cases) {
        let mut history = history();
        assert_eq!(history.insert(item(number, time, 7, 1), NOW), expected, "{name}");
        assert_eq!(history.has_seen(&id(number)), expected == Insertion::New, "{name}");
        assert_eq!(history.len(), usize::from(expected == Insertion::New), "{name}");
    }
}

#[test]
fn what_becomes_too_old_is_forgotten_with_its_id() {
    let mut history = history();
    for number in 0..10 {
        let _ = history.insert(item(number, NOW + number, number % 3, 5), NOW);
    }
    let _ = history.refuse(stamp(10, NOW + 10), NOW);
    history.expire(NOW + HISTORY_MILLIS + 4);
    assert_eq!((history.len(), history.seen_len(), history.gone_len()), (6, 7, 1));
    assert!(!history.has_seen(&id(3)) && history.has_seen(&id(4)));
    history.expire(NOW + HISTORY_MILLIS + 11);
    assert_eq!((history.len(), history.seen_len(), history.gone_len()), (0, 0, 0));
    assert_eq!(history.bytes(), 0);
    assert!(history.shares.is_empty() && history.by_bytes.is_empty());
}

#[test]
fn what_lies_in_the_future_is_given_up_and_stays_known_when_the_clock_goes_back() {
    let (mut history, mut other) = (history(), history());
    let skew = u64::try_from(CLOCK_SKEW_MAX.as_millis()).unwrap();
    let numbers = [0, skew, skew + 1, 4 * skew];
    for number in numbers {
        for history in [&mut history, &mut other] {
            let _ = history.insert(item(number, NOW + number, 7, 5), NOW + number);
        }
    }
    history.expire(NOW);
    let kept = numbers.map(|number| history.contains(&id(number)));
    assert_eq!(kept, [true, true, false, false]);
    assert_eq!(history.gone_len(), 2);
    assert_eq!(history.fingerprint(all(), 5), other.fingerprint(all(), 5));
}

#[test]
fn what_was_too_old_while_the_clock_was_ahead_stays_known() {
    let (mut history, mut other) = (history(), history());
    // The id that came first stays, so the second does.
    for (number, time) in [(1, NOW + 1), (2, NOW)] {
        for history in [&mut history, &mut other] {
            let _ = history.insert(item(number, time, 7, 5), NOW);
        }
    }
    history.expire(NOW + HISTORY_MILLIS + 1);
    history.expire(NOW);
    assert!(history.has_seen(&id(2)) && !history.contains(&id(2)));
    assert_eq!(history.fingerprint(all(), 5), other.fingerprint(all(), 5));
}

#[test]
fn a_full_history_gives_up_the_oldest_item_of_the_author_that_holds_the_most() {
    let mut history = history();
    let quiet = 100;
    for number in 0..quiet {
        let _ = history.insert(item(number, NOW - 600_000 + number, number, 200), NOW);
    }
    for number in 0..2 * HISTORY_ITEMS_MAX as u64 {
        let _ = history.insert(item(1000 + number, NOW - 500_000 + number, 999, 10), NOW);
        assert!(history.len() <= HISTORY_ITEMS_MAX);
    }
    assert_eq!(history.len(), HISTORY_ITEMS_MAX);
    assert!((0..quiet).all(|number| history.contains(&id(number))));
    let given_up = HISTORY_ITEMS_MAX as u64 + quiet;
    assert!(history.has_seen(&id(1000)) && !history.contains(&id(1000 + given_up - 1)));
    assert!(history.contains(&id(1000 + given_up)));
    assert_eq!(history.floor(), Stamp::at(NOW - 500_000 + given_up));
}

#[test]
fn the_bytes_of_a_history_have_a_limit() {
    let mut history = history();
    let each = 1 << 20;
    for number in 0..40 {
        let _ = history.insert(item(number, NOW - 60_000 + number, number % 2, each), NOW);
        assert!(history.bytes() <= HISTORY_BYTES_MAX);
    }
    assert_eq!(history.len(), HISTORY_BYTES_MAX / (each + ITEM_COST));
    let _ = history.insert(item(99, NOW - 60_000, 5, 100), NOW);
    assert!(history.contains(&id(99)), "an author that holds little is not harmed");
}

#[test]
fn an_eviction_raises_the_floor_to_thirty_seconds_ago_at_most_and_time_raises_it_on() {
    let mut history = history();
    let future = NOW + 60_000;
    for number in 0..=HISTORY_ITEMS_MAX as u64 {
        let _ = history.insert(item(number, future + number, 1, 1), NOW);
    }
    let cases = [
        (NOW, NOW - PRESENT_MILLIS, 1),
        (NOW + 50_000, NOW + 50_000 - PRESENT_MILLIS, 1),
        (future + PRESENT_MILLIS + 1, future + 1, 0),
        (future + PRESENT_MILLIS + 9, future + 1, 0),
        (NOW, NOW - PRESENT_MILLIS, 1),
    ];
    for (now, floor, gone) in cases {
        history.expire(now);
        assert_eq!((history.floor(), history.gone_len()), (Stamp::at(floor), gone), "at {now}");
    }
    assert!(history.has_seen(&id(0)));
}

#[test]
fn the_floor_is_when_the_node_joined_until_that_is_too_old() {
    let mut history = History::new(NOW);
    assert_eq!(history.floor(), Stamp::at(NOW));
    let _ = history.insert(item(1, NOW - 1000, 1, 1), NOW);
    assert!(history.contains(&id(1)), "what comes unasked is kept");
    for (now, floor) in [(0, NOW), (HISTORY_MILLIS, NOW), (HISTORY_MILLIS + 5, NOW + 5)] {
        history.expire(NOW + now);
        assert_eq!(history.floor(), Stamp::at(floor));
    }
    history.expire(NOW - 77);
    assert_eq!(history.floor(), Stamp::at(NOW - 77), "a clock that jumps back hides nothing");
}

#[test]
fn the_number_of_known_ids_has_a_limit_and_kept_items_stay_known() {
    let mut history = history();
    for number in 0..10 {
        let _ = history.insert(item(number, NOW, number, 10), NOW);
    }
    let ids = 10..SEEN_MAX as u64 + 50;
    for number in ids.clone() {
        let _ = history.refuse(stamp(number, NOW), NOW);
        assert!(history.seen_len() <= SEEN_MAX);
    }
    assert_eq!(history.seen_len(), SEEN_MAX);
    assert!((0..10).all(|number| history.contains(&id(number))));
    assert!(!history.has_seen(&id(10)) && !history.has_seen(&id(59)));
    assert!(history.has_seen(&id(60)) && history.has_seen(&id(ids.end - 1)));
    assert_eq!(history.gone_len(), GONE_MAX);
}

#[test]
fn a_fingerprint_covers_its_range_and_nothing_else() {
    let mut history = history();
    for number in 0..50 {
        let _ = history.insert(item(number, NOW + number, 1, 1), NOW);
    }
    let range = Stamp::at(NOW + 10)..Stamp::at(NOW + 20);
    let ids: Vec<ItemId> = (10..20).map(id).collect();
    assert_eq!(history.fingerprint(range.clone(), 3), Fingerprint::of(3, &ids));
    assert_ne!(history.fingerprint(range.clone(), 4), Fingerprint::of(3, &ids));
    assert_eq!(history.fingerprint(range.end..range.start, 3), Fingerprint::of(3, []));
    let exact = stamp(10, NOW + 10)..stamp(20, NOW + 20);
    assert_eq!(history.fingerprint(exact, 3), Fingerprint::of(3, &ids));
}

proptest! {
    #[test]
    fn whatever_is_done_limits_and_sums_hold(
        steps in prop::collection::vec(
            (0..60_u64, 0..2_000_000_u64, 0..4_u64, 0..=4_u64 << 18, 0..4_u8),
            1..200,
        ),
    ) {
        let mut history = history();
        let mut now = NOW;
        for (number, time, source, size, kind) in steps {
            let time = NOW - 1_000_000 + time;
            match kind {
                0 => now += time % 100_000,
                1 => {
                    let _ = history.refuse(stamp(number, time), now);
                }
                _ => {
                    let item = item(number, time, source, usize::try_from(size).unwrap());
                    let _ = history.insert(item, now);
                }
            }
            history.expire(now);
            let held: usize = history.items.values().map(cost).sum();
            prop_assert_eq!(held, history.bytes());
            prop_assert!(held <= HISTORY_BYTES_MAX);
            let shares: usize = history.shares.values().map(|share| share.bytes).sum();
            prop_assert_eq!(shares, held);
            prop_assert_eq!(history.by_bytes.len(), history.shares.len());
            prop_assert_eq!(history.seen.order.len(), history.seen_len());
            let floor = history.floor();
            prop_assert!(history.gone.iter().all(|stamp| *stamp >= floor));
            prop_assert!(history.items.keys().all(|stamp| stamp.time >= oldest(now)));
            prop_assert!(history.items.keys().all(|stamp| history.contains(&stamp.id)));
            prop_assert!(floor.time <= now);
        }
    }
}
