//! Whole nodes that are hostile: strangers without end.
//!
//! A host becomes hostile as it would in life: somebody starts another program on it, which here is
//! the build that speaks only the versions [`STRANGERS`] ([`Step::Upgrade`]). So it is in a recording,
//! and can be left out of one. That program is a whole node that is somebody else every second, at the
//! same address. What its application asks for, each identity asks for again: it connects,
//! subscribes and publishes under a name that nobody heard before.
//!
//! [`AnyNode`] is the machine of worlds that may have such hosts. The checks of a world are told of them
//! by [`World::expect_strangers`], and by [`Recording::world`] when it is played again.
//!
//! [`Recording::world`]: crate::Recording::world

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::link::{PROTOCOL_VERSION, PROTOCOL_VERSION_MAX};
use x0x_core::node::{
    Command, CommandError, CommandId, Config, Deadline, Input, Node, Output, Request, Restored,
    ShutDown, StartError, StoreError, Time,
};
use x0x_core::support::Rng;

use crate::{Machine, NodeId, Step, World, random};

/// The versions that no build of x0x speaks: the program is one that makes strangers.
pub const STRANGERS: RangeInclusive<u16> = u16::MAX..=u16::MAX;

/// How many identities a host has before it begins again with the first.
pub const IDENTITIES: u32 = 256;

/// How long an identity stays at most.
const STAY: Duration = Duration::from_secs(2);

/// How long it takes to say goodbye.
const GOODBYE: Duration = Duration::from_millis(100);

/// How many requests are asked again.
const REQUESTS_MAX: usize = 16;

/// A node, honest or not.
#[derive(Debug)]
pub enum AnyNode {
    /// A node as it is.
    Honest(Box<Node>),
    /// A node that is somebody else every second.
    Strangers(Box<Strangers>),
}

impl Machine for AnyNode {
    fn start(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        time: Time,
    ) -> Result<Self, StartError> {
        if config.link.versions == STRANGERS {
            let strangers = Strangers::new(config, seed, time)?;
            return Ok(Self::Strangers(Box::new(strangers)));
        }
        Node::new(config, seed, restored, time).map(|node| Self::Honest(Box::new(node)))
    }

    fn handle(&mut self, time: Time, input: Input) -> Result<(), CommandError> {
        match self {
            Self::Honest(node) => node.handle(time, input),
            Self::Strangers(strangers) => strangers.handle(time, input),
        }
    }

    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Output {
        match self {
            Self::Honest(node) => node.poll_output(buffer),
            Self::Strangers(strangers) => strangers.poll_output(buffer),
        }
    }

    fn over_limit(&self) -> Option<String> {
        match self {
            Self::Honest(node) => node.over_limit(),
            Self::Strangers(_) => None,
        }
    }

    fn held(&self) -> Option<String> {
        match self {
            Self::Honest(node) => node.held(),
            Self::Strangers(_) => None,
        }
    }
}

/// A program that is somebody else every second.
#[derive(Debug)]
pub struct Strangers {
    config: Config,
    rng: Rng,
    node: Node,
    /// How many identities it had.
    count: u32,
    requests: Vec<Request>,
    commands: u64,
    time: Time,
    /// When the identity goes, or is gone.
    next: Instant,
    says_goodbye: bool,
}

impl Strangers {
    fn new(mut config: Config, seed: [u8; 32], time: Time) -> Result<Self, StartError> {
        config.link.versions = PROTOCOL_VERSION..=PROTOCOL_VERSION_MAX;
        let mut rng = Rng::from_seed(seed);
        let seed = rng.bytes();
        let node = Node::new(config.clone(), seed, Restored::default(), time)?;
        Ok(Self {
            config,
            rng,
            node,
            count: 0,
            requests: Vec::new(),
            commands: 0,
            time,
            next: time.now,
            says_goodbye: false,
        })
    }

    fn handle(&mut self, time: Time, input: Input) -> Result<(), CommandError> {
        self.time = time;
        match input {
            Input::Command(command) => {
                if self.requests.len() < REQUESTS_MAX {
                    self.requests.push(command.request.clone());
                }
                self.ask(command.request);
                // Nobody waits for its replies.
                return Err(CommandError::Halted);
            }
            Input::Stored(..) | Input::Loaded(..) => {}
            Input::Datagram(_) | Input::Timeout => self.node.handle(time, input)?,
        }
        if self.next <= time.now {
            self.turn();
        }
        Ok(())
    }

    /// Half of all identities say goodbye; the others are gone.
    fn turn(&mut self) {
        if !self.says_goodbye && random::chance(&mut self.rng, 0.5) {
            self.says_goodbye = true;
            self.next = self.time.now + GOODBYE;
            self.ask(ShutDown.into());
            return;
        }
        self.says_goodbye = false;
        self.next = self.time.now + random::between(&mut self.rng, STAY / 4, STAY);
        let number = self.count % IDENTITIES;
        self.count += 1;
        let (machine_key, agent_key) = identity(&self.config, number);
        let config = Config { machine_key, agent_key, ..self.config.clone() };
        let seed = self.rng.bytes();
        let node = Node::new(config, seed, Restored::default(), self.time);
        self.node = node.expect("it started with the same settings before");
        for request in self.requests.clone() {
            self.ask(request);
        }
    }

    fn ask(&mut self, request: Request) {
        self.commands += 1;
        let command = Command { id: CommandId(self.commands), request };
        // What is refused is not done.
        let _ = self.node.handle(self.time, Input::Command(command));
    }

    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Output {
        loop {
            buffer.clear();
            let answer = match self.node.poll_output(buffer) {
                Output::Transmit(transmit) => return Output::Transmit(transmit),
                Output::Store(batch) => Input::Stored(batch.id, Ok(())),
                Output::Load(load) => Input::Loaded(load.id, Err(StoreError::Full)),
                Output::Event(_) | Output::Settled => continue,
                Output::Idle { deadline } => {
                    let own = Deadline { at: self.next, timer: "next identity" };
                    let first = deadline.into_iter().chain([own]).min_by_key(|one| one.at);
                    return Output::Idle { deadline: first };
                }
            };
            // It is no command.
            let _ = self.node.handle(self.time, answer);
        }
    }
}

/// Returns the identity with a number of a host.
fn identity(config: &Config, number: u32) -> (MachineKey, AgentKey) {
    let mut rng = Rng::from_seed(*config.machine_key.seed()).fork(&format!("stranger {number}"));
    (MachineKey::from_seed(&rng.bytes()), AgentKey::from_seed(&rng.bytes()))
}

impl<M: Machine> World<M> {
    /// Expects nothing of a node from here on, and that it may show the identities of strangers.
    pub fn expect_strangers(&mut self, node: NodeId) {
        self.set_hostile(node);
        for number in 0..IDENTITIES {
            let (machine, agent) = identity(self.node_config(node), number);
            self.add_identity(node, machine.id(), agent.id());
        }
    }
}

/// Returns the host that a step makes hostile.
pub(crate) fn made_hostile(step: &Step) -> Option<NodeId> {
    if let Step::Upgrade { node, versions } = step {
        return (*versions == STRANGERS).then_some(*node);
    }
    None
}
