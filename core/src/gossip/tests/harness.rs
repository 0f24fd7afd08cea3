//! States joined by queues, authors that write batches by hand, and what comes of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::author::AuthorKey;
use super::super::batch::{Draft, Root, VerifiedBatch};
use super::super::frames;
use super::super::{Input, Output, PublishId, State, Topic};
use crate::gossip::batch::Batch;
use crate::gossip::{Counter, Event};
use crate::identity::{AgentId, AgentKey};
use crate::overlay::testing::neighbour_frames;
use crate::overlay::{self, ItemId, Receipt, Stamp, TopicId};
use crate::session;
use crate::session::Contact;
use crate::support::testing::start;
use crate::support::{Context, Counts, MemoryBudget, Outbox, Rng, Time};

/// Room that is never used up.
pub(super) const PLENTY: usize = usize::MAX / 2;

/// The wall time at which every test begins, in milliseconds.
pub(super) const BEGIN: u64 = 1_750_000_000_000;

pub(super) fn topic() -> Topic {
    Topic::new("news").unwrap()
}

pub(super) fn key(number: u8) -> AgentKey {
    AgentKey::from_seed(&[number; 32])
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the application hears: payloads as text, and what else there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Message(String),
    Lagged(u64),
    Equivocated(AgentId),
}

pub(super) fn messages(texts: &[&str]) -> Vec<Heard> {
    texts.iter().map(|&text| Heard::Message(text.to_owned())).collect()
}

/// A frame on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) peer: u64,
    pub(super) header: Bytes,
    pub(super) payload: Bytes,
}

impl Sent {
    pub(super) fn is_key(&self) -> bool {
        self.header.first() == Some(&1)
    }

    pub(super) fn is_key_request(&self) -> bool {
        self.header.first() == Some(&2)
    }

    pub(super) fn is_evidence(&self) -> bool {
        self.header.first() == Some(&3)
    }

    fn whole(&self) -> Bytes {
        [&self.header[..], &self.payload].concat().into()
    }
}

/// A state with what it needs and what came of it.
pub(super) struct Node {
    pub(super) state: State<u64>,
    pub(super) now: Instant,
    pub(super) unix_time: Duration,
    pub(super) counters: Counts<Counter>,
    rng: Rng,
    outbox: Outbox<Output<u64>>,
    /// What the application heard.
    pub(super) heard: Vec<Heard>,
    /// Everything that was delivered, in full.
    pub(super) received: Vec<Output<u64>>,
    pub(super) published: Vec<u64>,
    pub(super) sent: VecDeque<Sent>,
    /// The rules that peers broke.
    pub(super) broken: Vec<(u64, &'static str)>,
    pub(super) evidence: Vec<Bytes>,
    next_id: u64,
}

impl Node {
    /// A node whose agent has the key of this number.
    pub(super) fn new(number: u8) -> Self {
        Self::made_of(MemoryBudget::DEFAULT, number, number)
    }

    fn made_of(memory: MemoryBudget, number: u8, seed: u8) -> Self {
        let rng = Rng::from_seed([seed; 32]);
        Self {
            state: State::new(
                overlay::Config::default(),
                memory,
                key(number),
                number.into(),
                rng.fork("state"),
            ),
            now: start(),
            unix_time: Duration::from_millis(BEGIN),
            counters: Counts::default(),
            rng,
            outbox: Outbox::default(),
            heard: Vec::new(),
            received: Vec::new(),
            published: Vec::new(),
            sent: VecDeque::new(),
            broken: Vec::new(),
            evidence: Vec::new(),
            next_id: 0,
        }
    }

    /// A node that is subscribed to the topic and has a session with each of these peers.
    pub(super) fn subscribed(number: u8, peers: &[u64]) -> Self {
        Self::subscribed_with(MemoryBudget::DEFAULT, number, peers)
    }

    /// The same with another budget of memory.
    pub(super) fn subscribed_with(memory: MemoryBudget, number: u8, peers: &[u64]) -> Self {
        let mut node = Self::made_of(memory, number, number);
        node.handle(Input::Subscribe { topic: topic() });
        peers.iter().for_each(|&peer| node.up(peer));
        peers.iter().for_each(|&peer| node.join(peer));
        node.flush();
        node.sent.clear();
        node
    }

    /// A peer comes into the topic and becomes a neighbour.
    pub(super) fn join(&mut self, peer: u64) {
        for frame in neighbour_frames(topic().id()) {
            self.frame(peer, [&[0], &frame[..]].concat().into());
        }
    }

