//! How an item reaches every node of a topic: pushed along the tree, announced on all other
//! links, fetched by whoever misses it.
//!
//! An item that was announced and does not come is asked for from whoever announced it, and the
//! link over which it then comes is used from there on until a duplicate comes over it. How long a
//! node waits follows from how much earlier than the items their announcements came of late, so
//! that in a working tree nothing is fetched twice. Items that come by repair, after a gap or a
//! split, are announced to all neighbours and fetched at once: each node gets them from one.
//!
//! One announcement is enough for both sides of a link: the item's name says who is to make it, and
//! the other only does if it heard none after a while.
//!
//! A neighbour that announces what it does not have is found out by what it does not send.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frames::{self, Frame, IDS_MAX, Ids, Message};
use super::reconcile::{self, Opening};
use super::topic::{Air, Timer, Topic};
use super::{Fault, Item, ItemId, Output, Peer, Receipt};
use crate::support::Counter;
use crate::wire::BoundedBytes;

/// How long announcements are gathered.
const ANNOUNCE_TIME: Duration = Duration::from_millis(20);

/// How long the other side of a link is given to announce an item that it is to announce.
const DEFER_TIME: Duration = Duration::from_millis(300);

/// How many items that the other side is to announce are waited for. More are announced at once.
pub(super) const DEFERRED_MAX: usize = 1024;

/// The most items that are missing in a topic, and of those announced by one peer.
pub const MISSING_MAX: usize = 8192;
const MISSING_BY_PEER_MAX: usize = 4096;

/// How many peers that have a missing item are remembered.
const HOLDERS_MAX: usize = 8;

/// How many times a missing item is asked for.
const TRIES_MAX: u32 = 6;

/// How long an announcement may come before its item, at the least and at the most.
const LEAD_MIN: Duration = Duration::from_millis(60);
const LEAD_MAX: Duration = Duration::from_secs(2);
pub(super) const LEAD_FIRST: Duration = Duration::from_millis(400);

/// How long an item that was asked for may take.
const FETCH_TIME_MIN: Duration = Duration::from_millis(200);

/// A peer that broke so many promises, and more than half of all, is a liar.
const PROMISES_BROKEN_MAX: u32 = 16;

/// How long a node waits that has asked a peer for as much as that answers.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Through how many links an item may go.
const HOPS_MAX: u8 = 128;

/// How often histories are compared with a neighbour.
const COMPARE_PAUSE: Duration = Duration::from_secs(10);

/// Items younger than this are still on their way when histories are compared.
const IN_FLIGHT: Duration = Duration::from_secs(3);

/// An item that was announced and has not come.
#[derive(Debug)]
pub(super) struct Missing<P> {
    holders: Vec<P>,
    /// Which of them is asked next.
    next: usize,
    tries: u32,
    announced_at: Instant,
    /// Who was asked last, and since when it owes an answer.
    asked: Option<(P, Instant)>,
    is_repair: bool,
}

impl<P: Peer> Topic<P> {
    /// An item of this node.
    pub(super) fn publish(&mut self, air: &mut Air<'_, '_, P>, item: Item) {
        self.keep(air, item.clone());
        self.spread(air, &[], (0, false), &item);
    }

    /// An item came.
    pub(super) fn pushed(&mut self, air: &mut Air<'_, '_, P>, receipt: Receipt<P>, bytes: Bytes) {
        let id = receipt.stamp.id;
        let peer = receipt.peer;
        if receipt.hops > HOPS_MAX {
            return;
        }
        let now = air.now();
        if let Some(session) = air.sessions.get_mut(&peer) {
            session.gave_at = Some(now);
        }
        if self.history.has_seen(&id) {
            air.context.count(Counter::OverlayItemsDuplicate);
            return self.duplicate(air, &receipt);
        }
        if !self.checking.insert(id) {
            // The owner checks another copy; if that one is forged, this peer is asked again.
            return self.note_missing(air, peer, id, false);
        }
        air.context.emit(Output::Received { receipt, bytes });
    }

