//! What a link knows of one QUIC connection.

use super::Class;
use super::address_book::Resident;
use super::credit::Credit;
use super::lanes::{InLane, OutLane};
use super::path::{Path, PathState, ProbeKeys};
use super::pursuit::Goal;
use crate::identity::{AgentId, MachineId};
use crate::transport::{Side, StreamId};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// TLS is under way.
    Handshaking,
    /// The peer's key is proven, its hello is not checked yet.
    AwaitingHello,
    /// The hello is good; an own attempt to the same peer must end first.
    Held,
    /// It carries the session.
    Up,
    /// It is closed; QUIC still drains it.
    Over,
}

/// What a checked hello says.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    pub(super) residents: Vec<Resident>,
    pub(super) incarnation: u64,
}

impl Proven {
    /// The agents, in the order of their indexes.
    pub(super) fn agents(&self) -> Vec<AgentId> {
        self.residents.iter().map(|resident| resident.agent).collect()
    }
}

pub(super) struct Connection {
    pub(super) side: Side,
    pub(super) phase: Phase,
    pub(super) path: PathState,
    /// Known when TLS is done.
    pub(super) machine: Option<MachineId>,
    /// Known when TLS is done.
    pub(super) probe_keys: Option<ProbeKeys>,
    /// Known when the hello is checked.
    pub(super) proven: Option<Proven>,
    /// The pursuit that dialled it.
    pub(super) goal: Option<Goal>,
    out: [OutLane; Class::ALL.len()],
    pub(super) lanes: Vec<InLane>,
    pub(super) credit: Credit,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("side", &self.side)
            .field("phase", &self.phase)
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(side: Side, path: Path, goal: Option<Goal>) -> Self {
        Self {
            side,
            phase: Phase::Handshaking,
            path: PathState::new(path),
            machine: None,
            probe_keys: None,
            proven: None,
            goal,
            out: Default::default(),
            lanes: Vec::new(),
            credit: Credit::default(),
        }
    }

    pub(super) fn lane(&mut self, class: Class) -> &mut OutLane {
        &mut self.out[usize::from(class.code())]
    }

    pub(super) fn room(&self, class: Class) -> usize {
        self.out[usize::from(class.code())].room()
    }

    /// How many bytes of frames that wait for room in their streams count towards the node's share, see
    /// [`OutLane::accounted`].
    pub(super) fn lane_bytes(&self) -> usize {
        Class::ALL
            .into_iter()
            .map(|class| self.out[usize::from(class.code())].accounted(class))
            .sum()
    }

    /// Drops everything that waits, in both directions.
    pub(super) fn clear(&mut self) {
        self.out = Default::default();
        self.lanes.clear();
    }

    /// Returns the place of a stream among the lanes.
    pub(super) fn lane_of(&self, stream: StreamId) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.stream == stream)
    }

    /// How many bytes of frames that are not complete are accounted to it.
    pub(super) fn accounted(&self) -> usize {
        self.lanes.iter().map(|lane| lane.accounted).sum()
    }
}
