//! What a node knows of its peers: where they were reached, how well, and which agents live there.
//!
//! Addresses of a machine are ordered by what became of them: those that worked last come first.
//! The book survives a restart, one record for each machine. It holds only machines and agents that
//! proved themselves, and addresses that the application named.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::AGENTS_PER_MACHINE_MAX;
use crate::identity::{AgentId, MachineId};
use crate::support::BoundedMap;
use crate::wire::{self, BoundedVec, DecodeError, Versioned};

/// How many machines the book holds. The one that was used longest ago is forgotten.
pub const MACHINES_MAX: usize = 4096;

/// How many addresses of a machine the book holds.
pub const ADDRESSES_MAX: usize = 8;

/// An address and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    address: SocketAddr,
    /// When it worked last, in seconds since the Unix epoch; zero if it never did.
    worked_at: u64,
    /// How many attempts failed since then.
    failures: u32,
}

/// An agent that proved that it lives on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resident {
    pub(super) agent: AgentId,
    /// The newest binding seen: older ones are not accepted any more.
    pub(super) sequence: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    places: BoundedVec<Place, ADDRESSES_MAX>,
    residents: BoundedVec<Resident, AGENTS_PER_MACHINE_MAX>,
}

impl Versioned for Page {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 64 * (ADDRESSES_MAX + AGENTS_PER_MACHINE_MAX);
}

/// The book.
#[derive(Debug)]
pub(super) struct AddressBook {
    pages: BoundedMap<MachineId, Page>,
    homes: BoundedMap<AgentId, MachineId>,
}

impl AddressBook {
    pub(super) fn new() -> Self {
        Self {
            pages: BoundedMap::new(MACHINES_MAX),
            homes: BoundedMap::new(MACHINES_MAX * AGENTS_PER_MACHINE_MAX),
        }
    }

    /// Takes a stored record back.
    pub(super) fn restore(&mut self, machine: MachineId, record: &[u8]) -> Result<(), DecodeError> {
        let page: Page = wire::decode(record)?;
        for resident in &page.residents[..] {
            self.homes.insert(resident.agent, machine);
        }
        self.pages.insert(machine, page);
        Ok(())
    }

    /// Returns the record of a machine to store.
    pub(super) fn record(&self, machine: &MachineId) -> Option<bytes::Bytes> {
        self.pages.peek(machine).map(wire::encode)
    }

    /// Adds an address that the application named. Returns a machine that had to be forgotten.
    pub(super) fn add(&mut self, machine: MachineId, address: SocketAddr) -> Option<MachineId> {
        self.change(machine, |page| {
            if !page.places.iter().any(|place| place.address == address) {
                page.add(Place { address, worked_at: 0, failures: 0 });
            }
        })
    }

    /// Notes that a link came up. Returns a machine that had to be forgotten.
    pub(super) fn worked(
        &mut self,
        machine: MachineId,
        address: SocketAddr,
        unix_seconds: u64,
        residents: &[Resident],
    ) -> Option<MachineId> {
        let forgotten = self.change(machine, |page| {
            page.add(Place { address, worked_at: unix_seconds, failures: 0 });
            let kept = residents.iter().take(AGENTS_PER_MACHINE_MAX).copied().collect();
            page.residents = BoundedVec::new(kept).unwrap_or_default();
        });
        for resident in residents {
            self.homes.insert(resident.agent, machine);
        }
        forgotten
    }

    /// Returns the machines that were reached at some time.
    pub(super) fn proven(&self) -> Vec<MachineId> {
        let reached = |page: &Page| page.places.iter().any(|place| place.worked_at > 0);
        self.pages.iter().filter(|(_, page)| reached(page)).map(|(&machine, _)| machine).collect()
    }

    /// Forgets a machine of which nothing is known but what somebody said. Returns whether it was
    /// such a one.
    pub(super) fn forget_unproven(&mut self, machine: &MachineId) -> bool {
        let is_said = |page: &Page| {
            page.residents.is_empty() && page.places.iter().all(|place| place.worked_at == 0)
        };
        let is_unproven = self.pages.peek(machine).is_some_and(is_said);
        if is_unproven {
            self.pages.remove(machine);
        }
        is_unproven
    }

