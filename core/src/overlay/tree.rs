//! The tree of a topic: the few links over which items are pushed.
//!
//! Plumtree (Leitão, Pereira, Rodrigues, SRDS 2007) lets the first item flood and keeps the links
//! on which it came first. Such a tree suits the first author; for the others it is twice as deep
//! as it has to be, and it deepens with each repair. Here one node of the topic is the *root*. It
//! sends *beacons* that flood the topic and count links; each node takes as its *parent* a
//! neighbour that is nearest to the root. Items go from wherever they are published along the
//! links between parents and children, so the last hop is at most twice the depth of the topic.
//! Being the root is no privilege: whoever claims it falsely gains the place of a hub, which
//! neighbours check as they check every other (see [`broadcast`](super::broadcast)).
//!
//! - Beacons are numbered. The tree follows a beacon [`SETTLE_TIME`] after it came, so that a
//!   nearer neighbour whose beacon took longer is seen. Of those that are as near, the one whose
//!   beacon came first is at the end of the shortest way.
//! - A root with a higher generation wins, then one with a lower id. Generations grow by one when a
//!   root is given up for lost. Of two that are farther apart than honest roots ever are, the lower
//!   generation wins: nobody takes a topic by naming a number that others cannot exceed.
//! - A root lives as long as its beacons go on. Their sequence is a time, so that no beacon is taken that
//!   is older than the lease of a root, or of a time that is not yet.
//! - Whatever the beacons of others say, a node passes them on at a limited rate. What is held back is
//!   not lost: the newest goes out when there is a token.
//! - A node whose parent is gone takes a neighbour that was nearer to the root, or as near and of a
//!   lower id, which is surely not below it. If there is none, or no root is known, it pushes to all
//!   neighbours, and duplicates are pruned, as in Plumtree.

mod beacon;

use std::time::{Duration, Instant};

pub(super) use beacon::{Beacon, Root};
use beacon::{ROOT_TIME, ROOT_TIME_SPREAD};

use super::Peer;
use super::frames::Message;
use super::topic::{Air, Neighbour, Timer, Topic};
use crate::support::TokenBucket;

/// The pauses between the beacons of a root: short at first.
pub(super) const BEACON_PAUSE_MIN: Duration = Duration::from_secs(1);
const BEACON_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long after the first beacon of a sequence the parent is chosen.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// How long after the parent was chosen other links are pruned: when all have chosen theirs, so
/// that nobody is without items in between.
const PRUNE_TIME: Duration = Duration::from_millis(500);

/// How long a node that is new in a topic waits for a beacon.
const ROOT_WAIT_MIN: Duration = Duration::from_millis(500);
const ROOT_WAIT_MAX: Duration = Duration::from_secs(3);

/// How many beacons a node passes on in a topic, at once and after that.
const PASSED_BURST: u32 = 16;
const PASSED_INTERVAL: Duration = Duration::from_millis(250);

/// How many beacons of a neighbour are looked at, at once and after that: more than an honest one
/// passes on, and answers worse ones with.
const TOLD_BURST: u32 = 64;
const TOLD_INTERVAL: Duration = Duration::from_millis(200);

/// How often a node takes up the rule that others say it has.
const REIGNS_BURST: u32 = 2;
const REIGN_INTERVAL: Duration = Duration::from_secs(5);

/// Farther from the root nobody is.
const HOPS_MAX: u8 = 64;

/// After how many items in a row that another neighbour had first the parent is given up.
const PARENT_MISSES_MAX: u32 = 3;

/// How much later than the first the beacon of the parent may come for it to stay the parent.
const PARENT_DELAY_MAX: Duration = Duration::from_millis(5);

impl<P: Peer> Neighbour<P> {
    /// Whether it said that it is as near to the root as a node that says this of it, or nearer.
    fn is_above(&self, mine: &Root<P>) -> bool {
        self.root.is_some_and(|Root { beacon: told, .. }| {
            told.is_of_same_root(&mine.beacon) && told.hops <= mine.beacon.hops
        })
    }
}

/// How many beacons a node passes on in a topic.
pub(super) fn passed_beacons(now: Instant) -> TokenBucket {
    TokenBucket::new(PASSED_BURST, PASSED_INTERVAL, now)
}