    /// A link that is no part of the tree brought what was there already.
    fn duplicate(&mut self, air: &mut Air<'_, '_, P>, receipt: &Receipt<P>) {
        let &Receipt { peer, is_repair, .. } = receipt;
        match air.sessions.get_mut(&peer).map(|session| session.sent_again(receipt.stamp.id)) {
            Some(true) => air.wasted(peer),
            // It may be what it was asked for, too late.
            Some(false) => kept_promise(air, peer),
            None => return,
        }
        let is_parent = self.parent == Some(peer);
        let Some(neighbour) = self.active.get_mut(&peer) else { return };
        neighbour.knows(&receipt.stamp.id);
        if !neighbour.is_child && !is_parent && !is_repair {
            neighbour.is_eager = false;
            air.tell(peer, self.id, Message::Prune);
        }
    }

    /// The owner found an item good.
    pub(super) fn accepted(&mut self, air: &mut Air<'_, '_, P>, receipt: &Receipt<P>, item: Item) {
        self.checking.remove(&item.stamp.id);
        let mut holders = vec![receipt.peer];
        if let Some(missing) = self.missing.get(&item.stamp.id) {
            holders.extend(&missing.holders);
        }
        let was_missing = self.found(air, &item.stamp.id, Some(receipt.peer));
        if self.history.has_seen(&item.stamp.id) {
            return;
        }
        air.context.count(Counter::OverlayItemsReceived);
        if receipt.is_repair {
            air.context.count(Counter::OverlayItemsRepaired);
        }
        if self.parent == Some(receipt.peer) && !was_missing {
            self.parent_misses = 0;
        }
        self.keep(air, item.clone());
        let hops = receipt.hops;
        self.spread(air, &holders, (hops, receipt.is_repair), &item);
    }

    /// The owner found an item bad, or does not want it.
    pub(super) fn rejected(
        &mut self,
        air: &mut Air<'_, '_, P>,
        receipt: &Receipt<P>,
        fault: Fault,
    ) {
        let id = receipt.stamp.id;
        self.checking.remove(&id);
        if fault == Fault::Unwanted {
            let _ = self.history.refuse(receipt.stamp, air.unix_millis());
            self.found(air, &id, None);
        } else if let Some(missing) = self.missing.get_mut(&id) {
            missing.holders.retain(|holder| *holder != receipt.peer);
            self.timers.set(Timer::Missing(id), air.now());
        }
    }

    fn keep(&mut self, air: &Air<'_, '_, P>, item: Item) {
        // Whatever becomes of it there, it is known from here on.
        let _ = self.history.insert(item, air.unix_millis());
    }

    /// Passes an item on, but to those who have it: pushes it along the tree and announces it
    /// elsewhere.
    fn spread(
        &mut self,
        air: &mut Air<'_, '_, P>,
        holders: &[P],
        (hops, is_repair): (u8, bool),
        item: &Item,
    ) {
        let stamp = item.stamp;
        let hops = hops.saturating_add(1);
        let push = Frame::Topic(self.id, Message::Push { stamp, hops, is_repair: false });
        let header = frames::encode::<P>(&push);
        let (mut news, mut defers) = (false, false);
        for (&peer, neighbour) in &mut self.active {
            if holders.contains(&peer) {
                continue;
            }
            if neighbour.is_eager && !is_repair {
                air.sessions.push(air.context, peer, self.id, (header.clone(), item.clone()));
            } else if !is_repair
                && !announces(&self.me, &peer, &stamp.id)
                && neighbour.defer(stamp.id, air.now() + DEFER_TIME)
            {
                defers = true;
            } else {
                neighbour.news.push(stamp.id);
                news = true;
            }
        }
        self.has_repair_news |= news && is_repair;
        if news && !self.timers.contains(&Timer::Announce) {
            self.timers.set(Timer::Announce, air.now() + ANNOUNCE_TIME);
        }
        if defers && !self.timers.contains(&Timer::Deferred) {
            self.timers.set(Timer::Deferred, air.now() + DEFER_TIME);
        }
        let is_full = |neighbour: &super::topic::Neighbour<P>| neighbour.news.len() >= IDS_MAX;
        if self.active.values().any(is_full) {
            self.announce(air);
        }
    }