    pub(super) fn act<R>(
        &mut self,
        act: impl FnOnce(&mut State<u64>, &mut Context<'_, Output<u64>>) -> R,
    ) -> R {
        let (rng, counters) = (&mut self.rng, &mut self.counters);
        let mut context = Context::new(
            Time { now: self.now, unix_time: self.unix_time },
            rng,
            counters,
            &mut self.outbox,
        );
        let result = act(&mut self.state, &mut context);
        while let Some(output) = self.outbox.pop_output() {
            self.note(output);
        }
        result
    }

    fn note(&mut self, output: Output<u64>) {
        match output {
            Output::Session(session::Request::Send { peer, header, payload }) => {
                self.sent.push_back(Sent { peer, header: header.into(), payload });
            }
            Output::Event(Event::Received { ref payload, .. }) => {
                let text = String::from_utf8_lossy(payload).into_owned();
                self.heard.push(Heard::Message(text));
                self.received.push(output);
            }
            Output::Event(Event::Lagged { missed, .. }) => self.heard.push(Heard::Lagged(missed)),
            Output::Event(Event::Equivocated { author, evidence, .. }) => {
                self.heard.push(Heard::Equivocated(author));
                self.evidence.push(evidence);
            }
            Output::Published { id } => self.published.push(id.0),
            Output::Session(session::Request::Violation { peer, rule }) => {
                self.broken.push((peer, rule))
            }
            Output::Session(session::Request::Connect { .. })
            | Output::Session(session::Request::Release { .. })
            | Output::Lonely => {}
        }
    }

    pub(super) fn handle(&mut self, input: Input<u64>) {
        self.act(|state, context| state.handle(context, input));
    }

    pub(super) fn flush(&mut self) {
        self.act(|state, context| state.flush(context));
    }

    pub(super) fn up(&mut self, peer: u64) {
        self.up_with_room(peer, PLENTY);
    }

    pub(super) fn up_with_room(&mut self, peer: u64, room: usize) {
        let (contact, round_trip) = (Contact::default(), Duration::from_millis(10));
        self.handle(Input::Session(session::Event::Opened(session::Opened {
            peer,
            contact,
            round_trip,
            send_window: room,
            agents: Vec::new(),
            incarnation: 0,
        })));
    }

    pub(super) fn frame(&mut self, peer: u64, frame: Bytes) {
        self.handle(Input::Session(session::Event::Frame { peer, frame }));
    }

    pub(super) fn publish(&mut self, payload: impl Into<Bytes>) {
        self.publish_to(&topic(), payload);
    }

    pub(super) fn publish_to(&mut self, topic: &Topic, payload: impl Into<Bytes>) {
        self.next_id += 1;
        let (id, topic) = (PublishId(self.next_id), topic.clone());
        self.handle(Input::Publish { id, topic, payload: payload.into() });
    }

    /// Moves the time and does what is due, in order.
    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        self.flush();
        loop {
            let at = self.state.deadline().map(|deadline| deadline.at).filter(|&at| at <= end);
            let next = at.unwrap_or(end).max(self.now);
            self.unix_time += next - self.now;
            self.now = next;
            if at.is_none() {
                return;
            }
            self.handle(Input::Timeout);
            self.flush();
        }
    }

    /// Sets the wall clock to this time.
    pub(super) fn set_clock(&mut self, unix_millis: u64) {
        self.unix_time = Duration::from_millis(unix_millis);
        self.act(|state, context| state.handle_wall_time(context));
    }

    /// What the wall clock shows, in milliseconds.
    pub(super) fn unix_millis(&self) -> u64 {
        u64::try_from(self.unix_time.as_millis()).unwrap()
    }

    /// A batch of the topic arrives from a peer, whether or not the overlay would carry it.
    pub(super) fn receive_as(&mut self, peer: u64, batch: impl Into<Bytes>, is_repair: bool) {
        self.receive_in(topic().id(), peer, batch, is_repair);
    }

    /// The same in any topic.
    pub(super) fn receive_in(
        &mut self,
        topic: TopicId,
        peer: u64,
        batch: impl Into<Bytes>,
        is_repair: bool,
    ) {
        let bytes = batch.into();
        let stamp = Batch::parse(bytes.clone()).map_or_else(
            |_| Stamp { time: 0, id: ItemId([0; 16]) },
            |batch| Stamp { time: batch.root().time, id: batch.id() },
        );
        let receipt = Receipt { topic, stamp, peer, hops: 0, is_repair };
        self.act(|state, context| {
            state.receive(context, receipt, bytes);
            state.drain(context);
        });
    }

    pub(super) fn receive(&mut self, peer: u64, batch: &VerifiedBatch) {
        self.receive_as(peer, batch.item().bytes, false);
    }

    pub(super) fn repair(&mut self, peer: u64, batch: &VerifiedBatch) {
        self.receive_as(peer, batch.item().bytes, true);
    }

    /// A key arrives.
    pub(super) fn learn(&mut self, peer: u64, number: u8) {
        let header = frames::key(key(number).public());
        self.frame(peer, header.into());
    }

    /// When gossip itself has something to do, without the overlay.
    pub(super) fn own_deadline(&self) -> Option<Instant> {
        self.state.own_deadline().map(|deadline| deadline.at)
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.counters.get(counter)
    }

    /// Takes the frames that were sent.
    pub(super) fn take_sent(&mut self) -> Vec<Sent> {
        self.sent.drain(..).collect()
    }

