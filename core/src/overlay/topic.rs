//! One topic that the node is in: the roster of its neighbors, and the parts that act on it.
//!
//! [`membership`] decides who is a neighbor, [`tree`] which links carry items, and [`broadcast`] how
//! items travel. The parts do not know each other. The topic calls them in turn: it applies each
//! [`Change`] of the membership to the roster and lets the tree and the broadcast take part, and it
//! passes a [`View`] of the roster and the tree to the membership.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::broadcast::{self, LazyPush};
use super::context::{Timer, TopicContext};
use super::frames::Message;
use super::history::History;
use super::membership::{self, Change, Down, Standing, Up};
use super::tree::{self, Link, Position};
use super::{Config, Contact, Counter, Fault, Item, ItemId, Peer, Receipt, Usage};

/// A neighbor, with what each part notes of it.
#[derive(Debug)]
pub(super) struct Neighbor<P> {
    pub(super) standing: Standing,
    pub(super) link: Link<P>,
    pub(super) lazy_push: LazyPush,
}

/// The neighbors of a node in a topic: the active view of HyParView.
#[derive(Debug)]
pub(super) struct Roster<P> {
    neighbors: BTreeMap<P, Neighbor<P>>,
}

impl<P: Peer> Roster<P> {
    pub(super) fn len(&self) -> usize {
        self.neighbors.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.neighbors.is_empty()
    }

    pub(super) fn contains(&self, peer: &P) -> bool {
        self.neighbors.contains_key(peer)
    }

    pub(super) fn get(&self, peer: &P) -> Option<&Neighbor<P>> {
        self.neighbors.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &P) -> Option<&mut Neighbor<P>> {
        self.neighbors.get_mut(peer)
    }

    /// Returns the neighbors in the order of their ids.
    pub(super) fn peers(&self) -> impl Iterator<Item = P> {
        self.neighbors.keys().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&P, &Neighbor<P>)> {
        self.neighbors.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&P, &mut Neighbor<P>)> {
        self.neighbors.iter_mut()
    }
}

/// What the membership sees of the roster and of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a, P> {
    pub(super) roster: &'a Roster<P>,
    position: Position<P>,
}

impl<P: Peer> View<'_, P> {
    pub(super) fn len(&self) -> usize {
        self.roster.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.roster.is_empty()
    }

    /// Returns whether a peer is a neighbor.
    pub(super) fn contains(&self, peer: &P) -> bool {
        self.roster.contains(peer)
    }

    /// Returns whether this node is the root of the tree.
    pub(super) fn is_root(&self) -> bool {
        self.position.is_root()
    }

    /// Returns whether the link to a neighbor is part of the tree.
    pub(super) fn is_in_tree(&self, peer: &P) -> bool {
        let neighbor = self.roster.get(peer);
        neighbor.is_some_and(|neighbor| self.position.is_in_tree(peer, &neighbor.link))
    }
}

/// The state of one topic.
#[derive(Debug)]
pub(super) struct Topic<P> {
    roster: Roster<P>,
    membership: membership::State<P>,
    tree: tree::State<P>,
    broadcast: broadcast::State,
}

impl<P: Peer> Topic<P> {
    pub(super) fn new(cx: &mut TopicContext<'_, '_, P>, config: Config) -> Self {
        let now = cx.now();
        let mut topic = Self {
            roster: Roster { neighbors: BTreeMap::new() },
            membership: membership::State::new(config, now),
            tree: tree::State::new(now),
            broadcast: broadcast::State::new(cx.unix_millis()),
        };
        topic.with_membership(cx, membership::State::start);
        topic.tree.start(cx);
        topic.broadcast.start(cx);
        topic
    }

    /// Handles what is due.
    pub(super) fn handle_timeout(&mut self, cx: &mut TopicContext<'_, '_, P>) {
        while let Some(timer) = cx.timers.pop_due(cx.now()) {
            let Self { roster, tree, broadcast, .. } = self;
            match timer {
                Timer::Fill => self.with_membership(cx, membership::State::fill),
                Timer::Shuffle => self.with_membership(cx, membership::State::shuffle),
                Timer::Retry => self.with_membership(cx, membership::State::retry_lost),
                Timer::Closer => self.with_membership(cx, membership::State::request_closer),
                Timer::Beacon => tree.send_beacon(cx, roster),
                Timer::Pass => tree.forward_beacon(cx, roster, None),
                Timer::Rootless => {
                    if tree.become_root(cx, roster) {
                        self.with_membership(cx, |it, cx, view| it.refill(cx, view));
                    }
                }
                Timer::Settle => tree.choose_parent(cx, roster),
                Timer::Prune => tree.prune(cx, roster),
                Timer::Announce => broadcast.announce(cx, roster),
                Timer::Deferred => broadcast.announce_deferred(cx, roster),
                Timer::Compare => broadcast.compare(cx, roster),
                Timer::NeighborRequest(peer) => self.membership.request_timed_out(cx, peer),
            }
        }
    }

