//! Direct messages: from one agent to another, in order, at most once, acknowledged by the
//! recipient's node.
//!
//! A message that was accepted ends exactly once ([`Output::Ended`]): acknowledged, refused for a
//! reason, or failed for a reason. Both hold whatever sessions break and whichever node restarts.
//! `docs/src/protocol/direct.md` has the frames and the argument.
//!
//! This module is not a store: what waits is in memory and gone after a restart. It knows no
//! transport: the owner carries whole frames over *sessions*, of which a machine has at most one.
//! Frames of one session arrive in order, without gaps, and none after the session's
//! [`session::Event::Closed`] or the next [`session::Event::Opened`].
//!
//! # How it is driven
//!
//! Inputs through [`State::handle`], then [`State::settle`] once after one or more inputs: it sends
//! the verdicts on all messages that came. [`Input::Timeout`] at [`State::deadline`].
//!
//! # Invariants
//!
//! - What is delivered from one agent to another is a subsequence of what was sent, in order.
//! - An acknowledged message was delivered. One that ended as refused, unsent or without a known
//!   recipient was not and never will be.
//! - Nothing grows beyond the limits below, whatever a peer sends.

mod command;
mod conversation;
mod counters;
mod error;
mod event;
mod frames;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod incoming;
mod outgoing;
mod slots;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

pub use command::{DirectAcknowledged, Reply, Request, SendDirect};
pub use counters::Counter;
use error::Violation;
pub use error::{Acknowledged, DirectError, RefuseReason, RequestError};
pub use event::Event;
use frames::Frame;
use incoming::{Incoming, Lane};
use outgoing::{OutLane, Outgoing};
use slots::Slots;

use crate::identity::{AgentId, MachineId};
use crate::session::{self, Header};
pub use crate::support::NoTable as Table;
use crate::support::{Deadline, Vocabulary};

/// The context of this module.
type Context<'a> = crate::support::Context<'a, Output>;

/// The largest payload of a message.
pub const PAYLOAD_MAX: usize = 16 << 20;

/// The most messages that wait for one recipient.
pub const RECIPIENT_MESSAGES_MAX: usize = 65_536;

/// The most bytes of payload that wait for one recipient.
pub const RECIPIENT_BYTES_MAX: usize = 64 << 20;

/// The most bytes that wait for all recipients: payloads, and [`MESSAGE_COST`] for each.
pub const BYTES_MAX: usize = 256 << 20;

/// What a message counts beside its payload.
pub const MESSAGE_COST: usize = 128;

/// The most conversations that this node is the sender of. Idle ones make room for new ones.
pub const CONVERSATIONS_MAX: usize = 4096;

/// The most channels of a session in one direction: one for each agent of the other machine.
/// Agents of a machine beyond this number cannot be sent to.
pub const CHANNELS_MAX: usize = 64;

/// The most conversations that this node is the recipient of: as many in sessions, and as many
/// remembered until the machine is back. The latter forget what was used least recently.
pub const RECORDS_MAX: usize = 4096;

/// The most changes of verdict that a record knows.
pub const RUNS_MAX: usize = 64;

/// The most agents that are blocked.
pub const BLOCKED_MAX: usize = 65_536;

/// Timeouts are rounded up to multiples of this many milliseconds.
pub const TICK_MILLIS: u64 = 50;

/// The name that the caller gives to a message. It may be used again once the message has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The application sends a message for which [`State::check`] has nothing to say.
    Send {
        /// Names the message in its [`Output::Ended`].
        id: SendId,
        /// The agent that it is for.
        recipient: AgentId,
        /// What is sent.
        payload: Bytes,
        /// How long to wait for the acknowledgement.
        timeout: Duration,
    },
    /// Something happened to a session.
    Session(session::Event<MachineId>),
    /// No machine is known for an agent.
    NoRoute {
        /// The agent.
        agent: AgentId,
    },
    /// The user blocks an agent, or no longer does.
    SetBlocked {
        /// The agent.
        agent: AgentId,
        /// Whether its messages are refused.
        blocked: bool,
    },
    /// The deadline has passed.
    Timeout,
    /// The node shuts down: every message ends, and no more are sent.
    ShutDown,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// What is wanted of a session. Nothing that a peer sends after a violation is looked at.
    Session(session::Request<MachineId>),
    /// Deliver a message.
    Received {
        /// The agent that sent it.
        sender: AgentId,
        /// The machine that it came from; `None` if it is this one.
        machine: Option<MachineId>,
        /// The agent of this node that it is for.
        recipient: AgentId,
        /// What was sent.
        payload: Bytes,
    },
    /// A message of this node ended.
    Ended {
        /// The name that the caller gave it.
        id: SendId,
        /// How it ended.
        result: Result<Acknowledged, DirectError>,
    },
    /// Messages wait for an agent without a session.
    WantPeer {
        /// The agent.
        agent: AgentId,
    },
}

