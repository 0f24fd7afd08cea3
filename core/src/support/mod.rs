//! What every module of the core is made of: the context that a module acts through, the outbox
//! that collects what it wants, one seeded generator per module, bounded collections, and the means
//! to count. Each module names its own counters, tables and timers.
//!
//! Nothing in here knows a protocol, and nothing in here reads a clock, a socket, a file or the
//! operating system's randomness.

pub mod bounded;
pub mod context;
pub mod counters;
pub mod memory;
pub mod module;
pub mod requests;
pub mod rng;
pub mod timers;
pub mod token_bucket;

#[cfg(test)]
pub(crate) mod testing;

pub use bounded::{BoundedMap, Shares, TieredMap};
pub use context::{
    Changes, Context, Effect, LoadTicket, NoTable, Outbox, TableSet, Vocabulary, WriteTicket,
};
pub use counters::{CounterSet, Counts};
pub use memory::MemoryBudget;
pub use module::{Module, Time};
pub use requests::ModuleRequest;
pub use rng::Rng;
pub use timers::{Deadline, TimerName, Timers};
pub use token_bucket::TokenBucket;
