//! A flight recording: everything that happened to one node, so that it can run again.
//!
//! A node is a function of its configuration, its seed, what its store gave back, and its inputs
//! with their times. A [`Recorder`] writes all that down while a driver runs the node; a [`Replay`]
//! makes the same node again and gives it the same inputs. What a node does also depends on when it
//! is drained, so a recording keeps the order of all calls: the inputs, and between them how many
//! outputs [`Node::poll_output`] gave. Outputs themselves are not kept. A running hash over them is,
//! with every byte to send, and the replay compares it each time.
//!
//! **A recording holds secrets**: the keys of the machine and of the agent, the seed from which the
//! keys of all sessions come, and the content of messages.
//!
//! # How it is driven
//!
//! A driver that records makes the node from a [`Header`], reports every call to the recorder and
//! appends what [`Recorder::take`] returns to a file, in order. No byte is ever changed afterwards, so
//! a program that is killed leaves a recording that ends a little early.
//!
//! # Form
//!
//! The line [`FORMAT`], then frames ([`wire::frame`]). The first holds the [`Header`], each other one
//! an [`Entry`]; both are records ([`wire::codec`]). `docs/src/protocol/recording.md` describes them.
//!
//! # Invariants
//!
//! - What was recorded by one build of the program replays identically in every other build of it.
//! - No bytes make a [`Replay`] panic, or take more memory than a few times their number.
//! - A recording that was cut anywhere replays up to its last whole entry.
//! - A file never exceeds the size that the recorder was given.
//!
//! # Limits
//!
//! A frame has at most [`FRAME_BYTES_MAX`] bytes. An input that is larger ends the recording, and so
//! does the size that the recorder was given. [`DRAINED_MAX`] outputs are counted by one entry.

mod effects;
mod replay;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

pub use replay::{Divergence, Expected, Moment, Replay, ReplayError, Tally};

use super::{CommandError, Config, Input, Node, Output, Restored, StartError, Step, Time};
use crate::wire::{self, Versioned};
use effects::Effects;

/// The first line of a recording: what it is, and its version.
pub const FORMAT: &[u8] = b"x0x node recording 2\n";

/// The largest frame of a recording, in bytes. The header needs the most: it has everything that the
/// store gave back.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// How many outputs one entry counts at most.
pub const DRAINED_MAX: u32 = 4096;

/// What is kept free for the entry that says why a recording ended, in bytes.
const END_BYTES: u64 = 16;

/// The latest time of an input since the start, and of a start since the Unix epoch.
const TIME_MAX: Duration = Duration::from_secs(1 << 38);

/// The length of a digest in bytes.
const DIGEST_LEN: usize = 16;

/// The first bytes of the running BLAKE3 hash over all outputs.
pub type Digest = [u8; DIGEST_LEN];

/// What a node was made from. It holds secrets, which its `Debug` form leaves out.
#[derive(Clone, Serialize, Deserialize)]
pub struct Header {
    /// The program that recorded, and its version.
    pub program: String,
    /// The configuration.
    pub config: Config,
    /// The seed.
    pub seed: [u8; 32],
    /// What the store gave back.
    pub restored: Restored,
    /// The wall time of the start, since the Unix epoch.
    pub unix_time: Duration,
}

impl Header {
    /// The name and version of this program.
    pub const PROGRAM: &str = concat!("x0x-core ", env!("CARGO_PKG_VERSION"));

    /// Makes the node.
    ///
    /// # Errors
    ///
    /// See [`Node::new`].
    pub fn node(&self, now: Instant) -> Result<Node, StartError> {
        let time = Time { now, unix_time: self.unix_time };
        Node::new(self.config.clone(), self.seed, self.restored.clone(), time)
    }
}

impl Versioned for Header {
    const VERSION: u8 = 1;
    // Frames are bounded.
    const SIZE_MAX: usize = usize::MAX;
}

impl fmt::Debug for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Header")
            .field("program", &self.program)
            .field("config", &self.config)
            .field("restored", &self.restored.records.len())
            .field("unix_time", &self.unix_time)
            .finish_non_exhaustive()
    }
}

/// One thing that was done to a node, in the order in which it was done. `S` is a [`Step`], or a
/// reference to one while it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry<S = Step> {
    /// An input.
    Input(S),
    /// [`Node::poll_output`] was called this many times.
    Poll {
        /// How many times.
        count: u32,
        /// Over all outputs so far.
        digest: Digest,
    },
    /// Nothing more was recorded.
    End(End),
}

impl<S> Versioned for Entry<S> {
    const VERSION: u8 = 2;
    // Frames are bounded.
    const SIZE_MAX: usize = usize::MAX;
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Somebody asked for it.
    Stopped,
    /// The node ended.
    NodeEnded,
    /// The recording reached its size.
    Full,
    /// The file could not be written as fast as things happened.
    TooSlow,
    /// An input was larger than a frame.
    InputTooLarge,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stopped => "it was stopped",
            Self::NodeEnded => "the node ended",
            Self::Full => "it reached its size",
            Self::TooSlow => "the file could not be written fast enough",
            Self::InputTooLarge => "an input was larger than a recording can hold",
        })
    }
}

