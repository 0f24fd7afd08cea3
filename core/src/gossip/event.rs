//! What gossip reports to the application.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{MessageId, Topic};
use crate::identity::AgentId;

/// Something that happened in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A message arrived. Its author is proven.
    Received {
        /// The topic.
        topic: Topic,
        /// The agent that published it.
        author: AgentId,
        /// The message.
        payload: Bytes,
        /// When the author says that it was published, since the Unix epoch.
        published_at: Duration,
        /// Names the message for [`ProveMessage`](super::ProveMessage).
        message: MessageId,
    },
    /// Messages of an author were missed and will not come.
    Lagged {
        /// The topic.
        topic: Topic,
        /// The agent that published them.
        author: AgentId,
        /// How many messages.
        missed: u64,
    },
    /// An author signed two things that exclude each other. It is no longer heard in the topic.
    Equivocated {
        /// The topic.
        topic: Topic,
        /// The author.
        author: AgentId,
        /// What proves it to anybody.
        evidence: Bytes,
    },
}
