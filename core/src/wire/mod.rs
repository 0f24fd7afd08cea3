//! The forms in which bytes cross the network: records, frames and variable-length integers.
//!
//! - [`codec`]: a *record* is one versioned value, in [postcard](https://postcard.jamesmunns.com)
//!   form, with exactly one encoding.
//! - [`bounded`]: collections and byte strings that refuse too much while they are decoded.
//! - [`frame`]: a *frame* is a length and that many bytes on a stream.
//! - [`varint`]: the variable-length integers of QUIC (RFC 9000, section 16).
//!
//! This module knows no message of the protocol; each module defines its own and makes it
//! [`Versioned`].
//!
//! # Invariants
//!
//! - Nothing here keeps state between calls except [`FrameReader`], which belongs to one stream.
//! - No input makes a decoder panic.
//! - Memory grows with the bytes that arrived, never with a length that they claim.
//! - What decodes, encodes to the same bytes again: one value has one form, so a signature covers
//!   one form and an id made from bytes names one value.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

pub mod bounded;
pub mod codec;
pub mod frame;
pub mod varint;

pub use bounded::{BoundedBytes, BoundedVec, TooMany};
pub use codec::{DecodeError, Versioned, decode, decode_prefix, encode, encode_into};
pub use frame::{FrameError, FrameReader, write_frame};
