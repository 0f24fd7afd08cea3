//! What is done to a modelled world, and what is demanded of it.
//!
//! An act that makes no sense, like the crash of a node that is not there, does nothing: so acts can
//! be left out without making nonsense of those that follow.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::experiment::{Attack, attacker};
use crate::model::{ModelConfig, Number, Protocol, Record, World};

/// One act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Act {
    /// A node starts and dials nodes that it knows.
    Start {
        /// The node.
        node: u32,
        /// Whom it knows.
        contacts: Vec<u32>,
    },
    /// A node starts that follows no rules.
    StartHostile {
        /// The node.
        node: u32,
        /// Whom it knows.
        contacts: Vec<u32>,
        /// What it does.
        attack: Attack,
        /// Whom it goes for.
        targets: Vec<u32>,
    },
    /// A node goes and says so.
    Stop {
        /// The node.
        node: u32,
    },
    /// A node goes without a word.
    Crash {
        /// The node.
        node: u32,
    },
    /// A node publishes.
    Publish {
        /// The node.
        node: u32,
        /// How many bytes.
        size: u32,
        /// What the message is called in [`Act::ExpectReached`].
        name: u32,
    },
    /// The network is divided.
    Divide {
        /// The part of each node.
        parts: Vec<u8>,
    },
    /// The network is whole.
    Heal,
    /// Sessions end.
    LoseSessions {
        /// The share of them.
        share: f64,
    },
    /// The sessions of a node get slow, or fast.
    SetBandwidth {
        /// The node.
        node: u32,
        /// Bytes each second; `None` is any number.
        bandwidth: Option<u64>,
    },
    /// There are no more faults: the network is whole, no session is slow, and each node that is there
    /// is told of the one before it. What follows is demanded.
    Calm,
    /// A node blocks the agent of another, or no longer.
    SetBlocked {
        /// The node.
        node: u32,
        /// The other.
        author: u32,
        /// Whether it is blocked.
        blocked: bool,
    },
    /// No node holds anything of what it holds only while something happens, or the world has failed.
    ExpectIdle,
    /// All who were there all the time have a message, or the world has failed.
    ExpectReached {
        /// What it was called.
        name: u32,
    },
    /// All who were there all the time have every message that somebody has, or the world has failed.
    ExpectRepaired,
}

/// An act and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimedAct {
    /// The virtual time.
    pub at: Duration,
    /// What is done.
    pub act: Act,
}

/// How many bytes without items each node may send: once, each second, for each message, and for one
/// byte of a hostile node.
const BYTES_FIRST: u64 = 64 << 10;
const BYTES_EACH_S: u64 = 4096;
const BYTES_EACH_MESSAGE: u64 = 2048;
const FACTOR_MAX: u64 = 8;

/// A world with all that was done to it.
#[derive(Debug)]
pub(super) struct Stage<P> {
    pub(super) world: World<P>,
    pub(super) acts: Vec<TimedAct>,
    pub(super) crashes: u64,
    is_gossip: bool,
    /// The messages, by what they are called.
    numbers: BTreeMap<u32, Number>,
}

