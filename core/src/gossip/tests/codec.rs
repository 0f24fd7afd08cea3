//! The forms of batches and proofs.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::super::batch::{Batch, BatchError, Root};
use super::super::proof::{Proof, ProofError};
use super::super::{BATCH_BYTES_MAX, Output, PAYLOAD_MAX};
use super::harness::{BEGIN, Heard, Node, World, Writer, key, topic};
use crate::crypto::signature::SIGNATURE_LEN;
use crate::gossip::Event;
use crate::wire::{DecodeError, encode, varint};

const AUTHOR: u8 = 9;

/// A batch whose signature and tree hold nothing, with these bytes of payloads.
fn unsigned(root: &Root, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(&encode(root)[..]);
    bytes.extend_from_slice(&[0; SIGNATURE_LEN + 32]);
    bytes.extend_from_slice(body);
    bytes.freeze()
}

fn root(count: u16) -> Root {
    Root { count, ..Writer::new(AUTHOR, BEGIN).next }
}

/// The payloads of a batch: a length and this many bytes each.
fn body(sizes: &[usize]) -> Vec<u8> {
    let mut body = BytesMut::new();
    for &size in sizes {
        varint::write(&mut body, size as u64);
        body.extend_from_slice(&vec![0; size]);
    }
    body.to_vec()
}

#[test]
fn anything_but_the_one_form_of_a_batch_is_refused() {
    let trailing = |count| Err(BatchError::TrailingBytes { count });
    let cases = [
        ("one message", 1, body(&[3]), Ok(())),
        ("an empty message", 1, body(&[0]), Ok(())),
        ("no message", 1, Vec::new(), Err(BatchError::Truncated)),
        ("a message too few", 3, body(&[3, 3]), Err(BatchError::Truncated)),
        ("a message too many", 1, body(&[3, 3]), trailing(4)),
        ("a message cut short", 1, vec![4, 0, 0, 0], Err(BatchError::Truncated)),
        ("a long form", 1, vec![0x40, 1, 0], Err(BatchError::NotCanonical)),
        (
            "a longer form",
            1,
            [&[0xc0, 0, 0, 0, 0, 0, 0, 1][..], &[0]].concat(),
            Err(BatchError::NotCanonical),
        ),
        ("the largest", 1, body(&[PAYLOAD_MAX]), Ok(())),
        ("too large", 1, body(&[PAYLOAD_MAX + 1]), Err(BatchError::TooLarge)),
        ("a claimed size", 1, vec![0xff; 8], Err(BatchError::TooLarge)),
        ("several", 2, body(&[BATCH_BYTES_MAX - 1, 1]), Ok(())),
        ("several too large", 2, body(&[BATCH_BYTES_MAX, 1]), Err(BatchError::TooLarge)),
    ];
    for (name, count, body, expected) in cases {
        let parsed = Batch::parse(unsigned(&root(count), &body));
        assert_eq!(parsed.map(|_| ()), expected, "{name}");
    }
    let whole = unsigned(&root(1), &body(&[3]));
    for size in 0..whole.len() {
        assert!(Batch::parse(whole.slice(..size)).is_err(), "cut to {size}");
    }
}

#[test]
fn a_root_that_contradicts_itself_is_refused() {
    let start = root(1);
    let later = Root {
        sequence: 2,
        first: 5,
        previous: [1; 32],
        time: BEGIN + 2,
        previous_time: BEGIN + 1,
        ..start
    };
    assert_eq!((start.check(), later.check()), (Ok(()), Ok(())));
    let cases: [(&str, Root); 10] = [
        ("no messages", Root { count: 0, ..start }),
        ("too many messages", Root { count: 65, ..start }),
        ("a start with a number", Root { first: 1, ..start }),
        ("a start with a predecessor", Root { previous: [1; 32], ..start }),
        ("a start after a time", Root { previous_time: 1, ..start }),
        ("no predecessor", Root { previous: [0; 32], ..later }),
        ("too few messages before", Root { first: 1, ..later }),
        ("too many messages before", Root { first: 129, ..later }),
        ("before its predecessor", Root { previous_time: BEGIN + 3, ..later }),
        (
            "more messages than there are numbers",
            Root { sequence: u64::MAX, first: u64::MAX, ..later },
        ),
    ];
    for (name, root) in cases {
        let parsed = Batch::parse(unsigned(&root, &body(&[3])));
        assert_eq!(parsed, Err(BatchError::Contradiction), "{name}");
    }
}

