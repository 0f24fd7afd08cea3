//! Many worlds in which everything is drawn.

use std::io::{IsTerminal, Write};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use x0x_sim::history::About;
use x0x_sim::hostile::AnyNode;
use x0x_sim::swarm::modelled::{self, ModelledRecording};
use x0x_sim::swarm::{Swarm, shrink};
use x0x_sim::{Recording, World};

use crate::report::{PageOptions, numbers};

/// How wide the progress bar is.
const BAR: u64 = 30;

#[derive(Debug, clap::Args)]
pub(crate) struct SwarmOf {
    /// How many worlds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The seed of the first; each further one has the next number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many run at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Worlds over modelled links instead of whole nodes.
    #[arg(long)]
    modelled: bool,
    /// Stop at the first world that fails.
    #[arg(long)]
    first: bool,
    /// Print what was drawn for each world, and its trace hash.
    #[arg(long)]
    options: bool,
    /// Where to write the steps of each world that fails, for `replay` and `shrink`.
    #[arg(long, default_value = ".")]
    failures: PathBuf,
    /// How many worlds to spend on making the steps of one that fails fewer.
    #[arg(long, default_value_t = 40)]
    shrink: u32,
    #[command(flatten)]
    page: PageOptions,
}

/// What came of one world.
struct Outcome {
    trace: String,
    virtual_time: Duration,
    /// What happened, in numbers that add up.
    counts: [u64; COUNTS.len()],
}

/// What is counted over all worlds.
const COUNTS: [&str; 8] = [
    "messages acknowledged",
    "uncertain",
    "refused",
    "published",
    "heard",
    "told as missed",
    "crashes",
    "events",
];

