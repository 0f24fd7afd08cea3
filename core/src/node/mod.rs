//! The node: the composition of all modules behind one door in and one door out.

mod command;
mod config;
mod event;
mod input;
mod store;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub use command::*;
pub use config::{Config, StartError};
pub use event::{Event, Fatal};
pub use input::{Deadline, Input, Output, Step};
pub use store::*;

use crate::transport::Datagram;

/// A node.
#[derive(Debug)]
pub struct Node {}

#[expect(clippy::todo, unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Node {
    pub fn new(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        now: Instant,
        unix_time: Duration,
    ) -> Result<Self, StartError> {
        todo!()
    }
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), CommandError> {
        todo!()
    }
    pub fn handle_stored(&mut self, now: Instant, id: WriteId, result: Result<(), StoreError>) {
        todo!()
    }
    pub fn handle_loaded(&mut self, now: Instant, id: LoadId, result: Result<Bytes, StoreError>) {
        todo!()
    }
    pub fn poll_output(&mut self, buf: &mut Vec<u8>) -> Output {
        todo!()
    }
}
