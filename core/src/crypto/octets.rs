//! Public byte strings of an exact length that are long, shared and often compared.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `N` public bytes behind a shared pointer, so that a clone costs nothing.
///
/// The serde form is a byte string; any other length is an error. `Debug` shows the first bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Octets<const N: usize>(Arc<[u8; N]>);

impl<const N: usize> Octets<N> {
    pub(super) fn new(bytes: [u8; N]) -> Self {
        Self(Arc::new(bytes))
    }

    /// Copies the bytes if there are exactly `N`.
    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != N {
            return None;
        }
        Arc::<[u8]>::from(bytes).try_into().ok().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> fmt::Debug for Octets<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
        formatter.write_str("…")
    }
}

impl<const N: usize> Serialize for Octets<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_slice())
    }
}

impl<'de, const N: usize> Deserialize<'de> for Octets<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(OctetsVisitor)
    }
}

struct OctetsVisitor<const N: usize>;

impl<const N: usize> Visitor<'_> for OctetsVisitor<N> {
    type Value = Octets<N>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a string of {N} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Octets::from_slice(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serde_form_is_a_byte_string_of_the_exact_length() {
        let octets = Octets::new([7; 200]);
        let encoded = postcard::to_stdvec(&octets).unwrap();
        assert_eq!(encoded.len(), 2 + 200);
        assert_eq!(postcard::from_bytes::<Octets<200>>(&encoded).unwrap(), octets);

        assert!(postcard::from_bytes::<Octets<200>>(&encoded[..201]).is_err(), "truncated");
        assert!(postcard::from_bytes::<Octets<199>>(&encoded).is_err(), "too long");
        assert!(postcard::from_bytes::<Octets<201>>(&encoded).is_err(), "too short");
    }

    #[test]
    fn only_slices_of_the_exact_length_are_taken() {
        for (len, taken) in [(0, false), (3, false), (4, true), (5, false)] {
            assert_eq!(Octets::<4>::from_slice(&vec![1; len]).is_some(), taken, "{len} bytes");
        }
    }

    #[test]
    fn debug_shows_the_first_bytes_only() {
        assert_eq!(format!("{:?}", Octets::new([0x0a; 1000])), "0a0a0a0a…");
    }
}
