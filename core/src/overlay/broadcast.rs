//! Broadcast in a topic: how each item reaches every node, as in Plumtree (Leitão, Pereira, Rodrigues,
//! SRDS 2007).
//!
//! An item is pushed along the [`tree`](super::tree) (*eager push*) and announced on all other links
//! ([`lazy_push`]). A node that misses an announced item fetches it ([`fetch`]) and keeps the link over
//! which it arrived, until a duplicate arrives over the same link. Items that were not even announced,
//! for example during a partition, are found by comparing histories ([`repair`]). Repaired items are
//! announced to all neighbors and pushed to none, so each node fetches them from one.
//!
//! # How it is driven
//!
//! [`State::publish`] for items of this node; the `handle_…` methods for messages; [`State::accept`] or
//! [`State::reject`] once the owner has checked an item that was handed to it;
//! [`State::announce`], [`State::announce_deferred`] and [`State::compare`] when their timers fire;
//! [`State::handle_due`] and [`State::handle_ready`] for the items in
//! [`MissingItems`](super::missing::MissingItems).
//!
//! # Invariants
//!
//! - An item goes to the owner once, and to neighbors only after the owner accepted it.
//! - The node answers only items from its [`History`].
//!
//! # Limits
//!
//! Those of [`History`], of [`MissingItems`](super::missing::MissingItems) and of [`lazy_push`].

mod fetch;
mod lazy_push;
mod repair;

use std::time::Duration;

use bytes::Bytes;

use fetch::Fetcher;
#[cfg(test)]
pub(super) use lazy_push::DEFERRED_MAX;
pub(super) use lazy_push::LazyPush;
use lazy_push::{DEFER_TIME, announces};

use super::context::{Timer, TopicContext};
use super::frames::{self, Frame, IDS_MAX, Ids, Message};
use super::history::History;
use super::session::Duplicate;
use super::topic::Roster;
use super::tree::Position;
use super::{Counter, Fault, Item, ItemId, Output, Peer, Receipt};

/// How long announcements are collected.
const ANNOUNCE_TIME: Duration = Duration::from_millis(20);

/// The most links that an item may travel.
const HOPS_MAX: u8 = 128;

/// The broadcast of one topic.
#[derive(Debug)]
pub(super) struct State {
    history: History,
    fetcher: Fetcher,
    /// Whether a repaired item is among the queued announcements.
    announces_repair: bool,
}

impl State {
    /// Makes the broadcast of a node that joins the topic at a wall time in milliseconds.
    pub(super) fn new(unix_millis: u64) -> Self {
        let history = History::new(unix_millis);
        Self { history, fetcher: Fetcher::new(), announces_repair: false }
    }

    /// Begins to compare histories.
    pub(super) fn start<P: Peer>(&self, cx: &mut TopicContext<'_, '_, P>) {
        repair::schedule(cx);
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Returns the history, to shrink it.
    pub(super) fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// Sends an item of this node.
    pub(super) fn publish<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        item: Item,
    ) {
        self.keep(cx, item.clone());
        self.spread(cx, roster, (&[], 0, false), &item);
    }

