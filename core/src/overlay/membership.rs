//! Who is neighbour of whom in a topic: HyParView (Leitão, Pereira, Rodrigues, DSN 2007).
//!
//! The *active view* holds the few neighbours that a node has sessions with; neighbourhood is mutual.
//! The *passive view* holds more peers of the topic, to take their place. Random [walks](super::walks)
//! exchange passive views, so that they stay a random sample of the topic.
//!
//! What differs from the paper, and why:
//!
//! - Sessions are expensive, so the end of a walk answers along the walk.
//! - A newcomer's first neighbour starts walks for it; whoever they end at asks the newcomer.
//! - A neighbour that goes for the sake of one that has none is never one of the
//!   [`PROTECTED`] that have been here longest, and this happens at a limited rate: strangers
//!   cannot take all places of a node.
//! - Nobody gives up a parent or child in the tree for a closer neighbour.
//! - The root of the tree has room for twice as many neighbours: all ways over it get shorter.
//! - Half of the places go to close peers if there are any, the others stay random, which keeps
//!   the graph connected (as in X-BOT, SRDS 2009).
//! - A neighbour that is lost without a word is tried again for an hour, and then taken back even
//!   if there is no room, so that a network that was split grows together.

use std::time::{Duration, Instant};

use super::frames::{ENTRIES_MAX, Entry, Message, Priority};
use super::session::Session;
use super::topic::{Air, Neighbour, Timer, Topic};
use super::walks::SHUFFLE_PAUSE_FIRST;
use super::{Contact, Output, Peer, Request};
use crate::overlay::Counter;
use crate::support::TokenBucket;

/// How many of the neighbours nobody who asks can push out: those that have been here longest.
pub const PROTECTED: usize = 4;

/// How many peers are asked at the same time to become neighbours.
const ASKED_MAX: usize = 8;

/// How long a peer may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How long a connection attempt may take before another peer is tried.
const CONNECT_TIME: Duration = Duration::from_secs(30);

/// The pauses between attempts to fill the active view.
pub(super) const FILL_PAUSE_MIN: Duration = Duration::from_millis(500);
const FILL_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often a closer neighbour is looked for.
const CLOSER_PAUSE: Duration = Duration::from_secs(600);

/// How often a lost neighbour is tried again, and for how long.
const RETRY_PAUSE: Duration = Duration::from_secs(60);
const RETRY_TIME: Duration = Duration::from_secs(3600);

/// How many lost neighbours are tried again.
const LOST_MAX: usize = 16;

/// After how many failures in a row a peer is forgotten, and the first pause between attempts.
const FAILURES_MAX: u32 = 4;
const FAILURE_PAUSE: Duration = Duration::from_secs(30);

/// How many of the peers that a referral names are noted: those that an honest one names.
pub(super) const REFERRED_MAX: usize = ENTRIES_MAX / 2;

/// How often the other neighbours are asked to look for neighbours for the same peer, and for how many
/// peers that is remembered.
const NEWCOMER_PAUSE: Duration = Duration::from_secs(60);
pub(super) const NEWCOMERS_MAX: usize = 64;

/// How many referrals of one peer are followed.
const WALK_BURST: u32 = 64;
const WALK_INTERVAL: Duration = Duration::from_millis(250);

/// The rate at which neighbours are given up for peers that have none.
pub(super) fn evictions(now: Instant) -> TokenBucket {
    TokenBucket::new(16, Duration::from_secs(2), now)
}

/// Why a peer was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// There is room.
    Fill,
    /// A newcomer's walk ended here.
    Walk,
    /// It may be closer than a neighbour.
    Closer,
    /// It was a neighbour before.
    Reunion,
}

/// A peer that was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    why: Why,
}

impl<P: Peer> Topic<P> {
    /// The most neighbours.
    fn active_max(&self) -> usize {
        self.config.active_max * if self.is_root() { 2 } else { 1 }
    }

