//! The tree of a topic: the few links over which items are pushed.
//!
//! Plumtree (Leitão, Pereira, Rodrigues, SRDS 2007) lets the first item flood and keeps the links over
//! which it arrived first. Such a tree suits the first author. For other authors it is twice as deep as
//! necessary, and it deepens with each repair. Here one node of the topic is the *root*. It sends
//! *beacons* that flood the topic and count links, and each node takes a neighbor that is closest to the
//! root as its *parent*. Items travel from any author along the links between parents and children, so
//! the last hop is at most twice the depth of the tree.
//!
//! The root has no privilege. A node that claims it falsely becomes a hub, whose neighbors check it like
//! any other (see [`broadcast`](super::broadcast)). [`Beacon`] states which root wins, and [`parent`] how a
//! node chooses its parent.
//!
//! # How it is driven
//!
//! - Messages: [`State::handle_beacon`], [`State::handle_prune`].
//! - Changes of the roster: [`State::neighbor_up`], [`State::neighbor_down`].
//! - Timers: [`State::become_root`], [`State::send_beacon`], [`State::forward_beacon`],
//!   [`State::choose_parent`], [`State::prune`].
//! - Feedback on the parent: [`State::note_fetch`], [`State::note_push`].
//!
//! The methods that may make this node the root return whether they did, because a root has more
//! neighbors.
//!
//! # Invariants
//!
//! - A root lives as long as its beacons arrive.
//! - The rate of forwarded beacons is limited, whatever neighbors send. A beacon over the limit is not
//!   lost: the latest is forwarded as soon as the rate allows.

mod beacon;
mod link;
mod parent;

use std::time::{Duration, Instant};

pub(super) use beacon::{Beacon, Root};
use beacon::{ROOT_TIME, ROOT_TIME_SPREAD};
pub(super) use link::Link;
use parent::Parent;

use super::Peer;
use super::context::{Timer, TopicContext};
use super::frames::Message;
use super::topic::Roster;
use crate::support::TokenBucket;

/// The pauses between beacons of a root. They double from the first to the last.
const BEACON_PAUSE_MIN: Duration = Duration::from_secs(1);
const BEACON_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long after the first beacon of a sequence a node chooses its parent.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// How long a node that is new in a topic waits for a beacon.
const ROOT_WAIT_MIN: Duration = Duration::from_millis(500);
const ROOT_WAIT_MAX: Duration = Duration::from_secs(3);

/// Rate at which a node forwards beacons in a topic.
const FORWARDED_BURST: u32 = 16;
const FORWARDED_INTERVAL: Duration = Duration::from_millis(250);

/// Rate at which a node claims the root because of beacons in its name.
const CLAIMS_BURST: u32 = 2;
const CLAIM_INTERVAL: Duration = Duration::from_secs(5);

/// The largest distance from the root, in links.
const HOPS_MAX: u8 = 64;

/// The position of this node in the tree, as the other parts of the topic see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position<P> {
    is_root: bool,
    parent: Option<P>,
}

impl<P: Peer> Position<P> {
    /// Returns whether this node is the root.
    pub(super) fn is_root(&self) -> bool {
        self.is_root
    }

    /// Returns whether the link to a neighbor is part of the tree.
    pub(super) fn is_in_tree(&self, peer: &P, link: &Link<P>) -> bool {
        self.parent == Some(*peer) || link.is_child
    }
}

/// The tree as one node knows it.
#[derive(Debug)]
pub(super) struct State<P> {
    root: Option<Root<P>>,
    /// The last beacon of the root that this node gave up.
    lost_root: Option<Beacon<P>>,
    parent: Parent<P>,
    /// The pause after the next beacon of this root.
    beacon_pause: Duration,
    /// The beacons that may be forwarded.
    forwarded: TokenBucket,
    /// The claims that beacons in this node's name may cause.
    claims: TokenBucket,
}

