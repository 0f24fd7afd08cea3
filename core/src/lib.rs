//! The x0x protocol as a pure state machine.

pub mod crypto;
pub mod identity;
pub mod node;
pub mod support;
pub mod transport;
pub mod wire;
