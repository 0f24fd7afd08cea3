//! A node on a bench: it gets inputs, and its outputs are checked against what every node promises.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::{
    Command, CommandError, CommandId, Config, Event, Node, Output, Request, Restored, StartError,
    Time, WriteId,
};
use x0x_core::transport::{Datagram, fuzzing};

use crate::fixture::{UNIX_TIME, fixture};
use crate::start;
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;

/// More outputs than any one input can cause on these benches.
const OUTPUTS_MAX: usize = 10_000;
/// How much may go to an address for each byte that came from it, until it proved itself.
const AMPLIFICATION_MAX: usize = 3;
/// The size of the datagrams of QUIC on these benches.
const DATAGRAM_SIZE: usize = 1200;

/// Whose keys a node has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// The node that is tested.
    Tested,
    /// Another one.
    Other,
}

impl Who {
    pub(crate) fn keys(self) -> (MachineKey, AgentKey) {
        match self {
            Self::Tested => (fixture().machine.clone(), fixture().agent.clone()),
            Self::Other => crate::peer::keys(),
        }
    }

    fn seed(self) -> [u8; 32] {
        match self {
            Self::Tested => [21; 32],
            Self::Other => [22; 32],
        }
    }
}

/// The node and what is known of it.
pub(crate) struct Bench {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    pub(crate) deadline: Option<Instant>,
    /// What it sent and nobody took yet.
    pub(crate) sent: VecDeque<Datagram>,
    /// What it told and nobody took yet.
    pub(crate) events: VecDeque<Event>,
    /// Whether writes end at once and well.
    pub(crate) stores_at_once: bool,
    pub(crate) writes: VecDeque<WriteId>,
    /// Commands that wait for their reply.
    waiting: BTreeSet<CommandId>,
    next_command: u64,
    is_halted: bool,
    /// Bytes that came from an address, and bytes that went there.
    traffic: BTreeMap<SocketAddr, (usize, usize)>,
    /// The connection ids that the node gave to an address.
    given: BTreeSet<(SocketAddr, Vec<u8>)>,
    /// Addresses to which the node may send what it likes: they showed an id that went there, or
    /// the node was told to dial them.
    pub(crate) proven: BTreeSet<SocketAddr>,
    /// Whether every address is such a one.
    pub(crate) anywhere: bool,
}

/// The socket of a node.
pub(crate) fn socket(who: Who) -> SocketAddr {
    match who {
        Who::Tested => ([192, 0, 2, 1], 5483).into(),
        Who::Other => ([192, 0, 2, 2], 5483).into(),
    }
}

/// One of a few addresses; the first is that of the other node.
pub(crate) fn address(number: u8) -> SocketAddr {
    match number % 4 {
        0 => socket(Who::Other),
        1 => ([198, 51, 100, 7], 443).into(),
        2 => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 3], 5483).into(),
        _ => ([203, 0, 113, 9], 1).into(),
    }
}

/// When the first input comes.
fn begun() -> std::time::Instant {
    start() + Duration::from_secs(3600)
}

impl Bench {
    /// Starts a node with the rows of a store.
    pub(crate) fn start(who: Who, restored: Restored) -> Result<Self, StartError> {
        let (machine_key, agent_key) = who.keys();
        let config = Config {
            machine_key,
            agent_key,
            certificate: None,
            sockets: vec![socket(who)],
            link: LinkConfig { discover_mtu: false, ..LinkConfig::default() },
            overlay: x0x_core::overlay::Config::default(),
            memory: x0x_core::support::MemoryBudget::DEFAULT,
        };
        // Timers may lie in the past of the first input.
        let now = begun();
        let mut bench = Self {
            node: Node::new(config, who.seed(), restored, Time { now, unix_time: UNIX_TIME })?,
            now,
            deadline: None,
            sent: VecDeque::new(),
            events: VecDeque::new(),
            stores_at_once: true,
            writes: VecDeque::new(),
            waiting: BTreeSet::new(),
            next_command: 0,
            is_halted: false,
            traffic: BTreeMap::new(),
            given: BTreeSet::new(),
            proven: BTreeSet::new(),
            anywhere: false,
        };
        bench.drain();
        Ok(bench)
    }

    /// Starts a node with an empty store.
    pub(crate) fn fresh(who: Who) -> Self {
        Self::start(who, Restored::default()).expect("an empty store is sound")
    }

    pub(crate) fn receive(&mut self, source: SocketAddr, local: SocketAddr, payload: &[u8]) {
        self.traffic.entry(source).or_default().0 += payload.len();
        if let Some((id, _)) = fuzzing::owner(payload, [0; 32])
            && self.given.contains(&(source, id.to_vec()))
        {
            self.proven.insert(source);
        }
        let payload = BytesMut::from(payload);
        self.node.handle_datagram(self.time(), Datagram { source, local, ecn: None, payload });
        self.drain();
    }

