//! Frames of the overlay, and one node of it among peers that send it what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use x0x_core::overlay::history::{HISTORY_BYTES_MAX, HISTORY_ITEMS_MAX};
use x0x_core::overlay::{
    self, Config, Fault, Item, ItemId, MISSING_MAX, Output, QUEUE_BYTES_MAX, Receipt, Stamp, State,
    TopicId, fuzzing,
};
use x0x_core::support::{MemoryBudget, Module, Rng, Time};

use crate::fixture::UNIX_TIME;
use crate::frames::{BLAME_MAX, ME, PEERS, Stock, millis};
use crate::input::Input;
use crate::start;
use x0x_core::session::{self, Contact};

/// Small views, so that they are full.
const CONFIG: Config =
    Config { active_max: 3, passive_max: 4, walk_steps: 6, passive_walk_steps: 3 };

/// Items older or newer than this are not wanted.
const AGE_MAX: u64 = 600_000;

/// A frame has one form.
pub fn overlay_frame(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Some(rewritten) = fuzzing::frame(&bytes) {
        assert_eq!(rewritten, bytes, "one form");
    }
}

/// Any sequence of sessions, frames, items, joins, verdicts and times. Nothing comes twice, nothing
/// goes on that was not accepted, room is respected, limits hold, timers move, and nobody is accused
/// who only did what peers do.
pub fn overlay_inputs(data: &[u8]) {
    after_inputs(data).pass(Duration::from_secs(3600));
}

/// Returns the node as it is after the last input.
pub(crate) fn after_inputs(data: &[u8]) -> Bench {
    let mut input = Input::new(data);
    let mut bench = Bench::new();
    while !input.is_empty() {
        bench.step(&mut input);
        bench.check();
    }
    bench
}

fn stock() -> &'static Stock {
    static STOCK: LazyLock<Stock> = LazyLock::new(|| Stock {
        topics: (0..3).map(|number| TopicId([number; 32])).collect(),
        items: (0..1024).map(item).collect(),
        homes: Vec::new(),
    });
    &STOCK
}

/// An item: its number decides everything about it.
fn item(number: u16) -> Item {
    let [high, low] = number.to_be_bytes();
    let mut id = [low; 16];
    id[1] = high;
    let size = 2 + usize::from(number % 7) * 300;
    let mut bytes = vec![low; size];
    bytes[..2].copy_from_slice(&[high, low]);
    let time = millis(UNIX_TIME) + 20_000 - u64::from(number / 8) * 8000;
    Item {
        stamp: Stamp { time, id: ItemId(id) },
        source: u64::from(number % 5),
        bytes: bytes.into(),
    }
}

/// Makes the frame of these choices.
pub(crate) fn frame(choices: &[u8]) -> Bytes {
    stock().frame(&mut Input::new(choices)).bytes
}

/// The item with this id.
fn known(id: &ItemId) -> Option<&'static Item> {
    let number = usize::from(u16::from_be_bytes([id.0[1], id.0[0]]));
    stock().items.get(number).filter(|item| item.stamp.id == *id)
}

/// The node and what is known of it.
pub(crate) struct Bench {
    module: Module<State<u8>, Output<u8>>,
    clock: Time,
    /// The room of each session.
    rooms: BTreeMap<u8, usize>,
    /// What peers can be blamed for.
    blame: [usize; PEERS as usize],
    /// The topics that the node is in, and what it has taken there.
    topics: BTreeMap<TopicId, BTreeSet<ItemId>>,
    /// What may go on to others: it was taken in some topic.
    passed: BTreeSet<ItemId>,
    /// What waits for a verdict.
    checking: Vec<(Receipt<u8>, Bytes)>,
    /// Who is accused and has a session still, and who was at some time.
    accused: Vec<u8>,
    shunned: BTreeSet<u8>,
    pub(crate) sent: usize,
    pub(crate) accepted: usize,
}

impl Bench {
    fn new() -> Self {
        Self {
            module: Module::new(
                State::new(CONFIG, MemoryBudget::DEFAULT, ME),
                Rng::from_seed([5; 32]),
            ),
            clock: Time { now: start(), unix_time: UNIX_TIME },
            rooms: BTreeMap::new(),
            blame: [0; PEERS as usize],
            topics: BTreeMap::new(),
            passed: BTreeSet::new(),
            checking: Vec::new(),
            accused: Vec::new(),
            shunned: BTreeSet::new(),
            sent: 0,
            accepted: 0,
        }
    }

