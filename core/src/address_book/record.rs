//! The record of one machine, in memory and in the store.

use std::cmp::Reverse;
use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    ADDRESSES_MAX, AGENTS_PER_MACHINE_MAX, HEARD_MAX, HEARSAY_MAX, NAMED_MAX, Network, PROVEN_KEPT,
    RETIRED_MAX, STRANGERS_MAX,
};
use crate::identity::AgentId;
use crate::wire::{self, BoundedVec, DecodeError, Versioned};

/// Why the book holds a machine, the least reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Standing {
    /// It had a session and was evicted: the newest bindings are known, and no address.
    Retired,
    /// A peer named it. Nothing is proven.
    Hearsay,
    /// It had a session.
    Stranger,
    /// The application got a message from it.
    Heard,
    /// The application asked for it or sent to it.
    Named,
}

impl Standing {
    pub(super) const ALL: [Self; 5] =
        [Self::Retired, Self::Hearsay, Self::Stranger, Self::Heard, Self::Named];

    /// Returns the most machines of the standing.
    pub(super) const fn machines_max(self) -> usize {
        match self {
            Self::Retired => RETIRED_MAX,
            Self::Hearsay => HEARSAY_MAX,
            Self::Stranger => STRANGERS_MAX,
            Self::Heard => HEARD_MAX,
            Self::Named => NAMED_MAX,
        }
    }
}

/// Whether the application wants a session with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConnectPolicy {
    /// No: it ended the last one.
    Disconnected,
    /// When there is something to send.
    OnDemand,
    /// At all times.
    Keep,
}

/// An address and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownAddress {
    pub(super) address: SocketAddr,
    /// When it worked last, in seconds since the Unix epoch; zero if it never did.
    pub(super) worked_at: u64,
    /// How many attempts failed since then.
    pub(super) failures: u32,
    /// Whether the application named it.
    pub(super) is_named: bool,
}

impl KnownAddress {
    /// Returns whether nothing but the word of a peer stands for it.
    pub(super) fn is_hearsay(&self) -> bool {
        self.worked_at == 0 && !self.is_named
    }
}

/// An agent that proved that it lives on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAgent {
    /// The agent.
    pub agent: AgentId,
    /// The sequence of the newest binding seen. Older ones are refused.
    pub sequence: u64,
}

type Addresses = BoundedVec<KnownAddress, ADDRESSES_MAX>;
type Agents = BoundedVec<KnownAgent, AGENTS_PER_MACHINE_MAX>;

/// What is known of one machine.
#[derive(Clone, Debug)]
pub(super) struct PeerRecord {
    /// The most promising first.
    pub(super) addresses: Addresses,
    pub(super) agents: Agents,
    pub(super) standing: Standing,
    pub(super) policy: ConnectPolicy,
    /// When it was used last, by the clock of the book, which counts uses.
    pub(super) used: u64,
    /// Whether it has a session.
    pub(super) has_session: bool,
    /// The network of the address that worked last.
    pub(super) network: Option<Network>,
}

/// The stored record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    addresses: Addresses,
    agents: Agents,
    standing: Standing,
    policy: ConnectPolicy,
    used: u64,
}

impl Versioned for Stored {
    const VERSION: u8 = 2;
    const SIZE_MAX: usize = 64 * (ADDRESSES_MAX + AGENTS_PER_MACHINE_MAX);
}

/// An address in the first version of the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FirstAddress {
    address: SocketAddr,
    worked_at: u64,
    failures: u32,
}

/// The first version of the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct First {
    addresses: BoundedVec<FirstAddress, ADDRESSES_MAX>,
    agents: Agents,
}

impl Versioned for First {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = Stored::SIZE_MAX;
}

impl PeerRecord {
    pub(super) fn new() -> Self {
        Self {
            addresses: Addresses::default(),
            agents: Agents::default(),
            standing: Standing::Hearsay,
            policy: ConnectPolicy::OnDemand,
            used: 0,
            has_session: false,
            network: None,
        }
    }

