//! The messages, their encoding, and a decoder that never panics.
//!
//! A message is a salt and a list of ranges with increasing bounds. Each range has a fingerprint of the
//! items that the sender knows there, or a list of them. The encoding is canonical: each message has one
//! form, and the decoder rejects others.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use bytes::{BufMut, Bytes, BytesMut};

use super::super::history::{END, Fingerprint};
use super::super::{ItemId, Stamp};
use crate::wire::varint;

/// The largest message, in bytes.
pub const MESSAGE_SIZE_MAX: usize = 32 << 10;

/// The most ranges in a message.
pub const SPANS_MAX: usize = 512;

/// The most ids that all ranges of a message list.
pub const IDS_MAX: usize = 1536;

/// The size of an id or a fingerprint, in bytes.
const ID_SIZE: usize = 16;

/// The largest range with a fingerprint, in bytes: its kind, two bounds and the fingerprint.
pub(super) const FINGERPRINT_SPAN_SIZE_MAX: usize =
    1 + 2 * (varint::SIZE_MAX + 1 + ID_SIZE) + ID_SIZE;

/// The range lists its items.
const LISTS: u8 = 1;
/// The start of the range is encoded. Otherwise it starts at the end of the previous range.
const STARTS: u8 = 2;
/// The range ends at [`END`], which is not encoded.
const IS_OPEN: u8 = 4;

/// One message of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The salt of all fingerprints of the exchange.
    pub(super) salt: u64,
    /// The ranges.
    pub(super) spans: Vec<Span>,
}

/// A range of stamps, and the items that the sender knows there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The first stamp of the range.
    pub(super) start: Stamp,
    /// The first stamp after the range.
    pub(super) end: Stamp,
    /// The items.
    pub(super) content: Content,
}

/// The items that the sender knows in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Their fingerprint.
    Fingerprint(Fingerprint),
    /// Their stamps, in order.
    Ids(Vec<Stamp>),
}

impl Content {
    /// Returns the stamps, or none if there is a fingerprint.
    pub(super) fn ids(&self) -> &[Stamp] {
        match self {
            Self::Fingerprint(_) => &[],
            Self::Ids(ids) => ids,
        }
    }
}

/// The rule that a message violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It has more than [`MESSAGE_SIZE_MAX`] bytes.
    TooLarge,
    /// It is truncated, or one of its values is not canonical.
    Malformed,
    /// It has no range.
    NoSpan,
    /// It has more than [`SPANS_MAX`] ranges.
    TooManySpans,
    /// It lists more than [`IDS_MAX`] ids.
    TooManyIds,
    /// A bound is not greater than the previous one.
    BoundsNotIncreasing,
    /// The stamps of a list do not increase.
    IdsNotIncreasing,
    /// A listed stamp is outside its range.
    IdOutsideSpan,
}

impl Violation {
    /// Returns the rule in a few words, for logs and peers.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::TooLarge => "a reconciliation is too large",
            Self::Malformed => "a reconciliation is malformed",
            Self::NoSpan => "a reconciliation has no range",
            Self::TooManySpans => "a reconciliation has too many ranges",
            Self::TooManyIds => "a reconciliation lists too many items",
            Self::BoundsNotIncreasing => "the ranges of a reconciliation do not increase",
            Self::IdsNotIncreasing => "the items of a reconciliation do not increase",
            Self::IdOutsideSpan => "an item of a reconciliation is outside its range",
        }
    }
}

impl Message {
    /// Encodes the message.
    pub fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::with_capacity(64);
        buffer.put_u64(self.salt);
        let mut before = None;
        for span in &self.spans {
            write_span(&mut buffer, before, span);
            before = Some(span);
        }
        buffer.freeze()
    }

    /// Decodes a message that fills `bytes`.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the bytes are not the canonical encoding of a message within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, Violation> {
        if bytes.len() > MESSAGE_SIZE_MAX {
            return Err(Violation::TooLarge);
        }
        let mut reader = Reader { rest: bytes, ids: 0 };
        let mut message = Self { salt: reader.array().map(u64::from_be_bytes)?, spans: Vec::new() };
        while !reader.rest.is_empty() {
            if message.spans.len() == SPANS_MAX {
                return Err(Violation::TooManySpans);
            }
            let span = reader.span(message.spans.last())?;
            message.spans.push(span);
        }
        if message.spans.is_empty() { Err(Violation::NoSpan) } else { Ok(message) }
    }

    /// Returns the number of ranges.
    pub fn spans_len(&self) -> usize {
        self.spans.len()
    }

    /// Returns the number of listed items.
    pub fn ids_len(&self) -> usize {
        self.spans.iter().map(|span| span.content.ids().len()).sum()
    }
}