impl<P: Protocol + 'static> Stage<P> {
    pub(super) fn new(config: ModelConfig, is_gossip: bool) -> Self {
        Self {
            world: World::new(config),
            acts: Vec::new(),
            crashes: 0,
            is_gossip,
            numbers: BTreeMap::new(),
        }
    }

    /// Does something, and checks the rules.
    pub(super) fn act(&mut self, act: Act) -> Result<(), String> {
        self.acts.push(TimedAct { at: self.world.now(), act: act.clone() });
        self.perform(act)?;
        self.check()
    }

    /// Lets time pass, and checks the rules.
    pub(super) fn run_until(&mut self, until: Duration) -> Result<(), String> {
        self.world.run_until(until);
        self.check()
    }

    fn perform(&mut self, act: Act) -> Result<(), String> {
        let world = &mut self.world;
        match act {
            Act::Start { node, contacts } if world.is_absent(node) => world.start(node, &contacts),
            Act::StartHostile { node, contacts, attack, targets } if world.is_absent(node) => {
                let targets = targets.into_iter().map(|node| world.id(node)).collect();
                world.start_hostile(node, &contacts, |me, rng| {
                    attacker::<P>(attack, me, rng, targets)
                });
            }
            Act::Stop { node } if world.present().contains(node) => world.stop(node),
            Act::Crash { node } if world.present().contains(node) => {
                world.crash(node);
                self.crashes += 1;
            }
            Act::Publish { node, size, name } if world.present().contains(node) => {
                self.numbers.insert(name, world.publish(node, size as usize));
            }
            Act::Divide { parts } => {
                world.divide(|node| parts.get(node as usize).copied().unwrap_or_default());
            }
            Act::SetBlocked { node, author, blocked } if world.present().contains(node) => {
                world.set_blocked(node, author, blocked);
            }
            Act::ExpectIdle => return self.check_idle(),
            Act::Heal => world.heal(),
            Act::Calm => calm(world),
            Act::LoseSessions { share } => world.lose_sessions(share),
            Act::SetBandwidth { node, bandwidth } => world.set_bandwidth(node, bandwidth),
            Act::ExpectReached { name } => {
                let record = self.numbers.get(&name).map(|&number| self.world.record(number));
                return record.map_or(Ok(()), |record| self.check_reached(record));
            }
            Act::ExpectRepaired => {
                let is_kept = |record: &&Record| self.world.reached(record).1 > 0;
                let mut kept = self.world.records().iter().filter(is_kept);
                return kept.try_for_each(|record| self.check_reached(record));
            }
            Act::Start { .. }
            | Act::StartHostile { .. }
            | Act::Stop { .. }
            | Act::Crash { .. }
            | Act::SetBlocked { .. }
            | Act::Publish { .. } => {}
        }
        Ok(())
    }

    /// Checks that no node holds anything of what it holds only while something happens.
    fn check_idle(&self) -> Result<(), String> {
        for node in self.world.present().iter() {
            if let Some(held) = self.world.protocol(node).and_then(P::held) {
                return Err(format!("n{node} holds {held} when idle"));
            }
        }
        Ok(())
    }

    /// Checks that all have a message who were there all the time.
    fn check_reached(&self, record: &Record) -> Result<(), String> {
        let (expected, has) = self.world.reached(record);
        if has == expected {
            return Ok(());
        }
        let deaf = record
            .audience
            .iter()
            .find(|&node| self.world.is_expected(node, record) && !record.received.contains(node));
        let (origin, deaf) = (record.origin, deaf.unwrap_or_default());
        Err(format!("a message of n{origin} reached {has} of {expected} nodes, not n{deaf}"))
    }

    /// Checks the rules of safety.
    fn check(&self) -> Result<(), String> {
        let tally = self.world.tally();
        // The overlay alone asks its owner what is genuine: there they are not delivered, but refused.
        let forgeries = if self.is_gossip { tally.forgeries } else { 0 };
        let broken = [
            ("forgeries were delivered", forgeries),
            ("messages were delivered twice", tally.delivered_twice),
            ("messages of blocked agents were delivered", tally.blocked_heard),
            ("honest nodes were accused", tally.wrongly_accused),
            ("honest authors are said to contradict themselves", tally.equivocations),
            ("frames were sent without room", tally.frames_over_room),
        ];
        match broken.into_iter().find(|&(_, count)| count > 0) {
            None => self.check_cost(),
            Some((what, count)) => {
                let at = self.world.now().as_secs_f64();
                Err(format!("at {at:.6} s: {count} {what}: {:?}", self.world.rules()))
            }
        }
    }
}

impl<P: Protocol + 'static> Stage<P> {
    /// Checks that what honest nodes say beside the messages stays within what the time takes, and
    /// what hostile nodes have paid for.
    fn check_cost(&self) -> Result<(), String> {
        let (honest, hostile) = self.world.sent();
        let nodes = u64::from(self.world.config().nodes);
        let published = self.world.records().len() as u64;
        let each = BYTES_FIRST
            + BYTES_EACH_S * self.world.now().as_secs()
            + BYTES_EACH_MESSAGE * published;
        let most = nodes * each + FACTOR_MAX * hostile;
        if honest <= most {
            return Ok(());
        }
        let at = self.world.now().as_secs_f64();
        let bytes = format!("{honest} bytes without items for {hostile} of hostile nodes");
        Err(format!("at {at:.6} s: honest nodes sent too much: {bytes}, at most {most}"))
    }
}

fn calm<P: Protocol>(world: &mut World<P>) {
    world.heal();
    let present: Vec<u32> = world.present().iter().collect();
    for pair in present.windows(2) {
        world.introduce(pair[1], pair[0]);
    }
    for &node in &present {
        world.set_bandwidth(node, None);
        for &author in &present {
            if world.is_blocked(node, author) {
                world.set_blocked(node, author, false);
            }
        }
    }
}
