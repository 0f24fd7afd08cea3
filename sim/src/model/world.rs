//! The world: nodes, sessions between them, and one queue of events.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::support::{Rng, Time};

use super::attack::{Attacker, Hand};
use super::bits::Bits;
use super::config::ModelConfig;
use super::graph::Graph;
use super::histogram::Histogram;
use super::ledger::{Counts, Kind, Kinds, Traffic};
use super::library::{Library, Number};
use super::peer::{PeerId, mix};
use super::protocol::{Effect, Env, Input, Protocol, TopicNumber};
use super::queue::{Event, Queue};
use super::record::Record;
use super::session::{Burst, End, Parcel, Sessions};
use crate::queue::{Slab, Slot};
use crate::random;

mod apply;
mod carry;
mod dial;
mod life;
mod view;

pub use view::HANDSHAKE_BYTES;

/// The topic that all nodes are in.
pub const MAIN_TOPIC: TopicNumber = TopicNumber(0);

/// The wall time at which every world begins.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// How often in a row a node's deadline may not move although it was handled.
const STUCK_MAX: u32 = 1000;

/// Counts of what should be rare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events handled.
    pub events: u64,
    /// Frames for a peer without a session.
    pub frames_homeless: u64,
    /// Frames of honest nodes for which there was no room.
    pub frames_over_room: u64,
    /// Wishes for a session that was there.
    pub connects_redundant: u64,
    /// Wishes for a session with a contact that does not lead to the peer.
    pub connects_misled: u64,
    /// Dials that came to nothing.
    pub dials_failed: u64,
    /// Complaints of nodes that they know nobody. They dial whom they knew at the start.
    pub lonely: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// Those of them that hostile nodes dialled.
    pub sessions_hostile: u64,
    /// Deliveries of something that a node had, and that was published while it was there.
    pub delivered_twice: u64,
    /// Deliveries, to a checking model or an application, of what nobody published.
    pub forgeries: u64,
    /// Messages of which a node was told that they will not come.
    pub lagged: u64,
    /// Authors found out.
    pub equivocations: u64,
    /// Deliveries of what a blocked author published.
    pub blocked_heard: u64,
    /// Accusations of an honest node by an honest node.
    pub wrongly_accused: u64,
}

/// What a node is.
#[derive(Debug)]
enum Mind<P> {
    Absent,
    Honest(P),
    Hostile(Box<dyn Attacker>, Rng),
}

#[derive(Debug)]
struct Node<P> {
    id: PeerId,
    mind: Mind<P>,
    /// The sessions, by the number of the peer.
    peers: Vec<(u32, End)>,
    /// Whom it knew at the start.
    contacts: Vec<u32>,
    /// When the next timer that counts goes off.
    timer_at: u64,
    stuck: u32,
    /// Which part of a divided network it is in.
    part: u8,
    /// How fast its sessions are, if it is slow.
    bandwidth: Option<u64>,
    /// The nodes whose agents it blocks.
    blocked: Bits,
    /// When it joined the main topic.
    joined_at: Duration,
    /// How often it started.
    life: u32,
    /// How often it was accused, by honest nodes.
    accused: u32,
    received: Traffic,
    sent: Traffic,
}

/// A modelled world.
#[derive(Debug)]
pub struct World<P> {
    config: ModelConfig,
    anchor: Instant,
    now: u64,
    queue: Queue,
    nodes: Vec<Node<P>>,
    sessions: Sessions,
    bursts: Slab<Burst>,
    nowhere: Slab<(u32, PeerId)>,
    library: Library,
    records: Vec<Record>,
    present: Rc<Bits>,
    hostile: Bits,
    rng: Rng,
    kinds: Kinds,
    /// Those of hostile nodes.
    hostile_kinds: Kinds,
    tally: Tally,
    rules: BTreeMap<&'static str, u64>,
    latencies: Histogram,
    hops: Histogram,
    trace: u64,
    /// Kept so that its memory is used again.
    effects: Vec<Effect>,
    outgoing: Vec<(PeerId, Parcel)>,
    /// The last frame that was put together, for the next receiver of the same one.
    last_frame: (Bytes, Bytes, Bytes),
}