/// A recording cannot begin: its size does not hold the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recording of {bytes_max} bytes is too small: its header alone needs {bytes}")]
pub struct TooSmall {
    /// What the header needs.
    pub bytes: u64,
    /// The size that was given.
    pub bytes_max: u64,
}

/// A step while it is written.
#[derive(Serialize)]
struct StepRef<'a> {
    at: Duration,
    unix_time: Duration,
    input: &'a Input,
}

/// Writes a recording, see the [module](self).
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    /// What was not taken yet.
    bytes: BytesMut,
    record: BytesMut,
    effects: Effects,
    /// How many outputs were taken since the last entry.
    drained: u32,
    /// How many bytes there are, with those that were taken.
    size: u64,
    size_max: u64,
    inputs: u64,
    end: Option<End>,
}

impl Recorder {
    /// Begins the recording of a node that starts at this time. It has at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// If that is too small for the header.
    pub fn new(header: &Header, started: Instant, bytes_max: u64) -> Result<Self, TooSmall> {
        let mut recorder = Self {
            started,
            bytes: BytesMut::from(FORMAT),
            record: BytesMut::new(),
            effects: Effects::new(started),
            drained: 0,
            size: 0,
            size_max: bytes_max,
            inputs: 0,
            end: None,
        };
        wire::encode_into(header, &mut recorder.record);
        let frame_max = u64::try_from(FRAME_BYTES_MAX).unwrap_or(u64::MAX);
        let record = u64::try_from(recorder.record.len()).unwrap_or(u64::MAX);
        wire::write_frame(&mut recorder.bytes, &[&recorder.record]);
        recorder.size = u64::try_from(recorder.bytes.len()).unwrap_or(u64::MAX);
        let bytes = recorder.size.saturating_add(END_BYTES);
        if bytes > bytes_max || record > frame_max {
            return Err(TooSmall { bytes, bytes_max: bytes_max.min(frame_max) });
        }
        Ok(recorder)
    }

    /// An input is about to be handed over.
    pub fn input(&mut self, time: Time, input: &Input) {
        self.settle();
        if self.end.is_none() {
            let at = time.now.saturating_duration_since(self.started);
            self.inputs += 1;
            self.write(&Entry::Input(StepRef { at, unix_time: time.unix_time, input }));
        }
    }

    /// The node said this to the input.
    pub fn answered(&mut self, answer: &Result<(), CommandError>) {
        if let (Err(error), None) = (answer, self.end) {
            self.effects.refused(error);
        }
    }

    /// [`Node::poll_output`] gave this, and these bytes.
    pub fn polled(&mut self, output: &Output, buf: &[u8]) {
        if self.end.is_some() {
            return;
        }
        if self.drained == DRAINED_MAX {
            self.settle();
        }
        self.drained += 1;
        self.effects.output(output, buf);
    }

    /// Ends the recording, once: nothing is recorded any more.
    pub fn finish(&mut self, reason: End) {
        self.settle();
        if self.end.is_none() {
            self.end = Some(reason);
            self.append(&Entry::<StepRef<'_>>::End(reason));
        }
    }

    /// Takes the bytes to append to the file; it replays up to here.
    pub fn take(&mut self) -> Bytes {
        self.settle();
        self.bytes.split().freeze()
    }

    /// Returns why the recording ended, if it did.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Returns how many bytes the recording has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns how many inputs were recorded.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Writes down how many outputs were taken since the last entry.
    fn settle(&mut self) {
        let count = std::mem::take(&mut self.drained);
        if count > 0 {
            let digest = self.effects.digest();
            self.write(&Entry::<StepRef<'_>>::Poll { count, digest });
        }
    }

    /// Writes an entry if there is room for it, and ends the recording if there is not.
    fn write(&mut self, entry: &Entry<StepRef<'_>>) {
        if self.end.is_some() {
            return;
        }
        let (length, size) = (self.bytes.len(), self.size);
        let record = self.append(entry);
        let end = if record > FRAME_BYTES_MAX {
            End::InputTooLarge
        } else if self.size.saturating_add(END_BYTES) > self.size_max {
            End::Full
        } else {
            return;
        };
        self.bytes.truncate(length);
        self.size = size;
        self.inputs -= u64::from(matches!(entry, Entry::Input(_)));
        self.finish(end);
    }

    /// Appends an entry. Returns the length of its record.
    fn append(&mut self, entry: &Entry<StepRef<'_>>) -> usize {
        self.record.clear();
        wire::encode_into(entry, &mut self.record);
        let before = self.bytes.len();
        wire::write_frame(&mut self.bytes, &[&self.record]);
        self.size += u64::try_from(self.bytes.len() - before).unwrap_or(u64::MAX);
        self.record.len()
    }
}
