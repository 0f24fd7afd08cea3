//! What can be seen of a world from outside.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use x0x_core::node::{CommandId, Config, Event, Reply};

use super::{Logged, World, WorldConfig};
use crate::step::Expectation;
use crate::{DiskProfile, Failure, Machine, NatId, Network, NodeId, RecordedStep, Tally};
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;

impl<M> World<M> {
    /// Returns the configuration.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// Returns the nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<M> {
        (0..self.config.nodes).map(NodeId)
    }

    /// Returns the virtual time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Returns how many events were processed; steps are none.
    pub fn processed(&self) -> u64 {
        self.processed
    }

    /// Returns a node, if it runs.
    pub fn machine(&self, node: NodeId) -> Option<&M> {
        self.hosts[node.index()].machine.as_ref()
    }

    /// Returns the configuration of a node, with its keys.
    pub fn node_config(&self, node: NodeId) -> &Config {
        &self.hosts[node.index()].config
    }

    /// Tells whether a node runs and its host does not sleep.
    pub fn is_awake(&self, node: NodeId) -> bool {
        let host = &self.hosts[node.index()];
        host.machine.is_some() && host.sleep.is_none()
    }

    /// Returns the address of the preferred socket of a node, in the network that it is in.
    pub fn address(&self, node: NodeId) -> SocketAddr {
        self.hosts[node.index()].sockets[0].public
    }

    /// Returns the addresses of a node, each in the network that it is in.
    pub fn addresses(&self, node: NodeId) -> impl Iterator<Item = SocketAddr> {
        self.hosts[node.index()].sockets.iter().map(|socket| socket.public)
    }

    /// Returns the network of the preferred socket of a node: that behind a NAT, or the public one.
    pub fn network_of(&self, node: NodeId) -> Option<NatId> {
        self.hosts[node.index()].sockets[0].nat
    }

    /// Tells whether an interface of a node is up, if it has it.
    pub(crate) fn interface_is_up(&self, node: NodeId, socket: u32) -> Option<bool> {
        self.hosts[node.index()].sockets.get(socket as usize).map(|socket| socket.is_up)
    }

    /// Returns how the disk of a node behaves.
    pub(crate) fn disk_profile(&self, node: NodeId) -> &DiskProfile {
        self.hosts[node.index()].disk.profile()
    }

    /// Tells whether both nodes say that their link is up.
    pub fn is_linked(&self, a: NodeId, b: NodeId) -> bool {
        self.checks.is_linked(a, b) && self.checks.is_linked(b, a)
    }

    /// Tells whether both ends of every link agree that it is up.
    pub fn agrees(&self) -> bool {
        self.checks.disagreement().is_none()
    }

    /// Returns how many commands wait for their reply.
    pub fn outstanding(&self) -> usize {
        self.checks.outstanding()
    }

    /// Returns the network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Returns what happened so far, in numbers.
    pub fn tally(&self) -> &Tally {
        &self.checks.tally
    }

    /// Returns the first failure, if a check failed.
    pub fn failure(&self) -> Option<&Failure> {
        self.checks.failure()
    }

    /// Returns every event so far, if they are recorded.
    pub fn events(&self) -> &[Logged] {
        &self.events
    }

    /// Returns the reply to a command, if events are recorded and it was answered.
    pub fn reply(&self, id: CommandId) -> Option<&Reply> {
        self.events.iter().rev().find_map(|logged| match &logged.event {
            Event::Reply { command, reply } if *command == id => Some(reply),
            Event::Reply { .. }
            | Event::Link(link::Event::PeerUp { .. })
            | Event::Link(link::Event::PeerDown { .. })
            | Event::Link(link::Event::PathChanged { .. })
            | Event::Direct(direct::Event::Received { .. })
            | Event::Gossip(gossip::Event::Received { .. })
            | Event::Gossip(gossip::Event::Lagged { .. })
            | Event::Gossip(gossip::Event::Equivocated { .. })
            | Event::Halted(_) => None,
        })
    }

    /// Returns every step so far, if they are recorded.
    pub fn steps(&self) -> &[RecordedStep] {
        &self.steps
    }

    /// Returns the hash over everything that moved so far.
    pub fn trace_hash(&self) -> [u8; 32] {
        self.trace.hash()
    }

    /// Returns the trace hash in hex.
    pub fn trace_hex(&self) -> String {
        crate::trace::hex(&self.trace_hash())
    }

    /// Returns the present time as a node sees it.
    pub(super) fn instant(&self, node: NodeId) -> Instant {
        self.anchor + self.hosts[node.index()].clock.local(self.now)
    }
}

impl<M: Machine> World<M> {
    /// Tells whether something is true; if not, what is and for whom.
    ///
    /// # Errors
    ///
    /// If it is not true.
    pub fn meets(&self, expectation: &Expectation) -> Result<(), (Option<NodeId>, String)> {
        match expectation {
            &Expectation::Linked { a, b } if !self.is_linked(a, b) => {
                Err((Some(a), format!("the link to {b} stays down")))
            }
            &Expectation::Delivered { from, to, ref payload }
                if !self.checks.was_delivered(from, to, payload) =>
            {
                Err((Some(to), format!("a message of {from} is not delivered and acknowledged")))
            }
            Expectation::Heard { topic, author, payload, by } => {
                let has_heard =
                    |&node: &NodeId| self.checks.has_heard(node, topic, *author, payload);
                let deaf = by.iter().copied().find(|node| !has_heard(node));
                let what = format!("a message of {author} is not heard");
                deaf.map_or(Ok(()), |deaf| Err((Some(deaf), what)))
            }
            Expectation::Not(inner) if self.meets(inner).is_ok() => {
                Err((None, format!("{inner}, which must not be")))
            }
            &Expectation::Idle { node } => {
                let held = self.machine(node).and_then(Machine::held);
                held.map_or(Ok(()), |held| Err((Some(node), format!("holds {held} when idle"))))
            }
            Expectation::Linked { .. } | Expectation::Delivered { .. } | Expectation::Not(_) => {
                Ok(())
            }
        }
    }
}
