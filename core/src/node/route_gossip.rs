//! What gossip needs and brings.

use super::{CommandError, CommandId, Event, Node, Output, Publish, Published, Reply, Subscribe};
use crate::identity::MachineId;
use crate::support::Counter;
use crate::support::part::Clock;
use crate::{gossip, link};

const _: () = assert!(
    gossip::FRAME_SIZE_MAX <= link::Class::Gossip.frame_size_max(),
    "a link carries every frame of gossip"
);

impl Node {
    pub(super) fn route_gossip(&mut self, clock: Clock, output: gossip::Output<MachineId>) {
        match output {
            gossip::Output::Frame { peer, header, payload } => {
                self.link.state.send(&peer, link::Class::Gossip, &header, &payload);
            }
            gossip::Output::Connect { peer, contact: _ } => {
                self.tell_gossip(clock, gossip::Input::ConnectFailed { peer });
            }
            gossip::Output::Release { peer: _ } => {}
            gossip::Output::Misbehaved { peer, rule } => {
                tracing::debug!(machine = %peer.short(), rule, "peer broke a rule");
                self.link.act(clock, &mut self.counters, |link, context| {
                    link.misbehaved(context, &peer);
                });
            }
            gossip::Output::Received { topic, author, payload, published_at, message } => {
                self.outputs.push_back(Output::Event(Event::GossipReceived {
                    topic,
                    author,
                    payload,
                    published_at,
                    message,
                }));
            }
            gossip::Output::Lagged { topic, author, missed } => {
                let event = Event::GossipLagged { topic, author, missed };
                self.outputs.push_back(Output::Event(event));
            }
            gossip::Output::Equivocated { topic, author, evidence } => {
                let event = Event::GossipEquivocated { topic, author, evidence };
                self.outputs.push_back(Output::Event(event));
            }
            gossip::Output::Published { id } => {
                self.reply(CommandId(id.0), Reply::Publish(Published));
            }
        }
    }

    pub(super) fn tell_gossip(&mut self, clock: Clock, input: gossip::Input<MachineId>) {
        self.gossip.act(clock, &mut self.counters, |gossip, context| {
            gossip.handle(context, input);
        });
    }

    pub(super) fn publish(
        &mut self,
        clock: Clock,
        id: CommandId,
        request: Publish,
    ) -> Result<(), CommandError> {
        let Publish { topic, payload } = request;
        if let Err(error) = self.gossip.state.check_publish(&topic, payload.len()) {
            self.counters.add(Counter::GossipPublishesRefused, 1);
            return Err(refused(error));
        }
        let id = gossip::PublishId(id.0);
        self.tell_gossip(clock, gossip::Input::Publish { id, topic, payload });
        Ok(())
    }

    pub(super) fn subscribe(
        &mut self,
        clock: Clock,
        id: CommandId,
        request: Subscribe,
    ) -> Result<(), CommandError> {
        let Subscribe { topic } = request;
        self.gossip.state.check_subscribe(&topic).map_err(refused)?;
        let already = self.gossip.state.is_subscribed(&topic);
        self.tell_gossip(clock, gossip::Input::Subscribe { topic });
        self.reply(id, Reply::Subscribe(super::Subscribed { already }));
        Ok(())
    }
}

fn refused(error: gossip::CheckError) -> CommandError {
    match error {
        gossip::CheckError::TooLarge { size, size_max } => {
            CommandError::TooLarge { size, size_max }
        }
        gossip::CheckError::QueueFull => CommandError::QueueFull,
        gossip::CheckError::TooManyTopics => CommandError::TooManyTopics,
    }
}
