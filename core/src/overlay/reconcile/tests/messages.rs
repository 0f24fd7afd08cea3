//! The decoder: every form that is read, and every form that is refused.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::super::super::history::END;
use super::super::super::{ItemId, Stamp};
use super::super::message::{Content, FINGERPRINT_SPAN_SIZE_MAX, Span, write_span};
use super::super::{Fingerprint, IDS_MAX, MESSAGE_SIZE_MAX, Message, SPANS_MAX, Violation};
use crate::wire::varint;

fn stamp(time: u64, first: u8) -> Stamp {
    let mut id = [0; 16];
    id[0] = first;
    Stamp { time, id: ItemId(id) }
}

fn span(start: Stamp, end: Stamp, ids: Option<Vec<Stamp>>) -> Span {
    let content = ids.map_or(Content::Fingerprint(Fingerprint([7; 16])), Content::Ids);
    Span { start, end, content }
}

fn message(spans: Vec<Span>) -> Message {
    Message { salt: 1, spans }
}

/// A range of each kind: adjacent or not, open or not, with a fingerprint or a list.
pub(super) fn sample() -> Message {
    let last = Stamp { time: 5000, id: ItemId([0xff; 16]) };
    message(vec![
        span(stamp(1000, 0), stamp(1000, 9), None),
        span(stamp(1000, 9), stamp(2000, 0), Some(vec![])),
        span(stamp(3000, 1), last, Some(vec![stamp(3000, 1), stamp(3000, 2), stamp(5000, 0)])),
        span(last, END, None),
    ])
}

#[test]
fn a_message_is_read_back_and_every_cut_of_it_is_refused_or_has_fewer_ranges() {
    let bytes = sample().encode();
    assert_eq!(Message::decode(&bytes), Ok(sample()));
    for size in 0..bytes.len() {
        match Message::decode(&bytes[..size]) {
            Ok(cut) => assert_eq!(cut.spans, sample().spans[..cut.spans.len()], "cut to {size}"),
            Err(violation) => {
                let expected = if size == 8 { Violation::NoSpan } else { Violation::Malformed };
                assert_eq!(violation, expected, "cut to {size}");
            }
        }
    }
}

/// A message from its ranges' bytes.
fn raw(parts: &[&[u8]]) -> Vec<u8> {
    [&[0, 0, 0, 0, 0, 0, 0, 1][..], &parts.concat()].concat()
}

#[test]
fn what_no_encoder_makes_is_refused() {
    use Violation::{
        BoundsNotIncreasing, IdOutsideSpan, IdsNotIncreasing, Malformed, NoSpan, TooManyIds,
    };
    let (print, id, other) = ([7; 16], [5; 16], [6; 16]);
    let open = [&[6, 10, 0][..], &print].concat();
    let to_20 = [&[2, 10, 0, 10, 0][..], &print].concat();
    let far = [0xff; 8];
    let cases: Vec<(&str, Vec<u8>, Violation)> = vec![
        ("no range", raw(&[]), NoSpan),
        ("unknown kind", raw(&[&[8 | 6, 10, 0], &print]), Malformed),
        ("no start", raw(&[&[4], &print]), Malformed),
        ("a start that needs none", raw(&[&to_20, &[6, 0, 0], &print]), BoundsNotIncreasing),
        ("an end at the start", raw(&[&[2, 10, 0, 0, 0], &print]), BoundsNotIncreasing),
        ("an end below the start", raw(&[&[2, 10, 1, 9, 0, 1, 8], &print]), BoundsNotIncreasing),
        ("an end with zeros", raw(&[&[2, 10, 0, 10, 2, 9, 0], &print]), Malformed),
        ("an end of 17 bytes", raw(&[&[2, 10, 0, 10, 17], &[1; 17], &print]), Malformed),
        ("an end that is written", raw(&[&[2, 10, 0], &far, &[0], &print]), Malformed),
        ("a start at the end", raw(&[&[6], &far, &[0], &print]), Malformed),
        ("a range after the end", raw(&[&open, &[0, 1, 0], &print]), Malformed),
        ("a long number", raw(&[&[6, 0x40, 10, 0], &print]), Malformed),
        ("an id below", raw(&[&[7, 10, 1, 8, 1, 0], &id]), IdOutsideSpan),
        ("an id above", raw(&[&[3, 10, 0, 10, 1, 4, 1, 10], &id]), IdOutsideSpan),
        ("an id twice", raw(&[&[7, 10, 0, 2, 0], &id, &[0], &id]), IdsNotIncreasing),
        ("ids that fall", raw(&[&[7, 10, 0, 2, 0], &other, &[0], &id]), IdsNotIncreasing),
        ("an id at the end", raw(&[&[7, 10, 0, 1], &far, &id]), Malformed),
        ("a list cut short", raw(&[&[7, 10, 0, 2, 0], &id]), Malformed),
        ("a long count", raw(&[&[7, 10, 0, 0x40, 1, 0], &id]), Malformed),
        ("a count without end", raw(&[&[7, 10, 0], &far]), TooManyIds),
    ];
    for (name, bytes, violation) in cases {
        assert_eq!(Message::decode(&bytes), Err(violation), "{name}");
    }
    for bytes in [raw(&[&open]), raw(&[&to_20, &[4], &print]), raw(&[&[7, 10, 0, 1, 0], &id])] {
        assert!(Message::decode(&bytes).is_ok());
    }
}

