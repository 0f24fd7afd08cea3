//! Evidence: what proves to anybody that an author signed two roots that exclude each other.
//!
//! The author's key, and two signed root records of one topic and stream. They exclude each other
//! if they have the same sequence and are not the same, or if one has the sequence after the other
//! and does not follow it: it names another predecessor, another number of messages before it, or
//! another time. An author that keeps to the protocol never signs such a pair, and nobody else can.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::author::AuthorKey;
use super::batch::{Batch, BatchError, Root, check_signature};
use crate::crypto::hash::blake3;
use crate::crypto::signature::{SIGNATURE_LEN, Signature, VERIFYING_KEY_LEN, VerifyingKey};
use crate::identity::AgentId;
use crate::overlay::TopicId;
use crate::wire::{DecodeError, Versioned, decode, encode_into};

/// The largest evidence, in bytes.
pub const EVIDENCE_SIZE_MAX: usize = Record::SIZE_MAX;

/// Why bytes are no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// They are not a record of evidence.
    #[error("the evidence is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// A root is not one.
    #[error("a root of the evidence is wrong: {0}")]
    Root(#[from] BatchError),
    /// The roots do not exclude each other, or stand in the wrong order.
    #[error("the roots do not exclude each other")]
    NoConflict,
}

/// An author that was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The author.
    pub author: AgentId,
    /// The topic.
    pub topic: TopicId,
    /// The stream.
    pub stream: u64,
    /// The sequence of the later of the two roots.
    pub sequence: u64,
}

impl Evidence {
    /// Checks evidence. Nothing but the bytes is needed.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`] if it proves nothing.
    pub fn verify(bytes: &[u8]) -> Result<Self, EvidenceError> {
        Parsed::parse(bytes)?.verify()
    }
}

/// Evidence that is well formed. Nothing in it is proven.
#[derive(Debug)]
pub(super) struct Parsed {
    record: Record,
    earlier: Root,
    later: Root,
}

impl Parsed {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let record: Record = decode(bytes)?;
        let earlier: Root = decode(&record.earlier.record.0)?;
        let later: Root = decode(&record.later.record.0)?;
        earlier.check()?;
        later.check()?;
        let is_ordered = place(&record.earlier, &earlier) < place(&record.later, &later);
        if !is_ordered || !exclude(&record.earlier, &earlier, &later) {
            return Err(EvidenceError::NoConflict);
        }
        Ok(Self { record, earlier, later })
    }

    /// The topic that the evidence claims to be of, and the author.
    pub(super) fn subject(&self) -> (TopicId, AgentId) {
        (self.earlier.topic, self.earlier.author)
    }

    pub(super) fn verify(self) -> Result<Evidence, EvidenceError> {
        let key = AuthorKey::new(self.record.key);
        for (root, signed) in
            [(&self.earlier, &self.record.earlier), (&self.later, &self.record.later)]
        {
            check_signature(&key, root, &signed.record.0, signed.signature.as_bytes())?;
        }
        let Root { author, topic, stream, sequence, .. } = self.later;
        Ok(Evidence { author, topic, stream, sequence })
    }
}

/// Makes evidence of two batches, in any order, if they exclude each other.
pub(super) fn prove(key: &AuthorKey, one: &Batch, other: &Batch) -> Option<Bytes> {
    let sign = |batch: &Batch| {
        let signature = Signature::from_bytes(batch.signature()).ok()?;
        Some(Signed { record: RootBytes::new(batch.record())?, signature })
    };
    let key = key.key().clone();
    let mut record = Record { key, earlier: sign(one)?, later: sign(other)? };
    let mut roots = [one.root(), other.root()];
    if place(&record.earlier, roots[0]) > place(&record.later, roots[1]) {
        std::mem::swap(&mut record.earlier, &mut record.later);
        roots.reverse();
    }
    if !exclude(&record.earlier, roots[0], roots[1]) {
        return None;
    }
    let mut bytes = BytesMut::with_capacity(Record::SIZE_MAX);
    encode_into(&record, &mut bytes);
    Some(bytes.freeze())
}

/// A pair has one order: by sequence, then by the bytes of the records.
fn place<'a>(signed: &'a Signed, root: &Root) -> (u64, &'a RootBytes) {
    (root.sequence, &signed.record)
}

/// Returns whether no honest author signs both.
fn exclude(signed: &Signed, earlier: &Root, later: &Root) -> bool {
    let of = |root: &Root| (root.author, root.topic, root.stream);
    if of(earlier) != of(later) {
        return false;
    }
    if earlier.sequence == later.sequence {
        return earlier != later;
    }
    let is_next = earlier.sequence.checked_add(1) == Some(later.sequence);
    is_next && !earlier.leads_to(&blake3(&signed.record.0), later)
}

/// The form of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    key: VerifyingKey,
    earlier: Signed,
    later: Signed,
}

impl Versioned for Record {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize =
        1 + 2 + VERIFYING_KEY_LEN + 2 * (2 + Root::SIZE_MAX + 2 + SIGNATURE_LEN);
}

/// A root record and its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Signed {
    record: RootBytes,
    signature: Signature,
}

/// The bytes of a root record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct RootBytes(crate::wire::BoundedBytes<{ Root::SIZE_MAX }>);

impl RootBytes {
    fn new(record: &[u8]) -> Option<Self> {
        crate::wire::BoundedBytes::copy_from(record).ok().map(Self)
    }
}
