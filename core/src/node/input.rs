//! Everything that can happen to a node, as values.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Command, CommandError, Event, Load, LoadId, Node, StoreError, WriteId};
use crate::transport::{Datagram, Transmit};

/// One input with its time: what a recording holds, and what replays a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The time of the input, since the node started.
    pub at: Duration,
    /// The input.
    pub input: Input,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A datagram arrived.
    Datagram(Datagram),
    /// The deadline came.
    Timeout,
    /// The application wants something.
    Command(Command),
    /// A write ended.
    Stored(WriteId, Result<(), StoreError>),
    /// A read ended.
    Loaded(LoadId, Result<bytes::Bytes, StoreError>),
    /// The wall clock shows this time since the Unix epoch, and not what the node counts.
    WallTime(Duration),
}

/// One effect, in the order in which the node wants them.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send what is in the buffer.
    Transmit(Transmit),
    /// Change the store; report with [`Node::handle_stored`].
    Store(super::Batch),
    /// Read the store; report with [`Node::handle_loaded`].
    Load(Load),
    /// Tell the application.
    Event(Event),
    /// Nothing more until an input, or until the deadline.
    Idle {
        /// When to call [`Node::handle_timeout`]; `None` means never.
        deadline: Option<Deadline>,
    },
}

/// When a node wants to be called, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The time, later than every time that the node has seen.
    pub at: Instant,
    /// The timer, for logs.
    pub timer: &'static str,
}

impl Node {
    /// Hands over any input; the same as the method of its kind.
    ///
    /// # Errors
    ///
    /// Only a command can fail.
    pub fn handle(&mut self, now: Instant, input: Input) -> Result<(), CommandError> {
        match input {
            Input::Datagram(datagram) => self.handle_datagram(now, datagram),
            Input::Timeout => self.handle_timeout(now),
            Input::Command(command) => return self.handle_command(now, command),
            Input::Stored(id, result) => self.handle_stored(now, id, result),
            Input::Loaded(id, result) => self.handle_loaded(now, id, result),
            Input::WallTime(unix_time) => self.handle_wall_time(now, unix_time),
        }
        Ok(())
    }
}
