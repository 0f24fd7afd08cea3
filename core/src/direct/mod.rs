//! Direct messages (placeholder).
mod error;
pub use error::{DirectError, PAYLOAD_MAX, RefuseReason};
