//! The dialer: what makes a node dial, and when it dials again.
//!
//! A *dial request* has a destination, an address or a machine, and lasts while anybody wants it: a
//! caller that waits for the session, an application that keeps it up, a message that waits for the
//! peer, or a protocol. It dials one address at a time, tries those of a machine in turn, and pauses
//! longer after each failure, up to a limit, with jitter so that nodes do not dial in step.
//!
//! # How it is driven
//!
//! Requests begin with `Dialer::connect`, `Dialer::dial_agent`, `Dialer::dial_for`,
//! `Dialer::bootstrap` and `Dialer::resume`. The owner reports how connections go on
//! (`Dialer::identified`, `Dialer::session_up`, `Dialer::session_ended`,
//! `Dialer::attempt_ended`) and closes the connections that are returned.
//!
//! # Invariants
//!
//! - Each [`Output::ConnectEnded`] answers one `Dialer::connect`, and each of these is answered
//!   once. A `Dialer::dial_for` without a session is answered by [`Output::DialFailed`].
//! - A machine that is known to have a session is not dialled.
//!
//! # Limits
//!
//! [`DIALS_MAX`], [`WAITERS_MAX`], [`RESUMED_MAX`] and those of [`hearsay`].

mod destination;
pub mod hearsay;
mod request;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::book::Book;
use super::connection::Phase;
use super::connections::Connections;
use super::sessions::Sessions;
use super::{
    ConnectError, Context, Counter, LinkConfig, Output, PeerLink, RefuseReason, RequestId, Timer,
};
use crate::identity::{AgentId, MachineId};
use crate::support::Timers;
use crate::transport::ConnectionKey;
pub(super) use destination::Destination;
pub use destination::DialTarget;
pub(super) use hearsay::HearsayDials;
use request::{DialRequest, Next};

/// The most dial requests of a node.
pub const DIALS_MAX: usize = 4096;

/// The most callers that wait for all dial requests together.
pub const WAITERS_MAX: usize = 4096;

/// The most machines that are not kept and are dialled when a node starts.
pub const RESUMED_MAX: usize = 8;

/// The pause before each dial when a node starts: the application may ask for the same machines.
const RESUME_INTERVAL: Duration = Duration::from_millis(250);

/// How many machines [`Dialer::bootstrap`] dials at once, and with how many sessions it dials none.
const BOOTSTRAP_MAX: usize = 4;

/// How long a dial request lasts that only a message, or the start of the node, wants.
const WANTED_TIME: Duration = Duration::from_secs(30);

/// How long a dial waits that may not begin yet.
const DELAY: Duration = Duration::from_secs(1);

/// A caller that waits for a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) request: RequestId,
    /// Whether the session is kept up from now on.
    pub(super) keep: bool,
    pub(super) timeout: Duration,
}

/// The dial requests of a node.
#[derive(Debug)]
pub(super) struct Dialer {
    own: MachineId,
    dial_timeout: Duration,
    pause_min: Duration,
    pause_max: Duration,
    /// The peers that can be dialled.
    pub(super) book: Book,
    requests: BTreeMap<Destination, DialRequest>,
    pub(super) hearsay: HearsayDials,
    pub(super) timers: Timers<Timer>,
}

impl Dialer {
    pub(super) fn new(own: MachineId, config: &LinkConfig, now: Instant) -> Self {
        Self {
            own,
            dial_timeout: config.dial_timeout,
            pause_min: config.redial_pause_min,
            pause_max: config.redial_pause_max,
            book: Book::new(),
            requests: BTreeMap::new(),
            hearsay: HearsayDials::new(now),
            timers: Timers::default(),
        }
    }

    /// Returns how many dial requests there are.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns whether one more caller has room.
    pub(super) fn has_room(&self) -> bool {
        let waiters: usize = self.requests.values().map(|request| request.waiters.len()).sum();
        self.requests.len() < DIALS_MAX && waiters < WAITERS_MAX
    }

