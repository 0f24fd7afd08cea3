//! Commands: requests with an id, and how they are refused.
//!
//! A [`Command`] is either refused at once with a [`CommandError`], which changes nothing, or
//! answered by exactly one [`Event::Reply`](super::Event::Reply) that carries its id. Each request
//! is a type of its own that knows the type of its reply, see [`TypedRequest`].

use serde::{Deserialize, Serialize};

use super::{Reply, Request};
use crate::support::ModuleRequest;
use crate::{direct, gossip, link};

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

/// A request that knows the type of its reply.
pub trait TypedRequest: Into<Request> {
    /// What the node answers.
    type Reply;

    /// Takes the answer out of the reply; `None` if the reply is to a request of another type.
    fn reply(reply: Reply) -> Option<Self::Reply>;
}

impl<R> TypedRequest for R
where
    R: ModuleRequest,
    Request: From<R::Request>,
    R::Replies: TryFrom<Reply>,
{
    type Reply = R::Reply;

    fn reply(reply: Reply) -> Option<Self::Reply> {
        R::reply(reply.try_into().ok()?)
    }
}

impl<R> From<R> for Request
where
    R: ModuleRequest,
    Self: From<R::Request>,
{
    fn from(request: R) -> Self {
        R::Request::from(request).into()
    }
}

/// The caller's mistake. The command changed nothing and gets no reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CommandError {
    /// The node halted, see [`Event::Halted`](super::Event::Halted).
    #[error("the node has halted")]
    Halted,
    /// The node was shut down, see [`ShutDown`](super::ShutDown).
    #[error("the node was shut down")]
    ShutDown,
    /// Too many agents are blocked.
    #[error("too many agents are blocked: unblock some first")]
    TooManyBlocked,
    /// A request of links was refused.
    #[error(transparent)]
    Link(#[from] link::RequestError),
    /// A request of direct messages was refused.
    #[error(transparent)]
    Direct(#[from] direct::RequestError),
    /// A request of gossip was refused.
    #[error(transparent)]
    Gossip(#[from] gossip::RequestError),
}
