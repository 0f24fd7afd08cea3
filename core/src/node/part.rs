//! A module within the node: its state, its generator and its outputs.

use std::time::{Duration, Instant};

use crate::support::{Context, Counters, Outbox, Rng};

/// The times of the input that is being handled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: Instant,
    pub(super) unix_time: Duration,
}

/// One module.
#[derive(Debug)]
pub(super) struct Part<State, Output> {
    pub(super) state: State,
    rng: Rng,
    outbox: Outbox<Output>,
}

impl<State, Output> Part<State, Output> {
    pub(super) fn new(state: State, rng: Rng) -> Self {
        Self { state, rng, outbox: Outbox::default() }
    }

    /// Lets the module handle something.
    pub(super) fn act<R>(
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
    pub(super) fn pop(&mut self) -> Option<Output> {
        self.outbox.pop()
    }
}
