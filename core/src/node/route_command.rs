//! What the application asks, and who does it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::store::BLOCKED;
use super::{
    BlockedSet, Command, CommandError, CommandId, Connect, Disconnected, Event, NetworkChanged,
    Node, Output, PeerInfo, Record, Reply, Request, SendDirect, SetBlocked, ShutDown, TIMEOUT_MAX,
    Table, Target, Unsubscribed,
};
use crate::support::part::Clock;
use crate::{direct, gossip, link};

impl Node {
    pub(super) fn command(&mut self, clock: Clock, command: Command) -> Result<(), CommandError> {
        let id = command.id;
        match command.request {
            Request::SendDirect(request) => return self.send_direct(clock, id, request),
            Request::Connect(request) => return self.connect(clock, id, request),
            Request::Disconnect(request) => {
                let existed = self.link.act(clock, &mut self.counters, |link, context| {
                    link.disconnect(context, &request.machine)
                });
                self.reply(id, Reply::Disconnect(Disconnected { existed }));
            }
            Request::Subscribe(request) => return self.subscribe(clock, id, request),
            Request::Unsubscribe(request) => {
                let existed = self.gossip.state.is_subscribed(&request.topic);
                let topic = request.topic;
                self.tell_gossip(clock, gossip::Input::Unsubscribe { topic });
                self.reply(id, Reply::Unsubscribe(Unsubscribed { existed }));
            }
            Request::Publish(request) => return self.publish(clock, id, request),
            Request::ProveMessage(request) => {
                let proof = self.gossip.state.prove(&request.topic, request.message);
                self.reply(id, Reply::ProveMessage(proof));
            }
            Request::ListTopics(_) => {
                let topics = self.gossip.state.topics().collect();
                self.reply(id, Reply::ListTopics(topics));
            }
            Request::SetBlocked(request) => return self.block(clock, id, request),
            Request::ChangeNetwork(request) => {
                let moving = self.link.act(clock, &mut self.counters, |link, context| {
                    link.change_sockets(context, request.sockets)
                });
                self.reply(id, Reply::ChangeNetwork(NetworkChanged { moving }));
            }
            Request::ProbePeer(request) => {
                check_timeout(request.timeout)?;
                if !self.link.state.can_ping() {
                    return Err(CommandError::TooManyProbes);
                }
                self.link.act(clock, &mut self.counters, |link, context| {
                    let request_id = link::RequestId(id.0);
                    link.ping(context, request_id, &request.machine, request.timeout);
                });
            }
            Request::ListPeers(_) => {
                let peers = self.link.state.peers().map(|peer| PeerInfo {
                    machine: peer.machine,
                    agents: peer.agents,
                    address: peer.address,
                    round_trip: peer.round_trip,
                    connected_for: clock.now.saturating_duration_since(peer.since),
                });
                let peers = peers.collect();
                self.reply(id, Reply::ListPeers(peers));
            }
            Request::GetCounters(_) => {
                let counters = self.counters.clone();
                self.reply(id, Reply::GetCounters(counters));
            }
            Request::ShutDown(ShutDown) => {
                self.is_shut_down = true;
                self.tell_direct(clock, direct::Input::ShutDown);
                self.tell_gossip(clock, gossip::Input::ShutDown);
                self.link.act(clock, &mut self.counters, link::State::shut_down);
                // Whoever waits is answered first.
                self.route();
                self.reply(id, Reply::ShutDown(()));
            }
        }
        Ok(())
    }

    fn send_direct(
        &mut self,
        clock: Clock,
        id: CommandId,
        request: SendDirect,
    ) -> Result<(), CommandError> {
        let SendDirect { recipient, payload, timeout } = request;
        check_timeout(timeout)?;
        self.direct.state.check(&recipient, payload.len()).map_err(|error| match error {
            direct::CheckError::TooLarge { size, size_max } => {
                CommandError::TooLarge { size, size_max }
            }
            direct::CheckError::QueueFull => CommandError::QueueFull,
        })?;
        self.link.act(clock, &mut self.counters, |link, context| {
            link.sent_to(context, &recipient);
        });
        let id = direct::SendId(id.0);
        self.tell_direct(clock, direct::Input::Send { id, recipient, payload, timeout });
        Ok(())
    }

    fn connect(
        &mut self,
        clock: Clock,
        id: CommandId,
        request: Connect,
    ) -> Result<(), CommandError> {
        check_timeout(request.timeout)?;
        let target = match request.target {
            Target::Address { address, machine } => {
                self.check_address(address)?;
                match machine {
                    Some(machine) => link::Target::MachineAt(machine, address),
                    None => link::Target::Address(address),
                }
            }
            Target::Machine(machine) => link::Target::Machine(machine),
            Target::Agent(agent) => link::Target::Agent(agent),
        };
        if !self.link.state.can_connect() {
            return Err(CommandError::TooManyConnects);
        }
        self.link.act(clock, &mut self.counters, |link, context| {
            let request_id = link::RequestId(id.0);
            link.connect(context, request_id, target, request.keep, request.timeout);
        });
        Ok(())
    }

    fn check_address(&self, address: SocketAddr) -> Result<(), CommandError> {
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(CommandError::InvalidAddress { address });
        }
        match self.link.state.socket_for(address) {
            Some(_) => Ok(()),
            None => Err(CommandError::NoSocket { address }),
        }
    }

    /// Blocks at once and answers when the store has it.
    fn block(
        &mut self,
        clock: Clock,
        id: CommandId,
        request: SetBlocked,
    ) -> Result<(), CommandError> {
        let SetBlocked { agent, blocked } = request;
        if blocked && !self.direct.state.can_block(&agent) {
            return Err(CommandError::TooManyBlocked);
        }
        self.set_blocked(clock, agent, blocked);
        let key = Bytes::copy_from_slice(&agent.0);
        let reply = Event::Reply { command: id, reply: Reply::SetBlocked(BlockedSet) };
        let (puts, deletes) = if blocked {
            (
                vec![Record { table: Table::Blocked, key, value: Bytes::from_static(&BLOCKED) }],
                vec![],
            )
        } else {
            (vec![], vec![(Table::Blocked, key)])
        };
        self.store(puts, deletes, vec![Output::Event(reply)]);
        Ok(())
    }
}

/// Bounds what a caller waits for, so that no time of the node overflows.
fn check_timeout(timeout: Duration) -> Result<(), CommandError> {
    if timeout > TIMEOUT_MAX { Err(CommandError::TimeoutTooLong { timeout }) } else { Ok(()) }
}
