//! The form of a scenario file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::config::{ModelConfig, Span};

/// A scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A few words.
    pub title: String,
    /// A sentence that says what it shows.
    pub shows: String,
    /// How many nodes; several numbers give several worlds.
    pub nodes: Vec<u32>,
    /// What the nodes run.
    #[serde(default)]
    pub fidelity: Fidelity,
    /// How many seeds are played, if nobody says otherwise.
    #[serde(default = "one")]
    pub seeds: u32,
    /// The links.
    #[serde(default)]
    pub links: Links,
    /// How nodes come to be in the topic.
    #[serde(default)]
    pub join: Join,
    /// What is done.
    pub step: Vec<Step>,
    /// What must come out.
    #[serde(default)]
    pub expect: Vec<Expect>,
}

fn one() -> u32 {
    1
}

/// What the nodes run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fidelity {
    /// The overlay; the model vouches for items.
    #[default]
    Overlay,
    /// Gossip, with real signatures.
    Gossip,
}

/// The links.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// The shortest and the longest latency, one way.
    pub latency_ms: Span,
    /// How many bytes a session carries each second in one direction; any number if missing.
    pub bytes_per_s: Option<u64>,
    /// How long after the last packet a session is over.
    pub idle_timeout_ms: Span,
    /// How far the wall clocks are off.
    pub clock_offset_ms: u64,
}

impl Default for Links {
    fn default() -> Self {
        let config = ModelConfig::new(0, 0);
        Self {
            latency_ms: config.latency,
            bytes_per_s: config.bandwidth,
            idle_timeout_ms: config.idle_timeout,
            clock_offset_ms: 0,
        }
    }
}

/// How nodes come to be in the topic: one after another, each knowing some that came before.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Join {
    /// Within how many seconds all of them start.
    pub over_s: f64,
    /// How many earlier nodes each knows.
    pub contacts: u32,
    /// How long everybody is left alone then.
    pub settle_s: f64,
    /// Which share of the nodes follows no rules.
    pub hostile: f64,
    /// What these do.
    pub attack: Option<Attack>,
}

impl Default for Join {
    fn default() -> Self {
        Self { over_s: 10.0, contacts: 1, settle_s: 60.0, hostile: 0.0, attack: None }
    }
}

/// What hostile nodes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// They change what they pass on.
    Forge,
    /// They announce items and never give one away.
    Mute,
    /// They take and give nothing.
    Swallow,
    /// They are in a thousand other topics.
    Topics,
    /// They say everything ten times.
    Repeat,
    /// They send random bytes.
    Junk,
    /// They send again what they heard.
    Replay,
    /// They send a hundred beacons each second, in every name.
    Beacons,
    /// They name peers that do not exist, and say of others that they are elsewhere.
    NamedAddresses,
    /// They publish as ever new authors, and say again what honest authors said. Gossip only.
    PuppetAuthors,
    /// They announce items that do not exist.
    InventedItems,
    /// They come under ever new identities and go at once.
    Strangers,
    /// They compare histories as often as they may, and leave and join without end.
    Reconciler,
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Publisher {
    /// One node, every time.
    Single,
    /// Another node each time.
    Rotating,
    /// All nodes at one moment.
    All,
}

/// Something that is done.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Messages are published; the figures of each are taken.
    Publish {
        /// The name of the step, for its figures.
        name: String,
        /// Who publishes.
        by: Publisher,
        /// How many times.
        count: u32,
        /// How long after one follows the next.
        #[serde(default = "second")]
        every_ms: u64,
        /// How many bytes.
        #[serde(default = "payload")]
        size: usize,
        /// How long after the last is waited until the figures are taken.
        #[serde(default)]
        drain_s: f64,
    },
    /// Time passes.
    Wait {
        /// How much.
        s: f64,
    },
    /// Time passes, and what that costs is measured.
    Idle {
        /// The name of the step, for its figures.
        name: String,
        /// How much.
        s: f64,
    },
    /// A share of the nodes crashes at once.
    Crash {
        /// The share.
        share: f64,
    },
    /// The network falls into two halves, or more parts.
    Divide {
        /// How many.
        parts: u8,
    },
    /// The network becomes whole.
    Heal,
    /// Time passes, and what nodes missed before it should come to them.
    Repair {
        /// The name of the step, for its figures.
        name: String,
        /// How much.
        s: f64,
    },
    /// A share of the sessions ends.
    LoseSessions {
        /// The share.
        share: f64,
    },
    /// A share of the nodes gets slow.
    Slow {
        /// The share.
        share: f64,
        /// How many bytes each of their sessions carries each second.
        bytes_per_s: u64,
    },
    /// From here on, nodes crash, leave and start, as many of each.
    Churn {
        /// How many nodes are replaced each second.
        per_s: f64,
    },
}

fn second() -> u64 {
    1000
}

fn payload() -> usize {
    256
}

/// What must come out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The step.
    pub of: String,
    /// The figure.
    pub figure: String,
    /// It must not be more.
    pub max: Option<f64>,
    /// It must not be less.
    pub min: Option<f64>,
    /// The number of nodes for which this is meant; any if missing.
    pub nodes: Option<u32>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// If the text is not one; the error says where.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Returns what a world of this scenario is made from.
    pub fn config(&self, seed: u64, nodes: u32) -> ModelConfig {
        ModelConfig {
            latency: self.links.latency_ms,
            bandwidth: self.links.bytes_per_s,
            idle_timeout: self.links.idle_timeout_ms,
            clock_offset_max: Duration::from_millis(self.links.clock_offset_ms),
            ..ModelConfig::new(seed, nodes)
        }
    }
}
