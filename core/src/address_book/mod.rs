//! The address book: the peers of a node, their addresses, and the agents on them.
//!
//! Identities are free, and anybody can name machines. So each machine is held for a reason, its
//! [`Standing`], and each standing has its own limit:
//!
//! | standing | reason | machines | in one network |
//! |---|---|---|---|
//! | named | the application asked for it or sent to it | [`NAMED_MAX`] | |
//! | heard | the application got a message from it | [`HEARD_MAX`] | [`PER_NETWORK_MAX`] |
//! | stranger | it had a session | [`STRANGERS_MAX`] | [`PER_NETWORK_MAX`] |
//! | hearsay | a peer named it | [`HEARSAY_MAX`] | |
//! | retired | it had a session and was evicted | [`RETIRED_MAX`] | [`PER_NETWORK_MAX`] |
//!
//! # How it is driven
//!
//! The owner reports what happens to sessions and dials, and what the application and peers ask
//! for. A call that may change a stored record returns a [`Changed`]; the owner then stores
//! [`AddressBook::record`] and deletes the record of the machine that was evicted. Records return
//! through [`AddressBook::restore`].
//!
//! # Invariants
//!
//! - A machine is evicted only for another one of the same standing, and never while it has a
//!   session. Where a network has a limit, the network that holds the most loses its least recently
//!   used machine. Among named machines, one that the application does not keep goes first.
//! - Hearsay beyond its limit is dropped. It changes nothing that is known otherwise, and an
//!   address of hearsay is removed when a dial to it fails.
//! - The addresses of a machine are ordered by their chance of success: the fewest failures first,
//!   then the latest success; hearsay comes last. The last [`PROVEN_KEPT`] that worked are never
//!   removed.
//! - The sequence of the newest binding of each agent survives eviction: the machine retires, with
//!   its bindings and without addresses. So a running node refuses an older binding of an evicted
//!   machine, unless [`PER_NETWORK_MAX`] machines of its network, or [`RETIRED_MAX`] of all, were
//!   evicted after it. Retired machines are not stored; over a restart the rule holds for the others.
//!
//! # Limits
//!
//! Those of the table, [`ADDRESSES_MAX`] and [`AGENTS_PER_MACHINE_MAX`].

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod network;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::identity::{AgentId, MachineId};
use crate::wire::DecodeError;
pub use network::{LEVELS, Network};
pub use record::{ConnectPolicy, KnownAgent, Standing};
use record::{KnownAddress, PeerRecord};

/// The most agents on one machine.
pub const AGENTS_PER_MACHINE_MAX: usize = 8;

/// The most machines that the application asked for or sent to.
pub const NAMED_MAX: usize = 4096;

/// The most machines that the application only got a message from.
pub const HEARD_MAX: usize = 1024;

/// The most machines that only had a session.
pub const STRANGERS_MAX: usize = 2048;

/// The most machines that only peers named.
pub const HEARSAY_MAX: usize = 64;

/// The most evicted machines whose bindings are remembered.
pub const RETIRED_MAX: usize = 4096;

/// The most machines of one standing in one [`Network`], unless the application asked for them.
pub const PER_NETWORK_MAX: usize = 64;

/// The most addresses of one machine.
pub const ADDRESSES_MAX: usize = 8;

/// The number of addresses that worked last and are never removed.
pub const PROVEN_KEPT: usize = 2;

/// An address to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The address.
    pub address: SocketAddr,
    /// Whether nothing but the word of a peer stands for it.
    pub is_hearsay: bool,
}

/// The address book, see the [module](self).
#[derive(Debug)]
pub struct AddressBook {
    records: BTreeMap<MachineId, PeerRecord>,
    /// The machine on which each agent was proven last.
    machines: BTreeMap<AgentId, MachineId>,
    /// How many machines have each standing.
    counts: [usize; Standing::ALL.len()],
    /// Counts the uses of records.
    clock: u64,
}

