//! The frames: how each is written, and a decoder that accepts exactly what the encoder makes.
//!
//! The first byte of a frame is its kind and the second its channel. Numbers named *varint* are
//! unsigned LEB128 in the shortest form; other numbers are little-endian. Frames that are made
//! for each message fit a [`Header`] and need no allocation.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{CHANNELS_MAX, PAYLOAD_MAX, RUNS_MAX, RefuseReason, Violation};
use crate::identity::AgentId;

const OPEN: u8 = 1;
const OPENED: u8 = 2;
const REFUSED: u8 = 3;
const MESSAGE: u8 = 4;
const VERDICT: u8 = 5;

/// The most bytes of a [`Header`]: kind, channel, a varint and a verdict.
const HEADER_MAX: usize = 13;

/// The bytes of a frame that go before its payload, kept inline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; HEADER_MAX],
    len: u8,
}

impl Header {
    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The header of a message.
    pub(super) fn message(channel: u8, sequence: u64) -> Self {
        let mut header = Self::of(MESSAGE, channel);
        header.push_varint(sequence);
        header
    }

    /// A verdict on every message up to `run.through` that has none.
    pub(super) fn verdict(channel: u8, run: Run) -> Self {
        let mut header = Self::of(VERDICT, channel);
        header.push_varint(run.through);
        header.push(run.verdict.code());
        header
    }

    /// The refusal of a whole channel.
    pub(super) fn refused(channel: u8, reason: RefuseReason) -> Self {
        let mut header = Self::of(REFUSED, channel);
        header.push(Verdict::Refused(reason).code());
        header
    }

    fn of(kind: u8, channel: u8) -> Self {
        let mut header = Self::default();
        header.push(kind);
        header.push(channel);
        header
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
            *slot = byte;
            self.len = self.len.saturating_add(1);
        }
    }

    fn push_varint(&mut self, value: u64) {
        for_each_varint_byte(value, |byte| self.push(byte));
    }
}

/// What became of a message at the recipient's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Delivered to the application.
    Accepted,
    /// Not delivered.
    Refused(RefuseReason),
}

impl Verdict {
    fn code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Refused(RefuseReason::Blocked) => 1,
            Self::Refused(RefuseReason::NotHere) => 2,
            Self::Refused(RefuseReason::Full) => 3,
        }
    }

    fn from_code(code: u8) -> Result<Self, Violation> {
        match code {
            0 => Ok(Self::Accepted),
            1 => Ok(Self::Refused(RefuseReason::Blocked)),
            2 => Ok(Self::Refused(RefuseReason::NotHere)),
            3 => Ok(Self::Refused(RefuseReason::Full)),
            _ => Err(Violation::UnknownVerdict),
        }
    }
}

/// One verdict for the messages after the run before it, up to and including `through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The last sequence of the run.
    pub(super) through: u64,
    /// The verdict on all of them.
    pub(super) verdict: Verdict,
}

/// Starts or resumes a conversation on a channel of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// The channel, chosen by the sender.
    pub(super) channel: u8,
    /// The conversation.
    pub(super) conversation: u64,
    /// The index of the sending agent among the agents that its machine proved.
    pub(super) from: u8,
    /// The receiving agent.
    pub(super) to: AgentId,
    /// The lowest sequence that is not answered yet.
    pub(super) first: u64,
    /// The epoch under which messages follow at once; `None` if they wait for the answer.
    pub(super) epoch: Option<u64>,
}

impl Open {
    /// Writes the frame.
    pub(super) fn encode(&self) -> Bytes {
        let mut frame = BytesMut::with_capacity(64);
        frame.put_u8(OPEN);
        frame.put_u8(self.channel);
        frame.put_u64_le(self.conversation);
        frame.put_u8(self.from);
        frame.put_slice(&self.to.0);
        for_each_varint_byte(self.first, |byte| frame.put_u8(byte));
        frame.put_u64_le(self.epoch.unwrap_or(0));
        frame.freeze()
    }
}

/// Answers an [`Open`]: what the recipient's node knows of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// The channel.
    pub(super) channel: u8,
    /// The epoch of the recipient's record, not zero.
    pub(super) epoch: u64,
    /// The verdicts, ascending.
    pub(super) runs: Vec<Run>,
}

