//! Nodes, the sessions between them, and the time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::frames::{self, Frame, Message};
use super::super::{
    Config, Contact, Fault, Input, Item, ItemId, Output, Receipt, Stamp, State, TopicId,
};
use crate::crypto::hash::blake3;
use crate::overlay::Counter;
use crate::session;
use crate::support::testing::start;
use crate::support::{Context, Counts, MemoryBudget, Outbox, Rng, Time};

/// The one topic.
pub(super) const TOPIC: TopicId = TopicId([7; 32]);

/// Room that a session has at first.
const ROOM: usize = 256 * 1024;

/// The wall time at the start, in milliseconds.
pub(super) const UNIX: u64 = 1_750_000_000_000;

/// How long a dead or split session takes to be noticed.
const IDLE: Duration = Duration::from_secs(30);

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What happens to a node.
#[derive(Debug)]
enum Happening {
    Frame { from: u64, session: u64, frame: Bytes },
    Up { peer: u64, session: u64 },
    Down { peer: u64, session: u64 },
    Failed { peer: u64 },
    Wake,
}

pub(super) struct Node {
    pub(super) state: State<u64>,
    pub(super) counters: Counts<Counter>,
    pub(super) rng: Rng,
    outbox: Outbox<Output<u64>>,
    /// The session with each peer.
    pub(super) sessions: BTreeMap<u64, u64>,
    /// Items that were taken, with the hops that they came over.
    pub(super) taken: Vec<(ItemId, u8)>,
    pub(super) pushes: usize,
    /// Announcements that it sent.
    pub(super) haves: usize,
    pub(super) frames: usize,
    pub(super) bytes: usize,
    pub(super) violations: Vec<(u64, &'static str)>,
    pub(super) released: Vec<u64>,
    pub(super) lonely: usize,
    pub(super) is_alive: bool,
    /// Whether it reads what it is sent.
    pub(super) reads: bool,
    pub(super) rejects: bool,
}

/// A world.
pub(super) struct World {
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) now: Duration,
    anchor: Instant,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    happenings: BTreeMap<u64, (u64, Happening)>,
    order: u64,
    session_last: u64,
    /// From whom to whom frames are lost.
    pub(super) lossy: BTreeSet<(u64, u64)>,
    /// Nodes on this side cannot reach the others.
    pub(super) split: Option<BTreeSet<u64>>,
    pub(super) config: Config,
    items: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            now: Duration::ZERO,
            anchor: start(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            order: 0,
            session_last: 0,
            lossy: BTreeSet::new(),
            split: None,
            config: Config::default(),
            items: 0,
        }
    }

    /// Nodes that join one after another, each with a session with an earlier one.
    pub(super) fn joining(count: u64) -> Self {
        let mut world = Self::new();
        for id in 0..count {
            world.add(id);
            if id > 0 {
                world.connect(id, (id * 7919) % id);
            }
            world.handle(id, Input::Join { topic: TOPIC });
            world.run(ms(50));
        }
        world
    }

    /// The same, until the overlay is calm.
    pub(super) fn joined(count: u64) -> Self {
        let mut world = Self::joining(count);
        world.run(secs(120));
        world
    }

    pub(super) fn add(&mut self, id: u64) {
        let node = Node {
            state: State::new(self.config, MemoryBudget::DEFAULT, id),
            counters: Counts::default(),
            rng: Rng::from_seed([0; 32]).fork(&format!("node {id} {}", self.order)),
            outbox: Outbox::default(),
            sessions: BTreeMap::new(),
            taken: Vec::new(),
            pushes: 0,
            haves: 0,
            frames: 0,
            bytes: 0,
            violations: Vec::new(),
            released: Vec::new(),
            lonely: 0,
            is_alive: true,
            reads: true,
            rejects: false,
        };
        self.nodes.insert(id, node);
    }

    pub(super) fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    /// The latency of a pair.
    pub(super) fn latency(one: u64, other: u64) -> Duration {
        let (low, high) = (one.min(other), one.max(other));
        let hash = blake3(&[low.to_be_bytes(), high.to_be_bytes()].concat());
        ms(10 + u64::from(hash[0]) % 40)
    }

    fn reaches(&self, one: u64, other: u64) -> bool {
        let alive = |id| self.nodes.get(&id).is_some_and(|node: &Node| node.is_alive);
        let side = |id| self.split.as_ref().is_some_and(|split| split.contains(&id));
        alive(one) && alive(other) && side(one) == side(other)
    }

    fn plan(&mut self, at: Duration, node: u64, happening: Happening) {
        self.order += 1;
        self.happenings.insert(self.order, (node, happening));
        self.queue.push(Reverse((at, self.order)));
    }

    /// Begins a session, as if one dialled the other.
    pub(super) fn connect(&mut self, one: u64, other: u64) {
        if !self.reaches(one, other) {
            return self.plan(self.now + secs(3), one, Happening::Failed { peer: other });
        }
        if self.node(one).sessions.contains_key(&other) {
            return;
        }
        self.session_last += 1;
        let session = self.session_last;
        let latency = Self::latency(one, other);
        self.plan(self.now + latency * 3, other, Happening::Up { peer: one, session });
        self.plan(self.now + latency * 4, one, Happening::Up { peer: other, session });
    }

    /// Ends a session at both ends.
    pub(super) fn disconnect(&mut self, one: u64, other: u64) {
        for (node, peer) in [(one, other), (other, one)] {
            if let Some(&session) = self.nodes.get(&node).and_then(|n| n.sessions.get(&peer)) {
                self.plan(self.now, node, Happening::Down { peer, session });
            }
        }
    }

    /// Kills a node. Its peers notice after a while.
    pub(super) fn kill(&mut self, id: u64) {
        self.node(id).is_alive = false;
        let sessions = std::mem::take(&mut self.node(id).sessions);
        for (peer, session) in sessions {
            let at = self.now + IDLE / 2 + Self::latency(id, peer) * 100;
            self.plan(at, peer, Happening::Down { peer: id, session });
        }
    }

    /// Splits the nodes below a number from the others.
    pub(super) fn split_at(&mut self, number: u64) {
        let side: BTreeSet<u64> = self.nodes.keys().copied().filter(|id| *id < number).collect();
        self.split = Some(side);
        let all: Vec<(u64, u64, u64)> = self
            .nodes
            .iter()
            .flat_map(|(&id, node)| node.sessions.iter().map(move |(&peer, &s)| (id, peer, s)))
            .filter(|&(id, peer, _)| !self.reaches(id, peer))
            .collect();
        for (id, peer, session) in all {
            self.plan(self.now + IDLE, id, Happening::Down { peer, session });
        }
    }

    pub(super) fn handle(&mut self, id: u64, input: Input<u64>) {
        self.act(id, |state, context| state.handle(context, input));
    }

    pub(super) fn act(
        &mut self,
        id: u64,
        act: impl FnOnce(&mut State<u64>, &mut Context<'_, Output<u64>>),
    ) {
        let (now, unix) = (self.anchor + self.now, Duration::from_millis(UNIX) + self.now);
        let node = self.node(id);
        let mut context = Context::new(
            Time { now, unix_time: unix },
            &mut node.rng,
            &mut node.counters,
            &mut node.outbox,
        );
        act(&mut node.state, &mut context);
        self.drain(id);
    }

    fn drain(&mut self, id: u64) {
        while let Some(output) = self.node(id).outbox.pop_output() {
            match output {
                Output::Session(session::Request::Send { peer, header, payload }) => {
                    self.send(id, peer, &header.into(), &payload);
                }
                Output::Received { receipt, bytes } => self.received(id, receipt, bytes),
                Output::Session(session::Request::Connect { peer, contact }) => {
                    assert_eq!(contact[..], peer.to_be_bytes(), "the contact names the peer");
                    self.connect(id, peer);
                }
                Output::Session(session::Request::Release { peer }) => {
                    self.node(id).released.push(peer)
                }
                Output::Lonely { .. } => self.node(id).lonely += 1,
                Output::Session(session::Request::Violation { peer, rule }) => {
                    self.node(id).violations.push((peer, rule));
                    self.disconnect(id, peer);
                }
            }
        }
        let deadline = self.node(id).state.deadline();
        if let Some(deadline) = deadline {
            let at = deadline.at.saturating_duration_since(self.anchor).max(self.now);
            self.plan(at, id, Happening::Wake);
        }
    }

    fn send(&mut self, id: u64, peer: u64, header: &Bytes, payload: &Bytes) {
        let is_push = !payload.is_empty();
        let frame: Bytes = [&header[..], payload].concat().into();
        let node = self.node(id);
        let Some(&session) = node.sessions.get(&peer) else { return };
        node.frames += 1;
        node.bytes += frame.len();
        node.pushes += usize::from(is_push);
        node.haves += usize::from(is_announcement(header));
        let is_lost = self.lossy.contains(&(id, peer));
        if !is_lost && self.reaches(id, peer) && self.node(peer).reads {
            let at = self.now + Self::latency(id, peer);
            self.plan(at, peer, Happening::Frame { from: id, session, frame });
        }
    }

    fn received(&mut self, id: u64, receipt: Receipt<u64>, bytes: Bytes) {
        if self.node(id).rejects {
            return self.act(id, |state, context| {
                state.reject(context, receipt, Fault::Forged);
            });
        }
        let item = item_of(bytes);
        self.node(id).taken.push((item.stamp.id, receipt.hops));
        self.act(id, |state, context| state.accept(context, receipt, item));
    }

    /// Publishes an item of a size; returns its id.
    pub(super) fn publish(&mut self, id: u64, size: usize) -> ItemId {
        self.publish_to(TOPIC, id, size)
    }

    /// The same to any topic.
    pub(super) fn publish_to(&mut self, topic: TopicId, id: u64, size: usize) -> ItemId {
        self.items += 1;
        let time = UNIX + u64::try_from(self.now.as_millis()).unwrap();
        let mut bytes = vec![0; size.max(24)];
        bytes[..8].copy_from_slice(&time.to_be_bytes());
        bytes[8..16].copy_from_slice(&id.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.items.to_be_bytes());
        let item = item_of(bytes.into());
        let name = item.stamp.id;
        self.node(id).taken.push((name, 0));
        self.act(id, |state, context| state.publish(context, topic, item));
        name
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(&Reverse((at, order))) = self.queue.peek()
            && at <= until
        {
            self.queue.pop();
            self.now = self.now.max(at);
            let (node, happening) = self.happenings.remove(&order).unwrap();
            if self.nodes.get(&node).is_some_and(|node| node.is_alive) {
                self.happen(node, happening);
            }
        }
        self.now = until;
    }

    fn happen(&mut self, id: u64, happening: Happening) {
        let now = self.anchor + self.now;
        match happening {
            Happening::Frame { from, session, frame } => {
                if self.node(id).sessions.get(&from) == Some(&session) {
                    self.handle(id, Input::Session(session::Event::Frame { peer: from, frame }));
                    // What was read makes room.
                    if self.nodes.get(&from).is_some_and(|node| node.is_alive) {
                        self.handle(
                            from,
                            Input::Session(session::Event::Writable {
                                peer: id,
                                send_window: ROOM,
                            }),
                        );
                    }
                }
            }
            Happening::Up { peer, session } => {
                // Of two sessions that were begun at the same time both ends keep the first.
                if self.node(id).sessions.get(&peer).is_some_and(|first| *first < session) {
                    return;
                }
                self.node(id).sessions.insert(peer, session);
                let contact = Contact::copy_from(&peer.to_be_bytes()).unwrap();
                let round_trip = Self::latency(id, peer) * 2;
                self.handle(
                    id,
                    Input::Session(session::Event::Opened(session::Opened {
                        peer,
                        contact,
                        round_trip,
                        send_window: ROOM,
                        agents: Vec::new(),
                        incarnation: 0,
                    })),
                );
            }
            Happening::Down { peer, session } => {
                if self.node(id).sessions.get(&peer) == Some(&session) {
                    self.node(id).sessions.remove(&peer);
                    self.handle(id, Input::Session(session::Event::Closed { peer }));
                }
            }
            Happening::Failed { peer } => {
                self.handle(id, Input::Session(session::Event::ConnectFailed { peer }))
            }
            Happening::Wake => {
                if self.node(id).state.deadline().is_some_and(|deadline| deadline.at <= now) {
                    self.handle(id, Input::Timeout);
                }
            }
        }
    }

    /// The living nodes that have an item.
    pub(super) fn reached(&self, item: ItemId) -> usize {
        let has = |node: &&Node| node.is_alive && node.taken.iter().any(|(id, _)| *id == item);
        self.nodes.values().filter(has).count()
    }

    pub(super) fn alive(&self) -> usize {
        self.nodes.values().filter(|node| node.is_alive).count()
    }

    pub(super) fn pushes(&self) -> usize {
        self.nodes.values().map(|node| node.pushes).sum()
    }

    pub(super) fn haves(&self) -> usize {
        self.nodes.values().map(|node| node.haves).sum()
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.nodes.values().map(|node| node.counters.get(counter)).sum()
    }

    /// Sends a frame that a node did not make.
    pub(super) fn inject(&mut self, from: u64, to: u64, frame: &Frame<u64>, rest: &[u8]) {
        let frame: Bytes = [&frames::encode(frame)[..], rest].concat().into();
        self.handle(to, Input::Session(session::Event::Frame { peer: from, frame }));
    }

    pub(super) fn inject_message(&mut self, from: u64, to: u64, message: Message<u64>) {
        self.inject(from, to, &Frame::Topic(TOPIC, message), &[]);
    }
}

fn is_announcement(header: &Bytes) -> bool {
    let frame = frames::decode::<u64>(header);
    matches!(frame, Ok((Frame::Topic(_, Message::IHave { is_repair: false, .. }), _)))
}

/// The item that bytes stand for.
pub(super) fn item_of(bytes: Bytes) -> Item {
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let id = ItemId(blake3(&bytes)[..16].try_into().unwrap());
    Item { stamp: Stamp { time: number(0), id }, source: number(8), bytes }
}
