//! What a world drives.

use std::fmt;
use std::time::{Duration, Instant};

use x0x_core::node::{CommandError, Config, Input, Node, Output, Restored, StartError};

/// A node as the world sees it: inputs go in, outputs come out, nothing else.
///
/// [`Node`] is the one that matters. Tests of the world itself use a smaller one.
pub trait Machine: fmt::Debug + Sized {
    /// Starts the node; see [`Node::new`].
    ///
    /// # Errors
    ///
    /// If the configuration or the store is not valid.
    fn start(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        now: Instant,
        unix_time: Duration,
    ) -> Result<Self, StartError>;

    /// Hands over an input; see [`Node::handle`].
    ///
    /// # Errors
    ///
    /// Only a command can fail.
    fn handle(&mut self, now: Instant, input: Input) -> Result<(), CommandError>;

    /// Takes the next output; see [`Node::poll_output`].
    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Output;
}

impl Machine for Node {
    fn start(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        now: Instant,
        unix_time: Duration,
    ) -> Result<Self, StartError> {
        Self::new(config, seed, restored, now, unix_time)
    }

    fn handle(&mut self, now: Instant, input: Input) -> Result<(), CommandError> {
        Self::handle(self, now, input)
    }

    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Output {
        Self::poll_output(self, buffer)
    }
}
