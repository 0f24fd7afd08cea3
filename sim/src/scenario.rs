//! Worlds from a few numbers: a topology, a workload, faults, and what came out.
//!
//! A scenario has three parts. While it **runs**, the nodes connect, send each other messages and
//! suffer the faults. Then it **recovers**, if it is asked to: the faults end, the links become
//! good, and every link that was to be kept has to be up again before a limit. At the end it
//! **drains**: every message has to come to one of its ends.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use x0x_core::node::Node;
use x0x_core::support::Rng;

use crate::{
    DiskProfile, Failure, LinkProfile, Machine, NodeId, World, WorldConfig, checks, random,
};

mod plan;
pub(crate) use plan::neighbours;
mod report;

pub use report::{Figure, Report};

use plan::Plan;

/// Who connects to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Topology {
    /// Each node to the next.
    Line,
    /// Each node to the first.
    Star,
    /// At random, so that all are connected and each has about this many links.
    Random {
        /// The mean number of links of a node.
        degree: u32,
    },
}

impl fmt::Display for Topology {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => formatter.write_str("line"),
            Self::Star => formatter.write_str("star"),
            Self::Random { degree } => write!(formatter, "random, degree {degree}"),
        }
    }
}

/// A scenario. Build it with [`Scenario::new`] and the methods that set one field each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The seed of everything random.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: u32,
    /// How many nodes share the address of a host.
    pub nodes_per_host: u16,
    /// Who connects to whom.
    pub topology: Topology,
    /// The links; their latency is that of the fastest.
    pub link: LinkProfile,
    /// The latency of the slowest link.
    pub latency_max: Duration,
    /// The disks.
    pub disk: DiskProfile,
    /// How long it runs.
    pub duration: Duration,
    /// How many messages each node sends to peers that it is to have a link with.
    pub messages: u32,
    /// The size of the largest message in bytes.
    pub payload_max: usize,
    /// How long a message may take.
    pub send_timeout: Duration,
    /// How many times a node crashes and is started again.
    pub crashes: u32,
    /// How many times the network splits in two for a while.
    pub partitions: u32,
    /// Within how long after the faults the links must be up; `None` asks for no recovery.
    pub recovery: Option<Duration>,
}

impl Scenario {
    /// Makes a scenario of a minute over good links without faults, of degree 4.
    pub fn new(seed: u64, nodes: u32) -> Self {
        Self {
            seed,
            nodes,
            nodes_per_host: 1,
            topology: Topology::Random { degree: 4 },
            link: LinkProfile::default(),
            latency_max: LinkProfile::default().latency,
            disk: DiskProfile::default(),
            duration: Duration::from_secs(60),
            messages: 20,
            payload_max: 1000,
            send_timeout: Duration::from_secs(20),
            crashes: 0,
            partitions: 0,
            recovery: None,
        }
    }

    /// Draws a scenario with faults and a recovery.
    pub fn random(seed: u64) -> Self {
        let mut rng = random::from_number(seed).fork("scenario");
        let nodes = 2 + draw(&mut rng, 29);
        let topology = match rng.below(4) {
            0 => Topology::Line,
            1 => Topology::Star,
            _ => Topology::Random { degree: 2 + draw(&mut rng, 4) },
        };
        let ms = Duration::from_millis;
        let latency = random::between(&mut rng, ms(1), ms(60));
        let bandwidths = [None, None, Some(100_000_000), Some(5_000_000)];
        let link = LinkProfile {
            latency,
            jitter: random::up_to(&mut rng, ms(20)),
            bandwidth: bandwidths[random::index(&mut rng, bandwidths.len())],
            loss: share(&mut rng, 8),
            reorder: share(&mut rng, 5),
            duplicate: share(&mut rng, 3),
            mtu: if random::chance(&mut rng, 0.25) { 1280 } else { 1500 },
            ..LinkProfile::default()
        };
        let payloads = [100, 1000, 10_000, 60_000];
        Self {
            nodes_per_host: 1 + u16::try_from(rng.below(3)).unwrap_or(0),
            topology,
            link,
            latency_max: latency + random::up_to(&mut rng, ms(100)),
            disk: DiskProfile { survive: 0.5, ..DiskProfile::default() },
            messages: 1 + draw(&mut rng, 20),
            payload_max: payloads[random::index(&mut rng, payloads.len())],
            crashes: draw(&mut rng, nodes / 2 + 2),
            partitions: draw(&mut rng, 4),
            recovery: Some(Duration::from_secs(240)),
            ..Self::new(seed, nodes)
        }
    }

