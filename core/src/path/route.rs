//! What a connection can run over.

use std::fmt::Debug;
use std::net::SocketAddr;

/// The type preference of a direct path (RFC 8445, section 5.1.2.1).
const DIRECT: u8 = 126;

/// The type preference of a relayed one.
const RELAYED: u8 = 0;

/// A route that can be selected.
pub trait Candidate: Copy + Eq + Debug {
    /// Returns the preference of this type of route, as in RFC 8445, section 5.1.2.1: the higher,
    /// the better.
    fn type_preference(&self) -> u8;
}

/// A direct path: a socket of this node and an address of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The local address of the socket.
    pub local: SocketAddr,
    /// The address of the peer.
    pub remote: SocketAddr,
}

impl Candidate for Path {
    fn type_preference(&self) -> u8 {
        DIRECT
    }
}

/// The number of a relay circuit. It is unique within a run of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircuitId(pub u64);

/// A route that may lead through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// Datagrams go to the peer itself.
    Direct(Path),
    /// Datagrams go through a circuit of a relay.
    Relayed(CircuitId),
}

impl Candidate for Route {
    fn type_preference(&self) -> u8 {
        match self {
            Self::Direct(path) => path.type_preference(),
            Self::Relayed(_) => RELAYED,
        }
    }
}
