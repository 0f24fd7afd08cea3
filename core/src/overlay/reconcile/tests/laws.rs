//! What holds for any two histories and for whatever a peer says.

use proptest::prelude::*;

use super::super::super::history::{END, HISTORY_MILLIS};
use super::super::super::{ItemId, Stamp};
use super::super::message::{Content, Span};
use super::super::{Fingerprint, MESSAGE_SIZE_MAX, Message, SEND_MAX, respond};
use super::harness::{NOW, Pair, history, stamp_at};
use crate::support::Rng;

const SINCE: u64 = NOW - HISTORY_MILLIS;

/// The greatest number of messages when no message is full: ⌈log₁₆ n⌉ + 2 round trips, and one for
/// each 256 items that a response announces beyond the listed ones.
fn messages_max(count: usize) -> usize {
    let mut levels = 0;
    while 16_usize.pow(levels) < count {
        levels += 1;
    }
    2 * (levels as usize + 2 + count / SEND_MAX)
}

/// Numbers of items with times that may be the same, and which side has each.
fn sides() -> impl Strategy<Value = Vec<(u64, u64, u8)>> {
    let times = prop_oneof![Just(0..5_u64), Just(0..800_000_u64)];
    times.prop_flat_map(|times| prop::collection::vec((any::<u64>(), times, 0..10_u8), 0..600))
}

proptest! {
    #[test]
    fn both_know_all_that_either_knew_from_the_higher_floor_on(
        items in sides(),
        joined in (0..900_000_u64, 0..900_000_u64, any::<bool>()),
        salt: u64,
        is_slow: bool,
    ) {
        let stamps = |side: u8| {
            items.iter().filter(move |item| item.2 != side).map(|&(number, time, _)| {
                stamp_at(number, NOW - 5000 - time)
            })
        };
        let (left, right, is_new) = joined;
        let since = |ago: u64| if is_new { NOW - ago } else { SINCE };
        let mut pair = Pair::new(
            history(since(left), stamps(0)),
            history(since(right), stamps(1)),
        );
        (pair.salt, pair.is_slow) = (salt, is_slow);
        let union: Vec<_> = pair.common(0).union(&pair.common(1)).copied().collect();
        let cost = pair.exchange();
        prop_assert!(cost.messages <= messages_max(items.len()), "{cost:?}");
        prop_assert!(pair.common(0).into_iter().eq(union.clone()));
        prop_assert!(pair.common(1).into_iter().eq(union));
        prop_assert!(pair.exchange().messages <= 2);
        pair.nodes.reverse();
        prop_assert!(pair.exchange().messages <= 2, "nothing is left, whichever end opens");
    }

    #[test]
    fn any_message_gets_a_sound_answer(
        items in prop::collection::vec((any::<u64>(), 0..2000_u64), 0..300),
        spans in prop::collection::vec((0..2000_u64, any::<u8>(), any::<[u8; 16]>()), 1..80),
        since in 0..2500_u64,
    ) {
        let node = history(NOW - since, items.iter().map(|&(number, time)| stamp_at(number, NOW - time)));
        let message = lies(&spans);
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message.clone()));
        let response = respond(&node, &message);
        prop_assert!(response.want.len() <= message.ids_len());
        prop_assert!(response.want.iter().all(|id| !node.has_seen(id)));
        prop_assert!(response.send.iter().all(|id| node.contains(id)));
        prop_assert!(response.send.len() <= message.ids_len() + SEND_MAX);
        if let Some(reply) = response.reply {
            let bytes = reply.encode();
            prop_assert!(bytes.len() <= MESSAGE_SIZE_MAX);
            prop_assert_eq!(Message::decode(&bytes), Ok(reply.clone()));
            prop_assert!(reply.spans.iter().all(|span| span.start >= node.floor()));
        }
    }
}

/// A message with these bounds, in order, and any content.
fn lies(spans: &[(u64, u8, [u8; 16])]) -> Message {
    let mut bounds: Vec<_> = spans
        .iter()
        .map(|&(time, kind, id)| (Stamp { time: NOW - time, id: ItemId(id) }, kind))
        .collect();
    bounds.sort_unstable();
    bounds.dedup_by_key(|bound| bound.0);
    let ends = bounds.iter().skip(1).map(|bound| bound.0).chain([END]);
    let spans = bounds.iter().zip(ends).filter(|((_, kind), end)| kind % 4 > 0 || *end == END);
    let spans = spans.map(|(&(start, kind), end)| {
        let content = match kind % 3 {
            0 => Content::Fingerprint(Fingerprint([kind; 16])),
            1 => Content::Ids(Vec::new()),
            _ => Content::Ids(vec![start]),
        };
        Span { start, end, content }
    });
    Message { salt: 9, spans: spans.collect() }
}

#[test]
fn large_histories_with_any_share_in_common_become_equal() {
    for seed in 0..40_u64 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut rng = Rng::from_seed(bytes);
        let (count, common) = (1 + rng.below(4096), rng.below(101));
        let step = 1 + rng.below(150);
        let mut sides = [Vec::new(), Vec::new()];
        for number in 0..count {
            let stamp = stamp_at(number, NOW - 5000 - number * step);
            let (left, right) = match (rng.below(100) < common, rng.below(2)) {
                (true, _) => (true, true),
                (false, side) => (side == 0, side == 1),
            };
            for (side, has) in sides.iter_mut().zip([left, right]) {
                side.extend(has.then_some(stamp));
            }
        }
        let [left, right] = sides.map(|side| history(SINCE, side));
        let mut pair = Pair::new(left, right);
        (pair.salt, pair.is_slow) = (rng.next_u64(), rng.below(2) == 0);
        let missed =
            2 * usize::try_from(count).unwrap() - pair.nodes[0].len() - pair.nodes[1].len();
        let cost = pair.exchange();
        assert_eq!(cost.items, missed, "seed {seed}");
        assert_eq!(pair.common(0), pair.common(1), "seed {seed}");
        assert_eq!(pair.common(0).len() as u64, count, "seed {seed}");
        assert!(cost.messages <= messages_max(4096) + 4, "seed {seed}: {cost:?}");
        assert!(cost.bytes <= 40 + (1000 * missed).min(100_000), "seed {seed}: {cost:?}");
        let few = missed < pair.common(0).len() / 2;
        assert!(few || cost.bytes <= 40 + 60 * missed, "seed {seed}: {cost:?}");
    }
}
