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
use super::session::Duplicate;
use super::topic::{Air, Timer, Topic};
use super::{Fault, Item, ItemId, Output, Peer, Receipt};
use crate::overlay::Counter;
use crate::wire::BoundedBytes;

/// How long announcements are gathered.
const ANNOUNCE_TIME: Duration = Duration::from_millis(20);

/// How long the other side of a link is given to announce an item that it is to announce.
const DEFER_TIME: Duration = Duration::from_millis(300);

/// How many items that the other side is to announce are waited for. More are announced at once.
pub(super) const DEFERRED_MAX: usize = 1024;

/// How long an announcement may come before its item, at the least and at the most.
const LEAD_MIN: Duration = Duration::from_millis(60);
const LEAD_MAX: Duration = Duration::from_secs(2);
pub(super) const LEAD_FIRST: Duration = Duration::from_millis(400);

/// How long an item that was asked for may take.
const FETCH_TIME_MIN: Duration = Duration::from_millis(200);

/// How long the owner may check an item before another copy is asked for.
const CHECK_TIME: Duration = Duration::from_secs(30);

/// Through how many links an item may go.
const HOPS_MAX: u8 = 128;

/// How often histories are compared with a neighbour.
const COMPARE_PAUSE: Duration = Duration::from_secs(10);

