//! A world with an attacker and honest nodes that talk to one another all the while.

use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::identity::{AgentBinding, AgentKey, MachineKey, Validity};
use x0x_core::link::Usage;
use x0x_core::node::{CommandId, Connect, GetCounters, Reply, SendDirect, Target};
use x0x_core::node::{Counter, Counters};
use x0x_sim::world::UNIX_BASE;
use x0x_sim::{NodeId, World, WorldConfig};

use super::attacker::{Attacker, Guest, LinkNumber};
use super::frames::{CONTROL, Hello};
use x0x_core::direct;
use x0x_core::node::control;

/// The attacker.
pub(crate) const HOSTILE: NodeId = NodeId(0);

/// The honest node that it attacks.
pub(crate) const VICTIM: NodeId = NodeId(1);

/// Another honest node, and a friend of the victim.
pub(crate) const FRIEND: NodeId = NodeId(2);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

const TIMEOUT: Duration = Duration::from_secs(20);

/// A machine and its agent.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) machine: MachineKey,
    pub(crate) agent: AgentKey,
}

impl Identity {
    /// Makes the identity with a number.
    pub(crate) fn new(number: u32) -> Self {
        let seed = |kind: u8| {
            let mut seed = [kind; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            seed
        };
        let (machine, agent) = (seed(0xaa), seed(0xbb));
        Self { machine: MachineKey::from_seed(&machine), agent: AgentKey::from_seed(&agent) }
    }

    /// The binding that an honest node would show.
    pub(crate) fn binding(&self) -> Vec<u8> {
        self.binding_at(UNIX_BASE, 1)
    }

    /// A binding that starts at a time, with a sequence.
    pub(crate) fn binding_at(&self, unix_time: Duration, sequence: u64) -> Vec<u8> {
        let (machine, validity) = (self.machine.id(), Validity::starting_at(unix_time));
        let binding = AgentBinding::issue(&self.agent, machine, validity, sequence, None, &[5; 32]);
        binding.bytes().to_vec()
    }
}

/// The world.
pub(crate) struct Arena {
    pub(crate) world: World<Guest>,
    sent: Vec<CommandId>,
}

impl Arena {
    /// Makes a world with two honest nodes that have a link.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(WorldConfig::new(seed, 3))
    }

    /// Makes a world whose second and third node have a link.
    pub(crate) fn with(config: WorldConfig) -> Self {
        let mut arena = Self::apart(config);
        arena.connect(FRIEND, VICTIM);
        arena.run(SECOND);
        assert!(arena.world.is_linked(FRIEND, VICTIM));
        arena
    }

    /// Makes a world without links.
    pub(crate) fn apart(config: WorldConfig) -> Self {
        let mut world = World::with_machines(config);
        world.set_hostile(HOSTILE);
        Self { world, sent: Vec::new() }
    }

    /// Has an honest node keep a link to another.
    pub(crate) fn connect(&mut self, from: NodeId, to: NodeId) -> CommandId {
        let machine = Some(self.world.node_config(to).machine_key.id());
        let target = Target::Address { address: self.world.address(to), machine };
        self.world.command(from, Connect { target, keep: true, timeout: TIMEOUT }).unwrap()
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        self.world.run_for(duration).unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// Lets the attacker do something, and a little time pass.
    pub(crate) fn attack<R>(&mut self, attack: impl FnOnce(&mut Attacker, Instant) -> R) -> R {
        let result = self.strike(attack);
        self.run(Duration::from_millis(100));
        result
    }

    /// Lets the attacker do something at once.
    pub(crate) fn strike<R>(&mut self, strike: impl FnOnce(&mut Attacker, Instant) -> R) -> R {
        self.world.act(HOSTILE, |guest, time| match guest {
            Guest::Hostile(attacker) => {
                attacker.wake(time.now);
                strike(attacker, time.now)
            }
            Guest::Honest(_) => panic!("the first node is the attacker"),
        })
    }

    /// Looks at a connection of the attacker.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Attacker) -> R) -> R {
        match self.world.machine(HOSTILE) {
            Some(Guest::Hostile(attacker)) => look(attacker),
            Some(Guest::Honest(_)) | None => panic!("the first node is the attacker"),
        }
    }