/// How many beacons of a neighbour are looked at.
pub(super) fn told_beacons(now: Instant) -> TokenBucket {
    TokenBucket::new(TOLD_BURST, TOLD_INTERVAL, now)
}

/// How often a node takes up the rule that others say it has.
pub(super) fn reigns(now: Instant) -> TokenBucket {
    TokenBucket::new(REIGNS_BURST, REIGN_INTERVAL, now)
}

impl<P: Peer> Topic<P> {
    pub(super) fn start_tree(&mut self, air: &mut Air<'_, '_, P>) {
        let wait = air.between(ROOT_WAIT_MIN, ROOT_WAIT_MAX);
        self.timers.set(Timer::Rootless, air.now() + wait);
    }

    /// Whether this node is the root.
    pub(super) fn is_root(&self) -> bool {
        self.root.is_some_and(|root| root.beacon.root == self.me)
    }

    /// Whether items travel over the link to a neighbour.
    pub(super) fn is_in_tree(&self, peer: &P) -> bool {
        self.parent == Some(*peer) || self.active.get(peer).is_some_and(|n| n.is_child)
    }

    /// How far this node is from the root, if there is one.
    pub(super) fn depth(&self) -> Option<u8> {
        self.root.map(|root| root.beacon.hops)
    }

    /// Tells a new neighbour of the root.
    pub(super) fn greet(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        if let Some(root) = self.root {
            air.tell(peer, self.id, Message::Beacon(root.beacon));
        } else if !self.timers.contains(&Timer::Rootless) {
            self.start_tree(air);
        }
    }

    /// Nobody else is the root: this node is.
    pub(super) fn become_root(&mut self, air: &mut Air<'_, '_, P>) {
        // Alone there is nothing to be the root of.
        if !self.is_root() && !self.active.is_empty() {
            self.lost_root = self.root.map(|root| root.beacon);
            let generation = self.root.map_or(0, |root| root.beacon.generation.saturating_add(1));
            self.reign(air, generation);
        }
    }

    fn reign(&mut self, air: &mut Air<'_, '_, P>, generation: u64) {
        let beacon = Beacon { root: self.me, generation, sequence: air.unix_millis(), hops: 0 };
        self.root = Some(Root { beacon, heard_at: air.now() });
        self.beacon_pause = BEACON_PAUSE_MIN;
        self.set_parent(air, None);
        self.refill(air);
        self.send_beacons(air);
    }

    /// As the root, says so.
    pub(super) fn send_beacons(&mut self, air: &mut Air<'_, '_, P>) {
        let now = air.now();
        let time = air.unix_millis();
        let me = self.me;
        let Some(root) = self.root.as_mut().filter(|root| root.beacon.root == me) else { return };
        root.beacon.sequence = root.beacon.sequence.saturating_add(1).max(time);
        root.heard_at = now;
        self.pass_beacon(air, None);
        self.timers.set(Timer::Beacon, now + self.beacon_pause);
        self.beacon_pause = (self.beacon_pause * 2).min(BEACON_PAUSE_MAX);
    }

    /// Passes on what is known of the root, at once or when there is a token.
    pub(super) fn pass_beacon(&mut self, air: &mut Air<'_, '_, P>, except: Option<P>) {
        let now = air.now();
        let Some(Root { beacon, .. }) = self.root else { return };
        if !self.passed_beacons.take(now) {
            return self.timers.set(Timer::Pass, self.passed_beacons.ready_at(now));
        }
        self.timers.cancel(&Timer::Pass);
        for &peer in self.active.keys().filter(|&&peer| Some(peer) != except) {
            air.tell(peer, self.id, Message::Beacon(beacon));
        }
    }

