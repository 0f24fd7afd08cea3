//! Documents: records that carry the signature of their issuer.
//!
//! A document is a record followed by a signature of 3309 bytes and nothing else. The signature
//! covers the record, with its version, as a statement of the document's [`Domain`]. A record has
//! one form only, so it is checked over the bytes as they arrived.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::keys::Domain;
use crate::crypto::signature::{SIGNATURE_LEN, Signature};
use crate::wire::{DecodeError, Versioned, decode, encode_into};

/// The size of a public key in a record: its length in two bytes, then the key.
pub(super) const KEY_FIELD_SIZE: usize = 2 + crate::crypto::signature::VERIFYING_KEY_LEN;
/// The greatest size of a 64-bit number in a record.
pub(super) const NUMBER_FIELD_SIZE_MAX: usize = 10;

/// A record that is only ever sent as a document.
pub(super) trait Statement: Versioned + Serialize {
    /// The domain of its signature.
    const DOMAIN: Domain;
}

/// Returns the greatest size of a document of the type.
pub(super) const fn size_max<T: Versioned>() -> usize {
    T::SIZE_MAX + SIGNATURE_LEN
}

/// Makes a document; `sign` signs a statement of the domain.
pub(super) fn seal<T: Statement>(
    statement: &T,
    sign: impl FnOnce(Domain, &[u8]) -> Signature,
) -> Bytes {
    let mut document = BytesMut::with_capacity(size_max::<T>());
    encode_into(statement, &mut document);
    let signature = sign(T::DOMAIN, &document);
    document.put_slice(signature.as_bytes());
    document.freeze()
}

/// The parts of a document. Nothing about them is verified.
pub(super) struct Opened<'a, T> {
    /// What is stated.
    pub(super) statement: T,
    /// The record: what the signature is to cover.
    pub(super) record: &'a [u8],
    /// What claims to be the signature.
    pub(super) signature: Signature,
}

/// Takes a document apart.
pub(super) fn open<'a, T>(bytes: &'a [u8]) -> Result<Opened<'a, T>, DecodeError>
where
    T: Statement + Deserialize<'a>,
{
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let size_max = size_max::<T>();
    if bytes.len() > size_max {
        return Err(DecodeError::TooLarge { size: bytes.len(), size_max });
    }
    let (record, signature) =
        bytes.split_last_chunk::<SIGNATURE_LEN>().ok_or(DecodeError::Truncated)?;
    let statement = decode(record)?;
    let signature = Signature::from_bytes(signature).map_err(|_| DecodeError::Truncated)?;
    Ok(Opened { statement, record, signature })
}
