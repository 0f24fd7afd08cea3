//! One world with given numbers.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use x0x_sim::history::About;
use x0x_sim::{LinkProfile, Scenario, Topology, World};

use crate::report::{PageOptions, numbers};
use crate::table;

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// How many nodes there are.
    #[arg(long, default_value_t = 50)]
    nodes: u32,
    /// The seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long it runs, in virtual seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The probability that a datagram is lost.
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    loss: f64,
    /// The latency of a link in milliseconds, or a range to draw from, such as 10..50.
    #[arg(long, default_value = "20")]
    latency_ms: Range,
    /// The mean number of links of a node.
    #[arg(long, default_value_t = 4)]
    degree: u32,
    /// How many messages each node sends.
    #[arg(long, default_value_t = 20)]
    messages: u32,
    /// How many times a node crashes and is started again.
    #[arg(long, default_value_t = 0)]
    crashes: u32,
    /// How many times the network splits for a while.
    #[arg(long, default_value_t = 0)]
    partitions: u32,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
    /// Write the steps of the world to this file, for `replay`. One that fails writes them anyway.
    #[arg(long)]
    steps: Option<PathBuf>,
    #[command(flatten)]
    page: PageOptions,
}

/// A range of milliseconds.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u64,
    last: u64,
}

impl FromStr for Range {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let number = |part: &str| part.parse::<u64>().context("expected a number or first..last");
        let range = Self { first: number(first)?, last: number(last)? };
        anyhow::ensure!(range.first <= range.last, "the range is empty");
        Ok(range)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}..{}", self.first, self.last)
    }
}

fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("expected 0 to 1".to_owned()) }
}

impl Run {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        let scenario = self.scenario();
        if !self.json {
            writeln!(out, "{}", self.command())?;
        }
        let start = Instant::now();
        let mut world: World = scenario.world();
        self.page.begin(&mut world)?;
        let result = scenario.run_in(&mut world);
        let elapsed = start.elapsed();
        let path = self.steps.clone().or_else(|| {
            result.is_err().then(|| PathBuf::from(format!("x0x-sim-run-{}.steps", self.seed)))
        });
        let replay =
            path.map(|path| crate::save(&world.recording().to_bytes(), &path)).transpose()?;
        self.page.save(
            &world,
            &About {
                title: format!("{} nodes, seed {}", self.nodes, self.seed),
                command: self.command(),
                failure: result.as_ref().err().map(ToString::to_string),
                numbers: numbers(&world),
                ..About::default()
            },
        )?;
        let report = match result {
            Ok(report) => report,
            Err(failure) => {
                let replay = replay.unwrap_or_default();
                writeln!(std::io::stderr(), "failed: {failure}\nreplay: {replay}")?;
                return Ok(ExitCode::FAILURE);
            }
        };
        let rows = table::rows(&report, elapsed);
        let text = if self.json { table::json(&rows) } else { table::aligned(&rows) };
        writeln!(out, "{text}")?;
        Ok(ExitCode::SUCCESS)
    }

    fn scenario(&self) -> Scenario {
        let ms = Duration::from_millis;
        Scenario::new(self.seed, self.nodes)
            .topology(Topology::Random { degree: self.degree })
            .link(LinkProfile { loss: self.loss, ..LinkProfile::default() })
            .latency(ms(self.latency_ms.first), ms(self.latency_ms.last))
            .duration(Duration::from_secs(self.seconds))
            .messages(self.messages, 1000)
            .faults(self.crashes, self.partitions)
    }

    fn command(&self) -> String {
        format!(
            "x0x-sim run --nodes {} --seed {} --seconds {} --loss {} --latency-ms {} --degree {} \
             --messages {} --crashes {} --partitions {}",
            self.nodes,
            self.seed,
            self.seconds,
            self.loss,
            self.latency_ms,
            self.degree,
            self.messages,
            self.crashes,
            self.partitions,
        )
    }
}
