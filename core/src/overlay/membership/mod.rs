//! Membership of a topic: HyParView (Leitão, Pereira, Rodrigues, DSN 2007).
//!
//! The *active view* has the few neighbors of a node, with a session each. Neighborhood is mutual. The
//! active view is the topic's [`Roster`](super::topic::Roster), which this module reads; it returns each
//! [`Change`] of the view to the topic, which applies it. The *passive view* ([`PassiveView`]) has more
//! peers of the topic, which replace lost neighbors. Random [`walks`] exchange samples of the
//! views, so that the passive view stays a random sample of the topic.
//!
//! # Differences from the paper
//!
//! - Sessions are expensive, so the reply to a shuffle travels back along the walk.
//! - A new peer's first neighbor starts ForwardJoin walks for it. The node at the end of a walk asks the
//!   new peer.
//! - A request of high priority displaces a neighbor at a limited rate only, and never one of the
//!   [`PROTECTED`] oldest: attackers cannot take over the active view.
//! - No node gives up a parent or child in the tree for a closer neighbor.
//! - The root of the tree may have twice as many neighbors, which shortens all paths through it.
//! - Full nodes look for closer peers from time to time (as in X-BOT, SRDS 2009). The protected
//!   neighbors stay random, which keeps the graph connected.
//! - Neighbors whose session was lost are asked again ([`lost`]), and accept even without room, so that
//!   an overlay merges after a partition.
//!
//! # How it is driven
//!
//! The `handle_…` methods for messages and for events of sessions; [`State::fill`], [`State::shuffle`],
//! [`State::retry_lost`], [`State::request_closer`] and [`State::request_timed_out`] when their timers
//! fire. After the topic applied a change it calls [`State::neighbor_up`] or [`State::neighbor_down`].
//!
//! # Invariants
//!
//! - No peer is in both views.
//! - Each pending request and each neighbor holds the session with its peer.
//!
//! # Limits
//!
//! The sizes of the views and the steps of walks are those of [`Config`]. Other limits: [`PENDING_MAX`]
//! requests that fill the view, [`REPORTED_MAX`], and those of [`lost`] and [`walks`].

mod change;
mod eviction;
mod lost;
mod passive;
mod requests;
mod standing;
mod walks;

use std::time::{Duration, Instant};

use change::{Cause, Origin};
pub(super) use change::{Change, Down, Up};
use eviction::Choice;
pub use eviction::PROTECTED;
use lost::LostNeighbors;
pub(super) use passive::PassiveView;
use requests::{NeighborReason, NeighborRequests};
pub(super) use standing::Standing;
use walks::{SHUFFLE_PAUSE_FIRST, Walks};

use super::context::{Timer, TopicContext};
use super::frames::{ENTRIES_MAX, Entry, Message, Priority};
use super::sampling::sample;
use super::session::Session;
use super::topic::View;
use super::{Config, Contact, Output, Peer};
use crate::support::TokenBucket;

/// The most requests that are pending at the same time because the active view is not full.
const PENDING_MAX: usize = 8;

/// The pauses between attempts to fill the active view. They double from the first to the last.
const FILL_PAUSE_MIN: Duration = Duration::from_millis(500);
const FILL_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The longest pause between attempts to find a closer neighbor.
const CLOSER_PAUSE: Duration = Duration::from_secs(600);

/// After how many consecutive failures a peer leaves the passive view, and the unit of the pauses
/// between attempts.
const FAILURES_MAX: u32 = 4;
const FAILURE_PAUSE: Duration = Duration::from_secs(30);

/// The most entries of a peer exchange that are used: as many as an honest peer sends.
pub(super) const REPORTED_MAX: usize = ENTRIES_MAX / 2;

/// Rate at which neighbors are displaced by requests of high priority.
const EVICTIONS_BURST: u32 = 16;
const EVICTION_INTERVAL: Duration = Duration::from_secs(2);

/// The membership of one topic.
#[derive(Debug)]
pub(super) struct State<P> {
    config: Config,
    passive: PassiveView<P>,
    pending_neighbor_requests: NeighborRequests<P>,
    lost: LostNeighbors<P>,
    walks: Walks<P>,
    /// The pause after the next attempt to fill the active view.
    fill_pause: Duration,
    /// The neighbors that requests of high priority may displace.
    evictions: TokenBucket,
    /// How many peers became neighbors.
    orders: u64,
}

