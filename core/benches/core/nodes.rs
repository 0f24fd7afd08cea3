//! Whole nodes.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

use bytes::Bytes;
use x0x_core::identity::{AgentId, AgentKey, MachineKey};
use x0x_core::node::{
    Command, CommandId, Config, Connect, Event, Node, Output, Reply, Restored, SendDirect, Target,
};
use x0x_core::transport::{Datagram, Transmit};

use crate::world::{End, TIMEOUT, address, anchor, fresh_seed, link_config, seed, time};
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;

pub(crate) struct NodeEnd {
    node: Node,
    deadline: Option<Instant>,
    up: usize,
    pub(crate) up_at: Option<Instant>,
    pub(crate) first_short_at: Option<Instant>,
    pub(crate) acknowledged: usize,
    pub(crate) acknowledged_at: Option<Instant>,
    commands: u64,
    pub(crate) outgoing: Option<Outgoing>,
}

/// Messages to the second node.
pub(crate) struct Outgoing {
    left: usize,
    in_flight: usize,
    in_flight_max: usize,
    payload: Bytes,
}

impl Outgoing {
    pub(crate) fn new(left: usize, in_flight_max: usize, payload: Bytes) -> Self {
        Self { left, in_flight: 0, in_flight_max, payload }
    }
}

/// Makes nodes.
pub(crate) fn nodes(count: usize, initial_mtu: u16) -> Vec<NodeEnd> {
    (0..count).map(|index| NodeEnd::new(index, initial_mtu)).collect()
}

impl NodeEnd {
    fn new(index: usize, initial_mtu: u16) -> Self {
        let config = Config {
            machine_key: MachineKey::from_seed(&seed("machine", index)),
            agent_key: AgentKey::from_seed(&seed("agent", index)),
            certificate: None,
            sockets: vec![address(index)],
            link: link_config(initial_mtu),
            overlay: x0x_core::overlay::Config::default(),
            memory: x0x_core::support::MemoryBudget::DEFAULT,
        };
        let restored = Restored::default();
        Self {
            node: Node::new(config, fresh_seed(), restored, time(anchor())).unwrap(),
            deadline: None,
            up: 0,
            up_at: None,
            first_short_at: None,
            acknowledged: 0,
            acknowledged_at: None,
            commands: 0,
            outgoing: None,
        }
    }

    fn command_id(&mut self) -> CommandId {
        self.commands += 1;
        CommandId(self.commands)
    }

    fn fill(&mut self, now: Instant) {
        let Some(mut outgoing) = self.outgoing.take() else { return };
        let recipient = recipient();
        while outgoing.left > 0 && outgoing.in_flight < outgoing.in_flight_max {
            let send =
                SendDirect { recipient, payload: outgoing.payload.clone(), timeout: TIMEOUT };
            let command = Command { id: self.command_id(), request: send.into() };
            self.node.handle_command(time(now), command).unwrap();
            outgoing.left -= 1;
            outgoing.in_flight += 1;
        }
        self.outgoing = Some(outgoing);
    }

    fn take_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Link(link::Event::PeerUp { .. }) => {
                self.up += 1;
                self.up_at = Some(now);
            }
            Event::Reply { reply: Reply::Direct(direct::Reply::SendDirect(result)), .. } => {
                result.unwrap();
                self.acknowledged += 1;
                self.acknowledged_at = Some(now);
                self.outgoing.as_mut().unwrap().in_flight -= 1;
            }
            Event::Reply { .. }
            | Event::Link(link::Event::PathChanged { .. })
            | Event::Direct(direct::Event::Received { .. })
            | Event::Gossip(gossip::Event::Received { .. })
            | Event::Gossip(gossip::Event::Lagged { .. })
            | Event::Gossip(gossip::Event::Equivocated { .. }) => {}
            Event::Link(link::Event::PeerDown { reason, .. }) => {
                panic!("a link went down: {reason:?}")
            }
            Event::Halted(fatal) => panic!("a node halted: {fatal}"),
        }
    }
}

/// The agent of the second node.
fn recipient() -> AgentId {
    static RECIPIENT: OnceLock<AgentId> = OnceLock::new();
    *RECIPIENT.get_or_init(|| AgentKey::from_seed(&seed("agent", 1)).id())
}

impl End for NodeEnd {
    fn dial(&mut self, now: Instant, address: SocketAddr) {
        let target = Target::Address { address, machine: None };
        let connect = Connect { target, keep: false, timeout: TIMEOUT };
        let command = Command { id: self.command_id(), request: connect.into() };
        self.node.handle_command(time(now), command).unwrap();
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        self.node.handle_datagram(time(now), datagram);
    }

    fn transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.fill(now);
        loop {
            match self.node.poll_output(buf) {
                Output::Transmit(transmit) => {
                    let size = transmit.segment_size.unwrap_or(transmit.size);
                    let is_short = |datagram: &[u8]| datagram[0] & 0x80 == 0;
                    if self.first_short_at.is_none() && buf.chunks(size).any(is_short) {
                        self.first_short_at = Some(now);
                    }
                    return Some(transmit);
                }
                Output::Store(batch) => self.node.handle_stored(time(now), batch.id, Ok(())),
                Output::Event(event) => self.take_event(now, event),
                Output::Load(_) | Output::Settled => {}
                Output::Idle { deadline } => {
                    self.deadline = deadline.map(|deadline| deadline.at);
                    return None;
                }
            }
        }
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.deadline
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(time(now));
    }

    fn up(&self) -> usize {
        self.up
    }
}
