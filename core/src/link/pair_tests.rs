//! Two links over virtual time: what a resumed TLS session does not stand for, which class goes
//! first, and how machines are reached that others named, and let go.

mod admission;
mod credit;
mod hearsay;
mod resume;

use std::collections::{BTreeMap, VecDeque};

use super::credential::{Credential, issue, millis};
use super::*;
use crate::crypto::tls::WallClock;
use crate::identity::{AgentKey, BINDING_VALIDITY, MachineKey};
use crate::support::testing::start;
use crate::support::{Changes, Counts, Effect, MemoryBudget, Outbox, Time};
use crate::transport::{Datagram, WINDOW_MAX, WINDOW_MIN};

const UNIX_TIME: Duration = Duration::from_secs(1_800_000_000);
const DIALLER: usize = 0;
const SERVER: usize = 1;

struct End {
    state: State,
    rng: Rng,
    counters: Counts<Counter>,
    outbox: Outbox<Output>,
    ups: usize,
    downs: usize,
    /// Machines to which a dial failed.
    unreached: Vec<MachineId>,
    /// The records of machines that are stored.
    records: BTreeMap<MachineId, Bytes>,
    /// Machines whose record was deleted.
    forgotten: Vec<MachineId>,
    /// The classes of the frames that came, in order.
    frames: Vec<Class>,
}

impl End {
    fn note(&mut self, output: Output) {
        match output {
            Output::PeerUp { .. } => self.ups += 1,
            Output::PeerDown { .. } => self.downs += 1,
            Output::DialFailed { machine } => self.unreached.push(machine),
            Output::Frame { class, .. } => self.frames.push(class),
            Output::PathChanged { .. }
            | Output::Writable { .. }
            | Output::ConnectEnded { .. }
            | Output::PingEnded { .. }
            | Output::NoRoute { .. } => {}
        }
    }

    /// Keeps the records of peers. That of the node's own binding is not restored here.
    fn store(&mut self, changes: Changes<Table>) {
        let machine = |key: &Bytes| MachineId(key[..].try_into().unwrap());
        for (table, key, value) in changes.puts {
            if table == Table::Peers {
                self.records.insert(machine(&key), value);
            }
        }
        for (_, key) in changes.deletes {
            self.records.remove(&machine(&key));
            self.forgotten.push(machine(&key));
        }
    }
}

/// The two ends of one path without delay.
struct Pair {
    now: Instant,
    start: Instant,
    ends: [End; 2],
    addresses: [SocketAddr; 2],
    /// Which ends hear nothing.
    is_deaf: [bool; 2],
}

impl Pair {
    fn new() -> Self {
        let now = start();
        let end = |index: u8| {
            let rng = Rng::from_seed([index; 32]);
            let state = state(index.into(), address(index.into()), now, UNIX_TIME, &rng);
            let (counters, outbox) = (Counts::default(), Outbox::default());
            End {
                state,
                rng,
                counters,
                outbox,
                ups: 0,
                downs: 0,
                unreached: Vec::new(),
                forgotten: Vec::new(),
                records: BTreeMap::new(),
                frames: Vec::new(),
            }
        };
        Self {
            now,
            start: now,
            ends: [end(0), end(1)],
            addresses: [address(0), address(1)],
            is_deaf: [false; 2],
        }
    }

    fn act(&mut self, index: usize, act: impl FnOnce(&mut State, &mut Context<'_>)) {
        let unix_time = UNIX_TIME + (self.now - self.start);
        let end = &mut self.ends[index];
        let End { state, rng, counters, outbox, .. } = end;
        act(state, &mut Context::new(Time { now: self.now, unix_time }, rng, counters, outbox));
        while let Some(effect) = end.outbox.pop() {
            match effect {
                Effect::Emit(output) => end.note(output),
                Effect::Store(_, changes) => end.store(changes),
                Effect::Load { table, .. } => panic!("a read of {table:?}"),
            }
        }
    }

    fn connect(&mut self) {
        let machine = self.ends[SERVER].state.peers.credential.identity.machine_key.id();
        let target = DialTarget::MachineAt(machine, address(SERVER));
        self.act(DIALLER, |state, context| {
            state.connect(context, RequestId(1), target, false, Duration::from_secs(30));
        });
        self.run_for(Duration::from_secs(5));
    }

    /// Gives the dialler all the credit that it may ever have.
    fn open_window(&mut self) {
        let state = &mut self.ends[SERVER].state;
        let key = state.peers.sessions.connections().next().expect("there is a session");
        state.peers.connections.transport.set_window(key, WINDOW_MAX);
        self.run_for(Duration::from_secs(1));
    }

    fn disconnect(&mut self) {
        let machine = self.ends[SERVER].state.peers.credential.identity.machine_key.id();
        self.act(DIALLER, |state, context| assert!(state.disconnect(context, &machine)));
        self.run_for(Duration::from_secs(5));
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.settle();
            let deadlines = self.ends.iter().filter_map(|end| end.state.deadline());
            match deadlines.map(|deadline| deadline.at).min().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            for index in [DIALLER, SERVER] {
                self.act(index, State::handle_timeout);
            }
        }
        self.now = end;
    }

