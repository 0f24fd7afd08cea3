//! Gossip: signed messages from an agent to everybody who subscribed to a topic. (Local delivery
//! only at this commit.)

mod topic;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use topic::{TOPIC_BYTES_MAX, Topic, TopicError};

use crate::identity::{AgentId, AgentKey};
use crate::overlay::{self, Contact, ItemId, Peer, TopicId};

/// The largest payload of a message.
pub const PAYLOAD_MAX: usize = 1 << 20;

/// The most topics that a node is in.
pub const TOPICS_MAX: usize = 1024;

/// The context of this module.
pub type Context<'a, P> = crate::support::Context<'a, Output<P>>;

/// The name that the caller gives to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub u64);

/// A message, by the batch that it came in and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The batch.
    pub batch: ItemId,
    /// The place in the batch, from zero.
    pub index: u16,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// A session with a peer began. If it had one, that one is over.
    PeerUp {
        /// The peer.
        peer: P,
        /// Where it is reached, for others who ask.
        contact: Contact,
        /// The round trip to it.
        round_trip: Duration,
        /// The bytes that may be sent.
        room: usize,
    },
    /// A session ended.
    PeerDown {
        /// The peer.
        peer: P,
    },
    /// There is room for frames.
    Writable {
        /// The peer.
        peer: P,
        /// The bytes that may be sent from here on.
        room: usize,
    },
    /// A frame arrived.
    Frame {
        /// The peer.
        peer: P,
        /// The whole frame.
        frame: Bytes,
    },
    /// No session came of an [`Output::Connect`].
    ConnectFailed {
        /// The peer.
        peer: P,
    },
    /// The application wants the messages of a topic. [`State::check_subscribe`] has nothing to
    /// say.
    Subscribe {
        /// The topic.
        topic: Topic,
    },
    /// The application wants no more messages of a topic.
    Unsubscribe {
        /// The topic.
        topic: Topic,
    },
    /// The application publishes a message. [`State::check_publish`] has nothing to say.
    Publish {
        /// Names the message in its [`Output::Published`].
        id: PublishId,
        /// The topic.
        topic: Topic,
        /// What is said.
        payload: Bytes,
    },
    /// The user blocks an agent, or no longer does: its messages are not delivered.
    SetBlocked {
        /// The agent.
        agent: AgentId,
        /// Whether it is blocked.
        blocked: bool,
    },
    /// The deadline has passed.
    Timeout,
    /// The node shuts down.
    ShutDown,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// Send a frame: the header and the payload.
    Frame {
        /// The peer.
        peer: P,
        /// The first bytes of the frame.
        header: Bytes,
        /// The other bytes of the frame.
        payload: Bytes,
    },
    /// Have a session with a peer. The answer is [`Input::PeerUp`] or [`Input::ConnectFailed`].
    Connect {
        /// The peer.
        peer: P,
        /// Where it is reached.
        contact: Contact,
    },
    /// There is no more use for the session with a peer.
    Release {
        /// The peer.
        peer: P,
    },
    /// A peer broke a rule: end its session.
    Misbehaved {
        /// The peer.
        peer: P,
        /// The rule.
        rule: &'static str,
    },
    /// Deliver a message.
    Received {
        /// The topic.
        topic: Topic,
        /// The agent that published it; proven.
        author: AgentId,
        /// What was said.
        payload: Bytes,
        /// When the author says that it was published, since the Unix epoch.
        published_at: Duration,
        /// Names the message for [`State::prove`].
        message: MessageId,
    },
    /// Messages of an author were missed and will not come.
    Lagged {
        /// The topic.
        topic: Topic,
        /// The author.
        author: AgentId,
        /// How many messages.
        missed: u64,
    },
    /// An author signed two things that exclude each other. It is no longer heard in the topic.
    Equivocated {
        /// The topic.
        topic: Topic,
        /// The author.
        author: AgentId,
        /// What proves it to anybody.
        evidence: Bytes,
    },
    /// A message was taken on its way: it is signed, or waits for no more than its batch.
    Published {
        /// The name that the caller gave it.
        id: PublishId,
    },
}

