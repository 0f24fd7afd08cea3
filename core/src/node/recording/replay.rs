//! Runs a recorded node again.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::effects::Effects;
use super::{DRAINED_MAX, Digest, End, Entry, FORMAT, FRAME_BYTES_MAX, Header, TIME_MAX};
use crate::node::{
    Command, CommandError, CommandId, Event, Input, Node, Output, StartError, Step, Time,
};
use crate::wire::{self, FrameReader};

/// Something that happened in a replay.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// The node was given this.
    Input(&'a Input),
    /// The node refused the command before.
    Refused(&'a CommandError),
    /// The node wanted this, with the datagrams if it sends any.
    Output(&'a Output, &'a [u8]),
}

/// What was replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many entries.
    pub entries: u64,
    /// How many inputs.
    pub inputs: u64,
    /// How many outputs, without those that say that there is none.
    pub outputs: u64,
    /// How many bytes the node sent.
    pub bytes_sent: u64,
    /// The time of the last input, since the start.
    pub elapsed: Duration,
    /// Why the recording ended; nothing if it was cut, as by the end of its program.
    pub end: Option<End>,
    /// How many bytes of an entry that is not whole were left out.
    pub bytes_left: usize,
}

/// The outputs that were recorded at the place where a replay gave others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// How many.
    pub count: u32,
    /// The digest over all outputs so far.
    pub digest: Digest,
    /// The digest that the replay has.
    pub found: Digest,
}

/// The first place where a replay did something else than what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The number of the entry, from 1.
    pub entry: u64,
    /// The time since the start.
    pub at: Duration,
    /// The last input before it.
    pub after: String,
    /// What was recorded.
    pub expected: Expected,
    /// The program that recorded.
    pub program: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, at, after, expected, program } = self;
        let hex = |digest: &Digest| digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let seconds = at.as_secs_f64();
        write!(formatter, "entry {entry} at {seconds:.6} s, after {after}: ")?;
        let Expected { count, digest, found } = expected;
        write!(
            formatter,
            "the {count} outputs are not those that were recorded ({}, not {})",
            hex(found),
            hex(digest)
        )?;
        if program != Header::PROGRAM {
            write!(formatter, "; recorded by {program}, replayed by {}", Header::PROGRAM)?;
        }
        Ok(())
    }
}

/// Why a replay cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The bytes are something else, or of another version.
    #[error("this is no recording of a node, or one of another version")]
    Format,
    /// The header cannot be read.
    #[error("the header of the recording cannot be read")]
    Header,
    /// An entry cannot be read, or is one that no driver writes.
    #[error("entry {entry} of the recording cannot be read")]
    Entry {
        /// Its number, from 1.
        entry: u64,
    },
    /// The node does not start.
    #[error("the node of the recording does not start: {0}")]
    Start(#[from] StartError),
    /// The node did something else than what was recorded.
    #[error("{0}")]
    Diverged(Box<Divergence>),
}

/// Runs a recorded node again, see the [module](super).
#[derive(Debug)]
pub struct Replay {
    header: Header,
    node: Node,
    start: Instant,
    frames: FrameReader,
    effects: Effects,
    buffer: Vec<u8>,
    /// Commands without an answer.
    waiting: BTreeSet<CommandId>,
    /// The last input, in words.
    after: String,
    tally: Tally,
}

impl Replay {
    /// Makes the node of a recording again. `start` is any time; nothing depends on it.
    ///
    /// # Errors
    ///
    /// If the bytes do not begin as a recording does, or the node does not start.
    pub fn open(bytes: impl Into<Bytes>, start: Instant) -> Result<Self, ReplayError> {
        let bytes: Bytes = bytes.into();
        if !bytes.starts_with(FORMAT) {
            return Err(ReplayError::Format);
        }
        let mut frames = FrameReader::new(FRAME_BYTES_MAX);
        frames.push(bytes.slice(FORMAT.len()..));
        let frame = frames.next().ok().flatten().ok_or(ReplayError::Header)?;
        let header: Header = wire::decode(&frame).map_err(|_| ReplayError::Header)?;
        if header.unix_time > TIME_MAX {
            return Err(ReplayError::Header);
        }
        let node = header.node(start)?;
        Ok(Self {
            header,
            node,
            start,
            frames,
            effects: Effects::new(start),
            buffer: Vec::new(),
            waiting: BTreeSet::new(),
            after: "the start".to_owned(),
            tally: Tally::default(),
        })
    }

    /// Returns what the node was made from.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Replays all entries.
    ///
    /// # Errors
    ///
    /// At the first entry that cannot be read or that the node does not repeat.
    pub fn run(&mut self) -> Result<Tally, ReplayError> {
        self.visit(|_, _| {})
    }

