//! What is known of one machine, and the form in which it is stored.

use std::cmp::Reverse;
use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ADDRESSES_MAX, PROVEN_KEPT};
use crate::identity::AgentId;
use crate::link::AGENTS_PER_MACHINE_MAX;
use crate::link::network::Network;
use crate::wire::{self, BoundedVec, DecodeError, Versioned};

/// What makes a machine worth a place, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::link) enum Standing {
    /// It had a session and gave up its place: the newest bindings are known, and no address.
    Retired,
    /// A peer named it, and nothing is proven.
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
}

/// Whether the application wants a session with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::link) enum Wish {
    /// It ended the last one.
    Parted,
    /// It did not say.
    Open,
    /// At all times.
    Kept,
}

/// An address and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    /// When it worked last, in seconds since the Unix epoch; zero if it never did.
    pub(super) worked_at: u64,
    /// How many attempts failed since then.
    pub(super) failures: u32,
    /// Whether the application named it.
    pub(super) is_named: bool,
}

impl Place {
    /// Whether nothing but the word of a peer stands for it.
    pub(super) fn is_hearsay(&self) -> bool {
        self.worked_at == 0 && !self.is_named
    }
}

/// An agent that proved that it lives on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::link) struct Resident {
    pub(in crate::link) agent: AgentId,
    /// The newest binding seen: older ones are not accepted any more.
    pub(in crate::link) sequence: u64,
}

type Places = BoundedVec<Place, ADDRESSES_MAX>;
type Residents = BoundedVec<Resident, AGENTS_PER_MACHINE_MAX>;

#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The most promising first.
    pub(super) places: Places,
    pub(super) residents: Residents,
    pub(super) standing: Standing,
    pub(super) wish: Wish,
    /// When it was used last, by the clock of the book.
    pub(super) used: u64,
    /// Whether it has a session.
    pub(super) has_session: bool,
    /// Where it worked last.
    pub(super) network: Option<Network>,
}

/// The stored record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    places: Places,
    residents: Residents,
    standing: Standing,
    wish: Wish,
    used: u64,
}

impl Versioned for Stored {
    const VERSION: u8 = 2;
    const SIZE_MAX: usize = 64 * (ADDRESSES_MAX + AGENTS_PER_MACHINE_MAX);
}

/// A place in the first version of the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FirstPlace {
    address: SocketAddr,
    worked_at: u64,
    failures: u32,
}

/// The first version of the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct First {
    places: BoundedVec<FirstPlace, ADDRESSES_MAX>,
    residents: Residents,
}

impl Versioned for First {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = Stored::SIZE_MAX;
}

impl Page {
    pub(super) fn new() -> Self {
        Self {
            places: Places::default(),
            residents: Residents::default(),
            standing: Standing::Hearsay,
            wish: Wish::Open,
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
            let First { places, residents } = wire::decode(record)?;
            let place = |&FirstPlace { address, worked_at, failures }: &FirstPlace| Place {
                address,
                worked_at,
                failures,
                is_named: false,
            };
            let used = places.iter().map(|place| place.worked_at).max().unwrap_or(0);
            let places = Places::new(places.iter().map(place).collect()).unwrap_or_default();
            Stored { places, residents, standing: Standing::Named, wish: Wish::Open, used }
        } else {
            wire::decode(record)?
        };
        let Stored { places, residents, standing, wish, used } = stored;
        let mut page =
            Self { places, residents, standing, wish, used, has_session: false, network: None };
        page.network = page.last_worked().map(|place| Network::of(place.address.ip()));
        Ok(page)
    }

    /// Writes the record, if the machine is worth one. What peers said is not stored.
    pub(super) fn record(&self) -> Option<Bytes> {
        let places = self.places.iter().filter(|place| !place.is_hearsay()).copied().collect();
        let stored = Stored {
            places: Places::new(places).unwrap_or_default(),
            residents: self.residents.clone(),
            standing: self.standing,
            wish: self.wish,
            used: self.used,
        };
        (self.standing >= Standing::Stranger).then(|| wire::encode(&stored))
    }

    /// Whether an address worked at some time.
    pub(super) fn is_proven(&self) -> bool {
        self.places.iter().any(|place| place.worked_at > 0)
    }

    /// Whether the application named an address.
    pub(super) fn is_named(&self, address: SocketAddr) -> bool {
        self.places.iter().any(|place| place.address == address && place.is_named)
    }

    /// Returns the place that worked last.
    pub(super) fn last_worked(&self) -> Option<&Place> {
        self.places.iter().filter(|place| place.worked_at > 0).max_by_key(|place| place.worked_at)
    }

    /// Sets a place. When there are too many, the newest hearsay goes first, then what worked longest
    /// ago, then what the application named first. The last [`PROVEN_KEPT`] that worked stay.
    pub(super) fn set(&mut self, place: Place) {
        let others = self.places.iter().filter(|other| other.address != place.address);
        let mut places: Vec<Place> = others.copied().collect();
        places.insert(if place.is_named { 0 } else { places.len() }, place);
        places.sort_by_key(|place| Reverse(place.worked_at));
        let rank = |(index, place): (usize, Place)| match place {
            Place { worked_at: 1.., .. } if index < PROVEN_KEPT => (0, place),
            Place { is_named: true, .. } => (1, place),
            Place { worked_at: 1.., .. } => (2, place),
            Place { .. } => (3, place),
        };
        let mut ranked: Vec<(u8, Place)> = places.into_iter().enumerate().map(rank).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut places: Vec<Place> =
            ranked.into_iter().take(ADDRESSES_MAX).map(|(_, place)| place).collect();
        places.sort_by_key(|place| (place.is_hearsay(), place.failures, Reverse(place.worked_at)));
        self.places = Places::new(places).unwrap_or_default();
    }

    /// Notes who lives on the machine.
    pub(super) fn reside(&mut self, residents: &[Resident]) {
        let kept = residents.iter().take(AGENTS_PER_MACHINE_MAX).copied().collect();
        self.residents = Residents::new(kept).unwrap_or_default();
    }

    /// Removes a place.
    pub(super) fn remove(&mut self, address: SocketAddr) {
        let others = self.places.iter().filter(|place| place.address != address);
        self.places = Places::new(others.copied().collect()).unwrap_or_default();
    }

    /// Gives up the machine's place: nothing but its bindings stays known.
    pub(super) fn retire(&mut self) {
        self.places = Places::default();
        self.standing = Standing::Retired;
        self.wish = Wish::Open;
    }
}
