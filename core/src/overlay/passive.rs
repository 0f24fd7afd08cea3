//! The passive view of a topic: peers that may become neighbours, and where they are reached.
//!
//! It is a sorted list, as it is short, full most of the time, and picked from at random.

use std::time::Instant;

use super::{Contact, Peer};

/// A peer in the passive view.
#[derive(Clone, Debug)]
pub(super) struct Acquaintance {
    pub(super) contact: Contact,
    pub(super) failures: u32,
    /// Not before this is it tried again.
    pub(super) retry_at: Option<Instant>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Passive<P> {
    all: Vec<(P, Acquaintance)>,
}

impl<P: Peer> Passive<P> {
    pub(super) fn new() -> Self {
        Self { all: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (P, &Acquaintance)> {
        self.all.iter().map(|(peer, known)| (*peer, known))
    }

    /// Returns the peer in this place.
    pub(super) fn at(&self, index: usize) -> Option<P> {
        self.all.get(index).map(|(peer, _)| *peer)
    }

    pub(super) fn get(&self, peer: &P) -> Option<&Acquaintance> {
        let index = self.find(peer).ok()?;
        self.all.get(index).map(|(_, known)| known)
    }

    pub(super) fn get_mut(&mut self, peer: &P) -> Option<&mut Acquaintance> {
        let index = self.find(peer).ok()?;
        self.all.get_mut(index).map(|(_, known)| known)
    }

    /// Notes where a peer is reached.
    pub(super) fn insert(&mut self, peer: P, contact: Contact) {
        match self.find(&peer) {
            Ok(index) => self.all[index].1.contact = contact,
            Err(index) => {
                let known = Acquaintance { contact, failures: 0, retry_at: None };
                self.all.insert(index, (peer, known));
            }
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
