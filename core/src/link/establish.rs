//! From a proven key to a session, and back: hellos, duplicates, ends.

use std::net::SocketAddr;
use std::time::Duration;

use super::address_book::Resident;
use super::connection::{Phase, Proven};
use super::frames::{self, Bindings, CloseCode, Control, Hello};
use super::path::{self, ProbeKeys};
use super::{ConnectError, Context, DownReason, Output, RefuseReason, Session, State, Timer};
use crate::crypto::signature::VerifyingKey;
use crate::identity::{AgentId, CLOCK_SKEW_MAX, MachineId, ProvenAgent};
use crate::link::Counter;
use crate::transport::{ConnectionKey, LostReason, Side};
use crate::wire;

/// How long the peer's connection is held for an own attempt that nobody answers.
const HOLD_TIME: Duration = Duration::from_secs(1);

/// What to do with a connection whose hello is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// It carries the session.
    Take,
    /// It carries the session in place of the present one.
    Replace,
    /// It waits for the end of an own attempt.
    Hold,
    /// The present connection stays.
    Refuse,
}

impl State {
    /// TLS proved the peer's key.
    pub(super) fn established(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        peer: &VerifyingKey,
    ) {
        let machine = MachineId::of(peer);
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if machine == self.identity.machine_key.id() {
            return self.close(context, key, CloseCode::OwnAddress);
        }
        let exported = self.transport.export_secret(key, path::EXPORT_LABEL);
        let probe_keys = exported.map(|secret| ProbeKeys::new(&secret, connection.side));
        connection.machine = Some(machine);
        connection.phase = Phase::AwaitingHello;
        if let Some(keys) = &probe_keys {
            self.by_probe_id.insert(keys.own_id, key);
        }
        connection.probe_keys = probe_keys;
        if let Some(pursuit) = connection.goal.and_then(|goal| self.pursuits.get_mut(&goal)) {
            pursuit.machine = Some(machine);
        }
        if connection.side == Side::Client {
            self.send_hello(key);
        }
    }

