//! Which announced items a node fetches, from whom and when.
//!
//! An item that was announced usually follows over the tree. The node waits for it as long as recent
//! announcements were ahead of their items (*graft timeout*), so that a working tree fetches nothing
//! twice. Then it asks one announcing peer after the other ([`MissingItems`](super::super::missing)). An
//! item that is being repaired is not in the tree, so it is fetched at once.
//!
//! A peer that announces items and does not send them breaks its promises
//! ([`Promises`](super::super::session::Promises)) and is disconnected in the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::context::TopicContext;
use super::super::frames::{IDS_MAX, Ids, Message};
use super::super::history::History;
use super::super::topic::Roster;
use super::super::{Counter, ItemId, Peer};

/// The bounds of the announcement lead, and its first value.
const LEAD_MIN: Duration = Duration::from_millis(60);
const LEAD_MAX: Duration = Duration::from_secs(2);
const LEAD_FIRST: Duration = Duration::from_millis(400);

/// The shortest time in which a peer has to send an item that it was asked for.
const FETCH_TIME_MIN: Duration = Duration::from_millis(200);

/// How long the owner may check an item before another copy is requested.
const CHECK_TIME: Duration = Duration::from_secs(30);

/// The fetching of one topic. The missing items of all topics are in the context.
#[derive(Debug)]
pub(super) struct Fetcher {
    /// Items that the owner is checking.
    checking: BTreeSet<ItemId>,
    /// Largest recent lead of an item's first announcement over the item itself. Sets the graft
    /// timeout.
    announcement_lead: Duration,
}

impl Fetcher {
    pub(super) fn new() -> Self {
        Self { checking: BTreeSet::new(), announcement_lead: LEAD_FIRST }
    }

    /// The owner begins to check an item. Returns false if it is checking another copy.
    pub(super) fn begin_check(&mut self, id: ItemId) -> bool {
        self.checking.insert(id)
    }

    /// The owner has checked an item.
    pub(super) fn end_check(&mut self, id: &ItemId) {
        self.checking.remove(id);
    }

    /// A peer announced items. Notes those that are new, and asks for them at once if they are being
    /// repaired.
    pub(super) fn handle_ihave<P: Peer>(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        (roster, history): (&mut Roster<P>, &History),
        (peer, ids, is_repair): (P, &[ItemId], bool),
    ) {
        let mut wanted = Vec::new();
        let mut room = None;
        for (index, &id) in ids.iter().enumerate() {
            if history.has_seen(&id) {
                if let Some(neighbor) = roster.get_mut(&peer) {
                    neighbor.lazy_push.note_known(&id);
                }
                continue;
            }
            let key = (cx.topic, id);
            if cx.missing.get(&key).is_some() {
                cx.missing.note_holder(cx.context.now, &key, peer);
                continue;
            }
            let remaining = ids.len() - index;
            let room =
                room.get_or_insert_with(|| cx.missing.make_room(cx.context.now, &peer, remaining));
            self.note_missing(cx, (peer, id), (is_repair, room));
            if is_repair && !self.checking.contains(&id) {
                wanted.push(id);
            }
        }
        want(cx, peer, &wanted);
    }

    /// Notes an item that a peer announced, if there is room for it.
    fn note_missing<P: Peer>(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        (peer, id): (P, ItemId),
        (is_repair, room): (bool, &mut usize),
    ) {
        if *room == 0 {
            return cx.count(Counter::AnnouncementsDropped);
        }
        *room -= 1;
        let (now, key) = (cx.now(), (cx.topic, id));
        cx.missing.insert(key, peer, (now, now + self.graft_timeout()), is_repair);
    }

    /// Returns how long a node waits for an announced item.
    fn graft_timeout(&self) -> Duration {
        self.announcement_lead * 3 / 2
    }

    /// The time that a missing item had is over: queues it for the next peer, or gives it up.
    pub(super) fn handle_due<P: Peer>(&self, cx: &mut TopicContext<'_, '_, P>, id: ItemId) {
        let (now, key) = (cx.now(), (cx.topic, id));
        if self.checking.contains(&id) {
            return cx.missing.postpone(now, &key, now + CHECK_TIME);
        }
        let requested = cx.missing.get(&key).and_then(|missing| missing.requested);
        if let Some((peer, at)) = requested
            && cx.sessions.heard_since(&peer, at)
        {
            note_unserved(cx, peer, at);
            cx.missing.forget_request(&key);
        }
        if !cx.missing.queue_next(now, &key) {
            cx.count(Counter::ItemsMissed);
            cx.missing.remove(now, &key);
        }
    }

