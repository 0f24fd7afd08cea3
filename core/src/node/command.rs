//! Commands, their typed requests and their typed replies.
//!
//! A [`Command`] is a request with an id. It is either refused at once with a [`CommandError`],
//! which changes nothing, or answered by exactly one [`Event::Reply`](super::Event::Reply) that
//! carries its id. Each request is a type of its own that knows the type of its reply, see
//! [`TypedRequest`].

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::gossip::{MessageId, Topic, TopicInfo};
use crate::identity::{AgentId, MachineId};
use crate::link::{ConnectError, PingError};
use crate::support::Counters;

use crate::direct::DirectError;

/// The longest time that a command may ask to wait.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The caller's number for a command; it comes back with the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommandId(pub u64);

/// A request with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The caller's number, unique among the commands that are not answered yet.
    pub id: CommandId,
    /// What is asked.
    pub request: Request,
}

/// Everything that an application can ask of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// See [`Connect`].
    Connect(Connect),
    /// See [`Disconnect`].
    Disconnect(Disconnect),
    /// See [`SendDirect`].
    SendDirect(SendDirect),
    /// See [`SetBlocked`].
    SetBlocked(SetBlocked),
    /// See [`ChangeNetwork`].
    ChangeNetwork(ChangeNetwork),
    /// See [`ProbePeer`].
    ProbePeer(ProbePeer),
    /// See [`ListPeers`].
    ListPeers(ListPeers),
    /// See [`GetCounters`].
    GetCounters(GetCounters),
    /// See [`ShutDown`].
    ShutDown(ShutDown),
    /// See [`Subscribe`].
    Subscribe(Subscribe),
    /// See [`Unsubscribe`].
    Unsubscribe(Unsubscribe),
    /// See [`Publish`].
    Publish(Publish),
    /// See [`ProveMessage`].
    ProveMessage(ProveMessage),
    /// See [`ListTopics`].
    ListTopics(ListTopics),
}

/// The answer to a [`Request`], variant by variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The answer to [`Connect`].
    Connect(Result<Connected, ConnectError>),
    /// The answer to [`Disconnect`].
    Disconnect(Disconnected),
    /// The answer to [`SendDirect`].
    SendDirect(Result<DirectAcknowledged, DirectError>),
    /// The answer to [`SetBlocked`].
    SetBlocked(BlockedSet),
    /// The answer to [`ChangeNetwork`].
    ChangeNetwork(NetworkChanged),
    /// The answer to [`ProbePeer`].
    ProbePeer(Result<PeerProbed, PingError>),
    /// The answer to [`ListPeers`].
    ListPeers(Vec<PeerInfo>),
    /// The answer to [`GetCounters`].
    GetCounters(Counters),
    /// The answer to [`ShutDown`].
    ShutDown(()),
    /// The answer to [`Subscribe`].
    Subscribe(Subscribed),
    /// The answer to [`Unsubscribe`].
    Unsubscribe(Unsubscribed),
    /// The answer to [`Publish`].
    Publish(Published),
    /// The answer to [`ProveMessage`].
    ProveMessage(Option<Bytes>),
    /// The answer to [`ListTopics`].
    ListTopics(Vec<TopicInfo>),
}

/// A request that knows the type of its reply.
pub trait TypedRequest: Into<Request> {
    /// What the node answers.
    type Reply;

    /// Takes the answer out of the reply; `None` if the reply is to a request of another type.
    fn reply(reply: Reply) -> Option<Self::Reply>;
}

macro_rules! typed_requests {
    ($($request:ident => $reply:ty,)+) => {
        impl Request {
            /// Names the request.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$request(_) => stringify!($request),)+
                }
            }
        }

        impl Reply {
            /// Names the request that is answered.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$request(_) => stringify!($request),)+
                }
            }
        }

        $(
            impl From<$request> for Request {
                fn from(request: $request) -> Self {
                    Self::$request(request)
                }
            }

            impl TypedRequest for $request {
                type Reply = $reply;

                fn reply(reply: Reply) -> Option<Self::Reply> {
                    if let Reply::$request(answer) = reply { Some(answer) } else { None }
                }
            }
        )+
    };
}

typed_requests! {
    Connect => Result<Connected, ConnectError>,
    Disconnect => Disconnected,
    SendDirect => Result<DirectAcknowledged, DirectError>,
    Subscribe => Subscribed,
    Unsubscribe => Unsubscribed,
    Publish => Published,
    ProveMessage => Option<Bytes>,
    ListTopics => Vec<TopicInfo>,
    SetBlocked => BlockedSet,
    ChangeNetwork => NetworkChanged,
    ProbePeer => Result<PeerProbed, PingError>,
    ListPeers => Vec<PeerInfo>,
    GetCounters => Counters,
    ShutDown => (),
}

/// Whom to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Whoever answers at this address; with a machine id, only that machine.
    Address {
        /// Where to dial.
        address: SocketAddr,
        /// The only machine to accept there, if it is known.
        machine: Option<MachineId>,
    },
    /// A machine whose addresses are in the address book.
    Machine(MachineId),
    /// An agent whose machine is in the address book.
    Agent(AgentId),
}

/// Asks for a link to a peer. Answered when the link is up or when `timeout` is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// The peer.
    pub target: Target,
    /// Whether to dial again, with growing pauses, whenever the link is down, until
    /// [`Disconnect`].
    pub keep: bool,
    /// How long to try before the answer is [`ConnectError::Timeout`], at most [`TIMEOUT_MAX`].
    pub timeout: Duration,
}