    fn act<R>(
        &mut self,
        act: impl FnOnce(&mut State<u8>, &mut overlay::Context<'_, u8>) -> R,
    ) -> R {
        let done = self.module.run(self.clock, act);
        while let Some(output) = self.module.pop_output() {
            self.wanted(output);
        }
        done
    }

    fn handle(&mut self, input: overlay::Input<u8>) {
        self.act(|state, context| state.handle(context, input));
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (kind, number) = (input.byte(), input.byte());
        let peer = number % PEERS;
        match kind % 32 {
            0..=2 => self.peer_up(peer, number, input.number()),
            3 => self.peer_down(peer),
            4 | 5 => self.writable(peer, input.number() * 4),
            6 => self.handle(overlay::Input::Session(session::Event::ConnectFailed { peer })),
            7 | 8 => self.join(stock().topic(number)),
            9 => self.leave(stock().topic(number)),
            10 => self.publish(stock().topic(number), input.number()),
            11..=13 => self.pass(Duration::from_millis(u64::from(number).pow(2))),
            14 => self.judge(usize::from(number), true),
            15 => {
                let topic = stock().topic(number >> 3);
                self.act(|state, context| state.pull(context, topic, peer));
            }
            16 => {
                let contact = Contact::copy_from(&[number, 2]).expect("two bytes are few");
                self.handle(overlay::Input::Session(session::Event::Moved { peer, contact }));
            }
            17 => {
                self.blame[usize::from(peer)] = BLAME_MAX;
                let size = usize::from(input.byte());
                let frame = Bytes::copy_from_slice(input.take(size));
                self.handle(overlay::Input::Session(session::Event::Frame { peer, frame }));
            }
            _ => {
                let drawn = stock().frame(input);
                if drawn.blame < BLAME_MAX {
                    let read = fuzzing::frame(&drawn.bytes);
                    assert_eq!(read.as_ref(), Some(&drawn.bytes), "it is well formed");
                }
                self.blame[usize::from(peer)] += drawn.blame;
                self.handle(overlay::Input::Session(session::Event::Frame {
                    peer,
                    frame: drawn.bytes,
                }));
            }
        }
        if kind & 128 == 0 {
            while !self.checking.is_empty() {
                self.judge(0, false);
            }
        }
        while let Some(peer) = self.accused.pop() {
            self.peer_down(peer);
        }
    }

    fn peer_up(&mut self, peer: u8, number: u8, room: usize) {
        self.rooms.insert(peer, room * 4);
        // What it sent before may still turn out to be forged.
        if self.checking.iter().all(|(receipt, _)| receipt.peer != peer) {
            self.blame[usize::from(peer)] = 0;
        }
        let contact = Contact::copy_from(&[peer]).expect("a byte is not much");
        let round_trip = Duration::from_millis(u64::from(number));
        self.handle(overlay::Input::Session(session::Event::Opened(session::Opened {
            peer,
            contact,
            round_trip,
            send_window: room * 4,
            agents: Vec::new(),
            incarnation: 0,
        })));
    }

    fn peer_down(&mut self, peer: u8) {
        self.rooms.remove(&peer);
        self.handle(overlay::Input::Session(session::Event::Closed { peer }));
    }

    fn writable(&mut self, peer: u8, room: usize) {
        if let Some(known) = self.rooms.get_mut(&peer) {
            *known = room;
            self.handle(overlay::Input::Session(session::Event::Writable {
                peer,
                send_window: room,
            }));
        }
    }

    fn join(&mut self, topic: TopicId) {
        self.topics.entry(topic).or_default();
        self.handle(overlay::Input::Join { topic });
    }

    fn leave(&mut self, topic: TopicId) {
        self.topics.remove(&topic);
        self.checking.retain(|(receipt, _)| receipt.topic != topic);
        self.handle(overlay::Input::Leave { topic });
    }

    fn publish(&mut self, topic: TopicId, number: usize) {
        let item = stock().item(number).clone();
        let is_checked = self.checking.iter().any(|(receipt, _)| receipt.stamp == item.stamp);
        if let Some(taken) = self.topics.get_mut(&topic)
            && !is_checked
            && taken.insert(item.stamp.id)
        {
            self.passed.insert(item.stamp.id);
            self.act(|state, context| state.publish(context, topic, item));
        }
    }

    /// Gives a verdict on something that waits for one.
    fn judge(&mut self, number: usize, may_fail: bool) {
        if self.checking.is_empty() {
            return;
        }
        let (receipt, bytes) = self.checking.swap_remove(number % self.checking.len());
        let genuine = known(&receipt.stamp.id);
        let genuine = genuine.filter(|item| item.stamp == receipt.stamp && item.bytes == bytes);
        let age = millis(self.clock.unix_time).abs_diff(receipt.stamp.time);
        let fault = match genuine {
            Some(_) if may_fail && number > 200 => Fault::Unchecked,
            Some(item) if age < AGE_MAX => {
                let item = item.clone();
                let taken = self.topics.get_mut(&receipt.topic).expect("the node is in it");
                taken.insert(item.stamp.id);
                self.passed.insert(item.stamp.id);
                self.accepted += 1;
                return self.act(|state, context| state.accept(context, receipt, item));
            }
            Some(item) => {
                let taken = self.topics.get_mut(&receipt.topic).expect("the node is in it");
                taken.insert(item.stamp.id);
                Fault::Unwanted
            }
            None => {
                let blame = self.blame.get(usize::from(receipt.peer));
                assert!(blame.is_some_and(|&blame| blame >= BLAME_MAX), "who forged it sent it");
                Fault::Forged
            }
        };
        self.act(|state, context| state.reject(context, receipt, fault));
    }

    /// Lets time pass; the timers that come due meanwhile fire in their turn.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.clock.now + time;
        for _ in 0..16 {
            let deadline = self.module.state.deadline().map(|due| due.at).filter(|&at| at <= end);
            self.timeout(deadline.unwrap_or(end));
            if deadline.is_none() {
                return;
            }
        }
        self.timeout(end);
    }

