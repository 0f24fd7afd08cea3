//! Batches: some messages of one author to one topic under one signature.
//!
//! ```text
//! root record (version 1)  ‖  signature (3309)  ‖  salt seed (32)  ‖  count × (length, payload)
//! ```
//!
//! The signature covers the root record alone, as a statement of [`Domain::GossipBatch`]; the
//! record has the root of the [Merkle tree](merkle) of the payloads. A length is a variable-length
//! integer as in QUIC, in its shortest form. Nothing follows the last payload. So a batch has one
//! form but for the signature, of which its author can make many; a batch is therefore named by
//! the hash of its record.
//!
//! The types say how far a batch is checked: [`Batch`] is well formed, [`VerifiedBatch`] is its
//! author's. There is no other way to the latter than [`Batch::verify`] and [`Draft::sign`].
//!
//! # Limits
//!
//! [`BATCH_MESSAGES_MAX`] and [`BATCH_BYTES_MAX`]; a single payload may have
//! [`PAYLOAD_MAX`] bytes and is a batch of its own.

#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::author::AuthorKey;
use super::limits::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, PAYLOAD_MAX};
use crate::crypto::hash::{HASH_LEN, blake3};
use crate::crypto::merkle::{self, SALT_SEED_LEN, Salt};
use crate::crypto::signature::{SIGNATURE_LEN, Signature};
use crate::identity::{AgentId, AgentKey, Domain, verify};
use crate::overlay::{Item, ItemId, Stamp, TopicId};
use crate::wire::{DecodeError, Versioned, decode_prefix, encode_into, varint};

/// [`BATCH_MESSAGES_MAX`] as the size of an array.
pub(super) const LEAVES_MAX: usize = 64;

/// The largest batch, in bytes.
pub const BATCH_SIZE_MAX: usize =
    Root::SIZE_MAX + SIGNATURE_LEN + SALT_SEED_LEN + varint::SIZE_MAX + PAYLOAD_MAX;

/// Why bytes are not a batch of an author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It does not start with a root record.
    #[error("the root record is not one: {0}")]
    Record(#[from] DecodeError),
    /// The fields of the root record contradict each other.
    #[error("the root record contradicts itself")]
    Contradiction,
    /// The bytes end within the batch.
    #[error("the batch is cut short")]
    Truncated,
    /// The payloads are too large.
    #[error("the payloads are too large for a batch")]
    TooLarge,
    /// A length is not in its shortest form.
    #[error("a length is not in its shortest form")]
    NotCanonical,
    /// Bytes follow the batch.
    #[error("{count} bytes follow the batch")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// The payloads are not those of the root record.
    #[error("the payloads are not those that were signed")]
    OtherPayloads,
    /// The signature is not the author's.
    #[error("the signature is not the author's")]
    BadSignature,
}

/// What an author signs: everything about a batch but its payloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The agent that publishes.
    pub author: AgentId,
    /// The topic.
    pub topic: TopicId,
    /// The run of batches that follow one another. A greater number replaces a smaller one; it is no
    /// time, though it grows with the author's clock.
    pub stream: u64,
    /// The place of the batch in the stream, from zero.
    pub sequence: u64,
    /// The place of the first message in the stream, from zero.
    pub first: u64,
    /// How many messages there are.
    pub count: u16,
    /// When the batch was made, in milliseconds since the Unix epoch.
    pub time: u64,
    /// The time of the batch before it in the stream; zero if it is the first.
    pub previous_time: u64,
    /// The hash of the root record before it in the stream; zeros if it is the first.
    pub previous: [u8; HASH_LEN],
    /// The root of the tree of payloads.
    pub merkle: [u8; HASH_LEN],
}

impl Versioned for Root {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 1 + 4 * 32 + 5 * 10 + 3;
}

impl Root {
    /// The place of the message after the last one.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }

    /// Returns whether the fields fit each other.
    pub(super) fn check(&self) -> Result<(), BatchError> {
        let is_start = self.sequence == 0;
        let most = self.sequence.saturating_mul(BATCH_MESSAGES_MAX.into());
        let holds = (1..=BATCH_MESSAGES_MAX).contains(&self.count)
            && (self.sequence..=most).contains(&self.first)
            && self.first.checked_add(self.count.into()).is_some()
            && self.previous_time <= self.time
            && is_start == (self.previous == [0; HASH_LEN])
            && (!is_start || self.previous_time == 0);
        if holds { Ok(()) } else { Err(BatchError::Contradiction) }
    }

    /// Returns whether `next` can follow this root, whose hash is given, in one stream.
    pub(super) fn leads_to(&self, hash: &[u8; HASH_LEN], next: &Self) -> bool {
        next.previous == *hash && next.first == self.end() && next.previous_time == self.time
    }
}