    /// A caller asks for a session.
    pub(super) fn connect(
        &mut self,
        context: &mut Context<'_>,
        sessions: &mut Sessions,
        connections: &mut Connections,
        target: DialTarget,
        caller: Caller,
    ) {
        let Caller { request, keep, timeout } = caller;
        let Some(destination) = self.destination(context, sessions, target) else {
            let result = Err(ConnectError::UnknownPeer);
            return context.emit(Output::ConnectEnded { request, result });
        };
        let known = self.requests.get(&destination).and_then(|request| request.machine);
        let machine = known.or_else(|| destination.machine());
        let present = machine.and_then(|machine| sessions.peer(connections, &machine, true));
        let present = present.or_else(|| {
            let mut peers = sessions.peers(connections);
            peers.find(|peer| Destination::Address(peer.address) == destination)
        });
        if let Some(peer) = present {
            if keep {
                let request = self.requests.entry(Destination::Machine(peer.machine)).or_default();
                request.keep = true;
                request.machine = Some(peer.machine);
            }
            self.book.requested(context, peer.machine, keep);
            if let Some(session) = sessions.get_mut(&peer.machine) {
                session.is_releasable = false;
            }
            return context.emit(Output::ConnectEnded { request, result: Ok(peer) });
        }
        if let Some(machine) = machine {
            self.book.requested(context, machine, keep);
        }
        let dial = self.requests.entry(destination).or_default();
        dial.machine = machine;
        dial.keep |= keep;
        dial.waiters.push(request);
        if let DialTarget::MachineAt(_, address) = target {
            dial.named = Some(address);
        }
        // A time that no clock can show never comes.
        if let Some(at) = context.now.checked_add(timeout) {
            self.timers.set(Timer::Waiter(destination, request), at);
        }
        if dial.attempt.is_none() {
            self.dial(context, sessions, connections, destination);
        }
    }

    /// A message waits for an agent: dials its machine for a while.
    pub(super) fn dial_agent(
        &mut self,
        context: &mut Context<'_>,
        sessions: &Sessions,
        connections: &mut Connections,
        agent: AgentId,
    ) {
        let machine =
            self.book.addresses.machine_of(&agent).filter(|_| self.requests.len() < DIALS_MAX);
        // An agent whose machine has a session has moved away from it.
        let Some(machine) = machine.filter(|machine| !sessions.contains(machine)) else {
            return context.emit(Output::NoRoute { agent });
        };
        let destination = Destination::Machine(machine);
        let dial = self.requests.entry(destination).or_default();
        dial.machine = Some(machine);
        dial.wanted_until = Some(context.now + WANTED_TIME);
        if dial.attempt.is_none() {
            self.dial(context, sessions, connections, destination);
        }
    }

    /// A protocol wants a session with a machine, perhaps at an address that a peer named: dials it
    /// for a while.
    pub(super) fn dial_for(
        &mut self,
        context: &mut Context<'_>,
        sessions: &Sessions,
        connections: &mut Connections,
        (machine, address): (MachineId, Option<SocketAddr>),
    ) {
        let is_possible =
            machine != self.own && self.requests.len() < DIALS_MAX && !sessions.contains(&machine);
        if let Some(address) = address
            && is_possible
            && hearsay::can_be_another_host(address, &connections.sockets)
        {
            self.book.addresses.note_hearsay(machine, address);
        }
        if !is_possible || !self.book.addresses.has_address(&machine) {
            return context.emit(Output::DialFailed { machine });
        }
        let destination = Destination::Machine(machine);
        let dial = self.requests.entry(destination).or_default();
        dial.machine = Some(machine);
        dial.is_for_protocol = true;
        let until = context.now + self.dial_timeout;
        dial.wanted_until = dial.wanted_until.max(Some(until));
        if dial.attempt.is_none() {
            self.dial(context, sessions, connections, destination);
        }
    }

