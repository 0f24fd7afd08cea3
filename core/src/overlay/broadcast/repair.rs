//! Repair: comparing histories with peers, to find items that were announced to neither.
//!
//! [`reconcile`] compares; this module decides when, with whom, and how often. A node compares with a
//! random neighbor from time to time, and with a new neighbor at once.

use std::time::Duration;

use super::super::context::{Timer, TopicContext};
use super::super::frames::{IDS_MAX, Ids, Message};
use super::super::history::History;
use super::super::reconcile::{self, Opening};
use super::super::sampling::pick;
use super::super::topic::Roster;
use super::super::{ItemId, Peer};
use crate::wire::BoundedBytes;

/// The longest pause between comparisons with random neighbors.
const COMPARE_PAUSE: Duration = Duration::from_secs(10);

/// Younger items may still be on their way, so these comparisons leave them out.
const IN_FLIGHT: Duration = Duration::from_secs(3);

/// Sets the timer of the next comparison.
pub(super) fn schedule<P: Peer>(cx: &mut TopicContext<'_, '_, P>) {
    let pause = cx.between(COMPARE_PAUSE / 2, COMPARE_PAUSE);
    cx.timers.set(Timer::Compare, cx.now() + pause);
}

/// Compares with a random neighbor.
pub(super) fn compare<P: Peer>(
    cx: &mut TopicContext<'_, '_, P>,
    roster: &Roster<P>,
    history: &mut History,
) {
    schedule(cx);
    let now = cx.unix_millis();
    history.expire(now);
    if history.is_empty() {
        return;
    }
    let neighbors: Vec<P> = roster.peers().collect();
    if let Some(peer) = pick(cx.rng(), &neighbors) {
        let in_flight = u64::try_from(IN_FLIGHT.as_millis()).unwrap_or(0);
        send_opening(cx, history, (peer, now.saturating_sub(in_flight)));
    }
}

/// Looks for items that a peer has and this node has not.
pub(super) fn open<P: Peer>(cx: &mut TopicContext<'_, '_, P>, history: &mut History, peer: P) {
    history.expire(cx.unix_millis());
    send_opening(cx, history, (peer, u64::MAX));
}

/// Handles a Reconcile. Returns the items that the peer has and this node wants.
pub(super) fn handle_reconcile<P: Peer>(
    cx: &mut TopicContext<'_, '_, P>,
    history: &mut History,
    (peer, is_neighbor, bytes): (P, bool, &[u8]),
) -> Option<reconcile::Response> {
    if !cx.may_fetch(&peer)
        || !cx.sessions.may_reconcile(cx.context, &peer, (&cx.topic, is_neighbor))
    {
        return None;
    }
    history.expire(cx.unix_millis());
    let response = match reconcile::Message::decode(bytes) {
        Ok(message) => reconcile::respond(history, &message),
        Err(violation) => {
            cx.sessions.ban(cx.context, peer, violation.rule());
            return None;
        }
    };
    announce(cx, peer, &response.send);
    Some(response)
}

/// Announces the items that a peer lacks. They count as its requests.
fn announce<P: Peer>(cx: &mut TopicContext<'_, '_, P>, peer: P, ids: &[ItemId]) {
    for chunk in ids.chunks(IDS_MAX) {
        let now = cx.now();
        if let Some(session) = cx.sessions.get_mut(&peer) {
            session.take_request(now);
        }
        let ids = Ids::new(chunk.to_vec()).expect("a chunk is no longer than a frame");
        cx.send(peer, Message::IHave { ids, is_repair: true });
    }
}

fn send_opening<P: Peer>(
    cx: &mut TopicContext<'_, '_, P>,
    history: &History,
    (peer, until): (P, u64),
) {
    let opening = Opening { now: cx.unix_millis(), until, salt: cx.rng().next_u64() };
    if let Some(message) = reconcile::open(history, opening) {
        let now = cx.now();
        if let Some(session) = cx.sessions.get_mut(&peer) {
            session.note_opened(now);
        }
        send(cx, peer, &message);
    }
}

/// Sends a Reconcile, unless it exceeds the rate. A later comparison finds the same items.
pub(super) fn send<P: Peer>(
    cx: &mut TopicContext<'_, '_, P>,
    peer: P,
    message: &reconcile::Message,
) {
    if !cx.take_request(&peer) {
        return;
    }
    let bytes = BoundedBytes::new(message.encode()).expect("a message has a bounded size");
    cx.send(peer, Message::Reconcile(bytes));
}
