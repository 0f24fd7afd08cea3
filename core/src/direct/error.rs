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
    /// No acknowledgement came in time. If `sent`, the recipient may nevertheless have it; if
    /// not, it was not delivered and never will be.
    #[error("no acknowledgement in time")]
    Timeout {
        /// Whether the recipient may have the message.
        sent: bool,
    },
    /// The recipient's node may have lost its state after the message was sent and before it was
    /// acknowledged, or another machine answers for the recipient: it is unknown whether the
    /// message was delivered.
    #[error("the recipient's node restarted before it acknowledged the message")]
    RecipientRestarted,
    /// The node was shut down before an acknowledgement came. If `sent`, the recipient may have the
    /// message nevertheless; if not, it was not delivered and never will be.
    #[error("this node was shut down before the message was acknowledged")]
    ShutDown {
        /// Whether the recipient may have the message.
        sent: bool,
    },
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

/// Why a request to send was refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestError {
    /// The payload is larger than a message can be.
    #[error("the payload has {size} bytes, more than {size_max}")]
    TooLarge {
        /// The size of the payload.
        size: usize,
        /// The largest size.
        size_max: usize,
    },
    /// Too many messages wait for this recipient, or for all together: wait for replies.
    #[error("too many messages wait for an answer: send more when some are answered")]
    QueueFull,
    /// The request would wait too long.
    #[error("a timeout of {timeout:?} is longer than a day")]
    TimeoutTooLong {
        /// The timeout.
        timeout: Duration,
    },
}

/// The rule that a peer broke. Its session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// A frame is cut short, has bytes too many, or writes a value that is not allowed.
    Malformed,
    /// The kind of a frame is unknown.
    UnknownKind,
    /// The verdict in a frame is unknown.
    UnknownVerdict,
    /// A channel number is at or above [`CHANNELS_MAX`](super::CHANNELS_MAX).
    TooManyChannels,
    /// A payload is larger than [`PAYLOAD_MAX`](super::PAYLOAD_MAX).
    PayloadTooLarge,
    /// An `Open` names an agent that the machine did not prove.
    UnknownSender,
    /// An `Open` for a channel whose last `Open` is not answered.
    OpenUnanswered,
    /// An `Open` for a conversation that the session has on a channel.
    OpenTwice,
    /// A message on a channel that was never opened.
    NotOpen,
    /// A sequence that is zero or not above all others of the session.
    SequenceNotIncreasing,
    /// An `Opened` or a verdict for a channel that was not opened.
    NeverAsked,
    /// A verdict on a message that was never sent, or a record that began in the future.
    NeverSent,
}

impl Violation {
    /// Names the rule in a few words.
    pub(super) const fn rule(self) -> &'static str {
        match self {
            Self::Malformed => "a frame is malformed",
            Self::UnknownKind => "a frame has an unknown kind",
            Self::UnknownVerdict => "a frame has an unknown verdict",
            Self::TooManyChannels => "too many channels",
            Self::PayloadTooLarge => "a payload is too large",
            Self::UnknownSender => "a channel was opened for an agent that is not proven",
            Self::OpenUnanswered => "a channel was opened again before the answer",
            Self::OpenTwice => "a conversation was opened twice",
            Self::NotOpen => "a message came on a channel that is not open",
            Self::SequenceNotIncreasing => "a sequence does not increase",
            Self::NeverAsked => "an answer came on a channel that was not opened",
            Self::NeverSent => "a verdict came on a message that was never sent",
        }
    }
}
