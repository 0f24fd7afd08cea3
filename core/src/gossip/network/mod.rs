//! The way to peers: the overlay, which carries batches, and the sessions that gossip shares with
//! it.
//!
//! The overlay owns the accounting of send windows, so frames of gossip itself are charged there.
//! What the overlay wants is taken by [`Network::pop_output`] and handled by the owner.
//!
//! # Invariants
//!
//! - A peer is reported once per session for violating the protocol.
//! - Evidence and answers to key requests go only to peers whose send window is open. Keys that
//!   precede a batch go with it.

mod session;

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

pub(super) use session::Session;

use super::author::AuthorKey;
use super::{Context, Counter, Output, frames};
use crate::identity::AgentId;
use crate::overlay::{self, Fault, Item, ItemId, Receipt, TopicId};
use crate::session::{Header, Peer, Request};
use crate::support::{Counts, Deadline, MemoryBudget, Module, Rng};

/// The overlay and the sessions of a node.
#[derive(Debug)]
pub(super) struct Network<P> {
    overlay: Module<overlay::State<P>, overlay::Output<P>>,
    sessions: BTreeMap<P, Session>,
}

impl<P: Peer> Network<P> {
    /// Makes the network of a node that is in no topic and has no session.
    pub(super) fn new(config: overlay::Config, memory: MemoryBudget, me: P, rng: Rng) -> Self {
        let overlay = Module::new(overlay::State::new(config, memory, me), rng);
        Self { overlay, sessions: BTreeMap::new() }
    }

    /// Hands an input to the overlay.
    pub(super) fn handle(&mut self, context: &Context<'_, P>, input: overlay::Input<P>) {
        self.run(context, |overlay, context| overlay.handle(context, input));
    }

    /// Takes what the overlay wants next.
    pub(super) fn pop_output(&mut self) -> Option<overlay::Output<P>> {
        self.overlay.pop_output()
    }

    /// Hands an item of this node to the overlay.
    pub(super) fn publish(&mut self, context: &Context<'_, P>, topic: TopicId, item: Item) {
        self.run(context, |overlay, context| overlay.publish(context, topic, item));
    }

    /// Lets the overlay forward an item that was verified.
    pub(super) fn accept(&mut self, context: &Context<'_, P>, receipt: Receipt<P>, item: Item) {
        self.run(context, |overlay, context| overlay.accept(context, receipt, item));
    }

    /// Refuses an item.
    pub(super) fn reject(&mut self, context: &Context<'_, P>, receipt: Receipt<P>, fault: Fault) {
        self.run(context, |overlay, context| overlay.reject(context, receipt, fault));
    }

    /// Reconciles the history of a topic with a peer that has what this node lacks.
    pub(super) fn pull(&mut self, context: &Context<'_, P>, topic: TopicId, peer: P) {
        self.run(context, |overlay, context| overlay.pull(context, topic, peer));
    }

    /// Enters a topic.
    pub(super) fn join(&mut self, context: &Context<'_, P>, topic: TopicId) {
        self.handle(context, overlay::Input::Join { topic });
    }

    /// Leaves a topic.
    pub(super) fn leave(&mut self, context: &Context<'_, P>, topic: TopicId) {
        for session in self.sessions.values_mut() {
            session.forget_topic(&topic);
        }
        self.handle(context, overlay::Input::Leave { topic });
    }

    /// Returns an item while the overlay keeps it.
    pub(super) fn item(&self, topic: &TopicId, id: &ItemId) -> Option<Bytes> {
        self.overlay.state.item(topic, id)
    }

    /// Returns the bytes that are queued for the slowest neighbour of a topic.
    pub(super) fn backlog(&self, topic: &TopicId) -> usize {
        self.overlay.state.backlog(topic)
    }

    /// Returns what the overlay knows of a topic.
    pub(super) fn usage(&self, topic: &TopicId) -> Option<overlay::Usage> {
        self.overlay.state.usage(topic)
    }

    /// Returns what the overlay holds for its peers and topics.
    pub(super) fn overlay_held(&self) -> overlay::Held {
        self.overlay.state.held()
    }

    /// Returns what the overlay counted.
    pub(super) fn overlay_counts(&self) -> &Counts<overlay::Counter> {
        self.overlay.counts()
    }

