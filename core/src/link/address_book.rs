//! What a node knows of its peers: where they were reached, how well, and which agents live there.
//!
//! Anybody can make identities and name machines. So a machine has a place by what it is worth, its
//! `Standing`, and each standing has its own limit:
//!
//! | standing | what it takes | machines | for each network |
//! |---|---|---|---|
//! | named | the application asked for it or sent to it | [`NAMED_MAX`] | |
//! | heard | the application got a message from it | [`HEARD_MAX`] | [`PER_NETWORK_MAX`] |
//! | stranger | it had a session | [`STRANGERS_MAX`] | [`PER_NETWORK_MAX`] |
//! | hearsay | a peer named it | [`HEARSAY_MAX`] | |
//! | retired | it had a session and gave up its place | [`RETIRED_MAX`] | [`PER_NETWORK_MAX`] |
//!
//! A machine never loses its place to one of another standing, nor while it has a session. Of those
//! with a limit for each network, the network that holds the most gives way, and in it the machine
//! that was used longest ago; of those that the application named, one that it does not keep.
//! Hearsay that finds no place is dropped.
//!
//! # Bindings
//!
//! The newest binding that was seen of an agent survives the loss of the machine's place: the
//! machine retires, with its bindings and without addresses. A node that runs therefore refuses an
//! older binding of a machine whose place was lost, unless [`PER_NETWORK_MAX`] machines of the same
//! network, or [`RETIRED_MAX`] of many, lost theirs after it. What is retired is not stored: over a
//! restart the promise holds for those that are named, heard, and strangers with a place.
//!
//! # Addresses
//!
//! Addresses of a machine are ordered by what became of them: those that worked last come first,
//! and what peers say comes last. The last [`PROVEN_KEPT`] that worked stay whatever happens.
//! Hearsay takes the places that are left and changes none; it goes when it fails.
//!
//! The book survives a restart, one record for each machine. It stores only machines and agents that
//! proved themselves, and machines and addresses that the application named.

mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::network::Network;
use crate::identity::{AgentId, MachineId};
use crate::wire::DecodeError;
use page::{Page, Place};
pub(super) use page::{Resident, Standing, Wish};

/// How many machines the book holds that the application named.
pub const NAMED_MAX: usize = 4096;

/// How many machines the book holds that the application got a message from and did not name.
pub const HEARD_MAX: usize = 1024;

/// How many machines the book holds that had a session and nothing else.
pub const STRANGERS_MAX: usize = 2048;

/// How many machines the book holds that peers named and that are not reached yet.
pub const HEARSAY_MAX: usize = 64;

/// How many machines the book holds of which it knows the bindings alone.
pub const RETIRED_MAX: usize = 4096;

/// How many machines of one standing the book holds of one IPv4 network of 24 bits or one IPv6
/// network of 48 bits, unless the application named them.
pub const PER_NETWORK_MAX: usize = 64;

/// How many addresses of a machine the book holds.
pub const ADDRESSES_MAX: usize = 8;

/// How many of the addresses that worked last stay whatever happens.
pub const PROVEN_KEPT: usize = 2;

impl Standing {
    const fn machines_max(self) -> usize {
        match self {
            Self::Retired => RETIRED_MAX,
            Self::Hearsay => HEARSAY_MAX,
            Self::Stranger => STRANGERS_MAX,
            Self::Heard => HEARD_MAX,
            Self::Named => NAMED_MAX,
        }
    }
}

/// A candidate for a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    /// Whether nothing but the word of a peer stands for it.
    pub(super) is_hearsay: bool,
}

/// The book.
#[derive(Debug)]
pub(super) struct AddressBook {
    pages: BTreeMap<MachineId, Page>,
    /// Where the agents on the pages were proven to live last.
    homes: BTreeMap<AgentId, MachineId>,
    /// How many machines have each standing.
    counts: [usize; Standing::ALL.len()],
    /// Counts the uses of pages.
    clock: u64,
}