/// Items younger than this are still on their way when histories are compared.
const IN_FLIGHT: Duration = Duration::from_secs(3);

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
        if self.history.has_seen(&id) {
            air.context.count(Counter::ItemsDuplicate);
            return self.duplicate(air, &receipt);
        }
        if !self.checking.insert(id) {
            // The owner checks another copy; if that one is forged, this peer is asked again.
            return self.announced(air, peer, &[id], false);
        }
        air.context.emit(Output::Received { receipt, bytes });
    }

    /// A link that is no part of the tree brought what was there already.
    fn duplicate(&mut self, air: &mut Air<'_, '_, P>, receipt: &Receipt<P>) {
        let &Receipt { peer, is_repair, .. } = receipt;
        let session = air.sessions.get_mut(&peer);
        match session.map(|session| session.note_duplicate(receipt.stamp.id)) {
            Some(Duplicate::Repeated) => air.penalize(peer),
            // It is what it was asked for, too late.
            Some(Duplicate::Requested) => {
                gave(air, peer);
                kept_promise(air, peer);
            }
            Some(Duplicate::First) => {}
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
        if let Some(missing) = air.missing.get(&(self.id, item.stamp.id)) {
            holders.extend(&missing.holders);
        }
        let was_missing = self.found(air, &item.stamp.id, Some(receipt.peer));
        if self.history.has_seen(&item.stamp.id) {
            return;
        }
        gave(air, receipt.peer);
        air.context.count(Counter::ItemsReceived);
        if receipt.is_repair {
            air.context.count(Counter::ItemsRepaired);
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
        } else {
            air.missing.forget_holder(air.context.now, &(self.id, id), &receipt.peer);
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
                air.tell(peer, self.id, Message::IHave { ids, is_repair });
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
        let mut places = None;
        for (index, &id) in ids.iter().enumerate() {
            if self.history.has_seen(&id) {
                if let Some(neighbour) = self.active.get_mut(&peer) {
                    neighbour.knows(&id);
                }
                continue;
            }
            if air.missing.get(&(self.id, id)).is_some() {
                air.missing.note_holder(air.context.now, &(self.id, id), peer);
                continue;
            }
            let places = places.get_or_insert_with(|| air.places(&peer, ids.len() - index));
            self.note_missing(air, peer, id, (is_repair, places));
            if is_repair && !self.checking.contains(&id) {
                wanted.push(id);
            }
        }
        self.want(air, peer, &wanted);
    }

    /// Notes an item that a peer announced, if there is a place left for it.
    fn note_missing(
        &self,
        air: &mut Air<'_, '_, P>,
        peer: P,
        id: ItemId,
        (is_repair, places): (bool, &mut usize),
    ) {
        let now = air.now();
        if *places == 0 {
            return air.context.count(Counter::AnnouncementsDropped);
        }
        *places -= 1;
        let until = now + self.lead * 3 / 2;
        air.missing.insert((self.id, id), peer, (now, until), is_repair);
    }

    /// Asks a peer for items that come by repair.
    fn want(&self, air: &mut Air<'_, '_, P>, peer: P, ids: &[ItemId]) {
        for chunk in ids.chunks(IDS_MAX) {
            if !air.can_ask(&peer) {
                // Each is asked for when it is missed.
                return;
            }
            self.send_want(air, peer, chunk);
        }
    }

    fn send_want(&self, air: &mut Air<'_, '_, P>, peer: P, ids: &[ItemId]) {
        let more = if ids.len() > 1 { FETCH_TIME_MIN * 4 } else { Duration::ZERO };
        let until = air.now() + fetch_time(air.sessions.round_trip(&peer)) + more;
        for &id in ids {
            air.note_asked((self.id, id), peer, until);
        }
        let ids = Ids::new(ids.to_vec()).expect("no more than a frame takes");
        air.tell(peer, self.id, Message::IWant(ids));
    }

    /// An item was announced, and what time it was given has passed.
    pub(super) fn still_missing(&self, air: &mut Air<'_, '_, P>, id: ItemId) {
        let (now, key) = (air.now(), (self.id, id));
        if self.checking.contains(&id) {
            return air.missing.put_off(now, &key, now + CHECK_TIME);
        }
        let asked = air.missing.get(&key).and_then(|missing| missing.asked);
        if let Some((asked, at)) = asked
            && air.sessions.heard_since(&asked, at)
        {
            broke_promise(air, asked, at);
            air.missing.settle(&key);
        }
        if !air.missing.ask_next(now, &key) {
            air.context.count(Counter::ItemsMissed);
            air.missing.remove(now, &key);
        }
    }

    /// A peer can be asked for an item.
    pub(super) fn ask_for(&mut self, air: &mut Air<'_, '_, P>, holder: P, id: ItemId) {
        let Some(missing) = air.missing.get(&(self.id, id)) else { return };
        if missing.is_repair {
            let repairs = air.missing.ready_repairs(&holder, self.id);
            let ids: Vec<ItemId> = repairs.take(IDS_MAX).collect();
            return self.send_want(air, holder, &ids);
        }
        let until = air.now() + fetch_time(air.sessions.round_trip(&holder));
        air.note_asked((self.id, id), holder, until);
        self.note_graft(holder, false);
        air.tell(holder, self.id, Message::Graft { is_child: false, item: Some(id) });
        if self.parent != Some(holder) {
            self.parent_missed(air);
        }
    }

    /// An item came, or nobody waits for it any more. Tells whether it was missing.
    fn found(&mut self, air: &mut Air<'_, '_, P>, id: &ItemId, from: Option<P>) -> bool {
        let now = air.now();
        let Some(missing) = air.missing.remove(now, &(self.id, *id)) else { return false };
        if let Some(peer) = from {
            kept_promise(air, peer);
            if missing.tries == 0 && !missing.is_repair {
                let lead = now.saturating_duration_since(missing.announced_at);
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
            && air.may_fetch(&peer)
        {
            self.send_items(air, peer, &[id], false);
        }
    }

    /// A peer wants items once.
    pub(super) fn wanted(&self, air: &mut Air<'_, '_, P>, peer: P, ids: &[ItemId]) {
        if air.may_fetch(&peer) {
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
            let now = air.now();
            if let Some(session) = air.sessions.get_mut(&peer) {
                session.note_opened(now);
            }
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
        let is_neighbor = self.active.contains_key(&peer);
        if !air.may_fetch(&peer)
            || !air.sessions.may_reconcile(air.context, &peer, (&self.id, is_neighbor))
        {
            return;
        }
        self.history.expire(air.unix_millis());
        let response = match reconcile::Message::decode(bytes) {
            Ok(message) => reconcile::respond(&self.history, &message),
            Err(violation) => return air.ban(peer, violation.rule()),
        };
        for chunk in response.send.chunks(IDS_MAX) {
            // What it is told of counts as what it asks for.
            let now = air.now();
            if let Some(session) = air.sessions.get_mut(&peer) {
                session.take_request(now);
            }
            let ids = Ids::new(chunk.to_vec()).expect("a chunk is no longer than a frame");
            air.tell(peer, self.id, Message::IHave { ids, is_repair: true });
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

/// A peer sent an item that it was asked for, or that is new and good.
fn gave<P: Peer>(air: &mut Air<'_, '_, P>, peer: P) {
    let now = air.now();
    if let Some(session) = air.sessions.get_mut(&peer) {
        session.promises.note_served(now);
    }
}

/// A peer sent what it said that it has.
fn kept_promise<P: Peer>(air: &mut Air<'_, '_, P>, peer: P) {
    if let Some(session) = air.sessions.get_mut(&peer) {
        session.promises.note_kept();
    }
}

/// A peer did not send what it said that it has, and was asked for at some time.
fn broke_promise<P: Peer>(air: &mut Air<'_, '_, P>, peer: P, asked_at: Instant) {
    let now = air.now();
    let Some(session) = air.sessions.get_mut(&peer) else { return };
    if session.promises.note_unserved(now, asked_at) {
        air.sessions.disconnect(air.context, peer, "announced items and did not send them");
    }
}
