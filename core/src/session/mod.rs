//! What every protocol over sessions shares: how it hears of peers, and what it wants of them.
//!
//! [`link`](crate::link) has a session with each connected machine. The protocols above it exchange
//! frames over these sessions. Each of them takes [`Event`]s and gives [`Request`]s, and the node
//! passes them on by the protocol's number, [`ProtocolId`].
//!
//! Everything here is generic over the type of a peer's id: nodes use the machine id, tests use
//! numbers.

mod contact;
mod header;

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use contact::{CONTACT_SIZE_MAX, Contact, address_of, contact_of};
pub use header::{HEADER_INLINE_MAX, Header};

use crate::identity::AgentId;

/// A peer's id.
pub trait Peer: Copy + Ord + Debug + Serialize + DeserializeOwned + Send + 'static {}

impl<T: Copy + Ord + Debug + Serialize + DeserializeOwned + Send + 'static> Peer for T {}

/// The longest time that an application may ask a request to wait.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The number of a protocol, in front of each frame. Both ends list the numbers that they speak
/// when a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProtocolId(pub u16);

impl ProtocolId {
    /// Direct messages.
    pub const DIRECT: Self = Self(1);
    /// Gossip.
    pub const GOSSIP: Self = Self(2);
}

/// A session that began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened<P> {
    /// The peer.
    pub peer: P,
    /// The agents that it proved, in the order that both nodes know.
    pub agents: Vec<AgentId>,
    /// Which run of the peer it is: another number means that it lost its state.
    pub incarnation: u64,
    /// Where it is reached, for others who ask.
    pub contact: Contact,
    /// The round trip to it.
    pub round_trip: Duration,
    /// The bytes that may be sent.
    pub send_window: usize,
}

/// What happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<P> {
    /// A session began. If the peer had one, that one is over.
    Opened(Opened<P>),
    /// A peer with a session is reached elsewhere.
    Moved {
        /// The peer.
        peer: P,
        /// Where it is reached now.
        contact: Contact,
    },
    /// A session ended.
    Closed {
        /// The peer.
        peer: P,
    },
    /// More frames may be sent.
    Writable {
        /// The peer.
        peer: P,
        /// The bytes that may be sent from now on. The last frame may exceed them.
        send_window: usize,
    },
    /// A frame arrived.
    Frame {
        /// The peer.
        peer: P,
        /// The whole frame.
        frame: Bytes,
    },
    /// No session came of a [`Request::Connect`].
    ConnectFailed {
        /// The peer.
        peer: P,
    },
}

/// What a protocol wants of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<P> {
    /// Send a frame: the header, then the payload.
    Send {
        /// The peer.
        peer: P,
        /// The first bytes of the frame.
        header: Header,
        /// The other bytes.
        payload: Bytes,
    },
    /// Have a session with a peer. The answer is [`Event::Opened`] or [`Event::ConnectFailed`].
    Connect {
        /// The peer.
        peer: P,
        /// Where it is reached.
        contact: Contact,
    },
    /// The protocol has no more use for the session with a peer.
    Release {
        /// The peer.
        peer: P,
    },
    /// A peer violated the protocol: end its session.
    Violation {
        /// The peer.
        peer: P,
        /// The rule that it broke.
        rule: &'static str,
    },
}
