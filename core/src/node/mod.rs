//! The node.
mod store;
pub use store::*;