/// Appends a range that follows another, or is the first.
pub(super) fn write_span(buffer: &mut BytesMut, before: Option<&Span>, span: &Span) {
    let starts = before.is_none_or(|before| before.end < span.start);
    let is_open = span.end == END;
    let lists = matches!(span.content, Content::Ids(_));
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    buffer.put_u8(flag(lists, LISTS) | flag(starts, STARTS) | flag(is_open, IS_OPEN));
    if starts {
        write_bound(buffer, before.map_or(0, |before| before.end.time), &span.start);
    }
    if !is_open {
        write_bound(buffer, span.start.time, &span.end);
    }
    match &span.content {
        Content::Fingerprint(fingerprint) => buffer.put_slice(&fingerprint.0),
        Content::Ids(stamps) => {
            varint::write(buffer, u64::try_from(stamps.len()).unwrap_or(u64::MAX));
            let mut time = span.start.time;
            for stamp in stamps {
                varint::write(buffer, stamp.time.saturating_sub(time));
                buffer.put_slice(&stamp.id.0);
                time = stamp.time;
            }
        }
    }
}

/// Appends a bound: the difference to the previous time, and the id without trailing zeros.
fn write_bound(buffer: &mut BytesMut, time: u64, bound: &Stamp) {
    varint::write(buffer, bound.time.saturating_sub(time));
    let zeros = bound.id.0.iter().rev().take_while(|&&byte| byte == 0).count();
    let prefix = bound.id.0.get(..ID_SIZE.saturating_sub(zeros)).unwrap_or_default();
    buffer.put_u8(u8::try_from(prefix.len()).unwrap_or(u8::MAX));
    buffer.put_slice(prefix);
}

/// Reads values from the rest of a message.
struct Reader<'a> {
    rest: &'a [u8],
    /// How many ids were read.
    ids: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Violation::Malformed)?;
        self.rest = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, Violation> {
        self.array().map(|[byte]| byte)
    }

    /// Reads an integer, which must be encoded in its shortest form.
    fn varint(&mut self) -> Result<u64, Violation> {
        let (value, size) = varint::read(self.rest).ok_or(Violation::Malformed)?;
        let shortest = match value {
            0..=0x3f => 1,
            0x40..=0x3fff => 2,
            0x4000..=0x3fff_ffff => 4,
            _ => varint::SIZE_MAX,
        };
        self.rest = self.rest.get(size..).unwrap_or_default();
        if size == shortest { Ok(value) } else { Err(Violation::Malformed) }
    }

    /// Reads a time as the difference to the previous one. It must be before that of [`END`].
    fn time(&mut self, before: u64) -> Result<u64, Violation> {
        let time = before.saturating_add(self.varint()?);
        if time < END.time { Ok(time) } else { Err(Violation::Malformed) }
    }

    fn bound(&mut self, before: u64) -> Result<Stamp, Violation> {
        let mut bound = Stamp::at(self.time(before)?);
        let size = usize::from(self.u8()?);
        let prefix = bound.id.0.get_mut(..size).ok_or(Violation::Malformed)?;
        let (from, rest) = self.rest.split_at_checked(size).ok_or(Violation::Malformed)?;
        prefix.copy_from_slice(from);
        self.rest = rest;
        if from.last() == Some(&0) { Err(Violation::Malformed) } else { Ok(bound) }
    }

    fn span(&mut self, before: Option<&Span>) -> Result<Span, Violation> {
        let kind = self.u8()?;
        if kind & !(LISTS | STARTS | IS_OPEN) != 0 {
            return Err(Violation::Malformed);
        }
        let start = match (before, kind & STARTS != 0) {
            (None, true) => self.bound(0)?,
            (Some(before), false) => before.end,
            (None, false) => return Err(Violation::Malformed),
            (Some(before), true) => {
                let start = self.bound(before.end.time)?;
                if start <= before.end {
                    return Err(Violation::BoundsNotIncreasing);
                }
                start
            }
        };
        let end = if kind & IS_OPEN == 0 { self.bound(start.time)? } else { END };
        if end <= start {
            return Err(Violation::BoundsNotIncreasing);
        }
        let content = if kind & LISTS == 0 {
            Content::Fingerprint(Fingerprint(self.array()?))
        } else {
            Content::Ids(self.ids(start, end)?)
        };
        Ok(Span { start, end, content })
    }

    fn ids(&mut self, start: Stamp, end: Stamp) -> Result<Vec<Stamp>, Violation> {
        let count = usize::try_from(self.varint()?).map_err(|_| Violation::TooManyIds)?;
        self.ids = self.ids.saturating_add(count);
        if self.ids > IDS_MAX {
            return Err(Violation::TooManyIds);
        }
        let mut stamps: Vec<Stamp> = Vec::new();
        let mut time = start.time;
        for _ in 0..count {
            time = self.time(time)?;
            let stamp = Stamp { time, id: ItemId(self.array()?) };
            if stamps.last().is_some_and(|before| stamp <= *before) {
                return Err(Violation::IdsNotIncreasing);
            }
            if stamp < start || stamp >= end {
                return Err(Violation::IdOutsideSpan);
            }
            stamps.push(stamp);
        }
        Ok(stamps)
    }
}