    /// Handles a message of a peer.
    pub(super) fn handle_message(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        peer: P,
        message: Message<P>,
    ) {
        let Self { roster, tree, broadcast, .. } = self;
        match message {
            // `State::handle_frame` handles these.
            Message::Joined | Message::Push { .. } => {}
            Message::Left => self.decide(cx, |it, cx, view| it.handle_left(cx, view, peer)),
            Message::PeerExchange(entries) => self.with_membership(cx, |it, cx, view| {
                it.handle_peer_exchange(cx, view, (peer, entries.into_vec()));
            }),
            Message::Neighbor(priority) => {
                self.decide(cx, |it, cx, view| it.handle_neighbor(cx, view, (peer, priority)));
            }
            Message::NeighborReply(is_accepted) => self
                .decide(cx, |it, cx, view| it.handle_neighbor_reply(cx, view, (peer, is_accepted))),
            Message::Disconnect => {
                self.decide(cx, |it, cx, view| it.handle_disconnect(cx, view, peer));
            }
            Message::ForwardJoin { entry, steps } => self.walk(cx, &peer, |it, cx, view| {
                it.handle_forward_join(cx, view, (peer, entry, steps));
            }),
            Message::Shuffle { walk, steps, entries } => self.walk(cx, &peer, |it, cx, view| {
                it.handle_shuffle(cx, view, (peer, (walk, steps), entries.into_vec()));
            }),
            Message::ShuffleReply { walk, entries } => self.with_membership(cx, |it, cx, view| {
                it.handle_shuffle_reply(cx, view, (peer, walk, entries.into_vec()));
            }),
            Message::IHave { ids, is_repair } => {
                broadcast.handle_ihave(cx, roster, (peer, &ids, is_repair));
            }
            Message::Graft { is_child, item } => {
                broadcast.handle_graft(cx, roster, (peer, is_child, item));
            }
            Message::Prune => tree.handle_prune(roster, &peer),
            Message::IWant(ids) => broadcast.handle_iwant(cx, peer, &ids),
            Message::Beacon(beacon) => {
                if tree.handle_beacon(cx, roster, (peer, beacon)) {
                    self.with_membership(cx, |it, cx, view| it.refill(cx, view));
                }
            }
            Message::Reconcile(bytes) => broadcast.handle_reconcile(cx, roster, (peer, &bytes)),
        }
    }

    /// A peer with a session announced that it is in the topic.
    pub(super) fn handle_joined(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: P) {
        self.with_membership(cx, |it, cx, view| it.handle_joined(cx, view, peer));
    }

    /// A session began.
    pub(super) fn handle_opened(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: P) {
        self.with_membership(cx, |it, cx, view| it.handle_opened(cx, view, peer));
    }

    /// A session ended, and the peer was reached at this contact.
    pub(super) fn handle_closed(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        peer: P,
        contact: &Contact,
    ) {
        self.decide(cx, |it, cx, view| it.handle_closed(cx, view, (peer, contact)));
    }

    /// A connection attempt failed.
    pub(super) fn handle_connect_failed(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: P) {
        self.with_membership(cx, |it, cx, view| it.handle_connect_failed(cx, view, peer));
    }

    /// Sends an item of this node.
    pub(super) fn publish(&mut self, cx: &mut TopicContext<'_, '_, P>, item: Item) {
        self.broadcast.publish(cx, &mut self.roster, item);
    }

    /// Handles a Push.
    pub(super) fn handle_push(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        receipt: Receipt<P>,
        bytes: Bytes,
    ) {
        let position = self.tree.position(&cx.me);
        self.broadcast.handle_push(cx, (&mut self.roster, position), (receipt, bytes));
    }

    /// The owner accepted an item.
    pub(super) fn accept(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        receipt: &Receipt<P>,
        item: Item,
    ) {
        if self.broadcast.accept(cx, &mut self.roster, (receipt, item)) {
            self.tree.note_push(&receipt.peer);
        }
    }

    /// The owner rejected an item.
    pub(super) fn reject(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        receipt: &Receipt<P>,
        fault: Fault,
    ) {
        self.broadcast.reject(cx, receipt, fault);
    }

    /// Looks for items that a peer has and this node has not.
    pub(super) fn open_reconciliation(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: P) {
        self.broadcast.open_reconciliation(cx, peer);
    }