    /// Tells neighbours what there is.
    pub(super) fn announce(&mut self, air: &mut Air<'_, '_, P>) {
        self.timers.cancel(&Timer::Announce);
        let is_repair = std::mem::take(&mut self.has_repair_news);
        for (&peer, neighbour) in &mut self.active {
            for chunk in std::mem::take(&mut neighbour.news).chunks(IDS_MAX) {
                let ids = Ids::new(chunk.to_vec()).expect("a chunk is no longer than a frame");
                air.tell(peer, self.id, Message::Have { ids, is_repair });
            }
        }
    }

    /// Tells neighbours of what they should have announced and have not.
    pub(super) fn announce_deferred(&mut self, air: &mut Air<'_, '_, P>) {
        let now = air.now();
        let mut next = None;
        for neighbour in self.active.values_mut() {
            neighbour.deferred.retain(|&(id, until)| {
                if until <= now {
                    neighbour.news.push(id);
                } else {
                    next = Some(next.map_or(until, |next: Instant| next.min(until)));
                }
                until > now
            });
        }
        if let Some(next) = next {
            self.timers.set(Timer::Deferred, next);
        }
        self.announce(air);
    }

    /// A peer tells what it has.
    pub(super) fn announced(
        &mut self,
        air: &mut Air<'_, '_, P>,
        peer: P,
        ids: &[ItemId],
        is_repair: bool,
    ) {
        let mut wanted = Vec::new();
        for &id in ids {
            if self.history.has_seen(&id) {
                if let Some(neighbour) = self.active.get_mut(&peer) {
                    neighbour.knows(&id);
                }
                continue;
            }
            let is_new = !self.missing.contains_key(&id);
            self.note_missing(air, peer, id, is_repair);
            if is_repair && is_new && !self.checking.contains(&id) {
                wanted.push(id);
            }
        }
        self.want(air, peer, wanted);
    }

    fn note_missing(&mut self, air: &mut Air<'_, '_, P>, peer: P, id: ItemId, is_repair: bool) {
        let now = air.now();
        if let Some(missing) = self.missing.get_mut(&id) {
            if missing.holders.len() < HOLDERS_MAX && !missing.holders.contains(&peer) {
                missing.holders.push(peer);
            }
            return;
        }
        let first = self.missing_by_peer.entry(peer).or_default();
        if self.missing.len() >= MISSING_MAX || *first >= MISSING_BY_PEER_MAX {
            return air.context.count(Counter::OverlayAnnouncementsDropped);
        }
        *first += 1;
        let missing = Missing {
            holders: vec![peer],
            next: 0,
            tries: 0,
            announced_at: now,
            asked: None,
            is_repair,
        };
        self.missing.insert(id, missing);
        self.timers.set(Timer::Missing(id), now + self.lead * 3 / 2);
    }

    /// Asks a peer for items that come by repair.
    fn want(&mut self, air: &mut Air<'_, '_, P>, peer: P, ids: Vec<ItemId>) {
        let now = air.now();
        let until = now + fetch_time(air.round_trip(&peer)) + FETCH_TIME_MIN * 4;
        for chunk in ids.chunks(IDS_MAX) {
            if !air.can_ask(&peer) {
                // Each is asked for when it is missed.
                return;
            }
            for id in chunk {
                if let Some(missing) = self.missing.get_mut(id) {
                    missing.asked = Some((peer, now));
                    missing.tries += 1;
                    missing.next = 1;
                    self.timers.set(Timer::Missing(*id), until);
                }
            }
            let ids = Ids::new(chunk.to_vec()).expect("a chunk is no longer than a frame");
            air.tell(peer, self.id, Message::Want(ids));
        }
    }

