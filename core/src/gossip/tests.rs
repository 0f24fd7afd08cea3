//! Several states joined by queues, over virtual time.

mod harness;
mod publishing;
