//! Why gossip refuses a request.

use serde::{Deserialize, Serialize};

/// Why a message cannot be published, or a topic cannot be subscribed to. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestError {
    /// The payload is larger than a message can be.
    #[error("the payload has {size} bytes, more than {size_max}")]
    TooLarge {
        /// The size of the payload.
        size: usize,
        /// The largest size.
        size_max: usize,
    },
    /// Too many messages wait: wait for replies.
    #[error("too many messages wait for an answer: send more when some are answered")]
    QueueFull,
    /// The node is in too many topics.
    #[error("the node is in too many topics: unsubscribe from some first")]
    TooManyTopics,
}
