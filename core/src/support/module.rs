//! A module within its owner: its state, its generator, its counts and its outputs.

use std::time::{Duration, Instant};

use super::context::{NoTable, Vocabulary};
use super::{Context, Counts, Effect, Outbox, Rng, WriteTicket};

/// Both clocks at the moment of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// The monotonic time.
    pub now: Instant,
    /// The wall time, since the Unix epoch.
    pub unix_time: Duration,
}

impl Time {
    /// Returns what both clocks show at another moment, if they ran on alike. The wall time of an
    /// earlier moment is this one's.
    #[must_use]
    pub fn at(self, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.now);
        Self { now, unix_time: self.unix_time.saturating_add(passed) }
    }
}

/// One module, run by its owner.
#[derive(Debug)]
pub struct Module<State, Output: Vocabulary> {
    /// The module's state, for getters.
    pub state: State,
    rng: Rng,
    counts: Counts<Output::Counter>,
    outbox: Outbox<Output>,
}

impl<State, Output: Vocabulary> Module<State, Output> {
    /// Takes a state and the generator that is its alone.
    pub fn new(state: State, rng: Rng) -> Self {
        Self { state, rng, counts: Counts::default(), outbox: Outbox::default() }
    }

    /// Lets the module handle something.
    pub fn run<R>(
        &mut self,
        time: Time,
        handle: impl FnOnce(&mut State, &mut Context<'_, Output>) -> R,
    ) -> R {
        let mut context = Context::new(time, &mut self.rng, &mut self.counts, &mut self.outbox);
        handle(&mut self.state, &mut context)
    }

    /// Takes the module's oldest effect.
    pub fn pop(&mut self) -> Option<Effect<Output>> {
        self.outbox.pop()
    }

    /// Takes the oldest output of a module that keeps no records.
    pub fn pop_output(&mut self) -> Option<Output>
    where
        Output: Vocabulary<Table = NoTable>,
    {
        self.outbox.pop_output()
    }

    /// A write of the module is durable: the outputs that waited for it follow.
    pub fn stored(&mut self, write: WriteTicket) {
        self.outbox.stored(write);
    }

    /// Returns what the module counted.
    pub fn counts(&self) -> &Counts<Output::Counter> {
        &self.counts
    }
}