    /// A neighbour says who the root is.
    pub(super) fn beacon(&mut self, air: &mut Air<'_, '_, P>, peer: P, told: Beacon<P>) {
        let now = air.now();
        let Some(neighbour) = self.active.get_mut(&peer) else { return };
        if !neighbour.beacons.take(now) || !told.is_of_time(air.unix_millis()) {
            return air.penalize(peer);
        }
        let before = neighbour.root.replace(Root { beacon: told, heard_at: now });
        if told.root == self.me {
            return self.told_of_myself(air, told);
        }
        let hops = told.hops.saturating_add(1);
        if hops > HOPS_MAX || self.is_lost(&told) {
            return;
        }
        let Some(root) = self.root else { return self.follow(air, peer, told) };
        if root.beacon.outranks(&told) {
            // It learns of the better root, once for each beacon that it sends.
            if before.is_none_or(|before| before.beacon.sequence != told.sequence) {
                air.tell(peer, self.id, Message::Beacon(root.beacon));
            }
        } else if told.outranks(&root.beacon) || told.sequence > root.beacon.sequence {
            self.follow(air, peer, told);
        } else if told.sequence == root.beacon.sequence && hops < root.beacon.hops {
            if let Some(root) = self.root.as_mut() {
                root.beacon.hops = hops;
            }
            self.pass_beacon(air, Some(peer));
            if !self.timers.contains(&Timer::Settle) {
                self.timers.set(Timer::Settle, now + SETTLE_TIME);
            }
        }
    }

    /// Whether a beacon is of the root that was lost last, and no sign that it lives.
    fn is_lost(&self, told: &Beacon<P>) -> bool {
        self.lost_root
            .is_some_and(|lost| lost.is_of_same_root(told) && told.sequence <= lost.sequence)
    }

    /// A beacon in this node's name that it did not send in this run, or an echo.
    fn told_of_myself(&mut self, air: &mut Air<'_, '_, P>, told: Beacon<P>) {
        let is_known = self.root.is_some_and(|root| {
            root.beacon.outranks(&told)
                || (root.beacon.is_of_same_root(&told) && root.beacon.sequence >= told.sequence)
        });
        if !is_known && self.reigns.take(air.now()) {
            // Of an earlier run: it goes on under a new generation.
            self.reign(air, told.generation.saturating_add(1));
        }
    }

    /// Takes a root or its newest beacon, and passes it on.
    fn follow(&mut self, air: &mut Air<'_, '_, P>, peer: P, told: Beacon<P>) {
        let now = air.now();
        if self.is_root() {
            self.timers.cancel(&Timer::Beacon);
        }
        let beacon = Beacon { hops: told.hops.saturating_add(1), ..told };
        self.root = Some(Root { beacon, heard_at: now });
        self.pass_beacon(air, Some(peer));
        if self.parent.is_none() {
            self.set_parent(air, Some(peer));
        }
        if !self.timers.contains(&Timer::Settle) {
            self.timers.set(Timer::Settle, now + SETTLE_TIME);
        }
        let wait = air.between(ROOT_TIME, ROOT_TIME + ROOT_TIME_SPREAD);
        self.timers.set(Timer::Rootless, now + wait);
    }

    /// Chooses the parent: of the neighbours that are nearest to the root, the one whose beacon
    /// came first.
    pub(super) fn settle_tree(&mut self, air: &mut Air<'_, '_, P>) {
        if self.is_root() {
            return self.set_parent(air, None);
        }
        let above = self.above();
        let Some(&(hops, heard_at, first)) = above.first() else { return };
        let stays = above.iter().any(|&(as_far, at, peer)| {
            self.parent == Some(peer) && as_far == hops && at <= heard_at + PARENT_DELAY_MAX
        });
        let parent = if stays { self.parent } else { Some(first) };
        self.set_parent(air, parent);
    }

    /// The neighbours that are surely not below this node, the best first: those whose newest
    /// beacon is as new as its own and that are nearer to the root, or as near and of a lower id.
    fn above(&self) -> Vec<(u8, Instant, P)> {
        let Some(Root { beacon: mine, .. }) = self.root else { return Vec::new() };
        let told = self.active.iter().filter_map(|(&peer, n)| Some((peer, n.root?)));
        let above = told.filter(|(peer, Root { beacon, .. })| {
            beacon.is_of_same_root(&mine)
                && beacon.sequence >= mine.sequence
                && (beacon.hops, *peer) < (mine.hops, self.me)
        });
        let mut above: Vec<_> =
            above.map(|(peer, root)| (root.beacon.hops, root.heard_at, peer)).collect();
        above.sort_unstable();
        above
    }

