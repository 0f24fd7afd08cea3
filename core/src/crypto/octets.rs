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
