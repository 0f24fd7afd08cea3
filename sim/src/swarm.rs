//! Worlds in which everything is drawn from one seed: who is where and behind what, how the links,
//! the clocks and the disks are, what the applications ask for, and what goes wrong.
//!
//! A world of the swarm has three parts. While it **runs**, the nodes talk and suffer. Then it is
//! **healed**: faults end, hosts wake, nodes that are down start, and every application asks again for
//! the links and the topics that it wants. NATs, firewalls, latencies and bandwidths stay. At last it
//! must **live**: every link that the ground permits is up, a message over each of them is
//! acknowledged in both directions, and what is published is heard by all who can. Then all is calm,
//! and what calm links permit has to happen promptly: links that were ended come up again, messages
//! are acknowledged and heard within seconds. At the very end no node may hold anything of what it
//! holds only while something happens ([`Machine::held`]).
//!
//! What the ground permits is told by [`Ground::can_dial`]: nobody reaches a host behind a NAT or a
//! firewall from outside, since nodes punch no holes on purpose and relay nothing yet, and nothing
//! passes a wall ([`Ground::walls`]), which stays, too. So links are only asked for where one end can dial the
//! other, and a message of a topic only has to reach those to whom a chain of such links leads through
//! members of the topic.
//!
//! The safety rules of [`checks`] hold at every step. What is demanded at the end are steps, too
//! ([`Step::Expect`]), so a world that did not heal plays again, and [`shrink`] can make it smaller.
//!
//! Some worlds have [`hostile`](crate::hostile) hosts, from the beginning to the end.
//!
//! * [`modelled`]: the same for worlds over modelled links.
//! * [`shrink`]: makes a recording that fails smaller.
//!
//! Limits: at most [`NODES_MAX`] nodes, and at most [`LINKS_EACH_MAX`] links of a node, which is what
//! the overlay holds in one topic; clocks differ by less than what gossip takes.

use std::time::Duration;

use crate::hostile::AnyNode;
use crate::scenario::Report;
use crate::{Failure, Machine, NodeId, Step, World, checks};

mod draw;
mod faults;
mod ground;
mod hostile;
mod life;
mod workload;

pub mod modelled;
pub mod shrink;

pub use draw::{Faults, Options};
pub use ground::Ground;

/// How many nodes a world has at most.
pub const NODES_MAX: u32 = 14;

/// How many links are asked for at each node at most.
pub const LINKS_EACH_MAX: usize = 9;

/// How long after the faults links may take to come up.
const RECOVERY_MAX: Duration = Duration::from_secs(240);

/// How long a message of a topic may take after healing.
const HEARING_MAX: Duration = Duration::from_secs(150);

/// How long both ends of a link may differ at the end: the longest timeout of a NAT and that of a
/// silent link.
const AGREEMENT_MAX: Duration = Duration::from_secs(120 + 45);

/// A world of the swarm.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// What was drawn.
    pub options: Options,
    /// Who is where.
    pub ground: Ground,
}

impl Swarm {
    /// Draws the world of a seed.
    pub fn new(seed: u64) -> Self {
        let options = Options::draw(seed);
        let ground = Ground::draw(&options);
        Self { options, ground }
    }

    /// Makes the world.
    pub fn world<M: Machine>(&self) -> World<M> {
        let mut world = World::with_machines(self.ground.world_config(&self.options));
        for node in self.hostile() {
            world.expect_strangers(node);
        }
        world
    }

    /// Returns the hosts that are hostile. They come after all others.
    pub fn hostile(&self) -> impl Iterator<Item = NodeId> + use<> {
        let honest = self.options.nodes;
        (honest..honest + self.options.hostile).map(NodeId)
    }

    /// Runs it with whole nodes.
    ///
    /// # Errors
    ///
    /// If a check failed, one of those at the end included.
    pub fn run(&self) -> Result<Report, Failure> {
        self.run_in(&mut self.world::<AnyNode>())
    }

    /// Runs it in its world.
    ///
    /// # Errors
    ///
    /// If a check failed, one of those at the end included.
    pub fn run_in<M: Machine>(&self, world: &mut World<M>) -> Result<Report, Failure> {
        let mut plan = Plan::default();
        workload::plan(self, world, &mut plan);
        faults::plan(self, world, &mut plan);
        hostile::plan(self, world, &mut plan);
        for (at, step) in plan.steps {
            world.schedule(at, step);
        }
        world.run_until(self.options.duration)?;
        life::heal(self, world, &plan.opened)?;
        life::demand_links(self, world)?;
        life::demand_messages(self, world)?;
        life::demand_gossip(self, world)?;
        life::demand_promptness(self, world)?;
        world.run_for(workload::SEND_TIME + checks::REPLY_SLACK + Duration::from_secs(1))?;
        // A NAT forgets what nobody refreshes long after the faults, and then a link ends.
        world.run_until_true(AGREEMENT_MAX, World::agrees)?;
        world.check_agreement()?;
        if self.options.hostile == 0 {
            // Strangers keep a world busy.
            life::demand_idleness(world)?;
        }
        Ok(Report::new(world, &self.ground.edges))
    }
}

/// What happens, and when.
#[derive(Debug, Default)]
struct Plan {
    steps: Vec<(Duration, Step)>,
    /// What has to be done at the end of all faults.
    opened: Vec<Step>,
}

impl Plan {
    fn add(&mut self, at: Duration, step: Step) {
        self.steps.push((at, step));
    }
}

#[cfg(test)]
mod tests;
