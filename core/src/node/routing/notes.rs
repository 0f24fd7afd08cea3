//! What notes need and bring.

use bytes::Bytes;

use super::{Link, Protocol, Routing, Start};
use crate::identity::MachineId;
use crate::link::Class;
use crate::node::{CommandError, CommandId, Node, StoreError};
use crate::notes::{Event, Output, Reply, Request, State, Table};
use crate::session::{self, ProtocolId};
use crate::support::{Context, Deadline, LoadTicket, Time};

/// Routes notes.
#[derive(Debug)]
pub(in crate::node) struct Notes;

impl Routing for Notes {
    type State = State;
    type Output = Output;
    type Request = Request;
    type Reply = Reply;
    type Event = Event;

    const PROTOCOL: Option<Protocol> =
        Some(Protocol { id: ProtocolId(u16::MAX), class: Class::Bulk });

    fn start(_: &Start<'_>) -> State {
        State::default()
    }

    fn route(node: &mut Node, time: Time, output: Output) {
        match output {
            Output::Session(request) => {
                Link::session_request(node, time, Self::PROTOCOL, request);
            }
            Output::Event(event) => node.report(event),
        }
    }

    fn session(
        state: &mut State,
        context: &mut Context<'_, Output>,
        event: session::Event<MachineId>,
    ) {
        state.session(context, event);
    }

    fn request(
        node: &mut Node,
        time: Time,
        id: CommandId,
        Request::ReadNote(request): Request,
    ) -> Result<(), CommandError> {
        let ticket =
            node.modules.notes.run(time, |_, context| State::read(context, &request.machine));
        assert_eq!(ticket.0, id.0, "the test numbers commands as the module numbers reads");
        Ok(())
    }

    fn restore(
        _: &mut Node,
        _: Time,
        Table::Notes: Table,
        (key, _): (&Bytes, &Bytes),
    ) -> Result<(), String> {
        if key.len() == 32 { Ok(()) } else { Err("the key is not an id".to_owned()) }
    }

    fn loaded(node: &mut Node, _: Time, ticket: LoadTicket, result: Result<Bytes, StoreError>) {
        node.reply(CommandId(ticket.0), Reply::ReadNote(result.ok()));
    }

    fn deadline(state: &State) -> Option<Deadline> {
        state.deadline()
    }

    fn handle_timeout(state: &mut State, context: &mut Context<'_, Output>) {
        state.handle_timeout(context);
    }

    fn shut_down(state: &mut State, _: &mut Context<'_, Output>) {
        *state = State::default();
    }
}
