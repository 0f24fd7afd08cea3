//! What direct messages report to the application.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::identity::{AgentId, MachineId};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A message for an agent of this node arrived. Its sender is proven.
    Received {
        /// The agent that sent it.
        sender: AgentId,
        /// The machine that the agent is on.
        machine: MachineId,
        /// The agent that it is for.
        recipient: AgentId,
        /// The message.
        payload: Bytes,
        /// When it arrived, since the Unix epoch.
        received_at: Duration,
    },
}
