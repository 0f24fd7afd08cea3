//! How the nodes are driven: what each event does, and what becomes of each output.

use std::time::Duration;

use bytes::BytesMut;
use x0x_core::node::{Batch, CommandError, Deadline, Event, Input, Load, Output, Time};
use x0x_core::transport::{Datagram, Transmit};

use super::{ClockProfile, Flight, Logged, Read, UNIX_BASE, World};
use crate::history::State;
use crate::network::{Arrivals, Verdict};
use crate::queue::Pending;
use crate::trace::Move;
use crate::{Machine, NodeId, Packet, checks};

/// After how many outputs in a row a node is taken to be in a loop.
const OUTPUTS_MAX: u32 = 1_000_000;

/// How many times nodes are drained between two looks at their limits.
const LOOK_EVERY: u64 = 64;

impl<M: Machine> World<M> {
    /// Lets an event happen.
    pub(super) fn process(&mut self, pending: Pending) {
        match pending {
            Pending::Arrival(slot) => {
                if let Some(flight) = self.flights.take(slot) {
                    self.arrive(flight);
                }
            }
            Pending::Timer { node, generation } => self.timer(node, generation),
            Pending::Stored { node, run } => {
                if !self.freeze(node, pending) {
                    self.stored(node, run);
                }
            }
            Pending::Loaded(slot) => self.loaded(slot),
            Pending::Step(slot) => {
                if let Some(step) = self.planned.take(slot) {
                    // What is refused is counted.
                    let _ = self.apply(step);
                }
            }
        }
    }

    /// Starts a node that does not run.
    pub(super) fn start(&mut self, node: NodeId) {
        self.trace.restart(self.now, node);
        let time = self.time_of(node);
        let host = &mut self.hosts[node.index()];
        host.run += 1;
        let seed = self.rng.fork(&format!("node {node} run {}", host.run)).bytes();
        match M::start(host.config.clone(), seed, host.disk.restored(), time) {
            Ok(machine) => {
                host.machine = Some(machine);
                self.tell(|history, now| history.turn(now, node, State::Running));
                self.drain(node);
            }
            Err(error) => self.checks.fail(self.now, Some(node), format!("no start: {error}")),
        }
    }

    /// Stops a node, if it runs.
    pub(super) fn crash(&mut self, node: NodeId) {
        let host = &mut self.hosts[node.index()];
        if host.machine.take().is_none() {
            return;
        }
        self.trace.crash(self.now, node);
        // Completions of this run that are under way must not reach the next.
        host.run += 1;
        host.disk.crash(&mut self.crash_rng);
        host.deadline = None;
        host.sleep = None;
        host.timer.disarm();
        self.checks.tally.crashes += 1;
        self.checks.stopped(node);
        self.tell(|history, now| history.turn(now, node, State::Down));
    }

    /// Changes the clocks of a host.
    pub(super) fn set_clock(&mut self, node: NodeId, profile: ClockProfile) {
        let host = &mut self.hosts[node.index()];
        let before = host.clock.wall(UNIX_BASE);
        let was_wrong = host.clock.is_wrong();
        host.clock.set(self.now, profile);
        if was_wrong || host.clock.is_wrong() {
            self.checks.clock_is_wrong(node);
        }
        if host.clock.wall(UNIX_BASE) < before {
            self.checks.clock_went_back(node);
        }
        if !self.is_asleep(node) {
            self.hosts[node.index()].timer.disarm();
            self.arm_again(node);
        }
    }

    /// Lets a datagram arrive at its target at a time.
    pub(super) fn deliver_at(&mut self, at: Duration, flight: Flight) {
        let slot = self.flights.insert(flight);
        self.queue.push(at, Pending::Arrival(slot));
    }

    /// Takes everything that a node wants to do. Returns how much that was.
    pub(super) fn drain(&mut self, node: NodeId) -> u32 {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut outputs = 0;
        loop {
            buffer.clear();
            let Some(machine) = self.hosts[node.index()].machine.as_mut() else { break };
            match machine.poll_output(&mut buffer) {
                Output::Transmit(transmit) => self.transmit(node, transmit, &buffer),
                Output::Store(batch) => self.store(node, batch),
                Output::Load(load) => self.load(node, &load),
                Output::Event(event) => self.event(node, event),
                Output::Settled => continue,
                Output::Idle { deadline } => {
                    self.arm(node, deadline);
                    break;
                }
            }
            outputs += 1;
            if outputs == OUTPUTS_MAX {
                self.checks.fail(self.now, Some(node), "the outputs do not end".into());
                break;
            }
        }
        self.buffer = buffer;
        self.look(node);
        outputs
    }