    /// Reads a record of any version.
    ///
    /// The first version does not say whether the application wanted the machine, nor who named the
    /// addresses that never worked. The machine counts as wanted, the addresses as hearsay.
    pub(super) fn read(record: &[u8]) -> Result<Self, DecodeError> {
        let stored = if record.first() == Some(&First::VERSION) {
            let First { addresses, agents } = wire::decode(record)?;
            let known = |&FirstAddress { address, worked_at, failures }: &FirstAddress| {
                KnownAddress { address, worked_at, failures, is_named: false }
            };
            let used = addresses.iter().map(|known| known.worked_at).max().unwrap_or(0);
            let addresses =
                Addresses::new(addresses.iter().map(known).collect()).unwrap_or_default();
            Stored {
                addresses,
                agents,
                standing: Standing::Named,
                policy: ConnectPolicy::OnDemand,
                used,
            }
        } else {
            wire::decode(record)?
        };
        let Stored { addresses, agents, standing, policy, used } = stored;
        let mut record =
            Self { addresses, agents, standing, policy, used, has_session: false, network: None };
        record.network = record.last_worked().map(|known| Network::of(known.address.ip()));
        Ok(record)
    }

    /// Returns the record to store, if the machine had a session or the application asked for it.
    /// Hearsay is not stored.
    pub(super) fn record(&self) -> Option<Bytes> {
        let addresses =
            self.addresses.iter().filter(|known| !known.is_hearsay()).copied().collect();
        let stored = Stored {
            addresses: Addresses::new(addresses).unwrap_or_default(),
            agents: self.agents.clone(),
            standing: self.standing,
            policy: self.policy,
            used: self.used,
        };
        (self.standing >= Standing::Stranger).then(|| wire::encode(&stored))
    }

    /// Returns whether an address ever worked.
    pub(super) fn is_proven(&self) -> bool {
        self.addresses.iter().any(|known| known.worked_at > 0)
    }

    /// Returns whether the application named an address.
    pub(super) fn is_named(&self, address: SocketAddr) -> bool {
        self.addresses.iter().any(|known| known.address == address && known.is_named)
    }

    /// Returns the address that worked last.
    pub(super) fn last_worked(&self) -> Option<&KnownAddress> {
        self.addresses
            .iter()
            .filter(|known| known.worked_at > 0)
            .max_by_key(|known| known.worked_at)
    }

    /// Sets an address. If there are too many, the newest hearsay goes first, then what worked longest
    /// ago, then what the application named first. The last [`PROVEN_KEPT`] that worked stay.
    pub(super) fn set(&mut self, known: KnownAddress) {
        let others = self.addresses.iter().filter(|other| other.address != known.address);
        let mut addresses: Vec<KnownAddress> = others.copied().collect();
        addresses.insert(if known.is_named { 0 } else { addresses.len() }, known);
        addresses.sort_by_key(|known| Reverse(known.worked_at));
        let rank = |(index, known): (usize, KnownAddress)| match known {
            KnownAddress { worked_at: 1.., .. } if index < PROVEN_KEPT => (0, known),
            KnownAddress { is_named: true, .. } => (1, known),
            KnownAddress { worked_at: 1.., .. } => (2, known),
            KnownAddress { .. } => (3, known),
        };
        let mut ranked: Vec<(u8, KnownAddress)> =
            addresses.into_iter().enumerate().map(rank).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut addresses: Vec<KnownAddress> =
            ranked.into_iter().take(ADDRESSES_MAX).map(|(_, known)| known).collect();
        addresses
            .sort_by_key(|known| (known.is_hearsay(), known.failures, Reverse(known.worked_at)));
        self.addresses = Addresses::new(addresses).unwrap_or_default();
    }

    /// Sets the agents on the machine.
    pub(super) fn set_agents(&mut self, agents: &[KnownAgent]) {
        let kept = agents.iter().take(AGENTS_PER_MACHINE_MAX).copied().collect();
        self.agents = Agents::new(kept).unwrap_or_default();
    }

    /// Removes an address.
    pub(super) fn remove(&mut self, address: SocketAddr) {
        let others = self.addresses.iter().filter(|known| known.address != address);
        self.addresses = Addresses::new(others.copied().collect()).unwrap_or_default();
    }

    /// Drops everything but the bindings.
    pub(super) fn retire(&mut self) {
        self.addresses = Addresses::default();
        self.standing = Standing::Retired;
        self.policy = ConnectPolicy::OnDemand;
    }
}
