//! The requests of applications to links, and their answers.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConnectError, PingError};
use crate::identity::{AgentId, MachineId};

crate::requests! {
    Connect => Result<Connected, ConnectError>,
    Disconnect => Disconnected,
    ChangeNetwork => NetworkChanged,
    ProbePeer => Result<PeerProbed, PingError>,
    ListPeers => Vec<PeerInfo>,
}

/// The peer to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Any machine that answers at this address; with a machine id, only that machine.
    Address {
        /// The address to dial.
        address: SocketAddr,
        /// The only machine to accept there, if it is known.
        machine: Option<MachineId>,
    },
    /// A machine whose addresses are in the address book.
    Machine(MachineId),
    /// An agent whose machine is in the address book.
    Agent(AgentId),
}

/// Asks for a link to a peer. Answered when the link is up or when `timeout` is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// The peer.
    pub target: Target,
    /// Whether to dial again, with growing pauses, whenever the link is down, until
    /// [`Disconnect`].
    pub keep: bool,
    /// How long to try before the answer is [`ConnectError::Timeout`], at most [`TIMEOUT_MAX`](crate::session::TIMEOUT_MAX).
    pub timeout: Duration,
}

/// The answer to [`Connect`]: the link is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// The machine that proved its key.
    pub machine: MachineId,
    /// The agents that proved that they live there.
    pub agents: Vec<AgentId>,
    /// Where the machine is reached.
    pub address: SocketAddr,
    /// Whether the link was up already.
    pub already: bool,
}

/// Asks to close the link to a machine and not to keep it any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    /// The machine.
    pub machine: MachineId,
}

/// The answer to [`Disconnect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnected {
    /// Whether there was a link.
    pub existed: bool,
}

/// Gives the node the new list of its sockets.
///
/// The links whose socket is gone move to another one; the others stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeNetwork {
    /// The local address of each socket, the preferred first.
    pub sockets: Vec<SocketAddr>,
}

/// The answer to [`ChangeNetwork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkChanged {
    /// How many links began to move.
    pub moving: usize,
}

/// Pings a machine that has a link. Answered when the machine answers or when `timeout` is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePeer {
    /// The machine.
    pub machine: MachineId,
    /// How long to wait, at most [`TIMEOUT_MAX`](crate::session::TIMEOUT_MAX).
    pub timeout: Duration,
}

/// The answer to [`ProbePeer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerProbed {
    /// The time from the ping to its answer.
    pub round_trip: Duration,
}

/// Asks for the peers that have a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPeers;

/// A peer with a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// The machine.
    pub machine: MachineId,
    /// The agents that proved that they live there.
    pub agents: Vec<AgentId>,
    /// Where it is reached.
    pub address: SocketAddr,
    /// The smoothed round-trip time.
    pub round_trip: Duration,
    /// How long ago the link came up.
    pub connected_for: Duration,
}

/// Why a request of links was refused. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestError {
    /// The request would wait too long.
    #[error("a timeout of {timeout:?} is longer than a day")]
    TimeoutTooLong {
        /// The timeout.
        timeout: Duration,
    },
    /// Too many probes are under way.
    #[error("too many probes are under way")]
    TooManyProbes,
    /// Too many connection attempts are under way.
    #[error("too many connection attempts are under way")]
    TooManyConnects,
    /// No socket of the node has the address family of the target.
    #[error("no socket can reach {address}")]
    NoSocket {
        /// The target.
        address: SocketAddr,
    },
    /// The target cannot be dialled: its port is zero or its address is not a host's.
    #[error("{address} is not an address that can be dialled")]
    InvalidAddress {
        /// The target.
        address: SocketAddr,
    },
}
