//! What gossip needs and brings.

use std::net::{IpAddr, SocketAddr};

use super::named::may_dial;
use super::{CommandError, CommandId, Event, Node, Output, Publish, Published, Reply, Subscribe};
use crate::identity::MachineId;
use crate::overlay::Contact;
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
            gossip::Output::Connect { peer, contact } => {
                let peers = self.link.state.peers().map(|peer| peer.address);
                let address = address_of(&contact).filter(|&named| may_dial(named, peers));
                self.link.act(clock, &mut self.counters, |link, context| {
                    link.reach(context, peer, address);
                });
            }
            gossip::Output::Release { peer } => {
                self.link.act(clock, &mut self.counters, |link, context| {
                    link.release(context, &peer);
                });
            }
            gossip::Output::Lonely => {
                self.link.act(clock, &mut self.counters, link::State::reach_out);
            }
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

    /// A session began: gossip may use it.
    pub(super) fn gossip_peer_up(&mut self, clock: Clock, peer: MachineId, address: SocketAddr) {
        let room = self.link.state.room(&peer, link::Class::Gossip);
        let round_trip = self.link.state.peer(&peer, true).map(|peer| peer.round_trip);
        self.tell_gossip(
            clock,
            gossip::Input::PeerUp {
                peer,
                contact: contact_of(address),
                round_trip: round_trip.unwrap_or_default(),
                room,
            },
        );
    }

    /// A session goes over another path: others are told where it leads.
    pub(super) fn gossip_peer_moved(&mut self, clock: Clock, peer: MachineId, address: SocketAddr) {
        let contact = contact_of(address);
        self.tell_gossip(clock, gossip::Input::PeerMoved { peer, contact });
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

/// Writes where a machine is reached: the IP address in 4 or 16 bytes, then the port in 2, both
/// big-endian.
fn contact_of(address: SocketAddr) -> Contact {
    let port = address.port().to_be_bytes();
    let bytes = match address.ip().to_canonical() {
        IpAddr::V4(ip) => [&ip.octets()[..], &port].concat(),
        IpAddr::V6(ip) => [&ip.octets()[..], &port].concat(),
    };
    Contact::copy_from(&bytes).expect("18 bytes at most")
}

/// Reads where a machine is reached, if it is such a form.
fn address_of(contact: &Contact) -> Option<SocketAddr> {
    let (ip, port) = contact.split_last_chunk::<2>()?;
    let ip: IpAddr = match ip.len() {
        4 => <[u8; 4]>::try_from(ip).ok()?.into(),
        16 => <[u8; 16]>::try_from(ip).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
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
