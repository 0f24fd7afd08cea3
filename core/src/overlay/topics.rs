//! The topics that the node is in, when each has something to do, and the memory that they take.
//!
//! # Limits
//!
//! All histories together have a budget, and so have the ids that they remember. When they exceed it,
//! the topic with the most gives way ([`Topics::shrink_histories`], [`Topics::shrink_index`]).

use std::collections::BTreeMap;
use std::time::Instant;

use super::context::{Timer, TopicContext};
use super::missing::MissingItems;
use super::sessions::Sessions;
use super::topic::Topic;
use super::{Config, Context, Peer, TopicId};
use crate::support::{Deadline, Timers};

/// A topic may evict this fraction more of its ids than it has to, so that not every new id costs a
/// search over all topics.
const INDEX_SLACK: usize = 16;

/// A topic with its timers.
#[derive(Debug)]
struct Slot<P> {
    topic: Topic<P>,
    timers: Timers<Timer<P>>,
}

/// The topics of a node.
#[derive(Debug)]
pub(super) struct Topics<P> {
    me: P,
    config: Config,
    /// Boxed, because a node of the B-tree reserves memory for eleven.
    slots: BTreeMap<TopicId, Box<Slot<P>>>,
    /// When the first timer of each topic fires.
    due: Timers<TopicId>,
    /// The memory that all histories take, and that the ids take which they remember.
    history_bytes: usize,
    index_bytes: usize,
}

/// What a topic acts on.
pub(super) type Environment<'a, 'c, P> =
    (&'a mut Context<'c, P>, &'a mut Sessions<P>, &'a mut MissingItems<P>);

impl<P: Peer> Topics<P> {
    pub(super) fn new(me: P, config: Config) -> Self {
        Self {
            me,
            config,
            slots: BTreeMap::new(),
            due: Timers::default(),
            history_bytes: 0,
            index_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn contains(&self, id: &TopicId) -> bool {
        self.slots.contains_key(id)
    }

    pub(super) fn get(&self, id: &TopicId) -> Option<&Topic<P>> {
        self.slots.get(id).map(|slot| &slot.topic)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TopicId> {
        self.slots.keys().copied()
    }

    /// Adds a topic.
    pub(super) fn insert(
        &mut self,
        id: TopicId,
        (context, sessions, missing): Environment<'_, '_, P>,
    ) {
        let (mut timers, me) = (Timers::default(), self.me);
        let timers_of = &mut timers;
        let mut cx = TopicContext { context, sessions, missing, timers: timers_of, topic: id, me };
        let topic = Topic::new(&mut cx, self.config);
        self.slots.insert(id, Box::new(Slot { topic, timers }));
    }

    /// Removes a topic.
    pub(super) fn remove(&mut self, id: &TopicId) -> Option<Topic<P>> {
        let slot = self.slots.remove(id)?;
        self.history_bytes -= slot.topic.history().bytes();
        self.index_bytes -= slot.topic.history().index_bytes();
        self.due.cancel(id);
        Some(slot.topic)
    }

    /// Lets a topic act. Returns the peers whose session it stopped using, or `None` if the node is not
    /// in the topic.
    pub(super) fn run(
        &mut self,
        id: TopicId,
        (context, sessions, missing): Environment<'_, '_, P>,
        act: impl FnOnce(&mut Topic<P>, &mut TopicContext<'_, '_, P>),
    ) -> Option<Vec<P>> {
        let slot = &mut **self.slots.get_mut(&id)?;
        let before = memory_of(&slot.topic);
        let (timers, me) = (&mut slot.timers, self.me);
        act(
            &mut slot.topic,
            &mut TopicContext { context, sessions, missing, timers, topic: id, me },
        );
        let (after, unused) = (memory_of(&slot.topic), slot.topic.take_unused_sessions());
        match slot.timers.first() {
            Some((at, _)) => self.due.set(id, at),
            None => self.due.cancel(&id),
        }
        self.count_memory(before, after);
        Some(unused)
    }

    /// Takes a topic that has something to do.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<TopicId> {
        self.due.pop_due(now)
    }

    /// Returns when the first timer fires.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.due.first().and_then(|(_, id)| self.slots.get(id)?.timers.deadline())
    }

    pub(super) fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    pub(super) fn index_bytes(&self) -> usize {
        self.index_bytes
    }

    /// Evicts items from the longest histories until all together take no more than `bytes`. `now` is
    /// the wall time in milliseconds.
    pub(super) fn shrink_histories(&mut self, bytes: usize, now: u64) {
        while self.history_bytes > bytes {
            let topics = self.slots.values_mut().map(|slot| &mut slot.topic);
            let longest = topics.max_by_key(|topic| topic.history().bytes());
            let Some(topic) = longest else { return };
            let before = memory_of(topic);
            topic.history_mut().shrink(now);
            let after = memory_of(topic);
            self.count_memory(before, after);
        }
    }

    /// Forgets ids in the topics with the most until all together take no more than `bytes`.
    pub(super) fn shrink_index(&mut self, bytes: usize) {
        while self.index_bytes > bytes {
            let topics = self.slots.values_mut().map(|slot| &mut slot.topic);
            let longest = topics.max_by_key(|topic| topic.history().index_bytes());
            let Some(topic) = longest else { return };
            let before = memory_of(topic);
            let excess = self.index_bytes - bytes;
            topic.history_mut().shrink_index(excess.max(before.1 / INDEX_SLACK));
            let after = memory_of(topic);
            self.count_memory(before, after);
            if after.1 == before.1 {
                return;
            }
        }
    }

    fn count_memory(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.history_bytes = self.history_bytes - before.0 + after.0;
        self.index_bytes = self.index_bytes - before.1 + after.1;
    }
}

/// Returns the memory that the history of a topic takes, and that the ids take which it remembers.
fn memory_of<P: Peer>(topic: &Topic<P>) -> (usize, usize) {
    (topic.history().bytes(), topic.history().index_bytes())
}
