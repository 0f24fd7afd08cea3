//! Tests of exchanges between two histories, and of the bytes of messages.

mod costs;
mod exchanges;
mod golden;
mod harness;
mod laws;
mod messages;
