//! Sessions: at most one for each peer, over the connection that both machines chose.
//!
//! When two machines dial each other, the connection that the machine with the lower id dialled
//! survives. The lower machine holds the other's connection until its own dial has ended: it closes
//! the held connection if the dial succeeds, and takes it if the dial fails. A second connection from
//! a peer of the same incarnation that dialled both replaces the first, which the peer has evidently
//! lost; a connection from another incarnation always does.
//!
//! # Invariants
//!
//! - A replaced session goes down before the next one comes up: protocols see one session of a
//!   peer at a time.
//! - A session that was up goes down exactly once.
//!
//! # Limits
//!
//! [`LINKS_MAX`](super::LINKS_MAX). One held connection for each machine that is being dialled.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connection::Phase;
use super::connections::Connections;
use super::frames::CloseCode;
use super::handshake::Proven;
use super::{ConnectError, Context, Counter, DownReason, Output, PeerLink, RefuseReason, Timer};
use crate::address_book::KnownAgent;
use crate::identity::{AgentId, MachineId};
use crate::support::Timers;
use crate::transport::{ConnectionKey, LostReason, Side};

/// How long the peer's connection is held for an own dial that nobody answers.
const HOLD_TIME: Duration = Duration::from_secs(1);

/// A session with a machine.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: ConnectionKey,
    agents: Vec<AgentId>,
    incarnation: u64,
    since: Instant,
    /// Whether only protocols asked for it, through [`State::dial_for`](super::State::dial_for).
    pub(super) is_releasable: bool,
}

/// The sessions of a node.
#[derive(Debug)]
pub(super) struct Sessions {
    own: MachineId,
    by_machine: BTreeMap<MachineId, Session>,
    /// Peers' connections that wait for the end of an own dial.
    held: BTreeMap<MachineId, ConnectionKey>,
    sessions_max: usize,
    pub(super) timers: Timers<Timer>,
}

/// What happens to a connection whose hello is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It carries the session.
    Take,
    /// It carries the session in place of this connection.
    Replace(ConnectionKey),
    /// It waits for the end of an own dial.
    Hold,
    /// This connection keeps the session.
    Refuse(ConnectionKey),
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// To the protocols of its session.
    pub(super) down: DownReason,
    /// To those who dialled it.
    pub(super) failed: ConnectError,
}

impl Sessions {
    pub(super) fn new(own: MachineId, sessions_max: usize) -> Self {
        Self {
            own,
            by_machine: BTreeMap::new(),
            held: BTreeMap::new(),
            sessions_max,
            timers: Timers::default(),
        }
    }

    pub(super) fn get_mut(&mut self, machine: &MachineId) -> Option<&mut Session> {
        self.by_machine.get_mut(machine)
    }

    pub(super) fn contains(&self, machine: &MachineId) -> bool {
        self.by_machine.contains_key(machine)
    }

    pub(super) fn len(&self) -> usize {
        self.by_machine.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_machine.is_empty()
    }

    /// Returns whether no further session is allowed.
    pub(super) fn is_full(&self) -> bool {
        self.by_machine.len() >= self.sessions_max
    }

    /// Returns the connection of the session with a machine.
    pub(super) fn connection(&self, machine: &MachineId) -> Option<ConnectionKey> {
        self.by_machine.get(machine).map(|session| session.connection)
    }

