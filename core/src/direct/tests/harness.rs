//! Two nodes joined by sessions that begin and break, over virtual time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::{Acknowledged, DirectError, Input, Output, SendId, State};
use crate::direct::Counter;
use crate::identity::{AgentId, MachineId};
use crate::session;
use crate::session::Contact;
use crate::support::testing::start;
use crate::support::{Context, Counts, Outbox, Rng, Time};

/// Room that is never used up.
pub(super) const PLENTY: usize = usize::MAX / 2;

/// One of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    pub(super) fn agent(self) -> AgentId {
        AgentId([self as u8 + 1; 32])
    }

    pub(super) fn machine(self) -> MachineId {
        MachineId([self as u8 + 101; 32])
    }
}

/// How a message ended.
pub(super) type End = Result<Acknowledged, DirectError>;

/// A state with what it needs and what came of it.
pub(super) struct Node {
    pub(super) state: State,
    pub(super) now: Instant,
    pub(super) counters: Counts<Counter>,
    rng: Rng,
    outbox: Outbox<Output>,
}

impl Node {
    pub(super) fn new(agent: AgentId, seed: u8, now: Instant) -> Self {
        let state = State::new(vec![agent]);
        let rng = Rng::from_seed([seed; 32]);
        Self { state, now, counters: Counts::default(), rng, outbox: Outbox::default() }
    }

    pub(super) fn act(
        &mut self,
        act: impl FnOnce(&mut State, &mut Context<'_, Output>),
    ) -> Vec<Output> {
        let unix_time = Duration::ZERO;
        let (rng, counters) = (&mut self.rng, &mut self.counters);
        let mut context =
            Context::new(Time { now: self.now, unix_time }, rng, counters, &mut self.outbox);
        act(&mut self.state, &mut context);
        std::iter::from_fn(|| self.outbox.pop_output()).collect()
    }

    pub(super) fn handle(&mut self, input: Input) -> Vec<Output> {
        self.act(|state, context| state.handle(context, input))
    }

    pub(super) fn settle(&mut self) -> Vec<Output> {
        self.act(|state, context| state.settle(context))
    }

    pub(super) fn send(&mut self, id: u64, to: AgentId, payload: Bytes) -> Vec<Output> {
        let timeout = Duration::from_secs(10);
        self.handle(Input::Send { id: SendId(id), recipient: to, payload, timeout })
    }
}

/// Where one side is.
pub(super) struct Place {
    pub(super) node: Node,
    /// The session that the side is in.
    pub(super) session: Option<u64>,
    /// The last session that the side entered.
    pub(super) entered: u64,
    /// The frames on the way to this side, with their session.
    pub(super) inbox: VecDeque<(u64, Bytes)>,
    pub(super) delivered: Vec<u64>,
    pub(super) ended: Vec<(u64, End)>,
    pub(super) wanted: usize,
    restarts: u8,
}

/// Two nodes and what is between them.
pub(super) struct World {
    pub(super) places: [Place; 2],
    pub(super) session_last: u64,
    /// The incarnations of both sides in the newest session.
    incarnations: [u64; 2],
    pub(super) room: usize,
    next_id: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let now = start();
        let place = |side: Side| Place {
            node: Node::new(side.agent(), side as u8, now),
            session: None,
            entered: 0,
            inbox: VecDeque::new(),
            delivered: Vec::new(),
            ended: Vec::new(),
            wanted: 0,
            restarts: 0,
        };
        let places = [place(Side::Left), place(Side::Right)];
        Self { places, session_last: 0, incarnations: [0; 2], room: PLENTY, next_id: 0 }
    }

    /// Two nodes in a session.
    pub(super) fn connected() -> Self {
        let mut world = Self::new();
        world.connect();
        world
    }

    pub(super) fn at(&mut self, side: Side) -> &mut Place {
        &mut self.places[side as usize]
    }

    /// Makes a session that each side may enter while it is in its present run.
    pub(super) fn begin_session(&mut self) {
        self.session_last += 1;
        self.incarnations = self.places.each_ref().map(|place| place.restarts.into());
    }

    /// Both sides enter a new session.
    pub(super) fn connect(&mut self) {
        self.begin_session();
        self.enter(Side::Left);
        self.enter(Side::Right);
    }

    /// One side enters the newest session.
    pub(super) fn enter(&mut self, side: Side) {
        let (session, room) = (self.session_last, self.room);
        let incarnation = self.incarnations[side.other() as usize];
        let other = side.other();
        let place = self.at(side);
        (place.session, place.entered) = (Some(session), session);
        place.inbox.retain(|&(of, _)| of >= session);
        let (machine, agents) = (other.machine(), vec![other.agent()]);
        self.handle(
            side,
            Input::Session(session::Event::Opened(session::Opened {
                peer: machine,
                agents,
                incarnation,
                send_window: room,
                contact: Contact::default(),
                round_trip: Duration::ZERO,
            })),
        );
    }

