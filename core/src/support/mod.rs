//! What every module of the core is made of: the context that a module acts through, the outbox
//! that collects what it wants, one seeded generator per module, bounded collections and counters.
//!
//! Nothing in here knows a protocol, and nothing in here reads a clock, a socket, a file or the
//! operating system's randomness.

pub mod bounded;
pub mod context;
pub mod counters;
pub mod memory;
pub mod part;
pub mod rng;
pub mod timers;
pub mod token_bucket;

#[cfg(test)]
pub(crate) mod testing;

pub use bounded::{BoundedMap, Shares, TieredMap};
pub use context::{Context, Outbox};
pub use counters::{Counter, Counters};
pub use memory::MemoryBudget;
pub use rng::Rng;
pub use timers::Timers;
pub use token_bucket::TokenBucket;
