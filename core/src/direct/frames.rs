//! The frames: how each is written, and a decoder that never panics.
//!
//! The first byte of a frame is its kind; its channel follows. Numbers are variable-length as in
//! QUIC, except the conversation, which is 8 bytes, big-endian. Frames that are made for each
//! message fit a [`Header`] and need no allocation.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{CHANNELS_MAX, PAYLOAD_MAX, RUNS_MAX, RefuseReason, Violation};
use crate::identity::AgentId;
use crate::session::Header;
use crate::wire::varint;

const OPEN: u8 = 1;
const OPENED: u8 = 2;
const MESSAGE: u8 = 3;
const VERDICT: u8 = 4;

/// Returns the header of a message.
pub(super) fn message_header(channel: u8, sequence: u64) -> Header {
    let mut header = header(MESSAGE, channel);
    header.push_varint(sequence);
    header
}

/// Returns the header of a verdict on every message up to `run.through` that has none.
pub(super) fn verdict_header(channel: u8, run: Run) -> Header {
    let mut header = header(VERDICT, channel);
    header.push_varint(run.through);
    header.push(run.verdict.code());
    header
}

fn header(kind: u8, channel: u8) -> Header {
    let mut header = Header::new();
    header.push(kind);
    header.push(channel);
    header
}

/// The outcome of a message at the recipient's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Delivered to the application.
    Accepted,
    /// Not delivered.
    Refused(RefuseReason),
    /// It was taken or refused, and which of the two is forgotten.
    Forgotten,
}

impl Verdict {
    fn code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Refused(RefuseReason::Blocked) => 1,
            Self::Refused(RefuseReason::NotHere) => 2,
            Self::Refused(RefuseReason::Full) => 3,
            Self::Forgotten => 4,
        }
    }

    fn from_code(code: u8) -> Result<Self, Violation> {
        match code {
            0 => Ok(Self::Accepted),
            1 => Ok(Self::Refused(RefuseReason::Blocked)),
            2 => Ok(Self::Refused(RefuseReason::NotHere)),
            3 => Ok(Self::Refused(RefuseReason::Full)),
            4 => Ok(Self::Forgotten),
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
    /// How many times the conversation was opened, this time included.
    pub(super) attempt: u64,
    /// The first attempt since the recipient's machine has its present incarnation.
    pub(super) since: u64,
}

impl Open {
    /// Writes the frame.
    pub(super) fn encode(&self) -> Bytes {
        let mut frame = BytesMut::with_capacity(64);
        frame.put_u8(OPEN);
        frame.put_u8(self.channel);
        frame.put_u64(self.conversation);
        frame.put_u8(self.from);
        frame.put_slice(&self.to.0);
        varint::write(&mut frame, self.first);
        varint::write(&mut frame, self.attempt);
        varint::write(&mut frame, self.since);
        frame.freeze()
    }
}

/// Answers an [`Open`]: what the recipient's node knows of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// The channel.
    pub(super) channel: u8,
    /// The attempt with which the recipient's record began.
    pub(super) born: u64,
    /// The verdicts, ascending.
    pub(super) runs: Vec<Run>,
}

impl Opened {
    /// Writes the frame.
    pub(super) fn encode(channel: u8, born: u64, runs: &[Run]) -> Bytes {
        let mut frame = BytesMut::with_capacity(64);
        frame.put_u8(OPENED);
        frame.put_u8(channel);
        varint::write(&mut frame, born);
        for run in runs {
            varint::write(&mut frame, run.through);
            frame.put_u8(run.verdict.code());
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
        OPENED => reader.opened().map(Frame::Opened),
        _ => Err(Violation::UnknownKind),
    }
}

/// Reads values from the front of what is left of a frame.
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

    fn varint(&mut self) -> Result<u64, Violation> {
        let (value, size) = varint::read(self.rest).ok_or(Violation::Malformed)?;
        self.rest = self.rest.get(size..).unwrap_or_default();
        Ok(value)
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
        let open = Open {
            channel: self.channel()?,
            conversation: self.array().map(u64::from_be_bytes)?,
            from: self.u8()?,
            to: AgentId(self.array()?),
            first: self.varint()?,
            attempt: self.varint()?,
            since: self.varint()?,
        };
        let is_ordered = 0 < open.since && open.since <= open.attempt;
        if open.first > 0 && is_ordered { Ok(open) } else { Err(Violation::Malformed) }
    }

    fn opened(&mut self) -> Result<Opened, Violation> {
        let (channel, born) = (self.channel()?, self.varint()?);
        let mut runs: Vec<Run> = Vec::new();
        while !self.rest.is_empty() {
            let run = Run { through: self.varint()?, verdict: self.verdict()? };
            let before = runs.last().map_or(0, |run| run.through);
            if run.through <= before || runs.len() == RUNS_MAX {
                return Err(Violation::Malformed);
            }
            runs.push(run);
        }
        if born == 0 { Err(Violation::Malformed) } else { Ok(Opened { channel, born, runs }) }
    }

