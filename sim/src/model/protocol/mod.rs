//! What a modelled node runs.

use std::fmt::Debug;
use std::time::Instant;

use bytes::Bytes;
use x0x_core::gossip::Topic;
use x0x_core::identity::AgentId;
use x0x_core::overlay::TopicId;
use x0x_core::session::{self, Contact};
use x0x_core::support::{Rng, Time};

use super::ledger::Kind;
use super::library::{Library, Number};
use super::peer::PeerId;

mod gossip;
mod overlay;

pub use gossip::GossipNode;
pub use overlay::OverlayNode;

/// A topic of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicNumber(pub u32);

impl TopicNumber {
    /// Returns the name of the topic.
    pub fn name(self) -> String {
        format!("topic {}", self.0)
    }

    /// Returns the id of the topic.
    pub fn id(self) -> TopicId {
        Topic::new(&self.name()).expect("the name has a few bytes").id()
    }
}

/// What surrounds a node while it handles something.
#[derive(Debug)]
pub struct Env<'a> {
    /// The times of the input, by the node's own clocks.
    pub time: Time,
    /// The items of the world.
    pub library: &'a Library,
}

/// What happened to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something happened to a session.
    Session(session::Event<PeerId>),
    /// The owner wants to hear of a topic.
    Join {
        /// The topic.
        topic: TopicNumber,
    },
    /// The owner wants no more of a topic.
    Leave {
        /// The topic.
        topic: TopicNumber,
    },
    /// The owner publishes an item of the library.
    Publish {
        /// The item.
        number: Number,
    },
    /// The user blocks an author, or no longer does.
    SetBlocked {
        /// The author.
        author: AgentId,
        /// Whether it is blocked.
        blocked: bool,
    },
    /// The deadline has passed.
    Timeout,
}

/// What a node wants or tells.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a frame.
    Frame {
        /// The peer.
        peer: PeerId,
        /// The first bytes of the frame.
        header: Bytes,
        /// The other bytes; there are some if the frame carries an item.
        body: Bytes,
        /// The item, if the sender knows which it is.
        number: Option<Number>,
    },
    /// Have a session.
    Connect {
        /// The peer.
        peer: PeerId,
        /// Where it is reached.
        contact: Contact,
    },
    /// A session is of no more use.
    Release {
        /// The peer.
        peer: PeerId,
    },
    /// The node knows nobody in a topic.
    Lonely,
    /// A peer broke a rule.
    Misbehaved {
        /// The peer.
        peer: PeerId,
        /// The rule.
        rule: &'static str,
    },
    /// An item was delivered.
    Delivered {
        /// The item.
        number: Number,
        /// How many links it came over; zero if the protocol does not tell.
        hops: u8,
        /// Whether it came by repair.
        is_repair: bool,
    },
    /// Bytes were delivered that no honest node published.
    Forgery,
    /// Messages were missed for good.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// An author was found to have signed two things that exclude each other.
    Equivocated,
    /// All sessions end, and the node is somebody else. Only attackers do this.
    Reappear {
        /// Who it is from here on: its own number, and another hash.
        id: PeerId,
    },
}

impl Effect {
    /// Returns what a request of sessions is to the model. A frame of it carries no item of the
    /// library.
    fn of(request: session::Request<PeerId>) -> Self {
        match request {
            session::Request::Send { peer, header, payload } => {
                Self::Frame { peer, header: header.into(), body: payload, number: None }
            }
            session::Request::Connect { peer, contact } => Self::Connect { peer, contact },
            session::Request::Release { peer } => Self::Release { peer },
            session::Request::Violation { peer, rule } => Self::Misbehaved { peer, rule },
        }
    }
}

/// A protocol under the model: one node of it.
pub trait Protocol: Debug + Sized {
    /// What comes before a frame of the overlay.
    const OVERLAY_PREFIX: &'static [u8] = &[];

    /// Starts a node.
    fn start(me: PeerId, rng: &Rng) -> Self;

    /// Handles an input.
    fn handle(&mut self, env: &mut Env<'_>, input: Input);

    /// Sends what was gathered over a batch of inputs.
    fn settle(&mut self, _env: &mut Env<'_>) {}

    /// Moves what the node wants to the end of `effects`.
    fn drain(&mut self, env: &mut Env<'_>, effects: &mut Vec<Effect>);

    /// Returns when to handle [`Input::Timeout`].
    fn deadline(&self) -> Option<Instant>;

    /// Returns the kind of a frame.
    fn kind(header: &[u8]) -> Kind;

    /// Returns the name of a kind.
    fn kind_name(kind: Kind) -> String;

    /// Tells whether frames of a kind compare histories, ask for items or carry them.
    fn is_repair(_kind: Kind) -> bool {
        false
    }

    /// Returns how many bytes of a frame, header first, its session learns of only once it is sent.
    fn uncounted(_header: &[u8]) -> usize {
        0
    }

    /// Returns how many bytes of state the node knows itself to have, if it tells.
    fn counted_bytes(&self) -> Option<usize> {
        None
    }

    /// Returns how often the node counted something of gossip, if it runs gossip.
    fn count(&self, _counter: x0x_core::gossip::Counter) -> u64 {
        0
    }

    /// Returns the neighbours of the node in the main topic, if it tells.
    fn neighbours(&self) -> Option<Vec<PeerId>> {
        None
    }

    /// Returns the agent that the node publishes as, if it has one.
    fn agent(&self) -> Option<AgentId> {
        None
    }

    /// Returns what the node still holds although nothing happens, if it counts: see
    /// [`Machine::held`](crate::Machine::held).
    fn held(&self) -> Option<String> {
        None
    }

    /// Returns how far the node is from the root of the tree, if there is one and it tells.
    fn depth(&self) -> Option<u8> {
        None
    }

    /// Returns how many peers the node knows beside its neighbours, if it tells.
    fn known(&self) -> Option<usize> {
        None
    }
}