    pub(crate) fn command(&mut self, request: Request) -> Result<(), CommandError> {
        let id = CommandId(self.next_command);
        self.next_command += 1;
        self.node.handle_command(self.time(), Command { id, request })?;
        assert!(!self.is_halted, "a halted node takes no commands");
        self.waiting.insert(id);
        self.drain();
        Ok(())
    }

    pub(crate) fn stored(&mut self, id: WriteId, result: Result<(), x0x_core::node::StoreError>) {
        self.is_halted |= result.is_err();
        self.node.handle_stored(self.time(), id, result);
        self.drain();
    }

    /// Lets time pass; the timers that come due meanwhile fire in their turn.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..64 {
            let Some(deadline) = self.deadline.filter(|&at| at <= end) else { break };
            self.now = self.now.max(deadline);
            self.node.handle_timeout(self.time());
            self.drain();
        }
        self.now = end;
        self.node.handle_timeout(self.time());
        self.drain();
    }

    /// What both clocks show: they run alike.
    fn time(&self) -> Time {
        Time { now: begun(), unix_time: UNIX_TIME }.at(self.now)
    }

    fn drain(&mut self) {
        let mut buf = Vec::new();
        for _ in 0..OUTPUTS_MAX {
            match self.node.poll_output(&mut buf) {
                Output::Transmit(transmit) => {
                    assert_eq!(transmit.size, buf.len());
                    assert!(!self.is_halted || self.waiting.is_empty() || !buf.is_empty());
                    let size = transmit.segment_size.unwrap_or(transmit.size);
                    for datagram in buf.chunks(size) {
                        self.transmitted(transmit.target, transmit.local, datagram);
                    }
                }
                Output::Store(batch) => {
                    assert!(batch.puts.iter().all(|record| record.key.len() == 32));
                    if self.stores_at_once {
                        self.node.handle_stored(self.time(), batch.id, Ok(()));
                    } else {
                        self.writes.push_back(batch.id);
                    }
                }
                Output::Load(_) => unreachable!("no module loads"),
                Output::Event(event) => self.told(event),
                Output::Settled => {}
                Output::Idle { deadline } => {
                    self.deadline = deadline.map(|deadline| deadline.at);
                    assert!(!self.is_halted || deadline.is_none(), "a halted node wants nothing");
                    return;
                }
            }
        }
        panic!("the node never becomes idle");
    }

    fn told(&mut self, event: Event) {
        match &event {
            Event::Reply { command, .. } => {
                assert!(self.waiting.remove(command), "a command is answered once");
            }
            Event::Halted(_) => assert!(self.is_halted, "a node halts when a write failed"),
            Event::Link(link::Event::PeerUp { address, .. })
            | Event::Link(link::Event::PathChanged { address, .. }) => {
                self.proven.insert(*address);
            }
            Event::Link(link::Event::PeerDown { .. })
            | Event::Direct(direct::Event::Received { .. })
            | Event::Gossip(gossip::Event::Received { .. })
            | Event::Gossip(gossip::Event::Lagged { .. })
            | Event::Gossip(gossip::Event::Equivocated { .. }) => {}
        }
        self.events.push_back(event);
    }

    fn transmitted(&mut self, target: SocketAddr, local: SocketAddr, datagram: &[u8]) {
        assert!(!datagram.is_empty() && datagram.len() <= 65_507);
        if let Some(id) = source_id(datagram) {
            self.given.insert((target, id.to_vec()));
        }
        let (came, went) = self.traffic.entry(target).or_default();
        *went += datagram.len();
        // quinn-proto sends a whole datagram if a single byte of the allowance is left.
        let rounded = if *came >= DATAGRAM_SIZE { DATAGRAM_SIZE } else { 0 };
        let within = *went <= AMPLIFICATION_MAX * *came + rounded;
        let free = self.anywhere || self.proven.contains(&target);
        assert!(within || free, "{went} bytes for {came} to {target}");
        let payload = BytesMut::from(datagram);
        self.sent.push_back(Datagram { source: local, local: target, ecn: None, payload });
    }
}

/// Returns the source connection id of a long header.
fn source_id(datagram: &[u8]) -> Option<Bytes> {
    let mut input = crate::input::Input::new(datagram);
    if input.byte() & 0x80 == 0 {
        return None;
    }
    let _version = input.take(4);
    let size = usize::from(input.byte());
    let _target = input.take(size);
    let size = usize::from(input.byte());
    Some(Bytes::copy_from_slice(input.take(size)))
}
