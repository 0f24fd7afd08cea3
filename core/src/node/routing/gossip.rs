//! What gossip needs and brings.

use super::{Link, Protocol, Routing, Start};
use crate::gossip::{
    Counter, Event, FRAME_SIZE_MAX, Input, Output, Publish, PublishId, Published, Reply, Request,
    State, Subscribed, Unsubscribed,
};
use crate::identity::MachineId;
use crate::link::{self, Class};
use crate::node::{CommandError, CommandId, Node};
use crate::session::{self, ProtocolId};
use crate::support::{Context, Deadline, Time};

const _: () = assert!(
    FRAME_SIZE_MAX <= Class::Gossip.frame_size_max(),
    "a link carries every frame of gossip"
);

/// Routes gossip.
#[derive(Debug)]
pub(in crate::node) struct Gossip;

impl Routing for Gossip {
    type State = State<MachineId>;
    type Output = Output<MachineId>;
    type Request = Request;
    type Reply = Reply;
    type Event = Event;

    fn start(start: &Start<'_>) -> Self::State {
        let config = start.config;
        State::new(
            config.overlay,
            config.memory,
            config.agent_key.clone(),
            config.machine_key.id(),
            start.rng.fork("gossip state"),
        )
    }

    fn route(node: &mut Node, time: Time, output: Self::Output) {
        match output {
            Output::Session(request) => Link::session_request(node, time, Self::PROTOCOL, request),
            Output::Lonely => node.modules.link.run(time, link::State::bootstrap),
            Output::Event(event) => node.report(event),
            Output::Published { id } => node.reply(CommandId(id.0), Reply::Publish(Published)),
        }
    }

    fn request(
        node: &mut Node,
        time: Time,
        id: CommandId,
        request: Request,
    ) -> Result<(), CommandError> {
        let gossip = &mut node.modules.gossip;
        let reply = match request {
            Request::Publish(Publish { topic, payload }) => {
                if let Err(error) = gossip.state.check_publish(&topic, payload.len()) {
                    gossip.run(time, |_, context| context.count(Counter::PublishesRefused));
                    return Err(error.into());
                }
                let input = Input::Publish { id: PublishId(id.0), topic, payload };
                gossip.run(time, |gossip, context| gossip.handle(context, input));
                return Ok(());
            }
            Request::Subscribe(request) => {
                gossip.state.check_subscribe(&request.topic)?;
                let already = gossip.state.is_subscribed(&request.topic);
                let input = Input::Subscribe { topic: request.topic };
                gossip.run(time, |gossip, context| gossip.handle(context, input));
                Reply::Subscribe(Subscribed { already })
            }
            Request::Unsubscribe(request) => {
                let existed = gossip.state.is_subscribed(&request.topic);
                let input = Input::Unsubscribe { topic: request.topic };
                gossip.run(time, |gossip, context| gossip.handle(context, input));
                Reply::Unsubscribe(Unsubscribed { existed })
            }
            Request::ProveMessage(request) => {
                Reply::ProveMessage(gossip.state.prove(&request.topic, request.message))
            }
            Request::ListTopics(_) => Reply::ListTopics(gossip.state.topics().collect()),
        };
        node.reply(id, reply);
        Ok(())
    }

    const PROTOCOL: Option<Protocol> =
        Some(Protocol { id: ProtocolId::GOSSIP, class: Class::Gossip });

    fn session(
        state: &mut Self::State,
        context: &mut Context<'_, Self::Output>,
        event: session::Event<MachineId>,
    ) {
        state.handle(context, Input::Session(event));
    }

    fn deadline(state: &Self::State) -> Option<Deadline> {
        state.deadline()
    }

    fn handle_timeout(state: &mut Self::State, context: &mut Context<'_, Self::Output>) {
        state.handle(context, Input::Timeout);
    }

    fn clock_was_set(state: &mut Self::State, context: &mut Context<'_, Self::Output>) {
        state.handle_wall_time(context);
    }

    fn flush(state: &mut Self::State, context: &mut Context<'_, Self::Output>) {
        state.flush(context);
    }

    fn shut_down(state: &mut Self::State, context: &mut Context<'_, Self::Output>) {
        state.handle(context, Input::ShutDown);
    }
}
