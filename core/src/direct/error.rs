//! How a message ends, why a message is not taken, and what a peer must not do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The recipient's node has taken the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// From the input to the acknowledgement.
    pub elapsed: Duration,
}

/// Why a message was not acknowledged. It is answered exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DirectError {
    /// The recipient's node refused the message; it was not delivered.
    #[error("refused by the recipient's node: {0}")]
    Refused(RefuseReason),
    /// No acknowledgement came in time. If `sent`, the recipient may have it all the same; if
    /// not, it was not delivered and never will be.
    #[error("no acknowledgement in time")]
    Timeout {
        /// Whether the recipient may have the message.
        sent: bool,
    },
    /// The recipient's node lost its state after the message was sent and before it was
    /// acknowledged, or another node answers for the recipient: nobody can tell whether the
    /// message was delivered.
    #[error("the recipient's node restarted before it acknowledged the message")]
    RecipientRestarted,
    /// No machine is known for the recipient; the message was not delivered.
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

/// Why a message cannot be sent. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The payload is larger than a message can be.
    #[error("the payload has {size} bytes, more than {size_max}")]
    TooLarge {
        /// The size of the payload.
        size: usize,
        /// The largest size.
        size_max: usize,
    },
    /// Too many messages wait for this recipient, or for all together.
    #[error("too many messages wait for an answer")]
    QueueFull,
}

/// The rule that a peer broke. Its session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Violation {
    /// A frame is cut short, has bytes too many, or writes a value in a way that is not allowed.
    #[error("a frame is malformed")]
    Malformed,
    /// The kind of a frame is unknown.
    #[error("a frame has an unknown kind")]
    UnknownKind,
    /// The verdict or the reason in a frame is unknown.
    #[error("a frame has an unknown verdict")]
    UnknownVerdict,
    /// A channel number is at or above [`CHANNELS_MAX`](super::CHANNELS_MAX).
    #[error("too many channels")]
    TooManyChannels,
    /// A payload is larger than [`PAYLOAD_MAX`](super::PAYLOAD_MAX).
    #[error("a payload is too large")]
    PayloadTooLarge,
    /// An `Open` names an agent that the machine did not prove.
    #[error("a channel was opened for an agent that is not proven")]
    UnknownSender,
    /// An `Open` for a channel whose last `Open` is not answered.
    #[error("a channel was opened again before the answer")]
    OpenUnanswered,
    /// An `Open` for a conversation that another channel of the session has.
    #[error("a conversation was opened on two channels")]
    OpenTwice,
    /// A message on a channel that was never opened.
    #[error("a message came on a channel that is not open")]
    NotOpen,
    /// A sequence that is zero or not above all that were taken.
    #[error("a sequence does not increase")]
    SequenceNotIncreasing,
    /// An `Opened` or `Refused` for a channel that waits for none.
    #[error("an answer came to a question that was not asked")]
    NeverAsked,
    /// A verdict on a message that was never sent.
    #[error("a verdict came on a message that was never sent")]
    NeverSent,
    /// An `Opened` with another epoch than the `Opened` before on the same channel.
    #[error("the epoch of an open channel changed")]
    EpochChanged,
}