    /// One side learns that its session is over; what was on the way to it is lost.
    pub(super) fn leave(&mut self, side: Side) {
        if let Some(session) = self.at(side).session.take() {
            self.at(side).inbox.retain(|&(of, _)| of > session);
            self.handle(
                side,
                Input::Session(session::Event::Closed { peer: side.other().machine() }),
            );
        }
    }

    /// Both sides leave; what is on the way is lost.
    pub(super) fn disconnect(&mut self) {
        self.leave(Side::Left);
        self.leave(Side::Right);
    }

    /// A node loses its state.
    pub(super) fn restart(&mut self, side: Side) {
        let session_last = self.session_last;
        let place = self.at(side);
        place.entered = session_last;
        place.restarts += 1;
        let seed = place.restarts * 2 + side as u8;
        place.node = Node::new(side.agent(), seed, place.node.now);
        let session = place.session.take();
        place.inbox.retain(|&(of, _)| Some(of) > session);
    }

    /// Sends a message whose payload is its id; returns the id.
    pub(super) fn send(&mut self, side: Side, timeout: Duration) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let payload = Bytes::copy_from_slice(&id.to_be_bytes());
        let recipient = side.other().agent();
        self.handle(side, Input::Send { id: SendId(id), recipient, payload, timeout });
        id
    }

    /// Delivers the next frame to a side; returns whether there was one.
    pub(super) fn deliver(&mut self, side: Side) -> bool {
        let place = self.at(side);
        let Some(&(session, _)) = place.inbox.front() else { return false };
        if place.session != Some(session) {
            return false;
        }
        let (_, frame) = place.inbox.pop_front().unwrap();
        self.handle(
            side,
            Input::Session(session::Event::Frame { peer: side.other().machine(), frame }),
        );
        true
    }

    /// Delivers everything there is to deliver.
    pub(super) fn run(&mut self) {
        loop {
            let mut moved = false;
            for side in [Side::Left, Side::Right] {
                while self.deliver(side) {
                    moved = true;
                }
                self.settle(side);
            }
            if !moved {
                return;
            }
        }
    }

    pub(super) fn settle(&mut self, side: Side) {
        let outputs = self.at(side).node.settle();
        self.take(side, outputs);
    }

    pub(super) fn handle(&mut self, side: Side, input: Input) {
        let outputs = self.at(side).node.handle(input);
        self.take(side, outputs);
    }

    /// Moves the clock and fires what is due.
    pub(super) fn advance(&mut self, time: Duration) {
        for side in [Side::Left, Side::Right] {
            let node = &mut self.at(side).node;
            node.now += time;
            let now = node.now;
            if node.state.deadline().is_some_and(|deadline| deadline.at <= now) {
                self.handle(side, Input::Timeout);
                let deadline = self.at(side).node.state.deadline();
                assert!(deadline.is_none_or(|deadline| deadline.at > now), "the deadline moved");
            }
        }
    }

    pub(super) fn count(&mut self, side: Side, counter: Counter) -> u64 {
        self.at(side).node.counters.get(counter)
    }

    fn take(&mut self, side: Side, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Session(session::Request::Send { peer: machine, header, payload }) => {
                    assert_eq!(machine, side.other().machine());
                    let session = self.at(side).session.expect("frames need a session");
                    let frame = [header.as_slice(), &payload].concat();
                    let other = self.at(side.other());
                    if other.session.is_none_or(|of| of <= session) {
                        other.inbox.push_back((session, frame.into()));
                    }
                }
                Output::Received { sender, machine, recipient, payload } => {
                    assert_eq!(sender, side.other().agent());
                    assert_eq!(machine, Some(side.other().machine()));
                    assert_eq!(recipient, side.agent());
                    let id = u64::from_be_bytes(payload[..].try_into().unwrap());
                    self.at(side).delivered.push(id);
                }
                Output::Ended { id, result } => self.at(side).ended.push((id.0, result)),
                Output::WantPeer { agent } => {
                    assert_eq!(agent, side.other().agent());
                    self.at(side).wanted += 1;
                }
                Output::Session(session::Request::Violation { rule, .. }) => {
                    panic!("{side:?} complains: {rule}");
                }
                Output::Session(
                    session::Request::Connect { .. } | session::Request::Release { .. },
                ) => panic!("direct messages ask for no sessions"),
            }
        }
    }
}
