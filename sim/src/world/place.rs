//! Where hosts are: their sockets, the networks that these are in, and how that changes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::node::{ChangeNetwork, CommandError, CommandId, Config};

use super::clock::ClockProfile;
use super::host::{Host, Socket};
use super::{PORT_BASE, World};
use crate::nat::FirewallProfile;
use crate::{Disk, Machine, NatId, NodeId};
use x0x_core::link;

/// Where a host is and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The network of each of its IPv4 sockets, the preferred first: that behind a NAT, or the
    /// public one.
    pub networks: Vec<Option<NatId>>,
    /// Its firewall.
    pub firewall: Option<FirewallProfile>,
    /// Its clocks.
    pub clock: ClockProfile,
}

impl Default for Place {
    /// One socket in the public network, no firewall, and clocks that are right.
    fn default() -> Self {
        Self { networks: vec![None], firewall: None, clock: ClockProfile::default() }
    }
}

impl<M: Machine> World<M> {
    pub(super) fn add_node(&mut self, node: NodeId) {
        let place = self.config.places.get(node.index()).cloned().unwrap_or_default();
        let per_host = u32::from(self.config.nodes_per_host.max(1));
        let [_, b, c, d] = (node.0 / per_host + 1).to_be_bytes();
        let port = PORT_BASE + u16::try_from(node.0 % per_host).unwrap_or(0);
        let mut sockets = Vec::new();
        for (number, &nat) in place.networks.iter().enumerate() {
            let own = SocketAddr::from((Ipv4Addr::new(10, b, c, d), port));
            let is_usual = number == 0 && nat.is_none();
            let address = if is_usual { own } else { self.fresh_address(nat, port) };
            sockets.push(Socket { nat, ..Socket::new(address) });
        }
        if self.config.dual_stack {
            let [high, low] = [u16::from_be_bytes([0, b]), u16::from_be_bytes([c, d])];
            let host = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, high, low);
            sockets.push(Socket::new(SocketAddr::from((host, port))));
        }
        let mut keys = self.rng.fork(&format!("keys {node}"));
        let config = Config {
            machine_key: MachineKey::from_seed(&keys.bytes()),
            agent_key: AgentKey::from_seed(&keys.bytes()),
            certificate: None,
            sockets: sockets.iter().map(|socket| socket.local).collect(),
            link: self.config.link_config.clone(),
            overlay: x0x_core::overlay::Config::default(),
            memory: x0x_core::support::MemoryBudget::DEFAULT,
        };
        self.checks.add_node(node, config.machine_key.id(), config.agent_key.id());
        for socket in &sockets {
            let free = self.network.bind(socket.nat, socket.public, node);
            assert!(free, "every node has addresses of its own");
        }
        if let Some(profile) = place.firewall {
            self.network.set_firewall(node, profile);
        }
        let disk = Disk::new(self.config.disk, self.rng.fork(&format!("disk {node}")));
        self.hosts.push(Host::new(config, sockets, disk, place.clock));
        self.start(node);
    }

    /// Gives the first socket of a family another address in its network.
    pub(super) fn move_socket(
        &mut self,
        node: NodeId,
        address: SocketAddr,
        announce: bool,
    ) -> Result<Option<CommandId>, CommandError> {
        let mut sockets = self.hosts[node.index()].sockets.iter();
        let moved = sockets.position(|socket| socket.public.is_ipv4() == address.is_ipv4());
        let is_free = |&socket: &usize| {
            let nat = self.hosts[node.index()].sockets[socket].nat;
            self.network.owner(nat, address).is_none_or(|owner| owner == node)
        };
        let Some(socket) = moved.filter(is_free) else {
            return Err(CommandError::Link(link::RequestError::InvalidAddress { address }));
        };
        let nat = self.hosts[node.index()].sockets[socket].nat;
        self.put_socket((node, socket), nat, address, announce)
    }

    /// Moves a socket to another network, where it gets a fresh address.
    pub(super) fn roam(
        &mut self,
        node: NodeId,
        socket: u32,
        nat: Option<NatId>,
        announce: bool,
    ) -> Result<Option<CommandId>, CommandError> {
        let socket = socket as usize;
        let old = self.hosts[node.index()].sockets.get(socket).map(|socket| socket.public);
        let Some(old) = old.filter(SocketAddr::is_ipv4) else { return Ok(None) };
        let address = self.fresh_address(nat, old.port());
        self.put_socket((node, socket), nat, address, announce)
    }

    /// Puts a socket where it has a certain address, and tells its node if that is wanted.
    fn put_socket(
        &mut self,
        (node, socket): (NodeId, usize),
        nat: Option<NatId>,
        address: SocketAddr,
        announce: bool,
    ) -> Result<Option<CommandId>, CommandError> {
        let socket = &mut self.hosts[node.index()].sockets[socket];
        self.network.unbind(socket.nat, socket.public);
        self.network.bind(nat, address, node);
        (socket.nat, socket.public) = (nat, address);
        if !announce {
            return Ok(None);
        }
        socket.local = address;
        self.announce(node)
    }

    /// Takes an interface down or up.
    pub(super) fn set_interface(
        &mut self,
        node: NodeId,
        socket: u32,
        is_up: bool,
    ) -> Result<Option<CommandId>, CommandError> {
        let sockets = &mut self.hosts[node.index()].sockets;
        let others = sockets.iter().zip(0..).any(|(other, n)| other.is_up && n != socket);
        match sockets.get_mut(socket as usize) {
            Some(changed) if changed.is_up != is_up && (is_up || others) => changed.is_up = is_up,
            Some(_) | None => return Ok(None),
        }
        self.announce(node)
    }

    /// Tells a node which sockets it has, now or when it wakes.
    pub(super) fn announce(&mut self, node: NodeId) -> Result<Option<CommandId>, CommandError> {
        let host = &mut self.hosts[node.index()];
        let up = host.sockets.iter().filter(|socket| socket.is_up);
        let sockets: Vec<SocketAddr> = up.map(|socket| socket.local).collect();
        host.config.sockets.clone_from(&sockets);
        if host.machine.is_none() {
            return Ok(None);
        }
        if let Some(sleep) = &mut host.sleep {
            sleep.network_changed = true;
            return Ok(None);
        }
        self.issue(node, ChangeNetwork { sockets }.into()).map(Some)
    }

    /// Returns an address of a network that nobody had before.
    fn fresh_address(&mut self, nat: Option<NatId>, port: u16) -> SocketAddr {
        let given = self.given.entry(nat).or_default();
        *given += 1;
        let [_, b, c, d] = given.to_be_bytes();
        let ip = match nat {
            None => Ipv4Addr::new(11, b, c, d),
            Some(_) => Ipv4Addr::new(192, 168, c, d),
        };
        SocketAddr::from((ip, port))
    }
}