impl<P: Peer> State<P> {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            passive: PassiveView::new(config.passive_max),
            pending_neighbor_requests: NeighborRequests::new(),
            lost: LostNeighbors::new(),
            walks: Walks::new(&config),
            fill_pause: FILL_PAUSE_MIN,
            evictions: TokenBucket::new(EVICTIONS_BURST, EVICTION_INTERVAL, now),
            orders: 0,
        }
    }

    /// Begins with the members of the topic that have a session.
    pub(super) fn start(&mut self, cx: &mut TopicContext<'_, '_, P>, view: &View<'_, P>) {
        let now = cx.now();
        for peer in cx.sessions.members(&cx.topic).collect::<Vec<_>>() {
            self.passive.add(cx, view, peer);
        }
        cx.timers.set(Timer::Fill, now);
        let pause = cx.between(SHUFFLE_PAUSE_FIRST / 2, SHUFFLE_PAUSE_FIRST);
        cx.timers.set(Timer::Shuffle, now + pause);
        let pause = cx.between(CLOSER_PAUSE / 4, CLOSER_PAUSE);
        cx.timers.set(Timer::Closer, now + pause);
    }

    pub(super) fn passive(&self) -> &PassiveView<P> {
        &self.passive
    }

    /// Returns the peers with a pending request.
    pub(super) fn requested(&self) -> impl Iterator<Item = P> {
        self.pending_neighbor_requests.peers()
    }

    /// Takes the peers whose session the topic stopped using.
    pub(super) fn take_unused_sessions(&mut self) -> Vec<P> {
        self.pending_neighbor_requests.take_unused_sessions()
    }

    /// A peer with a session announced that it is in the topic.
    pub(super) fn handle_joined(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        peer: P,
    ) {
        self.passive.add(cx, view, peer);
        self.fill_soon(cx, view);
    }

    /// A peer left the topic.
    pub(super) fn handle_left(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        peer: P,
    ) -> Change<P> {
        self.passive.remove(&peer);
        self.pending_neighbor_requests.cancel(cx, &peer);
        self.lost.remove(&peer);
        if !view.contains(&peer) {
            return Change::NONE;
        }
        Change::down(Down { peer, cause: Cause::Left })
    }

    /// A peer names others that are in the topic.
    pub(super) fn handle_peer_exchange(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        (peer, entries): (P, Vec<Entry<P>>),
    ) {
        if !cx.sessions.get_mut(&peer).is_some_and(Session::take_exchange) {
            return cx.penalize(peer);
        }
        for entry in entries.into_iter().take(REPORTED_MAX) {
            self.passive.add_reported(cx, view, (peer, entry));
        }
        self.fill_soon(cx, view);
    }

    /// A session began.
    pub(super) fn handle_opened(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        peer: P,
    ) {
        // A pause after a refusal stays: a session for another topic is no reason to ask again.
        if let Some(known) = self.passive.get_mut(&peer)
            && known.failures > 0
        {
            (known.failures, known.retry_at) = (0, None);
        }
        self.pending_neighbor_requests.handle_opened(cx, view, peer);
    }

    /// A session ended, and the peer was reached at this contact.
    pub(super) fn handle_closed(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        (peer, contact): (P, &Contact),
    ) -> Change<P> {
        self.pending_neighbor_requests.cancel(cx, &peer);
        if !view.contains(&peer) {
            return Change::NONE;
        }
        Change::down(Down { peer, cause: Cause::SessionLost(contact.clone()) })
    }

    /// A connection attempt failed.
    pub(super) fn handle_connect_failed(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        peer: P,
    ) {
        if self.pending_neighbor_requests.cancel(cx, &peer).is_some() {
            self.note_failure(cx, peer);
            self.fill_soon(cx, view);
        }
    }

    /// A peer did not reply in time.
    pub(super) fn request_timed_out(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: P) {
        if self.pending_neighbor_requests.cancel(cx, &peer).is_some() {
            self.note_failure(cx, peer);
        }
    }

    /// Handles a Neighbor request.
    pub(super) fn handle_neighbor(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        (peer, priority): (P, Priority),
    ) -> Change<P> {
        let is_new = !view.contains(&peer);
        let is_accepted = !is_new
            || self.pending_neighbor_requests.contains(&peer)
            || !self.is_full(view)
            || match priority {
                Priority::Low => false,
                Priority::High => self.evictions.take(cx.now()),
                Priority::Closer => eviction::is_closer(cx, view, &peer),
            };
        cx.send(peer, Message::NeighborReply(is_accepted));
        if !is_accepted {
            self.passive.add(cx, view, peer);
            return Change::NONE;
        }
        let is_evicting = is_new && self.is_full(view);
        let choice = if priority == Priority::Closer { Choice::Distance } else { Choice::Random };
        let down = if is_evicting { disconnect_one(cx, view, choice) } else { None };
        let is_joining = is_new && priority == Priority::High;
        let origin = if is_joining { Origin::Joining } else { Origin::Requested };
        Change { down, up: Some(Up { peer, origin }), reconcile: None }
    }

    /// Handles the reply to a request.
    pub(super) fn handle_neighbor_reply(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        (peer, is_accepted): (P, bool),
    ) -> Change<P> {
        let Some(reason) = self.pending_neighbor_requests.cancel(cx, &peer) else {
            if is_accepted && !view.contains(&peer) {
                cx.send(peer, Message::Disconnect);
            }
            return Change::NONE;
        };
        self.lost.remove(&peer);
        if !is_accepted {
            if let Some(known) = self.passive.get_mut(&peer) {
                known.retry_at = Some(cx.now() + FAILURE_PAUSE);
            }
            self.refill(cx, view);
            // The peer refuses to be a neighbor, but may still have items from before a partition.
            let reconcile = (reason == NeighborReason::Reunion).then_some(peer);
            return Change { reconcile, ..Change::NONE };
        }
        let mut down = None;
        if self.is_full(view) && !view.contains(&peer) {
            let choice = match reason {
                NeighborReason::Fill => {
                    cx.send(peer, Message::Disconnect);
                    return Change::NONE;
                }
                NeighborReason::Closer => Choice::Distance,
                NeighborReason::Walk | NeighborReason::Reunion => Choice::Random,
            };
            down = disconnect_one(cx, view, choice);
        }
        Change { down, up: Some(Up { peer, origin: Origin::Accepted }), reconcile: Some(peer) }
    }

    /// Handles a Disconnect.
    pub(super) fn handle_disconnect(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        peer: P,
    ) -> Change<P> {
        if !view.contains(&peer) {
            cx.penalize(peer);
            return Change::NONE;
        }
        Change::down(Down { peer, cause: Cause::Disconnected })
    }

    /// Handles a ForwardJoin: forwards it, or asks the new peer at the end of the walk.
    pub(super) fn handle_forward_join(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        walk: (P, Entry<P>, u8),
    ) {
        let new = self.walks.handle_forward_join(cx, view, &mut self.passive, walk);
        if let Some(peer) = new {
            self.request(cx, view, (peer, NeighborReason::Walk));
        }
    }

    /// Starts a shuffle.
    pub(super) fn shuffle(&mut self, cx: &mut TopicContext<'_, '_, P>, view: &View<'_, P>) {
        self.walks.shuffle(cx, view, &self.passive);
    }

    /// Handles a Shuffle.
    pub(super) fn handle_shuffle(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        walk: (P, (u32, u8), Vec<Entry<P>>),
    ) {
        self.walks.handle_shuffle(cx, view, &mut self.passive, walk);
    }

    /// Handles a ShuffleReply.
    pub(super) fn handle_shuffle_reply(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        walk: (P, u32, Vec<Entry<P>>),
    ) {
        if self.walks.handle_shuffle_reply(cx, view, &mut self.passive, walk) {
            self.refill(cx, view);
        }
    }

    /// Asks peers to be neighbors until the view is full.
    pub(super) fn fill(&mut self, cx: &mut TopicContext<'_, '_, P>, view: &View<'_, P>) {
        let now = cx.now();
        let wanted = self.active_max(view).saturating_sub(view.len());
        let pending = self.pending_neighbor_requests.count(NeighborReason::Fill);
        let count = wanted.min(PENDING_MAX).saturating_sub(pending);
        if wanted == 0 {
            return;
        }
        let is_free =
            |peer: &P| !view.contains(peer) && !self.pending_neighbor_requests.contains(peer);
        let candidates: Vec<P> = self
            .passive
            .iter()
            .filter(|(peer, known)| is_free(peer) && known.retry_at.is_none_or(|at| at <= now))
            .map(|(peer, _)| peer)
            .collect();
        // First those with a session, which cost nothing.
        let (connected, others): (Vec<P>, Vec<P>) =
            candidates.into_iter().partition(|peer| cx.sessions.contains(peer));
        let mut chosen = sample(cx.rng(), connected, count);
        chosen.extend(sample(cx.rng(), others, count - chosen.len()));
        if chosen.is_empty() && view.is_empty() && self.pending_neighbor_requests.is_empty() {
            cx.context.emit(Output::Lonely { topic: cx.topic });
        }
        for peer in chosen {
            self.request(cx, view, (peer, NeighborReason::Fill));
        }
        let pause = cx.between(self.fill_pause, self.fill_pause * 2);
        cx.timers.set(Timer::Fill, now + pause);
        self.fill_pause = (self.fill_pause * 2).min(FILL_PAUSE_MAX);
    }

    /// Fills the view after the current pause, if it is not full.
    pub(super) fn refill(&self, cx: &mut TopicContext<'_, '_, P>, view: &View<'_, P>) {
        if !self.is_full(view) {
            cx.set_if_unset(Timer::Fill, cx.now() + self.fill_pause);
        }
    }

    /// Asks a peer that may be closer than a neighbor, if the view is full.
    pub(super) fn request_closer(&mut self, cx: &mut TopicContext<'_, '_, P>, view: &View<'_, P>) {
        let pause = cx.between(CLOSER_PAUSE / 2, CLOSER_PAUSE);
        cx.timers.set(Timer::Closer, cx.now() + pause);
        if self.is_full(view)
            && let Some(peer) = self.passive.pick(cx)
        {
            self.request(cx, view, (peer, NeighborReason::Closer));
        }
    }

    /// Asks the next lost neighbor, unless a request to it is pending.
    pub(super) fn retry_lost(&mut self, cx: &mut TopicContext<'_, '_, P>, view: &View<'_, P>) {
        let (passive, pending) = (&self.passive, &self.pending_neighbor_requests);
        let next = self.lost.next(cx.now(), |peer| {
            // A peer that left the passive view has no contact.
            let is_known = pending.contains(peer) || passive.get(peer).is_some();
            view.contains(peer) || !is_known
        });
        if let Some(peer) = next {
            self.request(cx, view, (peer, NeighborReason::Reunion));
        }
        self.lost.schedule(cx);
    }

    /// The topic is about to add a neighbor: takes the peer out of the passive view and cancels the
    /// request to it.
    pub(super) fn prepare(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: &P) {
        self.passive.remove(peer);
        self.pending_neighbor_requests.cancel(cx, peer);
    }

    /// Makes the standing of a new neighbor.
    pub(super) fn new_standing(&mut self, now: Instant) -> Standing {
        self.orders += 1;
        Standing::new(self.orders, now)
    }

    /// The topic added a neighbor.
    pub(super) fn neighbor_up(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        up: &Up<P>,
    ) {
        match up.origin {
            Origin::Accepted => {
                self.fill_pause = FILL_PAUSE_MIN;
                self.refill(cx, view);
            }
            Origin::Requested => {}
            Origin::Joining => self.walks.introduce(cx, view, up.peer),
        }
    }

    /// The topic removed a neighbor.
    pub(super) fn neighbor_down(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        down: Down<P>,
    ) {
        let Down { peer, cause } = down;
        self.pending_neighbor_requests.release_session(cx, peer);
        self.refill(cx, view);
        match cause {
            Cause::Left => {}
            Cause::Disconnected => self.passive.add(cx, view, peer),
            Cause::SessionLost(contact) => {
                self.passive.add_with(cx, view, (peer, contact, None));
                self.lost.add(cx, peer);
            }
        }
    }

    /// Returns the most neighbors that this node may have.
    fn active_max(&self, view: &View<'_, P>) -> usize {
        self.config.active_max * if view.is_root() { 2 } else { 1 }
    }

    fn is_full(&self, view: &View<'_, P>) -> bool {
        view.len() >= self.active_max(view)
    }

    /// Fills the view at once, if it is not full.
    fn fill_soon(&mut self, cx: &mut TopicContext<'_, '_, P>, view: &View<'_, P>) {
        if !self.is_full(view) {
            self.fill_pause = FILL_PAUSE_MIN;
            cx.timers.set(Timer::Fill, cx.now());
        }
    }

    fn request(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        request: (P, NeighborReason),
    ) {
        self.pending_neighbor_requests.request(cx, view, &self.passive, request);
    }

    /// A peer could not be reached: it is asked again later, or leaves the passive view.
    fn note_failure(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: P) {
        let Some(known) = self.passive.get_mut(&peer) else { return };
        known.failures += 1;
        if known.failures >= FAILURES_MAX {
            self.passive.remove(&peer);
            return;
        }
        let pause = FAILURE_PAUSE * (1 << known.failures);
        known.retry_at = Some(cx.now() + cx.between(pause / 2, pause));
    }
}

/// Sends a Disconnect to the neighbor that makes room for another, if any may.
fn disconnect_one<P: Peer>(
    cx: &mut TopicContext<'_, '_, P>,
    view: &View<'_, P>,
    choice: Choice,
) -> Option<Down<P>> {
    let peer = eviction::choose(cx, view, choice)?;
    cx.send(peer, Message::Disconnect);
    Some(Down { peer, cause: Cause::Disconnected })
}
