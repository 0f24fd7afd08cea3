//! The reasons for which links do not come up, or go down.

use serde::{Deserialize, Serialize};

/// Why [`Connect`](crate::node::Connect) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ConnectError {
    /// No link came up in time.
    #[error("no answer in time")]
    Timeout,
    /// No address of the peer is known.
    #[error("no address of the peer is known")]
    UnknownPeer,
    /// Another machine answered at the address.
    #[error("another machine answered at the address")]
    WrongMachine,
    /// The peer answered, and refused.
    #[error("the peer refused: {0}")]
    Refused(RefuseReason),
    /// The address is this node's own.
    #[error("the address is this node's own")]
    OwnAddress,
    /// The application disconnected the peer meanwhile.
    #[error("disconnected meanwhile")]
    Cancelled,
}

/// Why a peer was refused after its key was proven.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum RefuseReason {
    /// There is a link already.
    #[error("there is a link already")]
    Duplicate,
    /// The agent binding is not valid.
    #[error("the agent binding is not valid")]
    BadBinding,
    /// There are too many links.
    #[error("too many links")]
    TooManyLinks,
    /// The versions of the protocol have nothing in common.
    #[error("no common protocol version")]
    Version,
    /// The peer broke the protocol.
    #[error("a rule of the protocol was broken")]
    Protocol,
}

/// Why a link went down.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum DownReason {
    /// Nothing was heard from the peer for the idle timeout.
    #[error("nothing was heard from the peer")]
    TimedOut,
    /// The peer closed the link.
    #[error("the peer closed the link")]
    ClosedByPeer,
    /// This node closed the link.
    #[error("closed by this node")]
    ClosedLocally,
    /// The peer lost its state, most likely in a restart.
    #[error("the peer was restarted")]
    Reset,
    /// The peer broke a rule of the protocol.
    #[error("the peer broke the protocol")]
    Protocol,
    /// A later run of the peer took over.
    #[error("the peer was restarted and came back")]
    Replaced,
}