    /// Makes an identity that the attacker may show.
    pub(crate) fn identity(&mut self, number: u32) -> Identity {
        let identity = Identity::new(number);
        self.world.add_identity(HOSTILE, identity.machine.id(), identity.agent.id());
        identity
    }

    /// Has the attacker dial the victim, up to the end of TLS.
    pub(crate) fn dial(&mut self, identity: &Identity) -> LinkNumber {
        let target = self.world.address(VICTIM);
        let link = self.attack(|attacker, now| attacker.dial(now, target, &identity.machine));
        self.run(SECOND / 5);
        assert!(self.look(|attacker| attacker.link(link).is_up));
        link
    }

    /// Has the attacker make a session with the victim, as an honest node would.
    pub(crate) fn session(&mut self, identity: &Identity) -> LinkNumber {
        self.held_session(identity).expect("the victim answers at once")
    }

    /// As [`Arena::session`], for a victim that may be dialling the attacker itself: then it may
    /// hold the connection, and there is no session.
    pub(crate) fn held_session(&mut self, identity: &Identity) -> Option<LinkNumber> {
        let link = self.dial(identity);
        let hello = Hello::with(vec![identity.binding()]).encode();
        self.frame(link, CONTROL, &hello);
        self.look(|attacker| attacker.link(link).frames(CONTROL).len() == 1).then_some(link)
    }

    /// Writes a frame on a connection of the attacker.
    pub(crate) fn frame(&mut self, link: LinkNumber, class: u8, payload: &[u8]) {
        self.attack(|attacker, _| attacker.frame(link, class, payload));
    }

    /// Has the honest nodes send each other a few messages, both ways.
    pub(crate) fn talk(&mut self) {
        let count = self.sent.len();
        for number in 0..5 {
            for (from, to) in [(VICTIM, FRIEND), (FRIEND, VICTIM)] {
                let payload = format!("message {number} after {count}");
                let id = self.send(from, to, payload.into_bytes(), TIMEOUT);
                self.sent.push(id);
            }
        }
    }

    /// Sends a message.
    pub(crate) fn send(
        &mut self,
        from: NodeId,
        to: NodeId,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> CommandId {
        let recipient = self.world.node_config(to).agent_key.id();
        let payload = Bytes::from(payload);
        self.world.command(from, SendDirect { recipient, payload, timeout }).unwrap()
    }

    /// Checks that the honest nodes are unharmed: all that they ever sent one another was
    /// acknowledged, and what they send after the attack is, too. The world has checked the order.
    pub(crate) fn unharmed(&mut self) {
        self.talk();
        self.run(5 * SECOND);
        self.world.check().unwrap_or_else(|failure| panic!("{failure}"));
        for &id in &self.sent {
            let reply = self.world.reply(id);
            assert!(
                matches!(reply, Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))),
                "{reply:?}"
            );
        }
    }

    /// Returns the counters of a node.
    pub(crate) fn counters(&mut self, node: NodeId) -> Counters {
        let id = self.world.command(node, GetCounters).unwrap();
        match self.world.reply(id) {
            Some(Reply::Control(control::Reply::GetCounters(counters))) => counters.clone(),
            reply => panic!("no counters: {reply:?}"),
        }
    }

    /// Returns one count of the victim.
    pub(crate) fn count(&mut self, counter: impl Into<Counter>) -> u64 {
        self.counters(VICTIM).get(counter)
    }

    /// Returns what the victim holds.
    pub(crate) fn usage(&self) -> Usage {
        match self.world.machine(VICTIM) {
            Some(Guest::Honest(node)) => node.link_usage(),
            Some(Guest::Hostile(_)) | None => panic!("the victim is honest"),
        }
    }
}