    /// An item was announced and has not come.
    pub(super) fn still_missing(&mut self, air: &mut Air<'_, '_, P>, id: ItemId) {
        let now = air.now();
        if self.checking.contains(&id) {
            self.timers.set(Timer::Missing(id), now + self.lead);
            return;
        }
        let Some(missing) = self.missing.get_mut(&id) else { return };
        let asked = missing.asked.take();
        if let Some((asked, at)) = asked {
            broke_promise(air, asked, at);
        }
        missing.holders.retain(|holder| air.sessions.get(holder).is_some());
        if missing.holders.is_empty() || missing.tries >= TRIES_MAX {
            air.context.count(Counter::OverlayItemsMissed);
            self.found(air, &id, None);
            return;
        }
        let holder = missing.holders[missing.next % missing.holders.len()];
        if !air.can_ask(&holder) {
            self.timers.set(Timer::Missing(id), now + ASK_AGAIN);
            return;
        }
        missing.next += 1;
        missing.tries += 1;
        // Whoever is silent is judged when it speaks, by when it was asked first.
        let is_silent =
            |&(asked, at): &(P, Instant)| asked == holder && !air.heard_since(&asked, at);
        missing.asked = asked.filter(is_silent).or(Some((holder, now)));
        let is_repair = missing.is_repair;
        self.timers.set(Timer::Missing(id), now + fetch_time(air.round_trip(&holder)));
        if is_repair {
            let ids = Ids::new(vec![id]).expect("one is not too many");
            air.tell(holder, self.id, Message::Want(ids));
        } else {
            self.note_graft(holder, false);
            air.tell(holder, self.id, Message::Graft { is_child: false, item: Some(id) });
            if self.parent != Some(holder) {
                self.parent_missed(air);
            }
        }
    }

    /// An item came, or nobody waits for it any more. Tells whether it was missing.
    fn found(&mut self, air: &mut Air<'_, '_, P>, id: &ItemId, from: Option<P>) -> bool {
        let Some(missing) = self.missing.remove(id) else { return false };
        self.timers.cancel(&Timer::Missing(*id));
        if let Some(first) = missing.holders.first()
            && let Some(count) = self.missing_by_peer.get_mut(first)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.missing_by_peer.remove(first);
            }
        }
        if let Some(peer) = from {
            kept_promise(air, peer);
            if missing.tries == 0 && !missing.is_repair {
                let lead = air.now().saturating_duration_since(missing.announced_at);
                let fading = self.lead.saturating_sub(self.lead / 64);
                self.lead = fading.max(lead).clamp(LEAD_MIN, LEAD_MAX);
            }
        }
        missing.tries > 0
    }

    /// A neighbour wants items pushed to it, and maybe one that it missed.
    pub(super) fn grafted(
        &mut self,
        air: &mut Air<'_, '_, P>,
        peer: P,
        (is_child, item): (bool, Option<ItemId>),
    ) {
        self.note_graft(peer, is_child);
        if let Some(id) = item
            && Self::may_fetch(air, &peer)
        {
            self.send_items(air, peer, &[id], false);
        }
    }

    /// A peer wants items once.
    pub(super) fn wanted(&self, air: &mut Air<'_, '_, P>, peer: P, ids: &[ItemId]) {
        if Self::may_fetch(air, &peer) {
            self.send_items(air, peer, ids, true);
        }
    }

    fn send_items(&self, air: &mut Air<'_, '_, P>, peer: P, ids: &[ItemId], is_repair: bool) {
        for id in ids {
            let Some(item) = self.history.get(id) else { continue };
            let stamp = item.stamp;
            let push = Frame::Topic(self.id, Message::Push { stamp, hops: 1, is_repair });
            let header = frames::encode::<P>(&push);
            air.sessions.push(air.context, peer, self.id, (header, item.clone()));
        }
    }

    pub(super) fn start_comparing(&mut self, air: &mut Air<'_, '_, P>) {
        let pause = air.between(COMPARE_PAUSE / 2, COMPARE_PAUSE);
        self.timers.set(Timer::Compare, air.now() + pause);
    }

    /// Compares histories with some neighbour, as is done now and then.
    pub(super) fn compare(&mut self, air: &mut Air<'_, '_, P>) {
        self.start_comparing(air);
        let now = air.unix_millis();
        self.history.expire(now);
        if self.history.is_empty() {
            return;
        }
        let neighbours: Vec<P> = self.active.keys().copied().collect();
        if let Some(peer) = air.pick(&neighbours) {
            let in_flight = u64::try_from(IN_FLIGHT.as_millis()).unwrap_or(0);
            self.send_opening(air, peer, now.saturating_sub(in_flight));
        }
    }

    /// Looks for what a peer has and this node has not.
    pub(super) fn open_reconciliation(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        self.history.expire(air.unix_millis());
        self.send_opening(air, peer, u64::MAX);
    }

    fn send_opening(&self, air: &mut Air<'_, '_, P>, peer: P, until: u64) {
        let opening = Opening { now: air.unix_millis(), until, salt: air.context.rng.next_u64() };
        if let Some(message) = reconcile::open(&self.history, opening) {
            self.send_reconciliation(air, peer, &message);
        }
    }

    fn send_reconciliation(&self, air: &mut Air<'_, '_, P>, peer: P, message: &reconcile::Message) {
        if !air.can_ask(&peer) {
            // What this exchange would find, the next finds.
            return;
        }
        let bytes = BoundedBytes::new(message.encode()).expect("a message has a bounded size");
        air.tell(peer, self.id, Message::Reconcile(bytes));
    }

    /// A peer compares histories.
    pub(super) fn reconcile(&mut self, air: &mut Air<'_, '_, P>, peer: P, bytes: &[u8]) {
        if !Self::may_fetch(air, &peer) {
            return;
        }
        self.history.expire(air.unix_millis());
        let response = match reconcile::Message::decode(bytes) {
            Ok(message) => reconcile::respond(&self.history, &message),
            Err(violation) => return air.condemn(peer, violation.rule()),
        };
        for chunk in response.send.chunks(IDS_MAX) {
            let ids = Ids::new(chunk.to_vec()).expect("a chunk is no longer than a frame");
            air.tell(peer, self.id, Message::Have { ids, is_repair: true });
        }
        self.announced(air, peer, &response.want, true);
        if let Some(reply) = response.reply {
            self.send_reconciliation(air, peer, &reply);
        }
    }
}

