//! Proofs: what proves to anybody that an author published one message.
//!
//! A proof has all that is needed to check it but the author's id, and tells nothing about the
//! other messages of the batch.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::author::AuthorKey;
use super::batch::{Batch, BatchError, LEAVES_MAX, Root, check_signature};
use super::limits::{PAYLOAD_MAX, PROOF_NODES_MAX};
use crate::crypto::hash::HASH_LEN;
use crate::crypto::merkle::{self, SALT_LEN};
use crate::crypto::signature::{SIGNATURE_LEN, Signature, VERIFYING_KEY_LEN, VerifyingKey};
use crate::identity::AgentId;
use crate::overlay::TopicId;
use crate::wire::{
    BoundedBytes, BoundedVec, DecodeError, Versioned, decode, decode_prefix, encode_into,
};

/// The largest proof, in bytes.
pub const PROOF_SIZE_MAX: usize = Head::SIZE_MAX + PAYLOAD_MAX;

/// Why bytes prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// They are not a proof.
    #[error("the proof is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The proof is of another author.
    #[error("the proof is of another author")]
    OtherAuthor,
    /// What was signed is not a batch, or not with this message, or not by the author.
    #[error("the proof does not hold: {0}")]
    Batch(#[from] BatchError),
}

/// A message that an author certainly published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenMessage {
    /// The topic.
    pub topic: TopicId,
    /// What was said.
    pub payload: Bytes,
    /// When the author says that it was published, since the Unix epoch.
    pub published_at: Duration,
    /// The author's stream in the topic.
    pub stream: u64,
    /// The place of the message in the stream, from zero.
    pub number: u64,
}

/// What proves to anybody that an author published a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    head: Head,
    root: Root,
    payload: Bytes,
}

impl Proof {
    /// Reads a proof. [`Self::verify`] checks what it proves.
    ///
    /// # Errors
    ///
    /// [`ProofError::Malformed`] or [`ProofError::Batch`] if the bytes are not the one form of a
    /// proof.
    pub fn parse(bytes: &Bytes) -> Result<Self, ProofError> {
        let (head, payload) = decode_prefix::<Head>(bytes)?;
        if payload.len() > PAYLOAD_MAX {
            return Err(BatchError::TooLarge.into());
        }
        let root = decode::<Root>(&head.record)?;
        root.check()?;
        let payload = bytes.slice(bytes.len() - payload.len()..);
        Ok(Self { head, root, payload })
    }

    /// Checks that the author published the message.
    ///
    /// # Errors
    ///
    /// [`ProofError`] if that is not proven.
    pub fn verify(&self, author: &AgentId) -> Result<ProvenMessage, ProofError> {
        let Self { head, root, payload } = self;
        let key = AuthorKey::new(head.key.clone());
        if key.id() != *author || root.author != *author {
            return Err(ProofError::OtherAuthor);
        }
        let leaf = merkle::leaf(&head.salt, head.index, payload);
        if merkle::climb(&leaf, head.index, root.count, &head.path) != Some(root.merkle) {
            return Err(BatchError::OtherPayloads.into());
        }
        check_signature(&key, root, &head.record, head.signature.as_bytes())?;
        Ok(ProvenMessage {
            topic: root.topic,
            payload: payload.clone(),
            published_at: Duration::from_millis(root.time),
            stream: root.stream,
            number: root.first.saturating_add(head.index.into()),
        })
    }

    /// Returns the bytes, which anybody can [`Self::parse`].
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Head::SIZE_MAX + self.payload.len());
        encode_into(&self.head, &mut bytes);
        bytes.extend_from_slice(&self.payload);
        bytes.freeze()
    }

    /// Makes the proof of a message of a batch.
    pub(super) fn of(key: &AuthorKey, batch: &Batch, index: u16) -> Option<Self> {
        let payload = batch.payloads().nth(index.into())?;
        let mut buffer = [[0; HASH_LEN]; LEAVES_MAX];
        let path = merkle::path(batch.leaves(&mut buffer), index)?;
        let head = Head {
            key: key.key().clone(),
            record: BoundedBytes::copy_from(batch.record()).ok()?,
            signature: Signature::from_bytes(batch.signature()).ok()?,
            salt: batch.salt(index),
            index,
            path: BoundedVec::new(path).ok()?,
        };
        Some(Self { head, root: batch.root().clone(), payload })
    }
}

/// A proof without its payload, which follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    key: VerifyingKey,
    record: BoundedBytes<{ Root::SIZE_MAX }>,
    signature: Signature,
    salt: [u8; SALT_LEN],
    index: u16,
    path: BoundedVec<[u8; HASH_LEN], PROOF_NODES_MAX>,
}

impl Versioned for Head {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 1
        + (2 + VERIFYING_KEY_LEN)
        + (2 + Root::SIZE_MAX)
        + (2 + SIGNATURE_LEN)
        + SALT_LEN
        + 3
        + 1
        + PROOF_NODES_MAX * HASH_LEN;
}
