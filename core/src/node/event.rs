//! What a node tells the application.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{CommandId, Reply, StoreError};
use crate::gossip::{MessageId, Topic};
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
    /// A message of a topic arrived. Its author is proven.
    GossipReceived {
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
    /// Messages of a topic were missed and will not come.
    GossipLagged {
        /// The topic.
        topic: Topic,
        /// The agent that published them.
        author: AgentId,
        /// How many messages.
        missed: u64,
    },
    /// An agent signed two things that exclude each other. It is no longer heard in the topic.
    GossipEquivocated {
        /// The topic.
        topic: Topic,
        /// The agent.
        author: AgentId,
        /// What proves it to anybody.
        evidence: Bytes,
    },
}

/// Why a node halted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Fatal {
    /// A write failed: what the node promised to keep may be lost.
    #[error("the store failed: {0}")]
    Store(StoreError),
}
