//! Variable-length integers as in QUIC (RFC 9000, section 16).
//!
//! The two highest bits of the first byte give the size of the whole (1, 2, 4 or 8 bytes); the
//! other bits are the value, most significant byte first. Writers use the shortest form; readers
//! take any form, as QUIC does.

use bytes::{BufMut, BytesMut};

/// The greatest value that a variable-length integer can hold.
pub const VALUE_MAX: u64 = (1 << 62) - 1;

/// The size of the longest form, in bytes.
pub const SIZE_MAX: usize = 8;

/// Appends a value in its shortest form.
///
/// # Panics
///
/// If the value is greater than [`VALUE_MAX`].
pub fn write(buffer: &mut BytesMut, value: u64) {
    let (bytes, len) = to_array(value);
    buffer.put_slice(bytes.get(..len).unwrap_or_default());
}

/// Returns a value in its shortest form: bytes, of which as many count as the number says.
///
/// # Panics
///
/// If the value is greater than [`VALUE_MAX`].
pub fn to_array(value: u64) -> ([u8; SIZE_MAX], usize) {
    assert!(value <= VALUE_MAX, "{value} does not fit a variable-length integer");
    let form = match value {
        0..=0x3f => 0_u8,
        0x40..=0x3fff => 1,
        0x4000..=0x3fff_ffff => 2,
        _ => 3,
    };
    let size = 1_usize << form;
    let unused = SIZE_MAX.saturating_sub(size).saturating_mul(8);
    let mut bytes = (value << unused).to_be_bytes();
    let [first, ..] = &mut bytes;
    *first |= form << 6;
    (bytes, size)
}

/// Reads a value from the start of `bytes`: the value and the size of its form, or `None` if
/// more bytes are needed.
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let &first = bytes.first()?;
    let size = 1_usize << (first >> 6);
    let rest = bytes.get(1..size)?;
    let value =
        rest.iter().fold(u64::from(first & 0x3f), |value, &byte| (value << 8) | u64::from(byte));
    Some((value, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 9000, appendix A.1, and the edges of each form.
    const CASES: &[(u64, &[u8])] = &[
        (0, &[0x00]),
        (37, &[0x25]),
        (63, &[0x3f]),
        (64, &[0x40, 0x40]),
        (15_293, &[0x7b, 0xbd]),
        (16_383, &[0x7f, 0xff]),
        (16_384, &[0x80, 0x00, 0x40, 0x00]),
        (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
        (1_073_741_823, &[0xbf, 0xff, 0xff, 0xff]),
        (1_073_741_824, &[0xc0, 0, 0, 0, 0x40, 0, 0, 0]),
        (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
        (VALUE_MAX, &[0xff; 8]),
    ];

    #[test]
    fn a_value_is_written_in_its_shortest_form_and_read_back() {
        for &(value, form) in CASES {
            let mut buffer = BytesMut::new();
            write(&mut buffer, value);
            assert_eq!(&buffer[..], form, "{value}");
            buffer.put_slice(b"what follows");
            assert_eq!(read(&buffer), Some((value, form.len())), "{value}");
        }
    }

    #[test]
    fn a_truncated_form_needs_more_bytes() {
        for &(value, form) in CASES {
            for (size, _) in form.iter().enumerate() {
                assert_eq!(form.get(..size).and_then(read), None, "{value} cut to {size}");
            }
        }
    }

    #[test]
    fn a_longer_form_is_read() {
        assert_eq!(read(&[0x40, 0x25]), Some((37, 2)));
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_value_over_the_limit_is_a_mistake_of_the_caller() {
        write(&mut BytesMut::new(), VALUE_MAX.saturating_add(1));
    }
}