/// Why a message cannot be published, or a topic cannot be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The payload is too large.
    #[error("the payload has {size} bytes, more than {size_max}")]
    TooLarge {
        /// The size of the payload.
        size: usize,
        /// The largest size.
        size_max: usize,
    },
    /// Too much waits already.
    #[error("too many messages wait")]
    QueueFull,
    /// The node is in too many topics.
    #[error("the node is in too many topics")]
    TooManyTopics,
}

/// What is known of a topic that the node is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// The topic.
    pub topic: Topic,
    /// Whether its messages are delivered here. If not, the node is in it to publish.
    pub is_subscribed: bool,
    /// How many neighbours the node has in it.
    pub neighbours: usize,
    /// How many of them get items unasked.
    pub eager: usize,
    /// How many others are known.
    pub passive: usize,
    /// How many items are kept.
    pub history_items: usize,
    /// How many bytes they have.
    pub history_bytes: usize,
}

/// The gossip of one node.
#[derive(Debug)]
pub struct State<P> {
    agent: AgentId,
    topics: BTreeMap<TopicId, (Topic, bool)>,
    _overlay: overlay::State<P>,
}

impl<P: Peer> State<P> {
    /// Makes the state of a node that is in no topic. Its messages are signed by `key`.
    pub fn new(key: AgentKey, me: P, _rng: crate::support::Rng) -> Self {
        Self {
            agent: key.id(),
            topics: BTreeMap::new(),
            _overlay: overlay::State::new(overlay::Config::default(), me),
        }
    }

    /// Handles an input.
    pub fn handle(&mut self, context: &mut Context<'_, P>, input: Input<P>) {
        match input {
            Input::Subscribe { topic } => {
                self.topics.insert(topic.id(), (topic, true));
            }
            Input::Unsubscribe { topic } => {
                self.topics.remove(&topic.id());
            }
            Input::Publish { id, topic, payload } => {
                if self.topics.contains_key(&topic.id()) {
                    let message = MessageId { batch: ItemId([0; 16]), index: 0 };
                    let (author, published_at) = (self.agent, context.unix_time);
                    context.emit(Output::Received {
                        topic,
                        author,
                        payload,
                        published_at,
                        message,
                    });
                }
                context.emit(Output::Published { id });
            }
            Input::PeerUp { .. }
            | Input::PeerDown { .. }
            | Input::Writable { .. }
            | Input::Frame { .. }
            | Input::ConnectFailed { .. }
            | Input::SetBlocked { .. }
            | Input::Timeout
            | Input::ShutDown => {}
        }
    }

    /// Sends what was gathered over a batch of inputs.
    pub fn settle(&mut self, _context: &mut Context<'_, P>) {}

    /// Tells whether a message can be published.
    ///
    /// # Errors
    ///
    /// [`CheckError`] if it is too large, too much waits, or there are too many topics.
    pub fn check_publish(&self, _topic: &Topic, size: usize) -> Result<(), CheckError> {
        if size > PAYLOAD_MAX {
            return Err(CheckError::TooLarge { size, size_max: PAYLOAD_MAX });
        }
        Ok(())
    }

    /// Tells whether a topic can be subscribed to.
    ///
    /// # Errors
    ///
    /// [`CheckError::TooManyTopics`].
    pub fn check_subscribe(&self, topic: &Topic) -> Result<(), CheckError> {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic.id()) {
            return Err(CheckError::TooManyTopics);
        }
        Ok(())
    }

    /// Tells whether the messages of a topic are delivered.
    pub fn is_subscribed(&self, topic: &Topic) -> bool {
        self.topics.get(&topic.id()).is_some_and(|topic| topic.1)
    }

    /// Returns what proves to anybody that an author published a message, while the node has it.
    pub fn prove(&self, _topic: &Topic, _message: MessageId) -> Option<Bytes> {
        None
    }

    /// Returns the topics that the node is in.
    pub fn topics(&self) -> impl Iterator<Item = TopicInfo> {
        self.topics.values().map(|(topic, is_subscribed)| TopicInfo {
            topic: topic.clone(),
            is_subscribed: *is_subscribed,
            neighbours: 0,
            eager: 0,
            passive: 0,
            history_items: 0,
            history_bytes: 0,
        })
    }

    /// Returns when to handle [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}
