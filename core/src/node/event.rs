//! What a node tells the application.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{CommandId, Reply, StoreError};
use crate::identity::{AgentId, MachineId};
use crate::link::DownReason;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A command is answered. Each command that was accepted has exactly one.
    Reply {
        /// The command.
        command: CommandId,
        /// The answer.
        reply: Reply,
    },
    /// A link came up: both sides proved their keys and accepted each other.
    PeerUp {
        /// The machine.
        machine: MachineId,
        /// The agents that proved that they live there.
        agents: Vec<AgentId>,
        /// Where it is reached.
        address: SocketAddr,
    },
    /// A link went down.
    PeerDown {
        /// The machine.
        machine: MachineId,
        /// Why.
        reason: DownReason,
    },
    /// A link moved to another path, with nothing lost.
    PathChanged {
        /// The machine.
        machine: MachineId,
        /// Where it is reached now.
        address: SocketAddr,
    },
    /// A message for an agent of this node arrived. Its sender is proven.
    DirectReceived {
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
    /// The node cannot go on. Nothing else follows.
    Halted(Fatal),
}

/// Why a node halted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Fatal {
    /// A write failed: what the node promised to keep may be lost.
    #[error("the store failed: {0}")]
    Store(StoreError),
}