    /// The batches among the frames that were sent.
    pub(super) fn batches(&self) -> Vec<Batch> {
        let items = self.sent.iter().filter(|sent| sent.header[0] == 0 && !sent.payload.is_empty());
        items.map(|sent| Batch::parse(sent.payload.clone()).unwrap()).collect()
    }
}

/// Several nodes, numbered from zero, whose peers have their numbers.
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
}

impl World {
    /// Nodes that are subscribed to the topic, each with a session with the next.
    pub(super) fn line(count: u8) -> Self {
        let mut world = Self::linked(count);
        for number in 0..count {
            world.subscribe(number);
        }
        world.run();
        world
    }

    /// Nodes of which each has a session with the next.
    pub(super) fn linked(count: u8) -> Self {
        let mut nodes: Vec<Node> = (0..count).map(Node::new).collect();
        for number in 0..count {
            neighbours(number, count).for_each(|peer| nodes[usize::from(number)].up(peer));
        }
        Self { nodes }
    }

    /// A node subscribes to the topic, and those beside it are its neighbours at once.
    pub(super) fn subscribe(&mut self, number: u8) {
        let count = u8::try_from(self.nodes.len()).unwrap();
        let node = &mut self.nodes[usize::from(number)];
        node.handle(Input::Subscribe { topic: topic() });
        neighbours(number, count).for_each(|peer| node.join(peer));
    }

    /// A node loses its memory and starts again with a clock that shows this.
    pub(super) fn restart(&mut self, number: u8, unix_millis: u64, seed: u8) {
        let count = u8::try_from(self.nodes.len()).unwrap();
        let mut node = Node::made_of(MemoryBudget::DEFAULT, number, seed);
        node.now = self.nodes[usize::from(number)].now;
        node.unix_time = Duration::from_millis(unix_millis);
        neighbours(number, count).for_each(|peer| node.up(peer));
        node.handle(Input::Subscribe { topic: topic() });
        self.nodes[usize::from(number)] = node;
        for peer in neighbours(number, count) {
            self.nodes[usize::try_from(peer).unwrap()].up(number.into());
        }
        self.run();
    }

    /// Settles every node and carries frames until there are none.
    pub(super) fn run(&mut self) {
        loop {
            self.nodes.iter_mut().for_each(Node::flush);
            let mut is_quiet = true;
            for from in 0..self.nodes.len() {
                for sent in self.nodes[from].take_sent() {
                    is_quiet = false;
                    let to = usize::try_from(sent.peer).unwrap();
                    self.nodes[to].frame(from as u64, sent.whole());
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Moves the time of all nodes together, and carries what they send.
    pub(super) fn advance(&mut self, by: Duration) {
        let mut left = by;
        while !left.is_zero() {
            let step = left.min(Duration::from_millis(1));
            self.nodes.iter_mut().for_each(|node| node.advance(step));
            self.run();
            left -= step;
        }
    }

    pub(super) fn heard(&self, node: usize) -> &[Heard] {
        &self.nodes[node].heard
    }
}

/// Those beside a node in a line.
fn neighbours(number: u8, count: u8) -> impl Iterator<Item = u64> {
    let beside = [number.checked_sub(1), Some(number + 1).filter(|&next| next < count)];
    beside.into_iter().flatten().map(u64::from)
}

/// An author that writes batches by hand.
pub(super) struct Writer {
    pub(super) key: AgentKey,
    /// What the next batch says of itself.
    pub(super) next: Root,
}

impl Writer {
    pub(super) fn new(number: u8, stream: u64) -> Self {
        let key = key(number);
        let next = Root {
            author: key.id(),
            topic: topic().id(),
            stream,
            sequence: 0,
            first: 0,
            count: 0,
            time: stream,
            previous_time: 0,
            previous: [0; 32],
            merkle: [0; 32],
        };
        Self { key, next }
    }

    pub(super) fn author(&self) -> AuthorKey {
        AuthorKey::new(self.key.public().clone())
    }

    /// The next batch, made at this time.
    pub(super) fn write_at(&mut self, time: u64, texts: &[&str]) -> VerifiedBatch {
        self.next.time = time;
        let batch = self.fork(texts);
        let root = batch.root();
        self.next = Root {
            sequence: root.sequence + 1,
            first: root.end(),
            previous_time: root.time,
            previous: *batch.hash(),
            ..root.clone()
        };
        batch
    }

    /// The next batch, made at the time of the one before it.
    pub(super) fn write(&mut self, texts: &[&str]) -> VerifiedBatch {
        self.write_at(self.next.time, texts)
    }

    /// A batch in the place of the next one, which is still to come.
    pub(super) fn fork(&self, texts: &[&str]) -> VerifiedBatch {
        let payloads: Vec<Bytes> =
            texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
        let draft = Draft { root: self.next.clone(), payloads: &payloads, seed: [7; 32] };
        draft.sign(&self.key, &[8; 32])
    }
}