    /// Looks now and then whether a node keeps its own limits.
    fn look(&mut self, node: NodeId) {
        self.looks = self.looks.wrapping_add(1);
        if !self.looks.is_multiple_of(LOOK_EVERY) || !self.checks.is_honest(node) {
            return;
        }
        if let Some(what) = self.machine(node).and_then(Machine::over_limit) {
            self.checks.fail(self.now, Some(node), format!("over its limit: {what}"));
        }
    }

    fn input(&mut self, node: NodeId, input: Input) {
        if let Err(error) = self.hand_over(node, input) {
            self.checks.fail(self.now, Some(node), format!("an input failed: {error}"));
        }
        self.drain(node);
    }

    /// Hands an input to a node that runs.
    pub(super) fn hand_over(&mut self, node: NodeId, input: Input) -> Result<(), CommandError> {
        let time = self.time_of(node);
        let Some(machine) = self.hosts[node.index()].machine.as_mut() else { return Ok(()) };
        machine.handle(time, input)
    }

    /// Returns what both clocks of a host show.
    pub(super) fn time_of(&self, node: NodeId) -> Time {
        let unix_time = self.hosts[node.index()].clock.wall(UNIX_BASE + self.now);
        Time { now: self.instant(node), unix_time }
    }

    fn arrive(&mut self, flight: Flight) {
        let Flight { realm, mut packet } = flight;
        self.trace.datagram(self.now, Move::Arrived, &packet);
        let Some(node) = self.network.receive(self.now, realm, &mut packet) else { return };
        let host = &self.hosts[node.index()];
        if host.sleep.is_some() {
            self.network.counters.asleep += 1;
            return;
        }
        let mut sockets = host.sockets.iter().filter(|socket| socket.is_up);
        let socket = sockets.find(|socket| socket.public == packet.target);
        let Some(local) = socket.filter(|_| host.machine.is_some()).map(|socket| socket.local)
        else {
            self.network.counters.unreachable += 1;
            return;
        };
        self.network.counters.delivered += 1;
        self.tell(|history, _| history.arrived(node));
        let Packet { source, ecn, payload, .. } = packet;
        self.input(node, Input::Datagram(Datagram { source, local, ecn, payload }));
    }

    fn timer(&mut self, node: NodeId, generation: u32) {
        let now = self.now;
        let host = &mut self.hosts[node.index()];
        if host.timer.generation != generation {
            return;
        }
        host.timer.armed = None;
        let Some(due) = host.deadline.map(|deadline| host.clock.world(deadline)) else { return };
        if due > now {
            self.push_timer(node, due);
            return;
        }
        if host.machine.is_some() {
            self.input(node, Input::Timeout);
        }
    }

    fn stored(&mut self, node: NodeId, run: u32) {
        let host = &mut self.hosts[node.index()];
        if host.run == run
            && let Some((id, result)) = host.disk.complete()
        {
            self.input(node, Input::Stored(id, result));
        }
    }

    fn loaded(&mut self, slot: crate::queue::Slot) {
        let Some(read) = self.reads.take(slot) else { return };
        let node = read.node;
        if self.is_asleep(node) {
            let slot = self.reads.insert(read);
            self.freeze(node, Pending::Loaded(slot));
        } else if self.hosts[node.index()].run == read.run {
            self.input(node, Input::Loaded(read.id, read.result));
        }
    }

    fn arm(&mut self, node: NodeId, deadline: Option<Deadline>) {
        let local = deadline.map(|deadline| deadline.at.saturating_duration_since(self.anchor));
        let host = &mut self.hosts[node.index()];
        host.deadline = local;
        let Some((local, timer)) = local.zip(deadline.map(|deadline| deadline.timer)) else {
            return;
        };
        let due = host.clock.world(local);
        if due <= self.now && self.checks.is_honest(node) {
            let what = format!("idle with a deadline that has passed: {timer} at {due:?}");
            self.checks.fail(self.now, Some(node), what);
        }
        self.push_timer(node, due.max(self.now));
    }

