//! What a recorded node did, as a timeline.
//!
//! A flight recording ([`x0x_core::node::recording`]) runs again, and everything that goes in or comes
//! out becomes a [`Line`]: when, what, with which peer, how many bytes. [`page`] draws it. Neither
//! shows the content of a message, nor a key.

mod page;
mod peers;
mod pictures;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;
use x0x_core::link::ConnectError;
use x0x_core::node::control;
use x0x_core::node::recording::{Moment, Replay, ReplayError, Tally};
use x0x_core::node::{
    Command, CommandId, Deadline, Event, Input, Output, Reply, Request, SendDirect, Target,
};

pub use page::page;
pub use peers::{Peer, Peers};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A datagram came.
    DatagramIn,
    /// Datagrams were sent.
    DatagramOut,
    /// A deadline came.
    Timeout,
    /// The application asked for something.
    Command,
    /// The node refused the command before.
    Refused,
    /// The application was answered.
    Reply,
    /// The application was told something.
    Event,
    /// Something is to be stored, or to be read from the store.
    Store,
    /// The store has done it.
    Stored,
}

impl Kind {
    /// Tells whether this is more than traffic and the passing of time.
    pub fn is_rare(self) -> bool {
        !matches!(self, Self::DatagramIn | Self::DatagramOut | Self::Timeout)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::DatagramIn => "datagram in",
            Self::DatagramOut => "datagram out",
            Self::Timeout => "timeout",
            Self::Command => "command",
            Self::Refused => "refused",
            Self::Reply => "reply",
            Self::Event => "event",
            Self::Store => "store",
            Self::Stored => "stored",
        })
    }
}

/// Something that went into the node or came out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The time since the start.
    pub at: Duration,
    /// What it is.
    pub kind: Kind,
    /// The peer, by its place in [`Timeline::peers`].
    pub peer: Option<usize>,
    /// How many bytes.
    pub size: usize,
    /// More about it.
    pub detail: String,
    /// The command that was given or is answered.
    pub command: Option<CommandId>,
}

/// Everything that a node did.
#[derive(Debug, Default)]
pub struct Timeline {
    /// What happened, in order.
    pub lines: Vec<Line>,
    /// With whom.
    pub peers: Peers,
    /// What the node last said that it waits for.
    timer: &'static str,
}

impl Timeline {
    /// Replays a recording. A replay that fails leaves what happened until then.
    ///
    /// # Errors
    ///
    /// See [`Replay::run`].
    pub fn of(replay: &mut Replay) -> (Self, Result<Tally, ReplayError>) {
        let mut timeline = Self::default();
        let result = replay.visit(|at, moment| timeline.add(at, moment));
        (timeline, result)
    }

    /// Writes a line in columns.
    pub fn row(&self, line: &Line) -> String {
        let Line { at, kind, peer, size, detail, .. } = line;
        let peer = peer.map_or("", |peer| self.peers.name(peer));
        let size = if *size == 0 { String::new() } else { size.to_string() };
        let row =
            format!("{:>12.6}  {kind:<12}  {peer:<22}  {size:>9}  {detail}", at.as_secs_f64());
        row.trim_end().to_owned()
    }

    fn add(&mut self, at: Duration, moment: Moment<'_>) {
        match moment {
            Moment::Input(input) => self.input(at, input),
            Moment::Refused(error) => self.push(at, Kind::Refused, None, 0, error.to_string()),
            Moment::Output(output, _) => self.output(at, output),
        }
    }

    fn input(&mut self, at: Duration, input: &Input) {
        match input {
            Input::Datagram(datagram) => {
                let size = datagram.payload.len();
                let peer = self.peers.received(datagram.source, size);
                self.push(at, Kind::DatagramIn, Some(peer), size, String::new());
            }
            Input::Timeout => self.push(at, Kind::Timeout, None, 0, self.timer.to_owned()),
            Input::Command(command) => self.command(at, command),
            Input::Stored(id, result) => {
                let detail = format!("write {}{}", id.0, failed(result));
                self.push(at, Kind::Stored, None, 0, detail);
            }
            Input::Loaded(id, result) => {
                let size = result.as_ref().map_or(0, |bytes| bytes.len());
                let detail = format!("read {}{}", id.0, failed(result));
                self.push(at, Kind::Stored, None, size, detail);
            }
        }
    }

    fn command(&mut self, at: Duration, command: &Command) {
        let Command { id, request } = command;
        let (peer, size) = match request {
            Request::Link(link::Request::Connect(connect)) => (self.target(connect.target), 0),
            Request::Link(link::Request::Disconnect(request)) => {
                (self.peers.of_machine(&request.machine), 0)
            }
            Request::Link(link::Request::ProbePeer(request)) => {
                (self.peers.of_machine(&request.machine), 0)
            }
            Request::Direct(direct::Request::SendDirect(SendDirect {
                recipient, payload, ..
            })) => (self.peers.of_agent(recipient), payload.len()),
            Request::Gossip(gossip::Request::Publish(publish)) => (None, publish.payload.len()),
            Request::Control(control::Request::SetBlocked(request)) => {
                (self.peers.of_agent(&request.agent), 0)
            }
            Request::Link(link::Request::ChangeNetwork(_))
            | Request::Link(link::Request::ListPeers(_))
            | Request::Control(control::Request::GetCounters(_))
            | Request::Control(control::Request::ShutDown(_))
            | Request::Gossip(gossip::Request::Subscribe(_))
            | Request::Gossip(gossip::Request::Unsubscribe(_))
            | Request::Gossip(gossip::Request::ProveMessage(_))
            | Request::Gossip(gossip::Request::ListTopics(_)) => (None, 0),
        };
        let detail = format!("{} #{}", request.name(), id.0);
        let kind = Kind::Command;
        self.lines.push(Line { at, kind, peer, size, detail, command: Some(*id) });
    }