/// Returns the name of the batch whose root record has this hash.
pub(super) fn item_id(hash: &[u8; HASH_LEN]) -> ItemId {
    let (halves, _) = hash.as_chunks();
    ItemId(halves.first().copied().unwrap_or_default())
}

/// Returns whom a batch claims to be of, and its topic, without a look at the rest. For bytes that
/// were checked before.
pub(super) fn peek(bytes: &[u8]) -> Option<(AgentId, TopicId)> {
    let (author, rest) = bytes.get(1..)?.split_first_chunk()?;
    let (topic, _) = rest.split_first_chunk()?;
    Some((AgentId(*author), TopicId(*topic)))
}

/// A batch that is well formed. Nothing in it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    root: Root,
    /// The hash of the root record.
    hash: [u8; HASH_LEN],
    /// The whole.
    bytes: Bytes,
    /// The size of the root record.
    record_size: usize,
}

impl Batch {
    /// Takes a batch apart.
    ///
    /// # Errors
    ///
    /// [`BatchError`] if the bytes are not the one form of a batch.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        if bytes.len() > BATCH_SIZE_MAX {
            return Err(BatchError::TooLarge);
        }
        let (root, rest) = decode_prefix::<Root>(&bytes)?;
        root.check()?;
        let record_size = bytes.len() - rest.len();
        let body = rest.get(SIGNATURE_LEN + SALT_SEED_LEN..).ok_or(BatchError::Truncated)?;
        check_payloads(body, root.count)?;
        let hash = blake3(bytes.get(..record_size).unwrap_or_default());
        Ok(Self { root, hash, bytes, record_size })
    }

    /// Checks that the author signed what is in the batch.
    ///
    /// # Errors
    ///
    /// [`BatchError::OtherPayloads`] or [`BatchError::BadSignature`].
    pub fn verify(self, key: &AuthorKey) -> Result<VerifiedBatch, BatchError> {
        if self.merkle_root() != self.root.merkle {
            return Err(BatchError::OtherPayloads);
        }
        check_signature(key, &self.root, self.record(), self.signature())?;
        Ok(VerifiedBatch(self))
    }

    /// Returns the name and time of the item that the batch is.
    pub fn stamp(&self) -> Stamp {
        Stamp { time: self.root.time, id: self.id() }
    }

    /// Returns what was signed.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Returns the hash of the root record.
    pub fn hash(&self) -> &[u8; HASH_LEN] {
        &self.hash
    }

    /// Returns the name of the batch.
    pub fn id(&self) -> ItemId {
        item_id(&self.hash)
    }

    /// Returns the whole.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns how many bytes the batch has.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the payloads, as slices of the batch.
    pub fn payloads(&self) -> Payloads<'_> {
        let at = self.record_size + SIGNATURE_LEN + SALT_SEED_LEN;
        Payloads { bytes: &self.bytes, at }
    }

    /// Returns the bytes of the root record.
    pub(super) fn record(&self) -> &[u8] {
        self.bytes.get(..self.record_size).unwrap_or_default()
    }

    /// Returns the bytes of the signature.
    pub(super) fn signature(&self) -> &[u8] {
        let rest = self.bytes.get(self.record_size..).unwrap_or_default();
        rest.get(..SIGNATURE_LEN).unwrap_or_default()
    }

    /// Returns the salt of a message.
    pub(super) fn salt(&self, index: u16) -> Salt {
        merkle::salt(self.seed(), index)
    }

    /// Computes the leaves of the tree; the slice has as many as there are messages.
    pub(super) fn leaves<'a>(
        &self,
        buffer: &'a mut [merkle::Hash; LEAVES_MAX],
    ) -> &'a mut [merkle::Hash] {
        let seed = self.seed();
        let mut count = 0;
        for ((leaf, index), range) in buffer.iter_mut().zip(0..).zip(self.payloads().ranges()) {
            let payload = self.bytes.get(range).unwrap_or_default();
            *leaf = merkle::leaf(&merkle::salt(seed, index), index, payload);
            count += 1;
        }
        buffer.get_mut(..count).unwrap_or_default()
    }

    fn merkle_root(&self) -> merkle::Hash {
        let mut buffer = [[0; HASH_LEN]; LEAVES_MAX];
        merkle::root(self.leaves(&mut buffer))
    }

    /// Returns what the salts are made from.
    pub(super) fn seed(&self) -> &[u8; SALT_SEED_LEN] {
        let rest = self.bytes.get(self.record_size + SIGNATURE_LEN..).unwrap_or_default();
        rest.first_chunk().unwrap_or(&[0; SALT_SEED_LEN])
    }
}

/// Checks that the author of a root signed its record.
pub(super) fn check_signature(
    key: &AuthorKey,
    root: &Root,
    record: &[u8],
    signature: &[u8],
) -> Result<(), BatchError> {
    let signature = Signature::from_bytes(signature).map_err(|_| BatchError::BadSignature)?;
    if key.id() != root.author {
        return Err(BatchError::BadSignature);
    }
    verify(Domain::GossipBatch, key.key(), record, &signature).map_err(|_| BatchError::BadSignature)
}

