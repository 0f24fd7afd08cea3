//! What a node needs to start.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{AgentCertificate, AgentKey, MachineKey};
use crate::link::{LinkConfig, PROTOCOL_VERSION_MAX};
use crate::overlay;
use crate::support::MemoryBudget;

/// The longest time that a configuration may name.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The configuration of a node. It holds secrets: its `Debug` form redacts them, its serde form
/// does not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The key that proves the machine.
    pub machine_key: MachineKey,
    /// The key that proves the agent.
    pub agent_key: AgentKey,
    /// The human's word for the agent, if there is a human.
    pub certificate: Option<AgentCertificate>,
    /// The local address of each socket, the preferred first.
    pub sockets: Vec<SocketAddr>,
    /// How links behave.
    pub link: LinkConfig,
    /// How many peers a topic has around this node.
    pub overlay: overlay::Config,
    /// The memory that peers can make the node hold.
    pub memory: MemoryBudget,
}

impl Config {
    /// Returns whether a node can start with this.
    pub(super) fn check(&self) -> Result<(), StartError> {
        self.check_overlay()?;
        self.check_versions()?;
        let link = &self.link;
        if self.sockets.is_empty() {
            return Err(StartError::NoSockets);
        }
        let (idle, pause_max) = ("at least twice keep_alive", "at least redial_pause_min");
        let millis = Duration::from_millis;
        let pause_min = link.redial_pause_min;
        let cases = [
            ("keep_alive", link.keep_alive, millis(1), "positive"),
            ("idle_timeout", link.idle_timeout, link.keep_alive.saturating_mul(2), idle),
            ("redial_pause_min", pause_min, millis(1), "positive"),
            ("redial_pause_max", link.redial_pause_max, pause_min, pause_max),
            ("dial_timeout", link.dial_timeout, millis(100), "at least 100 ms"),
        ];
        for (name, value, least, expected) in cases {
            if value < least {
                return Err(StartError::InvalidConfig { name, value, expected });
            }
            if value > TIME_MAX {
                let expected = "at most a year";
                return Err(StartError::InvalidConfig { name, value, expected });
            }
        }
        Ok(())
    }

    fn check_versions(&self) -> Result<(), StartError> {
        let versions = &self.link.versions;
        let (oldest, newest) = (usize::from(*versions.start()), usize::from(*versions.end()));
        let cases = [
            ("versions.end", newest, PROTOCOL_VERSION_MAX.into()),
            ("versions.start", oldest, newest),
        ];
        check_numbers(cases)
    }

    fn check_overlay(&self) -> Result<(), StartError> {
        let overlay = &self.overlay;
        let walk = overlay.walk_steps.into();
        let cases = [
            ("active_max", overlay.active_max, overlay::ACTIVE_MAX),
            ("passive_max", overlay.passive_max, overlay::PASSIVE_MAX),
            ("walk_steps", walk, usize::from(overlay::WALK_STEPS_MAX)),
            ("passive_walk_steps", overlay.passive_walk_steps.into(), walk),
        ];
        check_numbers(cases)
    }
}

/// Checks settings: the name of each, its value, and the most that it may be.
fn check_numbers(
    cases: impl IntoIterator<Item = (&'static str, usize, usize)>,
) -> Result<(), StartError> {
    for (name, value, most) in cases {
        if !(1..=most).contains(&value) {
            return Err(StartError::InvalidNumber { name, value, most });
        }
    }
    Ok(())
}

/// Why a node cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A configured value is out of its range.
    #[error("{name} is {value:?}: it must be {expected}")]
    InvalidConfig {
        /// The setting.
        name: &'static str,
        /// What it is.
        value: Duration,
        /// What it must be.
        expected: &'static str,
    },
    /// A configured number is out of its range.
    #[error("{name} is {value}: it must be from 1 to {most}")]
    InvalidNumber {
        /// The setting.
        name: &'static str,
        /// What it is.
        value: usize,
        /// The most that it may be.
        most: usize,
    },
    /// There is no socket.
    #[error("the node has no socket")]
    NoSockets,
    /// A stored record cannot be read.
    #[error("the record {key} in table {table} cannot be read: {reason}")]
    CorruptRecord {
        /// The table.
        table: &'static str,
        /// The key, in hex.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}
