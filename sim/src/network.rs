//! The network: which datagram arrives where, and when.
//!
//! Each ordered pair of nodes has a link of its own, with its own queue and its own generator, made
//! when it is first used: what one link draws changes nothing on another. A datagram passes, in
//! this order: the attacker's hook (see [`Interceptor`]), the NATs of the sender, the partitions and
//! blocks, the size limit, the queue and its congestion mark, loss (alone and in bursts), delay,
//! reordering, duplication, corruption; and when it arrives, the NATs and the firewall of the
//! receiver. A link keeps the order of its datagrams unless it draws a reordering. A partition stops
//! what is sent while it lasts; what is under way arrives. Partitions may overlap: a datagram passes
//! if none of them stops it.
//!
//! Between two nodes there is one link in each direction, whichever of their addresses they use. A
//! datagram for an address that nobody has is lost.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use x0x_core::support::Rng;
use x0x_core::transport::Ecn;

use crate::NodeId;
use crate::nat::FirewallProfile;

mod link;
mod routes;

pub use link::{Burst, LinkProfile};
pub use routes::{NatConfig, NatId};

pub(crate) use routes::Realm;

use link::LinkState;
use routes::{Lost, Routes};

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from, as the receiver sees it.
    pub source: SocketAddr,
    /// Where it goes.
    pub target: SocketAddr,
    /// Its congestion notification.
    pub ecn: Option<Ecn>,
    /// Its bytes.
    pub payload: BytesMut,
}

impl Packet {
    /// Returns the size of the whole IP packet.
    pub fn wire_size(&self) -> usize {
        self.payload.len() + if self.target.is_ipv4() { 28 } else { 48 }
    }
}

/// What an attacker does with a datagram after looking at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, changed or not.
    Pass,
    /// It is gone.
    Drop,
    /// It goes on twice.
    Duplicate,
}

/// An attacker on every path: sees each datagram as it leaves its node, with the time, may change
/// its bytes and both of its ends, and may add datagrams of its own, each with a delay. Its own
/// datagrams go straight to their target.
///
/// It is code, no value: a world with one replays only if it is given the same one.
pub type Interceptor =
    Box<dyn FnMut(Duration, &mut Packet, &mut Vec<(Duration, Packet)>) -> Verdict>;

/// What became of the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCounters {
    /// Datagrams that nodes sent.
    pub sent: u64,
    /// Bytes in them, without headers.
    pub sent_bytes: u64,
    /// Datagrams that a running node got, duplicates included.
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped because a queue was full.
    pub queue_full: u64,
    /// Dropped because they were larger than the link carries.
    pub too_large: u64,
    /// Dropped by a partition or by a block of one direction.
    pub partitioned: u64,
    /// For or from an address that nobody has, or for a node that does not run.
    pub unreachable: u64,
    /// Held back so that others could pass.
    pub reordered: u64,
    /// Second copies.
    pub duplicated: u64,
    /// Dropped by the attacker.
    pub intercepted: u64,
    /// Dropped by a NAT that has no mapping for them or by a filter.
    pub filtered: u64,
    /// Dropped by a NAT whose table is full.
    pub exhausted: u64,
    /// For a host that sleeps.
    pub asleep: u64,
    /// Bits changed on the way.
    pub corrupted: u64,
    /// Marked by a queue.
    pub marked: u64,
}

/// What a partition is called, so that it ends without the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionName(pub u32);

/// When a datagram arrives; never, once or twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// The datagram.
    pub first: Option<Duration>,
    /// Its copy.
    pub second: Option<Duration>,
    /// The network in which its target is: that behind a NAT, or the public one.
    pub realm: Option<NatId>,
}

