//! Who is where: the public network, the networks behind NATs, and the way between two of them.
//!
//! A *realm* is a network in which addresses mean something: the public one, or the one behind a
//! NAT. A NAT joins an inner realm to an outer one, which may be behind another NAT, so homes can
//! stand behind a carrier. The same private address may exist in many realms.
//!
//! A datagram *leaves* when it is sent: it goes outwards, through the NATs of its sender, up to the
//! first realm in which its target is somebody's. It *enters* when it arrives: inwards, through the
//! NATs of its receiver. So a mapping that is made while a datagram travels counts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use x0x_core::support::Rng;

use super::Packet;
use crate::NodeId;
use crate::nat::{Firewall, FirewallProfile, Nat, NatProfile, Refusal};

/// A NAT of a world, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NatId(pub u32);

/// A NAT and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatConfig {
    /// How it behaves.
    pub profile: NatProfile,
    /// The NAT behind which it stands, one with a smaller number; `None` is the public network.
    pub behind: Option<NatId>,
}

/// A network in which addresses mean something: that behind a NAT, or the public one.
pub(crate) type Realm = Option<NatId>;

/// Why a datagram finds no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nobody has the address.
    Nowhere,
    /// A NAT or a firewall did not let it pass.
    Refused,
    /// A NAT has no room for it.
    Exhausted,
}

impl From<Refusal> for Lost {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Exhausted => Self::Exhausted,
            Refusal::Unmapped | Refusal::Filtered => Self::Refused,
        }
    }
}

#[derive(Debug)]
struct Gateway {
    nat: Nat,
    outer: Realm,
    address: IpAddr,
}

/// Who is where.
#[derive(Debug, Default)]
pub(super) struct Routes {
    owners: BTreeMap<(Realm, SocketAddr), NodeId>,
    gateways: Vec<Gateway>,
    gateway_at: BTreeMap<(Realm, IpAddr), NatId>,
    firewalls: BTreeMap<NodeId, Firewall>,
}

impl Routes {
    /// Adds a NAT; it gets an address of the network in which it stands.
    pub(super) fn add_nat(&mut self, config: NatConfig, rng: Rng) {
        let NatId(number) = self.nats();
        let [_, high, middle, low] = (number + 1).to_be_bytes();
        let address = match config.behind {
            None => Ipv4Addr::new(198, 18 + (high & 1), middle, low),
            Some(_) => Ipv4Addr::new(100, 64 + (high & 63), middle, low),
        };
        let address = IpAddr::V4(address);
        self.gateway_at.insert((config.behind, address), NatId(number));
        let nat = Nat::new(config.profile, rng);
        self.gateways.push(Gateway { nat, outer: config.behind, address });
    }

    /// Returns the number of the next NAT.
    pub(super) fn nats(&self) -> NatId {
        NatId(u32::try_from(self.gateways.len()).expect("fewer than 2³² NATs"))
    }

    /// Puts a firewall in front of a node.
    pub(super) fn set_firewall(&mut self, node: NodeId, profile: FirewallProfile) {
        self.firewalls.insert(node, Firewall::new(profile));
    }

    /// Has a NAT lose its mappings.
    pub(super) fn reset_nat(&mut self, nat: NatId) {
        if let Some(gateway) = self.gateways.get_mut(nat.0 as usize) {
            gateway.nat.reset();
        }
    }

    /// Gives an address to a node; false if it is another's.
    pub(super) fn bind(&mut self, realm: Realm, address: SocketAddr, node: NodeId) -> bool {
        *self.owners.entry((realm, address)).or_insert(node) == node
    }

    /// Takes an address from its node.
    pub(super) fn unbind(&mut self, realm: Realm, address: SocketAddr) {
        self.owners.remove(&(realm, address));
    }

    /// Returns the node that has an address.
    pub(super) fn owner(&self, realm: Realm, address: SocketAddr) -> Option<NodeId> {
        self.owners.get(&(realm, address)).copied()
    }

    /// Lets a datagram out of its realm, up to the one in which its target is.
    pub(super) fn leave(
        &mut self,
        now: Duration,
        node: NodeId,
        from: Realm,
        packet: &mut Packet,
    ) -> Result<Realm, Lost> {
        if let Some(firewall) = self.firewalls.get_mut(&node) {
            firewall.outbound(now, packet.source, packet.target);
        }
        let (mut realm, mut came_through) = (from, None);
        loop {
            if self.owners.contains_key(&(realm, packet.target)) {
                return Ok(realm);
            }
            if let Some(&nat) = self.gateway_at.get(&(realm, packet.target.ip())) {
                let turns_back = came_through == Some(nat);
                let gateway = &self.gateways[nat.0 as usize];
                let may_turn = gateway.nat.profile().hairpin;
                return if turns_back && !may_turn { Err(Lost::Refused) } else { Ok(realm) };
            }
            let nat = realm.ok_or(Lost::Nowhere)?;
            let gateway = self.gateways.get_mut(nat.0 as usize).ok_or(Lost::Nowhere)?;
            if packet.target.is_ipv6() {
                return Err(Lost::Nowhere);
            }
            let port = gateway.nat.outbound(now, packet.source, packet.target)?;
            packet.source = SocketAddr::new(gateway.address, port);
            (realm, came_through) = (gateway.outer, Some(nat));
        }
    }

    /// Lets a datagram in, to the node that it is for. Its target is the node's own address then.
    pub(super) fn enter(
        &mut self,
        now: Duration,
        from: Realm,
        packet: &mut Packet,
    ) -> Result<NodeId, Lost> {
        let mut realm = from;
        loop {
            if let Some(&node) = self.owners.get(&(realm, packet.target)) {
                let firewall = self.firewalls.get_mut(&node);
                let passes = firewall
                    .is_none_or(|firewall| firewall.lets_in(now, packet.target, packet.source));
                return if passes { Ok(node) } else { Err(Lost::Refused) };
            }
            let nat = self.gateway_at.get(&(realm, packet.target.ip())).ok_or(Lost::Nowhere)?;
            realm = Some(*nat);
            let gateway = &mut self.gateways[nat.0 as usize];
            packet.target = gateway.nat.inbound(now, packet.source, packet.target.port())?;
        }
    }

    /// Returns to whom an address leads at the moment, whoever asks; where a NAT cannot tell, any
    /// node behind it.
    pub(super) fn lead(&self, now: Duration, from: Realm, target: SocketAddr) -> Option<NodeId> {
        let (mut realm, mut target) = (from, target);
        loop {
            if let Some(&node) = self.owners.get(&(realm, target)) {
                return Some(node);
            }
            let nat = *self.gateway_at.get(&(realm, target.ip()))?;
            realm = Some(nat);
            match self.gateways[nat.0 as usize].nat.peek(now, target.port()) {
                Some(inner) => target = inner,
                None => return self.any_behind(nat),
            }
        }
    }

    fn any_behind(&self, nat: NatId) -> Option<NodeId> {
        let mut inside = self.owners.iter();
        inside.find_map(|((realm, _), &node)| self.is_behind(*realm, nat).then_some(node))
    }

    fn is_behind(&self, mut realm: Realm, nat: NatId) -> bool {
        while let Some(inner) = realm {
            if inner == nat {
                return true;
            }
            realm = self.gateways[inner.0 as usize].outer;
        }
        false
    }
}
