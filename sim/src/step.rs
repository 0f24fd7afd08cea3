//! The one way to act on a world that runs, as values that can be stored and replayed.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use x0x_core::gossip::Topic;
use x0x_core::node::Request;
use x0x_core::transport::Ecn;

use crate::{ClockProfile, DiskProfile, LinkProfile, NatId, PartitionName};

/// A node of a world, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Returns the position of the node among the nodes of its world.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "n{}", self.0)
    }
}

/// Something that must be true of a world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expectation {
    /// Both ends say that their link is up.
    Linked {
        /// One end.
        a: NodeId,
        /// The other end.
        b: NodeId,
    },
    /// A direct message was delivered and acknowledged.
    Delivered {
        /// The sender.
        from: NodeId,
        /// The recipient.
        to: NodeId,
        /// The message.
        payload: Bytes,
    },
    /// A message of a topic was heard.
    Heard {
        /// The topic.
        topic: Topic,
        /// The author.
        author: NodeId,
        /// The message.
        payload: Bytes,
        /// By whom.
        by: Vec<NodeId>,
    },
    /// Something is not true.
    Not(Box<Self>),
    /// A node holds nothing of what it holds only while something happens.
    Idle {
        /// The node.
        node: NodeId,
    },
}

impl fmt::Display for Expectation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linked { a, b } => write!(formatter, "the link of {a} and {b} is up"),
            Self::Delivered { from, to, .. } => {
                write!(formatter, "a message of {from} to {to} is delivered and acknowledged")
            }
            Self::Heard { author, by, .. } => {
                let by: Vec<String> = by.iter().map(ToString::to_string).collect();
                write!(formatter, "a message of {author} is heard by {}", by.join(", "))
            }
            Self::Not(inner) => write!(formatter, "not so: {inner}"),
            Self::Idle { node } => write!(formatter, "{node} is idle"),
        }
    }
}

/// One act on a world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// The application of a node asks for something. The world chooses the command's id.
    Command {
        /// The node.
        node: NodeId,
        /// What is asked.
        request: Request,
    },
    /// A node stops at once. It loses its memory and every write that is not durable.
    Crash {
        /// The node.
        node: NodeId,
    },
    /// A node starts from its disk, with its old keys. One that runs crashes first.
    Restart {
        /// The node.
        node: NodeId,
    },
    /// A node starts from its disk as a build that speaks these versions of the protocol, newer or
    /// older. One that runs crashes first.
    Upgrade {
        /// The node.
        node: NodeId,
        /// The versions, from here on.
        versions: RangeInclusive<u16>,
    },
    /// The links change, in both directions.
    SetLink {
        /// The two ends; without them, every link that was not set by its ends.
        ends: Option<(NodeId, NodeId)>,
        /// How the links behave from here on.
        profile: LinkProfile,
    },
    /// Every link changes, those included that were set by their ends, except for the latency and
    /// the bandwidth of these.
    SetEveryLink {
        /// How the links behave from here on.
        profile: LinkProfile,
    },
    /// One direction of a link changes.
    SetDirection {
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// How the link behaves from here on.
        profile: LinkProfile,
    },
    /// A disk changes.
    SetDisk {
        /// The node.
        node: NodeId,
        /// How its disk behaves from here on.
        profile: DiskProfile,
    },
    /// Nothing passes from one node to another any more, or it does again. The other direction
    /// stays as it is.
    SetPassage {
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// Whether datagrams pass.
        is_open: bool,
    },
    /// Nodes of different groups cannot reach each other any more. The nodes that are in none of
    /// the groups are a group, too. It replaces the partition of the same name and adds to others.
    Partition {
        /// What it is called.
        name: PartitionName,
        /// The groups.
        groups: Vec<Vec<NodeId>>,
    },
    /// A partition ends; others stay.
    Heal {
        /// What it is called.
        name: PartitionName,
    },
    /// The first socket of a node that has the family of an address gets that address.
    MoveSocket {
        /// The node.
        node: NodeId,
        /// The new address. It must be free and of the family of a socket.
        address: SocketAddr,
        /// Whether the node is told with a `ChangeNetwork` command. If it is not, only the others
        /// see the new address, as behind a NAT that lost its mapping.
        announce: bool,
    },
    /// A host moves to another network: one of its sockets gets a fresh address there.
    Roam {
        /// The node.
        node: NodeId,
        /// Which of its sockets, from zero. It has to be one for IPv4.
        socket: u32,
        /// The NAT behind which it goes; `None` is the public network.
        nat: Option<NatId>,
        /// Whether the node is told with a `ChangeNetwork` command.
        announce: bool,
    },
    /// An interface of a host goes down or comes up again; the node is told with a
    /// `ChangeNetwork` command. The last one that is up stays up.
    SetInterface {
        /// The node.
        node: NodeId,
        /// Which of its sockets, from zero.
        socket: u32,
        /// Whether it is up from here on.
        is_up: bool,
    },
    /// A NAT loses its mappings: who is behind it seems to come from elsewhere.
    ResetNat {
        /// The NAT.
        nat: NatId,
    },
    /// A host freezes: what arrives is lost, its timers are late, its application is silent.
    Sleep {
        /// The node.
        node: NodeId,
        /// Whether its monotonic clock stands still meanwhile.
        stops_clock: bool,
    },
    /// A host that sleeps goes on.
    Wake {
        /// The node.
        node: NodeId,
    },
    /// The clocks of a host change.
    SetClock {
        /// The node.
        node: NodeId,
        /// How they differ from here on.
        profile: ClockProfile,
    },
    /// Every partition ends. From here on there are no more faults, see
    /// [`shrink`](crate::swarm::shrink).
    Calm,
    /// Something must be true, or the world has failed.
    Expect(Expectation),
    /// A datagram arrives out of nowhere, in the public network.
    Inject {
        /// Where it claims to come from.
        source: SocketAddr,
        /// Where it goes.
        target: SocketAddr,
        /// Its congestion notification.
        ecn: Option<Ecn>,
        /// Its bytes.
        payload: Bytes,
    },
}