    pub(super) fn start_membership(&mut self, air: &mut Air<'_, '_, P>) {
        let now = air.now();
        for peer in air.sessions.members(&self.id).collect::<Vec<_>>() {
            self.meet(air, peer);
        }
        self.timers.set(Timer::Fill, now);
        let pause = air.between(SHUFFLE_PAUSE_FIRST / 2, SHUFFLE_PAUSE_FIRST);
        self.timers.set(Timer::Shuffle, now + pause);
        let pause = air.between(CLOSER_PAUSE / 4, CLOSER_PAUSE);
        self.timers.set(Timer::Closer, now + pause);
    }

    /// A peer with a session turned out to be in the topic.
    pub(super) fn member_found(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        self.meet(air, peer);
        if self.active.len() < self.active_max() {
            self.fill_soon(air);
        }
    }

    pub(super) fn member_left(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        self.passive.remove(&peer);
        self.unask(air, &peer);
        self.lost.retain(|(lost, _)| *lost != peer);
        self.lose(air, peer, false);
        self.passive.remove(&peer);
    }

    /// A peer that was told that this node is in the topic names others that are.
    pub(super) fn referred(&mut self, air: &mut Air<'_, '_, P>, peer: P, entries: Vec<Entry<P>>) {
        if !air.sessions.get_mut(&peer).is_some_and(Session::take_exchange) {
            return air.penalize(peer);
        }
        for entry in entries.into_iter().take(REFERRED_MAX) {
            self.learn(air, peer, entry);
        }
        if self.active.len() < self.active_max() {
            self.fill_soon(air);
        }
    }

    /// Notes a peer with a session in the passive view.
    pub(super) fn meet(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        self.note(air, peer, (air.sessions.contact(&peer), None));
    }

    /// Notes a peer that another names in the passive view.
    pub(super) fn learn(&mut self, air: &mut Air<'_, '_, P>, teller: P, entry: Entry<P>) {
        let Entry { peer, contact } = air.resolve(&teller, entry);
        if peer == teller || air.sessions.contains(&peer) {
            // It is known better than any other could say where it is reached.
            return self.meet(air, peer);
        }
        self.note(air, peer, (contact, Some(teller)));
    }

    fn note(&mut self, air: &mut Air<'_, '_, P>, peer: P, (contact, teller): (Contact, Option<P>)) {
        if peer == self.me || self.active.contains_key(&peer) || air.is_shunned(&peer) {
            return;
        }
        if self.passive.get(&peer).is_none() {
            let places = self.passive.to_give_up(teller, self.config.passive_max);
            if let Some(gone) = air.pick(&places) {
                self.passive.remove(&gone);
            }
        }
        self.passive.insert(peer, contact, teller);
    }

    fn some_acquaintance(&self, air: &mut Air<'_, '_, P>) -> Option<P> {
        self.passive.at(air.index(self.passive.len())?)
    }

    fn fill_soon(&mut self, air: &Air<'_, '_, P>) {
        self.fill_pause = FILL_PAUSE_MIN;
        self.timers.set(Timer::Fill, air.now());
    }

    /// Asks peers to be neighbours until there are enough.
    pub(super) fn fill(&mut self, air: &mut Air<'_, '_, P>) {
        let now = air.now();
        let wanted = self.active_max().saturating_sub(self.active.len());
        let asked = self.asked.values().filter(|asked| asked.why == Why::Fill).count();
        let count = wanted.min(ASKED_MAX).saturating_sub(asked);
        if wanted == 0 {
            return;
        }
        let is_free = |peer: &P| !self.active.contains_key(peer) && !self.asked.contains_key(peer);
        let candidates: Vec<P> = self
            .passive
            .iter()
            .filter(|(peer, known)| is_free(peer) && known.retry_at.is_none_or(|at| at <= now))
            .map(|(peer, _)| peer)
            .collect();
        // Peers with a session first: they cost nothing.
        let (near, far): (Vec<P>, Vec<P>) =
            candidates.into_iter().partition(|peer| air.sessions.contains(peer));
        let mut chosen = air.sample(near, count);
        chosen.extend(air.sample(far, count - chosen.len()));
        if chosen.is_empty() && self.active.is_empty() && self.asked.is_empty() {
            air.context.emit(Output::Lonely { topic: self.id });
        }
        for peer in chosen {
            self.ask(air, peer, Why::Fill);
        }
        let pause = air.between(self.fill_pause, self.fill_pause * 2);
        self.timers.set(Timer::Fill, now + pause);
        self.fill_pause = (self.fill_pause * 2).min(FILL_PAUSE_MAX);
    }

