//! What links want and report.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Class, ConnectError, Counter, DownReason, PingError};
use crate::identity::{AgentId, MachineId};
use crate::support::{TableSet, Vocabulary};

/// The caller's number of a request that [`Output`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What links want and report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A session came up. Frames may be sent.
    PeerUp {
        /// The machine.
        machine: MachineId,
        /// The agents that live there, in the order of their indexes.
        agents: Vec<AgentId>,
        /// Which run of the machine it is: another number means that it lost its state.
        incarnation: u64,
        /// Where it is reached.
        address: SocketAddr,
    },
    /// A session went down.
    PeerDown {
        /// The machine.
        machine: MachineId,
        /// Why.
        reason: DownReason,
    },
    /// A session moved to another path.
    PathChanged {
        /// The machine.
        machine: MachineId,
        /// Where it is reached.
        address: SocketAddr,
    },
    /// A frame arrived.
    Frame {
        /// The machine that sent it.
        machine: MachineId,
        /// Its class.
        class: Class,
        /// Its bytes.
        frame: Bytes,
    },
    /// The stream of a class has room again.
    Writable {
        /// The machine.
        machine: MachineId,
        /// The class.
        class: Class,
        /// How many bytes may be sent.
        send_window: usize,
    },
    /// A [`State::connect`](super::State::connect) ended.
    ConnectEnded {
        /// The caller's number.
        request: RequestId,
        /// The link, or why there is none.
        result: Result<PeerLink, ConnectError>,
    },
    /// A [`State::ping`](super::State::ping) ended.
    PingEnded {
        /// The caller's number.
        request: RequestId,
        /// How long the answer took, or why there is none.
        result: Result<Duration, PingError>,
    },
    /// A [`State::dial_for`](super::State::dial_for) failed.
    DialFailed {
        /// The machine.
        machine: MachineId,
    },
    /// A [`State::dial_agent`](super::State::dial_agent) knows no machine of its agent.
    NoRoute {
        /// The agent.
        agent: AgentId,
    },
}

impl Vocabulary for Output {
    type Counter = Counter;
    type Table = Table;
}

/// The tables of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Table {
    /// Peers by machine id: their addresses and agents.
    Peers,
    /// The sequence of the node's own binding, by its machine id.
    Own,
}

impl TableSet for Table {
    const ALL: &'static [Self] = &[Self::Peers, Self::Own];

    fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Own => "own",
        }
    }
}

/// Something that happened to a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
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
}

/// A session as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLink {
    /// The machine.
    pub machine: MachineId,
    /// The agents that live there.
    pub agents: Vec<AgentId>,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Whether it was there before it was asked for.
    pub already: bool,
    /// The smoothed round-trip time.
    pub round_trip: Duration,
    /// When the session came up.
    pub since: Instant,
}

/// What links hold, in numbers. Each has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Connections, those included that are being closed.
    pub connections: usize,
    /// Incoming connections that never had a session.
    pub half_open: usize,
    /// Sessions, at most [`LINKS_MAX`](super::LINKS_MAX).
    pub sessions: usize,
    /// Dial requests, at most [`DIALS_MAX`](super::DIALS_MAX).
    pub dials: usize,
    /// Answers that wait to be sent, at most [`ANSWERS_MAX`](super::ANSWERS_MAX).
    pub answers: usize,
    /// Bytes of incomplete frames.
    pub reassembly_bytes: usize,
    /// Bytes that peers may send before they are read.
    pub credit_bytes: usize,
    /// The most that both may be together: the node's share of memory for receiving.
    pub receive_bytes_max: usize,
    /// Bytes of frames that wait for QUIC, as they count towards the node's share of memory for
    /// sending: for each peer and class at most [`SEND_BUFFER_MAX`](super::SEND_BUFFER_MAX) and one
    /// frame.
    pub send_buffer_bytes: usize,
}
