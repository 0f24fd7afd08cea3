//! The numbers of one world, drawn from its seed.

use std::fmt;
use std::time::Duration;

use x0x_core::support::Rng;

use crate::random::{self, between, chance, up_to};
use crate::{Burst, DiskProfile, LinkProfile};

use super::NODES_MAX;

/// How often each fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Nodes crash and start again.
    pub crashes: u32,
    /// Nodes say goodbye and start again.
    pub goodbyes: u32,
    /// The network splits in two for a while.
    pub partitions: u32,
    /// Nothing passes from one node to another for a while.
    pub blocks: u32,
    /// Links get worse for a while.
    pub storms: u32,
    /// NATs lose their mappings.
    pub nat_resets: u32,
    /// Sockets get other addresses, with and without the node knowing.
    pub moves: u32,
    /// Hosts move to other networks.
    pub roams: u32,
    /// Interfaces go down for a while.
    pub interfaces: u32,
    /// Hosts sleep.
    pub sleeps: u32,
    /// Clocks jump or change their speed.
    pub clocks: u32,
    /// Disks get slow for a while.
    pub slow_disks: u32,
    /// Disks are full until the node starts again.
    pub full_disks: u32,
    /// Nodes stop and start as builds that speak other versions of the protocol.
    pub upgrades: u32,
}

/// The numbers of one world.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: u32,
    /// Whether all have a socket for IPv6, too.
    pub dual_stack: bool,
    /// How many carriers' NATs there are.
    pub carriers: u32,
    /// How many homes' NATs there are, some behind carriers.
    pub homes: u32,
    /// The share of the nodes that are behind a NAT.
    pub behind: f64,
    /// The share of the nodes that have a firewall.
    pub firewalled: f64,
    /// The share of the nodes that have two interfaces.
    pub two_interfaces: f64,
    /// How many links there are beyond those that join everybody.
    pub more_links: u32,
    /// The links while the world runs; their latency is that of the fastest.
    pub link: LinkProfile,
    /// The latency of the slowest link.
    pub latency_max: Duration,
    /// How far wall clocks are off at most, in milliseconds.
    pub clock_ms: u64,
    /// How fast or slow monotonic clocks run at most, in millionths.
    pub drift_ppm: u64,
    /// The disks.
    pub disk: DiskProfile,
    /// How long it runs.
    pub duration: Duration,
    /// How many direct messages each node sends.
    pub messages: u32,
    /// The size of the largest direct message.
    pub payload_max: usize,
    /// How many topics there are.
    pub topics: u32,
    /// The share of the nodes that subscribe to a topic.
    pub subscribed: f64,
    /// How many times each node publishes.
    pub publishes: u32,
    /// How many messages it publishes at a time at most.
    pub publish_burst: u64,
    /// How many times each node joins or leaves a topic meanwhile.
    pub toggles: u32,
    /// How many other things each application asks for.
    pub questions: u32,
    /// What goes wrong.
    pub faults: Faults,
    /// How many walls there are: firewalls that let nothing pass between two groups of hosts, all
    /// the time.
    pub walls: u32,
    /// How many hosts are hostile, beside the nodes.
    pub hostile: u32,
}

impl Options {
    /// Draws the numbers.
    pub fn draw(seed: u64) -> Self {
        let mut rng = random::from_number(seed).fork("swarm options");
        let rng = &mut rng;
        let nodes = 2 + draw(rng, NODES_MAX - 1);
        let ms = Duration::from_millis;
        let link = link(rng);
        let payloads = [100, 1000, 10_000, 60_000];
        // Drawn apart, so that the rest of a world is what it would be without.
        let mut hostile = random::from_number(seed).fork("swarm hostile");
        Self {
            seed,
            nodes,
            dual_stack: chance(rng, 0.2),
            carriers: draw(rng, 2),
            homes: draw(rng, 4),
            behind: pick(rng, &[0.0, 0.3, 0.6, 0.9]),
            firewalled: pick(rng, &[0.0, 0.0, 0.3]),
            two_interfaces: pick(rng, &[0.0, 0.0, 0.5]),
            more_links: draw(rng, nodes),
            latency_max: link.latency + up_to(rng, ms(150)),
            link,
            clock_ms: pick(rng, &[0, 100, 15_000]),
            drift_ppm: pick(rng, &[0, 50, 500]),
            disk: DiskProfile {
                write_latency: between(rng, Duration::ZERO, ms(30)),
                write_jitter: up_to(rng, ms(200)),
                survive: 0.5,
                ..DiskProfile::default()
            },
            duration: between(rng, ms(20_000), ms(60_000)),
            messages: draw(rng, 15),
            payload_max: pick(rng, &payloads),
            topics: draw(rng, 4),
            subscribed: pick(rng, &[0.3, 0.7, 1.0]),
            publishes: draw(rng, 12),
            publish_burst: pick(rng, &[1, 1, 5, 40]),
            toggles: draw(rng, 3),
            questions: draw(rng, 4),
            faults: faults(rng, nodes),
            walls: pick(rng, &[0, 0, 1, 3]),
            hostile: u32::from(hostile.below(3) == 0),
        }
    }
}

