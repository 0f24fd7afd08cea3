//! Who on this machine wants which topics, and the hand-over of messages to them.
//!
//! A topic is wanted by *subscriptions*, made by `POST /subscribe`, whose messages go to all
//! listeners at `/events`, and by WebSocket *sessions*, whose messages go to the session alone. The
//! node is subscribed to a topic once, while anybody wants it: a [`Keeper`] sees to that. What is
//! here is bookkeeping that awaits nothing.
//!
//! # Invariants
//!
//! 1. A session is in a topic once, however often it subscribes; each subscription yields an event
//!    of its own.
//! 2. What a session gave up is in none of its queues any more.
//! 3. Nothing goes in silence: a listener whose queue was full, or that the node or this daemon was
//!    too slow for, is told how many messages it missed.
//!
//! # Limits
//!
//! [`SUBSCRIPTIONS_MAX`], [`SESSION_TOPICS_MAX`], and [`QUEUE_LIMITS`] for each listener. The node
//! bounds how many topics there are.

mod frames;
mod keeper;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use uuid::Uuid;
use x0x_core::gossip::Topic;
use x0x_core::identity::AgentId;

pub(crate) use frames::{missed_event, missed_frame};
pub use keeper::Keeper;

use crate::queue::{Limits, Queue, lock};
use frames::{Shapes, Told};

/// How many subscriptions there are at a time.
pub const SUBSCRIPTIONS_MAX: usize = 4096;

/// How many topics a WebSocket session is in.
pub const SESSION_TOPICS_MAX: usize = 1024;

/// What waits for one listener at `/events`, or for one WebSocket session: enough for a burst whose
/// reader keeps up, at any rate that the node reaches.
pub const QUEUE_LIMITS: Limits = Limits { items: 16_384, bytes: 32 << 20 };

/// What waits for a WebSocket session: frames with their topics.
pub(crate) type SessionQueue = Queue<(Topic, Utf8Bytes)>;

/// Why a topic cannot be wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WantError {
    /// There are too many subscriptions.
    #[error("there are {SUBSCRIPTIONS_MAX} subscriptions, no more are possible: delete some first")]
    TooManySubscriptions,
    /// The session is in too many topics.
    #[error("a session is in {SESSION_TOPICS_MAX} topics at most: unsubscribe from some first")]
    TooManySessionTopics,
}

/// What happened to messages since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that somebody here asked to publish.
    pub publishes: u64,
    /// Those that the node refused.
    pub publishes_failed: u64,
    /// Messages that the node handed over.
    pub received: u64,
    /// Those that went to everybody who wants their topic.
    pub delivered: u64,
    /// Those that nobody wanted any more when they came.
    pub unwanted: u64,
    /// Messages that a slow listener missed, for each such listener.
    pub evicted: u64,
    /// Messages that the node missed.
    pub missed: u64,
    /// Events of the node that were lost because the daemon was too slow.
    pub lost: u64,
    /// Authors that signed two things that exclude each other.
    pub equivocations: u64,
}

#[derive(Debug)]
struct Interest {
    shapes: Shapes,
    subscriptions: BTreeSet<Arc<str>>,
    sessions: BTreeMap<Uuid, Arc<SessionQueue>>,
    /// Whether the node is subscribed, as far as a [`Keeper`] knows.
    is_subscribed: bool,
}

#[derive(Debug)]
struct Session {
    queue: Arc<SessionQueue>,
    topics: BTreeSet<Topic>,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<Topic, Interest>,
    subscriptions: BTreeMap<Arc<str>, Topic>,
    sessions: BTreeMap<Uuid, Session>,
    listeners: Vec<Arc<Queue<Bytes>>>,
    stats: Stats,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Topics {
    state: Mutex<State>,
}

/// A client at `/events`. It listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    topics: Arc<Topics>,
    /// Events as they are sent.
    pub(crate) queue: Arc<Queue<Bytes>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        lock(&self.topics.state).listeners.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

impl Topics {
    /// Listens to the messages of all subscriptions.
    pub(crate) fn listen(self: &Arc<Self>) -> Listener {
        let queue = Arc::new(Queue::new(QUEUE_LIMITS));
        lock(&self.state).listeners.push(queue.clone());
        Listener { topics: self.clone(), queue }
    }

