//! The versioned forms of what goes into a node and comes out of it.
//!
//! A node's [`Config`], its seed, what it [restored](Restored) and its [`Step`]s give the same outputs
//! again, byte for byte; see [`recording`](super::recording) for a file with all of them. They are
//! written with [`wire::encode`](crate::wire::encode) and read with
//! [`wire::decode`](crate::wire::decode).

use super::{Command, Config, Event, Restored, Step};
use crate::direct::PAYLOAD_MAX;
use crate::wire::Versioned;

/// The largest record of a step, a command or an event: a message, and some more for what is
/// around it and for lists of peers.
const RECORD_SIZE_MAX: usize = PAYLOAD_MAX + (4 << 20);

impl Versioned for Step {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = RECORD_SIZE_MAX;
}

impl Versioned for Command {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = RECORD_SIZE_MAX;
}

impl Versioned for Event {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = RECORD_SIZE_MAX;
}

impl Versioned for Config {
    const VERSION: u8 = 3;
    const SIZE_MAX: usize = 64 << 10;
}

impl Versioned for Restored {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 256 << 20;
}
