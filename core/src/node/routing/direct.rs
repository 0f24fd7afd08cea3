//! What direct messages need and bring.

use std::time::Duration;

use super::link::check_timeout;
use super::{Link, Protocol, Routing, Start};
use crate::direct::{
    DirectAcknowledged, Event, Input, Output, Reply, Request, RequestError, SendDirect, SendId,
    State,
};
use crate::identity::MachineId;
use crate::link::Class;
use crate::node::{CommandError, CommandId, Node};
use crate::session::{self, ProtocolId};
use crate::support::{Context, Deadline, Time};

/// Routes direct messages.
#[derive(Debug)]
pub(in crate::node) struct Direct;

impl Routing for Direct {
    type State = State;
    type Output = Output;
    type Request = Request;
    type Reply = Reply;
    type Event = Event;

    fn start(start: &Start<'_>) -> State {
        State::new(vec![start.config.agent_key.id()])
    }

    fn route(node: &mut Node, time: Time, output: Output) {
        match output {
            Output::Session(request) => Link::session_request(node, time, Self::PROTOCOL, request),
            Output::Received { sender, machine, recipient, payload } => {
                if let Some(machine) = machine {
                    node.modules.link.run(time, |link, context| link.heard_from(context, machine));
                }
                let machine = machine.unwrap_or(node.machine);
                let received_at = time.unix_time;
                node.report(Event::Received { sender, machine, recipient, payload, received_at });
            }
            Output::Ended { id, result } => {
                let result = result.map(|done| DirectAcknowledged { elapsed: done.elapsed });
                node.reply(CommandId(id.0), Reply::SendDirect(result));
            }
            Output::WantPeer { agent } => {
                node.modules.link.run(time, |link, context| link.dial_agent(context, agent));
            }
        }
    }

    fn request(
        node: &mut Node,
        time: Time,
        id: CommandId,
        Request::SendDirect(request): Request,
    ) -> Result<(), CommandError> {
        let SendDirect { recipient, payload, timeout } = request;
        check_timeout(timeout, |timeout: Duration| RequestError::TimeoutTooLong { timeout })?;
        node.modules.direct.state.check(&recipient, payload.len())?;
        node.modules.link.run(time, |link, context| link.sent_to(context, &recipient));
        let id = SendId(id.0);
        let input = Input::Send { id, recipient, payload, timeout };
        node.modules.direct.run(time, |direct, context| direct.handle(context, input));
        Ok(())
    }

    const PROTOCOL: Option<Protocol> =
        Some(Protocol { id: ProtocolId::DIRECT, class: Class::Direct });

    fn session(
        state: &mut State,
        context: &mut Context<'_, Output>,
        event: session::Event<MachineId>,
    ) {
        state.handle(context, Input::Session(event));
    }

    fn deadline(state: &State) -> Option<Deadline> {
        state.deadline()
    }

    fn handle_timeout(state: &mut State, context: &mut Context<'_, Output>) {
        state.handle(context, Input::Timeout);
    }

    fn flush(state: &mut State, context: &mut Context<'_, Output>) {
        state.settle(context);
    }

    fn shut_down(state: &mut State, context: &mut Context<'_, Output>) {
        state.handle(context, Input::ShutDown);
    }
}