impl<P: Peer> State<P> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            root: None,
            lost_root: None,
            parent: Parent::new(),
            beacon_pause: BEACON_PAUSE_MIN,
            forwarded: TokenBucket::new(FORWARDED_BURST, FORWARDED_INTERVAL, now),
            claims: TokenBucket::new(CLAIMS_BURST, CLAIM_INTERVAL, now),
        }
    }

    /// Begins to wait for the beacon of a root.
    pub(super) fn start(&self, cx: &mut TopicContext<'_, '_, P>) {
        let wait = cx.between(ROOT_WAIT_MIN, ROOT_WAIT_MAX);
        cx.timers.set(Timer::Rootless, cx.now() + wait);
    }

    /// Returns the root, if one is known.
    #[cfg(test)]
    pub(super) fn root(&self) -> Option<Root<P>> {
        self.root
    }

    /// Returns the parent, if there is one.
    #[cfg(test)]
    pub(super) fn parent(&self) -> Option<P> {
        self.parent.peer()
    }

    /// Returns whether this node is the root. Its id is that of the context.
    fn is_root(&self, me: &P) -> bool {
        self.root.is_some_and(|root| root.beacon.root == *me)
    }

    /// Returns the position of this node, whose id is `me`.
    pub(super) fn position(&self, me: &P) -> Position<P> {
        Position { is_root: self.is_root(me), parent: self.parent.peer() }
    }

    /// Returns the number of links between this node and the root, if one is known.
    pub(super) fn depth(&self) -> Option<u8> {
        self.root.map(|root| root.beacon.hops)
    }

    /// Makes the link to a new neighbor. In a tree, items are announced over it until it has a place
    /// there.
    pub(super) fn new_link(&self, cx: &TopicContext<'_, '_, P>) -> Link<P> {
        Link::new(self.parent.peer().is_none() && !self.is_root(&cx.me), cx.now())
    }

    /// A peer became a neighbor: tells it the root.
    pub(super) fn neighbor_up(&self, cx: &mut TopicContext<'_, '_, P>, peer: P) {
        if let Some(root) = self.root {
            cx.send(peer, Message::Beacon(root.beacon));
        } else if !cx.timers.contains(&Timer::Rootless) {
            self.start(cx);
        }
    }

    /// A neighbor was removed from the roster.
    pub(super) fn neighbor_down(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (peer, is_session_lost): (P, bool),
    ) {
        if !self.parent.neighbor_down(cx, roster, (&peer, self.root)) {
            return;
        }
        let Some(root) = self.root else { return };
        let wait = cx.between(ROOT_WAIT_MIN, ROOT_WAIT_MAX);
        if is_session_lost && root.beacon.root == peer {
            cx.timers.set(Timer::Rootless, cx.now() + wait);
        } else if self.parent.peer().is_none() {
            let next = root.heard_at + BEACON_PAUSE_MAX;
            cx.timers.set(Timer::Rootless, next.max(cx.now()) + wait);
        }
    }

    /// No other node is the root: claims it, unless this node has no neighbors. Returns whether it did.
    pub(super) fn become_root(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
    ) -> bool {
        let claims = !self.is_root(&cx.me) && !roster.is_empty();
        if claims {
            self.lost_root = self.root.map(|root| root.beacon);
            let generation = self.root.map_or(0, |root| root.beacon.generation.saturating_add(1));
            self.claim_root(cx, roster, generation);
        }
        claims
    }

    fn claim_root(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        generation: u64,
    ) {
        let beacon = Beacon { root: cx.me, generation, sequence: cx.unix_millis(), hops: 0 };
        self.root = Some(Root { beacon, heard_at: cx.now() });
        self.beacon_pause = BEACON_PAUSE_MIN;
        self.parent.set(cx, roster, None);
        self.send_beacon(cx, roster);
    }

    /// Sends the next beacon of this root.
    pub(super) fn send_beacon(&mut self, cx: &mut TopicContext<'_, '_, P>, roster: &Roster<P>) {
        let (now, time) = (cx.now(), cx.unix_millis());
        let Some(root) = self.root.as_mut().filter(|root| root.beacon.root == cx.me) else {
            return;
        };
        root.beacon.sequence = root.beacon.sequence.saturating_add(1).max(time);
        root.heard_at = now;
        self.forward_beacon(cx, roster, None);
        cx.timers.set(Timer::Beacon, now + self.beacon_pause);
        self.beacon_pause = (self.beacon_pause * 2).min(BEACON_PAUSE_MAX);
    }

    /// Forwards the beacon of the root, now or as soon as the rate allows.
    pub(super) fn forward_beacon(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &Roster<P>,
        except: Option<P>,
    ) {
        let now = cx.now();
        let Some(Root { beacon, .. }) = self.root else { return };
        if !self.forwarded.take(now) {
            return cx.timers.set(Timer::Pass, self.forwarded.ready_at(now));
        }
        cx.timers.cancel(&Timer::Pass);
        for peer in roster.peers().filter(|&peer| Some(peer) != except) {
            cx.send(peer, Message::Beacon(beacon));
        }
    }

    /// Handles a beacon of a neighbor. Returns whether this node claimed the root.
    pub(super) fn handle_beacon(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (peer, beacon): (P, Beacon<P>),
    ) -> bool {
        let now = cx.now();
        let Some(neighbor) = roster.get_mut(&peer) else { return false };
        if !neighbor.link.beacons.take(now) || !beacon.is_of_time(cx.unix_millis()) {
            cx.penalize(peer);
            return false;
        }
        let before = neighbor.link.root.replace(Root { beacon, heard_at: now });
        if beacon.root == cx.me {
            return self.handle_own_beacon(cx, roster, beacon);
        }
        let is_repeated = before.is_some_and(|it| it.beacon.sequence == beacon.sequence);
        self.handle_other_beacon(cx, roster, (peer, beacon, is_repeated));
        false
    }

    /// Handles a beacon of another root. `is_repeated` states whether the neighbor sent the sequence
    /// before.
    fn handle_other_beacon(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (peer, beacon, is_repeated): (P, Beacon<P>, bool),
    ) {
        let hops = beacon.hops.saturating_add(1);
        if hops > HOPS_MAX || self.is_of_lost_root(&beacon) {
            return;
        }
        let Some(root) = self.root.as_mut() else {
            return self.follow(cx, roster, (peer, beacon));
        };
        let known = root.beacon;
        if known.outranks(&beacon) {
            // Tells it the better root, once for each of its beacons.
            if !is_repeated {
                cx.send(peer, Message::Beacon(known));
            }
        } else if beacon.outranks(&known) || beacon.sequence > known.sequence {
            self.follow(cx, roster, (peer, beacon));
        } else if beacon.sequence == known.sequence && hops < known.hops {
            root.beacon.hops = hops;
            self.forward_beacon(cx, roster, Some(peer));
            cx.set_if_unset(Timer::Settle, cx.now() + SETTLE_TIME);
        }
    }

    /// Returns whether a beacon is of the root that this node gave up, and no newer than the last from
    /// it.
    fn is_of_lost_root(&self, beacon: &Beacon<P>) -> bool {
        self.lost_root
            .is_some_and(|lost| lost.is_of_same_root(beacon) && beacon.sequence <= lost.sequence)
    }

    /// Handles a beacon that names this node as the root: an echo, or a beacon of an earlier run. In the
    /// second case the node claims the root in the next generation. Returns whether it did.
    fn handle_own_beacon(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        beacon: Beacon<P>,
    ) -> bool {
        let is_known = self.root.is_some_and(|root| {
            root.beacon.outranks(&beacon)
                || (root.beacon.is_of_same_root(&beacon) && root.beacon.sequence >= beacon.sequence)
        });
        let claims = !is_known && self.claims.take(cx.now());
        if claims {
            self.claim_root(cx, roster, beacon.generation.saturating_add(1));
        }
        claims
    }

    /// Accepts a root or its newest beacon, and forwards it.
    fn follow(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (peer, beacon): (P, Beacon<P>),
    ) {
        let now = cx.now();
        if self.is_root(&cx.me) {
            cx.timers.cancel(&Timer::Beacon);
        }
        let beacon = Beacon { hops: beacon.hops.saturating_add(1), ..beacon };
        self.root = Some(Root { beacon, heard_at: now });
        self.forward_beacon(cx, roster, Some(peer));
        if self.parent.peer().is_none() {
            self.parent.set(cx, roster, Some(peer));
        }
        cx.set_if_unset(Timer::Settle, now + SETTLE_TIME);
        let wait = cx.between(ROOT_TIME, ROOT_TIME + ROOT_TIME_SPREAD);
        cx.timers.set(Timer::Rootless, now + wait);
    }

    /// Chooses the parent by the beacons of the last sequence.
    pub(super) fn choose_parent(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
    ) {
        if self.is_root(&cx.me) {
            self.parent.set(cx, roster, None);
        } else {
            self.parent.choose(cx, roster, self.root);
        }
    }

    /// Stops pushing over links outside the tree, if there is one.
    pub(super) fn prune(&self, cx: &mut TopicContext<'_, '_, P>, roster: &mut Roster<P>) {
        if let Some(root) = &self.root {
            self.parent.prune_others(cx, roster, root);
        }
    }

    /// A neighbor had an item that the parent did not push in time, so this node asked that neighbor.
    pub(super) fn note_fetch(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        peer: &P,
    ) {
        self.parent.note_fetch(cx, roster, (peer, self.root));
    }

    /// A neighbor sent a new item that this node had not asked for.
    pub(super) fn note_push(&mut self, peer: &P) {
        self.parent.note_push(peer);
    }

    /// Handles a Prune: the neighbor is not a child. Announces items to it, unless it is the parent.
    pub(super) fn handle_prune(&self, roster: &mut Roster<P>, peer: &P) {
        if let Some(neighbor) = roster.get_mut(peer) {
            neighbor.link.is_child = false;
            neighbor.link.is_eager = self.parent.peer() == Some(*peer);
        }
    }
}
