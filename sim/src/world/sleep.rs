//! Hosts that freeze and go on.
//!
//! While a host sleeps, what arrives for it is lost, its application asks for nothing, and its timers
//! and the ends of its writes wait until it wakes. Links with it time out at the other end.

use std::time::Duration;

use super::World;
use crate::history::State;
use crate::queue::Pending;
use crate::{Machine, NodeId};

/// A host that sleeps.
#[derive(Debug)]
pub(super) struct Sleep {
    since: Duration,
    stops_clock: bool,
    /// Whether its sockets changed meanwhile.
    pub(super) network_changed: bool,
    /// What waits until it wakes.
    frozen: Vec<Pending>,
}

impl<M: Machine> World<M> {
    /// Freezes a host, if its node runs.
    pub(super) fn sleep(&mut self, node: NodeId, stops_clock: bool) {
        let host = &mut self.hosts[node.index()];
        if host.machine.is_none() || host.sleep.is_some() {
            return;
        }
        let since = self.now;
        host.sleep = Some(Sleep { since, stops_clock, network_changed: false, frozen: Vec::new() });
        host.timer.disarm();
        self.checks.slept(node);
        self.tell(|history, now| history.turn(now, node, State::Asleep));
    }

    /// Lets a host go on.
    pub(super) fn wake(&mut self, node: NodeId) {
        let host = &mut self.hosts[node.index()];
        let Some(sleep) = host.sleep.take() else { return };
        if sleep.stops_clock {
            host.clock.go_on(sleep.since, self.now);
        }
        let slept = self.now - sleep.since;
        self.checks.woke(node, slept);
        self.tell(|history, now| history.woke(now, node));
        for pending in sleep.frozen {
            self.queue.push(self.now, pending);
        }
        self.arm_again(node);
        if sleep.network_changed {
            // What is refused is counted.
            let _ = self.announce(node);
        }
    }

    /// Tells whether a host sleeps.
    pub(super) fn is_asleep(&self, node: NodeId) -> bool {
        self.hosts[node.index()].sleep.is_some()
    }

    /// Keeps an event for later, if the host sleeps. Tells whether it does.
    pub(super) fn freeze(&mut self, node: NodeId, pending: Pending) -> bool {
        let sleep = &mut self.hosts[node.index()].sleep;
        sleep.as_mut().map(|sleep| sleep.frozen.push(pending)).is_some()
    }
}
