//! Properties of records and frames over arbitrary input.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use x0x_core::wire::{
    BoundedBytes, BoundedVec, FrameReader, Versioned, decode, encode, varint, write_frame,
};

const PAYLOAD_BYTES_MAX: usize = 600;

/// One field of each kind that records use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sample {
    number: u64,
    signed: i32,
    choice: Choice,
    list: BoundedVec<Option<u16>, 5>,
    text: BoundedBytes<9>,
    fixed: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Choice {
    Nothing,
    Number(u32),
    Pair { left: bool, right: BoundedBytes<3> },
}

impl Versioned for Sample {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 200;
}

fn samples() -> impl Strategy<Value = Sample> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..=most);
    let choices = prop_oneof![
        Just(Choice::Nothing),
        any::<u32>().prop_map(Choice::Number),
        (any::<bool>(), bytes(3)).prop_map(|(left, right)| Choice::Pair {
            left,
            right: BoundedBytes::copy_from(&right).expect("at most 3 bytes"),
        }),
    ];
    let lists = proptest::collection::vec(any::<Option<u16>>(), 0..=5);
    (any::<u64>(), any::<i32>(), choices, lists, bytes(9), any::<[u8; 32]>()).prop_map(
        |(number, signed, choice, list, text, fixed)| Sample {
            number,
            signed,
            choice,
            list: BoundedVec::new(list).expect("at most 5 elements"),
            text: BoundedBytes::copy_from(&text).expect("at most 9 bytes"),
            fixed,
        },
    )
}

/// Reads everything that one chunk completes.
fn read_chunk(reader: &mut FrameReader, chunk: &[u8]) -> Vec<Bytes> {
    reader.push(Bytes::copy_from_slice(chunk));
    std::iter::from_fn(|| reader.next().ok().flatten()).collect()
}

proptest! {
    #[test]
    fn a_record_decodes_to_its_value(sample in samples()) {
        prop_assert_eq!(decode::<Sample>(&encode(&sample)), Ok(sample));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        sample in samples(),
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode(&sample).to_vec();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        if let Ok(value) = decode::<Sample>(&bytes) {
            prop_assert_eq!(encode(&value), bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        size_max in 0..300_usize,
    ) {
        let _ = varint::read(&bytes);
        let mut reader = FrameReader::new(size_max);
        read_chunk(&mut reader, &bytes);
        prop_assert!(reader.buffered() <= bytes.len());
        if let Some(version) = bytes.first_mut() {
            *version = Sample::VERSION;
        }
        let _ = decode::<Sample>(&bytes);
    }

    #[test]
    fn any_split_of_a_stream_gives_the_same_frames(
        payloads in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 1..=PAYLOAD_BYTES_MAX),
            0..12,
        ),
        sizes in proptest::collection::vec(1..1500_usize, 1..20),
        batch in any::<bool>(),
    ) {
        let mut stream = BytesMut::new();
        for payload in &payloads {
            let (head, tail) = payload.split_at(payload.len() / 2);
            write_frame(&mut stream, &[head, tail]);
        }
        let mut reader = FrameReader::new(PAYLOAD_BYTES_MAX);
        let mut frames = Vec::new();
        let mut sizes = sizes.into_iter().cycle();
        while !stream.is_empty() {
            let size = sizes.next().unwrap_or(1).min(stream.len());
            let chunk = stream.split_to(size);
            if batch {
                reader.push(chunk.freeze());
            } else {
                frames.extend(read_chunk(&mut reader, &chunk));
            }
        }
        frames.extend(read_chunk(&mut reader, &[]));
        prop_assert_eq!(frames, payloads);
        prop_assert_eq!(reader.buffered(), 0);
    }
}
