//! Keeps the node subscribed to the topics that are wanted, and to no others.
//!
//! Whatever changes what is wanted calls [`Keeper::settle`] afterwards. Turns of the same keeper
//! follow one another, and each looks at what is wanted when it begins: so the turn that comes last
//! sees every change, and the node ends as the changes together demand, in whatever order they
//! crossed.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};
use x0x_core::gossip::Topic;
use x0x_core::node::{CommandError, Subscribe, Unsubscribe};
use x0x_tokio::Handle;

use super::Topics;
use crate::node::NodeHandle;

/// Keeps the subscriptions of the daemon over those of the node.
#[derive(Debug)]
pub struct Keeper {
    node: NodeHandle,
    topics: Arc<Topics>,
    turn: Mutex<()>,
}

/// The subscriptions of a node that is replaced. No turn begins until this is dropped.
pub(crate) struct Subscriptions<'a> {
    topics: &'a Topics,
    _turn: MutexGuard<'a, ()>,
}

impl Keeper {
    /// Makes the keeper of a node. It has only one.
    pub fn new(node: NodeHandle, topics: Arc<Topics>) -> Self {
        Self { node, topics, turn: Mutex::default() }
    }

    /// Brings the node to what is wanted of a topic. A caller that gives up waiting stops nothing.
    ///
    /// # Errors
    ///
    /// What the node says if it does not subscribe. The topic is still wanted then.
    pub async fn settle(self: &Arc<Self>, topic: &Topic) -> Result<(), CommandError> {
        let (keeper, topic) = (self.clone(), topic.clone());
        let turn = tokio::spawn(async move { keeper.bring(topic).await });
        turn.await.unwrap_or(Err(CommandError::Halted))
    }

    async fn bring(&self, topic: Topic) -> Result<(), CommandError> {
        let _turn = self.turn.lock().await;
        let Some(is_wanted) = self.topics.wish(&topic) else { return Ok(()) };
        if is_wanted {
            self.node.request(Subscribe { topic: topic.clone() }).await?;
        } else {
            self.node.request(Unsubscribe { topic: topic.clone() }).await?;
        }
        self.topics.settled(&topic, is_wanted);
        Ok(())
    }

    /// Waits until no turn is under way, and begins none.
    pub(crate) async fn pause(&self) -> Subscriptions<'_> {
        Subscriptions { topics: &self.topics, _turn: self.turn.lock().await }
    }
}

impl Subscriptions<'_> {
    /// Subscribes another node to the topics of the one before it.
    pub(crate) async fn restore(&self, node: &Handle) {
        for topic in self.topics.subscribed() {
            // There is as much room as the old node had.
            if let Err(error) = node.request(Subscribe { topic: topic.clone() }).await {
                tracing::error!(topic = topic.as_str(), %error, "a topic is no longer subscribed");
                self.topics.settled(&topic, false);
            }
        }
    }
}
