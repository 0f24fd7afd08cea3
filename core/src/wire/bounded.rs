//! Collections and byte strings that never hold more than their limit.
//!
//! They have the form of a plain sequence or byte string: the number of elements or bytes, then
//! these. The limit holds while they are decoded: what exceeds it is refused at once, and memory
//! is taken only for elements that were read. A plain `Vec` in a record would trust the number.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bytes::Bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// There is more than the limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} are too many (at most {limit})")]
pub struct TooMany {
    /// How many elements or bytes there are.
    pub count: usize,
    /// How many there may be.
    pub limit: usize,
}

fn check(count: usize, limit: usize) -> Result<(), TooMany> {
    if count <= limit { Ok(()) } else { Err(TooMany { count, limit }) }
}

/// A list of at most `MAX` elements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoundedVec<T, const MAX: usize> {
    elements: Vec<T>,
}

impl<T, const MAX: usize> BoundedVec<T, MAX> {
    /// Wraps a list.
    ///
    /// # Errors
    ///
    /// [`TooMany`] if it has more than `MAX` elements.
    pub fn new(elements: Vec<T>) -> Result<Self, TooMany> {
        check(elements.len(), MAX)?;
        Ok(Self { elements })
    }

    /// Appends an element.
    ///
    /// # Errors
    ///
    /// [`TooMany`] if the list is full.
    pub fn push(&mut self, element: T) -> Result<(), TooMany> {
        check(self.elements.len().saturating_add(1), MAX)?;
        self.elements.push(element);
        Ok(())
    }

    /// Returns the list.
    pub fn into_vec(self) -> Vec<T> {
        self.elements
    }
}

impl<T, const MAX: usize> Default for BoundedVec<T, MAX> {
    fn default() -> Self {
        Self { elements: Vec::new() }
    }
}

impl<T, const MAX: usize> Deref for BoundedVec<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<T: Serialize, const MAX: usize> Serialize for BoundedVec<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.elements.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for BoundedVec<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementVisitor(PhantomData))
    }
}

struct ElementVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ElementVisitor<T, MAX> {
    type Value = BoundedVec<T, MAX>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        check(sequence.size_hint().unwrap_or(0), MAX).map_err(A::Error::custom)?;
        let mut list = BoundedVec::default();
        while let Some(element) = sequence.next_element()? {
            list.push(element).map_err(A::Error::custom)?;
        }
        Ok(list)
    }
}

/// A byte string of at most `MAX` bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoundedBytes<const MAX: usize> {
    bytes: Bytes,
}

impl<const MAX: usize> BoundedBytes<MAX> {
    /// Wraps a byte string.
    ///
    /// # Errors
    ///
    /// [`TooMany`] if it has more than `MAX` bytes.
    pub fn new(bytes: Bytes) -> Result<Self, TooMany> {
        check(bytes.len(), MAX)?;
        Ok(Self { bytes })
    }

    /// Copies a byte string.
    ///
    /// # Errors
    ///
    /// [`TooMany`] if it has more than `MAX` bytes; nothing is copied then.
    pub fn copy_from(bytes: &[u8]) -> Result<Self, TooMany> {
        check(bytes.len(), MAX)?;
        Ok(Self { bytes: Bytes::copy_from_slice(bytes) })
    }

    /// Returns the byte string.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl<const MAX: usize> Deref for BoundedBytes<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<const MAX: usize> Serialize for BoundedBytes<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for BoundedBytes<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(ByteVisitor)
    }
}

struct ByteVisitor<const MAX: usize>;

impl<const MAX: usize> Visitor<'_> for ByteVisitor<MAX> {
    type Value = BoundedBytes<MAX>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at most {MAX} bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        BoundedBytes::copy_from(bytes).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_takes_no_more() {
        let mut list = BoundedVec::<u8, 2>::default();
        assert_eq!((list.push(1), list.push(2)), (Ok(()), Ok(())));
        assert_eq!(list.push(3), Err(TooMany { count: 3, limit: 2 }));
        assert_eq!(&list[..], [1, 2]);
        assert_eq!(BoundedVec::<u8, 2>::new(vec![0; 3]), Err(TooMany { count: 3, limit: 2 }));
    }

    #[test]
    fn a_byte_string_over_its_limit_is_refused() {
        let error = TooMany { count: 3, limit: 2 };
        assert_eq!(BoundedBytes::<2>::copy_from(b"abc"), Err(error));
        assert_eq!(BoundedBytes::<2>::new(Bytes::from_static(b"abc")), Err(error));
        assert_eq!(&BoundedBytes::<3>::copy_from(b"abc").unwrap()[..], b"abc");
    }

    #[test]
    fn the_number_of_elements_is_refused_before_the_elements_are_read() {
        // Elements without bytes: only the limit ends the reading.
        let claimed = postcard::to_stdvec(&u64::from(u32::MAX)).unwrap();
        assert!(postcard::from_bytes::<BoundedVec<(), 8>>(&claimed).is_err());
        let most = postcard::from_bytes::<BoundedVec<(), 8>>(&[8]).unwrap();
        assert_eq!(most.len(), 8);
        assert!(postcard::from_bytes::<BoundedVec<(), 8>>(&[9]).is_err());
    }
}
