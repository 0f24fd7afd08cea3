//! What a node needs to start.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{AgentCertificate, AgentKey, MachineKey};

/// The configuration of a node. It holds secrets: its `Debug` form redacts them, its serde form
/// does not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The key that proves the machine.
    pub machine_key: MachineKey,
    /// The key that proves the agent.
    pub agent_key: AgentKey,
    /// The human's word for the agent, if there is a human.
    pub certificate: Option<AgentCertificate>,
    /// The local address of each socket, the preferred first.
    pub sockets: Vec<SocketAddr>,
    /// How links behave.
    pub link: crate::link::LinkConfig,
}

/// Why a node cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A configured value is out of its range.
    #[error("{name} is {value:?}: it must be {expected}")]
    InvalidConfig {
        /// The setting.
        name: &'static str,
        /// What it is.
        value: Duration,
        /// What it must be.
        expected: &'static str,
    },
    /// There is no socket.
    #[error("the node has no socket")]
    NoSockets,
    /// A stored record cannot be read.
    #[error("the record {key} in table {table} cannot be read: {reason}")]
    CorruptRecord {
        /// The table.
        table: &'static str,
        /// The key, in hex.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}
