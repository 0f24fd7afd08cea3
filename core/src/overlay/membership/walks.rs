//! The random walks of HyParView.
//!
//! A ForwardJoin looks for neighbors of a new peer. A Shuffle exchanges samples of the views with the
//! node at its end, and the reply travels back along the walk.
//!
//! # Limits
//!
//! Each neighbor may start or forward walks at a limited rate ([`Standing`](super::Standing)). Of at most
//! [`WALKS_MAX`] shuffles a node remembers where they came from, and of [`INTRODUCED_MAX`] peers that it
//! started walks for them.

use std::time::{Duration, Instant};

use super::super::context::{Timer, TopicContext};
use super::super::frames::{ENTRIES_MAX, Entries, Entry, Message};
use super::super::sampling::{pick, sample};
use super::super::topic::View;
use super::super::{Config, Contact, Peer};
use super::passive::PassiveView;
use crate::support::BoundedMap;

/// The most shuffles whose way back a node remembers.
const WALKS_MAX: usize = 64;

/// How long no second walks are started for the same peer, and for how many peers that is remembered.
const INTRODUCTION_PAUSE: Duration = Duration::from_secs(60);
const INTRODUCED_MAX: usize = 64;

/// The pauses between shuffles of a node, and how many of them are short: a new node soon knows many
/// peers.
pub(super) const SHUFFLE_PAUSE_FIRST: Duration = Duration::from_secs(10);
const SHUFFLE_PAUSE: Duration = Duration::from_secs(60);
const SHUFFLES_FIRST: u32 = 10;

/// How many peers of the active and of the passive view a shuffle has.
const SHUFFLE_ACTIVE: usize = 3;
const SHUFFLE_PASSIVE: usize = 6;

/// The number of steps of a shuffle.
const SHUFFLE_STEPS: u8 = 3;

/// The random walks of a topic.
#[derive(Debug)]
pub(super) struct Walks<P> {
    /// ARWL and PRWL of the paper.
    walk_steps: u8,
    passive_walk_steps: u8,
    /// The neighbor from which each shuffle came, or this node.
    origins: BoundedMap<u32, P>,
    /// Peers for which this node started walks, and until when it starts no others.
    introduced: BoundedMap<P, Instant>,
    /// How many shuffles this node started.
    shuffles: u32,
}