    /// The time that a missing item had is over.
    pub(super) fn handle_due(&self, cx: &mut TopicContext<'_, '_, P>, id: ItemId) {
        self.broadcast.handle_due(cx, id);
    }

    /// A peer may be asked for a missing item.
    pub(super) fn handle_ready(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: P, id: ItemId) {
        if self.broadcast.handle_ready(cx, &mut self.roster, (peer, id)) {
            self.tree.note_fetch(cx, &mut self.roster, &peer);
        }
    }

    pub(super) fn roster(&self) -> &Roster<P> {
        &self.roster
    }

    pub(super) fn history(&self) -> &History {
        self.broadcast.history()
    }

    /// Returns the history, to shrink it.
    pub(super) fn history_mut(&mut self) -> &mut History {
        self.broadcast.history_mut()
    }

    /// Returns the peers whose sessions the topic holds: neighbors, then peers with a pending request.
    pub(super) fn held_peers(&self) -> impl Iterator<Item = P> {
        self.roster.peers().chain(self.membership.requested())
    }

    /// Takes the peers whose session the topic stopped using.
    pub(super) fn take_unused_sessions(&mut self) -> Vec<P> {
        self.membership.take_unused_sessions()
    }

    /// Returns the state of the topic, but for its missing items.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            neighbours: self.roster.len(),
            eager: self.roster.iter().filter(|(_, neighbor)| neighbor.link.is_eager).count(),
            passive: self.membership.passive().len(),
            missing: 0,
            history_items: self.history().len(),
            history_bytes: self.history().bytes(),
            depth: self.tree.depth(),
        }
    }

    fn with_membership<'c, R>(
        &mut self,
        cx: &mut TopicContext<'_, 'c, P>,
        act: impl FnOnce(&mut membership::State<P>, &mut TopicContext<'_, 'c, P>, &View<'_, P>) -> R,
    ) -> R {
        let view = View { roster: &self.roster, position: self.tree.position(&cx.me) };
        act(&mut self.membership, cx, &view)
    }

    /// Handles a walk of a neighbor, unless it sends too many.
    fn walk<'c>(
        &mut self,
        cx: &mut TopicContext<'_, 'c, P>,
        peer: &P,
        act: impl FnOnce(&mut membership::State<P>, &mut TopicContext<'_, 'c, P>, &View<'_, P>),
    ) {
        let now = cx.now();
        let neighbor = self.roster.get_mut(peer);
        if neighbor.is_some_and(|neighbor| neighbor.standing.take_walk(now)) {
            self.with_membership(cx, act);
        } else {
            cx.count(Counter::RequestsOverLimit);
        }
    }

    /// Lets the membership decide, and applies the change.
    fn decide<'c>(
        &mut self,
        cx: &mut TopicContext<'_, 'c, P>,
        act: impl FnOnce(
            &mut membership::State<P>,
            &mut TopicContext<'_, 'c, P>,
            &View<'_, P>,
        ) -> Change<P>,
    ) {
        let Change { down, up, reconcile } = self.with_membership(cx, act);
        if let Some(down) = down {
            self.remove(cx, down);
        }
        if let Some(up) = up {
            self.add(cx, &up);
        }
        if let Some(peer) = reconcile {
            self.broadcast.open_reconciliation(cx, peer);
        }
    }

    fn remove(&mut self, cx: &mut TopicContext<'_, '_, P>, down: Down<P>) {
        if self.roster.neighbors.remove(&down.peer).is_some() {
            cx.count(Counter::NeighboursDown);
            let neighbor = (down.peer, down.is_session_lost());
            self.tree.neighbor_down(cx, &mut self.roster, neighbor);
            self.with_membership(cx, |it, cx, view| it.neighbor_down(cx, view, down));
        }
    }

    fn add(&mut self, cx: &mut TopicContext<'_, '_, P>, up: &Up<P>) {
        self.membership.prepare(cx, &up.peer);
        if !self.roster.contains(&up.peer) {
            let neighbor = Neighbor {
                standing: self.membership.new_standing(cx.now()),
                link: self.tree.new_link(cx),
                lazy_push: LazyPush::default(),
            };
            self.roster.neighbors.insert(up.peer, neighbor);
            cx.sessions.hold(up.peer);
            cx.count(Counter::NeighboursUp);
            self.tree.neighbor_up(cx, up.peer);
        }
        self.with_membership(cx, |it, cx, view| it.neighbor_up(cx, view, up));
    }

    #[cfg(test)]
    pub(super) fn tree(&self) -> &tree::State<P> {
        &self.tree
    }

    #[cfg(test)]
    pub(super) fn membership(&self) -> &membership::State<P> {
        &self.membership
    }
}
