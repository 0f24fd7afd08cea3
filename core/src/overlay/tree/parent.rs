//! The parent of this node in the tree, and the links that follow from it.
//!
//! - A node chooses its parent some time after the first beacon of a sequence, so that closer neighbors
//!   with slower links are heard. Of the closest neighbors the first to send its beacon has the shortest
//!   path.
//! - A node that loses its parent takes a neighbor that was closer to the root, or as close with a lower
//!   id. Such a neighbor cannot be a descendant. If there is none, or no root is known, the node pushes
//!   to all neighbors and they prune duplicates, as in Plumtree.

use std::time::{Duration, Instant};

use super::beacon::Root;
use crate::overlay::Peer;
use crate::overlay::context::{Timer, TopicContext};
use crate::overlay::frames::Message;
use crate::overlay::topic::Roster;

/// How long after the parent was chosen a node prunes other links. By then all nodes have chosen theirs,
/// so that none is without items in between.
const PRUNE_TIME: Duration = Duration::from_millis(500);

/// After how many consecutive items that another neighbor had first the parent is replaced.
const PARENT_MISSES_MAX: u32 = 3;

/// How much later than the first the beacon of the parent may arrive without a change of parent.
const PARENT_DELAY_MAX: Duration = Duration::from_millis(5);

/// The parent of this node, if it has one. Methods take the root by the last beacon of this node.
#[derive(Debug)]
pub(super) struct Parent<P> {
    peer: Option<P>,
    /// How many consecutive items another neighbor had before the parent.
    misses: u32,
}

impl<P: Peer> Parent<P> {
    /// Begins without a parent.
    pub(super) fn new() -> Self {
        Self { peer: None, misses: 0 }
    }

    pub(super) fn peer(&self) -> Option<P> {
        self.peer
    }

    /// Changes the parent, and asks the new one for items. Links that the tree does not need any more
    /// are pruned later.
    pub(super) fn set(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        parent: Option<P>,
    ) {
        if self.peer != parent {
            self.misses = 0;
            let before = std::mem::replace(&mut self.peer, parent);
            if let Some(before) = before.and_then(|before| roster.get_mut(&before)) {
                before.link.was_parent = true;
            }
            if let Some(parent) = parent {
                if let Some(neighbor) = roster.get_mut(&parent) {
                    neighbor.link.graft(false);
                }
                cx.send(parent, Message::Graft { is_child: true, item: None });
            }
        }
        cx.timers.set(Timer::Prune, cx.now() + PRUNE_TIME);
    }

    /// Chooses the parent: of the neighbors that are closest to the root, the one whose beacon came
    /// first. The present parent stays if it is among them and was almost as fast.
    pub(super) fn choose(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        root: Option<Root<P>>,
    ) {
        let above = above(&cx.me, roster, root);
        let Some(&(hops, heard_at, first)) = above.first() else { return };
        let stays = above.iter().any(|&(as_far, at, peer)| {
            self.peer == Some(peer) && as_far == hops && at <= heard_at + PARENT_DELAY_MAX
        });
        let parent = if stays { self.peer } else { Some(first) };
        self.set(cx, roster, parent);
    }

    /// Takes another parent, or pushes to all neighbors if none qualifies. This node keeps announcing
    /// its old distance: only the order of the distances of one sequence rules out cycles.
    fn replace(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        root: Option<Root<P>>,
    ) {
        let mut above = above(&cx.me, roster, root).into_iter().map(|(.., peer)| peer);
        let next = above.find(|peer| Some(*peer) != self.peer);
        if next.is_some() {
            self.set(cx, roster, next);
        } else {
            graft_all(cx, roster);
        }
    }

    /// A neighbor was removed from the roster. Returns whether it was the parent; then another takes its
    /// place if one qualifies.
    pub(super) fn neighbor_down(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (peer, root): (&P, Option<Root<P>>),
    ) -> bool {
        let was_parent = self.peer == Some(*peer);
        if was_parent {
            self.peer = None;
            self.replace(cx, roster, root);
        }
        was_parent
    }

    /// A neighbor had an item that the parent did not push in time, so this node asked that neighbor.
    pub(super) fn note_fetch(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (peer, root): (&P, Option<Root<P>>),
    ) {
        if self.peer == Some(*peer) {
            return;
        }
        self.misses += 1;
        if self.misses >= PARENT_MISSES_MAX && self.peer.is_some() {
            self.misses = 0;
            self.replace(cx, roster, root);
        }
    }

    /// A neighbor sent a new item that this node had not asked for.
    pub(super) fn note_push(&mut self, peer: &P) {
        if self.peer == Some(*peer) {
            self.misses = 0;
        }
    }

    /// Stops pushing over links outside the tree. A neighbor that is farther from the root says itself
    /// whether it is a child, and gets items until then.
    pub(super) fn prune_others(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        root: &Root<P>,
    ) {
        for (&peer, neighbor) in roster.iter_mut() {
            let link = &mut neighbor.link;
            let was_parent = std::mem::take(&mut link.was_parent);
            let is_spare = link.is_eager && !link.is_child && link.is_above(root);
            if self.peer != Some(peer) && (was_parent || is_spare) {
                link.is_eager = link.is_child;
                cx.send(peer, Message::Prune);
            }
        }
    }
}

/// Returns the neighbors that cannot be descendants, best first: those whose last beacon is as new as
/// that of this node and that are closer to the root, or as close with a lower id.
fn above<P: Peer>(me: &P, roster: &Roster<P>, root: Option<Root<P>>) -> Vec<(u8, Instant, P)> {
    let Some(Root { beacon: mine, .. }) = root else { return Vec::new() };
    let known = roster.iter().filter_map(|(&peer, n)| Some((peer, n.link.root?)));
    let above = known.filter(|(peer, Root { beacon, .. })| {
        beacon.is_of_same_root(&mine)
            && beacon.sequence >= mine.sequence
            && (beacon.hops, peer) < (mine.hops, me)
    });
    let mut above: Vec<_> =
        above.map(|(peer, root)| (root.beacon.hops, root.heard_at, peer)).collect();
    above.sort_unstable();
    above
}

/// Without a parent, exchanges items with all neighbors until a beacon comes.
fn graft_all<P: Peer>(cx: &mut TopicContext<'_, '_, P>, roster: &mut Roster<P>) {
    for (&peer, neighbor) in roster.iter_mut() {
        if !neighbor.link.is_eager {
            neighbor.link.is_eager = true;
            cx.send(peer, Message::Graft { is_child: false, item: None });
        }
    }
}
