//! The first bytes of a frame.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use crate::wire::varint;

/// How many bytes of a header are kept inline. Longer ones are shared.
pub const HEADER_INLINE_MAX: usize = 22;

/// The first bytes of a frame, in front of its payload.
#[derive(Clone)]
pub struct Header(Form);

#[derive(Clone)]
enum Form {
    Inline([u8; HEADER_INLINE_MAX], u8),
    Shared(Bytes),
}

impl Header {
    /// Makes an empty header.
    pub const fn new() -> Self {
        Self(Form::Inline([0; HEADER_INLINE_MAX], 0))
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Form::Inline(bytes, len) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Form::Shared(bytes) => bytes,
        }
    }

    /// Appends a byte.
    pub fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    /// Appends bytes.
    pub fn extend(&mut self, more: &[u8]) {
        if let Form::Inline(bytes, len) = &mut self.0
            && let Some(slots) = bytes.get_mut(usize::from(*len)..usize::from(*len) + more.len())
        {
            slots.copy_from_slice(more);
            *len = len.saturating_add(u8::try_from(more.len()).unwrap_or(u8::MAX));
            return;
        }
        self.0 = Form::Shared([self.as_slice(), more].concat().into());
    }

    /// Appends what [`varint::write`] writes.
    ///
    /// # Panics
    ///
    /// If the value needs more than 62 bits.
    pub fn push_varint(&mut self, value: u64) {
        let (bytes, len) = varint::to_array(value);
        self.extend(bytes.get(..len).unwrap_or_default());
    }
}

impl Default for Header {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl From<Header> for Bytes {
    fn from(header: Header) -> Self {
        match header.0 {
            Form::Inline(..) => Self::copy_from_slice(&header),
            Form::Shared(bytes) => bytes,
        }
    }
}

impl From<Bytes> for Header {
    fn from(bytes: Bytes) -> Self {
        if bytes.len() > HEADER_INLINE_MAX {
            return Self(Form::Shared(bytes));
        }
        let mut header = Self::new();
        header.extend(&bytes);
        header
    }
}

impl PartialEq for Header {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Header {}

impl fmt::Debug for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Bytes::copy_from_slice(self.as_slice()), formatter)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn a_header_is_what_was_appended_however_long_it_becomes() {
        let (mut header, mut expected) = (Header::new(), BytesMut::new());
        for number in 0..40_u64 {
            header.push(u8::try_from(number).unwrap());
            expected.extend([u8::try_from(number).unwrap()]);
            header.push_varint(1 << number);
            varint::write(&mut expected, 1 << number);
            assert_eq!(header.as_slice(), &expected[..]);
        }
        assert_eq!(Header::from(expected.freeze()), header);
    }
}