    /// Carries datagrams until there are none.
    fn settle(&mut self) {
        let mut queue = VecDeque::new();
        loop {
            for index in [DIALLER, SERVER] {
                self.act(index, State::flush);
                let mut buf = Vec::new();
                while let Some(transmit) = self.ends[index].state.poll_transmit(self.now, &mut buf)
                {
                    let is_there = transmit.target == self.addresses[1 - index];
                    let size = transmit.segment_size.unwrap_or(transmit.size);
                    for payload in buf.chunks(size).filter(|_| is_there) {
                        queue.push_back((1 - index, payload.into()));
                    }
                    buf.clear();
                }
            }
            if queue.is_empty() {
                return;
            }
            for (index, payload) in queue.drain(..) {
                if self.is_deaf[index] {
                    continue;
                }
                let (source, local) = (self.addresses[1 - index], self.addresses[index]);
                let datagram = Datagram { source, local, ecn: None, payload };
                self.act(index, |state, context| state.handle_datagram(context, datagram));
            }
        }
    }

    fn count(&self, index: usize, counter: Counter) -> u64 {
        self.ends[index].counters.get(counter)
    }
}

/// The state of an end that starts.
fn state(index: usize, address: SocketAddr, now: Instant, unix_time: Duration, rng: &Rng) -> State {
    let number = u8::try_from(index).unwrap();
    let identity = LinkIdentity {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: AgentKey::from_seed(&[number + 10; 32]),
        certificate: None,
        clock: WallClock::new(unix_time),
    };
    let (config, memory) = (LinkConfig::default(), MemoryBudget::DEFAULT);
    State::new(config, memory, identity, vec![address], now, unix_time, rng.fork("state"))
}

fn address(index: usize) -> SocketAddr {
    let port = 4000 + u16::try_from(index).unwrap();
    SocketAddr::from(([10, 0, 0, 1], port))
}

#[test]
fn a_resumed_session_has_its_bindings_checked_anew() {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.count(SERVER, Counter::HandshakesResumed), 0);
    pair.disconnect();
    pair.connect();
    for index in [DIALLER, SERVER] {
        assert_eq!(pair.count(index, Counter::HandshakesResumed), 1, "{index}");
        assert_eq!(pair.count(index, Counter::BindingsProven), 2, "{index}");
        assert_eq!(pair.ends[index].ups, 2, "{index}");
    }
}

#[test]
fn a_resumed_session_does_not_carry_a_binding_past_its_end() {
    for (bad, checker) in [(DIALLER, SERVER), (SERVER, DIALLER)] {
        let mut pair = Pair::new();
        pair.connect();
        pair.disconnect();
        let End { state, rng, .. } = &mut pair.ends[bad];
        let long_ago = UNIX_TIME - 2 * BINDING_VALIDITY;
        let Credential { identity, binding, .. } = &mut state.peers.credential;
        *binding = issue(identity, long_ago, millis(long_ago), rng);
        pair.connect();
        assert_eq!(pair.count(checker, Counter::HandshakesResumed), 1);
        assert_eq!(pair.count(checker, Counter::BindingsProven), 1, "the one before");
        assert!(pair.count(checker, Counter::BindingsRefused) > 0);
        assert_eq!(pair.ends[checker].ups, 1, "the one before");
    }
}

/// A dialler that hands over bulk, gossip and then a direct message, in which order they come.
fn order_of_classes(is_window_open: bool) -> Vec<Class> {
    let mut pair = Pair::new();
    pair.connect();
    if is_window_open {
        pair.open_window();
    }
    let machine = pair.ends[SERVER].state.peers.credential.identity.machine_key.id();
    let classes = [Class::Bulk, Class::Gossip, Class::Direct];
    for class in classes {
        let count = if class == Class::Direct { 1 } else { 100 };
        pair.act(DIALLER, |state, context| {
            for _ in 0..count {
                state.send(&machine, class, &[], &vec![7; 1000].into());
            }
            state.flush(context);
        });
    }
    pair.run_for(Duration::from_secs(5));
    std::mem::take(&mut pair.ends[SERVER].frames)
}

#[test]
fn a_direct_message_overtakes_bulk_that_was_handed_over_before_it() {
    let expected = [&[Class::Direct][..], &[Class::Gossip; 100], &[Class::Bulk; 100]].concat();
    assert_eq!(order_of_classes(true), expected);
}

