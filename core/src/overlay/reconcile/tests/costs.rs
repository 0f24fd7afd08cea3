//! What exchanges cost, measured and bounded. `cargo test costs -- --nocapture` shows the figures.

#![expect(clippy::print_stdout, reason = "the figures are in the documentation")]

use super::super::super::history::{HISTORY_ITEMS_MAX, HISTORY_MILLIS};
use super::harness::{Cost, NOW, Pair, history, stamp_at};

const SINCE: u64 = NOW - HISTORY_MILLIS;
const FULL: u64 = HISTORY_ITEMS_MAX as u64;

/// The item of this number among a full history over ten minutes.
fn stamp(number: u64) -> super::super::Stamp {
    stamp_at(number, NOW - 600_000 + number * 146)
}

fn measure(
    name: &str,
    left: impl Fn(u64) -> bool,
    right: impl Fn(u64) -> bool,
    count: u64,
) -> Cost {
    let of = |has: &dyn Fn(u64) -> bool| {
        history(SINCE, (0..count).filter(|&number| has(number)).map(stamp))
    };
    let mut pair = Pair::new(of(&left), of(&right));
    pair.is_slow = true;
    let cost = pair.exchange();
    let missed = (0..count).filter(|&number| left(number) != right(number)).count();
    assert_eq!(cost.items, missed, "{name}: each item is carried once");
    assert_eq!(pair.common(0), pair.common(1), "{name}");
    let each = cost.bytes as f64 / missed.max(1) as f64;
    println!("{name}: {} messages, {} bytes, {each:.1} for an item", cost.messages, cost.bytes);
    cost
}

#[test]
fn equal_histories_cost_less_than_a_hundred_bytes() {
    let cost = measure("equal, full", |_| true, |_| true, FULL);
    assert!(cost.messages == 1 && cost.bytes < 40, "{cost:?}");
}

#[test]
fn few_differences_cost_a_few_kilobytes() {
    for (name, count, messages_max, bytes_max) in
        [("one", 1, 4, 1100), ("ten", 10, 4, 7000), ("hundred", 100, 6, 40_000)]
    {
        let step = FULL / count;
        let lacks = move |number: u64, side: u64| number % step == 7 && number / step % 2 == side;
        let name = format!("{name} of a full history");
        let cost = measure(&name, move |n| !lacks(n, 0), move |n| !lacks(n, 1), FULL);
        assert!(cost.messages <= messages_max, "{cost:?}");
        assert!(cost.bytes <= bytes_max, "{cost:?}");
    }
}

#[test]
fn a_node_that_was_away_pays_little_for_what_it_missed() {
    let cost = measure("the last 500 of a full history", |n| n < FULL - 500, |_| true, FULL);
    // More than 256 items take one round trip more.
    assert!(cost.messages <= 5 && cost.bytes <= 800, "{cost:?}");
}

#[test]
fn two_halves_that_missed_each_other_pay_less_than_sixty_bytes_for_an_item() {
    for (name, common) in [("2000 each, nothing in common", 0), ("2000 each, 96 in common", 96)] {
        let cost = measure(
            name,
            |n| n < common || n % 2 == 0,
            |n| n < common || n % 2 == 1,
            common + 4000,
        );
        assert!(cost.bytes <= 20 * 4000, "{cost:?}");
        assert!(cost.messages <= 6, "{cost:?}");
    }
    let cost = measure("2000 each, in blocks", |n| n < 2000, |n| n >= 2000, 4000);
    // A response announces 256 items, so a block takes several.
    assert!(cost.messages <= 18 && cost.bytes <= 14_000, "{cost:?}");
}