    pub(super) fn ask(&mut self, air: &mut Air<'_, '_, P>, peer: P, why: Why) {
        if peer == self.me || self.active.contains_key(&peer) || self.asked.contains_key(&peer) {
            return;
        }
        self.asked.insert(peer, Asked { why });
        air.sessions.hold(peer);
        if air.sessions.contains(&peer) {
            self.request(air, peer, why);
        } else if let Some(known) = self.passive.get(&peer) {
            let contact = known.contact.clone();
            air.context.emit(Output::Session(Request::Connect { peer, contact }));
            self.timers.set(Timer::Asked(peer), air.now() + CONNECT_TIME);
        } else {
            self.unask(air, &peer);
        }
    }

    /// Waits for a peer no longer.
    fn unask(&mut self, air: &mut Air<'_, '_, P>, peer: &P) -> Option<Asked> {
        let asked = self.asked.remove(peer)?;
        air.sessions.unhold(peer);
        self.timers.cancel(&Timer::Asked(*peer));
        self.freed.push(*peer);
        Some(asked)
    }

    fn request(&mut self, air: &mut Air<'_, '_, P>, peer: P, why: Why) {
        let priority = match why {
            Why::Reunion => Priority::High,
            Why::Fill | Why::Walk if self.active.is_empty() => Priority::High,
            Why::Fill | Why::Walk => Priority::Low,
            Why::Closer if self.is_closer(air, &peer) => Priority::Closer,
            Why::Closer => {
                self.unask(air, &peer);
                return;
            }
        };
        air.tell(peer, self.id, Message::Neighbor(priority));
        self.timers.set(Timer::Asked(peer), air.now() + ANSWER_TIME);
    }

    /// A session began.
    pub(super) fn peer_up(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        // Who refused is left alone all the same: a session for another topic says nothing about this.
        if let Some(known) = self.passive.get_mut(&peer)
            && known.failures > 0
        {
            (known.failures, known.retry_at) = (0, None);
        }
        if let Some(&Asked { why }) = self.asked.get(&peer) {
            self.request(air, peer, why);
        }
    }

    /// A session ended.
    pub(super) fn peer_down(&mut self, air: &mut Air<'_, '_, P>, peer: P, contact: &Contact) {
        self.unask(air, &peer);
        if self.active.contains_key(&peer) {
            self.lose(air, peer, true);
            self.note(air, peer, (contact.clone(), None));
            if self.lost.len() >= LOST_MAX {
                self.lost.pop_front();
            }
            self.lost.push_back((peer, air.now() + RETRY_TIME));
            let pause = air.between(RETRY_PAUSE / 2, RETRY_PAUSE);
            if !self.timers.contains(&Timer::Retry) {
                self.timers.set(Timer::Retry, air.now() + pause);
            }
        }
    }

    /// No session came of an attempt.
    pub(super) fn connect_failed(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        if self.unask(air, &peer).is_some() {
            self.refused(air, peer);
            if self.active.len() < self.active_max() {
                self.fill_soon(air);
            }
        }
    }

    pub(super) fn unanswered(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        if self.unask(air, &peer).is_some() {
            self.refused(air, peer);
        }
    }

