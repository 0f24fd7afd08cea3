//! The passive view of a topic: peers that may become neighbors, with their contacts.
//!
//! It is a sorted list, because it is short, full most of the time, and sampled at random.
//!
//! # Invariants
//!
//! - A contact that another peer reported never replaces one from a session with the peer itself. It
//!   replaces another report only if a connection attempt to that one failed.
//! - The peers that one peer reported take at most a quarter of the view. When the view is full, a peer
//!   reported by the most prolific reporter makes room, so that no reporter can displace the others.

use std::collections::BTreeMap;
use std::time::Instant;

use super::super::context::TopicContext;
use super::super::frames::Entry;
use super::super::sampling::{index, pick};
use super::super::topic::View;
use super::super::{Contact, Peer};

/// The peers that one peer reported take at most this fraction of the view.
const REPORTER_SHARE: usize = 4;

/// A peer in the passive view.
#[derive(Clone, Debug)]
pub(in crate::overlay) struct PassivePeer<P> {
    pub(in crate::overlay) contact: Contact,
    /// The peer that reported the contact; `None` if it comes from a session.
    reporter: Option<P>,
    /// How many consecutive attempts to make it a neighbor failed.
    pub(in crate::overlay) failures: u32,
    /// When the next attempt may be made.
    pub(super) retry_at: Option<Instant>,
}

/// The passive view.
#[derive(Debug)]
pub(in crate::overlay) struct PassiveView<P> {
    peers: Vec<(P, PassivePeer<P>)>,
    limit: usize,
}

impl<P: Peer> PassiveView<P> {
    /// Makes an empty view for at most `limit` peers.
    pub(in crate::overlay) fn new(limit: usize) -> Self {
        Self { peers: Vec::new(), limit }
    }

    pub(in crate::overlay) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(in crate::overlay) fn iter(&self) -> impl Iterator<Item = (P, &PassivePeer<P>)> {
        self.peers.iter().map(|(peer, known)| (*peer, known))
    }

    pub(in crate::overlay) fn get(&self, peer: &P) -> Option<&PassivePeer<P>> {
        let index = self.find(peer).ok()?;
        self.peers.get(index).map(|(_, known)| known)
    }

    pub(in crate::overlay) fn get_mut(&mut self, peer: &P) -> Option<&mut PassivePeer<P>> {
        let index = self.find(peer).ok()?;
        self.peers.get_mut(index).map(|(_, known)| known)
    }

    /// Returns a random peer.
    pub(super) fn pick(&self, cx: &mut TopicContext<'_, '_, P>) -> Option<P> {
        let index = index(cx.rng(), self.len())?;
        self.peers.get(index).map(|(peer, _)| *peer)
    }

    /// Adds a peer with the contact of its session.
    pub(super) fn add(&mut self, cx: &mut TopicContext<'_, '_, P>, view: &View<'_, P>, peer: P) {
        let contact = cx.sessions.contact(&peer);
        self.add_with(cx, view, (peer, contact, None));
    }

    /// Adds a peer that another peer reported. If it has a session, or reported itself, the contact of
    /// the session counts.
    pub(super) fn add_reported(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        (reporter, entry): (P, Entry<P>),
    ) {
        let Entry { peer, contact } = entry;
        if peer == reporter || cx.sessions.contains(&peer) {
            return self.add(cx, view, peer);
        }
        self.add_with(cx, view, (peer, contact, Some(reporter)));
    }

    /// Adds a peer, unless it is this node, a neighbor or shunned. Another may make room for it.
    pub(super) fn add_with(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        (peer, contact, reporter): (P, Contact, Option<P>),
    ) {
        let is_shunned = |peer| cx.sessions.is_shunned(cx.context.now, peer);
        if peer == cx.me || view.contains(&peer) || is_shunned(&peer) {
            return;
        }
        if self.get(&peer).is_none()
            && let Some(evicted) = pick(cx.rng(), &self.candidates_for_eviction(reporter))
        {
            self.remove(&evicted);
        }
        self.insert(peer, contact, reporter);
    }

    /// Inserts a peer, or updates its contact if the source of the new one is better.
    pub(in crate::overlay) fn insert(&mut self, peer: P, contact: Contact, reporter: Option<P>) {
        match self.find(&peer) {
            Ok(index) => {
                let known = &mut self.peers[index].1;
                if reporter.is_none() || (known.reporter.is_some() && known.failures > 0) {
                    (known.contact, known.reporter) = (contact, reporter);
                }
            }
            Err(index) => {
                let known = PassivePeer { contact, reporter, failures: 0, retry_at: None };
                self.peers.insert(index, (peer, known));
            }
        }
    }

    pub(super) fn remove(&mut self, peer: &P) {
        if let Ok(index) = self.find(peer) {
            self.peers.remove(index);
        }
    }

    /// Returns the peers of which one makes room for a peer of this reporter: those that it reported
    /// itself if they take their share; those of the reporter with the most if the view is full; all if
    /// none was reported; none if there is room.
    fn candidates_for_eviction(&self, reporter: Option<P>) -> Vec<P> {
        let reported_by = |reporter: P| -> Vec<P> {
            let reported = self.peers.iter().filter(|(_, known)| known.reporter == Some(reporter));
            reported.map(|(peer, _)| *peer).collect()
        };
        if let Some(own) = reporter.map(reported_by)
            && own.len() >= (self.limit / REPORTER_SHARE).max(1)
        {
            return own;
        }
        if self.peers.len() < self.limit {
            return Vec::new();
        }
        let mut counts: BTreeMap<P, usize> = BTreeMap::new();
        for reporter in self.peers.iter().filter_map(|(_, known)| known.reporter) {
            *counts.entry(reporter).or_default() += 1;
        }
        match counts.into_iter().max_by_key(|&(_, count)| count) {
            Some((reporter, _)) => reported_by(reporter),
            None => self.peers.iter().map(|(peer, _)| *peer).collect(),
        }
    }

    fn find(&self, peer: &P) -> Result<usize, usize> {
        self.peers.binary_search_by_key(peer, |(known, _)| *known)
    }
}
