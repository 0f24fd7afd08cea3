//! The topics that a peer says it is in.

use crate::overlay::TopicId;
use crate::overlay::frames::TOPICS_MAX;

/// The most topics of a peer that a node remembers without being in them itself.
pub const OTHER_TOPICS_MAX: usize = 64;

/// The result of an announcement that a peer is in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::overlay) enum Announcement {
    /// The topic was added.
    Added,
    /// The topic was added, and stands for one that the peer left before: this one or another.
    AddedAfterLeave,
    /// The topic was not added: this node is not in it and remembers enough such topics.
    Ignored,
    /// The topic was not added: it is known, or the peer exceeds [`TOPICS_MAX`].
    Useless,
}

/// The topics of one peer.
#[derive(Debug, Default)]
pub(in crate::overlay) struct PeerTopics {
    /// The remembered topics, in ascending order.
    remembered: Vec<TopicId>,
    /// How many topics the peer is in by its own account.
    announced: usize,
    /// How many of the remembered topics this node is not in.
    others: usize,
    /// How many topics the peer left and has not made up for by joining others.
    left: usize,
}

impl PeerTopics {
    /// Returns whether the peer is known to be in a topic.
    pub(in crate::overlay) fn contains(&self, topic: &TopicId) -> bool {
        self.remembered.binary_search(topic).is_ok()
    }

    /// Returns the topics that the peer is known to be in.
    pub(in crate::overlay) fn iter(&self) -> impl Iterator<Item = &TopicId> {
        self.remembered.iter()
    }

    /// Returns how many of them this node is not in.
    pub(in crate::overlay) fn others(&self) -> usize {
        self.others
    }

    /// Adds a topic. `is_own` states whether this node is in it, `has_room` whether it may remember
    /// another topic that it is not in.
    pub(in crate::overlay) fn join(
        &mut self,
        topic: TopicId,
        is_own: bool,
        has_room: bool,
    ) -> Announcement {
        let Err(index) = self.remembered.binary_search(&topic) else {
            return Announcement::Useless;
        };
        if self.announced >= TOPICS_MAX {
            return Announcement::Useless;
        }
        self.announced += 1;
        if !is_own {
            if self.others >= OTHER_TOPICS_MAX || !has_room {
                return Announcement::Ignored;
            }
            self.others += 1;
        }
        self.remembered.insert(index, topic);
        let is_after_leave = self.left > 0;
        self.left = self.left.saturating_sub(1);
        if is_after_leave { Announcement::AddedAfterLeave } else { Announcement::Added }
    }

    /// Removes a topic. Returns whether it was remembered.
    pub(in crate::overlay) fn leave(&mut self, topic: &TopicId, is_own: bool) -> bool {
        self.announced = self.announced.saturating_sub(1);
        let Ok(index) = self.remembered.binary_search(topic) else { return false };
        self.remembered.remove(index);
        self.left += 1;
        if !is_own {
            self.others -= 1;
        }
        true
    }

    /// This node joined or left one of the remembered topics.
    pub(in crate::overlay) fn set_own(&mut self, is_own: bool) {
        self.others = if is_own { self.others - 1 } else { self.others + 1 };
    }
}