impl Vocabulary for Output {
    type Counter = Counter;
    type Table = Table;
}

/// Direct messages of one node.
#[derive(Debug)]
pub struct State {
    /// The sessions.
    peers: Slots<MachineId, Peer>,
    /// What this node sends.
    outgoing: Outgoing,
    /// What this node receives.
    incoming: Incoming,
    /// The indexes of peers for which verdicts may be pending.
    unsettled: Vec<usize>,
}

/// A session.
#[derive(Debug)]
struct Peer {
    session: Session,
    /// The agents that the machine proved.
    agents: Vec<AgentId>,
    /// What this node sends.
    out_lane: OutLane,
    /// What this node receives.
    lane: Lane,
    /// Whether the peer is in [`State::unsettled`].
    is_unsettled: bool,
    /// Whether the peer broke a rule.
    is_condemned: bool,
}

/// The way to a machine.
#[derive(Clone, Copy, Debug)]
struct Session {
    machine: MachineId,
    /// Which run of the machine it is.
    incarnation: u64,
    /// The bytes that may be sent.
    room: usize,
}

impl State {
    /// Makes the state of a node with these agents. The first of them sends.
    ///
    /// # Panics
    ///
    /// If there is no agent.
    pub fn new(local_agents: Vec<AgentId>) -> Self {
        assert!(!local_agents.is_empty(), "a node without an agent cannot send");
        Self {
            peers: Slots::new(),
            outgoing: Outgoing::new(),
            incoming: Incoming::new(local_agents),
            unsettled: Vec::new(),
        }
    }

    /// Handles an input.
    ///
    /// # Panics
    ///
    /// If a message is sent for which [`State::check`] returns an error.
    pub fn handle(&mut self, context: &mut Context<'_>, input: Input) {
        match input {
            Input::Send { id, recipient, payload, timeout } => {
                self.handle_send(context, recipient, (id, payload, timeout));
            }
            Input::Session(event) => self.handle_session(context, event),
            Input::NoRoute { agent } => self.outgoing.no_route(context, &agent),
            Input::SetBlocked { agent, blocked } => {
                let lanes = self.peers.values_mut().map(|peer| &mut peer.lane);
                self.incoming.set_blocked(context, lanes, agent, blocked);
            }
            Input::Timeout => self.outgoing.expire(context),
            Input::ShutDown => self.outgoing.shut_down(context),
        }
    }

    fn handle_session(&mut self, context: &mut Context<'_>, event: session::Event<MachineId>) {
        match event {
            session::Event::Opened(session::Opened {
                peer: machine,
                agents,
                incarnation,
                send_window: room,
                ..
            }) => {
                let session = Session { machine, incarnation, room };
                self.handle_peer_up(context, session, agents);
            }
            session::Event::Closed { peer } => self.handle_peer_down(context, peer),
            session::Event::Writable { peer, send_window } => {
                if let Some(index) = self.peers.find_mut(&peer) {
                    let peer = &mut self.peers[index];
                    peer.session.room = send_window;
                    peer.lane.tell(context, &mut peer.session);
                    self.outgoing.pump(context, &mut peer.session, &mut peer.out_lane);
                }
            }
            session::Event::Frame { peer, frame } => self.handle_frame(context, peer, frame),
            session::Event::Moved { .. } | session::Event::ConnectFailed { .. } => {}
        }
    }

    /// Sends the verdicts on what came since the last time, as far as there is room.
    pub fn settle(&mut self, context: &mut Context<'_>) {
        while let Some(index) = self.unsettled.pop() {
            if let Some(peer) = self.peers.get_mut(index) {
                peer.is_unsettled = false;
                peer.lane.tell(context, &mut peer.session);
            }
        }
    }

    /// Checks whether a message can be sent.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if it is too large or too much waits already.
    pub fn check(&self, recipient: &AgentId, size: usize) -> Result<(), RequestError> {
        if size > PAYLOAD_MAX {
            Err(RequestError::TooLarge { size, size_max: PAYLOAD_MAX })
        } else if self.incoming.is_local(recipient) {
            Ok(())
        } else {
            self.outgoing.check(recipient, size)
        }
    }

    /// Returns the bytes of messages that wait for their end: at most [`BYTES_MAX`].
    pub fn waiting_bytes(&self) -> usize {
        self.outgoing.waiting_bytes()
    }

    /// Returns whether there is room to block an agent. [`Input::SetBlocked`] does nothing but count
    /// if there is none.
    pub fn can_block(&self, agent: &AgentId) -> bool {
        self.incoming.can_block(agent)
    }