/// What must be stored after a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Whether the record of the machine is another one.
    pub(super) is_changed: bool,
    /// A machine that lost its place: its record must go.
    pub(super) forgotten: Option<MachineId>,
}

impl AddressBook {
    pub(super) fn new() -> Self {
        Self {
            pages: BTreeMap::new(),
            homes: BTreeMap::new(),
            counts: [0; Standing::ALL.len()],
            clock: 0,
        }
    }

    /// Takes a stored record back. Returns a machine that there is no room for.
    pub(super) fn restore(
        &mut self,
        machine: MachineId,
        record: &[u8],
    ) -> Result<Option<MachineId>, DecodeError> {
        let page = Page::read(record)?;
        self.clock = self.clock.max(page.used);
        let used = page.used;
        let changed = self.change(machine, |present| *present = page);
        if let Some(page) = self.pages.get_mut(&machine) {
            page.used = used;
        }
        Ok(changed.forgotten)
    }

    /// Returns the record of a machine to store, if it is worth one.
    pub(super) fn record(&self, machine: &MachineId) -> Option<bytes::Bytes> {
        self.pages.get(machine).and_then(Page::record)
    }

    /// The application asked for a machine, at an address or wherever it is.
    pub(super) fn name(&mut self, machine: MachineId, address: Option<SocketAddr>) -> Changed {
        self.change(machine, |page| {
            page.standing = Standing::Named;
            if let Some(address) = address {
                let known = page.places.iter().find(|place| place.address == address).copied();
                let place =
                    known.unwrap_or(Place { address, worked_at: 0, failures: 0, is_named: true });
                page.set(Place { is_named: true, ..place });
            }
        })
    }

    /// A machine of which something is known got at least this standing.
    pub(super) fn raise(&mut self, machine: MachineId, standing: Standing) -> Changed {
        match self.pages.get(&machine) {
            Some(page) if page.standing < standing && !page.places.is_empty() => {
                self.change(machine, |page| page.standing = standing)
            }
            Some(_) | None => Changed::default(),
        }
    }

    /// The application said whether it wants a session with a machine.
    pub(super) fn wish(&mut self, machine: MachineId, wish: Wish) -> Changed {
        match self.pages.get(&machine) {
            Some(page) if page.wish != wish => self.change(machine, |page| page.wish = wish),
            Some(_) | None => Changed::default(),
        }
    }

    /// The application asked for a session with a machine that may be known, once or at all times.
    pub(super) fn ask(&mut self, machine: MachineId, is_kept: bool) -> Changed {
        let named = self.raise(machine, Standing::Named);
        let is_open = self.pages.get(&machine).is_some_and(|page| page.wish >= Wish::Open);
        let wish = match (is_kept, is_open) {
            (true, _) => self.wish(machine, Wish::Kept),
            (false, true) => Changed::default(),
            (false, false) => self.wish(machine, Wish::Open),
        };
        Changed {
            is_changed: named.is_changed || wish.is_changed,
            forgotten: named.forgotten.or(wish.forgotten),
        }
    }

    /// A peer named an address of a machine. It is noted if there is room.
    pub(super) fn hear_of(&mut self, machine: MachineId, address: SocketAddr) {
        let standing = self.pages.get(&machine).map(|page| page.standing);
        let is_full = self.counts[Standing::Hearsay as usize] >= HEARSAY_MAX;
        if is_full && standing.is_none_or(|standing| standing < Standing::Hearsay) {
            return;
        }
        if !self.candidates(&machine).iter().any(|known| known.address == address) {
            self.change(machine, |page| {
                page.standing = page.standing.max(Standing::Hearsay);
                page.set(Place { address, worked_at: 0, failures: 0, is_named: false });
            });
        }
    }