fn faults(rng: &mut Rng, nodes: u32) -> Faults {
    let mut some = |most: u32| if chance(rng, 0.5) { draw(rng, most + 1) } else { 0 };
    Faults {
        crashes: some(nodes / 2 + 1),
        goodbyes: some(2),
        partitions: some(3),
        blocks: some(4),
        storms: some(6),
        nat_resets: some(4),
        moves: some(4),
        roams: some(4),
        interfaces: some(4),
        sleeps: some(4),
        clocks: some(4),
        slow_disks: some(3),
        full_disks: some(2),
        upgrades: some(2 * nodes),
    }
}

fn link(rng: &mut Rng) -> LinkProfile {
    let ms = Duration::from_millis;
    LinkProfile {
        latency: between(rng, ms(1), ms(60)),
        jitter: up_to(rng, ms(20)),
        tail: if chance(rng, 0.3) { up_to(rng, ms(10)) } else { Duration::ZERO },
        bandwidth: pick(rng, &[None, None, Some(100_000_000), Some(5_000_000)]),
        mark_bytes: pick(rng, &[None, Some(20_000)]),
        loss: share(rng, 8),
        burst: chance(rng, 0.25).then(|| burst(rng)),
        reorder: share(rng, 5),
        duplicate: share(rng, 3),
        corrupt: share(rng, 2),
        mtu: pick(rng, &[1500, 1500, 1500, 1280]),
        ..LinkProfile::default()
    }
}

/// Draws losses in bursts of a few to some tens of datagrams.
pub(super) fn burst(rng: &mut Rng) -> Burst {
    Burst {
        begin: f64::from(1 + draw(rng, 20)) / 1000.0,
        end: f64::from(3 + draw(rng, 50)) / 100.0,
        loss: f64::from(50 + draw(rng, 51)) / 100.0,
    }
}

pub(super) fn draw(rng: &mut Rng, bound: u32) -> u32 {
    u32::try_from(rng.below(u64::from(bound.max(1)))).unwrap_or(0)
}

pub(super) fn pick<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[random::index(rng, values.len())]
}

/// Draws a probability below some percent; half of the time none at all.
fn share(rng: &mut Rng, percent: u32) -> f64 {
    if rng.below(2) == 0 { 0.0 } else { f64::from(draw(rng, percent * 100)) / 10_000.0 }
}

impl fmt::Display for Options {
    /// Writes every option that is not off, on a few lines.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, homes, carriers, link, disk, faults, .. } = self;
        writeln!(
            formatter,
            "seed {seed}: {nodes} nodes for {:?}, {homes} homes, {carriers} carriers, behind {}, \
             firewalled {}, {} walls, {} hostile, two interfaces {}, {} more links, dual stack {}",
            self.duration,
            self.behind,
            self.firewalled,
            self.walls,
            self.hostile,
            self.two_interfaces,
            self.more_links,
            self.dual_stack,
        )?;
        writeln!(formatter, "  {link:?} to {:?}", self.latency_max)?;
        writeln!(formatter, "  clocks ± {} ms, ± {} ppm; {disk:?}", self.clock_ms, self.drift_ppm)?;
        writeln!(
            formatter,
            "  each {} messages to {} bytes, {} × 1..{} publishes, {} toggles, {} questions; {} \
             topics with {}",
            self.messages,
            self.payload_max,
            self.publishes,
            self.publish_burst,
            self.toggles,
            self.questions,
            self.topics,
            self.subscribed,
        )?;
        write!(formatter, "  {faults:?}")
    }
}