#[test]
fn a_proof_convinces_somebody_who_knows_the_author_alone() {
    let mut world = World::line(2);
    for text in ["a", "b", "c"] {
        world.nodes[0].publish(text);
    }
    world.run();
    world.nodes[0].publish_to(&topic(), vec![b'x'; PAYLOAD_MAX]);
    world.advance(super::harness::millis(5));
    let received: Vec<Output<u64>> = world.nodes[1].received.clone();
    assert_eq!(received.len(), 4);
    for (number, output) in (0..).zip(received) {
        let Output::Event(Event::Received { payload, message, author, .. }) = output else {
            continue;
        };
        for node in &world.nodes {
            let bytes = node.state.prove(&topic(), message).unwrap();
            let proof = Proof::parse(&bytes).unwrap();
            assert_eq!(proof.encode(), bytes);
            let proven = proof.verify(&author).unwrap();
            assert_eq!((proven.topic, &proven.payload), (topic().id(), &payload));
            assert_eq!((proven.stream >> 20, proven.number), (BEGIN, number));
            assert_eq!(proof.verify(&key(1).id()), Err(ProofError::OtherAuthor));
        }
    }
    let mut unknown = super::super::MessageId { batch: crate::overlay::ItemId([0; 16]), index: 0 };
    assert_eq!(world.nodes[0].state.prove(&topic(), unknown), None);
    let Output::Event(Event::Received { message, .. }) = world.nodes[1].received[0] else { return };
    unknown = super::super::MessageId { index: 64, ..message };
    assert_eq!(world.nodes[0].state.prove(&topic(), unknown), None);
}

#[test]
fn a_proof_with_any_byte_changed_proves_nothing() {
    let mut author = Writer::new(AUTHOR, BEGIN);
    let batch = author.write(&["a", "b", "c", "d", "e"]);
    for index in [0, 4] {
        let whole = Proof::of(&author.author(), &batch, index).unwrap().encode();
        for at in (0..whole.len()).filter(|at| at % 53 == 0 || at % 5000 > 5270) {
            let mut changed = whole.to_vec();
            changed[at] ^= 1;
            let proven = Proof::parse(&changed.into()).and_then(|p| p.verify(&author.key.id()));
            assert!(proven.is_err(), "byte {at}");
        }
        for size in (0..whole.len()).step_by(101) {
            let proven =
                Proof::parse(&whole.slice(..size)).and_then(|p| p.verify(&author.key.id()));
            assert!(proven.is_err(), "cut to {size}");
        }
    }
    assert_eq!(Proof::parse(&Bytes::new()), Err(ProofError::Malformed(DecodeError::Empty)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_is_parsed_verified_delivered_and_proven(
        texts in proptest::collection::vec("[a-z]{0,40}", 1..=64),
        index in any::<prop::sample::Index>(),
        (at, bit) in (any::<prop::sample::Index>(), 0..8_u8),
    ) {
        let mut author = Writer::new(AUTHOR, BEGIN);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let batch = author.write(&texts);
        let parsed = Batch::parse(batch.item().bytes).unwrap();
        prop_assert_eq!(&parsed, &*batch);
        let verified = parsed.verify(&author.author());
        prop_assert_eq!(verified.as_ref(), Ok(&batch));
        let mut node = Node::subscribed(0, &[1]);
        node.learn(1, AUTHOR);
        node.receive(1, &batch);
        let expected: Vec<Heard> =
            texts.iter().map(|&text| Heard::Message(text.to_owned())).collect();
        prop_assert_eq!(&node.heard, &expected);
        let index = index.index(texts.len());
        let proof = Proof::of(&author.author(), &batch, u16::try_from(index).unwrap()).unwrap();
        let proven = Proof::parse(&proof.encode()).unwrap().verify(&author.key.id()).unwrap();
        prop_assert_eq!(&proven.payload[..], texts[index].as_bytes());
        let mut changed = proof.encode().to_vec();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        let proven = Proof::parse(&changed.into()).and_then(|p| p.verify(&author.key.id()));
        prop_assert!(proven.is_err(), "byte {}", at);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = Writer::new(AUTHOR, BEGIN).fork(&["a", "b"]).item().bytes;
        let at = cut.index(whole.len());
        for bytes in [Bytes::from(bytes.clone()), [&whole[..at], &bytes].concat().into()] {
            let _ = Batch::parse(bytes.clone());
            let _ = Proof::parse(&bytes);
            let _ = super::super::Evidence::verify(&bytes);
            let _ = super::super::frames::decode(&bytes);
        }
    }
}
