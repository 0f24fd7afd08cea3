//! What direct messages need and bring.

use super::{CommandId, DirectAcknowledged, Event, Node, Output, Reply};
use crate::support::part::Clock;
use crate::{direct, link};

impl Node {
    pub(super) fn route_direct(&mut self, clock: Clock, output: direct::Output) {
        match output {
            direct::Output::Frame { machine, header, payload } => {
                self.link.state.send(&machine, link::Class::Direct, header.as_slice(), &payload);
            }
            direct::Output::Received { sender, machine, recipient, payload } => {
                if let Some(machine) = machine {
                    self.link.act(clock, &mut self.counters, |link, context| {
                        link.heard_from(context, machine);
                    });
                }
                let machine = machine.unwrap_or(self.machine);
                let received_at = clock.unix_time;
                self.outputs.push_back(Output::Event(Event::DirectReceived {
                    sender,
                    machine,
                    recipient,
                    payload,
                    received_at,
                }));
            }
            direct::Output::Ended { id, result } => {
                let result = result.map(|done| DirectAcknowledged { elapsed: done.elapsed });
                self.reply(CommandId(id.0), Reply::SendDirect(result));
            }
            direct::Output::WantPeer { agent } => {
                self.link.act(clock, &mut self.counters, |link, context| {
                    link.want(context, agent);
                });
            }
            direct::Output::Misbehaved { machine, rule } => {
                tracing::debug!(machine = %machine.short(), rule, "peer broke a rule");
                self.link.act(clock, &mut self.counters, |link, context| {
                    link.misbehaved(context, &machine);
                });
            }
        }
    }
}