impl<P: Peer> Walks<P> {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            walk_steps: config.walk_steps,
            passive_walk_steps: config.passive_walk_steps,
            origins: BoundedMap::new(WALKS_MAX),
            introduced: BoundedMap::new(INTRODUCED_MAX),
            shuffles: 0,
        }
    }

    /// Starts walks that look for neighbors of a peer, over all other neighbors, unless walks for the
    /// same peer were started shortly before.
    pub(super) fn introduce(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        peer: P,
    ) {
        let now = cx.now();
        if self.introduced.peek(&peer).is_some_and(|&until| now < until) {
            return;
        }
        self.introduced.insert(peer, now + INTRODUCTION_PAUSE);
        let entry = Entry { peer, contact: cx.sessions.contact(&peer) };
        for other in view.roster.peers().filter(|other| *other != peer) {
            let message = Message::ForwardJoin { entry: entry.clone(), steps: self.walk_steps };
            cx.send(other, message);
        }
    }

    /// Handles a ForwardJoin. Returns the new peer if the walk ends here.
    pub(super) fn handle_forward_join(
        &self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        passive: &mut PassiveView<P>,
        (from, entry, steps): (P, Entry<P>, u8),
    ) -> Option<P> {
        if entry.peer == cx.me {
            return None;
        }
        let entry = resolve(cx, &from, entry);
        let steps = steps.min(self.walk_steps);
        let peer = entry.peer;
        if steps == self.passive_walk_steps {
            passive.add_reported(cx, view, (from, entry.clone()));
        }
        let others: Vec<P> =
            view.roster.peers().filter(|other| *other != from && *other != peer).collect();
        match pick(cx.rng(), &others) {
            Some(next) if steps > 0 => {
                cx.send(next, Message::ForwardJoin { entry, steps: steps - 1 });
                None
            }
            _ => {
                passive.add_reported(cx, view, (from, entry));
                Some(peer)
            }
        }
    }

    /// Starts a shuffle.
    pub(super) fn shuffle(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        passive: &PassiveView<P>,
    ) {
        self.shuffles = self.shuffles.saturating_add(1);
        let is_new = self.shuffles < SHUFFLES_FIRST;
        let pause = if is_new { SHUFFLE_PAUSE_FIRST } else { SHUFFLE_PAUSE };
        let pause = cx.between(pause - pause / 4, pause + pause / 4);
        cx.timers.set(Timer::Shuffle, cx.now() + pause);
        let neighbors: Vec<P> = view.roster.peers().collect();
        let Some(first) = pick(cx.rng(), &neighbors) else { return };
        let mut entries = vec![Entry { peer: cx.me, contact: Contact::default() }];
        let counts = (SHUFFLE_ACTIVE, SHUFFLE_PASSIVE);
        entries.extend(sample_views(cx, view, passive, (counts, first)));
        let walk = cx.rng().next_u32();
        self.origins.insert(walk, cx.me);
        let entries = bounded(entries);
        cx.send(first, Message::Shuffle { walk, steps: SHUFFLE_STEPS, entries });
    }

    /// Handles a Shuffle: forwards it, or replies at its end.
    pub(super) fn handle_shuffle(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        passive: &mut PassiveView<P>,
        (from, (walk, steps), entries): (P, (u32, u8), Vec<Entry<P>>),
    ) {
        let entries: Vec<Entry<P>> =
            entries.into_iter().map(|entry| resolve(cx, &from, entry)).collect();
        let steps = steps.min(SHUFFLE_STEPS);
        let others: Vec<P> = view.roster.peers().filter(|peer| *peer != from).collect();
        match pick(cx.rng(), &others) {
            Some(next) if steps > 1 && self.origins.peek(&walk).is_none() => {
                self.origins.insert(walk, from);
                let entries = bounded(entries);
                cx.send(next, Message::Shuffle { walk, steps: steps - 1, entries });
            }
            _ => {
                let mut reply = sample_views(cx, view, passive, ((0, entries.len()), from));
                reply.push(Entry { peer: cx.me, contact: Contact::default() });
                for entry in entries {
                    passive.add_reported(cx, view, (from, entry));
                }
                let entries = bounded(reply);
                cx.send(from, Message::ShuffleReply { walk, entries });
            }
        }
    }

    /// Handles a ShuffleReply: forwards it, or adds its entries at the origin of the walk. Returns
    /// whether this node is the origin.
    pub(super) fn handle_shuffle_reply(
        &mut self,
        cx: &mut TopicContext<'_, '_, P>,
        view: &View<'_, P>,
        passive: &mut PassiveView<P>,
        (from, walk, entries): (P, u32, Vec<Entry<P>>),
    ) -> bool {
        let Some(origin) = self.origins.remove(&walk) else { return false };
        let entries: Vec<Entry<P>> =
            entries.into_iter().map(|entry| resolve(cx, &from, entry)).collect();
        let is_origin = origin == cx.me;
        if is_origin {
            for entry in entries {
                passive.add_reported(cx, view, (from, entry));
            }
        } else {
            cx.send(origin, Message::ShuffleReply { walk, entries: bounded(entries) });
        }
        is_origin
    }
}

/// Returns an entry with the contact of the session if it names the sender itself.
pub(super) fn resolve<P: Peer>(
    cx: &TopicContext<'_, '_, P>,
    sender: &P,
    entry: Entry<P>,
) -> Entry<P> {
    if entry.peer == *sender {
        Entry { peer: entry.peer, contact: cx.sessions.contact(sender) }
    } else {
        entry
    }
}

/// Samples both views, without one peer.
fn sample_views<P: Peer>(
    cx: &mut TopicContext<'_, '_, P>,
    view: &View<'_, P>,
    passive: &PassiveView<P>,
    ((active_count, passive_count), except): ((usize, usize), P),
) -> Vec<Entry<P>> {
    let active: Vec<P> = view.roster.peers().filter(|peer| *peer != except).collect();
    let mut entries: Vec<Entry<P>> = Vec::new();
    for peer in sample(cx.rng(), active, active_count) {
        entries.push(Entry { peer, contact: cx.sessions.contact(&peer) });
    }
    let known: Vec<P> = passive
        .iter()
        .filter(|(peer, known)| *peer != except && known.failures == 0)
        .map(|(peer, _)| peer)
        .collect();
    for peer in sample(cx.rng(), known, passive_count) {
        if let Some(known) = passive.get(&peer) {
            entries.push(Entry { peer, contact: known.contact.clone() });
        }
    }
    entries
}

/// Truncates entries to what a frame takes.
fn bounded<P>(mut entries: Vec<Entry<P>>) -> Entries<P> {
    entries.truncate(ENTRIES_MAX);
    Entries::new(entries).expect("they were truncated to the limit")
}
