//! The frames of gossip: one byte says what the rest is: the overlay's, a key, a question for a
//! key, or evidence.
//!
//! The sender of a batch over a session sends the author's key first, unless that session has seen
//! it; batches name their author by a hash.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::BATCH_SIZE_MAX;
use super::evidence::EVIDENCE_SIZE_MAX;
use crate::crypto::signature::VerifyingKey;
use crate::identity::AgentId;
use crate::session::{HEADER_INLINE_MAX, Header};

/// Followed by a frame of the overlay.
const OVERLAY: u8 = 0;
/// Followed by the key of an author.
const KEY: u8 = 1;
/// Followed by the id of an author.
const KEY_REQUEST: u8 = 2;
/// Followed by evidence.
const EVIDENCE: u8 = 3;

/// The largest frame, in bytes: the header of the overlay is far smaller than the space left for
/// it.
pub const FRAME_SIZE_MAX: usize = BATCH_SIZE_MAX + 4096;

/// What a frame of the overlay grows by.
pub(super) const OVERLAY_PREFIX: usize = 1;

/// A rule that a frame breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) &'static str);

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// For the overlay.
    Overlay(Bytes),
    /// The key of an author.
    Key(VerifyingKey),
    /// The sender has batches of an author and not the key.
    KeyRequest(AgentId),
    /// What proves that an author signed two things that exclude each other.
    Evidence(Bytes),
}

/// Takes a frame apart.
pub(super) fn decode(frame: &Bytes) -> Result<Frame, Violation> {
    let &kind = frame.first().ok_or(Violation("a frame is empty"))?;
    let rest = frame.slice(1..);
    match kind {
        OVERLAY => Ok(Frame::Overlay(rest)),
        KEY => VerifyingKey::from_bytes(&rest)
            .map(Frame::Key)
            .map_err(|_| Violation("a key has the wrong size")),
        KEY_REQUEST => <[u8; 32]>::try_from(&rest[..])
            .map(|author| Frame::KeyRequest(AgentId(author)))
            .map_err(|_| Violation("a question for a key has the wrong size")),
        EVIDENCE if rest.len() <= EVIDENCE_SIZE_MAX => Ok(Frame::Evidence(rest)),
        EVIDENCE => Err(Violation("evidence is too large")),
        _ => Err(Violation("a frame has an unknown kind")),
    }
}

/// Makes the header of a frame of the overlay.
pub(super) fn overlay(header: &[u8]) -> Header {
    prefixed(OVERLAY, header)
}

/// Makes a frame with a key.
pub(super) fn key(key: &VerifyingKey) -> Header {
    prefixed(KEY, key.as_bytes())
}

/// Makes a frame that asks for a key.
pub(super) fn key_request(author: &AgentId) -> Header {
    prefixed(KEY_REQUEST, &author.0)
}

/// Makes the header of a frame with evidence.
pub(super) fn evidence() -> Header {
    prefixed(EVIDENCE, &[])
}

fn prefixed(kind: u8, rest: &[u8]) -> Header {
    let mut header = Header::new();
    if rest.len() < HEADER_INLINE_MAX {
        header.push(kind);
        header.extend(rest);
        return header;
    }
    let mut frame = BytesMut::with_capacity(rest.len().saturating_add(1));
    frame.put_u8(kind);
    frame.put_slice(rest);
    frame.freeze().into()
}