    /// Checks the peer's hello and decides what becomes of the connection.
    pub(super) fn handle_hello(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        hello: &Hello,
    ) {
        let Some(version) = hello.common_version(&self.config.versions) else {
            context.count(Counter::VersionsRefused);
            return self.close(context, key, CloseCode::Version);
        };
        let Some(connection) = self.connections.get(&key) else { return };
        let (Some(machine), side) = (connection.machine, connection.side) else { return };
        tracing::debug!(machine = %machine.short(), version, "hello");
        let Some(residents) = self.prove_agents(context, key, machine, &hello.bindings) else {
            return self.close(context, key, CloseCode::BadBinding);
        };
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.proven = Some(Proven { residents, incarnation: hello.incarnation });
        }
        match self.choose(machine, side, hello.incarnation) {
            Choice::Take => self.take(context, key),
            Choice::Replace => {
                let present = self.sessions.get(&machine).map(|session| session.connection);
                if let Some(present) = present {
                    self.close(context, present, CloseCode::Replaced);
                }
                self.session_up(context, key);
            }
            Choice::Hold => self.hold(context, key, machine),
            Choice::Refuse => {
                // If the peer has lost the present connection, this makes it say so.
                if let Some(session) = self.sessions.get(&machine) {
                    self.transport.ping(session.connection);
                }
                self.close(context, key, CloseCode::Duplicate);
            }
        }
    }

    /// See "One session for each peer" in the module's description.
    fn choose(&self, machine: MachineId, side: Side, incarnation: u64) -> Choice {
        let own_dial_wins = self.identity.machine_key.id() < machine;
        let Some(session) = self.sessions.get(&machine) else {
            let attempts = side == Side::Server && own_dial_wins && self.is_dialling(&machine);
            return if attempts { Choice::Hold } else { Choice::Take };
        };
        if session.incarnation != incarnation {
            return Choice::Replace;
        }
        let present = self.connections.get(&session.connection).map(|connection| connection.side);
        match (side, present) {
            (Side::Server, Some(Side::Client)) if own_dial_wins => Choice::Refuse,
            (Side::Client, Some(Side::Server)) if !own_dial_wins => Choice::Refuse,
            (Side::Client, Some(Side::Client)) => Choice::Refuse,
            (Side::Server | Side::Client, _) => Choice::Replace,
        }
    }

    fn hold(&mut self, context: &mut Context<'_>, key: ConnectionKey, machine: MachineId) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.phase = Phase::Held;
        }
        if let Some(earlier) = self.held.insert(machine, key) {
            self.close(context, earlier, CloseCode::Replaced);
        }
        self.timers.set(Timer::Held(machine), context.now + HOLD_TIME);
    }

    /// The peer's connection was held for long enough: an own attempt that nobody answered ends.
    pub(super) fn end_hold(&mut self, context: &mut Context<'_>, machine: MachineId) {
        if !self.held.contains_key(&machine) {
            return;
        }
        self.timers.set(Timer::Held(machine), context.now + HOLD_TIME);
        for key in self.attempts(&machine) {
            let phase = self.connections.get(&key).map(|connection| connection.phase);
            if phase == Some(Phase::Handshaking) {
                self.close(context, key, CloseCode::TimedOut);
            }
        }
    }

    /// An own attempt has ended without a session: the peer's connection may have it.
    pub(super) fn release_held(&mut self, context: &mut Context<'_>, machine: &MachineId) {
        if !self.sessions.contains_key(machine)
            && !self.is_dialling(machine)
            && let Some(key) = self.held.remove(machine)
        {
            self.take(context, key);
        }
    }

    /// Makes a session with a machine that has none, if there is room for one more.
    fn take(&mut self, context: &mut Context<'_>, key: ConnectionKey) {
        if self.sessions.len() >= self.limits.links {
            context.count(Counter::LinksOverLimit);
            self.close(context, key, CloseCode::TooManyLinks);
        } else {
            self.session_up(context, key);
        }
    }

    /// Checks all bindings of a machine and watches over their expiry. Returns the agents in the
    /// order of their indexes, or nothing if any binding is bad or there is none.
    pub(super) fn prove_agents(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        machine: MachineId,
        bindings: &Bindings,
    ) -> Option<Vec<Resident>> {
        let mut proven: Vec<ProvenAgent> = Vec::new();
        for bytes in bindings.iter() {
            let sequence_min = |agent: &AgentId| self.book.sequence(&machine, agent);
            let checked = self.verifier.verify(bytes, &machine, context.unix_time, sequence_min);
            match checked {
                Ok(agent) => {
                    context.count(Counter::BindingsProven);
                    proven.push(agent);
                }
                Err(error) => {
                    context.count(Counter::BindingsRefused);
                    tracing::debug!(machine = %machine.short(), %error, "binding refused");
                    return None;
                }
            }
        }
        let Some(expires) = proven.iter().map(|agent| agent.not_after).min() else {
            context.count(Counter::BindingsRefused);
            return None;
        };
        let left =
            (Duration::from_secs(expires) + CLOCK_SKEW_MAX).saturating_sub(context.unix_time);
        self.timers.set(Timer::Expiry(key), context.now + left);
        let resident =
            |agent: &ProvenAgent| Resident { agent: agent.agent, sequence: agent.sequence };
        Some(proven.iter().map(resident).collect())
    }

    /// Writes down where a peer that has a session is, and who lives there. Whoever is refused
    /// takes no place in the address book.
    pub(super) fn note_peer(
        &mut self,
        context: &mut Context<'_>,
        machine: MachineId,
        address: SocketAddr,
        residents: &[Resident],
    ) {
        let seconds = context.unix_time.as_secs();
        let changed = self.book.worked(machine, address, seconds, residents);
        self.store(context, machine, changed);
    }

    fn send_hello(&mut self, key: ConnectionKey) {
        let hello = Control::Hello(Hello {
            version_min: *self.config.versions.start(),
            version_max: *self.config.versions.end(),
            incarnation: self.incarnation,
            bindings: frames::bindings([self.binding.bytes().clone()]),
        });
        self.push_control(key, &wire::encode(&hello));
    }

    fn session_up(&mut self, context: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let (Some(machine), Some(proven)) = (connection.machine, connection.proven.clone()) else {
            return;
        };
        connection.phase = Phase::Up;
        let (side, address) = (connection.side, connection.path.current().remote);
        self.half_open.remove(&key);
        self.timers.cancel(&Timer::Handshake(key));
        if side == Side::Server {
            self.send_hello(key);
        }
        self.note_peer(context, machine, address, &proven.residents);
        let agents = proven.agents();
        let session = Session {
            connection: key,
            agents: agents.clone(),
            incarnation: proven.incarnation,
            since: context.now,
            is_for_reach: false,
        };
        self.sessions.insert(machine, session);
        context.count(Counter::LinksUp);
        let incarnation = proven.incarnation;
        context.emit(Output::PeerUp { machine, agents, incarnation, address });
        self.pursuits_reached(context, &machine, address);
        if let Some(held) = self.held.remove(&machine)
            && held != key
        {
            self.close(context, held, CloseCode::Duplicate);
        }
        self.read_all(context, key);
    }

    /// Closes a connection and tells the peer why.
    pub(super) fn close(&mut self, context: &mut Context<'_>, key: ConnectionKey, code: CloseCode) {
        if self.hearsay.is_unanswered(key) {
            self.transport.forget(key);
        } else {
            self.transport.close(context.now, key, code.number(), code.text());
        }
        let (down, failed) = match code {
            CloseCode::Bye | CloseCode::Duplicate => {
                (DownReason::ClosedLocally, ConnectError::Refused(RefuseReason::Duplicate))
            }
            CloseCode::BadBinding => {
                (DownReason::Protocol, ConnectError::Refused(RefuseReason::BadBinding))
            }
            CloseCode::TooManyLinks => {
                (DownReason::ClosedLocally, ConnectError::Refused(RefuseReason::TooManyLinks))
            }
            CloseCode::Version => {
                (DownReason::Protocol, ConnectError::Refused(RefuseReason::Version))
            }
            CloseCode::Protocol => {
                (DownReason::Protocol, ConnectError::Refused(RefuseReason::Protocol))
            }
            CloseCode::OwnAddress => (DownReason::ClosedLocally, ConnectError::OwnAddress),
            CloseCode::Replaced => {
                (DownReason::Replaced, ConnectError::Refused(RefuseReason::Duplicate))
            }
            CloseCode::TimedOut => (DownReason::TimedOut, ConnectError::Timeout),
        };
        self.over(context, key, down, failed);
    }

    /// QUIC lost a connection.
    pub(super) fn lost(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        reason: LostReason,
    ) {
        let (down, failed) = match reason {
            LostReason::TimedOut => (DownReason::TimedOut, ConnectError::Timeout),
            LostReason::Reset => (DownReason::Reset, ConnectError::Timeout),
            LostReason::ClosedLocally => (DownReason::ClosedLocally, ConnectError::Cancelled),
            LostReason::Version => {
                (DownReason::Protocol, ConnectError::Refused(RefuseReason::Version))
            }
            LostReason::Failed => {
                let is_up = self.connections.get(&key).is_some_and(|c| c.phase == Phase::Up);
                context.count(if is_up {
                    Counter::ProtocolViolations
                } else {
                    Counter::HandshakesFailed
                });
                (DownReason::Protocol, ConnectError::WrongMachine)
            }
            LostReason::ClosedByPeer(number) => {
                (DownReason::ClosedByPeer, refusal(CloseCode::from_number(number)))
            }
        };
        self.over(context, key, down, failed);
    }

    fn over(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        down: DownReason,
        failed: ConnectError,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let (phase, machine, goal) = (connection.phase, connection.machine, connection.goal);
        let address = connection.path.current().remote;
        if phase == Phase::Over {
            return;
        }
        connection.phase = Phase::Over;
        self.reassembly_bytes -= connection.accounted();
        self.lane_bytes -= connection.lane_bytes();
        connection.clear();
        self.end_pings_of(context, key);
        for timer in [Timer::Handshake(key), Timer::Path(key), Timer::Expiry(key)] {
            self.timers.cancel(&timer);
        }
        if let Some(machine) = machine {
            if self.held.get(&machine) == Some(&key) {
                self.held.remove(&machine);
            }
            if self.sessions.get(&machine).is_some_and(|session| session.connection == key) {
                self.sessions.remove(&machine);
                context.count(Counter::LinksDown);
                context.emit(Output::PeerDown { machine, reason: down });
                let seconds = context.unix_time.as_secs();
                let changed = self.book.session_ended(machine, address, seconds);
                self.store(context, machine, changed);
                self.pursue_again(context, &machine);
            }
        }
        if let Some(goal) = goal {
            self.attempt_ended(context, goal, key, failed);
        }
        if let Some(machine) = machine.or_else(|| goal?.machine()) {
            self.release_held(context, &machine);
        }
    }

    /// Nothing is left of a connection.
    pub(super) fn drained(&mut self, key: ConnectionKey) {
        self.half_open.remove(&key);
        self.hearsay.answered(key);
        if let Some(connection) = self.connections.remove(&key) {
            self.grown_bytes -= connection.credit.grown();
            let path = connection.path.current();
            if self.by_path.get(&path) == Some(&key) {
                self.by_path.remove(&path);
            }
            if let Some(keys) = connection.probe_keys {
                self.by_probe_id.remove(&keys.own_id);
            }
        }
    }
}

fn refusal(code: Option<CloseCode>) -> ConnectError {
    match code {
        Some(CloseCode::Duplicate | CloseCode::Replaced) => {
            ConnectError::Refused(RefuseReason::Duplicate)
        }
        Some(CloseCode::BadBinding) => ConnectError::Refused(RefuseReason::BadBinding),
        Some(CloseCode::TooManyLinks) => ConnectError::Refused(RefuseReason::TooManyLinks),
        Some(CloseCode::Version) => ConnectError::Refused(RefuseReason::Version),
        Some(CloseCode::Protocol) => ConnectError::Refused(RefuseReason::Protocol),
        Some(CloseCode::OwnAddress) => ConnectError::OwnAddress,
        Some(CloseCode::Bye | CloseCode::TimedOut) | None => ConnectError::Timeout,
    }
}