    /// Notes that an address did not answer.
    pub(super) fn failed(&mut self, machine: MachineId, address: SocketAddr) {
        let Some(page) = self.pages.get_mut(&machine) else { return };
        let known = page.places.iter().find(|place| place.address == address).copied();
        if let Some(place) = known {
            page.add(Place { failures: place.failures.saturating_add(1), ..place });
        }
    }

    /// Returns the addresses of a machine, the most promising first.
    pub(super) fn addresses(&self, machine: &MachineId) -> Vec<SocketAddr> {
        self.pages
            .peek(machine)
            .map(|page| page.places.iter().map(|place| place.address).collect())
            .unwrap_or_default()
    }

    /// Returns the machine that an agent was last proven to live on.
    pub(super) fn home(&self, agent: &AgentId) -> Option<MachineId> {
        self.homes.peek(agent).copied()
    }

    /// Returns the newest binding that was seen of an agent on a machine; zero if none was.
    pub(super) fn sequence(&self, machine: &MachineId, agent: &AgentId) -> u64 {
        let residents = self.pages.peek(machine).map(|page| &page.residents[..]).unwrap_or(&[]);
        let resident = residents.iter().find(|resident| resident.agent == *agent);
        resident.map_or(0, |resident| resident.sequence)
    }

    fn change(&mut self, machine: MachineId, change: impl FnOnce(&mut Page)) -> Option<MachineId> {
        let mut page = self.pages.remove(&machine).unwrap_or_default();
        change(&mut page);
        self.pages.insert(machine, page).map(|(forgotten, _)| forgotten)
    }
}

impl Page {
    /// Sets a place and puts the places in order; the least promising one beyond the limit goes.
    fn add(&mut self, place: Place) {
        let others = self.places.iter().filter(|other| other.address != place.address);
        let mut places: Vec<Place> = others.copied().collect();
        places.push(place);
        places.sort_by_key(|place| (place.failures, std::cmp::Reverse(place.worked_at)));
        places.truncate(ADDRESSES_MAX);
        self.places = BoundedVec::new(places).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    #[test]
    fn addresses_that_worked_last_come_first_and_the_list_is_bounded() {
        let (mut book, machine) = (AddressBook::new(), MachineId([1; 32]));
        for number in 1..=20 {
            book.add(machine, address(number));
        }
        assert_eq!(book.addresses(&machine).len(), ADDRESSES_MAX);
        book.worked(machine, address(100), 5, &[]);
        book.worked(machine, address(101), 9, &[]);
        book.failed(machine, address(1));
        let order = book.addresses(&machine);
        assert_eq!(order[..2], [address(101), address(100)]);
        assert!(!order[..order.len() - 1].contains(&address(1)));
    }

    #[test]
    fn a_book_survives_a_restart() {
        let (mut book, machine) = (AddressBook::new(), MachineId([1; 32]));
        let resident = Resident { agent: AgentId([2; 32]), sequence: 7 };
        book.worked(machine, address(1), 5, &[resident]);
        let mut restored = AddressBook::new();
        restored.restore(machine, &book.record(&machine).unwrap()).unwrap();
        assert_eq!(restored.addresses(&machine), [address(1)]);
        assert_eq!(restored.home(&resident.agent), Some(machine));
        assert_eq!(restored.sequence(&machine, &resident.agent), 7);
    }

    #[test]
    fn the_book_forgets_the_machine_that_was_used_longest_ago() {
        let mut book = AddressBook::new();
        for number in 0..=MACHINES_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let is_full = number == MACHINES_MAX as u64;
            let forgotten = is_full.then_some(MachineId([0; 32]));
            assert_eq!(book.add(MachineId(id), address(1)), forgotten);
        }
        assert_eq!(book.pages.len(), MACHINES_MAX);
        assert!(book.addresses(&MachineId([0; 32])).is_empty());
    }
}
