//! Who hears of a topic, and how an item reaches all of them. (A plain flood at this commit; see
//! the history of this file for what replaces it.)

mod item;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use item::{CONTACT_SIZE_MAX, Contact, Item, ItemId, Stamp, TopicId};

/// A peer's id. The overlay is generic over it: nodes use the machine id, tests use numbers.
pub trait Peer: Copy + Ord + Debug + Serialize + DeserializeOwned + Send + 'static {}

impl<T: Copy + Ord + Debug + Serialize + DeserializeOwned + Send + 'static> Peer for T {}

/// The context of this module.
pub type Context<'a, P> = crate::support::Context<'a, Output<P>>;

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// A session with a peer began.
    PeerUp {
        /// The peer.
        peer: P,
        /// Where it is reached, for others who ask.
        contact: Contact,
        /// The round trip to it.
        round_trip: Duration,
        /// The bytes that may be sent.
        room: usize,
    },
    /// A session ended.
    PeerDown {
        /// The peer.
        peer: P,
    },
    /// There is room for frames.
    Writable {
        /// The peer.
        peer: P,
        /// The bytes that may be sent from here on.
        room: usize,
    },
    /// A frame arrived.
    Frame {
        /// The peer.
        peer: P,
        /// The whole frame.
        frame: Bytes,
    },
    /// No session came of an [`Output::Connect`].
    ConnectFailed {
        /// The peer.
        peer: P,
    },
    /// The owner wants to hear of a topic, or to publish to it.
    Join {
        /// The topic.
        topic: TopicId,
    },
    /// The owner wants no more of a topic.
    Leave {
        /// The topic.
        topic: TopicId,
    },
    /// The deadline has passed.
    Timeout,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// Send a frame: the header, then the bytes of the item if there is one.
    Frame {
        /// The peer.
        peer: P,
        /// The first bytes of the frame.
        header: Bytes,
        /// What follows them.
        item: Option<Item>,
    },
    /// An item came that was not seen before: check it, then call [`State::accept`] or
    /// [`State::reject`] with the receipt. Until then nobody else gets it.
    Received {
        /// What to give back.
        receipt: Receipt<P>,
        /// The bytes of the item.
        bytes: Bytes,
    },
    /// Have a session with a peer. The answer is [`Input::PeerUp`] or [`Input::ConnectFailed`].
    Connect {
        /// The peer.
        peer: P,
        /// Where it is reached.
        contact: Contact,
    },
    /// The overlay has no more use for the session with a peer.
    Release {
        /// The peer.
        peer: P,
    },
    /// A peer broke a rule: end its session.
    Misbehaved {
        /// The peer.
        peer: P,
        /// The rule.
        rule: &'static str,
    },
}

/// An item that is being checked.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt<P> {
    /// The topic.
    pub topic: TopicId,
    /// Who sent it.
    pub peer: P,
    /// How many links it has come over.
    pub hops: u8,
    /// Whether it comes late, by repair, rather than fresh from its author.
    pub is_repair: bool,
}

/// Why an item is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever sent it should have known better: it is forged or malformed.
    Forged,
    /// Nobody is to blame: it is too old, or its author is no longer heard.
    Unwanted,
}

/// The overlay of one node.
#[derive(Debug)]
pub struct State<P> {
    peers: BTreeSet<P>,
    topics: BTreeMap<TopicId, BTreeMap<ItemId, Bytes>>,
}

impl<P: Peer> State<P> {
    /// Makes the state of a node without peers and topics.
    pub fn new(_me: P) -> Self {
        Self { peers: BTreeSet::new(), topics: BTreeMap::new() }
    }

    /// Handles an input.
    pub fn handle(&mut self, context: &mut Context<'_, P>, input: Input<P>) {
        match input {
            Input::PeerUp { peer, .. } => {
                self.peers.insert(peer);
            }
            Input::PeerDown { peer } => {
                self.peers.remove(&peer);
            }
            Input::Frame { peer, frame } => {
                let Some((topic, _)) = frame.split_first_chunk::<32>() else {
                    return context.emit(Output::Misbehaved { peer, rule: "a short frame" });
                };
                let topic = TopicId(*topic);
                if self.topics.contains_key(&topic) {
                    let bytes = frame.slice(32..);
                    let receipt = Receipt { topic, peer, hops: 0, is_repair: false };
                    context.emit(Output::Received { receipt, bytes });
                }
            }
            Input::Join { topic } => {
                self.topics.entry(topic).or_default();
            }
            Input::Leave { topic } => {
                self.topics.remove(&topic);
            }
            Input::Writable { .. } | Input::ConnectFailed { .. } | Input::Timeout => {}
        }
    }

    /// Sends an item of this node to everybody who hears of the topic.
    pub fn publish(&mut self, context: &mut Context<'_, P>, topic: TopicId, item: Item) {
        self.spread(context, topic, None, &item);
    }

    /// Takes an item that was checked: it is kept and goes on to others.
    pub fn accept(&mut self, context: &mut Context<'_, P>, receipt: Receipt<P>, item: Item) {
        self.spread(context, receipt.topic, Some(receipt.peer), &item);
    }

    /// Refuses an item.
    pub fn reject(&mut self, context: &mut Context<'_, P>, receipt: Receipt<P>, fault: Fault) {
        if fault == Fault::Forged {
            context.emit(Output::Misbehaved { peer: receipt.peer, rule: "a forged item" });
        }
    }

    /// Looks at once for what a peer has of a topic and this node has not.
    pub fn pull(&mut self, _context: &mut Context<'_, P>, _topic: TopicId, _peer: P) {}

    /// Returns the bytes of an item that was accepted or published, while the history has it.
    pub fn item(&self, topic: &TopicId, id: &ItemId) -> Option<Bytes> {
        self.topics.get(topic)?.get(id).cloned()
    }

    /// How many bytes wait for the neighbour of a topic that is furthest behind.
    pub fn backlog(&self, _topic: &TopicId) -> usize {
        0
    }

    /// Sends what was gathered over a batch of inputs.
    pub fn settle(&mut self, _context: &mut Context<'_, P>) {}

    /// Returns when to handle [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    fn spread(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
        from: Option<P>,
        item: &Item,
    ) {
        let Some(seen) = self.topics.get_mut(&topic) else { return };
        if seen.insert(item.stamp.id, item.bytes.clone()).is_none() {
            for &peer in self.peers.iter().filter(|&&peer| Some(peer) != from) {
                let header = Bytes::copy_from_slice(&topic.0);
                context.emit(Output::Frame { peer, header, item: Some(item.clone()) });
            }
        }
    }
}
