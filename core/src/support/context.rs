//! The two views of one outbox: a module may only push, its owner may only pop.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Counter, Counters, Rng};

/// What a module acts through while it handles one input.
///
/// `Output` is the module's own output type. The module can add outputs and cannot take them
/// back; the owner of the [`Outbox`] takes them in the order in which they were added.
#[derive(Debug)]
pub struct Context<'a, Output> {
    /// The monotonic time of this input. It never runs backwards.
    pub now: Instant,
    /// The wall time of this input, since the Unix epoch. It stamps and expires, nothing else.
    pub unix_time: Duration,
    /// The module's own generator.
    pub rng: &'a mut Rng,
    /// Counts of what happened, for the user to see.
    pub counters: &'a mut Counters,
    outbox: &'a mut Outbox<Output>,
}

impl<'a, Output> Context<'a, Output> {
    /// Makes the context for one input.
    pub fn new(
        now: Instant,
        unix_time: Duration,
        rng: &'a mut Rng,
        counters: &'a mut Counters,
        outbox: &'a mut Outbox<Output>,
    ) -> Self {
        Self { now, unix_time, rng, counters, outbox }
    }

    /// Adds an output.
    pub fn emit(&mut self, output: Output) {
        self.outbox.queue.push_back(output);
    }

    /// Returns the times of this input.
    pub fn clock(&self) -> super::part::Clock {
        super::part::Clock { now: self.now, unix_time: self.unix_time }
    }

    /// Counts one occurrence.
    pub fn count(&mut self, counter: Counter) {
        self.counters.add(counter, 1);
    }
}

/// The outputs of one module, in order.
#[derive(Debug)]
pub struct Outbox<Output> {
    queue: VecDeque<Output>,
}

impl<Output> Default for Outbox<Output> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<Output> Outbox<Output> {
    /// Takes the oldest output.
    pub fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
