//! Why connections end.

use quinn_proto::ConnectionError;

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// Nothing was heard for the idle timeout.
    TimedOut,
    /// The peer does not know the connection any more.
    Reset,
    /// The peer's application closed it with this code.
    ClosedByPeer(u32),
    /// This node closed it.
    ClosedLocally,
    /// The handshake or a rule of QUIC failed on either side.
    Failed,
    /// There is no common version of QUIC.
    Version,
}

impl LostReason {
    pub(super) fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::VersionMismatch => Self::Version,
            ConnectionError::ApplicationClosed(close) => {
                Self::ClosedByPeer(u32::try_from(close.error_code.into_inner()).unwrap_or(0))
            }
            ConnectionError::Reset => Self::Reset,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::LocallyClosed => Self::ClosedLocally,
            ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::CidsExhausted => Self::Failed,
        }
    }
}
