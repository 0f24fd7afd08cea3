//! A module within its owner: its state, its generator and its outputs.

use std::time::{Duration, Instant};

use super::{Context, Counters, Outbox, Rng};

/// The times of the input that is being handled.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The monotonic time.
    pub now: Instant,
    /// The wall time, since the Unix epoch.
    pub unix_time: Duration,
}

/// One module, driven by its owner.
#[derive(Debug)]
pub struct Part<State, Output> {
    /// The module's state, for getters.
    pub state: State,
    rng: Rng,
    outbox: Outbox<Output>,
}

impl<State, Output> Part<State, Output> {
    /// Takes a state and the generator that is its alone.
    pub fn new(state: State, rng: Rng) -> Self {
        Self { state, rng, outbox: Outbox::default() }
    }

    /// Lets the module handle something.
    pub fn act<R>(
        &mut self,
        clock: Clock,
        counters: &mut Counters,
        handle: impl FnOnce(&mut State, &mut Context<'_, Output>) -> R,
    ) -> R {
        let mut context =
            Context::new(clock.now, clock.unix_time, &mut self.rng, counters, &mut self.outbox);
        handle(&mut self.state, &mut context)
    }

    /// Takes the module's oldest output.
    pub fn pop(&mut self) -> Option<Output> {
        self.outbox.pop()
    }
}