    /// A peer may be asked for a missing item. Returns whether a Graft asks for it, which shows that the
    /// tree failed.
    pub(super) fn handle_ready<P: Peer>(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        roster: &mut Roster<P>,
        (holder, id): (P, ItemId),
    ) -> bool {
        let Some(missing) = cx.missing.get(&(cx.topic, id)) else { return false };
        if missing.is_repair {
            let repairs = cx.missing.ready_repairs(&holder, cx.topic);
            let ids: Vec<ItemId> = repairs.take(IDS_MAX).collect();
            send_iwant(cx, holder, &ids);
            return false;
        }
        let until = cx.now() + fetch_time(cx.sessions.round_trip(&holder));
        cx.note_requested(id, holder, until);
        if let Some(neighbor) = roster.get_mut(&holder) {
            neighbor.link.graft(false);
        }
        cx.send(holder, Message::Graft { is_child: false, item: Some(id) });
        true
    }

    /// An item arrived from a peer, or is no longer wanted. Returns whether this node had asked for it.
    pub(super) fn remove<P: Peer>(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        id: &ItemId,
        from: Option<P>,
    ) -> bool {
        let now = cx.now();
        let Some(missing) = cx.missing.remove(now, &(cx.topic, *id)) else { return false };
        if let Some(peer) = from {
            note_kept(cx, peer);
            if missing.tries == 0 && !missing.is_repair {
                self.note_lead(now.saturating_duration_since(missing.announced_at));
            }
        }
        missing.tries > 0
    }

    /// Follows the largest recent lead: up at once, down slowly.
    fn note_lead(&mut self, lead: Duration) {
        let fading = self.announcement_lead.saturating_sub(self.announcement_lead / 64);
        self.announcement_lead = fading.max(lead).clamp(LEAD_MIN, LEAD_MAX);
    }
}

/// Asks a peer for items that are being repaired. Those that exceed the rate wait for their turn.
fn want<P: Peer>(cx: &mut TopicContext<'_, '_, P>, peer: P, ids: &[ItemId]) {
    for chunk in ids.chunks(IDS_MAX) {
        if !cx.take_request(&peer) {
            return;
        }
        send_iwant(cx, peer, chunk);
    }
}

fn send_iwant<P: Peer>(cx: &mut TopicContext<'_, '_, P>, peer: P, ids: &[ItemId]) {
    let more = if ids.len() > 1 { FETCH_TIME_MIN * 4 } else { Duration::ZERO };
    let until = cx.now() + fetch_time(cx.sessions.round_trip(&peer)) + more;
    for &id in ids {
        cx.note_requested(id, peer, until);
    }
    let ids = Ids::new(ids.to_vec()).expect("no more than a frame takes");
    cx.send(peer, Message::IWant(ids));
}

/// Returns how long a peer with a round trip has to send an item.
fn fetch_time(round_trip: Duration) -> Duration {
    if round_trip == Duration::MAX { FETCH_TIME_MIN } else { FETCH_TIME_MIN.max(round_trip * 3) }
}

/// A peer sent an item that it was asked for, or that is new and valid.
pub(super) fn note_served<P: Peer>(cx: &mut TopicContext<'_, '_, P>, peer: P) {
    let now = cx.now();
    if let Some(session) = cx.sessions.get_mut(&peer) {
        session.promises.note_served(now);
    }
}

/// A peer sent an item that it had announced.
pub(super) fn note_kept<P: Peer>(cx: &mut TopicContext<'_, '_, P>, peer: P) {
    if let Some(session) = cx.sessions.get_mut(&peer) {
        session.promises.note_kept();
    }
}

/// A peer was asked for an item that it had announced, and sent other frames instead. Disconnects it if
/// that happened too often. It may be honest behind a bad link, so it is not banned.
fn note_unserved<P: Peer>(cx: &mut TopicContext<'_, '_, P>, peer: P, asked_at: Instant) {
    let now = cx.now();
    let Some(session) = cx.sessions.get_mut(&peer) else { return };
    if session.promises.note_unserved(now, asked_at) {
        cx.sessions.disconnect(cx.context, peer, "announced items and did not send them");
    }
}
