//! The gossip of one node among peers that send it what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::gossip::batch::Batch;
use x0x_core::gossip::{Context, Event, Evidence, Input, Output, PublishId, State, Topic, fuzzing};
use x0x_core::identity::AgentId;
use x0x_core::overlay::{self, Config};
use x0x_core::support::{MemoryBudget, Module, Rng, Time};

use crate::authors::{LIAR, OWN, Place, library};
use crate::fixture::{UNIX_TIME, fixture};
use crate::frames::{BLAME_MAX, ME, PEERS};
use crate::input;
use crate::start;
use x0x_core::session::{self, Contact};

const CONFIG: Config =
    Config { active_max: 3, passive_max: 4, walk_steps: 6, passive_walk_steps: 3 };

/// How many timeouts there may be at one time.
const TIMEOUTS_MAX: u32 = 8;

/// Signatures take the time of an execution: no more than so many times something is published.
const PUBLISHES_MAX: u8 = 2;

/// Any sequence of sessions, frames, messages, subscriptions and times. What is delivered was signed
/// by its author, in order and once, with as many missing in between as are told; what goes on was
/// signed; every message of this node is answered; nobody is accused who only did what peers do, and
/// no author but the liar is said to contradict itself.
pub fn gossip_inputs(data: &[u8]) {
    let mut bench = after_inputs(data);
    bench.pass(Duration::from_secs(30));
    bench.handle(Input::ShutDown);
    assert!(bench.waiting.is_empty(), "every message is answered");
    assert_eq!(bench.module.state.deadline(), None, "a node that shut down wants nothing");
}

/// Returns the node as it is after the last input.
pub(crate) fn after_inputs(data: &[u8]) -> Bench {
    let mut input = input::Input::new(data);
    let mut bench = Bench::new();
    while !input.is_empty() {
        bench.step(&mut input);
    }
    bench
}

/// What was heard of an author in a topic.
#[derive(Default)]
struct Heard {
    last: Option<(u8, u16)>,
    missed: u64,
}

/// What was sent over a session: the bytes that were counted before, those of the largest frame, and
/// those that take room afterwards: a key goes before its batch, and a question for one, whatever room
/// there is.
#[derive(Default)]
struct Spent {
    counted: usize,
    largest: usize,
    behind: usize,
}

/// The node and what is known of it.
pub(crate) struct Bench {
    module: Module<State<u8>, Output<u8>>,
    clock: Time,
    /// The room of each session, and what was sent since the last input.
    rooms: BTreeMap<u8, usize>,
    spent: BTreeMap<u8, Spent>,
    blame: [usize; PEERS as usize],
    accused: Vec<u8>,
    shunned: BTreeSet<u8>,
    subscribed: BTreeSet<u8>,
    heard: BTreeMap<(u8, u8), Heard>,
    /// Authors that were blocked at some time.
    blocked: BTreeSet<u8>,
    /// Those that are said to contradict themselves, by topic.
    exposed: BTreeSet<u8>,
    waiting: BTreeSet<u64>,
    published: u64,
    publishes: u8,
    pub(crate) received: usize,
    pub(crate) sent: usize,
}

