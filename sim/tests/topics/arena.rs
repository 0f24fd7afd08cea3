//! A world of gossip nodes of which some are hostile, and what came of its messages.

use std::time::Duration;

use x0x_core::gossip;
use x0x_core::support::Rng;
use x0x_sim::model::attack::{Attacker, Puppet, Twist, Twisted};
use x0x_sim::model::experiment::{Attack, attacker};
use x0x_sim::model::{GossipNode, HANDSHAKE_BYTES, ModelConfig, PeerId, Protocol, World};

pub(crate) const S: Duration = Duration::from_secs(1);

/// A world of gossip nodes of which some are hostile, and what came of its messages.
pub(crate) struct Arena {
    pub(crate) world: World<GossipNode>,
    pub(crate) hostile: Vec<u32>,
    /// What nodes had received and sent when the messages began.
    before: Vec<[u64; 2]>,
    /// The sessions that hostile nodes had begun then.
    sessions_before: u64,
}

pub(crate) const NODES: u32 = 60;
const MESSAGES: u32 = 30;

impl Arena {
    /// Starts the nodes, one after another; every `nth` is what `make` makes, which gets the ids of
    /// the first honest nodes as its targets.
    pub(crate) fn new(
        seed: u64,
        nth: u32,
        make: impl Fn(PeerId, &Rng, Vec<PeerId>) -> Box<dyn Attacker>,
    ) -> Self {
        let mut world = World::new(ModelConfig::new(seed, NODES));
        let mut hostile = Vec::new();
        let targets: Vec<PeerId> = (0..4).map(|node| world.id(node)).collect();
        for node in 0..NODES {
            world.run_for(S / 10);
            let contacts = if node == 0 { vec![] } else { vec![node / 2, (node - 1) / 3] };
            if nth > 0 && node >= 4 && node % nth == 0 {
                hostile.push(node);
                world.start_hostile(node, &contacts, |me, rng| make(me, rng, targets.clone()));
            } else {
                world.start(node, &contacts);
            }
        }
        world.run_for(60 * S);
        let before = (0..NODES).map(|node| traffic(&world, node)).collect();
        let sessions_before = world.tally().sessions_hostile;
        Self { world, hostile, before, sessions_before }
    }

    /// A tenth of the nodes are twisted.
    pub(crate) fn twisted(seed: u64, twist: &Twist) -> Self {
        Self::new(seed, 10, |me, rng, targets| {
            let plan = Twisted { twist: twist.clone(), targets, patience: 5 * S };
            Box::new(Puppet::<GossipNode>::new(me, rng, plan))
        })
    }

    /// Two nodes do what a scenario can name, or without one what honest nodes do.
    pub(crate) fn attacked(seed: u64, attack: Option<Attack>) -> Self {
        Self::new(seed, 20, |me, rng, targets| match attack {
            Some(attack) => attacker::<GossipNode>(attack, me, rng, targets),
            None => {
                let plan = Twisted { twist: Twist::Nothing, targets, patience: 5 * S };
                Box::new(Puppet::<GossipNode>::new(me, rng, plan))
            }
        })
    }

    /// Honest nodes publish, one message each second.
    pub(crate) fn talk(mut self) -> Self {
        let honest: Vec<u32> = self.world.present().iter().collect();
        for message in 0..MESSAGES {
            let sender = honest[(message as usize * 7) % honest.len()];
            self.world.publish(sender, 256);
            self.world.run_for(S);
        }
        self.world.run_for(30 * S);
        self
    }

    /// Returns the share of honest deliveries that came.
    pub(crate) fn reached(&self) -> f64 {
        let (mut expected, mut has) = (0, 0);
        for record in self.world.records() {
            let (more_expected, more) = self.world.reached(record);
            expected += more_expected;
            has += more;
        }
        f64::from(has) / f64::from(expected)
    }

    /// Returns the bytes that an honest node received and sent for each message, in the mean. What it
    /// receives an attacker has paid for; what it sends because of that is what the attack costs others.
    pub(crate) fn bytes_per_message(&self) -> [f64; 2] {
        let honest: Vec<u32> = self.world.present().iter().collect();
        [0, 1].map(|way| {
            let since =
                |&node: &u32| traffic(&self.world, node)[way] - self.before[node as usize][way];
            let sum: u64 = honest.iter().map(since).sum();
            sum as f64 / honest.len() as f64 / f64::from(MESSAGES)
        })
    }

    /// Returns the bytes that the honest nodes and the others sent since the messages began, those of
    /// the handshakes of hostile nodes included.
    pub(crate) fn sent(&self) -> [u64; 2] {
        let sent = |is_hostile| {
            let nodes = (0..NODES).filter(|node| self.hostile.contains(node) == is_hostile);
            nodes.map(|node| traffic(&self.world, node)[1] - self.before[node as usize][1]).sum()
        };
        let sessions = self.world.tally().sessions_hostile - self.sessions_before;
        [sent(false), sent(true) + HANDSHAKE_BYTES * sessions]
    }

    /// Returns how many frames of a kind the hostile nodes sent.
    pub(crate) fn abused(&self, kind: &str) -> u64 {
        let kinds = self.world.hostile_kinds().iter();
        let counts = kinds.filter(|(known, _)| GossipNode::kind_name(**known) == kind);
        counts.map(|(_, counts)| counts.frames).sum()
    }

    pub(crate) fn count(&self, counter: gossip::Counter) -> u64 {
        self.world.present().iter().map(|node| self.world.count(node, counter)).sum()
    }

    /// Asserts what holds whatever the attack is.
    pub(crate) fn assert_unharmed(&self, received_max: f64, sent_max: f64) {
        let tally = self.world.tally();
        let seen = format!("{:?} {tally:?}", self.world.rules());
        assert!(self.reached() >= 0.999, "{}: {seen}", self.reached());
        assert_eq!((tally.forgeries, tally.wrongly_accused), (0, 0), "{seen}");
        let [received, sent] = self.bytes_per_message();
        let bytes = format!("{received} and {sent} bytes for each message");
        assert!(received <= received_max && sent <= sent_max, "{bytes}: {seen}");
    }

    /// Asserts that of those who are hostile so many at least were cut off.
    pub(crate) fn assert_accused(&self, least: usize) {
        let accused = self.hostile.iter().filter(|&&node| self.world.accused(node) > 0).count();
        assert!(accused >= least, "{accused} were accused: {:?}", self.world.rules());
    }

    pub(crate) fn assert_all_accused(&self) {
        let free: Vec<_> = self.hostile.iter().filter(|&&n| self.world.accused(n) == 0).collect();
        assert!(free.is_empty(), "{free:?} were never accused: {:?}", self.world.rules());
    }
}

/// What a node received and sent, in bytes.
fn traffic(world: &World<GossipNode>, node: u32) -> [u64; 2] {
    let (received, sent) = world.traffic(node);
    [received.bytes(), sent.bytes()]
}