    /// Dials some machines that had a session before, unless there are sessions enough.
    pub(super) fn bootstrap(
        &mut self,
        context: &mut Context<'_>,
        sessions: &Sessions,
        connections: &mut Connections,
    ) {
        if sessions.len() >= BOOTSTRAP_MAX {
            return;
        }
        let mut known = self.book.addresses.reached();
        known.retain(|machine| !sessions.contains(machine));
        for _ in 0..BOOTSTRAP_MAX.min(known.len()) {
            let count = u64::try_from(known.len()).unwrap_or(u64::MAX);
            let index = usize::try_from(context.rng.below(count)).unwrap_or(0);
            let machine = known.swap_remove(index);
            self.dial_for(context, sessions, connections, (machine, None));
        }
    }

    /// Dials the machines of an earlier run: those that are kept, for as long as it takes, and
    /// [`RESUMED_MAX`] of the others, the most valuable ones, for a while. One dial begins every
    /// [`RESUME_INTERVAL`].
    pub(super) fn resume(&mut self, now: Instant) {
        let (kept, others) = (self.book.addresses.kept(), self.book.addresses.most_valuable());
        let kept = kept.into_iter().map(|machine| (machine, true));
        let others = others.into_iter().take(RESUMED_MAX).map(|machine| (machine, false));
        let mut at = now;
        for (machine, keep) in kept.chain(others).take(DIALS_MAX) {
            at += RESUME_INTERVAL;
            let destination = Destination::Machine(machine);
            let dial = self.requests.entry(destination).or_default();
            dial.machine = Some(machine);
            dial.keep = keep;
            dial.wanted_until = Some(at + WANTED_TIME);
            self.timers.set(Timer::Redial(destination), at);
        }
    }

    /// Returns whether the application keeps the session with a machine up.
    pub(super) fn is_kept(&self, machine: &MachineId) -> bool {
        let dial = self.requests.get(&Destination::Machine(*machine));
        dial.is_some_and(|request| request.keep)
    }

    /// Returns whether a machine is being dialled.
    pub(super) fn is_dialling(&self, machine: &MachineId) -> bool {
        self.attempts(machine).next().is_some()
    }

    /// Returns the connections by which a machine is being dialled.
    pub(super) fn attempts(&self, machine: &MachineId) -> impl Iterator<Item = ConnectionKey> {
        let machine = *machine;
        let matching = self.requests.values().filter(move |one| one.machine == Some(machine));
        matching.filter_map(|request| request.attempt)
    }

    /// Returns the destinations that turned out to be a machine.
    pub(super) fn destinations(&self, machine: &MachineId) -> Vec<Destination> {
        let matching = self.requests.iter().filter(|(_, one)| one.machine == Some(*machine));
        matching.map(|(destination, _)| *destination).collect()
    }

    /// Returns the first destination.
    pub(super) fn first(&self) -> Option<Destination> {
        self.requests.first_key_value().map(|(destination, _)| *destination)
    }

    /// Ends a dial request. Returns the connection to close.
    pub(super) fn cancel(
        &mut self,
        context: &mut Context<'_>,
        destination: Destination,
    ) -> Option<ConnectionKey> {
        self.timers.cancel(&Timer::Redial(destination));
        self.answer_waiters(context, destination, || Err(ConnectError::Cancelled));
        let attempt = self.requests.get(&destination).and_then(|request| request.attempt);
        self.drop_request(context, destination);
        attempt
    }

    /// TLS proved which machine answered at a destination.
    pub(super) fn identified(&mut self, destination: Option<Destination>, machine: MachineId) {
        if let Some(dial) = destination.and_then(|key| self.requests.get_mut(&key)) {
            dial.machine = Some(machine);
        }
    }