    fn end(&self, frame: Frame) -> Result<Frame, Violation> {
        if self.rest.is_empty() { Ok(frame) } else { Err(Violation::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(header: Header, payload: &[u8]) -> Bytes {
        [header.as_slice(), payload].concat().into()
    }

    fn open() -> Open {
        let (to, first) = (AgentId([9; 32]), 70);
        Open { channel: 63, conversation: 7, from: 2, to, first, attempt: 3, since: 2 }
    }

    fn runs() -> Vec<Run> {
        let verdicts = [
            Verdict::Forgotten,
            Verdict::Accepted,
            Verdict::Refused(RefuseReason::Blocked),
            Verdict::Refused(RefuseReason::NotHere),
            Verdict::Refused(RefuseReason::Full),
        ];
        [5, 6, 100, 70_000, 1 << 50]
            .into_iter()
            .zip(verdicts)
            .map(|(through, verdict)| Run { through, verdict })
            .collect()
    }

    #[test]
    fn every_frame_is_read_back_and_every_cut_frame_without_a_payload_is_refused() {
        let run = Run { through: 1 << 40, verdict: Verdict::Accepted };
        let message = Bytes::from_static(b"hello");
        let cases = [
            (open().encode(), Frame::Open(open())),
            (
                Opened::encode(1, 2, &runs()),
                Frame::Opened(Opened { channel: 1, born: 2, runs: runs() }),
            ),
            (flat(verdict_header(5, run), b""), Frame::Verdict { channel: 5, run }),
            (
                flat(message_header(5, 300), &message),
                Frame::Message { channel: 5, sequence: 300, payload: message },
            ),
        ];
        for (bytes, frame) in cases {
            assert_eq!(decode(bytes.clone()).as_ref(), Ok(&frame));
            for size in 0..bytes.len() {
                let cut = decode(bytes.slice(..size));
                // A cut between two runs, or within a payload, leaves a shorter frame.
                assert_ne!(cut.as_ref(), Ok(&frame), "cut to {size}");
                if matches!(frame, Frame::Open(_) | Frame::Verdict { .. }) {
                    assert_eq!(cut, Err(Violation::Malformed), "cut to {size}");
                }
            }
        }
    }

    #[test]
    fn a_header_writes_numbers_as_the_wire_module_does() {
        for shift in 0..62 {
            for value in [1_u64 << shift, (1 << shift) - 1] {
                let mut expected = BytesMut::from(&[MESSAGE, 1][..]);
                varint::write(&mut expected, value);
                assert_eq!(message_header(1, value).as_slice(), &expected[..], "{value}");
            }
        }
    }

    #[test]
    fn frames_that_no_encoder_makes_are_refused() {
        let with = |change: fn(&mut Open)| {
            let mut open = open();
            change(&mut open);
            open.encode()
        };
        let too_many: Vec<Run> =
            (1..=65).map(|through| Run { through, verdict: Verdict::Accepted }).collect();
        let long = [open().encode().as_ref(), b"x"].concat();
        let cases: Vec<(&str, Bytes, Violation)> = vec![
            ("empty", Bytes::new(), Violation::Malformed),
            ("kind 0", Bytes::from_static(&[0, 0]), Violation::UnknownKind),
            ("kind 5", Bytes::from_static(&[5, 0]), Violation::UnknownKind),
            ("channel 64", Bytes::from_static(&[3, 64, 1]), Violation::TooManyChannels),
            ("verdict 5", Bytes::from_static(&[4, 0, 1, 5]), Violation::UnknownVerdict),
            ("first 0", with(|open| open.first = 0), Violation::Malformed),
            ("since 0", with(|open| open.since = 0), Violation::Malformed),
            ("since after attempt", with(|open| open.since = 4), Violation::Malformed),
            ("long open", long.into(), Violation::Malformed),
            ("born 0", Opened::encode(0, 0, &[]), Violation::Malformed),
            ("65 runs", Opened::encode(0, 1, &too_many), Violation::Malformed),
            ("same run twice", Bytes::from_static(&[2, 0, 1, 5, 0, 5, 1]), Violation::Malformed),
            (
                "large payload",
                flat(message_header(0, 1), &vec![0; PAYLOAD_MAX + 1]),
                Violation::PayloadTooLarge,
            ),
        ];
        for (name, frame, violation) in cases {
            assert_eq!(decode(frame), Err(violation), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            kind in 0..6_u8,
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let frame = [&[kind][..], &rest].concat();
            let _ = decode(frame.into());
        }
    }
}
