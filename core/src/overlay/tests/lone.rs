//! One node among peers that say what a test wants.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::frames::{self, Frame, Ids, Message};
use super::super::{
    Config, Contact, Context, Input, Item, ItemId, Output, Receipt, Stamp, State, TopicId,
};
use super::world::{ms, secs};
use crate::crypto::hash::blake3;
use crate::overlay::Counter;
use crate::session;
use crate::support::testing::start;
use crate::support::{Counts, MemoryBudget, Outbox, Rng, Time};
use crate::wire::{BoundedBytes, BoundedVec};

pub(super) type Id = [u8; 32];

/// The wall time at which a world begins.
pub(super) const UNIX: u64 = 1_750_000_000_000;

/// More room than a test fills.
pub(super) const ROOMY: usize = usize::MAX / 2;

pub(super) fn peer(number: u32) -> Id {
    let mut id = [0x55; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id
}

pub(super) fn topic(number: u32) -> TopicId {
    let mut id = [0x77; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    TopicId(id)
}

pub(super) fn item_id(number: u64) -> ItemId {
    ItemId(*blake3(&number.to_be_bytes()).first_chunk().unwrap())
}

/// See the [module](self).
pub(super) struct Lone {
    pub(super) state: State<Id>,
    pub(super) counters: Counts<Counter>,
    pub(super) millis: u64,
    now: Instant,
    rng: Rng,
    outbox: Outbox<Output<Id>>,
    /// How often a timer fired.
    pub(super) turns: usize,
    /// What was sent, and its bytes, those of items included.
    pub(super) sent: Vec<(Id, Frame<Id>)>,
    pub(super) bytes: usize,
    pub(super) violations: Vec<(Id, &'static str)>,
    /// Items that nobody checked yet.
    pub(super) receipts: Vec<Receipt<Id>>,
    announced: u64,
}

impl Lone {
    pub(super) fn new() -> Self {
        Self::with_memory(MemoryBudget::DEFAULT)
    }

    pub(super) fn with_memory(memory: MemoryBudget) -> Self {
        Self {
            state: State::new(Config::default(), memory, peer(0)),
            counters: Counts::default(),
            millis: UNIX,
            now: start(),
            rng: Rng::from_seed([1; 32]),
            outbox: Outbox::default(),
            turns: 0,
            sent: Vec::new(),
            bytes: 0,
            violations: Vec::new(),
            receipts: Vec::new(),
            announced: 1 << 32,
        }
    }

    /// A node in a topic with a number of items of a size.
    pub(super) fn with_items(count: u64, size: usize) -> Self {
        let mut lone = Self::new();
        lone.handle(Input::Join { topic: topic(0) });
        for number in 0..count {
            if number % 64 == 0 {
                lone.run(ms(1));
            }
            lone.publish(topic(0), number, size);
        }
        lone
    }

    pub(super) fn act(&mut self, act: impl FnOnce(&mut State<Id>, &mut Context<'_, Id>)) {
        let unix = Duration::from_millis(self.millis);
        let (rng, counters) = (&mut self.rng, &mut self.counters);
        let mut context =
            Context::new(Time { now: self.now, unix_time: unix }, rng, counters, &mut self.outbox);
        act(&mut self.state, &mut context);
        while let Some(output) = self.outbox.pop_output() {
            match output {
                Output::Session(session::Request::Send { peer, header, payload }) => {
                    self.bytes += header.len() + payload.len();
                    let with_item = [&header[..], b"?"].concat();
                    let frame = frames::decode(&header.into());
                    let frame = frame.or_else(|_| frames::decode(&with_item.into()));
                    self.sent.push((peer, frame.expect("it is well formed").0));
                }
                Output::Session(session::Request::Violation { peer, rule }) => {
                    self.violations.push((peer, rule))
                }
                Output::Received { receipt, .. } => self.receipts.push(receipt),
                Output::Session(
                    session::Request::Connect { .. } | session::Request::Release { .. },
                )
                | Output::Lonely { .. } => {}
            }
        }
    }

    pub(super) fn handle(&mut self, input: Input<Id>) {
        self.act(|state, context| state.handle(context, input));
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let deadline = self.state.deadline().map(|due| due.at).filter(|at| *at <= end);
            let next = deadline.unwrap_or(end).max(self.now);
            self.millis += u64::try_from((next - self.now).as_millis()).unwrap();
            self.now = next;
            if deadline.is_none() {
                return;
            }
            self.turns += 1;
            self.handle(Input::Timeout);
        }
    }

    /// Sessions with these peers begin.
    pub(super) fn up(&mut self, numbers: impl IntoIterator<Item = u32>, room: usize) {
        for number in numbers {
            let contact = Contact::copy_from(&[1; 18]).unwrap();
            let (peer, round_trip) = (peer(number), ms(20));
            self.handle(Input::Session(session::Event::Opened(session::Opened {
                peer,
                contact,
                round_trip,
                send_window: room,
                agents: Vec::new(),
                incarnation: 0,
            })));
        }
    }

    /// A peer sends a frame; returns its bytes.
    pub(super) fn hear(&mut self, number: u32, frame: &Frame<Id>, rest: &[u8]) -> usize {
        let frame: Bytes = [&frames::encode(frame)[..], rest].concat().into();
        let size = frame.len();
        self.handle(Input::Session(session::Event::Frame { peer: peer(number), frame }));
        size
    }

    /// The same with a frame about a topic.
    pub(super) fn say(&mut self, number: u32, topic: TopicId, message: Message<Id>) -> usize {
        self.hear(number, &Frame::Topic(topic, message), &[])
    }

    /// A peer says which topics it is in.
    pub(super) fn name_topics(&mut self, number: u32, topics: impl IntoIterator<Item = u32>) {
        let topics = topics.into_iter().map(topic).collect();
        self.hear(number, &Frame::Topics(BoundedVec::new(topics).unwrap()), &[]);
    }

    /// A peer announces items that do not exist.
    pub(super) fn announce(
        &mut self,
        number: u32,
        topic: TopicId,
        (count, is_repair): (u64, bool),
    ) {
        let first = self.announced;
        self.announced += count;
        let ids = (first..first + count).map(item_id).collect();
        self.say(number, topic, Message::IHave { ids: Ids::new(ids).unwrap(), is_repair });
    }

    /// A peer pushes an item.
    pub(super) fn push(&mut self, number: u32, topic: TopicId, id: ItemId) {
        let stamp = Stamp { time: self.millis, id };
        let push = Message::Push { stamp, hops: 1, is_repair: false };
        self.hear(number, &Frame::Topic(topic, push), b"x");
    }

    /// A peer says that its history is empty; returns the bytes of the frame.
    pub(super) fn compare(&mut self, number: u32, topic: TopicId) -> usize {
        // The salt, an open list with a start that is written: time 0, no byte of an id, no stamp.
        let message = [&7_u64.to_be_bytes()[..], &[7, 0, 0, 0]].concat();
        self.say(number, topic, Message::Reconcile(BoundedBytes::new(message.into()).unwrap()))
    }

    pub(super) fn publish(&mut self, topic: TopicId, number: u64, size: usize) {
        let stamp = Stamp { time: self.millis, id: item_id(number) };
        let item = Item { stamp, source: number % 64, bytes: vec![0; size].into() };
        self.act(|state, context| state.publish(context, topic, item));
    }

    /// How many items are missing in all of the first topics.
    pub(super) fn missing(&self, topics: u32) -> usize {
        (0..topics).map(|number| self.state.usage(&topic(number)).unwrap().missing).sum()
    }

    /// The items that a peer was asked for, and in how many frames.
    pub(super) fn asked(&self, number: u32) -> (Vec<ItemId>, usize) {
        let mut frames = 0;
        let mut ids = Vec::new();
        for (to, frame) in &self.sent {
            let asked = match frame {
                Frame::Topic(_, Message::Graft { item: Some(id), .. }) => vec![*id],
                Frame::Topic(_, Message::IWant(ids)) => ids.clone().into_vec(),
                Frame::Topics(_) | Frame::Topic(..) => Vec::new(),
            };
            if *to == peer(number) && !asked.is_empty() {
                ids.extend(asked);
                frames += 1;
            }
        }
        (ids, frames)
    }

    /// How many frames of a kind were sent.
    pub(super) fn count(&self, is_kind: impl Fn(&Message<Id>) -> bool) -> usize {
        let message = |frame: &Frame<Id>| matches!(frame, Frame::Topic(_, it) if is_kind(it));
        self.sent.iter().filter(|(_, frame)| message(frame)).count()
    }
}

/// How long a peer may say nothing, and more.
pub(super) const LONG: Duration = secs(30);
