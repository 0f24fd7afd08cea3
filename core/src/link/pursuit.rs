//! Pursuits: what makes a node dial.
//!
//! A pursuit has a goal, an address or a machine, and lasts while somebody wants it: a caller who
//! waits for the link, a caller who asked to keep it, or a message that waits for the peer. It has
//! at most one attempt under way, tries the addresses of a machine in turn, and pauses longer after
//! each failure, up to a limit, with jitter so that many nodes do not dial in step.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::address_book::Wish;
use super::connection::Phase;
use super::frames::CloseCode;
use super::{ConnectError, Context, Output, RefuseReason, State, Timer};
use crate::identity::{AgentId, MachineId};
use crate::transport::ConnectionKey;

/// How many pursuits a node has.
pub const PURSUITS_MAX: usize = 4096;

/// How many callers wait for all pursuits together.
pub const WAITERS_MAX: usize = 4096;

/// How many machines [`State::reach_out`] tries at once, and with how many links it tries none.
const REACH_OUT_MAX: usize = 4;

/// How many machines that are not kept a node goes back to when it starts.
pub const RESUMED_MAX: usize = 8;

/// How long it waits before each dial then: the application may ask for the same machines.
const RESUME_INTERVAL: Duration = Duration::from_millis(250);

/// How long a pursuit lasts that nobody but a message wants, or the start of the node.
const WANTED_TIME: Duration = Duration::from_secs(30);

