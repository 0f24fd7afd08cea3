//! The network: hosts, the links between them, and the sockets on them.
//!
//! A *host* is an IP address. Each directed pair of hosts has a link of its own, made when the
//! first datagram takes it; it is like the default [`LinkProfile`] unless it has one of its own.
//! A host reaches itself over a [`LinkProfile::perfect`] link. Several nodes may live on one host,
//! on different ports.
//!
//! A datagram's fate is decided when it is sent, except for two things that are looked at when it
//! arrives: whether a partition or a block separates the hosts by then, and who owns the target
//! socket by then. So a partition takes effect at once, and an address that a node gave up is dead
//! at once.
//!
//! Each link throws its own dice, forked from the world's seed by the two addresses: traffic on
//! one link never changes what happens on another.

mod flight;
mod link;
mod profile;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use x0x_core::support::Rng;

pub use flight::{Flight, Injection, Interceptor, Verdict};
pub(crate) use flight::InterceptorSlot;
pub(crate) use link::Fate;
use link::Link;
pub use profile::{Chance, LinkProfile, MTU_ETHERNET, MTU_LOOPBACK};
pub use stats::{DropCounts, DropReason, NetworkStats};

use crate::time::Nanos;
use crate::world::NodeIndex;

/// A host by its position in the network's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HostId(u32);

/// Who receives at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The node.
    pub(crate) node: NodeIndex,
    /// The address by which the node knows the socket.
    pub(crate) local: SocketAddr,
}

/// The network of one world.
#[derive(Debug)]
pub(crate) struct Network {
    rng: Rng,
    default: LinkProfile,
    loopback: LinkProfile,
    hosts: BTreeMap<IpAddr, HostId>,
    /// The side of the partition that each host is on.
    sides: Vec<usize>,
    links: BTreeMap<(HostId, HostId), Link>,
    sockets: BTreeMap<SocketAddr, Owner>,
    pub(crate) stats: NetworkStats,
}

impl Network {
    pub(crate) fn new(rng: Rng, default: LinkProfile) -> Self {
        Self {
            rng,
            default,
            loopback: LinkProfile::perfect(),
            hosts: BTreeMap::new(),
            sides: Vec::new(),
            links: BTreeMap::new(),
            sockets: BTreeMap::new(),
            stats: NetworkStats::default(),
        }
    }

    /// Gives an address to a node. Returns whether it was free.
    pub(crate) fn bind(&mut self, address: SocketAddr, owner: Owner) -> bool {
        self.host(address.ip());
        if self.sockets.contains_key(&address) {
            return false;
        }
        self.sockets.insert(address, owner);
        true
    }

    /// Takes an address away; what goes there from then on arrives nowhere.
    pub(crate) fn unbind(&mut self, address: SocketAddr) {
        self.sockets.remove(&address);
    }

    /// Returns who receives at an address.
    pub(crate) fn owner(&self, address: SocketAddr) -> Option<Owner> {
        self.sockets.get(&address).copied()
    }

    /// Changes what all links are like that have no profile of their own.
    pub(crate) fn set_default(&mut self, profile: LinkProfile) {
        self.default = profile;
    }

    /// Gives the link from one host to another a profile of its own, or takes it away.
    pub(crate) fn set_link(
        &mut self,
        source: IpAddr,
        target: IpAddr,
        profile: Option<LinkProfile>,
    ) {
        self.link(source, target).profile = profile;
    }

    /// Blocks or opens the link from one host to another.
    pub(crate) fn set_blocked(&mut self, source: IpAddr, target: IpAddr, blocked: bool) {
        self.link(source, target).blocked = blocked;
    }

    /// Splits the hosts: only those of one side reach each other. Hosts that are not named are on
    /// a side of their own together.
    pub(crate) fn partition(&mut self, sides: &[Vec<IpAddr>]) {
        self.sides.fill(0);
        for (index, side) in sides.iter().enumerate() {
            for &address in side {
                let host = self.host(address);
                self.sides[host.0 as usize] = index + 1;
            }
        }
    }

    /// Removes the partition and every block.
    pub(crate) fn heal(&mut self) {
        self.sides.fill(0);
        for link in self.links.values_mut() {
            link.blocked = false;
        }
    }

    /// Decides the fate of a datagram, and counts it.
    pub(crate) fn send(&mut self, now: Nanos, flight: &Flight) -> Fate {
        let fate = self.decide(now, flight);
        match fate {
            Fate::Dropped(reason) => self.stats.dropped.add(reason),
            Fate::Arrives { copy_at, overtaken, .. } => {
                self.stats.duplicated += u64::from(copy_at.is_some());
                self.stats.overtaken += u64::from(overtaken);
            }
        }
        fate
    }

    fn decide(&mut self, now: Nanos, flight: &Flight) -> Fate {
        let (source, target) = (flight.source.ip(), flight.target.ip());
        let Some(&target_host) = self.hosts.get(&target) else {
            return Fate::Dropped(DropReason::Unreachable);
        };
        let source_host = self.host(source);
        if self.sides[source_host.0 as usize] != self.sides[target_host.0 as usize] {
            return Fate::Dropped(DropReason::Blocked);
        }
        let key = (source_host, target_host);
        let rng = &self.rng;
        let link = self.links.entry(key).or_insert_with(|| make_link(rng, source, target));
        if link.blocked {
            return Fate::Dropped(DropReason::Blocked);
        }
        let common = if source_host == target_host { &self.loopback } else { &self.default };
        // The profile is lent out of the link while the link's state changes.
        let own = link.profile.take();
        let fate = link.send(now, flight.payload.len(), own.as_ref().unwrap_or(common));
        link.profile = own;
        fate
    }

    /// Returns who receives a datagram that is at its target, and counts it if nobody does.
    pub(crate) fn arrive(&mut self, flight: &Flight) -> Result<Owner, DropReason> {
        let found = if self.separated(flight.source.ip(), flight.target.ip()) {
            Err(DropReason::Blocked)
        } else {
            self.owner(flight.target).ok_or(DropReason::Unreachable)
        };
        if let Err(reason) = found {
            self.stats.dropped.add(reason);
        }
        found
    }

    fn separated(&self, source: IpAddr, target: IpAddr) -> bool {
        let (Some(&source), Some(&target)) = (self.hosts.get(&source), self.hosts.get(&target))
        else {
            // An attacker may claim to be a host that does not exist.
            return false;
        };
        self.sides[source.0 as usize] != self.sides[target.0 as usize]
            || self.links.get(&(source, target)).is_some_and(|link| link.blocked)
    }

    fn host(&mut self, address: IpAddr) -> HostId {
        let next = HostId(u32::try_from(self.sides.len()).expect("there are fewer than 2³² hosts"));
        let host = *self.hosts.entry(address).or_insert(next);
        if host == next {
            self.sides.push(0);
        }
        host
    }

    fn link(&mut self, source: IpAddr, target: IpAddr) -> &mut Link {
        let key = (self.host(source), self.host(target));
        let rng = &self.rng;
        self.links.entry(key).or_insert_with(|| make_link(rng, source, target))
    }
}

fn make_link(rng: &Rng, source: IpAddr, target: IpAddr) -> Link {
    Link::new(rng.fork(&format!("{source} to {target}")))
}
