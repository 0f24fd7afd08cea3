//! Requests to be neighbors that wait for a reply, or for a session in which they can be sent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::context::{Timer, TopicContext};
use super::super::frames::{Message, Priority};
use super::super::topic::View;
use super::super::{Output, Peer, Request};
use super::eviction;
use super::passive::PassiveView;

/// How long a peer may take to reply to a request.
const REPLY_TIME: Duration = Duration::from_secs(5);

/// How long a connection attempt may take before another peer is asked.
const CONNECT_TIME: Duration = Duration::from_secs(30);

/// Why this node asked a peer to be its neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NeighborReason {
    /// The active view is not full.
    Fill,
    /// A ForwardJoin walk of the peer ended here.
    Walk,
    /// The peer may be closer than a neighbor.
    Closer,
    /// The peer is a lost neighbor.
    Reunion,
}

/// The pending requests. Each holds the session with its peer.
#[derive(Debug)]
pub(super) struct NeighborRequests<P> {
    pending: BTreeMap<P, NeighborReason>,
    /// Peers whose session a request or a neighbor stopped using.
    unused_sessions: Vec<P>,
}

impl<P: Peer> NeighborRequests<P> {
    pub(super) fn new() -> Self {
        Self { pending: BTreeMap::new(), unused_sessions: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn contains(&self, peer: &P) -> bool {
        self.pending.contains_key(peer)
    }

    /// Returns the peers with a pending request.
    pub(super) fn peers(&self) -> impl Iterator<Item = P> {
        self.pending.keys().copied()
    }

    /// Returns how many requests have a reason.
    pub(super) fn count(&self, reason: NeighborReason) -> usize {
        self.pending.values().filter(|it| **it == reason).count()
    }

    /// Asks a peer to be a neighbor, after a connection attempt if it has no session. Does nothing for
    /// this node, a neighbor, a peer with a pending request, or one without session and contact.
    pub(super) fn request(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        passive: &PassiveView<P>,
        (peer, reason): (P, NeighborReason),
    ) {
        if peer == cx.me || view.contains(&peer) || self.contains(&peer) {
            return;
        }
        self.pending.insert(peer, reason);
        cx.sessions.hold(peer);
        if cx.sessions.contains(&peer) {
            self.send(cx, view, (peer, reason));
        } else if let Some(known) = passive.get(&peer) {
            let contact = known.contact.clone();
            cx.context.emit(Output::Session(Request::Connect { peer, contact }));
            cx.timers.set(Timer::NeighborRequest(peer), cx.now() + CONNECT_TIME);
        } else {
            self.cancel(cx, &peer);
        }
    }

    /// A session began: sends the pending request to the peer, if there is one.
    pub(super) fn handle_opened(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        peer: P,
    ) {
        if let Some(&reason) = self.pending.get(&peer) {
            self.send(cx, view, (peer, reason));
        }
    }

    /// Removes a pending request. Returns its reason if there was one.
    pub(super) fn cancel(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        peer: &P,
    ) -> Option<NeighborReason> {
        let reason = self.pending.remove(peer)?;
        cx.timers.cancel(&Timer::NeighborRequest(*peer));
        self.release_session(cx, *peer);
        Some(reason)
    }

    /// A request or a neighbor stops using the session with a peer.
    pub(super) fn release_session(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: P) {
        cx.sessions.unhold(&peer);
        self.unused_sessions.push(peer);
    }

    /// Takes the peers whose session a request or a neighbor stopped using.
    pub(super) fn take_unused_sessions(&mut self) -> Vec<P> {
        std::mem::take(&mut self.unused_sessions)
    }

    fn send(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        (peer, reason): (P, NeighborReason),
    ) {
        let priority = match reason {
            NeighborReason::Reunion => Priority::High,
            NeighborReason::Fill | NeighborReason::Walk if view.is_empty() => Priority::High,
            NeighborReason::Fill | NeighborReason::Walk => Priority::Low,
            NeighborReason::Closer if eviction::is_closer(cx, view, &peer) => Priority::Closer,
            NeighborReason::Closer => {
                self.cancel(cx, &peer);
                return;
            }
        };
        cx.send(peer, Message::Neighbor(priority));
        cx.timers.set(Timer::NeighborRequest(peer), cx.now() + REPLY_TIME);
    }
}