    /// Returns when the overlay handles [`overlay::Input::Timeout`].
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.overlay.state.deadline()
    }

    /// Begins the session with a peer.
    pub(super) fn open_session(&mut self, peer: P, now: Instant) {
        self.sessions.insert(peer, Session::new(now));
    }

    /// Ends the session with a peer.
    pub(super) fn close_session(&mut self, peer: &P) {
        self.sessions.remove(peer);
    }

    /// Returns the session with a peer.
    pub(super) fn session(&self, peer: &P) -> Option<&Session> {
        self.sessions.get(peer)
    }

    /// Returns the session with a peer.
    pub(super) fn session_mut(&mut self, peer: &P) -> Option<&mut Session> {
        self.sessions.get_mut(peer)
    }

    /// Returns how many keys peers are known to have, summed over all sessions.
    pub(super) fn known_keys_len(&self) -> usize {
        self.sessions.values().map(Session::known_keys_len).sum()
    }

    /// Disconnects a peer that violated the protocol.
    pub(super) fn protocol_violation(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        rule: &'static str,
    ) {
        if self.sessions.get_mut(&peer).is_some_and(Session::begin_closing) {
            context.count(Counter::Violations);
            context.emit(Output::Session(Request::Violation { peer, rule }));
        }
    }

    /// Disconnects a peer that violated the protocol of gossip itself. The overlay does not take it
    /// as a neighbour for a while.
    pub(super) fn ban(&mut self, context: &mut Context<'_, P>, peer: P, rule: &'static str) {
        self.run(context, |overlay, context| overlay.shun(context, peer));
        self.protocol_violation(context, peer, rule);
    }

    /// Sends a frame of the overlay, which has charged for it already.
    pub(super) fn send_overlay(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        header: &[u8],
        item: Bytes,
    ) {
        self.overlay.state.take_room(&peer, frames::OVERLAY_PREFIX);
        send(context, peer, frames::overlay(header), item);
    }

    /// Sends the key of an author ahead of a batch, whether or not the send window is open.
    pub(super) fn send_key(&mut self, context: &mut Context<'_, P>, peer: P, key: &AuthorKey) {
        let header = frames::key(key.key());
        self.overlay.state.take_room(&peer, header.len());
        send(context, peer, header, Bytes::new());
    }

    /// Sends the key of an author if the send window is open. Returns whether it is.
    pub(super) fn try_send_key(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        key: &AuthorKey,
    ) -> bool {
        let header = frames::key(key.key());
        let is_open = self.overlay.state.take_room(&peer, header.len());
        if is_open {
            send(context, peer, header, Bytes::new());
        }
        is_open
    }

    /// Returns whether the send window of a peer is open.
    pub(super) fn can_send(&self, peer: &P) -> bool {
        self.overlay.state.has_room(peer)
    }

    /// Requests the key of an author. [`Self::can_send`] says beforehand whether that is possible.
    pub(super) fn request_key(&mut self, context: &mut Context<'_, P>, peer: P, author: &AgentId) {
        let header = frames::key_request(author);
        self.overlay.state.take_room(&peer, header.len());
        send(context, peer, header, Bytes::new());
    }

    /// Sends evidence to all peers with which batches of the topic were exchanged, except the one
    /// that it came from. Peers whose send window is closed learn it from others.
    pub(super) fn broadcast_evidence(
        &mut self,
        context: &mut Context<'_, P>,
        topic: &TopicId,
        evidence: &Bytes,
        from: Option<P>,
    ) {
        for (&peer, session) in &self.sessions {
            let concerns = Some(peer) != from && session.has_topic(topic);
            let (header, payload) = (frames::evidence(), evidence.clone());
            let size = header.len() + payload.len();
            if concerns && !session.is_closing() && self.overlay.state.take_room(&peer, size) {
                send(context, peer, header, payload);
            }
        }
    }

    fn run<R>(
        &mut self,
        context: &Context<'_, P>,
        act: impl FnOnce(&mut overlay::State<P>, &mut overlay::Context<'_, P>) -> R,
    ) -> R {
        self.overlay.run(context.time(), act)
    }

    /// Returns how many items of a topic the overlay notes as seen.
    #[cfg(test)]
    pub(super) fn seen_len(&self, topic: &TopicId) -> usize {
        self.overlay.state.seen_len(topic)
    }
}

fn send<P>(context: &mut Context<'_, P>, peer: P, header: Header, payload: Bytes) {
    context.emit(Output::Session(Request::Send { peer, header, payload }));
}
