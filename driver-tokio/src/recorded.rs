//! The node as the loop sees it. Each call that changes it passes here, so that it can be recorded.

use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use x0x_core::node::recording::{End, Header, Recorder, TooSmall};
use x0x_core::node::{CommandError, Config, Input, Node, Output, Restored, Store};

use crate::tape::{Tape, TapeWriter};
use crate::{Events, Handle, StartError};

/// Starts a node as [`start`](crate::start), and records it.
///
/// # Errors
///
/// See [`StartError`].
///
/// # Panics
///
/// As [`start`](crate::start).
pub fn start_recorded(
    config: Config,
    store: impl Store,
    tape: Tape,
) -> Result<(Handle, Events), StartError> {
    crate::launch(config, store, Some(tape))
}

/// A node that may be recorded.
pub(crate) struct Recorded {
    node: Node,
    flight: Option<Box<Flight>>,
}

/// A recording that is under way.
struct Flight {
    recorder: Recorder,
    tape: TapeWriter,
}

impl Recorded {
    /// Starts a node with a new seed. With a tape it is recorded, unless the tape is too small.
    pub(crate) fn start(
        config: &Config,
        seed: [u8; 32],
        restored: Restored,
        tape: Option<Tape>,
    ) -> Result<(Self, Option<TooSmall>), StartError> {
        let (program, config) = (Header::PROGRAM.to_owned(), config.clone());
        let header = Header { program, config, seed, restored, unix_time: unix_time() };
        let now = Instant::now();
        let node = header.node(now)?;
        let flight = tape.map(|tape| {
            let recorder = Recorder::new(&header, now, tape.bytes_max)?;
            Ok(Box::new(Flight { recorder, tape: tape.roll() }))
        });
        Ok(match flight.transpose() {
            Ok(flight) => (Self { node, flight }, None),
            Err(too_small) => (Self { node, flight: None }, Some(too_small)),
        })
    }

    /// Hands over an input, and before it the wall time if the node counts another. Only a command can
    /// fail.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Result<(), CommandError> {
        let unix_time = unix_time();
        if self.node.wall_time_is_off(now, unix_time) {
            tracing::info!("the wall clock was set, or the host slept");
            self.hand_over(now, Input::WallTime(unix_time))?;
        }
        self.hand_over(now, input)
    }

    fn hand_over(&mut self, now: Instant, input: Input) -> Result<(), CommandError> {
        let Some(flight) = &mut self.flight else { return self.node.handle(now, input) };
        flight.recorder.input(now, &input);
        let answer = self.node.handle(now, input);
        flight.recorder.answered(&answer);
        answer
    }

    pub(crate) fn poll_ready(&mut self) -> Option<Output> {
        let output = self.node.poll_ready()?;
        if let Some(flight) = &mut self.flight {
            flight.recorder.ready(&output);
        }
        Some(output)
    }

    pub(crate) fn poll_output(&mut self, buf: &mut Vec<u8>) -> Output {
        let output = self.node.poll_output(buf);
        if let Some(flight) = &mut self.flight {
            flight.recorder.polled(&output, buf);
        }
        output
    }

    /// Hands what was recorded to the tape. The recording ends if that cannot take it.
    pub(crate) fn flush(&mut self) {
        let Some(flight) = &mut self.flight else { return };
        let bytes = flight.recorder.take();
        if !flight.tape.push(&bytes) {
            flight.recorder.finish(End::TooSlow);
        }
        if flight.recorder.end().is_some() || !flight.tape.is_writable() {
            // Nobody waits for the file.
            drop(self.finish(End::TooSlow));
        }
    }

    /// Ends the recording, if there is one. The thread ends when the file is whole.
    pub(crate) fn finish(&mut self, reason: End) -> Option<JoinHandle<()>> {
        let Flight { mut recorder, tape } = *self.flight.take()?;
        recorder.finish(reason);
        let end = recorder.end().unwrap_or(reason);
        tracing::info!(bytes = recorder.size(), reason = %end, "the recording has ended");
        Some(tape.close(&recorder.take(), end))
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.flight.is_some()
    }
}

/// What the wall clock shows.
fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}