    /// Handles a Push: gives the item to the owner, unless it is known.
    pub(super) fn handle_push<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        (roster, position): (&mut Roster<P>, Position<P>),
        (receipt, bytes): (Receipt<P>, Bytes),
    ) {
        let (id, peer) = (receipt.stamp.id, receipt.peer);
        if receipt.hops > HOPS_MAX {
            return;
        }
        if self.history.has_seen(&id) {
            cx.count(Counter::ItemsDuplicate);
            return handle_duplicate(cx, (roster, position), &receipt);
        }
        if !self.fetcher.begin_check(id) {
            // The owner is checking another copy. If that one is forged, this peer is asked again.
            return self.handle_ihave(cx, roster, (peer, &[id], false));
        }
        cx.context.emit(Output::Received { receipt, bytes });
    }

    /// The owner accepted an item. Returns whether it is new and came without a request.
    pub(super) fn accept<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (receipt, item): (&Receipt<P>, Item),
    ) -> bool {
        self.fetcher.end_check(&item.stamp.id);
        let mut holders = vec![receipt.peer];
        if let Some(missing) = cx.missing.get(&(cx.topic, item.stamp.id)) {
            holders.extend(&missing.holders);
        }
        let was_requested = self.fetcher.remove(cx, &item.stamp.id, Some(receipt.peer));
        if self.history.has_seen(&item.stamp.id) {
            return false;
        }
        fetch::note_served(cx, receipt.peer);
        cx.count(Counter::ItemsReceived);
        if receipt.is_repair {
            cx.count(Counter::ItemsRepaired);
        }
        self.keep(cx, item.clone());
        self.spread(cx, roster, (&holders, receipt.hops, receipt.is_repair), &item);
        !was_requested
    }

    /// The owner rejected an item.
    pub(super) fn reject<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        receipt: &Receipt<P>,
        fault: Fault,
    ) {
        let id = receipt.stamp.id;
        self.fetcher.end_check(&id);
        match fault {
            Fault::Unwanted => {
                let _ = self.history.refuse(receipt.stamp, cx.unix_millis());
                self.fetcher.remove(cx, &id, None);
            }
            Fault::Forged | Fault::Unchecked => {
                cx.missing.forget_holder(cx.context.now, &(cx.topic, id), &receipt.peer);
            }
        }
    }

    fn keep<P: Peer>(&mut self, cx: &TopicContext<'_, '_, P>, item: Item) {
        // Even if the history does not keep it, it is known from now on.
        let _ = self.history.insert(item, cx.unix_millis());
    }

    /// Sends an item to the neighbors that are not known to have it: pushes it along the tree and
    /// announces it elsewhere.
    fn spread<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (holders, hops, is_repair): (&[P], u8, bool),
        item: &Item,
    ) {
        let stamp = item.stamp;
        let hops = hops.saturating_add(1);
        let push = Frame::Topic(cx.topic, Message::Push { stamp, hops, is_repair: false });
        let header = frames::encode::<P>(&push);
        let (mut is_queued, mut is_deferred) = (false, false);
        for (&peer, neighbor) in roster.iter_mut() {
            if holders.contains(&peer) {
                continue;
            }
            if neighbor.link.is_eager && !is_repair {
                cx.sessions.push(cx.context, peer, cx.topic, (header.clone(), item.clone()));
            } else if !is_repair
                && !announces(&cx.me, &peer, &stamp.id)
                && neighbor.lazy_push.defer(stamp.id, cx.now() + DEFER_TIME)
            {
                is_deferred = true;
            } else {
                neighbor.lazy_push.push(stamp.id);
                is_queued = true;
            }
        }
        self.announces_repair |= is_queued && is_repair;
        if is_queued {
            cx.set_if_unset(Timer::Announce, cx.now() + ANNOUNCE_TIME);
        }
        if is_deferred {
            cx.set_if_unset(Timer::Deferred, cx.now() + DEFER_TIME);
        }
        if roster.iter().any(|(_, neighbor)| neighbor.lazy_push.len() >= IDS_MAX) {
            self.announce(cx, roster);
        }
    }

    /// Sends the queued announcements.
    pub(super) fn announce<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
    ) {
        cx.timers.cancel(&Timer::Announce);
        let is_repair = std::mem::take(&mut self.announces_repair);
        for (&peer, neighbor) in roster.iter_mut() {
            for chunk in neighbor.lazy_push.take().chunks(IDS_MAX) {
                let ids = Ids::new(chunk.to_vec()).expect("a chunk is no longer than a frame");
                cx.send(peer, Message::IHave { ids, is_repair });
            }
        }
    }

    /// Announces items that neighbors should have announced and did not.
    pub(super) fn announce_deferred<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
    ) {
        let now = cx.now();
        let due = roster.iter_mut().filter_map(|(_, neighbor)| neighbor.lazy_push.queue_due(now));
        if let Some(next) = due.min() {
            cx.timers.set(Timer::Deferred, next);
        }
        self.announce(cx, roster);
    }

    /// Handles an IHave.
    pub(super) fn handle_ihave<P: Peer>(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        announcement: (P, &[ItemId], bool),
    ) {
        self.fetcher.handle_ihave(cx, (roster, &self.history), announcement);
    }

    /// The time that a missing item had is over.
    pub(super) fn handle_due<P: Peer>(&self, cx: &mut TopicContext<'_, '_, P>, id: ItemId) {
        self.fetcher.handle_due(cx, id);
    }

    /// A peer may be asked for a missing item. Returns whether a Graft asks for it, which shows that the
    /// tree failed.
    pub(super) fn handle_ready<P: Peer>(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        request: (P, ItemId),
    ) -> bool {
        self.fetcher.handle_ready(cx, roster, request)
    }

    /// Handles a Graft: pushes items to the neighbor from now on, and sends the one that it misses.
    pub(super) fn handle_graft<P: Peer>(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (peer, is_child, item): (P, bool, Option<ItemId>),
    ) {
        if let Some(neighbor) = roster.get_mut(&peer) {
            neighbor.link.graft(is_child);
        }
        if let Some(id) = item
            && cx.may_fetch(&peer)
        {
            self.send_items(cx, peer, (&[id], false));
        }
    }

    /// Handles an IWant.
    pub(super) fn handle_iwant<P: Peer>(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        peer: P,
        ids: &[ItemId],
    ) {
        if cx.may_fetch(&peer) {
            self.send_items(cx, peer, (ids, true));
        }
    }

    fn send_items<P: Peer>(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        peer: P,
        (ids, is_repair): (&[ItemId], bool),
    ) {
        for id in ids {
            let Some(item) = self.history.get(id) else { continue };
            let stamp = item.stamp;
            let push = Frame::Topic(cx.topic, Message::Push { stamp, hops: 1, is_repair });
            let header = frames::encode::<P>(&push);
            cx.sessions.push(cx.context, peer, cx.topic, (header, item.clone()));
        }
    }

    /// Compares the history with that of a random neighbor.
    pub(super) fn compare<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &Roster<P>,
    ) {
        repair::compare(cx, roster, &mut self.history);
    }

    /// Looks for items that a peer has and this node has not.
    pub(super) fn open_reconciliation<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        peer: P,
    ) {
        repair::open(cx, &mut self.history, peer);
    }

    /// Handles a Reconcile.
    pub(super) fn handle_reconcile<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (peer, bytes): (P, &[u8]),
    ) {
        let message = (peer, roster.contains(&peer), bytes);
        let response = repair::handle_reconcile(cx, &mut self.history, message);
        let Some(response) = response else { return };
        self.handle_ihave(cx, roster, (peer, &response.want, true));
        if let Some(reply) = response.reply {
            repair::send(cx, peer, &reply);
        }
    }
}

/// A peer pushed an item that is known. Prunes a link outside the tree.
fn handle_duplicate<P: Peer>(
    cx: &mut TopicContext<'_, '_, P>,
    (roster, position): (&mut Roster<P>, Position<P>),
    receipt: &Receipt<P>,
) {
    let &Receipt { peer, is_repair, .. } = receipt;
    let Some(session) = cx.sessions.get_mut(&peer) else { return };
    match session.note_duplicate(receipt.stamp.id) {
        Duplicate::First => {}
        // The peer sent what it was asked for, but too late.
        Duplicate::Requested => {
            fetch::note_served(cx, peer);
            fetch::note_kept(cx, peer);
        }
        Duplicate::Repeated => cx.penalize(peer),
    }
    let Some(neighbor) = roster.get_mut(&peer) else { return };
    neighbor.lazy_push.note_known(&receipt.stamp.id);
    if !position.is_in_tree(&peer, &neighbor.link) && !is_repair {
        neighbor.link.is_eager = false;
        cx.send(peer, Message::Prune);
    }
}