    /// A session came up: answers those who waited for it.
    pub(super) fn session_up(
        &mut self,
        context: &mut Context<'_>,
        sessions: &mut Sessions,
        connections: &Connections,
        (machine, address): (MachineId, SocketAddr),
    ) {
        for destination in
            self.destinations(&machine).into_iter().chain([Destination::Address(address)])
        {
            let Some(dial) = self.requests.get_mut(&destination) else { continue };
            dial.machine = Some(machine);
            dial.failures = 0;
            let is_decided = |key| {
                connections.phase(key).is_none_or(|phase| matches!(phase, Phase::Up | Phase::Over))
            };
            if dial.attempt.is_some_and(is_decided) {
                dial.attempt = None;
            }
            dial.wanted_until = None;
            let is_for_protocol = std::mem::take(&mut dial.is_for_protocol);
            let (keep, is_alone) = (dial.keep, !dial.keep && dial.waiters.is_empty());
            if let Some(session) = sessions.get_mut(&machine) {
                session.is_releasable |= is_for_protocol && is_alone;
            }
            if !is_alone {
                self.book.requested(context, machine, keep);
            }
            self.timers.cancel(&Timer::Redial(destination));
            self.answer_waiters(context, destination, || {
                sessions.peer(connections, &machine, false).ok_or(ConnectError::Timeout)
            });
            let is_over = |dial: &DialRequest| !dial.keep && dial.attempt.is_none();
            if self.requests.get(&destination).is_some_and(is_over) {
                self.requests.remove(&destination);
            }
        }
    }

    /// A session went down: those who keep it dial again soon.
    pub(super) fn session_ended(
        &mut self,
        context: &mut Context<'_>,
        (machine, address): (MachineId, SocketAddr),
    ) {
        self.book.session_ended(context, (machine, address));
        for destination in self.destinations(&machine) {
            self.pause(context, destination);
        }
    }