impl Opened {
    /// Writes the frame.
    pub(super) fn encode(channel: u8, epoch: u64, runs: &[Run]) -> Bytes {
        let mut frame = BytesMut::with_capacity(64);
        frame.put_u8(OPENED);
        frame.put_u8(channel);
        frame.put_u64_le(epoch);
        let mut before = 0;
        for run in runs {
            let step = run.through.saturating_sub(before);
            for_each_varint_byte(step, |byte| frame.put_u8(byte));
            frame.put_u8(run.verdict.code());
            before = run.through;
        }
        frame.freeze()
    }
}

/// A frame that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// See [`Open`].
    Open(Open),
    /// See [`Opened`].
    Opened(Opened),
    /// Answers an [`Open`]: nothing on the channel is taken until it is opened again.
    Refused { channel: u8, reason: RefuseReason },
    /// A message.
    Message { channel: u8, sequence: u64, payload: Bytes },
    /// A verdict on messages of an open channel.
    Verdict { channel: u8, run: Run },
}

/// Reads a frame.
pub(super) fn decode(mut frame: Bytes) -> Result<Frame, Violation> {
    let mut reader = Reader { rest: &frame };
    match reader.u8()? {
        MESSAGE => {
            let (channel, sequence) = (reader.channel()?, reader.varint()?);
            let size = reader.rest.len();
            if size > PAYLOAD_MAX {
                return Err(Violation::PayloadTooLarge);
            }
            frame.advance(frame.len().saturating_sub(size));
            Ok(Frame::Message { channel, sequence, payload: frame })
        }
        VERDICT => {
            let channel = reader.channel()?;
            let run = Run { through: reader.varint()?, verdict: reader.verdict()? };
            reader.end(Frame::Verdict { channel, run })
        }
        OPEN => {
            let open = reader.open()?;
            reader.end(Frame::Open(open))
        }
        OPENED => {
            let opened = reader.opened()?;
            reader.end(Frame::Opened(opened))
        }
        REFUSED => {
            let channel = reader.channel()?;
            match reader.verdict()? {
                Verdict::Refused(reason) => reader.end(Frame::Refused { channel, reason }),
                Verdict::Accepted => Err(Violation::UnknownVerdict),
            }
        }
        _ => Err(Violation::UnknownKind),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn u8(&mut self) -> Result<u8, Violation> {
        let (&byte, rest) = self.rest.split_first().ok_or(Violation::Malformed)?;
        self.rest = rest;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Violation::Malformed)?;
        self.rest = rest;
        Ok(*array)
    }

    fn u64(&mut self) -> Result<u64, Violation> {
        self.array().map(u64::from_le_bytes)
    }

    fn varint(&mut self) -> Result<u64, Violation> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.unbounded_shl(shift);
            let is_last = byte & 0x80 == 0;
            let is_padding = is_last && byte == 0 && shift > 0;
            if shifted.unbounded_shr(shift) != bits || is_padding {
                return Err(Violation::Malformed);
            }
            value |= shifted;
            if is_last {
                return Ok(value);
            }
        }
        Err(Violation::Malformed)
    }

    fn channel(&mut self) -> Result<u8, Violation> {
        let channel = self.u8()?;
        if usize::from(channel) < CHANNELS_MAX {
            Ok(channel)
        } else {
            Err(Violation::TooManyChannels)
        }
    }

    fn verdict(&mut self) -> Result<Verdict, Violation> {
        self.u8().and_then(Verdict::from_code)
    }

    fn open(&mut self) -> Result<Open, Violation> {
        Ok(Open {
            channel: self.channel()?,
            conversation: self.u64()?,
            from: self.u8()?,
            to: AgentId(self.array()?),
            first: self.varint()?,
            epoch: Some(self.u64()?).filter(|&epoch| epoch != 0),
        })
    }

    fn opened(&mut self) -> Result<Opened, Violation> {
        let (channel, epoch) = (self.channel()?, self.u64()?);
        let mut runs = Vec::new();
        let mut through = 0_u64;
        while !self.rest.is_empty() {
            let step = self.varint()?;
            through = through.checked_add(step).ok_or(Violation::Malformed)?;
            if step == 0 || runs.len() == RUNS_MAX {
                return Err(Violation::Malformed);
            }
            runs.push(Run { through, verdict: self.verdict()? });
        }
        if epoch == 0 { Err(Violation::Malformed) } else { Ok(Opened { channel, epoch, runs }) }
    }

    fn end(&self, frame: Frame) -> Result<Frame, Violation> {
        if self.rest.is_empty() { Ok(frame) } else { Err(Violation::Malformed) }
    }
}

fn for_each_varint_byte(mut value: u64, mut put: impl FnMut(u8)) {
    loop {
        let bits = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return put(bits);
        }
        put(bits | 0x80);
    }
}
