//! How a message ends that is not acknowledged.

use serde::{Deserialize, Serialize};

/// The largest payload of a direct message, in bytes.
pub const PAYLOAD_MAX: usize = 16 * 1024 * 1024;

/// Why a message was not acknowledged. It is answered exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DirectError {
    /// The recipient's node took no message from this sender.
    #[error("refused by the recipient's node: {0}")]
    Refused(RefuseReason),
    /// No acknowledgement came in time. If `sent`, the recipient may have it all the same.
    #[error("no acknowledgement in time")]
    Timeout {
        /// Whether the message left this node.
        sent: bool,
    },
    /// The recipient's node lost its state after the message was sent and before it was
    /// acknowledged: nobody can tell whether it was delivered.
    #[error("the recipient's node restarted before it acknowledged the message")]
    RecipientRestarted,
    /// No machine is known for the recipient.
    #[error("no machine is known for the recipient")]
    UnknownRecipient,
}

/// Why a recipient's node refuses a message.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    thiserror::Error,
)]
pub enum RefuseReason {
    /// The sender is blocked.
    #[error("the sender is blocked")]
    Blocked,
    /// The recipient is not an agent of this node.
    #[error("the recipient is not an agent of this node")]
    NotHere,
    /// The recipient's node has no room for it.
    #[error("the recipient's node is full")]
    Full,
}