    /// Adds a subscription under a new name.
    pub(crate) fn add_subscription(&self, id: &str, topic: &Topic) -> Result<(), WantError> {
        let mut state = lock(&self.state);
        if state.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(WantError::TooManySubscriptions);
        }
        let id: Arc<str> = id.into();
        state.interest(topic).subscriptions.insert(id.clone());
        state.subscriptions.insert(id, topic.clone());
        Ok(())
    }

    /// Ends a subscription; nothing is delivered for it from here on. Returns its topic.
    pub(crate) fn remove_subscription(&self, id: &str) -> Option<Topic> {
        let mut state = lock(&self.state);
        let topic = state.subscriptions.remove(id)?;
        if let Some(interest) = state.topics.get_mut(&topic) {
            interest.subscriptions.remove(id);
        }
        state.tidy(&topic);
        Some(topic)
    }

    /// Opens a session, which is in no topic.
    pub(crate) fn open_session(&self, id: Uuid) -> Arc<SessionQueue> {
        let queue = Arc::new(Queue::new(QUEUE_LIMITS));
        let session = Session { queue: queue.clone(), topics: BTreeSet::new() };
        lock(&self.state).sessions.insert(id, session);
        queue
    }

    /// Puts a session into topics, all or none. Returns those that it was not in.
    pub(crate) fn add_session(&self, id: Uuid, wanted: &[Topic]) -> Result<Vec<Topic>, WantError> {
        let mut state = lock(&self.state);
        let Some(session) = state.sessions.get_mut(&id) else { return Ok(Vec::new()) };
        let is_new = |topic: &&Topic| !session.topics.contains(topic);
        let new: BTreeSet<Topic> = wanted.iter().filter(is_new).cloned().collect();
        if session.topics.len() + new.len() > SESSION_TOPICS_MAX {
            return Err(WantError::TooManySessionTopics);
        }
        session.topics.extend(new.iter().cloned());
        let queue = session.queue.clone();
        for topic in &new {
            state.interest(topic).sessions.insert(id, queue.clone());
        }
        Ok(new.into_iter().collect())
    }

    /// Takes a session out of topics; it gets nothing of them from here on. Returns those that it was
    /// in.
    pub(crate) fn remove_session(&self, id: Uuid, topics: &[Topic]) -> Vec<Topic> {
        let mut state = lock(&self.state);
        let Some(session) = state.sessions.get_mut(&id) else { return Vec::new() };
        let left: BTreeSet<Topic> =
            topics.iter().filter_map(|topic| session.topics.take(topic)).collect();
        session.queue.retain(|(topic, _)| !left.contains(topic));
        for topic in &left {
            state.leave(id, topic);
        }
        left.into_iter().collect()
    }

    /// Ends a session. Returns the topics that it was in.
    pub(crate) fn close_session(&self, id: Uuid) -> Vec<Topic> {
        let mut state = lock(&self.state);
        let Some(session) = state.sessions.remove(&id) else { return Vec::new() };
        for topic in &session.topics {
            state.leave(id, topic);
        }
        session.topics.into_iter().collect()
    }

    /// The topics of each session.
    pub(crate) fn sessions(&self) -> BTreeMap<Uuid, Vec<Topic>> {
        let state = lock(&self.state);
        let topics = |session: &Session| session.topics.iter().cloned().collect();
        state.sessions.iter().map(|(id, session)| (*id, topics(session))).collect()
    }

    /// How many sessions share the node's subscription to each topic.
    pub(crate) fn shared(&self) -> BTreeMap<Topic, usize> {
        let state = lock(&self.state);
        let shared = state.topics.iter().filter(|(_, interest)| !interest.sessions.is_empty());
        shared.map(|(topic, interest)| (topic.clone(), interest.sessions.len())).collect()
    }

    /// Hands a message to everybody who wants its topic.
    pub(crate) fn deliver(&self, topic: &Topic, author: &AgentId, payload: &[u8]) {
        let mut state = lock(&self.state);
        state.stats.received += 1;
        // Whoever is not to be heard is dropped by the node, and here until the node knows.
        let trust = crate::hub::trust_of(author);
        let is_wanted = state.topics.get(topic).is_some_and(Interest::is_wanted);
        if let (Some(trust), true) = (trust, is_wanted) {
            state.stats.delivered += 1;
            state.tell(topic, author, Told::Message { payload, trust });
        } else {
            state.stats.unwanted += 1;
        }
    }