    /// A peer could not be reached: it is tried later, or forgotten.
    fn refused(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        let Some(known) = self.passive.get_mut(&peer) else { return };
        known.failures += 1;
        if known.failures >= FAILURES_MAX {
            self.passive.remove(&peer);
            return;
        }
        let pause = FAILURE_PAUSE * (1 << known.failures);
        known.retry_at = Some(air.now() + air.between(pause / 2, pause));
    }

    /// A peer asks to be a neighbour.
    pub(super) fn asked_for(&mut self, air: &mut Air<'_, '_, P>, peer: P, priority: Priority) {
        let is_accepted = self.active.contains_key(&peer)
            || self.asked.contains_key(&peer)
            || self.active.len() < self.active_max()
            || match priority {
                Priority::Low => false,
                Priority::High => self.evictions.take(air.now()),
                Priority::Closer => self.is_closer(air, &peer),
            };
        air.tell(peer, self.id, Message::NeighborReply(is_accepted));
        if !is_accepted {
            return self.meet(air, peer);
        }
        let is_new = !self.active.contains_key(&peer);
        if self.active.len() >= self.active_max() && is_new {
            self.make_room(air, priority == Priority::Closer);
        }
        self.add(air, peer);
        if is_new && priority == Priority::High && self.is_newcomer(air, peer) {
            let entry = Entry { peer, contact: air.sessions.contact(&peer) };
            let others: Vec<P> = self.active.keys().copied().filter(|p| *p != peer).collect();
            let steps = self.config.walk_steps;
            for other in others {
                let message = Message::ForwardJoin { entry: entry.clone(), steps };
                air.tell(other, self.id, message);
            }
        }
    }

    /// Whether others may look for neighbours for a peer once more.
    fn is_newcomer(&mut self, air: &Air<'_, '_, P>, peer: P) -> bool {
        let now = air.now();
        let is_newcomer = self.newcomers.peek(&peer).is_none_or(|&until| until <= now);
        if is_newcomer {
            self.newcomers.insert(peer, now + NEWCOMER_PAUSE);
        }
        is_newcomer
    }

    /// A peer that was asked answers.
    pub(super) fn answered(&mut self, air: &mut Air<'_, '_, P>, peer: P, is_accepted: bool) {
        let Some(Asked { why }) = self.unask(air, &peer) else {
            if is_accepted && !self.active.contains_key(&peer) {
                air.tell(peer, self.id, Message::Disconnect);
            }
            return;
        };
        self.lost.retain(|(lost, _)| *lost != peer);
        if !is_accepted {
            if let Some(known) = self.passive.get_mut(&peer) {
                known.retry_at = Some(air.now() + FAILURE_PAUSE);
            }
            // What it has that this node has not may come all the same.
            if why == Why::Reunion {
                self.open_reconciliation(air, peer);
            }
            return self.refill(air);
        }
        if self.active.len() >= self.active_max() && !self.active.contains_key(&peer) {
            match why {
                Why::Fill => {
                    air.tell(peer, self.id, Message::Disconnect);
                    return;
                }
                Why::Closer => self.make_room(air, true),
                Why::Walk | Why::Reunion => self.make_room(air, false),
            }
        }
        self.add(air, peer);
        self.open_reconciliation(air, peer);
        self.fill_pause = FILL_PAUSE_MIN;
        self.refill(air);
    }

    pub(super) fn refill(&mut self, air: &Air<'_, '_, P>) {
        if self.active.len() < self.active_max() && !self.timers.contains(&Timer::Fill) {
            self.timers.set(Timer::Fill, air.now() + self.fill_pause);
        }
    }