    /// Returns when to handle [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Deadline> {
        let at = self.outgoing.deadline()?;
        Some(Deadline { at, timer: "message timeout" })
    }

    fn handle_send(
        &mut self,
        context: &mut Context<'_>,
        recipient: AgentId,
        message: (SendId, Bytes, Duration),
    ) {
        let checked = self.check(&recipient, message.1.len());
        assert_eq!(checked, Ok(()), "the caller checks before it sends");
        if self.incoming.is_local(&recipient) {
            return self.deliver_here(context, recipient, message.0, message.1);
        }
        let index = self.outgoing.conversation(context, &mut self.peers, recipient);
        if let Some(place) = self.outgoing.push(context, index, message) {
            let peer = &mut self.peers[place.peer];
            peer.out_lane.ready(place.channel);
            self.outgoing.pump(context, &mut peer.session, &mut peer.out_lane);
        }
    }

    fn deliver_here(
        &self,
        context: &mut Context<'_>,
        recipient: AgentId,
        id: SendId,
        payload: Bytes,
    ) {
        let sender = self.incoming.sender();
        let result = if self.incoming.is_blocked(&sender) {
            context.count(Counter::MessagesRefused);
            Err(DirectError::Refused(RefuseReason::Blocked))
        } else {
            context.count(Counter::MessagesReceived);
            context.emit(Output::Received { sender, machine: None, recipient, payload });
            Ok(Acknowledged { elapsed: Duration::ZERO })
        };
        context.emit(Output::Ended { id, result });
    }

    fn handle_peer_up(
        &mut self,
        context: &mut Context<'_>,
        session: Session,
        agents: Vec<AgentId>,
    ) {
        self.handle_peer_down(context, session.machine);
        let index = self.peers.insert(
            session.machine,
            Peer {
                session,
                agents,
                out_lane: OutLane::default(),
                lane: Lane::default(),
                is_unsettled: false,
                is_condemned: false,
            },
        );
        let peer = &mut self.peers[index];
        let reachable = &peer.agents[..peer.agents.len().min(CHANNELS_MAX)];
        peer.out_lane = self.outgoing.peer_up(context, &peer.session, index, reachable);
        self.outgoing.pump(context, &mut peer.session, &mut peer.out_lane);
    }

    fn handle_peer_down(&mut self, context: &mut Context<'_>, machine: MachineId) {
        if let Some((_, peer)) = self.peers.remove(&machine) {
            self.incoming.peer_down(context, peer.lane);
            let ended = (machine, &peer.agents[..], &peer.out_lane);
            let moved = self.outgoing.peer_down(context, &mut self.peers, ended);
            for index in moved {
                let peer = &mut self.peers[index];
                self.outgoing.pump(context, &mut peer.session, &mut peer.out_lane);
            }
        }
    }

    fn handle_frame(&mut self, context: &mut Context<'_>, machine: MachineId, frame: Bytes) {
        let Some(index) = self.peers.find_mut(&machine) else {
            return context.count(Counter::FramesUnknown);
        };
        let peer = &mut self.peers[index];
        if peer.is_condemned {
            return;
        }
        let handled = match frames::decode(frame) {
            Ok(Frame::Message { channel, sequence, payload }) => {
                let place = (channel, sequence);
                peer.lane.message(context, &peer.session, place, payload)
            }
            Ok(Frame::Verdict { channel, run }) => {
                self.outgoing.verdict(context, &peer.out_lane, channel, run)
            }
            Ok(Frame::Open(open)) => {
                self.incoming.open(&peer.session, &peer.agents, &mut peer.lane, open)
            }
            Ok(Frame::Opened(opened)) => {
                let opened = self.outgoing.opened(context, &mut peer.out_lane, &opened);
                self.outgoing.pump(context, &mut peer.session, &mut peer.out_lane);
                opened
            }
            Err(violation) => Err(violation),
        };
        if let Err(violation) = handled {
            peer.is_condemned = true;
            context.count(Counter::Violations);
            let violation = session::Request::Violation { peer: machine, rule: violation.rule() };
            context.emit(Output::Session(violation));
        }
        if peer.lane.is_owing() && !std::mem::replace(&mut peer.is_unsettled, true) {
            self.unsettled.push(index);
        }
    }
}

impl Session {
    /// Sends a frame.
    fn emit(&mut self, context: &mut Context<'_>, header: Header, payload: Bytes) {
        self.room = self.room.saturating_sub(header.len() + payload.len());
        let send = session::Request::Send { peer: self.machine, header, payload };
        context.emit(Output::Session(send));
    }
}