/// The links, the partitions and the owners of all addresses.
pub struct Network {
    rng: Rng,
    default: LinkProfile,
    /// By sender, then by receiver.
    links: Vec<BTreeMap<NodeId, LinkState>>,
    /// The group of each node, by the name of the partition.
    partitions: BTreeMap<PartitionName, Vec<usize>>,
    routes: Routes,
    /// What became of the datagrams.
    pub counters: NetworkCounters,
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Network")
            .field("nodes", &self.links.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// Makes a network of `nodes` nodes that have no address yet.
    pub fn new(rng: Rng, nodes: usize, default: LinkProfile) -> Self {
        Self {
            rng,
            default,
            links: std::iter::repeat_with(BTreeMap::new).take(nodes).collect(),
            partitions: BTreeMap::new(),
            routes: Routes::default(),
            counters: NetworkCounters::default(),
        }
    }

    /// Adds a NAT; they are numbered from zero.
    ///
    /// # Panics
    ///
    /// If it stands behind one that is not there yet.
    pub fn add_nat(&mut self, config: NatConfig) -> NatId {
        let number = self.routes.nats();
        assert!(config.behind.is_none_or(|outer| outer < number), "outer NATs come first");
        self.routes.add_nat(config, self.rng.fork(&format!("nat {}", number.0)));
        number
    }

    /// Puts a firewall in front of a node.
    pub fn set_firewall(&mut self, node: NodeId, profile: FirewallProfile) {
        self.routes.set_firewall(node, profile);
    }

    /// Has a NAT lose its mappings.
    pub fn reset_nat(&mut self, nat: NatId) {
        self.routes.reset_nat(nat);
    }

    /// Gives an address to a node, behind a NAT or in the public network; false if it is taken.
    pub fn bind(&mut self, nat: Option<NatId>, address: SocketAddr, node: NodeId) -> bool {
        self.routes.bind(nat, address, node)
    }

    /// Takes an address away from its node.
    pub fn unbind(&mut self, nat: Option<NatId>, address: SocketAddr) {
        self.routes.unbind(nat, address);
    }

    /// Returns the node that has an address.
    pub fn owner(&self, nat: Option<NatId>, address: SocketAddr) -> Option<NodeId> {
        self.routes.owner(nat, address)
    }

    /// Sets both directions of a link, or the profile of all links that were not set.
    pub fn set_link(&mut self, ends: Option<(NodeId, NodeId)>, profile: LinkProfile) {
        let Some((a, b)) = ends else {
            self.default = profile;
            return;
        };
        self.set_direction(a, b, profile);
        self.set_direction(b, a, profile);
    }

    /// Sets every link; those that were set by their ends keep their latency and bandwidth.
    pub fn set_every_link(&mut self, profile: LinkProfile) {
        self.default = profile;
        for link in self.links.iter_mut().flat_map(BTreeMap::values_mut) {
            if let Some(own) = &mut link.profile {
                let (latency, bandwidth) = (own.latency, own.bandwidth);
                *own = LinkProfile { latency, bandwidth, ..profile };
            }
        }
    }

    /// Sets one direction of a link.
    pub fn set_direction(&mut self, from: NodeId, to: NodeId, profile: LinkProfile) {
        self.link(from, to).profile = Some(profile);
    }

    /// Stops everything from one node to another, or lets it pass again.
    pub fn set_blocked(&mut self, from: NodeId, to: NodeId, is_blocked: bool) {
        self.link(from, to).is_blocked = is_blocked;
    }

    /// Separates groups of nodes; those in no group are a group. It replaces the partition of the
    /// same name.
    pub fn partition(&mut self, name: PartitionName, groups: &[Vec<NodeId>]) {
        let mut group_of = vec![0; self.links.len()];
        for (number, group) in groups.iter().enumerate() {
            for node in group {
                group_of[node.index()] = number + 1;
            }
        }
        self.partitions.insert(name, group_of);
    }

    /// Ends a partition. The others stay.
    pub fn heal(&mut self, name: PartitionName) {
        self.partitions.remove(&name);
    }

    /// Ends every partition.
    pub fn heal_all(&mut self) {
        self.partitions.clear();
    }

    /// Sends a datagram of a node whose socket is behind `nat`, and tells when it arrives. What
    /// changes on the way is changed in it.
    pub fn send(
        &mut self,
        now: Duration,
        from: NodeId,
        nat: Option<NatId>,
        packet: &mut Packet,
    ) -> Arrivals {
        let realm = match self.routes.leave(now, from, nat, packet) {
            Ok(realm) => realm,
            Err(lost) => return self.lose(lost),
        };
        let Some(to) = self.routes.lead(now, realm, packet.target) else {
            return self.lose(Lost::Nowhere);
        };
        let is_split = |groups: &Vec<usize>| groups[from.index()] != groups[to.index()];
        if self.partitions.values().any(is_split) {
            self.counters.partitioned += 1;
            return Arrivals::default();
        }
        let default = self.default;
        let link = link_between(&mut self.links, &self.rng, from, to);
        if link.is_blocked {
            self.counters.partitioned += 1;
            return Arrivals::default();
        }
        let profile = link.profile.unwrap_or(default);
        let arrivals = link.carry(now, packet, &profile, &mut self.counters);
        Arrivals { realm, ..arrivals }
    }

    /// Lets a datagram arrive that was sent to a realm, and returns the node that gets it, with its
    /// own address as the target.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        realm: Realm,
        packet: &mut Packet,
    ) -> Option<NodeId> {
        let entered = self.routes.enter(now, realm, packet);
        entered.map_err(|lost| self.lose(lost)).ok()
    }

    fn lose(&mut self, lost: Lost) -> Arrivals {
        match lost {
            Lost::Nowhere => self.counters.unreachable += 1,
            Lost::Refused => self.counters.filtered += 1,
            Lost::Exhausted => self.counters.exhausted += 1,
        }
        Arrivals::default()
    }

    fn link(&mut self, from: NodeId, to: NodeId) -> &mut LinkState {
        link_between(&mut self.links, &self.rng, from, to)
    }
}

/// Finds one direction of a link, or makes it.
fn link_between<'a>(
    links: &'a mut [BTreeMap<NodeId, LinkState>],
    rng: &Rng,
    from: NodeId,
    to: NodeId,
) -> &'a mut LinkState {
    links[from.index()]
        .entry(to)
        .or_insert_with(|| LinkState::new(rng.fork(&format!("link {from} {to}"))))
}

#[cfg(test)]
mod tests;
