//! What is done in a script. A name that stands for several nodes means each of them.

use std::time::Duration;

use serde::Deserialize;

use super::file::{Link, PUBLIC};
use crate::units::{milliseconds, seconds};
use crate::{ClockProfile, DiskProfile, LinkProfile};

/// What is done.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// An application asks for a link.
    Connect(Connect),
    /// An application ends a link.
    Disconnect {
        /// The node whose application it is.
        from: String,
        /// The other end.
        to: String,
    },
    /// An application sends direct messages.
    Send(Send),
    /// An application publishes messages to a topic.
    Publish(Publish),
    /// An application joins a topic.
    Subscribe {
        /// The node.
        node: String,
        /// The topic.
        topic: String,
    },
    /// An application leaves a topic.
    Unsubscribe {
        /// The node.
        node: String,
        /// The topic.
        topic: String,
    },
    /// A node says goodbye and stops.
    ShutDown(String),
    /// A node stops at once. It loses its memory and every write that is not durable.
    Crash(String),
    /// A node starts from its disk; one that runs crashes first. Its application asks again for the
    /// links and topics of [`Node`](super::Node).
    Restart(String),
    /// A node starts as a build that speaks other versions of the protocol; one that runs crashes
    /// first. Its application asks again as after a restart.
    Upgrade {
        /// The node.
        node: String,
        /// The oldest version that it speaks from here on.
        oldest: u16,
        /// The newest.
        newest: u16,
    },
    /// A link changes.
    Link(Link),
    /// Every link changes; those that were named keep their latency and bandwidth.
    Links(LinkProfile),
    /// A disk changes.
    Disk {
        /// The node.
        node: String,
        /// How its disk behaves from here on; otherwise as those of the world.
        profile: Option<DiskProfile>,
    },
    /// Nodes of different groups cannot reach each other any more. Those that are in none are a
    /// group, too.
    Partition {
        /// What it is called.
        name: String,
        /// The groups.
        groups: Vec<Vec<String>>,
    },
    /// The partition of this name ends.
    Heal(String),
    /// Nothing passes from one node to another any more. The other direction stays as it is.
    Block {
        /// The sender.
        from: String,
        /// The receiver.
        to: String,
    },
    /// What was blocked passes again.
    Unblock {
        /// The sender.
        from: String,
        /// The receiver.
        to: String,
    },
    /// The NAT of this name loses its mappings.
    ResetNat(String),
    /// A host moves to another network, or gets another address of the network that it is in.
    Roam(Roam),
    /// An interface of a host goes down or comes up again. The last one that is up stays up.
    Interface {
        /// The node.
        node: String,
        /// Which of its sockets, from zero.
        socket: u32,
        /// Whether it is up from here on.
        up: bool,
    },
    /// A host freezes: what arrives is lost, its timers are late, its application is silent.
    Sleep {
        /// The node.
        node: String,
        /// Whether its monotonic clock stands still meanwhile.
        #[serde(default)]
        stops_clock: bool,
    },
    /// A host that sleeps goes on.
    Wake(String),
    /// The clocks of a host change.
    Clock {
        /// The node.
        node: String,
        /// How they differ from here on; otherwise they are right.
        #[serde(default)]
        profile: ClockProfile,
    },
}

/// An application asks for a link. The other end is dialled at its preferred address, as it was when
/// the world began; if that means nothing in the network of the one who asks, its node has to know
/// another.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// Who asks.
    pub from: String,
    /// The other end.
    pub to: String,
    /// Whether the node keeps the link from here on.
    #[serde(default = "yes")]
    pub keep: bool,
    /// How long it may take.
    #[serde(default = "connect_timeout", rename = "timeout_s", with = "seconds")]
    pub timeout: Duration,
}

impl Default for Connect {
    fn default() -> Self {
        let [from, to] = Default::default();
        Self { from, to, keep: yes(), timeout: connect_timeout() }
    }
}

/// An application sends direct messages.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// What the messages are called, for what is expected of them.
    #[serde(default)]
    pub name: String,
    /// The sender.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// How long after one follows the next.
    #[serde(default, rename = "every_ms", with = "milliseconds")]
    pub every: Duration,
    /// How many bytes each has; the first few are not for the script to say.
    #[serde(default = "size")]
    pub size: usize,
    /// How long each may take.
    #[serde(default = "send_timeout", rename = "timeout_s", with = "seconds")]
    pub timeout: Duration,
}

impl Default for Send {
    fn default() -> Self {
        let [name, from, to] = Default::default();
        let (count, every, size, timeout) = (one(), Duration::ZERO, size(), send_timeout());
        Self { name, from, to, count, every, size, timeout }
    }
}

/// An application publishes messages to a topic.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// What the messages are called, for what is expected of them.
    #[serde(default)]
    pub name: String,
    /// The author.
    pub from: String,
    /// The topic.
    pub topic: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// How long after one follows the next.
    #[serde(default, rename = "every_ms", with = "milliseconds")]
    pub every: Duration,
    /// How many bytes each has; the first few are not for the script to say.
    #[serde(default = "size")]
    pub size: usize,
}

impl Default for Publish {
    fn default() -> Self {
        let [name, from, topic] = Default::default();
        Self { name, from, topic, count: one(), every: Duration::ZERO, size: size() }
    }
}

/// A host moves: one of its IPv4 sockets gets an address that nobody had before.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roam {
    /// The node.
    pub node: String,
    /// Which of its sockets, from zero.
    #[serde(default)]
    pub socket: u32,
    /// The network to which it goes.
    #[serde(default = "public")]
    pub network: String,
    /// Whether the node is told.
    #[serde(default = "yes")]
    pub told: bool,
}

impl Default for Roam {
    fn default() -> Self {
        Self { node: String::new(), socket: 0, network: public(), told: yes() }
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn size() -> usize {
    200
}

fn public() -> String {
    PUBLIC.to_owned()
}

fn connect_timeout() -> Duration {
    Duration::from_secs(10)
}

fn send_timeout() -> Duration {
    Duration::from_secs(20)
}