    /// Sets the topology.
    #[must_use]
    pub fn topology(self, topology: Topology) -> Self {
        Self { topology, ..self }
    }

    /// Sets the links; all are equally fast.
    #[must_use]
    pub fn link(self, link: LinkProfile) -> Self {
        Self { link, latency_max: link.latency, ..self }
    }

    /// Sets the range from which each link draws its latency.
    #[must_use]
    pub fn latency(self, shortest: Duration, longest: Duration) -> Self {
        Self { link: LinkProfile { latency: shortest, ..self.link }, latency_max: longest, ..self }
    }

    /// Sets how long it runs.
    #[must_use]
    pub fn duration(self, duration: Duration) -> Self {
        Self { duration, ..self }
    }

    /// Sets how many messages each node sends, and how large they are at most.
    #[must_use]
    pub fn messages(self, messages: u32, payload_max: usize) -> Self {
        Self { messages, payload_max, ..self }
    }

    /// Sets how many faults there are.
    #[must_use]
    pub fn faults(self, crashes: u32, partitions: u32) -> Self {
        Self { crashes, partitions, ..self }
    }

    /// Asks for a recovery after the faults, within this time.
    #[must_use]
    pub fn recovery(self, limit: Duration) -> Self {
        Self { recovery: Some(limit), ..self }
    }

    /// Runs it with whole nodes.
    ///
    /// # Errors
    ///
    /// If a check failed or the world did not recover.
    pub fn run(&self) -> Result<Report, Failure> {
        self.run_with::<Node>()
    }

    /// Runs it with other machines.
    ///
    /// # Errors
    ///
    /// If a check failed or the world did not recover.
    pub fn run_with<M: Machine>(&self) -> Result<Report, Failure> {
        self.run_in(&mut self.world::<M>())
    }

    /// Makes the world in which it runs.
    pub fn world<M: Machine>(&self) -> World<M> {
        World::with_machines(self.world_config())
    }

    /// Runs it in its world. The world's [`recording`](World::recording) plays it again, whether it
    /// ended well, failed or panicked.
    ///
    /// # Errors
    ///
    /// If a check failed or the world did not recover.
    pub fn run_in<M: Machine>(&self, world: &mut World<M>) -> Result<Report, Failure> {
        let plan = Plan::new(self, world);
        for (at, step) in plan.steps {
            world.schedule(at, step);
        }
        world.run_until(self.duration)?;
        if let Some(limit) = self.recovery {
            self.recover(world, &plan.edges, limit)?;
        }
        world.run_for(self.send_timeout + checks::REPLY_SLACK + Duration::from_secs(1))?;
        if self.recovery.is_some() {
            world.check_agreement()?;
        }
        let tally = world.tally();
        let ends = tally.sends_acknowledged + tally.sends_refused + tally.sends_uncertain;
        if ends + tally.sends_forgotten != tally.sends {
            return Err(world.fail("the ends of the messages do not add up"));
        }
        Ok(Report::new(world, &plan.edges))
    }

    fn recover<M: Machine>(
        &self,
        world: &mut World<M>,
        edges: &[(NodeId, NodeId)],
        limit: Duration,
    ) -> Result<(), Failure> {
        // What nodes know is old until a link that is gone must have timed out.
        let settle = self.world_config().link_config.idle_timeout.min(limit);
        world.run_for(settle)?;
        let up = |world: &World<M>| edges.iter().all(|&(a, b)| world.is_linked(a, b));
        if world.run_until_true(limit.saturating_sub(settle), up)? {
            return Ok(());
        }
        let down: Vec<String> = edges
            .iter()
            .filter(|&&(a, b)| !world.is_linked(a, b))
            .map(|(a, b)| format!("{a}-{b}"))
            .collect();
        Err(world.fail(format!("links that stay down: {}", down.join(", "))))
    }

    fn world_config(&self) -> WorldConfig {
        WorldConfig {
            nodes_per_host: self.nodes_per_host,
            link: self.link,
            disk: self.disk,
            record_events: false,
            ..WorldConfig::new(self.seed, self.nodes)
        }
    }
}

fn draw(rng: &mut Rng, bound: u32) -> u32 {
    u32::try_from(rng.below(u64::from(bound))).unwrap_or(0)
}

/// Draws a probability below some percent; half of the time none at all.
fn share(rng: &mut Rng, percent: u32) -> f64 {
    if rng.below(2) == 0 { 0.0 } else { f64::from(draw(rng, percent * 100)) / 10_000.0 }
}

#[cfg(test)]
mod tests;
