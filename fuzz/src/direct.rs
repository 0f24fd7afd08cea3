//! Frames of direct messages, and the state that handles them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use x0x_core::direct::{self, SendId, State, fuzzing};
use x0x_core::identity::{AgentId, MachineId};
use x0x_core::support::{Context, Counts, Outbox, Rng, Time};

use crate::fixture::UNIX_TIME;
use crate::input::Input;
use crate::start;
use x0x_core::session::{self, Contact};

/// A frame that is read is written in a form that is not longer and reads the same.
pub fn direct_frame(data: &[u8]) {
    if let Some(rewritten) = fuzzing::frame(Bytes::copy_from_slice(data)) {
        assert!(rewritten.len() <= data.len(), "the shortest form is the shortest");
        assert_eq!(fuzzing::frame(rewritten.clone()), Some(rewritten), "one shortest form");
    }
}

/// Any sequence of inputs: sessions that begin and break, frames of a peer, messages of this
/// node, time. What comes out is well formed, and every message ends at most once.
pub fn direct_sessions(data: &[u8]) {
    let mut input = Input::new(data);
    let mut node = Node::new();
    while !input.is_empty() {
        node.step(&mut input);
        node.check_outputs();
    }
    node.now += Duration::from_secs(1 << 20);
    node.act(|state, context| state.handle(context, direct::Input::Timeout));
    node.check_outputs();
    assert!(node.waiting.is_empty(), "every message ends");
}

struct Node {
    state: State,
    rng: Rng,
    counts: Counts<direct::Counter>,
    outbox: Outbox<direct::Output>,
    now: std::time::Instant,
    /// The agents of each machine with a session.
    sessions: BTreeMap<MachineId, Vec<AgentId>>,
    waiting: BTreeSet<u64>,
    sent: u64,
}

fn agent(number: u8) -> AgentId {
    AgentId([number % 4; 32])
}

fn machine(number: u8) -> MachineId {
    MachineId([number % 3; 32])
}

impl Node {
    fn new() -> Self {
        Self {
            state: State::new(vec![agent(0)]),
            rng: Rng::from_seed([5; 32]),
            counts: Counts::default(),
            outbox: Outbox::default(),
            now: start(),
            sessions: BTreeMap::new(),
            waiting: BTreeSet::new(),
            sent: 0,
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut State, &mut Context<'_, direct::Output>)) {
        let Self { state, rng, counts, outbox, now, .. } = self;
        act(
            state,
            &mut Context::new(Time { now: *now, unix_time: UNIX_TIME }, rng, counts, outbox),
        );
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (kind, number) = (input.byte(), input.byte());
        let machine = machine(number);
        let handled = match kind % 9 {
            0 => {
                let agents: Vec<AgentId> =
                    (1..=3).filter(|bit| number >> (bit + 2) & 1 == 1).map(agent).collect();
                self.sessions.insert(machine, agents.clone());
                direct::Input::Session(session::Event::Opened(session::Opened {
                    peer: machine,
                    agents,
                    incarnation: 0,
                    send_window: input.number(),
                    contact: Contact::default(),
                    round_trip: Duration::ZERO,
                }))
            }
            1 => {
                self.sessions.remove(&machine);
                direct::Input::Session(session::Event::Closed { peer: machine })
            }
            2 => direct::Input::Session(session::Event::Writable {
                peer: machine,
                send_window: input.number(),
            }),
            3 | 4 => {
                let size = usize::from(input.byte());
                direct::Input::Session(session::Event::Frame {
                    peer: machine,
                    frame: Bytes::copy_from_slice(input.take(size)),
                })
            }
            5 => return self.send(number, input),
            6 => direct::Input::NoRoute { agent: agent(number) },
            7 => direct::Input::SetBlocked { agent: agent(number), blocked: number & 64 == 0 },
            _ => {
                self.now += Duration::from_millis(u64::from(number) * 20);
                direct::Input::Timeout
            }
        };
        self.act(|state, context| {
            state.handle(context, handled);
            if kind & 128 == 0 {
                state.settle(context);
            }
        });
    }

    fn send(&mut self, number: u8, input: &mut Input<'_>) {
        let recipient = agent(number);
        let payload = Bytes::from(vec![number; usize::from(input.byte())]);
        if self.state.check(&recipient, payload.len()).is_err() {
            return;
        }
        let millis = u64::from(number >> 2) * 100;
        let (id, timeout) = (SendId(self.sent), Duration::from_millis(millis));
        self.sent += 1;
        self.waiting.insert(id.0);
        self.act(|state, context| {
            state.handle(context, direct::Input::Send { id, recipient, payload, timeout });
        });
    }

    fn check_outputs(&mut self) {
        while let Some(output) = self.outbox.pop_output() {
            match output {
                direct::Output::Session(session::Request::Send {
                    peer: machine,
                    header,
                    payload,
                }) => {
                    assert!(self.sessions.contains_key(&machine), "frames go into sessions");
                    let frame: Bytes = [header.as_slice(), &payload].concat().into();
                    assert_eq!(fuzzing::frame(frame.clone()), Some(frame), "well formed");
                }
                direct::Output::Received { sender, machine, recipient, .. } => {
                    assert_eq!(recipient, agent(0), "messages are for agents of this node");
                    let proven = |machine| self.sessions[&machine].contains(&sender);
                    assert!(machine.is_none_or(proven), "the sender is proven");
                }
                direct::Output::Ended { id, .. } => {
                    assert!(self.waiting.remove(&id.0), "a message ends once");
                }
                direct::Output::WantPeer { .. }
                | direct::Output::Session(session::Request::Violation { .. }) => {}
                direct::Output::Session(
                    session::Request::Connect { .. } | session::Request::Release { .. },
                ) => panic!("direct messages ask for no sessions"),
            }
        }
    }
}