    /// Notes that a machine has a session.
    pub(super) fn worked(
        &mut self,
        machine: MachineId,
        address: SocketAddr,
        unix_seconds: u64,
        residents: &[Resident],
    ) -> Changed {
        let changed = self.change(machine, |page| {
            page.standing = page.standing.max(Standing::Stranger);
            page.has_session = true;
            page.network = Some(Network::of(address.ip()));
            let is_named = page.is_named(address);
            page.set(Place { address, worked_at: unix_seconds.max(1), failures: 0, is_named });
            page.reside(residents);
        });
        for resident in residents {
            self.homes.insert(resident.agent, machine);
        }
        changed
    }

    /// Notes that a machine has no session any more, and where it was when that ended. Another one
    /// may lose its place now: those with a session keep theirs beyond the limits.
    pub(super) fn session_ended(
        &mut self,
        machine: MachineId,
        address: SocketAddr,
        unix_seconds: u64,
    ) -> Changed {
        let mut has_moved = false;
        let changed = self.change(machine, |page| {
            page.has_session = false;
            has_moved = page.last_worked().is_none_or(|place| place.address != address);
            if has_moved {
                page.set(Place {
                    address,
                    worked_at: unix_seconds.max(1),
                    failures: 0,
                    is_named: page.is_named(address),
                });
            }
        });
        Changed { is_changed: has_moved, ..changed }
    }

    /// Returns the machines that were reached at some time, by their ids.
    pub(super) fn proven(&self) -> Vec<MachineId> {
        self.pages
            .iter()
            .filter(|(_, page)| page.is_proven())
            .map(|(&machine, _)| machine)
            .collect()
    }

    /// Returns the machines that the application keeps, by their ids.
    pub(super) fn kept(&self) -> Vec<MachineId> {
        let kept = self.pages.iter().filter(|(_, page)| page.wish == Wish::Kept);
        kept.map(|(&machine, _)| machine).collect()
    }

    /// Returns the machines to go back to after a restart, the most valuable first: those that were
    /// reached at some time, by standing, then by when they were reached. It leaves out those that
    /// the application keeps, and those that it parted from.
    pub(super) fn most_valuable(&self) -> Vec<MachineId> {
        let worth = |page: &Page| (page.standing, page.last_worked().map(|place| place.worked_at));
        let mut all: Vec<_> = self
            .pages
            .iter()
            .filter(|(_, page)| page.is_proven() && page.wish == Wish::Open)
            .map(|(&machine, page)| (worth(page), machine))
            .collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.into_iter().map(|(_, machine)| machine).collect()
    }

    /// Forgets a machine of which nothing is known but what peers said.
    pub(super) fn forget_hearsay(&mut self, machine: &MachineId) {
        if self.pages.get(machine).is_some_and(|page| page.standing == Standing::Hearsay) {
            self.give_up(*machine);
        }
    }

    /// Notes that an address did not answer. What a peer said is not tried again.
    pub(super) fn failed(&mut self, machine: MachineId, address: SocketAddr) {
        let Some(page) = self.pages.get_mut(&machine) else { return };
        match page.places.iter().find(|place| place.address == address).copied() {
            Some(place) if place.is_hearsay() => page.remove(address),
            Some(place) => {
                page.set(Place { failures: place.failures.saturating_add(1), ..place });
            }
            None => {}
        }
    }

    /// Returns where a machine may be, the most promising first.
    pub(super) fn candidates(&self, machine: &MachineId) -> Vec<Candidate> {
        let places = self.pages.get(machine).map(|page| &page.places[..]).unwrap_or_default();
        let candidate =
            |place: &Place| Candidate { address: place.address, is_hearsay: place.is_hearsay() };
        places.iter().map(candidate).collect()
    }

    /// Tells whether an address of a machine is known.
    pub(super) fn knows(&self, machine: &MachineId) -> bool {
        self.pages.get(machine).is_some_and(|page| !page.places.is_empty())
    }

    /// Returns the machine that an agent was last proven to live on.
    pub(super) fn home(&self, agent: &AgentId) -> Option<MachineId> {
        self.homes.get(agent).copied()
    }

