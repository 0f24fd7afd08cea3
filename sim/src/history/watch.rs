//! What a world tells its history.

use std::time::Duration;

use super::History;
use crate::{Machine, NodeId, Step, World};

impl<M: Machine> World<M> {
    /// Keeps what happens from here on, for [`page`](super::page()). It is meant for a world that is
    /// new: what was before is not seen.
    pub fn keep_history(&mut self) {
        let configs = self.nodes().map(|node| self.node_config(node));
        let ids = configs.map(|config| (config.machine_key.id(), config.agent_key.id()));
        self.history = Some(Box::new(History::new(ids)));
    }

    /// Tells the history something, if there is one.
    pub(crate) fn tell(&mut self, tell: impl FnOnce(&mut History, Duration)) {
        if let Some(history) = &mut self.history {
            tell(history, self.now);
        }
    }

    /// Has the history look at the counters before anything happens at this time.
    pub(crate) fn tell_time(&mut self) {
        if let Some(history) = &mut self.history {
            history.look(self.now, &self.network.counters);
        }
    }

    /// Tells the history that a step is done, and what it changes.
    pub(crate) fn tell_step(&mut self, step: &Step) {
        // A step that is played comes at its time without having been planned.
        self.tell_time();
        if self.history.is_some() && self.changes(step) {
            self.tell(|history, now| history.step(now, step));
        }
    }

    /// Tells whether a step changes something. What is asked at the end of all faults mostly does
    /// not.
    fn changes(&self, step: &Step) -> bool {
        let runs = |node: &NodeId| self.machine(*node).is_some();
        match step {
            Step::Crash { node } => runs(node),
            Step::Sleep { node, .. } => self.is_awake(*node),
            Step::Wake { node } => runs(node) && !self.is_awake(*node),
            Step::SetDisk { node, profile } => self.disk_profile(*node) != profile,
            Step::SetInterface { node, socket, is_up } => {
                self.interface_is_up(*node, *socket).is_some_and(|was_up| was_up != *is_up)
            }
            Step::Command { .. }
            | Step::Restart { .. }
            | Step::Upgrade { .. }
            | Step::SetLink { .. }
            | Step::SetEveryLink { .. }
            | Step::SetDirection { .. }
            | Step::SetPassage { .. }
            | Step::Partition { .. }
            | Step::Heal { .. }
            | Step::MoveSocket { .. }
            | Step::Roam { .. }
            | Step::ResetNat { .. }
            | Step::SetClock { .. }
            | Step::Calm
            | Step::Expect(_)
            | Step::Inject { .. } => true,
        }
    }
}