    fn add(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        self.passive.remove(&peer);
        self.unask(air, &peer);
        if self.active.contains_key(&peer) {
            return;
        }
        self.orders += 1;
        let neighbour = Neighbour {
            order: self.orders,
            // In a tree a new link is announced over until it has a place there.
            is_eager: self.parent.is_none() && !self.is_root(),
            is_child: false,
            was_parent: false,
            root: None,
            beacons: super::tree::told_beacons(air.now()),
            news: Vec::new(),
            deferred: Vec::new(),
            walks: TokenBucket::new(WALK_BURST, WALK_INTERVAL, air.now()),
        };
        self.active.insert(peer, neighbour);
        air.sessions.hold(peer);
        air.context.count(Counter::NeighboursUp);
        self.greet(air, peer);
    }

    /// A neighbour is no longer one.
    fn lose(&mut self, air: &mut Air<'_, '_, P>, peer: P, is_session_lost: bool) {
        if self.active.remove(&peer).is_some() {
            air.sessions.unhold(&peer);
            self.freed.push(peer);
            air.context.count(Counter::NeighboursDown);
            self.neighbour_lost(air, peer, is_session_lost);
            self.refill(air);
        }
    }

    pub(super) fn parted(&mut self, air: &mut Air<'_, '_, P>, peer: P) {
        if !self.active.contains_key(&peer) {
            return air.penalize(peer);
        }
        self.lose(air, peer, false);
        self.meet(air, peer);
    }

    /// The neighbours but those that have been here longest.
    fn young(&self) -> Vec<P> {
        let mut by_age: Vec<(u64, P)> =
            self.active.iter().map(|(&peer, neighbour)| (neighbour.order, peer)).collect();
        by_age.sort_unstable();
        by_age.into_iter().skip(PROTECTED).map(|(_, peer)| peer).collect()
    }

    /// Those of them that may go without a change of the tree.
    fn spare(&self) -> Vec<P> {
        self.young().into_iter().filter(|peer| !self.is_in_tree(peer)).collect()
    }

    /// Gives up a neighbour for another: the most distant, or any that is not protected.
    fn make_room(&mut self, air: &mut Air<'_, '_, P>, is_distance: bool) {
        let spare = self.spare();
        let gone = if is_distance {
            spare.iter().copied().max_by_key(|peer| air.sessions.round_trip(peer))
        } else {
            air.pick(&spare)
        };
        if let Some(peer) = gone.or_else(|| air.pick(&self.young())) {
            air.tell(peer, self.id, Message::Disconnect);
            self.lose(air, peer, false);
            self.meet(air, peer);
        }
    }

    /// Whether a peer is closer than the most distant neighbour that may go, by a fifth.
    fn is_closer(&self, air: &Air<'_, '_, P>, peer: &P) -> bool {
        let worst =
            self.spare().iter().map(|peer| air.sessions.round_trip(peer)).max().unwrap_or_default();
        air.sessions.round_trip(peer) < worst.saturating_sub(worst / 5)
    }

    pub(super) fn seek_closer(&mut self, air: &mut Air<'_, '_, P>) {
        let pause = air.between(CLOSER_PAUSE / 2, CLOSER_PAUSE);
        self.timers.set(Timer::Closer, air.now() + pause);
        if self.active.len() >= self.active_max()
            && let Some(peer) = self.some_acquaintance(air)
        {
            self.ask(air, peer, Why::Closer);
        }
    }

    pub(super) fn retry_lost(&mut self, air: &mut Air<'_, '_, P>) {
        let now = air.now();
        while let Some((peer, until)) = self.lost.pop_front() {
            if self.active.contains_key(&peer) || until <= now {
                continue;
            }
            self.lost.push_back((peer, until));
            if !self.asked.contains_key(&peer) {
                if self.passive.get(&peer).is_none() {
                    // Forgotten meanwhile, and with it where it is reached.
                    self.lost.pop_back();
                    continue;
                }
                self.ask(air, peer, Why::Reunion);
            }
            break;
        }
        if !self.lost.is_empty() {
            let pause = air.between(RETRY_PAUSE / 2, RETRY_PAUSE);
            self.timers.set(Timer::Retry, now + pause);
        }
    }
}