#[test]
fn a_direct_message_waits_for_one_window_at_most() {
    let arrived = order_of_classes(false);
    let direct = arrived.iter().position(|class| *class == Class::Direct);
    assert!(direct.is_some_and(|before| before <= WINDOW_MIN as usize / 1000), "{direct:?}");
    assert_eq!(arrived.len(), 201);
}

#[test]
fn who_hears_while_its_congestion_window_is_full_answers_all_the_same() {
    let mut pair = Pair::new();
    pair.connect();
    pair.open_window();
    let machines =
        pair.ends.each_ref().map(|end| end.state.peers.credential.identity.machine_key.id());
    let say = |state: &mut State, context: &mut Context<'_>| {
        state.send(&machines[DIALLER], Class::Direct, &[], &vec![7; 10].into());
        state.flush(context);
    };
    pair.is_deaf[SERVER] = true;
    pair.act(DIALLER, |state, context| {
        for _ in 0..100 {
            state.send(&machines[SERVER], Class::Bulk, &[], &vec![7; 10_000].into());
        }
        state.flush(context);
    });
    // The first message acknowledges what came before the bulk, and that makes the dialler probe. The
    // second brings no such news, and the next probe is two seconds away.
    for seconds in [6, 4] {
        pair.run_for(Duration::from_secs(seconds));
        pair.act(SERVER, say);
    }
    pair.run_for(Duration::ZERO);
    assert_eq!(pair.ends[DIALLER].frames, [Class::Direct; 2]);
    pair.is_deaf[SERVER] = false;
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[SERVER].frames.len(), 100, "the answer showed what was lost");
}

impl Pair {
    fn server(&self) -> MachineId {
        self.ends[SERVER].state.peers.credential.identity.machine_key.id()
    }

    /// Reaches for a machine at the server's address.
    fn reach(&mut self, machine: MachineId) {
        let address = Some(address(SERVER));
        self.act(DIALLER, |state, context| state.dial_for(context, machine, address));
        self.run_for(Duration::from_secs(60));
    }

    fn release(&mut self) {
        let machine = self.server();
        self.act(DIALLER, |state, context| state.release(context, &machine));
        self.run_for(Duration::from_secs(5));
    }

    fn ups_and_downs(&self) -> [(usize, usize); 2] {
        self.ends.each_ref().map(|end| (end.ups, end.downs))
    }
}

#[test]
fn a_machine_that_was_only_reached_for_is_let_go_when_it_is_released() {
    let mut pair = Pair::new();
    pair.reach(pair.server());
    assert_eq!(pair.ups_and_downs(), [(1, 0); 2]);
    pair.release();
    assert_eq!(pair.ups_and_downs(), [(1, 1); 2]);
    pair.release();
    assert_eq!(pair.ends[DIALLER].unreached, []);
}

#[test]
fn a_session_with_another_purpose_outlives_its_release() {
    let mut pair = Pair::new();
    pair.connect();
    pair.release();
    assert_eq!(pair.ups_and_downs(), [(1, 0); 2]);

    let mut pair = Pair::new();
    let machine = pair.server();
    pair.reach(machine);
    pair.act(DIALLER, |state, _| state.send(&machine, Class::Direct, &[], &vec![7; 10].into()));
    pair.release();
    assert_eq!(pair.ups_and_downs(), [(1, 0); 2]);
}

#[test]
fn a_machine_that_is_not_where_somebody_said_is_told_and_forgotten() {
    let mut pair = Pair::new();
    let nobody = MachineId([9; 32]);
    pair.reach(nobody);
    assert_eq!(pair.ends[DIALLER].unreached, [nobody]);
    assert_eq!(pair.ups_and_downs(), [(0, 0); 2]);
    assert!(pair.ends[DIALLER].state.dialer.book.addresses.candidates(&nobody).is_empty());
    let own = pair.ends[DIALLER].state.peers.credential.identity.machine_key.id();
    pair.reach(own);
    assert_eq!(pair.ends[DIALLER].unreached, [nobody, own], "a node does not dial itself");
}

#[test]
fn a_node_reaches_out_to_machines_that_it_reached_before() {
    let mut pair = Pair::new();
    pair.act(DIALLER, State::bootstrap);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.count(DIALLER, Counter::Dials), 0, "it knows nobody");
    pair.connect();
    pair.disconnect();
    pair.act(DIALLER, State::bootstrap);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.ups_and_downs(), [(2, 1); 2]);
    pair.act(DIALLER, State::bootstrap);
    assert_eq!(pair.ups_and_downs(), [(2, 1); 2], "it has a session with all it knows");
}