    /// Returns the newest binding that was seen of an agent on a machine; zero if none was.
    pub(super) fn sequence(&self, machine: &MachineId, agent: &AgentId) -> u64 {
        let residents = self.pages.get(machine).map(|page| &page.residents[..]).unwrap_or(&[]);
        let resident = residents.iter().find(|resident| resident.agent == *agent);
        resident.map_or(0, |resident| resident.sequence)
    }

    /// Changes a page, marks it as used, and lets another machine give way if there are too many.
    fn change(&mut self, machine: MachineId, change: impl FnOnce(&mut Page)) -> Changed {
        self.clock = self.clock.saturating_add(1);
        let mut page = self.take(machine).unwrap_or_else(Page::new);
        change(&mut page);
        page.used = self.clock;
        let standing = page.standing;
        if standing >= Standing::Stranger {
            for resident in &page.residents[..] {
                self.homes.entry(resident.agent).or_insert(machine);
            }
        }
        self.put(machine, page);
        Changed { is_changed: true, forgotten: self.make_room(standing, machine) }
    }

    /// Takes a page out, and the agents on it out of the list of homes.
    fn take(&mut self, machine: MachineId) -> Option<Page> {
        let page = self.pages.remove(&machine)?;
        self.counts[page.standing as usize] -= 1;
        for resident in &page.residents[..] {
            if self.homes.get(&resident.agent) == Some(&machine) {
                self.homes.remove(&resident.agent);
            }
        }
        Some(page)
    }

    fn put(&mut self, machine: MachineId, page: Page) {
        self.counts[page.standing as usize] += 1;
        self.pages.insert(machine, page);
    }

    /// Lets a machine give way if there are too many of a standing, or too many of them in the
    /// network of a certain one. Returns it if its record must go.
    fn make_room(&mut self, standing: Standing, newest: MachineId) -> Option<MachineId> {
        let network = self.pages.get(&newest)?.network.filter(|_| standing != Standing::Named);
        let count = self.counts[standing as usize];
        let among = match network {
            Some(network)
                if count > PER_NETWORK_MAX
                    && self.of_network(standing, network) > PER_NETWORK_MAX =>
            {
                Some(network)
            }
            Some(_) | None if count <= standing.machines_max() => return None,
            Some(_) => self.most_crowded(standing),
            None => None,
        };
        let (_, loser) = self
            .of_standing(standing)
            .filter(|(machine, page)| !page.has_session && **machine != newest)
            .filter(|(_, page)| among.is_none() || page.network == among)
            .map(|(&machine, page)| ((page.wish == Wish::Kept, page.used), machine))
            .min()?;
        self.give_up(loser);
        (standing >= Standing::Stranger).then_some(loser)
    }

    fn of_standing(&self, standing: Standing) -> impl Iterator<Item = (&MachineId, &Page)> {
        self.pages.iter().filter(move |(_, page)| page.standing == standing)
    }

    fn of_network(&self, standing: Standing, network: Network) -> usize {
        self.of_standing(standing).filter(|(_, page)| page.network == Some(network)).count()
    }

    /// Returns the network that has the most machines of a standing that can give way.
    fn most_crowded(&self, standing: Standing) -> Option<Network> {
        let mut sizes: BTreeMap<Network, usize> = BTreeMap::new();
        for (_, page) in self.of_standing(standing).filter(|(_, page)| !page.has_session) {
            if let Some(network) = page.network {
                *sizes.entry(network).or_default() += 1;
            }
        }
        sizes.into_iter().max_by_key(|(_, size)| *size).map(|(network, _)| network)
    }

    /// A machine loses its place. Its bindings stay known.
    fn give_up(&mut self, machine: MachineId) {
        let Some(mut page) = self.take(machine) else { return };
        if page.standing > Standing::Retired && !page.residents.is_empty() {
            page.retire();
            self.put(machine, page);
            self.make_room(Standing::Retired, machine);
        }
    }
}