impl<P: Protocol> World<P> {
    /// Makes a world in which no node has started.
    pub fn new(config: ModelConfig) -> Self {
        let nodes = (0..config.nodes).map(|index| Node {
            id: PeerId::new(config.seed, index),
            mind: Mind::Absent,
            peers: Vec::new(),
            contacts: Vec::new(),
            timer_at: u64::MAX,
            stuck: 0,
            part: 0,
            bandwidth: None,
            blocked: Bits::default(),
            joined_at: Duration::ZERO,
            life: 0,
            accused: 0,
            received: Traffic::default(),
            sent: Traffic::default(),
        });
        Self {
            anchor: Instant::now() + Duration::from_secs(1),
            now: 0,
            queue: Queue::default(),
            nodes: nodes.collect(),
            sessions: Sessions::default(),
            bursts: Slab::default(),
            nowhere: Slab::default(),
            library: Library::default(),
            records: Vec::new(),
            present: Rc::default(),
            hostile: Bits::default(),
            rng: random::from_number(config.seed).fork("model"),
            kinds: Kinds::default(),
            hostile_kinds: Kinds::default(),
            tally: Tally::default(),
            rules: BTreeMap::new(),
            latencies: Histogram::default(),
            hops: Histogram::default(),
            trace: config.seed,
            effects: Vec::new(),
            outgoing: Vec::new(),
            last_frame: Default::default(),
            config,
        }
    }

    /// Runs until a moment.
    pub fn run_until(&mut self, until: Duration) {
        let until = random::nanos(until);
        while let Some((at, event)) = self.queue.pop(until) {
            self.now = at;
            self.tally.events += 1;
            self.handle(event);
        }
        self.now = self.now.max(until);
    }

    /// Runs for a while.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now() + duration);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Burst(slot) => self.burst_arrives(slot),
            Event::Timer(node) => self.timer(node),
            Event::Connected(end) => self.connected(end),
            Event::DialFailed(end) => self.dial_failed(end),
            Event::Nowhere(slot) => self.leads_nowhere(slot),
            Event::Down(end) => self.down(end),
            Event::Doomed(end) => self.doomed(end),
            Event::Writable(end) => self.writable(end),
        }
    }

    fn timer(&mut self, node: u32) {
        let now = self.now;
        let slot = &mut self.nodes[node as usize];
        if slot.timer_at != now {
            return;
        }
        slot.timer_at = u64::MAX;
        if self.deadline(node).is_some_and(|at| at <= now) {
            self.tell(node, [Input::Timeout]);
            let is_late = self.deadline(node).is_some_and(|at| at <= now);
            let slot = &mut self.nodes[node as usize];
            slot.stuck = if is_late { slot.stuck + 1 } else { 0 };
            assert!(
                slot.stuck < STUCK_MAX,
                "seed {}: the deadline of n{node} does not move",
                self.config.seed
            );
        } else {
            self.arm(node);
        }
    }

    /// Returns when a node wants to be called, in nanoseconds.
    fn deadline(&self, node: u32) -> Option<u64> {
        let deadline = match &self.nodes[node as usize].mind {
            Mind::Absent => None,
            Mind::Honest(protocol) => protocol.deadline(),
            Mind::Hostile(attacker, _) => attacker.deadline(),
        };
        deadline.map(|at| random::nanos(at.saturating_duration_since(self.anchor)))
    }

    fn arm(&mut self, node: u32) {
        let Some(at) = self.deadline(node) else { return };
        let at = at.max(self.now);
        let slot = &mut self.nodes[node as usize];
        if at < slot.timer_at {
            slot.timer_at = at;
            self.queue.push(at, Event::Timer(node));
        }
    }

    /// Hands a batch of inputs to a node and does what it wants.
    fn tell(&mut self, node: u32, inputs: impl IntoIterator<Item = Input>) {
        let mut effects = std::mem::take(&mut self.effects);
        let time = self.time(node);
        let slot = &mut self.nodes[node as usize];
        let mut env = Env { time, library: &self.library };
        match &mut slot.mind {
            Mind::Absent => {}
            Mind::Honest(protocol) => {
                for input in inputs {
                    protocol.handle(&mut env, input);
                }
                protocol.drain(&mut env, &mut effects);
                protocol.settle(&mut env);
                protocol.drain(&mut env, &mut effects);
            }
            Mind::Hostile(attacker, rng) => {
                let mut hand = Hand { env: &mut env, rng, effects: &mut effects };
                for input in inputs {
                    attacker.handle(&mut hand, input);
                }
            }
        }
        self.apply(node, &mut effects);
        effects.clear();
        self.effects = effects;
        self.arm(node);
    }

    fn time(&self, node: u32) -> Time {
        let now = Duration::from_nanos(self.now);
        let longest = self.config.clock_offset_max;
        let offset = mix(self.config.seed ^ mix(u64::from(node)));
        let offset = super::Span { min: Duration::ZERO, max: 2 * longest }.pick(offset);
        let unix_time = (EPOCH + now + offset).saturating_sub(longest);
        Time { now: self.anchor + now, unix_time }
    }

    /// Adds to the hash over everything that moved.
    fn trace(&mut self, values: &[u64]) {
        for &value in values {
            self.trace = mix(self.trace ^ value);
        }
    }
}
