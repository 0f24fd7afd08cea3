//! What an application can ask of gossip.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{MessageId, Topic, TopicInfo};

crate::requests! {
    Subscribe => Subscribed,
    Unsubscribe => Unsubscribed,
    Publish => Published,
    ProveMessage => Option<Bytes>,
    ListTopics => Vec<TopicInfo>,
}

/// Asks for the messages of a topic, from here on. They come as
/// [`Event::Received`](super::Event::Received). A topic is subscribed to once, however
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
