//! Doors for the fuzz targets: what is private is read and written again.

use bytes::{Bytes, BytesMut};

use super::author::AuthorKey;
use super::batch::{Batch, VerifiedBatch};
use super::frames::{self, Frame};
use super::proof::Proof;
use crate::wire::{encode, varint};

/// Reads a batch; returns its bytes when it is written again.
pub fn batch(bytes: Bytes) -> Option<Bytes> {
    let batch = Batch::parse(bytes).ok()?;
    let mut written = BytesMut::from(&encode(batch.root())[..]);
    written.extend_from_slice(batch.signature());
    written.extend_from_slice(batch.seed());
    for payload in batch.payloads() {
        varint::write(&mut written, u64::try_from(payload.len()).ok()?);
        written.extend_from_slice(&payload);
    }
    Some(written.freeze())
}

/// Reads a frame; returns its bytes when it is written again.
pub fn frame(frame: &Bytes) -> Option<Bytes> {
    Some(match frames::decode(frame).ok()? {
        Frame::Overlay(rest) => frames::overlay(&rest).into(),
        Frame::Key(key) => frames::key(&key).into(),
        Frame::KeyRequest(author) => frames::key_request(&author).into(),
        Frame::Evidence(evidence) => [&frames::evidence()[..], &evidence].concat().into(),
    })
}

/// Makes the proof of a message.
pub fn proof(key: &AuthorKey, batch: &VerifiedBatch, index: u16) -> Option<Bytes> {
    Proof::of(key, batch, index).map(|proof| proof.encode())
}

/// Makes evidence of two batches that exclude each other.
pub fn evidence(key: &AuthorKey, one: &VerifiedBatch, other: &VerifiedBatch) -> Option<Bytes> {
    super::evidence::prove(key, one, other)
}