    /// Tells everybody who wants a topic that the node missed messages of it.
    pub(crate) fn lagged(&self, topic: &Topic, author: &AgentId, missed: u64) {
        let mut state = lock(&self.state);
        state.stats.missed += missed;
        state.tell(topic, author, Told::Lagged(missed));
    }

    /// Tells everybody who wants any topic that the daemon missed events of the node.
    pub(crate) fn lost(&self, events: u64) {
        let mut state = lock(&self.state);
        state.stats.lost += events;
        state.listeners.iter().for_each(|listener| listener.miss(events));
        let sessions = state.sessions.values().filter(|session| !session.topics.is_empty());
        sessions.for_each(|session| session.queue.miss(events));
    }

    /// Counts an author that contradicted itself.
    pub(crate) fn equivocated(&self) {
        lock(&self.state).stats.equivocations += 1;
    }

    /// Counts a message that was to be published.
    pub(crate) fn published(&self, is_taken: bool) {
        let mut state = lock(&self.state);
        state.stats.publishes += 1;
        state.stats.publishes_failed += u64::from(!is_taken);
    }

    /// Ends the streams of all listeners, once they have taken what waits for them.
    pub(crate) fn close(&self) {
        lock(&self.state).listeners.iter().for_each(|listener| listener.close());
    }

    /// What happened to messages.
    pub(crate) fn stats(&self) -> Stats {
        lock(&self.state).stats
    }

    /// How many subscriptions, and how many clients at `/events`, there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.subscriptions.len(), state.listeners.len())
    }

    /// The topics that the node is subscribed to.
    fn subscribed(&self) -> Vec<Topic> {
        let state = lock(&self.state);
        let subscribed = state.topics.iter().filter(|(_, interest)| interest.is_subscribed);
        subscribed.map(|(topic, _)| topic.clone()).collect()
    }

    /// Whether the node is to subscribe to a topic, or to unsubscribe; `None` if it is as wanted.
    fn wish(&self, topic: &Topic) -> Option<bool> {
        let state = lock(&self.state);
        let interest = state.topics.get(topic)?;
        let is_wanted = interest.is_wanted();
        (is_wanted != interest.is_subscribed).then_some(is_wanted)
    }

    /// Notes what the node did.
    fn settled(&self, topic: &Topic, is_subscribed: bool) {
        let mut state = lock(&self.state);
        if is_subscribed {
            state.interest(topic).is_subscribed = true;
        } else if let Some(interest) = state.topics.get_mut(topic) {
            interest.is_subscribed = false;
        }
        state.tidy(topic);
    }
}

impl Interest {
    fn is_wanted(&self) -> bool {
        !self.subscriptions.is_empty() || !self.sessions.is_empty()
    }
}

impl State {
    fn interest(&mut self, topic: &Topic) -> &mut Interest {
        match self.topics.entry(topic.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Interest {
                shapes: Shapes::new(topic),
                subscriptions: BTreeSet::new(),
                sessions: BTreeMap::new(),
                is_subscribed: false,
            }),
        }
    }

    fn leave(&mut self, session: Uuid, topic: &Topic) {
        if let Some(interest) = self.topics.get_mut(topic) {
            interest.sessions.remove(&session);
        }
        self.tidy(topic);
    }

    /// Forgets a topic that nobody wants and that the node is not subscribed to.
    fn tidy(&mut self, topic: &Topic) {
        let is_idle = |interest: &Interest| !interest.is_wanted() && !interest.is_subscribed;
        if self.topics.get(topic).is_some_and(is_idle) {
            self.topics.remove(topic);
        }
    }

    /// Hands the same frame to all sessions in a topic, and the event of each subscription to all
    /// listeners.
    fn tell(&mut self, topic: &Topic, author: &AgentId, told: Told<'_>) {
        let Some((topic, interest)) = self.topics.get_key_value(topic) else { return };
        if !interest.sessions.is_empty() {
            let frame = interest.shapes.session(author, told);
            for queue in interest.sessions.values() {
                let evicted = queue.push((topic.clone(), frame.clone()), frame.len());
                self.stats.evicted += evicted;
            }
        }
        if !interest.subscriptions.is_empty() && !self.listeners.is_empty() {
            let subscriptions = interest.subscriptions.iter().map(AsRef::as_ref);
            for event in interest.shapes.events(subscriptions, author, told) {
                for queue in &self.listeners {
                    self.stats.evicted += queue.push(event.clone(), event.len());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
