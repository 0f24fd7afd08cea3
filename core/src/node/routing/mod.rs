//! What the outputs and requests of each module mean to its siblings: one file for each module.

pub(super) mod address_policy;
mod direct;
mod gossip;
mod link;
#[cfg(test)]
mod notes;

use bytes::Bytes;

pub(super) use direct::Direct;
pub(super) use gossip::Gossip;
pub(super) use link::Link;
#[cfg(test)]
pub(super) use notes::Notes;

use super::{CommandError, CommandId, Config, Node, StoreError};
use crate::crypto::tls::WallClock;
use crate::identity::MachineId;
use crate::link::Class;
use crate::session::{self, ProtocolId};
use crate::support::{Context, Deadline, LoadTicket, Rng, Time, Vocabulary};

/// What modules are made from when a node starts.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) config: &'a Config,
    pub(super) time: Time,
    /// The wall time as TLS sees it.
    pub(super) wall_clock: &'a WallClock,
    /// The node's generator, from which each module forks its own.
    pub(super) rng: &'a Rng,
}

/// A protocol over sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    /// Its number, in front of each frame.
    pub(super) id: ProtocolId,
    /// How urgent its frames are.
    pub(super) class: Class,
}

/// How the node runs one module. A module that has no use for a call leaves it out.
pub(super) trait Routing {
    /// The module's state.
    type State;
    /// The module's outputs.
    type Output: Vocabulary;
    /// What an application can ask of the module.
    type Request;
    /// The answers.
    type Reply;
    /// What the module reports to the application.
    type Event;

    /// Makes the module of a node that starts.
    fn start(start: &Start<'_>) -> Self::State;

    /// Does what an output asks for.
    fn route(node: &mut Node, time: Time, output: Self::Output);

    /// Does what an application asks for.
    ///
    /// # Errors
    ///
    /// If it is not possible. Nothing changed then, and no reply follows.
    fn request(
        node: &mut Node,
        time: Time,
        id: CommandId,
        request: Self::Request,
    ) -> Result<(), CommandError>;

    /// Takes a record of an earlier run back: its key and its value.
    ///
    /// # Errors
    ///
    /// If it cannot be read, with the reason.
    fn restore(
        _node: &mut Node,
        _time: Time,
        _table: <Self::Output as Vocabulary>::Table,
        (_key, _value): (&Bytes, &Bytes),
    ) -> Result<(), String> {
        Err("the module keeps no records".to_owned())
    }

    /// The protocol that the module speaks over sessions, if it speaks one.
    const PROTOCOL: Option<Protocol> = None;

    /// Something happened to a session that speaks the protocol.
    fn session(
        _state: &mut Self::State,
        _context: &mut Context<'_, Self::Output>,
        _event: session::Event<MachineId>,
    ) {
    }

    /// Takes what the module read.
    fn loaded(
        _node: &mut Node,
        _time: Time,
        _ticket: LoadTicket,
        _result: Result<Bytes, StoreError>,
    ) {
    }

    /// Returns when [`Routing::handle_timeout`] is due, and for which timer.
    fn deadline(state: &Self::State) -> Option<Deadline>;

    /// Does what is due.
    fn handle_timeout(state: &mut Self::State, context: &mut Context<'_, Self::Output>);

    /// The wall clock was set, or the host slept.
    fn clock_was_set(_state: &mut Self::State, _context: &mut Context<'_, Self::Output>) {}

    /// Gathers what several inputs have in common: acknowledgements, signatures, datagrams.
    fn flush(_state: &mut Self::State, _context: &mut Context<'_, Self::Output>) {}

    /// Ends everything that the module has under way.
    fn shut_down(state: &mut Self::State, context: &mut Context<'_, Self::Output>);
}