#[test]
fn the_number_of_ranges_has_a_limit() {
    let spans = |count: usize| {
        let spans = (0..count as u64).map(|at| span(stamp(at, 0), stamp(at + 1, 0), None));
        message(spans.collect()).encode()
    };
    assert_eq!(Message::decode(&spans(SPANS_MAX)).unwrap().spans_len(), SPANS_MAX);
    assert_eq!(Message::decode(&spans(SPANS_MAX + 1)), Err(Violation::TooManySpans));
}

#[test]
fn the_number_of_ids_has_a_limit_over_all_ranges() {
    let lists = |last: u64| {
        let ids = |times: std::ops::Range<u64>| Some(times.map(|at| stamp(at, 0)).collect());
        let spans = vec![
            span(stamp(0, 0), stamp(1000, 0), ids(0..1000)),
            span(stamp(1000, 0), END, ids(1000..last)),
        ];
        message(spans).encode()
    };
    assert_eq!(Message::decode(&lists(IDS_MAX as u64)).unwrap().ids_len(), IDS_MAX);
    assert_eq!(Message::decode(&lists(IDS_MAX as u64 + 1)), Err(Violation::TooManyIds));
}

#[test]
fn the_size_of_a_message_has_a_limit() {
    let bytes = vec![0; MESSAGE_SIZE_MAX + 1];
    assert_eq!(Message::decode(&bytes), Err(Violation::TooLarge));
    assert_ne!(Message::decode(&bytes[1..]), Err(Violation::TooLarge));
}

#[test]
fn a_range_with_a_fingerprint_has_a_greatest_size() {
    let far = |time: u64| Stamp { time, id: ItemId([0xff; 16]) };
    let middle = varint::VALUE_MAX / 2;
    let largest = span(far(middle), far(varint::VALUE_MAX - 1), None);
    let mut buffer = BytesMut::new();
    write_span(&mut buffer, None, &largest);
    assert_eq!(buffer.len(), FINGERPRINT_SPAN_SIZE_MAX);
}

#[test]
fn each_rule_has_words_of_its_own() {
    let rules = [
        Violation::TooLarge,
        Violation::Malformed,
        Violation::NoSpan,
        Violation::TooManySpans,
        Violation::TooManyIds,
        Violation::BoundsNotIncreasing,
        Violation::IdsNotIncreasing,
        Violation::IdOutsideSpan,
    ];
    let words: std::collections::BTreeSet<_> = rules.map(Violation::rule).into();
    assert_eq!(words.len(), rules.len());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic_and_what_is_read_has_one_form(
        kinds in prop::collection::vec(0..8_u8, 1..6),
        rest in prop::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 0..200),
    ) {
        let mut bytes = BytesMut::from(&[0; 8][..]);
        for (chunk, kind) in rest.chunks(24).zip(kinds) {
            bytes.put_u8(kind);
            bytes.put_slice(chunk);
        }
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn a_changed_byte_gives_another_message_or_none(
        position in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut bytes = sample().encode().to_vec();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }
}
