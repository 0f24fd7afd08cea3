//! The timers of a link. Each part has its own; what is due at the same time fires in the order of
//! the variants.

use super::dialer::Destination;
use super::output::RequestId;
use crate::identity::MachineId;
use crate::support::TimerName;
use crate::transport::ConnectionKey;

/// A timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A handshake or a dial takes too long.
    Handshake(ConnectionKey),
    /// The peer's connection was held long enough.
    Held(MachineId),
    /// Path selection has something to do.
    Path(ConnectionKey),
    /// The bindings of a peer expire.
    Expiry(ConnectionKey),
    /// A dial request may dial again.
    Redial(Destination),
    /// A caller has waited long enough for a session.
    Waiter(Destination, RequestId),
    /// A caller has waited long enough for the answer to a ping.
    Ping(u64),
    /// The binding of this node is due for renewal.
    Renew,
}

impl TimerName for Timer {
    fn name(&self) -> &'static str {
        match self {
            Self::Handshake(_) => "handshake",
            Self::Held(_) => "held connection",
            Self::Path(_) => "path",
            Self::Expiry(_) => "binding expiry",
            Self::Redial(_) => "dial",
            Self::Waiter(..) => "connect timeout",
            Self::Ping(_) => "ping timeout",
            Self::Renew => "binding renewal",
        }
    }
}
