//! Tests of direct messages between whole states.

mod exploration;
mod golden;
mod harness;
mod limits;
mod rules;
mod sessions;
