//! With whom a recorded node had to do. A peer begins as an address and gets its name when its link
//! comes up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use x0x_core::identity::{AgentId, MachineId};

/// A peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The first digits of its machine's id; its address if that never became known.
    pub name: String,
    /// Its first address.
    pub address: String,
    machine: Option<MachineId>,
    /// Datagrams that came from it.
    pub received: usize,
    /// Their bytes.
    pub received_bytes: usize,
    /// Datagrams that went to it.
    pub sent: usize,
    /// Their bytes.
    pub sent_bytes: usize,
    /// When it had a link: from, and until if it ended.
    pub links: Vec<(Duration, Option<Duration>)>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    rows: Vec<Peer>,
    addresses: BTreeMap<SocketAddr, usize>,
    machines: BTreeMap<MachineId, usize>,
    agents: BTreeMap<AgentId, usize>,
}

impl Peers {
    /// Returns them in the order in which they appeared.
    pub fn rows(&self) -> &[Peer] {
        &self.rows
    }

    /// Returns the name of one.
    pub fn name(&self, peer: usize) -> &str {
        self.rows.get(peer).map_or("", |peer| &peer.name)
    }

    /// Returns whoever is at an address.
    pub(super) fn at(&mut self, address: SocketAddr) -> usize {
        let address = canonical(address);
        let Self { rows, addresses, .. } = self;
        *addresses.entry(address).or_insert_with(|| {
            let name = address.to_string();
            rows.push(Peer { address: name.clone(), name, ..Peer::default() });
            rows.len() - 1
        })
    }

    pub(super) fn of_machine(&self, machine: &MachineId) -> Option<usize> {
        self.machines.get(machine).copied()
    }

    pub(super) fn of_agent(&self, agent: &AgentId) -> Option<usize> {
        self.agents.get(agent).copied()
    }

    pub(super) fn received(&mut self, from: SocketAddr, bytes: usize) -> usize {
        let peer = self.at(from);
        self.rows[peer].received += 1;
        self.rows[peer].received_bytes += bytes;
        peer
    }

    pub(super) fn sent(&mut self, to: SocketAddr, count: usize, bytes: usize) -> usize {
        let peer = self.at(to);
        self.rows[peer].sent += count;
        self.rows[peer].sent_bytes += bytes;
        peer
    }

    /// A link came up.
    pub(super) fn up(
        &mut self,
        at: Duration,
        machine: MachineId,
        agents: &[AgentId],
        address: SocketAddr,
    ) -> usize {
        let peer = self.named(machine, address);
        self.agents.extend(agents.iter().map(|agent| (*agent, peer)));
        self.rows[peer].links.push((at, None));
        peer
    }

    /// A link ended.
    pub(super) fn down(&mut self, at: Duration, machine: &MachineId) -> Option<usize> {
        let peer = self.of_machine(machine)?;
        if let Some((_, until @ None)) = self.rows[peer].links.last_mut() {
            *until = Some(at);
        }
        Some(peer)
    }

    /// A link moved.
    pub(super) fn moved(&mut self, machine: &MachineId, address: SocketAddr) -> Option<usize> {
        let peer = self.of_machine(machine)?;
        self.addresses.insert(canonical(address), peer);
        Some(peer)
    }

    /// Finds a machine, or gives its name to whoever is at the address and has none.
    fn named(&mut self, machine: MachineId, address: SocketAddr) -> usize {
        if let Some(peer) = self.of_machine(&machine) {
            self.addresses.insert(canonical(address), peer);
            return peer;
        }
        let mut peer = self.at(address);
        if self.rows[peer].machine.is_some() {
            self.addresses.remove(&canonical(address));
            peer = self.at(address);
        }
        self.rows[peer].machine = Some(machine);
        self.rows[peer].name = machine.short();
        self.machines.insert(machine, peer);
        peer
    }
}

/// A socket for both families shows an IPv4 address within an IPv6 one.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
