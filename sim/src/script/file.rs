//! The form of a script: what a file holds, and what Rust code can build.

use std::time::Duration;

use serde::Deserialize;

use super::act::Act;
use crate::units::seconds;
use crate::{ClockProfile, DiskProfile, FirewallProfile, LinkProfile, NatProfile};

/// The name of the public network, where a script names a network.
pub const PUBLIC: &str = "public";

/// A world that is written down.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// A few words.
    pub title: String,
    /// A sentence that says what it shows.
    pub shows: String,
    /// How long it runs.
    #[serde(rename = "duration_s", with = "seconds")]
    pub duration: Duration,
    /// Whether each node has one more socket, for IPv6, in the public network.
    #[serde(default)]
    pub dual_stack: bool,
    /// The links that are not named.
    #[serde(default)]
    pub links: LinkProfile,
    /// The disks.
    #[serde(default)]
    pub disks: DiskProfile,
    /// The NATs, the outer ones first.
    #[serde(default)]
    pub nat: Vec<Nat>,
    /// The nodes.
    pub node: Vec<Node>,
    /// Links that differ, from the beginning on.
    #[serde(default)]
    pub link: Vec<Link>,
    /// What is done, in any order.
    #[serde(default)]
    pub step: Vec<Step>,
    /// What must be true, and when.
    #[serde(default)]
    pub expect: Vec<Expect>,
    /// What the figures must be in the end.
    #[serde(default)]
    pub limit: Vec<Limit>,
}

/// A NAT, and with it the network behind it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nat {
    /// The name of the NAT and of the network behind it.
    pub name: String,
    /// The NAT behind which it stands, one that comes before; otherwise it is in the public network.
    pub behind: Option<String>,
    /// How it behaves.
    #[serde(default)]
    pub profile: NatProfile,
}

/// A node, or several of a kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The name.
    pub name: String,
    /// If there is a number, there are as many: `name-1`, `name-2` and so on, and the name stands for
    /// each of them.
    pub count: Option<u32>,
    /// The network of each of its IPv4 sockets, the preferred first; none named is a socket in the
    /// public one.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Its firewall, if it has one.
    pub firewall: Option<FirewallProfile>,
    /// Its clocks.
    #[serde(default)]
    pub clock: ClockProfile,
    /// With whom its application asks for links whenever the node starts; what comes up within ten
    /// seconds is kept.
    #[serde(default)]
    pub connects: Vec<String>,
    /// To which topics its application subscribes whenever the node starts.
    #[serde(default)]
    pub subscribes: Vec<String>,
}

/// How a link is, or the links of all pairs if a name stands for several nodes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// One end; the sender if it is one way.
    pub from: String,
    /// The other end.
    pub to: String,
    /// Whether only what goes from one to the other is meant.
    #[serde(default)]
    pub one_way: bool,
    /// How it is; otherwise as those that are not named.
    pub profile: Option<LinkProfile>,
}

/// Something that is done.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When.
    #[serde(rename = "at_s", with = "seconds")]
    pub at: Duration,
    /// What.
    #[serde(rename = "do")]
    pub act: Act,
}

/// Something that must be true.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// When, after all that happens at this time.
    #[serde(rename = "at_s", with = "seconds")]
    pub at: Duration,
    /// What.
    pub that: Demand,
}

/// What must be true. A name that stands for several nodes means each of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Demand {
    /// Two nodes have a link, as both say.
    Linked([String; 2]),
    /// Two nodes have no link, as one of them says at least.
    Apart([String; 2]),
    /// The messages of a step of this name are delivered, and their senders know.
    Delivered(String),
    /// What a step of this name published was heard.
    Heard {
        /// The name.
        message: String,
        /// By whom.
        by: Vec<String>,
    },
    /// What a step of this name published was not heard, not one message of it.
    Unheard {
        /// The name.
        message: String,
        /// By whom.
        by: Vec<String>,
    },
}

/// What a figure must be in the end.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The figure, as the table of a world names it.
    pub figure: String,
    /// It must not be more.
    pub max: Option<f64>,
    /// It must not be less.
    pub min: Option<f64>,
}