impl SwarmOf {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        if self.page.report.is_some() {
            ensure!(!self.modelled, "--report is for whole nodes; experiment has one, too");
            ensure!(self.seeds == 1, "--report is about one world: add --seeds 1");
            self.page.check(Swarm::new(self.seed).options.nodes)?;
        }
        let mut out = std::io::stdout();
        let modelled = if self.modelled { " --modelled" } else { "" };
        writeln!(out, "x0x-sim swarm{modelled} --seeds {} --seed {}", self.seeds, self.seed)?;
        let next = AtomicU64::new(0);
        let totals = Mutex::new(Totals::new(self.seeds));
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| self.work(&next, &totals));
            }
        });
        let totals = lock(&totals);
        if std::io::stderr().is_terminal() {
            writeln!(std::io::stderr())?;
        }
        let elapsed = totals.start.elapsed().as_secs_f64();
        let passed = totals.done - totals.failed.len() as u64;
        writeln!(
            out,
            "{passed} of {} worlds passed in {elapsed:.1} s, {:.0} times real time",
            self.seeds,
            totals.virtual_time.as_secs_f64() / elapsed,
        )?;
        let counts = COUNTS.iter().zip(totals.counts);
        let counts: Vec<String> = counts.map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(out, "{}", counts.join(", "))?;
        if totals.failed.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let seeds: Vec<String> = totals.failed.iter().map(u64::to_string).collect();
        writeln!(out, "failed seeds: {}", seeds.join(", "))?;
        Ok(ExitCode::FAILURE)
    }

    /// Runs worlds until none is left.
    fn work(&self, next: &AtomicU64, totals: &Mutex<Totals>) {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.seeds || (self.first && !lock(totals).failed.is_empty()) {
                return;
            }
            let seed = self.seed.wrapping_add(number);
            let result = if self.modelled { self.modelled(seed) } else { self.whole(seed) };
            let mut totals = lock(totals);
            totals.done += 1;
            // A closed output must not stop the other worlds.
            let mut out = std::io::stdout();
            let _ = match result {
                Ok(outcome) => {
                    totals.add(&outcome);
                    if self.options {
                        writeln!(out, "seed {seed} trace {}", outcome.trace)
                    } else {
                        Ok(())
                    }
                }
                Err(what) => {
                    totals.failed.push(seed);
                    writeln!(out, "\rFAILED {what}\nagain: {}", self.again(seed))
                }
            };
            totals.show();
        }
    }

    fn again(&self, seed: u64) -> String {
        let modelled = if self.modelled { " --modelled" } else { "" };
        format!("x0x-sim swarm{modelled} --seeds 1 --seed {seed} --options")
    }

    /// Runs a world of whole nodes; a panic in it is its failure.
    fn whole(&self, seed: u64) -> Result<Outcome, String> {
        let swarm = Swarm::new(seed);
        if self.options {
            let _ = writeln!(std::io::stdout(), "{}", swarm.options);
        }
        let mut world: World<AnyNode> = swarm.world();
        self.page.begin(&mut world).map_err(|error| format!("{error:#}"))?;
        let run = AssertUnwindSafe(|| swarm.run_in(&mut world));
        let run = std::panic::catch_unwind(run);
        let failure = match &run {
            Ok(result) => result.as_ref().err().map(ToString::to_string),
            Err(_) => Some(format!("seed {seed}: a node or the world panicked")),
        };
        self.save_page(&swarm, &world, failure.clone()).map_err(|error| format!("{error:#}"))?;
        if let Ok(Ok(report)) = run {
            let tally = &report.tally;
            return Ok(Outcome {
                trace: report.trace_hex(),
                virtual_time: report.virtual_time,
                counts: [
                    tally.sends_acknowledged,
                    tally.sends_uncertain,
                    tally.sends_refused,
                    tally.published,
                    tally.heard,
                    tally.missed,
                    tally.crashes,
                    report.events,
                ],
            });
        }
        let what = failure.unwrap_or_default();
        Err(format!("{what}\n{}", self.keep(seed, &world.recording())))
    }

    /// Writes the page of the only world, if there is to be one.
    fn save_page(
        &self,
        swarm: &Swarm,
        world: &World<AnyNode>,
        failure: Option<String>,
    ) -> anyhow::Result<()> {
        if self.page.report.is_none() {
            return Ok(());
        }
        let seed = swarm.options.seed;
        self.page.save(
            world,
            &About {
                title: format!("The swarm's world of seed {seed}"),
                command: self.again(seed),
                drawn: swarm.options.to_string(),
                failure,
                numbers: numbers(world),
            },
        )
    }

    /// Writes the steps of a world that failed, and fewer that fail as well.
    fn keep(&self, seed: u64, recording: &Recording) -> String {
        let replay = self.write(&seed.to_string(), &recording.to_bytes());
        let mut lines = format!("replay: {replay}");
        if let Some(shrunk) = shrink::shrink::<AnyNode>(recording, self.shrink, |_| {}) {
            let replay = self.write(&format!("{seed}-small"), &shrunk.to_bytes());
            let (before, after) = (recording.steps.len(), shrunk.steps.len());
            lines += &format!("\n{after} of {before} steps: {replay}");
        }
        lines
    }

    fn modelled(&self, seed: u64) -> Result<Outcome, String> {
        let options = modelled::Options::draw(seed);
        if self.options {
            let _ = writeln!(std::io::stdout(), "{options}");
        }
        match modelled::run(&options) {
            Ok(report) => Ok(Outcome {
                trace: format!("{:016x}", report.trace),
                virtual_time: report.virtual_time,
                counts: [
                    0,
                    0,
                    0,
                    report.published,
                    report.heard,
                    report.missed,
                    report.crashes,
                    report.events,
                ],
            }),
            Err(failed) => {
                let what = failed.failure.as_deref().unwrap_or_default();
                Err(format!("seed {seed}: {what}\n{}", self.keep_modelled(seed, &failed)))
            }
        }
    }

    /// Writes the acts of a modelled world that failed, and fewer that fail as well.
    fn keep_modelled(&self, seed: u64, recording: &ModelledRecording) -> String {
        let replay = self.write(&format!("modelled-{seed}"), &recording.to_bytes());
        let mut lines = format!("replay: {replay}");
        if let Some(shrunk) = recording.shrink(self.shrink, |_| {}) {
            let replay = self.write(&format!("modelled-{seed}-small"), &shrunk.to_bytes());
            let (before, after) = (recording.acts.len(), shrunk.acts.len());
            lines += &format!("\n{after} of {before} acts: {replay}");
        }
        lines
    }

    /// Writes a file and returns the command that plays it again.
    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.failures.join(format!("x0x-sim-swarm-{name}.steps"));
        crate::save(bytes, &path).unwrap_or_else(|error| format!("not possible: {error:#}"))
    }
}

fn lock(totals: &Mutex<Totals>) -> MutexGuard<'_, Totals> {
    totals.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Totals {
    seeds: u64,
    start: Instant,
    done: u64,
    failed: Vec<u64>,
    virtual_time: Duration,
    counts: [u64; COUNTS.len()],
}

impl Totals {
    fn new(seeds: u64) -> Self {
        Self {
            seeds,
            start: Instant::now(),
            done: 0,
            failed: Vec::new(),
            virtual_time: Duration::ZERO,
            counts: [0; COUNTS.len()],
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.virtual_time += outcome.virtual_time;
        for (total, count) in self.counts.iter_mut().zip(outcome.counts) {
            *total += count;
        }
    }

    /// Shows how far it is on a terminal, over what was shown before.
    fn show(&self) {
        let mut err = std::io::stderr();
        if !err.is_terminal() {
            return;
        }
        let full = self.done * BAR / self.seeds.max(1);
        let bar: String = (0..BAR).map(|place| if place < full { '#' } else { '.' }).collect();
        let per_second = self.done as f64 / self.start.elapsed().as_secs_f64().max(0.001);
        // A closed output must not stop the worlds.
        let _ = write!(
            err,
            "\r[{bar}] {} of {}, {} failed, {per_second:.1} per second ",
            self.done,
            self.seeds,
            self.failed.len(),
        );
    }
}