    fn target(&mut self, target: Target) -> Option<usize> {
        match target {
            Target::Address { address, .. } => Some(self.peers.at(address)),
            Target::Machine(machine) => self.peers.of_machine(&machine),
            Target::Agent(agent) => self.peers.of_agent(&agent),
        }
    }

    fn output(&mut self, at: Duration, output: &Output) {
        match output {
            Output::Transmit(transmit) => {
                let count = transmit.size.div_ceil(transmit.segment_size.unwrap_or(transmit.size));
                let peer = self.peers.sent(transmit.target, count, transmit.size);
                let detail = if count == 1 { String::new() } else { format!("{count} datagrams") };
                self.push(at, Kind::DatagramOut, Some(peer), transmit.size, detail);
            }
            Output::Store(batch) => {
                let size = batch.puts.iter().map(|put| put.key.len() + put.value.len()).sum();
                let (puts, deletes) = (batch.puts.len(), batch.deletes.len());
                let detail = format!("write {}: {puts} set, {deletes} removed", batch.id.0);
                self.push(at, Kind::Store, None, size, detail);
            }
            Output::Load(load) => {
                self.push(at, Kind::Store, None, 0, format!("read {}", load.id.0));
            }
            Output::Event(event) => self.event(at, event),
            Output::Settled => {}
            Output::Idle { deadline } => {
                self.timer = deadline.map_or("", |Deadline { timer, .. }| timer);
            }
        }
    }

    fn event(&mut self, at: Duration, event: &Event) {
        let (peer, size, detail) = match event {
            Event::Reply { command, reply } => {
                let detail = format!("{} #{}{}", reply.name(), command.0, failure(reply));
                let (kind, command) = (Kind::Reply, Some(*command));
                return self.lines.push(Line { at, kind, peer: None, size: 0, detail, command });
            }
            Event::Link(link::Event::PeerUp { machine, agents, address }) => {
                let peer = self.peers.up(at, *machine, agents, *address);
                (Some(peer), 0, format!("PeerUp at {address}"))
            }
            Event::Link(link::Event::PeerDown { machine, reason }) => {
                let peer = self.peers.down(at, machine);
                (peer, 0, format!("PeerDown: {reason:?}"))
            }
            Event::Link(link::Event::PathChanged { machine, address }) => {
                let peer = self.peers.moved(machine, *address);
                (peer, 0, format!("PathChanged to {address}"))
            }
            Event::Direct(direct::Event::Received { machine, payload, .. }) => {
                (self.peers.of_machine(machine), payload.len(), "DirectReceived".to_owned())
            }
            Event::Gossip(gossip::Event::Received { author, payload, .. }) => {
                let detail = format!("GossipReceived by {}", author.short());
                (self.peers.of_agent(author), payload.len(), detail)
            }
            Event::Gossip(gossip::Event::Lagged { author, missed, .. }) => {
                let detail = format!("GossipLagged: {missed} by {}", author.short());
                (self.peers.of_agent(author), 0, detail)
            }
            Event::Gossip(gossip::Event::Equivocated { author, .. }) => {
                let detail = format!("GossipEquivocated by {}", author.short());
                (self.peers.of_agent(author), 0, detail)
            }
            Event::Halted(fatal) => (None, 0, format!("Halted: {fatal}")),
        };
        self.push(at, Kind::Event, peer, size, detail);
    }

    fn push(&mut self, at: Duration, kind: Kind, peer: Option<usize>, size: usize, detail: String) {
        self.lines.push(Line { at, kind, peer, size, detail, command: None });
    }
}

fn failed<T, E: fmt::Display>(result: &Result<T, E>) -> String {
    result.as_ref().err().map_or_else(String::new, |error| format!(": {error}"))
}

/// Says why something that was answered did not come about.
fn failure(reply: &Reply) -> String {
    match reply {
        Reply::Link(link::Reply::Connect(result)) => failed::<_, ConnectError>(result),
        Reply::Direct(direct::Reply::SendDirect(result)) => failed(result),
        Reply::Link(link::Reply::ProbePeer(result)) => failed(result),
        Reply::Link(link::Reply::Disconnect(_))
        | Reply::Control(control::Reply::SetBlocked(_))
        | Reply::Link(link::Reply::ChangeNetwork(_))
        | Reply::Link(link::Reply::ListPeers(_))
        | Reply::Control(control::Reply::GetCounters(_))
        | Reply::Control(control::Reply::ShutDown(()))
        | Reply::Gossip(gossip::Reply::Subscribe(_))
        | Reply::Gossip(gossip::Reply::Unsubscribe(_))
        | Reply::Gossip(gossip::Reply::Publish(_))
        | Reply::Gossip(gossip::Reply::ProveMessage(_))
        | Reply::Gossip(gossip::Reply::ListTopics(_)) => String::new(),
    }
}
