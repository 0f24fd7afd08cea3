//! Announcements to one neighbor: the lazy push of Plumtree.
//!
//! Of the two ends of a link outside the tree only one announces an item, which the item's id decides
//! ([`announces`]). The other end *defers* to it, and announces the item itself if it saw no sign of the
//! item on this link for [`DEFER_TIME`].
//!
//! # Limits
//!
//! The queue is sent when it has [`IDS_MAX`](crate::overlay::frames::IDS_MAX) items. At most
//! [`DEFERRED_MAX`] items are deferred; others are queued at once.

use std::time::{Duration, Instant};

use crate::overlay::{ItemId, Peer};

/// How long a node waits for the other end of a link to announce an item.
pub(super) const DEFER_TIME: Duration = Duration::from_millis(300);

/// The most items on a link that a node waits for the other end to announce.
pub(in crate::overlay) const DEFERRED_MAX: usize = 1024;

/// The items to announce to one neighbor.
#[derive(Debug, Default)]
pub(in crate::overlay) struct LazyPush {
    queue: Vec<ItemId>,
    /// Items that the neighbor should announce, by id, and until when this node waits.
    deferred: Vec<(ItemId, Instant)>,
}

impl LazyPush {
    /// Returns how many announcements are queued.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns how many items are deferred.
    #[cfg(test)]
    pub(in crate::overlay) fn deferred_len(&self) -> usize {
        self.deferred.len()
    }

    /// Queues an announcement.
    pub(super) fn push(&mut self, id: ItemId) {
        self.queue.push(id);
    }

    /// Takes the queued announcements.
    pub(super) fn take(&mut self) -> Vec<ItemId> {
        std::mem::take(&mut self.queue)
    }

    /// Waits for the neighbor to announce an item. Returns false if there is no room for that.
    pub(super) fn defer(&mut self, id: ItemId, until: Instant) -> bool {
        let Err(index) = self.find(&id) else { return true };
        let has_room = self.deferred.len() < DEFERRED_MAX;
        if has_room {
            self.deferred.insert(index, (id, until));
        }
        has_room
    }

    /// The neighbor announced or sent an item.
    pub(super) fn note_known(&mut self, id: &ItemId) {
        if let Ok(index) = self.find(id) {
            self.deferred.remove(index);
        }
    }

    /// Queues the deferred items whose time is over. Returns when the next one is due.
    pub(super) fn queue_due(&mut self, now: Instant) -> Option<Instant> {
        let (queue, mut next) = (&mut self.queue, None::<Instant>);
        self.deferred.retain(|&(id, until)| {
            if until <= now {
                queue.push(id);
            } else {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
            until > now
        });
        next
    }

    fn find(&self, id: &ItemId) -> Result<usize, usize> {
        self.deferred.binary_search_by_key(id, |&(other, _)| other)
    }
}

/// Returns whether this node, not the peer, announces an item on their link.
pub(super) fn announces<P: Peer>(me: &P, peer: &P, id: &ItemId) -> bool {
    (me < peer) == (id.0[0] & 1 == 0)
}
