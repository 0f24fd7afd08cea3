//! The smallest module: a note for each machine, which is kept before anybody hears of it. It is
//! compiled for tests only, and shows what a feature needs; see
//! `docs/src/decisions/0010-how-to-add-a-feature.md`.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::identity::MachineId;
use crate::session::{self, Header};
use crate::support::{
    Changes, Context, Deadline, LoadTicket, TableSet, TimerName, Timers, Vocabulary,
};

/// The largest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 1024;

/// How long the node waits before it tells a peer that it keeps its note.
pub const RECEIPT_DELAY: Duration = Duration::from_secs(1);

crate::requests! {
    ReadNote => Option<Bytes>,
}

/// Asks for the note of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadNote {
    /// The machine.
    pub machine: MachineId,
}

/// What the module reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The note of a machine is safe.
    Kept {
        /// The machine.
        machine: MachineId,
    },
}

crate::counters! {
    /// What notes count.
    pub enum Counter {
        /// Notes that are longer than they may be.
        TooLong => "notes_too_long",
    }
}

/// The tables of notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Table {
    /// Notes by machine id.
    Notes,
}

impl TableSet for Table {
    const ALL: &'static [Self] = &[Self::Notes];

    fn name(self) -> &'static str {
        "notes"
    }
}

/// What the module wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Something of a session.
    Session(session::Request<MachineId>),
    /// Report an event.
    Event(Event),
}

impl Vocabulary for Output {
    type Counter = Counter;
    type Table = Table;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Receipt(MachineId),
}

impl TimerName for Timer {
    fn name(&self) -> &'static str {
        "receipt"
    }
}

/// The notes of one node. The notes themselves are in the store alone.
#[derive(Debug, Default)]
pub struct State {
    timers: Timers<Timer>,
}

impl State {
    /// Keeps what a peer sent.
    pub fn session(&mut self, context: &mut Context<'_, Output>, event: session::Event<MachineId>) {
        let session::Event::Frame { peer, frame } = event else { return };
        if frame.len() > NOTE_BYTES_MAX {
            context.count(Counter::TooLong);
            let rule = "a note is too long";
            return context.emit(Output::Session(session::Request::Violation { peer, rule }));
        }
        let write = context.store(Changes::put(Table::Notes, key(&peer), frame));
        context.emit_after(write, Output::Event(Event::Kept { machine: peer }));
        self.timers.set(Timer::Receipt(peer), context.now + RECEIPT_DELAY);
    }

    /// Reads the first bytes of the note of a machine.
    pub fn read(context: &mut Context<'_, Output>, machine: &MachineId) -> LoadTicket {
        context.load(Table::Notes, key(machine), 0..4)
    }

    /// Returns when [`State::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<Deadline> {
        self.timers.deadline()
    }

    /// Acknowledges notes.
    pub fn handle_timeout(&mut self, context: &mut Context<'_, Output>) {
        while let Some(Timer::Receipt(peer)) = self.timers.pop_due(context.now) {
            let (header, payload) = (Header::from(Bytes::from_static(b"kept")), Bytes::new());
            let send = session::Request::Send { peer, header, payload };
            context.emit(Output::Session(send));
        }
    }
}

fn key(machine: &MachineId) -> Bytes {
    Bytes::copy_from_slice(&machine.0)
}
