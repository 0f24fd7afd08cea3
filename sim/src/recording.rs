//! A world that ran, as a file that plays it again.
//!
//! The configuration and the steps are the whole world. Each step is kept with the number of events
//! that were processed before it, so that it plays at its place even among events of its own time.
//! The file is postcard behind a line that names the format. An attacker is code and not in it, see
//! [`Interceptor`](crate::network::Interceptor).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Failure, Machine, Step, World, WorldConfig, hostile};

/// The first line of a file: what it is and in which version.
const FORMAT: &[u8] = b"x0x-sim steps 3\n";

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedStep {
    /// The virtual time.
    pub at: Duration,
    /// How many events were processed before it.
    pub events: u64,
    /// What was done.
    pub step: Step,
}

/// A world that ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// What the world was made from.
    pub config: WorldConfig,
    /// What was done, in order.
    pub steps: Vec<RecordedStep>,
    /// The virtual time at which it stopped.
    pub stopped_at: Duration,
    /// How many events were processed.
    pub events: u64,
    /// The hash over everything that moved.
    pub trace_hash: [u8; 32],
    /// What went wrong, if anything did.
    pub failure: Option<Failure>,
}

/// Why a file is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingError {
    /// It is something else, or of another version.
    Format,
    /// It is broken, or its steps are those of another version.
    Content,
}

impl std::fmt::Display for RecordingError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Format => "not a file of steps of this version",
            Self::Content => "the steps cannot be read",
        })
    }
}

impl std::error::Error for RecordingError {}

/// Returns the bytes of a file: the line that names its form, and the value in postcard.
pub(crate) fn to_file<T: Serialize>(format: &[u8], value: &T) -> Vec<u8> {
    let record = postcard::to_stdvec(value).expect("the types have a postcard form");
    [format, &record].concat()
}

/// Reads what [`to_file`] wrote.
pub(crate) fn from_file<T: DeserializeOwned>(
    format: &[u8],
    bytes: &[u8],
) -> Result<T, RecordingError> {
    let record = bytes.strip_prefix(format).ok_or(RecordingError::Format)?;
    postcard::from_bytes(record).map_err(|_| RecordingError::Content)
}

impl Recording {
    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_file(FORMAT, self)
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it is no recording.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordingError> {
        from_file(FORMAT, bytes)
    }

    /// Makes the world of the recording; [`World::play`] plays it.
    pub fn world<M: Machine>(&self) -> World<M> {
        let mut world = World::with_machines(self.config.clone());
        let hostile = self.steps.iter().filter_map(|step| hostile::made_hostile(&step.step));
        for node in hostile.collect::<BTreeSet<_>>() {
            world.expect_strangers(node);
        }
        world
    }
}

impl<M: Machine> World<M> {
    /// Returns the world so far, to play it again. It needs [`WorldConfig::record_steps`].
    pub fn recording(&self) -> Recording {
        Recording {
            config: self.config.clone(),
            steps: self.steps.clone(),
            stopped_at: self.now,
            events: self.processed,
            trace_hash: self.trace_hash(),
            failure: self.checks.failure().cloned(),
        }
    }

    /// Does what was recorded. The world must be new and of the recording's configuration.
    ///
    /// # Errors
    ///
    /// If a check failed. What the driver of the recorded world found wrong is no check.
    pub fn play(&mut self, recording: &Recording) -> Result<(), Failure> {
        for RecordedStep { at, events, step } in &recording.steps {
            self.process_up_to(*events)?;
            self.now = *at;
            // What was refused is refused again, and counted.
            let _ = self.apply(step.clone());
        }
        self.process_up_to(recording.events)?;
        self.run_until(recording.stopped_at)
    }
}
