//! How fast a large world is in which nothing happens but keep-alives.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use x0x_core::node::{Connect, Target};
use x0x_sim::{NodeId, World, WorldConfig};

use crate::processor_time;
use crate::table::{self, Value};

/// How long the links may take to come up.
const SET_UP_MAX: Duration = Duration::from_secs(120);

/// How long the links are left alone before the measurement: they find their datagram size.
const SETTLE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Idle {
    /// How many nodes there are.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..))]
    nodes: u32,
    /// How many links each node dials; as many are dialled to it.
    #[arg(long, default_value_t = 5)]
    links: u32,
    /// The seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the measurement lasts, in virtual seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// The time on both clocks.
#[derive(Clone, Copy, Debug)]
struct Times {
    real: Instant,
    processor: Duration,
}

impl Times {
    fn now(origin: Instant) -> Self {
        Self { real: Instant::now(), processor: processor_time(origin.elapsed()) }
    }

    fn until(self, later: Self) -> (f64, f64) {
        let processor = later.processor.saturating_sub(self.processor);
        ((later.real - self.real).as_secs_f64(), processor.as_secs_f64())
    }
}

impl Idle {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        if !self.json {
            let Self { nodes, links, seed, seconds, .. } = self;
            writeln!(
                out,
                "x0x-sim idle --nodes {nodes} --links {links} --seed {seed} --seconds {seconds}"
            )?;
        }
        let origin = Instant::now();
        let begin = Times::now(origin);
        let mut world = self.linked_world()?;
        world.run_for(SETTLE)?;
        let (events, counters) = (world.processed(), world.network().counters);
        let start = Times::now(origin);
        world.run_for(Duration::from_secs(self.seconds))?;
        let end = Times::now(origin);
        let ((_, set_up), (real, processor)) = (begin.until(start), start.until(end));
        let events = world.processed() - events;
        let virtual_time = self.seconds as f64;
        let rows = [
            ("nodes", Value::Number(u64::from(self.nodes))),
            ("links", Value::Number(u64::from(self.nodes) * u64::from(self.links))),
            ("links_lost", Value::Number(world.tally().links_down)),
            ("set_up_processor_s", Value::Decimal(set_up)),
            ("memory_mib", memory().map_or(Value::Missing, Value::Decimal)),
            ("virtual_s", Value::Decimal(virtual_time)),
            ("datagrams", Value::Number(world.network().counters.sent - counters.sent)),
            ("events", Value::Number(events)),
            ("processor_us_per_event", Value::Decimal(processor * 1e6 / events.max(1) as f64)),
            ("real_s", Value::Decimal(real)),
            ("processor_s", Value::Decimal(processor)),
            ("times_real_time", Value::Decimal(virtual_time / real)),
            ("times_real_time_by_processor", Value::Decimal(virtual_time / processor)),
            ("trace_hash", Value::Text(world.trace_hex())),
        ];
        let text = if self.json { table::json(&rows) } else { table::aligned(&rows) };
        writeln!(out, "{text}")?;
        Ok(ExitCode::SUCCESS)
    }

    /// Makes a world in which each node dialled the next ones in a ring, and all links are up.
    fn linked_world(&self) -> anyhow::Result<World> {
        ensure!(2 * self.links < self.nodes, "{} nodes have fewer links", self.nodes);
        let mut config = WorldConfig::new(self.seed, self.nodes);
        config.record_events = false;
        config.record_steps = false;
        let mut world = World::new(config);
        let ends = |number| {
            let (node, distance) = (number / self.links, number % self.links + 1);
            (NodeId(node), NodeId((node + distance) % self.nodes))
        };
        for (node, peer) in (0..self.nodes * self.links).map(ends) {
            let machine = Some(world.node_config(peer).machine_key.id());
            let target = Target::Address { address: world.address(peer), machine };
            world.command(node, Connect { target, keep: true, timeout: SET_UP_MAX })?;
            world.run_for(Duration::from_millis(1))?;
        }
        let is_linked = |world: &World| {
            (0..self.nodes * self.links).map(ends).all(|(node, peer)| world.is_linked(node, peer))
        };
        ensure!(world.run_until_true(SET_UP_MAX, is_linked)?, "the links do not come up");
        Ok(world)
    }
}

/// Returns how much memory the process has, in MiB; nothing where the system does not say.
fn memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
