//! The two views of one outbox: a module may only push, its owner may only pop.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::counters::{CounterSet, Counts};
use super::{Rng, Time};

/// The words of a module beside its outputs. The type of its outputs names them.
pub trait Vocabulary {
    /// What the module counts.
    type Counter: CounterSet;
    /// The tables in which it keeps records; [`NoTable`] if it keeps none.
    type Table: TableSet;
}

/// The tables of a module: groups of records with one kind of key.
pub trait TableSet: Copy + Debug + PartialEq + 'static {
    /// Every table.
    const ALL: &'static [Self];

    /// Returns the name of the table in a store. No two tables of a node share one.
    fn name(self) -> &'static str;
}

/// The tables of a module that keeps no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoTable {}

impl TableSet for NoTable {
    const ALL: &'static [Self] = &[];

    fn name(self) -> &'static str {
        match self {}
    }
}

/// A write of a module, numbered from 1 within the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteTicket(pub u64);

/// A read of a module, numbered from 1 within the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadTicket(pub u64);

/// Changes of records that are applied together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<Table> {
    /// Records to set: table, key and value.
    pub puts: Vec<(Table, Bytes, Bytes)>,
    /// Records to remove: table and key.
    pub deletes: Vec<(Table, Bytes)>,
}

impl<Table> Changes<Table> {
    /// Sets one record.
    pub fn put(table: Table, key: Bytes, value: Bytes) -> Self {
        Self { puts: vec![(table, key, value)], deletes: Vec::new() }
    }

    /// Removes one record.
    pub fn delete(table: Table, key: Bytes) -> Self {
        Self { puts: Vec::new(), deletes: vec![(table, key)] }
    }
}

/// What a module wants, in the order in which it wanted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<Output: Vocabulary> {
    /// An output.
    Emit(Output),
    /// Change records.
    Store(WriteTicket, Changes<Output::Table>),
    /// Read a range of the bytes of a record.
    Load {
        /// Names the read.
        ticket: LoadTicket,
        /// The table.
        table: Output::Table,
        /// The key in the table.
        key: Bytes,
        /// The bytes of the value that are wanted.
        range: Range<u64>,
    },
}

/// What a module acts through while it handles one input.
///
/// `Output` is the module's own output type. The module can add outputs and cannot take them
/// back; the owner of the [`Outbox`] takes them in the order in which they were added.
#[derive(Debug)]
pub struct Context<'a, Output: Vocabulary> {
    /// The monotonic time of this input. It never runs backwards.
    pub now: Instant,
    /// The wall time of this input, since the Unix epoch. It stamps and expires, nothing else.
    pub unix_time: Duration,
    /// The module's own generator.
    pub rng: &'a mut Rng,
    counts: &'a mut Counts<Output::Counter>,
    outbox: &'a mut Outbox<Output>,
}

impl<'a, Output: Vocabulary> Context<'a, Output> {
    /// Makes the context for one input.
    pub fn new(
        time: Time,
        rng: &'a mut Rng,
        counts: &'a mut Counts<Output::Counter>,
        outbox: &'a mut Outbox<Output>,
    ) -> Self {
        Self { now: time.now, unix_time: time.unix_time, rng, counts, outbox }
    }

    /// Adds an output.
    pub fn emit(&mut self, output: Output) {
        self.outbox.queue.push_back(Effect::Emit(output));
    }

    /// Changes records of the module. What must not be visible before the change is durable goes
    /// through [`Context::emit_after`].
    pub fn store(&mut self, changes: Changes<Output::Table>) -> WriteTicket {
        self.outbox.last_write += 1;
        let ticket = WriteTicket(self.outbox.last_write);
        self.outbox.queue.push_back(Effect::Store(ticket, changes));
        ticket
    }

    /// Adds an output that leaves once a write of this module is durable. If the write fails, the
    /// node halts and the output never leaves.
    pub fn emit_after(&mut self, write: WriteTicket, output: Output) {
        self.outbox.after.entry(write).or_default().push(output);
    }

    /// Reads a range of the bytes of a record. The result returns with the ticket.
    pub fn load(&mut self, table: Output::Table, key: Bytes, range: Range<u64>) -> LoadTicket {
        self.outbox.last_load += 1;
        let ticket = LoadTicket(self.outbox.last_load);
        self.outbox.queue.push_back(Effect::Load { ticket, table, key, range });
        ticket
    }

    /// Returns the times of this input.
    pub fn time(&self) -> Time {
        Time { now: self.now, unix_time: self.unix_time }
    }

    /// Counts one occurrence.
    pub fn count(&mut self, counter: Output::Counter) {
        self.counts.add(counter, 1);
    }

    /// Counts several occurrences.
    pub fn count_many(&mut self, counter: Output::Counter, amount: u64) {
        self.counts.add(counter, amount);
    }
}

/// What one module wants, in order.
#[derive(Debug)]
pub struct Outbox<Output: Vocabulary> {
    queue: VecDeque<Effect<Output>>,
    /// The outputs that leave when a write is durable.
    after: BTreeMap<WriteTicket, Vec<Output>>,
    last_write: u64,
    last_load: u64,
}

impl<Output: Vocabulary> Default for Outbox<Output> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), after: BTreeMap::new(), last_write: 0, last_load: 0 }
    }
}

impl<Output: Vocabulary> Outbox<Output> {
    /// Takes the oldest effect.
    pub fn pop(&mut self) -> Option<Effect<Output>> {
        self.queue.pop_front()
    }

    /// Takes the oldest effect of a module that keeps no records.
    pub fn pop_output(&mut self) -> Option<Output>
    where
        Output: Vocabulary<Table = NoTable>,
    {
        match self.queue.pop_front()? {
            Effect::Emit(output) => Some(output),
            // A change without a table changes nothing.
            Effect::Store(..) => self.pop_output(),
            Effect::Load { table, .. } => match table {},
        }
    }

    /// Lets the outputs follow that waited for a write, which is durable now.
    pub fn stored(&mut self, write: WriteTicket) {
        let outputs = self.after.remove(&write).unwrap_or_default();
        self.queue.extend(outputs.into_iter().map(Effect::Emit));
    }

    /// Returns whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