    /// Replays all entries and shows what happens, with the time since the start.
    ///
    /// # Errors
    ///
    /// As [`Replay::run`].
    pub fn visit(
        &mut self,
        mut visit: impl FnMut(Duration, Moment<'_>),
    ) -> Result<Tally, ReplayError> {
        while self.step(&mut visit)? {}
        Ok(self.tally)
    }

    /// Returns what was replayed so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Replays the next entry. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// As [`Replay::run`].
    pub fn step(
        &mut self,
        visit: &mut impl FnMut(Duration, Moment<'_>),
    ) -> Result<bool, ReplayError> {
        let entry = self.tally.entries + 1;
        let unreadable = ReplayError::Entry { entry };
        if self.tally.end.is_some() {
            return Ok(false);
        }
        let Some(frame) = self.frames.next().map_err(|_| unreadable.clone())? else {
            self.tally.bytes_left = self.frames.buffered();
            return Ok(false);
        };
        self.tally.entries = entry;
        match wire::decode::<Entry>(&frame).map_err(|_| unreadable.clone())? {
            Entry::Input(step) => {
                if !self.is_possible(&step) {
                    return Err(unreadable);
                }
                self.input(step, visit);
            }
            Entry::Poll { count, digest } => self.drain(count, digest, visit)?,
            Entry::End(end) => self.tally.end = Some(end),
        }
        Ok(true)
    }

    /// Returns whether a driver could have done this: numbers of commands are unique while they wait,
    /// and times are some that a clock can have.
    fn is_possible(&self, step: &Step) -> bool {
        let is_new = match &step.input {
            Input::Command(command) => !self.waiting.contains(&command.id),
            Input::Datagram(_) | Input::Timeout | Input::Stored(..) | Input::Loaded(..) => true,
        };
        let is_time = step.at <= TIME_MAX && step.unix_time <= TIME_MAX;
        is_new && is_time && self.start.checked_add(TIME_MAX).is_some()
    }

    fn input(&mut self, step: Step, visit: &mut impl FnMut(Duration, Moment<'_>)) {
        let Step { at, unix_time, input } = step;
        visit(at, Moment::Input(&input));
        self.after = words(&input);
        self.tally.inputs += 1;
        self.tally.elapsed = self.tally.elapsed.max(at);
        let command = if let Input::Command(Command { id, .. }) = input { Some(id) } else { None };
        match self.node.handle(Time { now: self.start + at, unix_time }, input) {
            Ok(()) => self.waiting.extend(command),
            Err(error) => {
                self.effects.refused(&error);
                visit(at, Moment::Refused(&error));
            }
        }
    }

    fn drain(
        &mut self,
        count: u32,
        digest: Digest,
        visit: &mut impl FnMut(Duration, Moment<'_>),
    ) -> Result<(), ReplayError> {
        if count > DRAINED_MAX {
            return Err(ReplayError::Entry { entry: self.tally.entries });
        }
        for _ in 0..count {
            let output = self.node.poll_output(&mut self.buffer);
            self.effects.output(&output, &self.buffer);
            self.count(&output);
            visit(self.tally.elapsed, Moment::Output(&output, &self.buffer));
        }
        let found = self.effects.digest();
        if found == digest {
            return Ok(());
        }
        Err(self.diverged(Expected { count, digest, found }))
    }

    fn count(&mut self, output: &Output) {
        self.tally.outputs += 1;
        match output {
            Output::Transmit(transmit) => {
                self.tally.bytes_sent += u64::try_from(transmit.size).unwrap_or(u64::MAX);
            }
            Output::Event(Event::Reply { command, .. }) => {
                self.waiting.remove(command);
            }
            Output::Idle { .. } | Output::Settled => self.tally.outputs -= 1,
            Output::Event(_) | Output::Store(_) | Output::Load(_) => {}
        }
    }

    fn diverged(&self, expected: Expected) -> ReplayError {
        ReplayError::Diverged(Box::new(Divergence {
            entry: self.tally.entries,
            at: self.tally.elapsed,
            after: self.after.clone(),
            expected,
            program: self.header.program.clone(),
        }))
    }
}

/// Describes an input without its content.
fn words(input: &Input) -> String {
    match input {
        Input::Datagram(datagram) => {
            format!("a datagram of {} bytes from {}", datagram.payload.len(), datagram.source)
        }
        Input::Timeout => "a timeout".to_owned(),
        Input::Command(Command { request, .. }) => format!("the command {}", request.name()),
        Input::Stored(id, _) => format!("the end of write {}", id.0),
        Input::Loaded(id, _) => format!("the end of read {}", id.0),
    }
}
