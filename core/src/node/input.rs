//! Everything that can happen to a node, as values.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Command, CommandError, Deadline, Event, Load, LoadId, Node, StoreError, Time, WriteId,
};
use crate::transport::{Datagram, Transmit};

/// One input with its times: what a recording holds, and what replays a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The time of the input, since the node started.
    pub at: Duration,
    /// What the wall clock shows, since the Unix epoch.
    pub unix_time: Duration,
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
    /// What the inputs caused at once has left: replies and events, writes and reads. The driver may
    /// give the application a turn before it polls on. What the application asks now shares
    /// datagrams with the acknowledgements, which are gathered next.
    Settled,
    /// Nothing more until an input, or until the deadline.
    Idle {
        /// When to call [`Node::handle_timeout`]; `None` means never.
        deadline: Option<Deadline>,
    },
}

/// Why a node halted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Fatal {
    /// A write failed: what the node promised to keep may be lost.
    #[error("the store failed: {0}")]
    Store(StoreError),
}

impl Node {
    /// Hands over any input; the same as the method of its kind.
    ///
    /// # Errors
    ///
    /// Only a command can fail.
    pub fn handle(&mut self, time: Time, input: Input) -> Result<(), CommandError> {
        match input {
            Input::Datagram(datagram) => self.handle_datagram(time, datagram),
            Input::Timeout => self.handle_timeout(time),
            Input::Command(command) => return self.handle_command(time, command),
            Input::Stored(id, result) => self.handle_stored(time, id, result),
            Input::Loaded(id, result) => self.handle_loaded(time, id, result),
        }
        Ok(())
    }
}
