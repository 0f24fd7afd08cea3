//! Records: versioned values in postcard form, with exactly one encoding each.
//!
//! A record is one byte of version followed by the value in
//! [postcard form](https://postcard.jamesmunns.com/wire-format.html). Postcard describes nothing
//! about itself, so the version decides how to read the rest; a change of the layout is a new
//! version.
//!
//! # One form
//!
//! Postcard readers take integers with needless leading groups and maps in any order. Two forms of
//! one value would mean two ids of one message, or a signature that can be carried to other bytes.
//! So [`decode`] encodes what it read and refuses the input unless the bytes agree. The comparison
//! runs along the input and allocates nothing. A signature may therefore be checked over the
//! received bytes: no other bytes give the same value.
//!
//! # Limits
//!
//! [`Versioned::SIZE_MAX`] is checked before anything is parsed. Collections inside a record use
//! [`BoundedVec`](super::BoundedVec) and [`BoundedBytes`](super::BoundedBytes).

use bytes::{BufMut, Bytes, BytesMut};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// A value that has a record form.
pub trait Versioned {
    /// The first byte of the record.
    const VERSION: u8;
    /// The greatest size of the record in bytes, with its version.
    const SIZE_MAX: usize;
}

/// Why bytes are not a record of the wanted type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There are no bytes at all.
    #[error("a record needs at least its version")]
    Empty,
    /// There are more bytes than the type can have.
    #[error("{size} bytes are too many for this record (at most {size_max})")]
    TooLarge {
        /// The size of the input.
        size: usize,
        /// The limit of the type.
        size_max: usize,
    },
    /// The version is not one that this program reads.
    #[error("version {found} of this record is unknown (known: {known})")]
    UnknownVersion {
        /// The version of the input.
        found: u8,
        /// The version that this program reads.
        known: u8,
    },
    /// The bytes end within the value.
    #[error("the record is cut short")]
    Truncated,
    /// A field holds something that it must not hold, such as too many elements.
    #[error("a field of the record holds what it must not hold")]
    InvalidField,
    /// Bytes follow the value.
    #[error("{count} bytes follow the record")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// The bytes are another form of the value than the one that is allowed.
    #[error("the record is not in its canonical form")]
    NotCanonical,
}

/// Encodes a value as a record.
///
/// # Panics
///
/// As [`encode_into`].
pub fn encode<T: Versioned + Serialize>(value: &T) -> Bytes {
    let mut buffer = BytesMut::new();
    encode_into(value, &mut buffer);
    buffer.freeze()
}

/// Appends a value as a record.
///
/// # Panics
///
/// If the record is larger than [`Versioned::SIZE_MAX`], or if the type has no postcard form (a
/// sequence of unknown length). Both are mistakes of the type: its fields are to be bounded.
pub fn encode_into<T: Versioned + Serialize>(value: &T, buffer: &mut BytesMut) {
    let start = buffer.len();
    buffer.put_u8(T::VERSION);
    postcard::serialize_with_flavor(value, Append { buffer })
        .expect("a record has a postcard form");
    let size = buffer.len().saturating_sub(start);
    assert!(size <= T::SIZE_MAX, "a record of {size} bytes (at most {})", T::SIZE_MAX);
}

/// Decodes a record that fills `bytes`.
///
/// # Errors
///
/// A [`DecodeError`] if the bytes are anything but the one form of a value.
pub fn decode<'a, T>(bytes: &'a [u8]) -> Result<T, DecodeError>
where
    T: Versioned + Serialize + Deserialize<'a>,
{
    if bytes.len() > T::SIZE_MAX {
        return Err(DecodeError::TooLarge { size: bytes.len(), size_max: T::SIZE_MAX });
    }
    let (value, rest) = decode_prefix(bytes)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::TrailingBytes { count: rest.len() }) }
}

/// Decodes a record at the start of `bytes`; returns it with the bytes that follow.
///
/// This is for a message whose payload need not be copied: a record as its head, then the payload
/// up to the end of the frame. Only the record counts towards [`Versioned::SIZE_MAX`].
///
/// # Errors
///
/// A [`DecodeError`] if the bytes do not start with the one form of a value.
pub fn decode_prefix<'a, T>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), DecodeError>
where
    T: Versioned + Serialize + Deserialize<'a>,
{
    let (&version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if version != T::VERSION {
        return Err(DecodeError::UnknownVersion { found: version, known: T::VERSION });
    }
    let (value, rest) = postcard::take_from_bytes::<T>(body).map_err(|error| {
        if error == postcard::Error::DeserializeUnexpectedEnd {
            DecodeError::Truncated
        } else {
            DecodeError::InvalidField
        }
    })?;
    let size = bytes.len().saturating_sub(rest.len());
    if size > T::SIZE_MAX {
        return Err(DecodeError::TooLarge { size, size_max: T::SIZE_MAX });
    }
    let record = body.get(..size.saturating_sub(1)).unwrap_or_default();
    postcard::serialize_with_flavor(&value, Compare { expected: record })
        .map_err(|_| DecodeError::NotCanonical)?;
    Ok((value, rest))
}

/// Appends what is serialised to a buffer.
struct Append<'a> {
    buffer: &'a mut BytesMut,
}

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.buffer.put_u8(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.buffer.put_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Compares what is serialised with the bytes that are expected.
struct Compare<'a> {
    expected: &'a [u8],
}