/// Checks the form of the payloads.
fn check_payloads(body: &[u8], count: u16) -> Result<(), BatchError> {
    let mut rest = body;
    let mut total = 0;
    for _ in 0..count {
        let (length, form) = varint::read(rest).ok_or(BatchError::Truncated)?;
        let length = usize::try_from(length).map_err(|_| BatchError::TooLarge)?;
        total = length.checked_add(total).ok_or(BatchError::TooLarge)?;
        if total > if count == 1 { PAYLOAD_MAX } else { BATCH_BYTES_MAX } {
            return Err(BatchError::TooLarge);
        }
        if form != length_size(length) {
            return Err(BatchError::NotCanonical);
        }
        rest = rest.get(form + length..).ok_or(BatchError::Truncated)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(BatchError::TrailingBytes { count: rest.len() }) }
}

/// The size of the shortest form of a length of at most [`PAYLOAD_MAX`].
const fn length_size(length: usize) -> usize {
    match length {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        _ => 4,
    }
}

/// The payloads of a batch, in order.
#[derive(Clone, Debug)]
pub struct Payloads<'a> {
    bytes: &'a Bytes,
    /// Where the next length is.
    at: usize,
}

impl Payloads<'_> {
    /// Where the payloads are in the batch.
    fn ranges(mut self) -> impl Iterator<Item = std::ops::Range<usize>> {
        std::iter::from_fn(move || self.next_range())
    }

    fn next_range(&mut self) -> Option<std::ops::Range<usize>> {
        let (length, form) = varint::read(self.bytes.get(self.at..)?)?;
        let start = self.at + form;
        self.at = start + usize::try_from(length).ok()?;
        Some(start..self.at)
    }
}

impl Iterator for Payloads<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.next_range().map(|range| self.bytes.slice(range))
    }
}

/// A batch that its author signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBatch(Batch);

impl VerifiedBatch {
    /// Returns what the overlay carries.
    pub fn item(&self) -> Item {
        let root = &self.0.root;
        let source = root.author.0.first_chunk().copied().unwrap_or_default();
        Item {
            stamp: Stamp { time: root.time, id: self.0.id() },
            source: u64::from_be_bytes(source),
            bytes: self.0.bytes.clone(),
        }
    }
}

impl std::ops::Deref for VerifiedBatch {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.0
    }
}

/// A batch before it is signed.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// What is signed. Its author, count and Merkle root are set by signing.
    pub root: Root,
    /// The messages.
    pub payloads: &'a [Bytes],
    /// What the salts are made from; unpredictable.
    pub seed: [u8; SALT_SEED_LEN],
}

impl Draft<'_> {
    /// Signs the batch. See [`crate::crypto::signature::SigningKey::sign`] for the randomness.
    ///
    /// # Panics
    ///
    /// If there are no messages, too many, or too large ones, or if the fields of the root
    /// contradict each other.
    pub fn sign(self, key: &AgentKey, randomness: &[u8; 32]) -> VerifiedBatch {
        let Self { mut root, payloads, seed } = self;
        root.author = key.id();
        root.count = u16::try_from(payloads.len()).expect("a batch has few messages");
        let mut buffer = [[0; HASH_LEN]; LEAVES_MAX];
        let leaves = buffer.get_mut(..payloads.len()).expect("a batch has few messages");
        for ((leaf, index), payload) in leaves.iter_mut().zip(0..).zip(payloads) {
            *leaf = merkle::leaf(&merkle::salt(&seed, index), index, payload);
        }
        root.merkle = merkle::root(leaves);
        root.check().expect("the author's own root holds");
        let size: usize = payloads.iter().map(Bytes::len).sum();
        let most = if payloads.len() == 1 { PAYLOAD_MAX } else { BATCH_BYTES_MAX };
        assert!(size <= most, "a batch of {size} bytes (at most {most})");
        let overhead = Root::SIZE_MAX + SIGNATURE_LEN + SALT_SEED_LEN;
        let mut bytes = BytesMut::with_capacity(overhead + size + 4 * payloads.len());
        encode_into(&root, &mut bytes);
        let (record_size, hash) = (bytes.len(), blake3(&bytes));
        let signature = key.sign(Domain::GossipBatch, &bytes, randomness);
        bytes.put_slice(signature.as_bytes());
        bytes.put_slice(&seed);
        for payload in payloads {
            varint::write(&mut bytes, u64::try_from(payload.len()).unwrap_or(u64::MAX));
            bytes.put_slice(payload);
        }
        VerifiedBatch(Batch { root, hash, bytes: bytes.freeze(), record_size })
    }
}
