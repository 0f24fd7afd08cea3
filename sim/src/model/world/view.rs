//! What can be seen of a world.

use super::{
    BTreeMap, Bits, Counts, Duration, Graph, Histogram, Kind, Library, Mind, Number, PeerId,
    Protocol, Record, Rng, Tally, Traffic, World,
};

/// What a session costs its dialler on the wire before the first frame: keys, key exchange and
/// signatures. Measured over 4,200 sessions of strangers, it was 13.8 kB.
pub const HANDSHAKE_BYTES: u64 = 10_000;

impl<P: Protocol> World<P> {
    /// Returns how long the world has run.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Returns what the world was made from.
    pub fn config(&self) -> &super::ModelConfig {
        &self.config
    }

    /// Returns the generator of the world, for what is done to it.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Returns the id of a node.
    pub fn id(&self, node: u32) -> PeerId {
        self.nodes[node as usize].id
    }

    /// Returns the honest nodes that are in the main topic.
    pub fn present(&self) -> &Bits {
        &self.present
    }

    /// Returns the bytes that honest nodes sent in frames without items, and all that others sent,
    /// the handshakes of their sessions included.
    pub fn sent(&self) -> (u64, u64) {
        let nodes = (0_u32..).zip(&self.nodes);
        let handshakes = HANDSHAKE_BYTES * self.tally.sessions_hostile;
        nodes.fold((0, handshakes), |(honest, hostile), (index, node)| {
            if self.hostile.contains(index) {
                (honest, hostile + node.sent.bytes())
            } else {
                (honest + node.sent.control.bytes, hostile)
            }
        })
    }

    /// Tells whether a node does not run.
    pub fn is_absent(&self, node: u32) -> bool {
        matches!(self.nodes[node as usize].mind, Mind::Absent)
    }

    /// Returns the protocol of an honest node.
    pub fn protocol(&self, node: u32) -> Option<&P> {
        match &self.nodes.get(node as usize)?.mind {
            Mind::Honest(protocol) => Some(protocol),
            Mind::Absent | Mind::Hostile(..) => None,
        }
    }

    /// Tells whether a node blocks the agent of another.
    pub fn is_blocked(&self, node: u32, author: u32) -> bool {
        self.nodes[node as usize].blocked.contains(author)
    }

    /// Returns what became of an item.
    pub fn record(&self, number: Number) -> &Record {
        &self.records[number.0 as usize]
    }

    /// Tells whether a node should have an item: it is in the topic without a break since before the
    /// item was published, by its own clock, too.
    pub fn is_expected(&self, node: u32, record: &Record) -> bool {
        let joined_at = self.nodes[node as usize].joined_at + 2 * self.config.clock_offset_max;
        record.audience.contains(node) && self.present.contains(node) && joined_at <= record.at
    }

    /// Returns how many nodes should have an item, and how many of them do.
    pub fn reached(&self, record: &Record) -> (u32, u32) {
        let (mut expected, mut has) = (0, 0);
        for node in record.audience.iter().filter(|&node| self.is_expected(node, record)) {
            expected += 1;
            has += u32::from(record.received.contains(node));
        }
        (expected, has)
    }

    /// Returns what became of all items.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns the items.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Returns what a node received and what it sent.
    pub fn traffic(&self, node: u32) -> (&Traffic, &Traffic) {
        let node = &self.nodes[node as usize];
        (&node.received, &node.sent)
    }

    /// Returns how often an honest node counted something of gossip, if it runs gossip.
    pub fn count(&self, node: u32, counter: x0x_core::gossip::Counter) -> u64 {
        match &self.nodes[node as usize].mind {
            Mind::Honest(protocol) => protocol.count(counter),
            Mind::Absent | Mind::Hostile(..) => 0,
        }
    }

    /// Returns how often honest nodes accused a node.
    pub fn accused(&self, node: u32) -> u32 {
        self.nodes[node as usize].accused
    }

    /// Returns how many sessions a node has.
    pub fn sessions(&self, node: u32) -> usize {
        self.nodes[node as usize].peers.len()
    }

    /// Tells whether two nodes have a session, as the first sees it.
    pub fn is_up(&self, node: u32, other: u32) -> bool {
        let end = self.end(node, self.id(other));
        end.and_then(|end| Some(self.sessions.get(end)?.up[end.index()])).unwrap_or(false)
    }

    /// Returns the frames sent so far, by kind.
    pub fn kinds(&self) -> &BTreeMap<Kind, Counts> {
        self.kinds.all()
    }

    /// Returns those of them that hostile nodes sent.
    pub fn hostile_kinds(&self) -> &BTreeMap<Kind, Counts> {
        self.hostile_kinds.all()
    }

    /// Returns what should be rare.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Returns which rules honest nodes say were broken, and how often.
    pub fn rules(&self) -> &BTreeMap<&'static str, u64> {
        &self.rules
    }

    /// Takes the latencies, in milliseconds, and the hops of the deliveries since the last call.
    pub fn take_deliveries(&mut self) -> (Histogram, Histogram) {
        (std::mem::take(&mut self.latencies), std::mem::take(&mut self.hops))
    }

    /// Returns the graph of who is whose neighbour in the main topic, as the honest nodes tell; if
    /// the protocol does not tell, who has a session with whom.
    pub fn graph(&self) -> Graph {
        let nodes = (0_u32..).zip(&self.nodes);
        let neighbours = nodes.map(|(index, node)| {
            if !self.present.contains(index) {
                return None;
            }
            let told = self.protocol(index).and_then(P::neighbours);
            let sessions = || node.peers.iter().map(|&(other, _)| other).collect();
            let told = told.map(|told| told.iter().map(|peer| peer.index()).collect());
            let mut list: Vec<u32> = told.unwrap_or_else(sessions);
            list.retain(|&other| self.present.contains(other) && self.is_up(index, other));
            Some(list)
        });
        Graph::new(neighbours.collect())
    }

    /// Returns the hash over everything that moved so far.
    pub fn trace_hash(&self) -> u64 {
        self.trace
    }
}