/// Which stored records a change affects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Whether the record of the machine must be stored again.
    pub is_changed: bool,
    /// A machine that was evicted: its record must be deleted.
    pub forgotten: Option<MachineId>,
}

impl Default for AddressBook {
    fn default() -> Self {
        Self::new()
    }
}

impl AddressBook {
    /// Makes an empty book.
    pub fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            machines: BTreeMap::new(),
            counts: [0; Standing::ALL.len()],
            clock: 0,
        }
    }

    /// Takes a stored record back. Returns the machine that was evicted for it, if any.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the record cannot be read.
    pub fn restore(
        &mut self,
        machine: MachineId,
        record: &[u8],
    ) -> Result<Option<MachineId>, DecodeError> {
        let record = PeerRecord::read(record)?;
        self.clock = self.clock.max(record.used);
        let used = record.used;
        let changed = self.change(machine, |present| *present = record);
        if let Some(record) = self.records.get_mut(&machine) {
            record.used = used;
        }
        Ok(changed.forgotten)
    }

    /// Returns the record of a machine to store, if it has one.
    pub fn record(&self, machine: &MachineId) -> Option<Bytes> {
        self.records.get(machine).and_then(PeerRecord::record)
    }

    /// The application named a machine, and perhaps an address of it.
    pub fn name(&mut self, machine: MachineId, address: Option<SocketAddr>) -> Changed {
        self.change(machine, |record| {
            record.standing = Standing::Named;
            if let Some(address) = address {
                let known = record.addresses.iter().find(|known| known.address == address).copied();
                let known = known.unwrap_or(KnownAddress {
                    address,
                    worked_at: 0,
                    failures: 0,
                    is_named: true,
                });
                record.set(KnownAddress { is_named: true, ..known });
            }
        })
    }

    /// Gives a machine at least this standing, if an address of it is known.
    pub fn raise(&mut self, machine: MachineId, standing: Standing) -> Changed {
        match self.records.get(&machine) {
            Some(record) if record.standing < standing && !record.addresses.is_empty() => {
                self.change(machine, |record| record.standing = standing)
            }
            Some(_) | None => Changed::default(),
        }
    }

    /// Sets whether the application wants a session with a machine, if the machine is known.
    pub fn set_policy(&mut self, machine: MachineId, policy: ConnectPolicy) -> Changed {
        match self.records.get(&machine) {
            Some(record) if record.policy != policy => {
                self.change(machine, |record| record.policy = policy)
            }
            Some(_) | None => Changed::default(),
        }
    }

    /// The application asked for a session with a machine, once or at all times.
    pub fn requested(&mut self, machine: MachineId, keep: bool) -> Changed {
        let named = self.raise(machine, Standing::Named);
        let is_open = self
            .records
            .get(&machine)
            .is_some_and(|record| record.policy >= ConnectPolicy::OnDemand);
        let policy = match (keep, is_open) {
            (true, _) => self.set_policy(machine, ConnectPolicy::Keep),
            (false, true) => Changed::default(),
            (false, false) => self.set_policy(machine, ConnectPolicy::OnDemand),
        };
        Changed {
            is_changed: named.is_changed || policy.is_changed,
            forgotten: named.forgotten.or(policy.forgotten),
        }
    }

    /// A peer named an address of a machine. It is dropped if there is no room.
    pub fn note_hearsay(&mut self, machine: MachineId, address: SocketAddr) {
        let standing = self.records.get(&machine).map(|record| record.standing);
        let is_full = self.counts[Standing::Hearsay as usize] >= HEARSAY_MAX;
        if is_full && standing.is_none_or(|standing| standing < Standing::Hearsay) {
            return;
        }
        if !self.candidates(&machine).iter().any(|known| known.address == address) {
            self.change(machine, |record| {
                record.standing = record.standing.max(Standing::Hearsay);
                record.set(KnownAddress { address, worked_at: 0, failures: 0, is_named: false });
            });
        }
    }

    /// A session with a machine began, or its agents renewed their bindings. `unix_seconds` is the
    /// wall time.
    pub fn session_began(
        &mut self,
        machine: MachineId,
        address: SocketAddr,
        unix_seconds: u64,
        agents: &[KnownAgent],
    ) -> Changed {
        let changed = self.change(machine, |record| {
            record.standing = record.standing.max(Standing::Stranger);
            record.has_session = true;
            record.network = Some(Network::of(address.ip()));
            let is_named = record.is_named(address);
            record.set(KnownAddress {
                address,
                worked_at: unix_seconds.max(1),
                failures: 0,
                is_named,
            });
            record.set_agents(agents);
        });
        for agent in agents {
            self.machines.insert(agent.agent, machine);
        }
        changed
    }

    /// The session with a machine ended; `address` is where it was then. Machines with a session may
    /// exceed the limits, so one may be evicted now.
    pub fn session_ended(
        &mut self,
        machine: MachineId,
        address: SocketAddr,
        unix_seconds: u64,
    ) -> Changed {
        let mut has_moved = false;
        let changed = self.change(machine, |record| {
            record.has_session = false;
            has_moved = record.last_worked().is_none_or(|known| known.address != address);
            if has_moved {
                record.set(KnownAddress {
                    address,
                    worked_at: unix_seconds.max(1),
                    failures: 0,
                    is_named: record.is_named(address),
                });
            }
        });
        Changed { is_changed: has_moved, ..changed }
    }

    /// Returns the machines that had a session, by their ids.
    pub fn reached(&self) -> Vec<MachineId> {
        self.records
            .iter()
            .filter(|(_, record)| record.is_proven())
            .map(|(&machine, _)| machine)
            .collect()
    }

    /// Returns the machines that the application keeps, by their ids.
    pub fn kept(&self) -> Vec<MachineId> {
        let kept = self.records.iter().filter(|(_, record)| record.policy == ConnectPolicy::Keep);
        kept.map(|(&machine, _)| machine).collect()
    }

    /// Returns the machines to dial after a restart, the most valuable first: those that had a
    /// session, by standing, then by when they had it. Those that the application keeps, and those
    /// that it disconnected from, are left out.
    pub fn most_valuable(&self) -> Vec<MachineId> {
        let worth = |record: &PeerRecord| {
            (record.standing, record.last_worked().map(|known| known.worked_at))
        };
        let mut all: Vec<_> = self
            .records
            .iter()
            .filter(|(_, record)| record.is_proven() && record.policy == ConnectPolicy::OnDemand)
            .map(|(&machine, record)| (worth(record), machine))
            .collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.into_iter().map(|(_, machine)| machine).collect()
    }

    /// Forgets a machine that only peers named.
    pub fn forget_hearsay(&mut self, machine: &MachineId) {
        if self.records.get(machine).is_some_and(|record| record.standing == Standing::Hearsay) {
            self.evict(*machine);
        }
    }

    /// A dial to an address failed. An address of hearsay is not tried again.
    pub fn dial_failed(&mut self, machine: MachineId, address: SocketAddr) {
        let Some(record) = self.records.get_mut(&machine) else { return };
        match record.addresses.iter().find(|known| known.address == address).copied() {
            Some(known) if known.is_hearsay() => record.remove(address),
            Some(known) => {
                record.set(KnownAddress { failures: known.failures.saturating_add(1), ..known });
            }
            None => {}
        }
    }

    /// Returns the addresses of a machine, the most promising first.
    pub fn candidates(&self, machine: &MachineId) -> Vec<Candidate> {
        let addresses =
            self.records.get(machine).map(|record| &record.addresses[..]).unwrap_or_default();
        let candidate = |known: &KnownAddress| Candidate {
            address: known.address,
            is_hearsay: known.is_hearsay(),
        };
        addresses.iter().map(candidate).collect()
    }

    /// Returns whether an address of a machine is known.
    pub fn has_address(&self, machine: &MachineId) -> bool {
        self.records.get(machine).is_some_and(|record| !record.addresses.is_empty())
    }

    /// Returns the machine on which an agent was proven last.
    pub fn machine_of(&self, agent: &AgentId) -> Option<MachineId> {
        self.machines.get(agent).copied()
    }

    /// Returns the sequence of the newest binding seen of an agent on a machine; zero if none was.
    pub fn binding_sequence(&self, machine: &MachineId, agent: &AgentId) -> u64 {
        let agents = self.records.get(machine).map(|record| &record.agents[..]).unwrap_or(&[]);
        let known = agents.iter().find(|known| known.agent == *agent);
        known.map_or(0, |known| known.sequence)
    }

    /// Changes a record, marks it as used, and evicts another machine if there are too many.
    fn change(&mut self, machine: MachineId, change: impl FnOnce(&mut PeerRecord)) -> Changed {
        self.clock = self.clock.saturating_add(1);
        let mut record = self.take(machine).unwrap_or_else(PeerRecord::new);
        change(&mut record);
        record.used = self.clock;
        let standing = record.standing;
        if standing >= Standing::Stranger {
            for agent in &record.agents[..] {
                self.machines.entry(agent.agent).or_insert(machine);
            }
        }
        self.put(machine, record);
        Changed { is_changed: true, forgotten: self.make_room(standing, machine) }
    }

    /// Takes a record out, and its agents out of the index.
    fn take(&mut self, machine: MachineId) -> Option<PeerRecord> {
        let record = self.records.remove(&machine)?;
        self.counts[record.standing as usize] -= 1;
        for agent in &record.agents[..] {
            if self.machines.get(&agent.agent) == Some(&machine) {
                self.machines.remove(&agent.agent);
            }
        }
        Some(record)
    }

    fn put(&mut self, machine: MachineId, record: PeerRecord) {
        self.counts[record.standing as usize] += 1;
        self.records.insert(machine, record);
    }

    /// Evicts a machine if there are too many of a standing, or too many of it in the network of the
    /// newest one. Returns the machine if it had a stored record.
    fn make_room(&mut self, standing: Standing, newest: MachineId) -> Option<MachineId> {
        let network = self.records.get(&newest)?.network.filter(|_| standing != Standing::Named);
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
            .filter(|(machine, record)| !record.has_session && **machine != newest)
            .filter(|(_, record)| among.is_none() || record.network == among)
            .map(|(&machine, record)| {
                ((record.policy == ConnectPolicy::Keep, record.used), machine)
            })
            .min()?;
        self.evict(loser);
        (standing >= Standing::Stranger).then_some(loser)
    }

    fn of_standing(&self, standing: Standing) -> impl Iterator<Item = (&MachineId, &PeerRecord)> {
        self.records.iter().filter(move |(_, record)| record.standing == standing)
    }

    fn of_network(&self, standing: Standing, network: Network) -> usize {
        self.of_standing(standing).filter(|(_, record)| record.network == Some(network)).count()
    }

    /// Returns the network that holds the most machines of a standing without a session.
    fn most_crowded(&self, standing: Standing) -> Option<Network> {
        let mut sizes: BTreeMap<Network, usize> = BTreeMap::new();
        for (_, record) in self.of_standing(standing).filter(|(_, record)| !record.has_session) {
            if let Some(network) = record.network {
                *sizes.entry(network).or_default() += 1;
            }
        }
        sizes.into_iter().max_by_key(|(_, size)| *size).map(|(network, _)| network)
    }

    /// Evicts a machine. Its bindings stay known.
    fn evict(&mut self, machine: MachineId) {
        let Some(mut record) = self.take(machine) else { return };
        if record.standing > Standing::Retired && !record.agents.is_empty() {
            record.retire();
            self.put(machine, record);
            self.make_room(Standing::Retired, machine);
        }
    }
}