    fn timeout(&mut self, now: std::time::Instant) {
        let now = now.max(self.clock.now);
        self.clock = Time { now, unix_time: self.clock.unix_time + (now - self.clock.now) };
        self.handle(overlay::Input::Timeout);
        let deadline = self.module.state.deadline();
        assert!(deadline.is_none_or(|due| due.at > now), "what was due is done");
    }

    fn wanted(&mut self, output: Output<u8>) {
        match output {
            Output::Session(session::Request::Send { peer, header, payload }) => {
                self.frame_sent(peer, &header.into(), payload);
            }
            Output::Received { receipt, bytes } => {
                assert!(self.rooms.contains_key(&receipt.peer), "an item comes over a session");
                let taken = self.topics.get(&receipt.topic).expect("the node is in the topic");
                let id = receipt.stamp.id;
                let oldest = millis(self.clock.unix_time) - AGE_MAX;
                let is_old = known(&id).is_none_or(|item| item.stamp.time < oldest);
                assert!(is_old || !taken.contains(&id), "an item is handed over once");
                let mut checking = self.checking.iter();
                let is_checked =
                    checking.any(|(other, _)| (other.topic, other.stamp.id) == (receipt.topic, id));
                assert!(!is_checked, "an item is checked once");
                self.checking.push((receipt, bytes));
            }
            Output::Session(session::Request::Connect { peer, .. }) => {
                // The sessions of who is shunned are not used.
                let is_used = self.rooms.contains_key(&peer) && !self.shunned.contains(&peer);
                assert!(peer != ME && !is_used, "there is no session yet");
            }
            Output::Session(session::Request::Release { peer }) => {
                assert!(self.rooms.contains_key(&peer));
            }
            Output::Lonely { topic } => assert!(self.topics.contains_key(&topic)),
            Output::Session(session::Request::Violation { peer, rule }) => {
                let blame = self.blame[usize::from(peer)];
                assert!(blame >= BLAME_MAX, "{peer} is accused: {rule}");
                self.accused.push(peer);
                self.shunned.insert(peer);
            }
        }
    }