    /// Takes a parent and asks it for items. What the tree does not need any more is pruned later.
    fn set_parent(&mut self, air: &mut Air<'_, '_, P>, parent: Option<P>) {
        if self.parent != parent {
            self.parent_misses = 0;
            let before = std::mem::replace(&mut self.parent, parent);
            if let Some(before) = before.and_then(|before| self.active.get_mut(&before)) {
                before.was_parent = true;
            }
            if let Some(parent) = parent {
                self.note_graft(parent, false);
                let graft = Message::Graft { is_child: true, item: None };
                air.tell(parent, self.id, graft);
            }
        }
        self.timers.set(Timer::Prune, air.now() + PRUNE_TIME);
    }

    /// Items are pushed along the links of the tree and no others. A neighbour that is farther from
    /// the root says itself whether it is a child: until then it gets items.
    pub(super) fn prune(&mut self, air: &mut Air<'_, '_, P>) {
        let Some(root) = self.root else { return };
        for (&peer, neighbour) in &mut self.active {
            let was_parent = std::mem::take(&mut neighbour.was_parent);
            let is_spare = neighbour.is_eager && !neighbour.is_child && neighbour.is_above(&root);
            if self.parent != Some(peer) && (was_parent || is_spare) {
                neighbour.is_eager = neighbour.is_child;
                air.tell(peer, self.id, Message::Prune);
            }
        }
    }

    /// A neighbour is gone.
    pub(super) fn neighbour_lost(
        &mut self,
        air: &mut Air<'_, '_, P>,
        peer: P,
        is_session_lost: bool,
    ) {
        if self.parent != Some(peer) {
            return;
        }
        self.parent = None;
        self.replace_parent(air);
        let Some(root) = self.root else { return };
        let wait = air.between(ROOT_WAIT_MIN, ROOT_WAIT_MAX);
        if is_session_lost && root.beacon.root == peer {
            self.timers.set(Timer::Rootless, air.now() + wait);
        } else if self.parent.is_none() {
            let next = root.heard_at + BEACON_PAUSE_MAX;
            self.timers.set(Timer::Rootless, next.max(air.now()) + wait);
        }
    }

    /// Takes another parent. What this node says of its distance stays: only the order of what all
    /// said at one sequence makes sure that nobody ends up below itself.
    fn replace_parent(&mut self, air: &mut Air<'_, '_, P>) {
        let mut above = self.above().into_iter().map(|(.., peer)| peer);
        let next = above.find(|peer| Some(*peer) != self.parent);
        if next.is_some() {
            self.set_parent(air, next);
        } else {
            self.push_to_all(air);
        }
    }

    /// Without a parent, items go to and come from all neighbours until a beacon comes.
    fn push_to_all(&mut self, air: &mut Air<'_, '_, P>) {
        for (&peer, neighbour) in &mut self.active {
            if !neighbour.is_eager {
                neighbour.is_eager = true;
                let graft = Message::Graft { is_child: false, item: None };
                air.tell(peer, self.id, graft);
            }
        }
    }

    /// Another neighbour had an item before the parent pushed it.
    pub(super) fn parent_missed(&mut self, air: &mut Air<'_, '_, P>) {
        self.parent_misses += 1;
        if self.parent_misses >= PARENT_MISSES_MAX && self.parent.is_some() {
            self.parent_misses = 0;
            self.replace_parent(air);
        }
    }

    /// A neighbour wants items pushed; with no item, because this node is above it in the tree.
    pub(super) fn note_graft(&mut self, peer: P, is_child: bool) {
        if let Some(neighbour) = self.active.get_mut(&peer) {
            neighbour.is_eager = true;
            neighbour.is_child |= is_child;
        }
    }

    /// A neighbour is not below this node, and wants items announced only, unless it is above.
    pub(super) fn pruned(&mut self, peer: P) {
        let is_parent = self.parent == Some(peer);
        if let Some(neighbour) = self.active.get_mut(&peer) {
            neighbour.is_child = false;
            neighbour.is_eager = is_parent;
        }
    }
}
