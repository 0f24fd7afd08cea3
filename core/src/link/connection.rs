//! One QUIC connection and what a link knows of it.

use super::dialer::Destination;
use super::handshake::Proven;
use super::streams::{ClassStreams, Credit};
use crate::identity::MachineId;
use crate::path::{Path, PathState, ProbeKeys};
use crate::transport::Side;

/// The most candidates that a connection checks at once. Any datagram with the right connection id
/// can name one, so a second one waits until the check of the first has ended.
const PATH_CANDIDATES: usize = 1;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// TLS is under way.
    Handshaking,
    /// The peer's key is proven, its hello is not checked yet.
    AwaitingHello,
    /// The hello is good. An own dial to the same peer must end first.
    Held,
    /// It carries the session.
    Up,
    /// It is closed. QUIC still drains it.
    Over,
}

/// A QUIC connection.
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
    /// The dial request that it serves.
    pub(super) destination: Option<Destination>,
    pub(super) streams: ClassStreams,
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
    pub(super) fn new(side: Side, path: Path, destination: Option<Destination>) -> Self {
        Self {
            side,
            phase: Phase::Handshaking,
            path: PathState::new(path, PATH_CANDIDATES),
            machine: None,
            probe_keys: None,
            proven: None,
            destination,
            streams: ClassStreams::default(),
            credit: Credit::default(),
        }
    }

    /// Returns how many bytes of the pool it holds.
    pub(super) fn pool_bytes(&self) -> usize {
        self.credit.grown() + self.streams.reassembly_bytes()
    }
}
