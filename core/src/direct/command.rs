//! What an application can ask of direct messages.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::DirectError;
use crate::identity::AgentId;

crate::requests! {
    SendDirect => Result<DirectAcknowledged, DirectError>,
}

/// Sends a message to an agent. Answered when the agent's node acknowledged or refused it, or
/// when it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendDirect {
    /// The agent.
    pub recipient: AgentId,
    /// The message, at most [`PAYLOAD_MAX`](crate::direct::PAYLOAD_MAX) bytes.
    pub payload: Bytes,
    /// How long to try before the answer is [`DirectError::Timeout`], at most [`TIMEOUT_MAX`](crate::session::TIMEOUT_MAX).
    pub timeout: Duration,
}

/// The recipient's node has taken the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectAcknowledged {
    /// From the command to the acknowledgement.
    pub elapsed: Duration,
}
