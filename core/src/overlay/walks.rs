//! The walks of HyParView: messages that go from neighbour to neighbour at random.
//!
//! A newcomer's walk looks for neighbours for it; a shuffle exchanges acquaintances with whoever it ends
//! at, and its answer comes back along the walk. Walks of one neighbour are limited, and of a walk no more
//! is remembered than where it came from. Who becomes whose neighbour is the business of
//! [`membership`](super::membership).

use std::time::Duration;

use super::frames::{Entries, Entry, Message};
use super::membership::Why;
use super::topic::{Air, Timer, Topic};
use super::{Contact, Peer};
use crate::overlay::Counter;

/// How many walks a node remembers the way back of.
pub(super) const WALKS_MAX: usize = 64;

/// The pauses between shuffles: short at first, so that a newcomer soon knows many.
pub(super) const SHUFFLE_PAUSE_FIRST: Duration = Duration::from_secs(10);
const SHUFFLE_PAUSE: Duration = Duration::from_secs(60);
const SHUFFLES_FIRST: u32 = 10;

/// How many peers of the active and of the passive view a shuffle names.
const SHUFFLE_ACTIVE: usize = 3;
const SHUFFLE_PASSIVE: usize = 6;

/// How many steps a shuffle takes.
const SHUFFLE_STEPS: u8 = 3;

impl<P: Peer> Topic<P> {
    /// A newcomer looks for neighbours.
    pub(super) fn newcomer(
        &mut self,
        air: &mut Air<'_, '_, P>,
        from: P,
        entry: Entry<P>,
        steps: u8,
    ) {
        if !self.may_walk(air, &from) || entry.peer == self.me {
            return;
        }
        let entry = air.resolve(&from, entry);
        let steps = steps.min(self.config.walk_steps);
        let peer = entry.peer;
        if steps == self.config.passive_walk_steps {
            self.learn(air, from, entry.clone());
        }
        let others: Vec<P> =
            self.active.keys().copied().filter(|other| *other != from && *other != peer).collect();
        match air.pick(&others) {
            Some(next) if steps > 0 => {
                let message = Message::ForwardJoin { entry, steps: steps - 1 };
                air.tell(next, self.id, message);
            }
            _ => {
                self.learn(air, from, entry);
                self.ask(air, peer, Why::Walk);
            }
        }
    }

    fn may_walk(&mut self, air: &mut Air<'_, '_, P>, from: &P) -> bool {
        let now = air.now();
        let may = self.active.get_mut(from).is_some_and(|neighbour| neighbour.walks.take(now));
        if !may {
            air.context.count(Counter::RequestsOverLimit);
        }
        may
    }

    /// Starts an exchange of acquaintances.
    pub(super) fn shuffle(&mut self, air: &mut Air<'_, '_, P>) {
        self.shuffles = self.shuffles.saturating_add(1);
        let is_new = self.shuffles < SHUFFLES_FIRST;
        let pause = if is_new { SHUFFLE_PAUSE_FIRST } else { SHUFFLE_PAUSE };
        let pause = air.between(pause - pause / 4, pause + pause / 4);
        self.timers.set(Timer::Shuffle, air.now() + pause);
        let neighbours: Vec<P> = self.active.keys().copied().collect();
        let Some(first) = air.pick(&neighbours) else { return };
        let mut entries = vec![Entry { peer: self.me, contact: Contact::default() }];
        entries.extend(self.some_entries(air, SHUFFLE_ACTIVE, SHUFFLE_PASSIVE, first));
        let walk = air.context.rng.next_u32();
        self.walks.insert(walk, self.me);
        let entries = bounded(entries);
        air.tell(first, self.id, Message::Shuffle { walk, steps: SHUFFLE_STEPS, entries });
    }

    fn some_entries(
        &self,
        air: &mut Air<'_, '_, P>,
        active: usize,
        passive: usize,
        except: P,
    ) -> Vec<Entry<P>> {
        let near: Vec<P> = self.active.keys().copied().filter(|peer| *peer != except).collect();
        let mut entries: Vec<Entry<P>> = Vec::new();
        for peer in air.sample(near, active) {
            entries.push(Entry { peer, contact: air.sessions.contact(&peer) });
        }
        let far: Vec<P> = self
            .passive
            .iter()
            .filter(|(peer, known)| *peer != except && known.failures == 0)
            .map(|(peer, _)| peer)
            .collect();
        for peer in air.sample(far, passive) {
            if let Some(known) = self.passive.get(&peer) {
                entries.push(Entry { peer, contact: known.contact.clone() });
            }
        }
        entries
    }

    /// A shuffle came by.
    pub(super) fn walk_came(
        &mut self,
        air: &mut Air<'_, '_, P>,
        from: P,
        (walk, steps): (u32, u8),
        entries: Vec<Entry<P>>,
    ) {
        if !self.may_walk(air, &from) {
            return;
        }
        let entries: Vec<Entry<P>> =
            entries.into_iter().map(|entry| air.resolve(&from, entry)).collect();
        let steps = steps.min(SHUFFLE_STEPS);
        let others: Vec<P> = self.active.keys().copied().filter(|peer| *peer != from).collect();
        match air.pick(&others) {
            Some(next) if steps > 1 && self.walks.peek(&walk).is_none() => {
                self.walks.insert(walk, from);
                let entries = bounded(entries);
                air.tell(next, self.id, Message::Shuffle { walk, steps: steps - 1, entries });
            }
            _ => {
                let count = entries.len();
                let mut answer = self.some_entries(air, 0, count, from);
                answer.push(Entry { peer: self.me, contact: Contact::default() });
                for entry in entries {
                    self.learn(air, from, entry);
                }
                let entries = bounded(answer);
                air.tell(from, self.id, Message::ShuffleReply { walk, entries });
            }
        }
    }

    /// The answer to a shuffle comes back.
    pub(super) fn walk_returned(
        &mut self,
        air: &mut Air<'_, '_, P>,
        from: P,
        walk: u32,
        entries: Vec<Entry<P>>,
    ) {
        let Some(back) = self.walks.remove(&walk) else { return };
        let entries: Vec<Entry<P>> =
            entries.into_iter().map(|entry| air.resolve(&from, entry)).collect();
        if back == self.me {
            for entry in entries {
                self.learn(air, from, entry);
            }
            self.refill(air);
        } else {
            air.tell(back, self.id, Message::ShuffleReply { walk, entries: bounded(entries) });
        }
    }
}

/// As many entries as a frame takes.
fn bounded<P>(mut entries: Vec<Entry<P>>) -> Entries<P> {
    entries.truncate(super::frames::ENTRIES_MAX);
    Entries::new(entries).expect("they were cut to what fits")
}