    fn frame_sent(&mut self, peer: u8, header: &Bytes, payload: Bytes) {
        let room = self.rooms.get_mut(&peer).expect("frames go into sessions");
        assert!(*room > 0, "frames go where there is room");
        *room = room.saturating_sub(header.len() + payload.len());
        self.sent += 1;
        let frame = Bytes::from([&header[..], &payload].concat());
        assert_eq!(fuzzing::frame(&frame).as_ref(), Some(&frame), "it is well formed");
        if !payload.is_empty() {
            let item = stock().items.iter().find(|item| item.bytes == payload);
            let id = item.expect("it goes on as it was made").stamp.id;
            assert!(self.passed.contains(&id), "nothing goes on that was not accepted");
            let named = header.windows(id.0.len()).any(|part| part == id.0);
            assert!(named, "it goes on under its name");
        }
    }

    fn check(&self) {
        let state = &self.module.state;
        for topic in &stock().topics {
            let usage = state.usage(topic);
            assert_eq!(usage.is_some(), self.topics.contains_key(topic));
            let Some(usage) = usage else { continue };
            assert!(usage.neighbours <= 2 * CONFIG.active_max && usage.eager <= usage.neighbours);
            assert!(usage.passive <= CONFIG.passive_max);
            assert!(usage.missing <= MISSING_MAX && usage.history_items <= HISTORY_ITEMS_MAX);
            assert!(usage.history_bytes <= HISTORY_BYTES_MAX);
            assert!(state.backlog(topic) <= QUEUE_BYTES_MAX);
            assert_eq!(state.neighbours(topic).count(), usage.neighbours);
            let with_session = |peer: u8| self.rooms.contains_key(&peer);
            assert!(state.neighbours(topic).all(with_session), "a neighbour has a session");
            assert!(state.members(topic).all(with_session), "a member has a session");
        }
    }
}

/// A node that meets peers and hears of items in the usual way, and noise.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let frame = |peer: u8, choice: u8, rest: &[u8]| [&[31, peer, choice], rest].concat();
    let mut met = vec![7, 0];
    for peer in 0..5 {
        met.extend_from_slice(&[0, peer, 100, 0]);
        met.extend([frame(peer, 0, &[]), frame(peer, 3, &[1]), frame(peer, 11, &[1])].concat());
    }
    let pushed = |peer: u8, item: u8| frame(peer, 9, &[0, item, 0, 1]);
    let pass = |number: u8| vec![11, number];
    let tree = [frame(1, 14, &[1, 1, 1, 0]), pass(60), frame(2, 14, &[1, 1, 2, 3])].concat();
    let items: Vec<u8> = (40..48).flat_map(|item| pushed(item % 5, item)).collect();
    let announced = [frame(2, 10, &[0, 60, 5, 0]), pass(40), pushed(2, 61), pass(40)].concat();
    let repair = [frame(3, 15, &[0, 70, 20]), frame(4, 13, &[0, 41, 3]), pass(120)].concat();
    let own = vec![10, 0, 0, 90, 10, 0, 0, 91, 4, 1, 0, 1, 10, 0, 0, 92, 4, 1, 9, 0];
    let walks = [frame(0, 6, &[5, 3]), frame(1, 7, &[9, 4, 2, 5, 6]), frame(1, 8, &[9, 1, 4])];
    let late = [vec![128 + 14, 0], frame(3, 9, &[0, 99, 0, 1]), vec![14, 0]].concat();
    let end = [vec![3, 1, 3, 2], pass(200), frame(4, 1, &[]), vec![9, 0]].concat();
    let whole = [met.clone(), tree, items, announced, repair, own, walks.concat(), late, end];
    let mut noise = vec![0; 1500];
    Rng::from_seed([6; 32]).fill(&mut noise);
    vec![whole.concat(), [met, noise].concat()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_go_deep() {
        let reached: Vec<(usize, usize)> =
            seeds().iter().map(|seed| after_inputs(seed)).map(|b| (b.accepted, b.sent)).collect();
        assert!(reached[0].0 >= 8 && reached.iter().all(|&(_, sent)| sent >= 40), "{reached:?}");
    }
}