/// The caller's number of a [`State::connect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Whom to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialTarget {
    /// Whoever answers at an address.
    Address(SocketAddr),
    /// A machine, at an address that becomes known with it.
    MachineAt(MachineId, SocketAddr),
    /// A machine, at its known addresses.
    Machine(MachineId),
    /// The machine that an agent was last proven to live on.
    Agent(AgentId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Goal {
    Address(SocketAddr),
    Machine(MachineId),
}

impl Goal {
    pub(super) fn machine(self) -> Option<MachineId> {
        match self {
            Self::Machine(machine) => Some(machine),
            Self::Address(_) => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pursuit {
    /// Who answered at the address, or the goal itself.
    pub(super) machine: Option<MachineId>,
    pub(super) keep: bool,
    wanted_until: Option<Instant>,
    /// Whether [`State::reach`] wants it, and hears if it fails.
    is_for_reach: bool,
    waiters: Vec<RequestId>,
    pub(super) attempt: Option<ConnectionKey>,
    failures: u32,
    /// The addresses that were tried since all were.
    pub(super) tried: Vec<SocketAddr>,
    /// The address that the application just named: it is dialled first.
    pub(super) named: Option<SocketAddr>,
}

impl State {
    /// Asks for a session. [`Output::ConnectEnded`] answers.
    pub fn connect(
        &mut self,
        context: &mut Context<'_>,
        request: RequestId,
        target: DialTarget,
        keep: bool,
        timeout: Duration,
    ) {
        let goal = match self.goal_of(context, target) {
            Ok(goal) => goal,
            Err(error) => {
                return context.emit(Output::ConnectEnded { request, result: Err(error) });
            }
        };
        let machine = self.pursuits.get(&goal).and_then(|p| p.machine).or_else(|| goal.machine());
        let present = machine
            .and_then(|machine| self.peer(&machine, true))
            .or_else(|| self.peers().find(|peer| Goal::Address(peer.address) == goal));
        if let Some(peer) = present {
            if keep {
                let pursuit = self.pursuits.entry(Goal::Machine(peer.machine)).or_default();
                pursuit.keep = true;
                pursuit.machine = Some(peer.machine);
            }
            self.name(context, peer.machine, keep);
            if let Some(session) = self.sessions.get_mut(&peer.machine) {
                session.is_for_reach = false;
            }
            return context.emit(Output::ConnectEnded { request, result: Ok(peer) });
        }
        if let Some(machine) = machine {
            self.name(context, machine, keep);
        }
        let pursuit = self.pursuits.entry(goal).or_default();
        pursuit.machine = machine;
        pursuit.keep |= keep;
        pursuit.waiters.push(request);
        if let DialTarget::MachineAt(_, address) = target {
            pursuit.named = Some(address);
        }
        // A time that no clock can show never comes.
        if let Some(at) = context.now.checked_add(timeout) {
            self.timers.set(Timer::Waiter(goal, request), at);
        }
        if pursuit.attempt.is_none() {
            self.attempt(context, goal);
        }
    }

    /// Tells whether one more [`State::connect`] finds room.
    pub fn can_connect(&self) -> bool {
        let waiters: usize = self.pursuits.values().map(|p| p.waiters.len()).sum();
        self.pursuits.len() < PURSUITS_MAX && waiters < WAITERS_MAX
    }

    /// A message waits for an agent: tries to reach it for a while.
    pub fn want(&mut self, context: &mut Context<'_>, agent: AgentId) {
        let home = self.book.home(&agent);
        let Some(machine) = home.filter(|_| self.pursuits.len() < PURSUITS_MAX) else {
            return context.emit(Output::NoRoute { agent });
        };
        if self.sessions.contains_key(&machine) {
            // The agent has moved away from a machine that is there.
            return context.emit(Output::NoRoute { agent });
        }
        let pursuit = self.pursuits.entry(Goal::Machine(machine)).or_default();
        pursuit.machine = Some(machine);
        pursuit.wanted_until = Some(context.now + WANTED_TIME);
        if pursuit.attempt.is_none() {
            self.attempt(context, Goal::Machine(machine));
        }
    }

    /// Tries for a while to have a session with a machine, at an address that somebody named.
    /// [`Output::PeerUp`] or [`Output::Unreached`] follows.
    pub fn reach(
        &mut self,
        context: &mut Context<'_>,
        machine: MachineId,
        address: Option<SocketAddr>,
    ) {
        let is_possible = machine != self.identity.machine_key.id()
            && self.pursuits.len() < PURSUITS_MAX
            && !self.sessions.contains_key(&machine);
        if let Some(address) = address.filter(|&named| is_possible && self.may_be_named(named)) {
            self.book.hear_of(machine, address);
        }
        if !is_possible || !self.book.knows(&machine) {
            return context.emit(Output::Unreached { machine });
        }
        let goal = Goal::Machine(machine);
        let pursuit = self.pursuits.entry(goal).or_default();
        pursuit.machine = Some(machine);
        pursuit.is_for_reach = true;
        let until = context.now + self.config.dial_timeout;
        pursuit.wanted_until = pursuit.wanted_until.max(Some(until));
        if pursuit.attempt.is_none() {
            self.attempt(context, goal);
        }
    }

    /// Goes back to the machines of an earlier run, after their records were restored: to those that
    /// are kept, for as long as it takes, and to [`RESUMED_MAX`] of the others, the most valuable
    /// ones, for a while. One dial begins every `RESUME_INTERVAL`.
    pub fn resume(&mut self, now: Instant) {
        let (kept, others) = (self.book.kept(), self.book.most_valuable());
        let kept = kept.into_iter().map(|machine| (machine, true));
        let others = others.into_iter().take(RESUMED_MAX).map(|machine| (machine, false));
        let mut at = now;
        for (machine, keep) in kept.chain(others).take(PURSUITS_MAX) {
            at += RESUME_INTERVAL;
            let goal = Goal::Machine(machine);
            let pursuit = self.pursuits.entry(goal).or_default();
            pursuit.machine = Some(machine);
            pursuit.keep = keep;
            pursuit.wanted_until = Some(at + WANTED_TIME);
            self.timers.set(Timer::Pursue(goal), at);
        }
    }

    /// Tries to reach some machines that were reached before, unless there are links enough.
    pub fn reach_out(&mut self, context: &mut Context<'_>) {
        if self.sessions.len() >= REACH_OUT_MAX {
            return;
        }
        let mut known = self.book.proven();
        known.retain(|machine| !self.sessions.contains_key(machine));
        for _ in 0..REACH_OUT_MAX.min(known.len()) {
            let count = u64::try_from(known.len()).unwrap_or(u64::MAX);
            let index = usize::try_from(context.rng.below(count)).unwrap_or(0);
            let machine = known.swap_remove(index);
            self.reach(context, machine, None);
        }
    }

    /// The session with a machine is not needed by whoever called [`State::reach`]. It ends if that
    /// was its only purpose and this node dialled it.
    pub fn release(&mut self, context: &mut Context<'_>, machine: &MachineId) {
        let is_kept = self.pursuits.get(&Goal::Machine(*machine)).is_some_and(|p| p.keep);
        let Some(session) = self.sessions.get(machine) else { return };
        if session.is_for_reach && !is_kept {
            self.close(context, session.connection, CloseCode::Bye);
        }
    }

    /// Closes the session with a machine and ends its pursuits. Returns whether there was one.
    pub fn disconnect(&mut self, context: &mut Context<'_>, machine: &MachineId) -> bool {
        for goal in self.goals_of(machine) {
            self.end_pursuit(context, goal);
        }
        let changed = self.book.wish(*machine, Wish::Parted);
        self.store(context, *machine, changed);
        let session = self.sessions.get(machine).map(|session| session.connection);
        if let Some(key) = session {
            self.close(context, key, CloseCode::Bye);
        }
        session.is_some()
    }

    /// Ends all pursuits.
    pub(super) fn end_pursuits(&mut self, context: &mut Context<'_>) {
        while let Some((&goal, _)) = self.pursuits.first_key_value() {
            self.end_pursuit(context, goal);
        }
    }

    fn end_pursuit(&mut self, context: &mut Context<'_>, goal: Goal) {
        self.timers.cancel(&Timer::Pursue(goal));
        self.answer_waiters(context, goal, |_| Err(ConnectError::Cancelled));
        let attempt = self.pursuits.get(&goal).and_then(|pursuit| pursuit.attempt);
        self.drop_pursuit(context, goal);
        if let Some(key) = attempt {
            self.close(context, key, CloseCode::Bye);
        }
    }

    /// Tells whether an attempt to reach a machine is under way.
    pub(super) fn is_dialling(&self, machine: &MachineId) -> bool {
        self.pursuits.values().any(|p| p.machine == Some(*machine) && p.attempt.is_some())
    }

    /// The connections by which a machine is being dialled.
    pub(super) fn attempts(&self, machine: &MachineId) -> Vec<ConnectionKey> {
        let matching = self.pursuits.values().filter(|p| p.machine == Some(*machine));
        matching.filter_map(|pursuit| pursuit.attempt).collect()
    }

    /// An attempt ended; with a session if it was up.
    pub(super) fn attempt_ended(
        &mut self,
        context: &mut Context<'_>,
        goal: Goal,
        key: ConnectionKey,
        error: ConnectError,
    ) {
        let Some(pursuit) = self.pursuits.get_mut(&goal) else { return };
        if pursuit.attempt != Some(key) {
            return;
        }
        pursuit.attempt = None;
        pursuit.failures = pursuit.failures.saturating_add(1);
        if let (Goal::Machine(machine), Some(connection)) = (goal, self.connections.get(&key)) {
            self.book.failed(machine, connection.path.current().remote);
        }
        let machine = pursuit.machine;
        if let Some(machine) = machine.filter(|machine| self.sessions.contains_key(machine)) {
            let address = self.peer(&machine, true).map(|peer| peer.address);
            if let Some(address) = address {
                self.pursuits_reached(context, &machine, address);
            }
            return;
        }
        let is_final = match error {
            ConnectError::Refused(RefuseReason::Duplicate)
            | ConnectError::Timeout
            | ConnectError::WrongMachine => false,
            ConnectError::Refused(_)
            | ConnectError::OwnAddress
            | ConnectError::UnknownPeer
            | ConnectError::Cancelled => true,
        };
        if is_final {
            self.answer_waiters(context, goal, |_| Err(error));
        }
        if error == ConnectError::OwnAddress {
            return self.drop_pursuit(context, goal);
        }
        self.pause(context, goal);
    }

    /// A session came up: those who waited for it are answered.
    pub(super) fn pursuits_reached(
        &mut self,
        context: &mut Context<'_>,
        machine: &MachineId,
        address: SocketAddr,
    ) {
        for goal in self.goals_of(machine).into_iter().chain([Goal::Address(address)]) {
            let Some(pursuit) = self.pursuits.get_mut(&goal) else { continue };
            pursuit.machine = Some(*machine);
            pursuit.failures = 0;
            let attempt = pursuit.attempt.filter(|key| {
                self.connections.get(key).is_none_or(|c| matches!(c.phase, Phase::Up | Phase::Over))
            });
            if attempt.is_some() {
                pursuit.attempt = None;
            }
            pursuit.wanted_until = None;
            let is_for_reach = std::mem::take(&mut pursuit.is_for_reach);
            let (keep, is_alone) = (pursuit.keep, !pursuit.keep && pursuit.waiters.is_empty());
            if let Some(session) = self.sessions.get_mut(machine) {
                session.is_for_reach |= is_for_reach && is_alone;
            }
            if !is_alone {
                self.name(context, *machine, keep);
            }
            self.timers.cancel(&Timer::Pursue(goal));
            self.answer_waiters(context, goal, |state| {
                let mut peer = state.peer(machine, false).ok_or(ConnectError::Timeout)?;
                peer.already = false;
                Ok(peer)
            });
            let is_over = |pursuit: &Pursuit| !pursuit.keep && pursuit.attempt.is_none();
            if self.pursuits.get(&goal).is_some_and(is_over) {
                self.pursuits.remove(&goal);
            }
        }
    }

    /// A session went down: those who keep it try again soon.
    pub(super) fn pursue_again(&mut self, context: &mut Context<'_>, machine: &MachineId) {
        for goal in self.goals_of(machine) {
            self.pause(context, goal);
        }
    }

    pub(super) fn give_up_waiting(
        &mut self,
        context: &mut Context<'_>,
        goal: Goal,
        request: RequestId,
    ) {
        let Some(pursuit) = self.pursuits.get_mut(&goal) else { return };
        pursuit.waiters.retain(|waiter| *waiter != request);
        context.emit(Output::ConnectEnded { request, result: Err(ConnectError::Timeout) });
        if !pursuit.is_wanted(context.now) && pursuit.attempt.is_none() {
            self.drop_pursuit(context, goal);
        }
    }

    /// Lets some time pass before the next attempt, or ends the pursuit if nobody wants it.
    pub(super) fn pause(&mut self, context: &mut Context<'_>, goal: Goal) {
        let Some(pursuit) = self.pursuits.get_mut(&goal) else { return };
        if pursuit.attempt.is_some() {
            return;
        }
        if !pursuit.is_wanted(context.now) {
            return self.drop_pursuit(context, goal);
        }
        let doublings = pursuit.failures.saturating_sub(1).min(16);
        let full =
            (self.config.redial_pause_min * (1 << doublings)).min(self.config.redial_pause_max);
        // Between three and five quarters of it.
        let quarter = u64::try_from(full.as_micros() / 4).unwrap_or(u64::MAX / 8).max(1);
        let pause = Duration::from_micros(3 * quarter + context.rng.below(2 * quarter));
        self.timers.set(Timer::Pursue(goal), context.now + pause);
    }

    /// Ends a pursuit that nobody wants. What it was to find out is told.
    pub(super) fn drop_pursuit(&mut self, context: &mut Context<'_>, goal: Goal) {
        self.timers.cancel(&Timer::Pursue(goal));
        let Some(pursuit) = self.pursuits.remove(&goal) else { return };
        if let Some(machine) = pursuit.machine.filter(|_| pursuit.is_for_reach) {
            self.book.forget_hearsay(&machine);
            context.emit(Output::Unreached { machine });
        }
    }

    fn answer_waiters(
        &mut self,
        context: &mut Context<'_>,
        goal: Goal,
        result: impl Fn(&Self) -> Result<super::PeerLink, ConnectError>,
    ) {
        let waiters = match self.pursuits.get_mut(&goal) {
            Some(pursuit) => std::mem::take(&mut pursuit.waiters),
            None => return,
        };
        for request in waiters {
            self.timers.cancel(&Timer::Waiter(goal, request));
            context.emit(Output::ConnectEnded { request, result: result(self) });
        }
    }

    /// The application asked for a machine.
    fn name(&mut self, context: &mut Context<'_>, machine: MachineId, keep: bool) {
        let changed = self.book.ask(machine, keep);
        self.store(context, machine, changed);
    }

    fn goals_of(&self, machine: &MachineId) -> Vec<Goal> {
        let matching = self.pursuits.iter().filter(|(_, p)| p.machine == Some(*machine));
        matching.map(|(goal, _)| *goal).collect()
    }

    fn goal_of(
        &mut self,
        context: &mut Context<'_>,
        target: DialTarget,
    ) -> Result<Goal, ConnectError> {
        let machine = match target {
            DialTarget::Address(address) => return Ok(Goal::Address(address)),
            DialTarget::MachineAt(machine, address) => {
                let changed = self.book.name(machine, Some(address));
                self.store(context, machine, changed);
                machine
            }
            DialTarget::Machine(machine) => machine,
            DialTarget::Agent(agent) => self.book.home(&agent).ok_or(ConnectError::UnknownPeer)?,
        };
        let known = self.sessions.contains_key(&machine) || self.book.knows(&machine);
        if known { Ok(Goal::Machine(machine)) } else { Err(ConnectError::UnknownPeer) }
    }
}

impl Pursuit {
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        self.keep || !self.waiters.is_empty() || self.wanted_until.is_some_and(|until| until > now)
    }
}
