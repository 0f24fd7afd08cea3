//! The passive view of a topic: peers that may become neighbours, and where they are reached.
//!
//! It is a sorted list, as it is short, full most of the time, and picked from at random.
//!
//! What others say is hearsay: it never changes where a peer said itself that it is reached, and those
//! that one peer named take a quarter of the view at most.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Contact, Peer};

/// Those that one peer named take this part of the view at most.
const TELLER_SHARE: usize = 4;

/// A peer in the passive view.
#[derive(Clone, Debug)]
pub(super) struct Acquaintance<P> {
    pub(super) contact: Contact,
    /// Who said so, if it is hearsay: there was never a session with the peer while it was here.
    teller: Option<P>,
    pub(super) failures: u32,
    /// Not before this is it tried again.
    pub(super) retry_at: Option<Instant>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Passive<P> {
    all: Vec<(P, Acquaintance<P>)>,
}

impl<P: Peer> Passive<P> {
    pub(super) fn new() -> Self {
        Self { all: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (P, &Acquaintance<P>)> {
        self.all.iter().map(|(peer, known)| (*peer, known))
    }

    /// Returns the peer in this place.
    pub(super) fn at(&self, index: usize) -> Option<P> {
        self.all.get(index).map(|(peer, _)| *peer)
    }

    pub(super) fn get(&self, peer: &P) -> Option<&Acquaintance<P>> {
        let index = self.find(peer).ok()?;
        self.all.get(index).map(|(_, known)| known)
    }

    pub(super) fn get_mut(&mut self, peer: &P) -> Option<&mut Acquaintance<P>> {
        let index = self.find(peer).ok()?;
        self.all.get_mut(index).map(|(_, known)| known)
    }

    /// Notes where a peer is reached. Hearsay changes only other hearsay that turned out to be wrong.
    pub(super) fn insert(&mut self, peer: P, contact: Contact, teller: Option<P>) {
        match self.find(&peer) {
            Ok(index) => {
                let known = &mut self.all[index].1;
                if teller.is_none() || (known.teller.is_some() && known.failures > 0) {
                    (known.contact, known.teller) = (contact, teller);
                }
            }
            Err(index) => {
                let known = Acquaintance { contact, teller, failures: 0, retry_at: None };
                self.all.insert(index, (peer, known));
            }
        }
    }

    /// Of which peers one is to make room for one more: of those that the same peer named, if they take
    /// their share, or of those that anybody named who named the most. Peers that nobody else named
    /// come last.
    pub(super) fn to_give_up(&self, teller: Option<P>, passive_max: usize) -> Vec<P> {
        let told_by = |teller: P| -> Vec<P> {
            let told = self.all.iter().filter(|(_, known)| known.teller == Some(teller));
            told.map(|(peer, _)| *peer).collect()
        };
        if let Some(own) = teller.map(told_by)
            && own.len() >= (passive_max / TELLER_SHARE).max(1)
        {
            return own;
        }
        if self.all.len() < passive_max {
            return Vec::new();
        }
        let mut counts: BTreeMap<P, usize> = BTreeMap::new();
        for teller in self.all.iter().filter_map(|(_, known)| known.teller) {
            *counts.entry(teller).or_default() += 1;
        }
        match counts.into_iter().max_by_key(|&(_, count)| count) {
            Some((teller, _)) => told_by(teller),
            None => self.all.iter().map(|(peer, _)| *peer).collect(),
        }
    }

    pub(super) fn remove(&mut self, peer: &P) {
        if let Ok(index) = self.find(peer) {
            self.all.remove(index);
        }
    }

    fn find(&self, peer: &P) -> Result<usize, usize> {
        self.all.binary_search_by_key(peer, |(known, _)| *known)
    }
}