impl Bench {
    fn new() -> Self {
        let rng = Rng::from_seed([5; 32]);
        let state = State::new(
            CONFIG,
            MemoryBudget::DEFAULT,
            fixture().agent.clone(),
            ME,
            rng.fork("state"),
        );
        Self {
            module: Module::new(state, rng),
            clock: Time { now: start(), unix_time: UNIX_TIME },
            rooms: BTreeMap::new(),
            spent: BTreeMap::new(),
            blame: [0; PEERS as usize],
            accused: Vec::new(),
            shunned: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            heard: BTreeMap::new(),
            blocked: BTreeSet::new(),
            exposed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            published: 0,
            publishes: 0,
            received: 0,
            sent: 0,
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut State<u8>, &mut Context<'_, u8>)) {
        self.module.run(self.clock, act);
        while let Some(output) = self.module.pop_output() {
            self.wanted(output);
        }
        for (peer, spent) in std::mem::take(&mut self.spent) {
            let room = self.rooms.get_mut(&peer).expect("frames go into sessions");
            // The last frame may need more than what is left; which one that is shows only in
            // the order in which room was taken.
            let fits = spent.counted == 0 || spent.counted - spent.largest < *room;
            assert!(fits, "frames go where there is room");
            *room = room.saturating_sub(spent.counted + spent.behind);
        }
    }

    fn handle(&mut self, input: Input<u8>) {
        self.act(|state, context| state.handle(context, input));
    }

    fn frame(&mut self, peer: u8, frame: Bytes, blame: usize) {
        self.blame[usize::from(peer)] += blame;
        self.handle(Input::Session(session::Event::Frame { peer, frame }));
    }

    fn step(&mut self, input: &mut input::Input<'_>) {
        let (kind, number) = (input.byte(), input.byte());
        let peer = number % PEERS;
        match kind % 32 {
            0..=2 => self.peer_up(peer, number, input.number() * 4),
            3 => self.peer_down(peer),
            4 | 5 => self.writable(peer, input.number() * 4),
            6 => self.handle(Input::Session(session::Event::ConnectFailed { peer })),
            7 | 8 => self.subscribe(number),
            9 => self.unsubscribe(number),
            10 => self.publish(number, usize::from(input.byte()) * 256),
            11..=13 => self.pass(Duration::from_millis(u64::from(number).pow(2))),
            14 => self.block(number),
            15 => {
                // The wall clock is set, ahead or back.
                let by = Duration::from_millis(u64::from(number) * 100);
                let (is_back, now) = (number & 1 == 1, self.clock.unix_time);
                self.clock.unix_time = if is_back { now - by } else { now + by };
                self.act(|state, context| state.handle_wall_time(context));
            }
            16..=18 => self.gossip_frame(peer, kind, input.byte()),
            19 => {
                let size = usize::from(input.byte());
                self.frame(peer, Bytes::copy_from_slice(input.take(size)), BLAME_MAX);
            }
            20 => {
                let contact = Contact::copy_from(&[number, 2]).expect("two bytes are few");
                self.handle(Input::Session(session::Event::Moved { peer, contact }));
            }
            _ => {
                let drawn = library().stock.frame(input);
                self.frame(peer, [&[0], &drawn.bytes[..]].concat().into(), drawn.blame);
            }
        }
        if kind & 128 == 0 {
            self.act(|state, context| state.flush(context));
        }
        while let Some(peer) = self.accused.pop() {
            self.peer_down(peer);
        }
    }

    /// A frame that is not the overlay's: a key, a question for one, evidence.
    fn gossip_frame(&mut self, peer: u8, kind: u8, number: u8) {
        let author = &library().authors[usize::from(number) % library().authors.len()];
        let rest = match kind % 32 {
            16 => author.key().as_bytes(),
            17 => &author.id().0[..],
            _ => &library().evidence[usize::from(number) % 2],
        };
        self.frame(peer, [&[kind % 32 - 15], rest].concat().into(), 1);
    }

    fn peer_up(&mut self, peer: u8, number: u8, room: usize) {
        self.rooms.insert(peer, room);
        self.blame[usize::from(peer)] = 0;
        let contact = Contact::copy_from(&[peer]).expect("a byte is not much");
        let round_trip = Duration::from_millis(u64::from(number));
        self.handle(Input::Session(session::Event::Opened(session::Opened {
            peer,
            contact,
            round_trip,
            send_window: room,
            agents: Vec::new(),
            incarnation: 0,
        })));
    }

    fn peer_down(&mut self, peer: u8) {
        self.rooms.remove(&peer);
        self.handle(Input::Session(session::Event::Closed { peer }));
    }

    fn writable(&mut self, peer: u8, room: usize) {
        if let Some(known) = self.rooms.get_mut(&peer) {
            *known = room;
            self.handle(Input::Session(session::Event::Writable { peer, send_window: room }));
        }
    }

    fn subscribe(&mut self, number: u8) {
        let (number, topic) = library().topic(number);
        assert_eq!(self.module.state.check_subscribe(topic), Ok(()), "there are few topics");
        if self.subscribed.insert(number) {
            // The clocks of authors differ: what was heard before may be heard again.
            self.heard.retain(|(of, _), _| *of != number);
        }
        self.handle(Input::Subscribe { topic: topic.clone() });
        assert!(self.module.state.is_subscribed(topic));
    }

    fn unsubscribe(&mut self, number: u8) {
        let (number, topic) = library().topic(number);
        self.subscribed.remove(&number);
        self.handle(Input::Unsubscribe { topic: topic.clone() });
    }

    fn publish(&mut self, number: u8, size: usize) {
        self.publishes += 1;
        if self.publishes > PUBLISHES_MAX {
            return;
        }
        let (topic_number, topic) = library().topic(number);
        for _ in 0..=number >> 3 {
            let at = (0, u16::try_from(self.published).unwrap_or(u16::MAX));
            let payload = Place { author: OWN, topic: topic_number, at }.payload(size);
            if self.module.state.check_publish(topic, payload.len()).is_err() {
                return;
            }
            let id = PublishId(self.published);
            self.published += 1;
            self.waiting.insert(id.0);
            self.handle(Input::Publish { id, topic: topic.clone(), payload });
        }
    }

    fn block(&mut self, number: u8) {
        let author = usize::from(number) % library().authors.len();
        let agent = library().authors[author].id();
        self.blocked.insert(u8::try_from(author).unwrap_or(0));
        self.handle(Input::SetBlocked { agent, blocked: number & 128 == 0 });
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

    fn timeout(&mut self, now: Instant) {
        let now = now.max(self.clock.now);
        self.clock = Time { now, unix_time: self.clock.unix_time + (now - self.clock.now) };
        // What is done may have something else become due.
        for _ in 0..TIMEOUTS_MAX {
            self.handle(Input::Timeout);
            self.act(|state, context| state.flush(context));
            if self.module.state.deadline().is_none_or(|due| due.at > now) {
                return;
            }
        }
        panic!("the deadline does not move");
    }

    fn wanted(&mut self, output: Output<u8>) {
        match output {
            Output::Session(session::Request::Send { peer, header, payload }) => {
                self.frame_sent(peer, &header.into(), &payload);
            }
            Output::Session(session::Request::Connect { peer, .. }) => {
                // The sessions of who is shunned are not used.
                let is_used = self.rooms.contains_key(&peer) && !self.shunned.contains(&peer);
                assert!(peer != ME && !is_used, "there is no session yet");
            }
            Output::Session(session::Request::Release { peer }) => {
                assert!(self.rooms.contains_key(&peer));
            }
            Output::Lonely => {}
            Output::Session(session::Request::Violation { peer, rule }) => {
                let blame = self.blame[usize::from(peer)];
                assert!(blame >= BLAME_MAX, "{peer} is accused: {rule}");
                self.accused.push(peer);
                self.shunned.insert(peer);
            }
            Output::Event(Event::Received { topic, author, payload, .. }) => {
                self.delivered(&topic, &author, &payload);
            }
            Output::Event(Event::Lagged { topic, author, missed }) => {
                assert!(missed > 0, "none are told as missed");
                let topic = library().topic_number(&topic);
                assert!(self.subscribed.contains(&topic));
                if let Some(author) = library().author(&author) {
                    self.heard.entry((topic, author)).or_default().missed += missed;
                }
            }
            Output::Event(Event::Equivocated { topic, author, evidence }) => {
                assert_eq!(library().author(&author), Some(LIAR), "an honest author");
                let proven = Evidence::verify(&evidence).expect("it is evidence");
                assert_eq!((proven.topic, proven.author), (topic.id(), author));
                let is_new = self.exposed.insert(library().topic_number(&topic));
                assert!(is_new, "it is told once");
            }
            Output::Published { id } => {
                assert!(self.waiting.remove(&id.0), "a message is answered once");
            }
        }
    }

    fn delivered(&mut self, topic: &Topic, id: &AgentId, payload: &Bytes) {
        let place = Place::of(payload);
        let author = library().author(id).unwrap_or(OWN);
        assert_eq!(place.author, author, "it is the author's");
        assert_eq!(place.topic, library().topic_number(topic), "it is of the topic");
        assert!(self.subscribed.contains(&place.topic), "nobody subscribed");
        assert!(author != LIAR || !self.exposed.contains(&place.topic), "it is no longer heard");
        self.received += 1;
        let heard = self.heard.entry((place.topic, author)).or_default();
        let missed = std::mem::take(&mut heard.missed);
        if let Some(last) = heard.last.replace(place.at) {
            assert!(last < place.at, "in order and once");
            // Of the liar there are two tales; own messages are numbered over all topics.
            let is_counted = author < LIAR && !self.blocked.contains(&author);
            if is_counted && last.0 == place.at.0 {
                assert_eq!(u64::from(place.at.1 - last.1 - 1), missed, "what is missing is told");
            }
        }
    }

    fn frame_sent(&mut self, peer: u8, header: &Bytes, payload: &Bytes) {
        self.sent += 1;
        let size = header.len() + payload.len();
        let behind = match header[0] {
            0 => 1,
            1 | 2 => size,
            _ => 0,
        };
        let spent = self.spent.entry(peer).or_default();
        spent.counted += size - behind;
        spent.largest = spent.largest.max(size - behind);
        spent.behind += behind;
        let frame = Bytes::from([&header[..], payload].concat());
        assert_eq!(fuzzing::frame(&frame).as_ref(), Some(&frame), "it is well formed");
        if header[0] == 0 {
            let inner = frame.slice(1..);
            assert_eq!(overlay::fuzzing::frame(&inner).as_ref(), Some(&inner));
            self.check_item(payload);
        }
    }

    /// Nothing goes on that its author did not sign.
    fn check_item(&self, item: &Bytes) {
        if item.is_empty() || library().stock.items.iter().any(|known| known.bytes == item) {
            return;
        }
        let batch = Batch::parse(item.clone()).expect("it is well formed");
        assert_eq!(batch.root().author, fixture().agent.id(), "nobody signed it");
        for payload in batch.payloads() {
            let place = Place::of(&payload);
            assert!(place.author == OWN && u64::from(place.at.1) < self.published);
        }
    }
}

/// A node that meets peers, subscribes, and hears authors in the usual way; and noise.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let frame = |peer: u8, choice: u8, rest: &[u8]| [&[31, peer, choice], rest].concat();
    let mut met = vec![7, 0, 7, 1];
    for peer in 0..4 {
        met.extend_from_slice(&[0, peer, 100, 0]);
        for topic in [0, 32] {
            met.extend(frame(peer, topic, &[]));
            met.extend(frame(peer, topic + 3, &[1]));
            met.extend(frame(peer, topic + 11, &[1]));
        }
    }
    let key = |peer: u8, author: u8| vec![16, peer, author];
    let pushed = |peer: u8, batch: u8| frame(peer, 9, &[0, batch, 0, 1]);
    let pass = |number: u8| vec![11, number];
    let honest = [key(0, 0), (0..5).flat_map(|b| pushed(0, b)).collect(), pass(40)].concat();
    // One batch is missing, then comes from another peer; another never comes.
    let gap = [pushed(0, 6), pass(20), pushed(1, 5), pushed(1, 8), pass(90)].concat();
    // Streams of the second author; the key comes late.
    let anew = [pushed(2, 20), pushed(2, 21), key(2, 1), pushed(2, 30), pushed(2, 22)].concat();
    let liar = [key(3, 2), (60..70).flat_map(|b| pushed(3, b)).collect(), pushed(1, 70)].concat();
    let own = vec![10, 24, 255, 12, 60, 4, 1, 255, 255, 17, 1, 0];
    let end = [vec![14, 1, 18, 2, 1, 9, 0, 15, 200], pass(200), vec![7, 0], pushed(0, 9)].concat();
    let mut noise = vec![0; 600];
    Rng::from_seed([6; 32]).fill(&mut noise);
    vec![
        [met.clone(), honest.clone(), gap, own].concat(),
        [met.clone(), anew, liar, end].concat(),
        [met, honest, noise].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_go_deep() {
        let reached: Vec<(usize, usize, usize)> = seeds()
            .iter()
            .map(|seed| after_inputs(seed))
            .map(|bench| (bench.received, bench.sent, bench.exposed.len()))
            .collect();
        let is_deep = |&(received, sent, _): &(usize, usize, usize)| received >= 10 && sent >= 50;
        assert!(reached.iter().all(is_deep), "{reached:?}");
        assert_eq!(reached[1].2, 2, "the liar is found out in both topics");
    }
}