/// The answer to [`Connect`]: the link is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// The machine that proved its key.
    pub machine: MachineId,
    /// The agents that proved that they live there.
    pub agents: Vec<AgentId>,
    /// Where the machine is reached.
    pub address: SocketAddr,
    /// Whether the link was up already.
    pub already: bool,
}

/// Asks to close the link to a machine and not to keep it any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    /// The machine.
    pub machine: MachineId,
}

/// The answer to [`Disconnect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnected {
    /// Whether there was a link.
    pub existed: bool,
}

/// Sends a message to an agent. Answered when the agent's node acknowledged or refused it, or
/// when it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendDirect {
    /// The agent.
    pub recipient: AgentId,
    /// The message, at most [`PAYLOAD_MAX`](crate::direct::PAYLOAD_MAX) bytes.
    pub payload: Bytes,
    /// How long to try before the answer is [`DirectError::Timeout`], at most [`TIMEOUT_MAX`].
    pub timeout: Duration,
}

/// The recipient's node has taken the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectAcknowledged {
    /// From the command to the acknowledgement.
    pub elapsed: Duration,
}

/// Asks for the messages of a topic, from here on. They come as
/// [`Event::GossipReceived`](super::Event::GossipReceived). A topic is subscribed to once, however
/// often that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The topic.
    pub topic: Topic,
}

/// The answer to [`Subscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// Whether the node was subscribed already.
    pub already: bool,
}

/// Ends the messages of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// The topic.
    pub topic: Topic,
}

/// The answer to [`Unsubscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribed {
    /// Whether the node was subscribed.
    pub existed: bool,
}

/// Publishes a message to everybody who subscribed to a topic, this node included. Answered when
/// the node can take the next one: at once, unless its peers are slower than its application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The topic.
    pub topic: Topic,
    /// The message, at most [`PAYLOAD_MAX`](crate::gossip::PAYLOAD_MAX) bytes.
    pub payload: Bytes,
}

/// The answer to [`Publish`]: the message is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published;

/// Asks for what proves to anybody that an author published a message. `None` if the node does not
/// have the message any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProveMessage {
    /// The topic.
    pub topic: Topic,
    /// The message.
    pub message: MessageId,
}

/// Asks for the topics that the node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTopics;

/// Takes no messages from an agent any more, or takes them again. Answered when it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetBlocked {
    /// The agent.
    pub agent: AgentId,
    /// Whether it is blocked from here on.
    pub blocked: bool,
}

/// The answer to [`SetBlocked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedSet;

/// Tells the node which sockets it has, after they changed.
///
/// The links whose socket is gone move to a new one; the others stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeNetwork {
    /// The local address of each socket, the preferred first.
    pub sockets: Vec<SocketAddr>,
}

/// The answer to [`ChangeNetwork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkChanged {
    /// How many links began to move.
    pub moving: usize,
}

/// Asks a machine that has a link for a sign of life. Answered when it comes or when `timeout` is
/// over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePeer {
    /// The machine.
    pub machine: MachineId,
    /// How long to wait, at most [`TIMEOUT_MAX`].
    pub timeout: Duration,
}

/// The answer to [`ProbePeer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerProbed {
    /// From the question to the answer.
    pub round_trip: Duration,
}

/// Asks for the peers that have a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPeers;

/// A peer with a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// The machine.
    pub machine: MachineId,
    /// The agents that proved that they live there.
    pub agents: Vec<AgentId>,
    /// Where it is reached.
    pub address: SocketAddr,
    /// The smoothed round-trip time.
    pub round_trip: Duration,
    /// How long ago the link came up.
    pub connected_for: Duration,
}

/// Asks for the node's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCounters;

/// Ends everything that waits, closes all links, telling the peers, and takes no more commands.
/// Drain the node to idle, then drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutDown;

/// The caller's mistake. The command changed nothing and gets no reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CommandError {
    /// The node halted, see [`Event::Halted`](super::Event::Halted).
    #[error("the node has halted")]
    Halted,
    /// The node was shut down, see [`ShutDown`].
    #[error("the node was shut down")]
    ShutDown,
    /// The payload is larger than a message can be.
    #[error("the payload has {size} bytes, more than {size_max}")]
    TooLarge {
        /// The size of the payload.
        size: usize,
        /// The largest size.
        size_max: usize,
    },
    /// The command would wait too long.
    #[error("a timeout of {timeout:?} is longer than a day")]
    TimeoutTooLong {
        /// The timeout.
        timeout: Duration,
    },
    /// Too many messages wait for this recipient, or for all together: wait for replies.
    #[error("too many messages wait for an answer: send more when some are answered")]
    QueueFull,
    /// The node is in too many topics.
    #[error("the node is in too many topics: unsubscribe from some first")]
    TooManyTopics,
    /// Too many agents are blocked.
    #[error("too many agents are blocked: unblock some first")]
    TooManyBlocked,
    /// Too many probes are under way.
    #[error("too many probes are under way")]
    TooManyProbes,
    /// Too many connection attempts are under way.
    #[error("too many connection attempts are under way")]
    TooManyConnects,
    /// No socket of the node has the address family of the target.
    #[error("no socket can reach {address}")]
    NoSocket {
        /// The target.
        address: SocketAddr,
    },
    /// The target cannot be dialled: its port is zero or its address is not a host's.
    #[error("{address} is not an address that can be dialled")]
    InvalidAddress {
        /// The target.
        address: SocketAddr,
    },
}