impl Flavor for Compare<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let rest = self.expected.strip_prefix(bytes);
        self.expected = rest.ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        if self.expected.is_empty() { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::wire::{BoundedBytes, BoundedVec};

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Sample {
        count: u64,
        names: BoundedVec<BoundedBytes<4>, 2>,
        flag: Option<bool>,
    }

    impl Versioned for Sample {
        const VERSION: u8 = 3;
        const SIZE_MAX: usize = 24;
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Mapped(BTreeMap<u8, u8>);

    impl Versioned for Mapped {
        const VERSION: u8 = 1;
        const SIZE_MAX: usize = 16;
    }

    fn sample() -> Sample {
        let names = [b"ab".as_slice(), b"cdef"].map(|name| BoundedBytes::copy_from(name).unwrap());
        Sample { count: 300, names: BoundedVec::new(names.to_vec()).unwrap(), flag: Some(true) }
    }

    const SAMPLE: &[u8] = &[3, 0xac, 0x02, 2, 2, b'a', b'b', 4, b'c', b'd', b'e', b'f', 1, 1];

    #[test]
    fn a_record_is_its_version_and_the_postcard_form() {
        assert_eq!(&encode(&sample())[..], SAMPLE);
        assert_eq!(decode(SAMPLE), Ok(sample()));
    }

    #[test]
    fn a_record_that_is_cut_anywhere_is_refused() {
        for size in 1..SAMPLE.len() {
            let cut = SAMPLE.get(..size).unwrap();
            assert_eq!(decode::<Sample>(cut), Err(DecodeError::Truncated), "cut to {size}");
        }
    }

    #[test]
    fn anything_but_the_one_form_is_refused() {
        let cases: &[(&str, &[u8], DecodeError)] = &[
            ("nothing", &[], DecodeError::Empty),
            ("version", &[2, 0, 0, 0], DecodeError::UnknownVersion { found: 2, known: 3 }),
            ("size", &[3; 25], DecodeError::TooLarge { size: 25, size_max: 24 }),
            ("trailing", &[3, 0, 0, 0, 9, 9], DecodeError::TrailingBytes { count: 2 }),
            ("too many names", &[3, 0, 3, 0, 0, 0, 0], DecodeError::InvalidField),
            ("a name too long", &[3, 0, 1, 5, 1, 2, 3, 4, 5, 0], DecodeError::InvalidField),
            ("a claimed length", &[3, 0, 1, 0xff, 0xff, 0x7f], DecodeError::Truncated),
            ("not a boolean", &[3, 0, 0, 1, 2], DecodeError::InvalidField),
            ("a needless group", &[3, 0x80, 0, 0, 0], DecodeError::NotCanonical),
        ];
        for &(name, bytes, error) in cases {
            assert_eq!(decode::<Sample>(bytes), Err(error), "{name}");
        }
    }

    #[test]
    fn a_map_has_one_order() {
        assert_eq!(decode(&[1, 2, 1, 10, 2, 20]), Ok(Mapped(BTreeMap::from([(1, 10), (2, 20)]))));
        assert_eq!(decode::<Mapped>(&[1, 2, 2, 20, 1, 10]), Err(DecodeError::NotCanonical));
        assert_eq!(decode::<Mapped>(&[1, 2, 1, 10, 1, 10]), Err(DecodeError::NotCanonical));
    }

    #[test]
    fn a_payload_may_follow_a_head() {
        let bytes = [SAMPLE, &[7; 100]].concat();
        let (head, payload) = decode_prefix::<Sample>(&bytes).unwrap();
        assert_eq!((head, payload), (sample(), [7; 100].as_slice()));
    }

    #[test]
    #[should_panic(expected = "at most 16")]
    fn a_record_over_its_limit_is_a_mistake_of_its_type() {
        encode(&Mapped((0..20).map(|key| (key, 0)).collect()));
    }
}
