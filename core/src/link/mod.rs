//! Links (placeholder).
mod config;
mod error;
pub use config::LinkConfig;
pub use error::{ConnectError, DownReason, RefuseReason};
