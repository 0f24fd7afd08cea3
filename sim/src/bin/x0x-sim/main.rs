//! Runs simulated worlds: one with given numbers, or many with random ones.

use std::fmt;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use x0x_sim::{LinkProfile, Report, Scenario, Topology};

mod table;

#[derive(Debug, Parser)]
#[command(about = "Deterministic worlds of x0x nodes")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Runs one world and shows what came out.
    Run(Run),
    /// Runs random worlds with faults; all have to recover.
    Worlds(Worlds),
}

#[derive(Debug, clap::Args)]
struct Run {
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
}

#[derive(Debug, clap::Args)]
struct Worlds {
    /// How many worlds.
    #[arg(long, default_value_t = 500)]
    count: u64,
    /// The seed of the first; each further one has the next number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many run at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
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

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().action {
        Action::Run(run) => run.execute(),
        Action::Worlds(worlds) => worlds.execute(),
    }
}

impl Run {
    fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        let scenario = self.scenario();
        if !self.json {
            writeln!(out, "{}", self.command())?;
        }
        let start = Instant::now();
        let result = scenario.run();
        let elapsed = start.elapsed();
        let report = match result {
            Ok(report) => report,
            Err(failure) => {
                writeln!(std::io::stderr(), "failed: {failure}\nrepeat: {}", self.command())?;
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

impl Worlds {
    fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        writeln!(out, "x0x-sim worlds --count {} --seed {}", self.count, self.seed)?;
        let start = Instant::now();
        let next = AtomicU64::new(0);
        let totals = Mutex::new(Totals::default());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.count {
                            break;
                        }
                        let seed = self.seed.wrapping_add(number);
                        let result = world(seed);
                        let mut totals =
                            totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        totals.add(seed, result);
                    }
                });
            }
        });
        let totals = totals.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let elapsed = start.elapsed().as_secs_f64();
        writeln!(
            out,
            "{} of {} worlds passed in {elapsed:.1} s: {} messages acknowledged, {} uncertain, {} \
             refused, {} crashes, {:.0} times real time",
            totals.passed,
            self.count,
            totals.acknowledged,
            totals.uncertain,
            totals.refused,
            totals.crashes,
            totals.virtual_time.as_secs_f64() / elapsed,
        )?;
        let passed = totals.passed == self.count;
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[derive(Debug, Default)]
struct Totals {
    passed: u64,
    acknowledged: u64,
    uncertain: u64,
    refused: u64,
    crashes: u64,
    virtual_time: Duration,
}

impl Totals {
    fn add(&mut self, seed: u64, result: Result<Report, String>) {
        match result {
            Ok(report) => {
                self.passed += 1;
                self.acknowledged += report.tally.sends_acknowledged;
                self.uncertain += report.tally.sends_uncertain;
                self.refused += report.tally.sends_refused;
                self.crashes += report.tally.crashes;
                self.virtual_time += report.virtual_time;
            }
            Err(what) => {
                // A closed output must not stop the other worlds.
                let _ = writeln!(
                    std::io::stdout(),
                    "FAILED seed {seed}: {what}\nrepeat: x0x-sim worlds --count 1 --seed {seed}"
                );
            }
        }
    }
}

/// Runs one random world; a panic in it is its failure.
fn world(seed: u64) -> Result<Report, String> {
    let run = AssertUnwindSafe(|| Scenario::random(seed).run());
    match std::panic::catch_unwind(run) {
        Ok(result) => result.map_err(|failure| failure.to_string()),
        Err(_) => Err("a node or the world panicked".to_owned()),
    }
}
