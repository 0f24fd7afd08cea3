//! What happened in a world, kept while it runs, and drawn as a page.
//!
//! A world keeps its history only if it is asked to, with
//! [`World::keep_history`](crate::World::keep_history). It sees what nodes ask for and tell, the
//! steps that change something, and the counters of the network. It changes nothing and draws
//! nothing at random, so the world is the same with it and without.
//!
//! It is bounded: of everything there is a most ([`MESSAGES_MAX`], [`HEARD_MAX`], [`CHANGES_MAX`],
//! [`LINKS_MAX`]); what comes after that is counted and not kept. Payloads are hashed, topics are
//! numbered, and keys are not looked at.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use x0x_core::gossip::Topic;
use x0x_core::identity::{AgentId, MachineId};
use x0x_core::node::CommandId;

use crate::{NodeId, PartitionName};

mod keep;
mod meter;
mod page;
mod pictures;
mod talk;
#[cfg(test)]
mod tests;
mod watch;
mod words;

pub use page::{About, page};

use meter::Meter;
use words::Sort;

/// How many direct messages are kept, and how many messages of topics.
pub const MESSAGES_MAX: usize = 50_000;

/// How many times it is kept that somebody heard a message of a topic.
pub const HEARD_MAX: usize = 200_000;

/// How many changes are kept: those of states, and those that steps make.
pub const CHANGES_MAX: usize = 20_000;

/// How many links are kept, each time that they come up, at each end.
pub const LINKS_MAX: usize = 100_000;

/// How many nodes may be chosen for the sequence of messages.
pub const BETWEEN_MAX: usize = crate::report::sequence::LANES_MAX;

/// Which messages are shown one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    /// Between which nodes, at most [`BETWEEN_MAX`]; between those that talked most if there are
    /// none.
    pub between: Vec<NodeId>,
    /// From when on.
    pub from: Duration,
    /// Until when.
    pub until: Option<Duration>,
}

/// In which state a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs.
    Running,
    /// It says goodbye.
    Leaving,
    /// It crashed, halted, or was shut down.
    Down,
    /// Its host sleeps.
    Asleep,
}

/// What happened in a world so far.
#[derive(Debug)]
pub(crate) struct History {
    lives: Vec<Life>,
    agents: BTreeMap<AgentId, NodeId>,
    machines: BTreeMap<MachineId, NodeId>,
    topics: BTreeMap<Topic, usize>,
    messages: Vec<Message>,
    /// Messages that have no end yet.
    open: BTreeMap<CommandId, usize>,
    /// Messages that were not delivered yet, by their ends and payloads.
    under_way: BTreeMap<(NodeId, NodeId, u64), VecDeque<usize>>,
    publications: Vec<Publication>,
    /// Messages of topics by their author, topic and payload.
    published: BTreeMap<(NodeId, usize, u64), Vec<usize>>,
    heard: usize,
    links: Vec<Link>,
    links_up: BTreeMap<(NodeId, NodeId), usize>,
    changes: Vec<Change>,
    states: usize,
    splits: Vec<Split>,
    meter: Meter,
    left_out: LeftOut,
}

/// What was not kept since there was no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LeftOut {
    messages: u64,
    publications: u64,
    heard: u64,
    links: u64,
    changes: u64,
}

/// A node.
#[derive(Clone, Debug)]
struct Life {
    state: State,
    /// Its state before its host slept.
    awake: State,
    states: Vec<(Duration, State)>,
    figures: Figures,
}

/// What a node did, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    starts: u64,
    sent: u64,
    acknowledged: u64,
    delivered: u64,
    published: u64,
    heard: u64,
    missed: u64,
    links_up: u64,
    datagrams_out: u64,
    bytes_out: u64,
    datagrams_in: u64,
}

/// A direct message.
#[derive(Clone, Debug)]
struct Message {
    from: NodeId,
    to: NodeId,
    size: usize,
    sent_at: Duration,
    delivered_at: Option<Duration>,
    /// When it came to its end, and why that is none that one hopes for.
    ended: Option<(Duration, Result<(), String>)>,
}

/// A message of a topic.
#[derive(Clone, Debug)]
struct Publication {
    author: NodeId,
    topic: usize,
    size: usize,
    at: Duration,
    /// Who heard it, and when.
    heard: BTreeMap<NodeId, Duration>,
}

/// A link, at one end.
#[derive(Clone, Debug)]
struct Link {
    node: NodeId,
    peer: NodeId,
    from: Duration,
    /// When it ended, and why.
    until: Option<(Duration, String)>,
}

/// Something that a step did.
#[derive(Clone, Debug)]
struct Change {
    at: Duration,
    /// The node; the network if this is missing.
    node: Option<NodeId>,
    sort: Sort,
    what: String,
}

/// A partition.
#[derive(Clone, Debug)]
struct Split {
    name: PartitionName,
    from: Duration,
    until: Option<Duration>,
}
