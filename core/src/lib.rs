//! The x0x protocol as a pure state machine.

pub mod crypto;
pub mod direct;
pub mod identity;
pub mod link;
pub mod node;
pub mod support;
pub mod transport;
pub mod wire;
