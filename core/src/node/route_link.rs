//! What links say, and to whom it matters.

use bytes::Bytes;

use super::{CommandId, Connected, Event, Node, Output, PeerProbed, Record, Reply, Table};
use crate::support::part::Clock;
use crate::{direct, gossip, link};

impl Node {
    pub(super) fn route_link(&mut self, clock: Clock, output: link::Output) {
        match output {
            link::Output::PeerUp { machine, agents, incarnation, address } => {
                let room = self.link.state.room(&machine, link::Class::Direct);
                let up =
                    direct::Input::PeerUp { machine, agents: agents.clone(), incarnation, room };
                self.tell_direct(clock, up);
                self.gossip_peer_up(clock, machine, address);
                self.outputs.push_back(Output::Event(Event::PeerUp { machine, agents, address }));
            }
            link::Output::PeerDown { machine, reason } => {
                self.tell_direct(clock, direct::Input::PeerDown { machine });
                self.tell_gossip(clock, gossip::Input::PeerDown { peer: machine });
                self.outputs.push_back(Output::Event(Event::PeerDown { machine, reason }));
            }
            link::Output::PathChanged { machine, address } => {
                self.gossip_peer_moved(clock, machine, address);
                self.outputs.push_back(Output::Event(Event::PathChanged { machine, address }));
            }
            link::Output::Frame { machine, class: link::Class::Direct, frame } => {
                self.tell_direct(clock, direct::Input::Frame { machine, frame });
            }
            link::Output::Frame { machine, class: link::Class::Gossip, frame } => {
                self.tell_gossip(clock, gossip::Input::Frame { peer: machine, frame });
            }
            link::Output::Frame {
                machine,
                class: link::Class::Control | link::Class::Bulk,
                frame: _,
            } => self.link.act(clock, &mut self.counters, |link, context| {
                // Nobody here speaks these classes, and the peer's version says so.
                link.misbehaved(context, &machine);
            }),
            link::Output::Writable { machine, class: link::Class::Direct, room } => {
                self.tell_direct(clock, direct::Input::Writable { machine, room });
            }
            link::Output::Writable { machine, class: link::Class::Gossip, room } => {
                self.tell_gossip(clock, gossip::Input::Writable { peer: machine, room });
            }
            link::Output::Writable { class: link::Class::Control | link::Class::Bulk, .. } => {}
            link::Output::Unreached { machine } => {
                self.tell_gossip(clock, gossip::Input::ConnectFailed { peer: machine });
            }
            link::Output::ConnectEnded { request, result } => {
                let result = result.map(|peer| Connected {
                    machine: peer.machine,
                    agents: peer.agents,
                    address: peer.address,
                    already: peer.already,
                });
                self.reply(CommandId(request.0), Reply::Connect(result));
            }
            link::Output::PingEnded { request, result } => {
                let result = result.map(|round_trip| PeerProbed { round_trip });
                self.reply(CommandId(request.0), Reply::ProbePeer(result));
            }
            link::Output::NoRoute { agent } => {
                self.tell_direct(clock, direct::Input::NoRoute { agent });
            }
            link::Output::SavePeer { machine, record } => {
                let key = Bytes::copy_from_slice(&machine.0);
                let put = Record { table: Table::Peers, key, value: record };
                self.store(vec![put], Vec::new(), Vec::new());
            }
            link::Output::ForgetPeer { machine } => {
                let key = Bytes::copy_from_slice(&machine.0);
                self.store(Vec::new(), vec![(Table::Peers, key)], Vec::new());
            }
        }
    }

    pub(super) fn tell_direct(&mut self, clock: Clock, input: direct::Input) {
        self.direct.act(clock, &mut self.counters, |direct, context| {
            direct.handle(context, input);
        });
    }
}