    /// The connection of a dial is over. It had a session if it was up.
    pub(super) fn attempt_ended(
        &mut self,
        context: &mut Context<'_>,
        sessions: &mut Sessions,
        connections: &Connections,
        (destination, key): (Destination, ConnectionKey),
        error: ConnectError,
    ) {
        let Some(dial) = self.requests.get_mut(&destination) else { return };
        if dial.attempt != Some(key) {
            return;
        }
        dial.attempt = None;
        dial.failures = dial.failures.saturating_add(1);
        if let (Destination::Machine(machine), Some(remote)) =
            (destination, connections.remote(key))
        {
            self.book.addresses.dial_failed(machine, remote);
        }
        if let Some(machine) = dial.machine
            && sessions.contains(&machine)
        {
            let remote = sessions.connection(&machine).and_then(|key| connections.remote(key));
            if let Some(remote) = remote {
                self.session_up(context, sessions, connections, (machine, remote));
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
            self.answer_waiters(context, destination, || Err(error));
        }
        if error == ConnectError::OwnAddress {
            return self.drop_request(context, destination);
        }
        self.pause(context, destination);
    }

    /// A caller has waited long enough.
    pub(super) fn waiter_expired(
        &mut self,
        context: &mut Context<'_>,
        destination: Destination,
        request: RequestId,
    ) {
        let Some(dial) = self.requests.get_mut(&destination) else { return };
        dial.waiters.retain(|waiter| *waiter != request);
        context.emit(Output::ConnectEnded { request, result: Err(ConnectError::Timeout) });
        if !dial.is_wanted(context.now) && dial.attempt.is_none() {
            self.drop_request(context, destination);
        }
    }

    /// Dials, if a request is still wanted and has an address to dial.
    pub(super) fn dial(
        &mut self,
        context: &mut Context<'_>,
        sessions: &Sessions,
        connections: &mut Connections,
        destination: Destination,
    ) {
        let Some(dial) = self.requests.get_mut(&destination) else { return };
        let has_session = dial.machine.is_some_and(|machine| sessions.contains(&machine));
        if dial.attempt.is_some() || has_session {
            return;
        }
        if !dial.is_wanted(context.now) {
            return self.drop_request(context, destination);
        }
        let next = match destination {
            Destination::Address(address) => Next::Dial(address, false),
            Destination::Machine(machine) => {
                let hearsay = &mut self.hearsay;
                let may_dial = |address| hearsay.take(address, context.now);
                dial.next_address(&self.book.addresses.candidates(&machine), may_dial)
            }
        };
        if next == Next::Wait {
            context.count(Counter::DialsDelayed);
        }
        let (address, is_hearsay) = match next {
            Next::Dial(address, is_hearsay) if !self.is_dialled(destination, address) => {
                (address, is_hearsay)
            }
            Next::Dial(..) | Next::Wait => {
                return self.timers.set(Timer::Redial(destination), context.now + DELAY);
            }
            Next::Nothing => return self.pause(context, destination),
        };
        let dialled = connections.dial(context.now, address, destination, self.dial_timeout);
        let Some(key) = dialled else { return self.pause(context, destination) };
        context.count(Counter::Dials);
        if is_hearsay {
            self.hearsay.began(key, address);
        }
        if let Some(dial) = self.requests.get_mut(&destination) {
            dial.attempt = Some(key);
        }
    }

    /// Returns the destination of a target; `None` if no address of it is known.
    fn destination(
        &mut self,
        context: &mut Context<'_>,
        sessions: &Sessions,
        target: DialTarget,
    ) -> Option<Destination> {
        let machine = match target {
            DialTarget::Address(address) => return Some(Destination::Address(address)),
            DialTarget::MachineAt(machine, address) => {
                self.book.name(context, machine, address);
                machine
            }
            DialTarget::Machine(machine) => machine,
            DialTarget::Agent(agent) => self.book.addresses.machine_of(&agent)?,
        };
        let is_known = sessions.contains(&machine) || self.book.addresses.has_address(&machine);
        is_known.then_some(Destination::Machine(machine))
    }

    /// Returns whether the address of a machine is being dialled already, to find out which machine
    /// answers there.
    fn is_dialled(&self, destination: Destination, address: SocketAddr) -> bool {
        let other = Destination::Address(address);
        destination != other && self.requests.get(&other).is_some_and(|one| one.attempt.is_some())
    }

    /// Pauses before the next dial, or ends the request if nobody wants it.
    fn pause(&mut self, context: &mut Context<'_>, destination: Destination) {
        let Some(dial) = self.requests.get_mut(&destination) else { return };
        if dial.attempt.is_some() {
            return;
        }
        if !dial.is_wanted(context.now) {
            return self.drop_request(context, destination);
        }
        let full = dial.backoff(self.pause_min, self.pause_max);
        // Between three and five quarters of it.
        let quarter = u64::try_from(full.as_micros() / 4).unwrap_or(u64::MAX / 8).max(1);
        let pause = Duration::from_micros(3 * quarter + context.rng.below(2 * quarter));
        self.timers.set(Timer::Redial(destination), context.now + pause);
    }

    /// Ends a dial request that nobody wants, and reports its failure if a protocol waits for it.
    fn drop_request(&mut self, context: &mut Context<'_>, destination: Destination) {
        self.timers.cancel(&Timer::Redial(destination));
        let Some(dial) = self.requests.remove(&destination) else { return };
        if let Some(machine) = dial.machine.filter(|_| dial.is_for_protocol) {
            self.book.addresses.forget_hearsay(&machine);
            context.emit(Output::DialFailed { machine });
        }
    }

    fn answer_waiters(
        &mut self,
        context: &mut Context<'_>,
        destination: Destination,
        result: impl Fn() -> Result<PeerLink, ConnectError>,
    ) {
        let dial = self.requests.get_mut(&destination);
        let waiters = dial.map(|dial| std::mem::take(&mut dial.waiters)).unwrap_or_default();
        for request in waiters {
            self.timers.cancel(&Timer::Waiter(destination, request));
            context.emit(Output::ConnectEnded { request, result: result() });
        }
    }
}