    /// Sets the timer of a node again, after its clock changed or stood still.
    pub(super) fn arm_again(&mut self, node: NodeId) {
        let host = &self.hosts[node.index()];
        if let Some(local) = host.deadline {
            let due = host.clock.world(local);
            self.push_timer(node, due.max(self.now));
        }
    }

    fn push_timer(&mut self, node: NodeId, at: Duration) {
        if let Some(generation) = self.hosts[node.index()].timer.arm(at) {
            self.queue.push(at, Pending::Timer { node, generation });
        }
    }

    fn transmit(&mut self, node: NodeId, transmit: Transmit, buffer: &[u8]) {
        let Transmit { target, local, ecn, size, segment_size } = transmit;
        let segment = segment_size.unwrap_or(size);
        if size == 0 || size > buffer.len() || segment == 0 {
            let what = format!("a transmit of {} buffered bytes: {transmit:?}", buffer.len());
            self.checks.fail(self.now, Some(node), what);
            return;
        }
        let host = &self.hosts[node.index()];
        let mut sockets = host.sockets.iter().filter(|socket| socket.is_up);
        let source = sockets.find(|socket| socket.local == local).map(|s| (s.public, s.nat));
        for payload in buffer[..size].chunks(segment) {
            self.network.counters.sent += 1;
            self.network.counters.sent_bytes += payload.len() as u64;
            if let Some(history) = &mut self.history {
                history.sent(node, payload.len());
            }
            if self.config.marked && checks::shows_marker(payload) {
                self.checks.fail(self.now, Some(node), "a datagram shows a secret".into());
            }
            if let Some((source, nat)) = source {
                let payload = BytesMut::from(payload);
                let packet = Packet { source, target, ecn, payload };
                self.send(node, Flight { realm: nat, packet });
            } else {
                self.network.counters.unreachable += 1;
            }
        }
    }

    fn send(&mut self, node: NodeId, mut flight: Flight) {
        self.trace.datagram(self.now, Move::Sent, &flight.packet);
        let verdict = self.interceptor.as_mut().map_or(Verdict::Pass, |interceptor| {
            interceptor(self.now, &mut flight.packet, &mut self.injected)
        });
        if !self.injected.is_empty() {
            let mut injected = std::mem::take(&mut self.injected);
            for (delay, packet) in injected.drain(..) {
                self.deliver_at(self.now + delay, Flight { realm: None, packet });
            }
            self.injected = injected;
        }
        match verdict {
            Verdict::Pass => self.cross(node, flight),
            Verdict::Drop => self.network.counters.intercepted += 1,
            Verdict::Duplicate => {
                let Flight { realm, packet } = &flight;
                self.cross(node, Flight { realm: *realm, packet: packet.clone() });
                self.cross(node, flight);
            }
        }
    }

    fn cross(&mut self, node: NodeId, flight: Flight) {
        let Flight { realm, mut packet } = flight;
        let arrivals = self.network.send(self.now, node, realm, &mut packet);
        let Arrivals { first, second, realm } = arrivals;
        if let Some(at) = second {
            self.deliver_at(at, Flight { realm, packet: packet.clone() });
        }
        if let Some(at) = first {
            self.deliver_at(at, Flight { realm, packet });
        }
    }

    fn store(&mut self, node: NodeId, batch: Batch) {
        let id = batch.id;
        let host = &mut self.hosts[node.index()];
        let run = host.run;
        if let Some(at) = host.disk.submit(self.now, batch) {
            self.queue.push(at, Pending::Stored { node, run });
        } else {
            self.checks.fail(self.now, Some(node), format!("batch {} is out of order", id.0));
        }
    }

    fn load(&mut self, node: NodeId, load: &Load) {
        let host = &self.hosts[node.index()];
        let (latency, result) = host.disk.load(load);
        let slot = self.reads.insert(Read { node, run: host.run, id: load.id, result });
        self.queue.push(self.now + latency, Pending::Loaded(slot));
    }

    fn event(&mut self, node: NodeId, event: Event) {
        let disk_fails = self.hosts[node.index()].disk_fails;
        self.checks.event(self.now, node, &event, disk_fails);
        self.tell(|history, now| history.event(now, node, &event));
        if self.config.record_events {
            self.events.push(Logged { at: self.now, node, event });
        }
    }
}