/// Whether it is this node that announces an item on the link to a peer, and not the peer.
fn announces<P: Peer>(me: &P, peer: &P, id: &ItemId) -> bool {
    (me < peer) == (id.0[0] & 1 == 0)
}

/// How long an item may take that a peer with such a round trip was asked for.
fn fetch_time(round_trip: Duration) -> Duration {
    if round_trip == Duration::MAX { FETCH_TIME_MIN } else { FETCH_TIME_MIN.max(round_trip * 3) }
}

/// A peer sent what it said that it has.
fn kept_promise<P: Peer>(air: &mut Air<'_, '_, P>, peer: P) {
    if let Some(session) = air.sessions.get_mut(&peer) {
        session.promises_kept = session.promises_kept.saturating_add(1);
    }
}

/// A peer did not send what it said that it has, and was asked for at some time. If it has said
/// nothing since, or sends other items, it is slow. What it was asked for before it last broke a
/// promise broke with that: a link that stands still for a moment is one fault, not a hundred.
fn broke_promise<P: Peer>(air: &mut Air<'_, '_, P>, peer: P, asked_at: Instant) {
    let now = air.now();
    if !air.heard_since(&peer, asked_at) {
        return;
    }
    let Some(session) = air.sessions.get_mut(&peer) else { return };
    let is_before = |at: &Option<Instant>| at.is_none_or(|at| at <= asked_at);
    if !is_before(&session.gave_at) || !is_before(&session.broke_at) {
        return;
    }
    session.broke_at = Some(now);
    session.promises_broken = session.promises_broken.saturating_add(1);
    let (broken, kept) = (session.promises_broken, session.promises_kept);
    if broken >= PROMISES_BROKEN_MAX && broken > kept {
        // It may be honest, and a bad link to blame: it is welcome to come back.
        air.dismiss(peer, "announced items and did not send them");
    }
}