    /// Returns the connections of all sessions, by machine.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionKey> {
        self.by_machine.values().map(|session| session.connection)
    }

    /// Returns the session with a machine, as others see it.
    pub(super) fn peer(
        &self,
        connections: &Connections,
        machine: &MachineId,
        already: bool,
    ) -> Option<PeerLink> {
        let session = self.by_machine.get(machine)?;
        Some(PeerLink {
            machine: *machine,
            agents: session.agents.clone(),
            address: connections.remote(session.connection)?,
            already,
            round_trip: connections.round_trip(session.connection),
            since: session.since,
        })
    }

    /// Returns all sessions, as others see them.
    pub(super) fn peers(&self, connections: &Connections) -> impl Iterator<Item = PeerLink> {
        self.by_machine.keys().filter_map(|machine| self.peer(connections, machine, true))
    }

    /// Decides what happens to a connection whose hello is good. `is_dialling` says whether this node
    /// is dialling the machine.
    pub(super) fn choose(
        &self,
        connections: &Connections,
        (machine, side): (MachineId, Side),
        incarnation: u64,
        is_dialling: impl FnOnce() -> bool,
    ) -> Choice {
        let own_dial_wins = self.own < machine;
        let Some(session) = self.by_machine.get(&machine) else {
            let waits = side == Side::Server && own_dial_wins && is_dialling();
            return if waits { Choice::Hold } else { Choice::Take };
        };
        let present = session.connection;
        if session.incarnation != incarnation {
            return Choice::Replace(present);
        }
        match (side, connections.get(present).map(|connection| connection.side)) {
            (Side::Server, Some(Side::Client)) if own_dial_wins => Choice::Refuse(present),
            (Side::Client, Some(Side::Server)) if !own_dial_wins => Choice::Refuse(present),
            (Side::Client, Some(Side::Client)) => Choice::Refuse(present),
            (Side::Server | Side::Client, _) => Choice::Replace(present),
        }
    }

    /// Holds a connection until the own dial ends. Returns the one that was held before.
    pub(super) fn hold(
        &mut self,
        connections: &mut Connections,
        now: Instant,
        machine: MachineId,
        key: ConnectionKey,
    ) -> Option<ConnectionKey> {
        if let Some(connection) = connections.get_mut(key) {
            connection.phase = Phase::Held;
        }
        self.timers.set(Timer::Held(machine), now + HOLD_TIME);
        self.held.insert(machine, key)
    }

    /// A connection was held for [`HOLD_TIME`]. Returns whether it still is: then own dials that
    /// nobody answered end.
    pub(super) fn hold_expired(&mut self, now: Instant, machine: MachineId) -> bool {
        let is_held = self.held.contains_key(&machine);
        if is_held {
            self.timers.set(Timer::Held(machine), now + HOLD_TIME);
        }
        is_held
    }

    /// Returns the held connection of a machine, which is not held any more.
    pub(super) fn take_held(&mut self, machine: &MachineId) -> Option<ConnectionKey> {
        self.held.remove(machine)
    }

    /// A connection carries a session from now on.
    pub(super) fn up(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        (machine, address): (MachineId, SocketAddr),
        proven: &Proven,
    ) {
        let agents = proven.agents();
        let incarnation = proven.incarnation;
        let session = Session {
            connection: key,
            agents: agents.clone(),
            incarnation,
            since: context.now,
            is_releasable: false,
        };
        self.by_machine.insert(machine, session);
        context.count(Counter::LinksUp);
        context.emit(Output::PeerUp { machine, agents, incarnation, address });
    }

    /// A connection of a machine is over. Returns whether it carried the session.
    pub(super) fn connection_ended(
        &mut self,
        context: &mut Context<'_>,
        machine: MachineId,
        key: ConnectionKey,
        reason: DownReason,
    ) -> bool {
        if self.held.get(&machine) == Some(&key) {
            self.held.remove(&machine);
        }
        let had_session = self.connection(&machine) == Some(key);
        if had_session {
            self.by_machine.remove(&machine);
            context.count(Counter::LinksDown);
            context.emit(Output::PeerDown { machine, reason });
        }
        had_session
    }

    /// Returns whether these are the agents of the session with a machine, in their order. They
    /// neither come nor go while it lasts: frames name them by index.
    pub(super) fn has_agents(&self, machine: &MachineId, agents: &[KnownAgent]) -> bool {
        let agents = agents.iter().map(|agent| &agent.agent);
        self.by_machine.get(machine).is_some_and(|session| session.agents.iter().eq(agents))
    }
}

impl End {
    /// This node closes the connection.
    pub(super) fn closed(code: CloseCode) -> Self {
        let refused = ConnectError::Refused;
        let (down, failed) = match code {
            CloseCode::Bye | CloseCode::Duplicate => {
                (DownReason::ClosedLocally, refused(RefuseReason::Duplicate))
            }
            CloseCode::BadBinding => (DownReason::Protocol, refused(RefuseReason::BadBinding)),
            CloseCode::TooManyLinks => {
                (DownReason::ClosedLocally, refused(RefuseReason::TooManyLinks))
            }
            CloseCode::Version => (DownReason::Protocol, refused(RefuseReason::Version)),
            CloseCode::Protocol => (DownReason::Protocol, refused(RefuseReason::Protocol)),
            CloseCode::OwnAddress => (DownReason::ClosedLocally, ConnectError::OwnAddress),
            CloseCode::Replaced => (DownReason::Replaced, refused(RefuseReason::Duplicate)),
            CloseCode::TimedOut => (DownReason::TimedOut, ConnectError::Timeout),
        };
        Self { down, failed }
    }

    /// QUIC lost the connection.
    pub(super) fn lost(reason: LostReason) -> Self {
        let (down, failed) = match reason {
            LostReason::TimedOut => (DownReason::TimedOut, ConnectError::Timeout),
            LostReason::Reset => (DownReason::Reset, ConnectError::Timeout),
            LostReason::ClosedLocally => (DownReason::ClosedLocally, ConnectError::Cancelled),
            LostReason::Version => {
                (DownReason::Protocol, ConnectError::Refused(RefuseReason::Version))
            }
            LostReason::Failed => (DownReason::Protocol, ConnectError::WrongMachine),
            LostReason::ClosedByPeer(number) => {
                (DownReason::ClosedByPeer, refusal(CloseCode::from_number(number)))
            }
        };
        Self { down, failed }
    }
}

/// Returns what a peer's close means to those who dialled it.
fn refusal(code: Option<CloseCode>) -> ConnectError {
    let reason = match code {
        Some(CloseCode::Duplicate | CloseCode::Replaced) => RefuseReason::Duplicate,
        Some(CloseCode::BadBinding) => RefuseReason::BadBinding,
        Some(CloseCode::TooManyLinks) => RefuseReason::TooManyLinks,
        Some(CloseCode::Version) => RefuseReason::Version,
        Some(CloseCode::Protocol) => RefuseReason::Protocol,
        Some(CloseCode::OwnAddress) => return ConnectError::OwnAddress,
        Some(CloseCode::Bye | CloseCode::TimedOut) | None => return ConnectError::Timeout,
    };
    ConnectError::Refused(reason)
}
