//! The network: which datagram arrives where, and when.
//!
//! Each ordered pair of nodes has a link of its own, with its own queue and its own generator, made
//! when it is first used: what one link draws changes nothing on another. A datagram passes, in
//! this order: the attacker's hook (see [`Interceptor`]), the partitions and blocks, the size
//! limit, the queue, loss, delay, reordering, duplication. A link keeps the order of its datagrams
//! unless it draws a reordering. A partition stops what is sent while it lasts; what is under way
//! arrives. Partitions may overlap: a datagram passes if none of them stops it.
//!
//! The network does not translate addresses. A datagram for an address that nobody has is lost.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use x0x_core::support::Rng;
use x0x_core::transport::Ecn;

use crate::NodeId;
use crate::random::{chance, up_to};

/// How one direction of a link behaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkProfile {
    /// How long every datagram takes.
    pub latency: Duration,
    /// How much longer it can take; the order stays.
    pub jitter: Duration,
    /// Bits per second; `None` means no limit and no queue.
    pub bandwidth: Option<u64>,
    /// How many bytes may wait for the bandwidth before newcomers are dropped.
    pub queue_bytes_max: usize,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The probability that a datagram is held back while others pass.
    pub reorder: f64,
    /// How long at most it is held back.
    pub reorder_delay: Duration,
    /// The probability that a datagram arrives twice.
    pub duplicate: f64,
    /// The largest IP packet, in bytes. What is larger is dropped in silence.
    pub mtu: usize,
}

impl Default for LinkProfile {
    /// A good link: 20 ms, no loss, 1500 bytes.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(20),
            jitter: Duration::ZERO,
            bandwidth: None,
            queue_bytes_max: 256 * 1024,
            loss: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(10),
            duplicate: 0.0,
            mtu: 1500,
        }
    }
}

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
}

/// One direction of a link.
#[derive(Debug)]
struct LinkState {
    /// The profile, if it is not the default.
    profile: Option<LinkProfile>,
    /// Whether nothing passes.
    is_blocked: bool,
    /// When the queue is empty.
    busy_until: Duration,
    /// When the last datagram arrives that was not reordered.
    last_arrival: Duration,
    rng: Rng,
}

/// The links, the partitions and the owners of all addresses.
pub struct Network {
    rng: Rng,
    default: LinkProfile,
    /// By sender, then by receiver.
    links: Vec<BTreeMap<NodeId, LinkState>>,
    /// The group of each node, by the name of the partition.
    partitions: BTreeMap<PartitionName, Vec<usize>>,
    owners: BTreeMap<SocketAddr, NodeId>,
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
            owners: BTreeMap::new(),
            counters: NetworkCounters::default(),
        }
    }

    /// Gives an address to a node; false if it is taken.
    pub fn bind(&mut self, address: SocketAddr, node: NodeId) -> bool {
        let owner = *self.owners.entry(address).or_insert(node);
        owner == node
    }

    /// Takes an address away from its node.
    pub fn unbind(&mut self, address: SocketAddr) {
        self.owners.remove(&address);
    }

    /// Returns the node that has an address.
    pub fn owner(&self, address: SocketAddr) -> Option<NodeId> {
        self.owners.get(&address).copied()
    }

    /// Sets both directions of a link, or the profile of all links that were not set.
    pub fn set_link(&mut self, ends: Option<(NodeId, NodeId)>, profile: LinkProfile) {
        let Some((a, b)) = ends else {
            self.default = profile;
            return;
        };
        self.link(a, b).profile = Some(profile);
        self.link(b, a).profile = Some(profile);
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

    /// Sends a datagram and returns when it arrives.
    pub fn send(&mut self, now: Duration, from: NodeId, packet: &Packet) -> Arrivals {
        let Some(to) = self.owner(packet.target) else {
            self.counters.unreachable += 1;
            return Arrivals::default();
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
        let size = packet.wire_size();
        if size > profile.mtu {
            self.counters.too_large += 1;
            return Arrivals::default();
        }
        let Some(departure) = link.enqueue(now, size, &profile) else {
            self.counters.queue_full += 1;
            return Arrivals::default();
        };
        if chance(&mut link.rng, profile.loss) {
            self.counters.lost += 1;
            return Arrivals::default();
        }
        let mut arrival = departure + profile.latency + up_to(&mut link.rng, profile.jitter);
        if chance(&mut link.rng, profile.reorder) {
            arrival += up_to(&mut link.rng, profile.reorder_delay);
            self.counters.reordered += 1;
        } else {
            arrival = arrival.max(link.last_arrival);
            link.last_arrival = arrival;
        }
        let second = chance(&mut link.rng, profile.duplicate).then(|| {
            self.counters.duplicated += 1;
            arrival + up_to(&mut link.rng, profile.latency)
        });
        Arrivals { first: Some(arrival), second }
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
    links[from.index()].entry(to).or_insert_with(|| LinkState {
        profile: None,
        is_blocked: false,
        busy_until: Duration::ZERO,
        last_arrival: Duration::ZERO,
        rng: rng.fork(&format!("link {from} {to}")),
    })
}

impl LinkState {
    /// Returns when the last bit has left, or `None` if the queue is full.
    fn enqueue(&mut self, now: Duration, size: usize, profile: &LinkProfile) -> Option<Duration> {
        let Some(bandwidth) = profile.bandwidth else { return Some(now) };
        let bandwidth = u128::from(bandwidth.max(1));
        let start = self.busy_until.max(now);
        let waiting = (start - now).as_nanos() * bandwidth / 8_000_000_000;
        if waiting + size as u128 > profile.queue_bytes_max as u128 {
            return None;
        }
        let nanos = size as u128 * 8_000_000_000 / bandwidth;
        self.busy_until = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.busy_until)
    }
}

#[cfg(test)]
mod tests;
