//! Many random worlds.

use std::io::{IsTerminal, Write};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use x0x_sim::{Report, Scenario, World};

#[derive(Debug, clap::Args)]
pub(crate) struct Worlds {
    /// How many worlds.
    #[arg(long, default_value_t = 500)]
    count: u64,
    /// The seed of the first; each further one has the next number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many run at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Where to write the steps of each world that fails, for `replay`.
    #[arg(long, default_value = ".")]
    failures: PathBuf,
}

impl Worlds {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        writeln!(out, "x0x-sim worlds --count {} --seed {}", self.count, self.seed)?;
        let start = Instant::now();
        let next = AtomicU64::new(0);
        let totals = Mutex::new(Totals::default());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| self.work(&next, &totals));
            }
        });
        let totals = lock(&totals);
        if std::io::stderr().is_terminal() {
            writeln!(std::io::stderr())?;
        }
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

    /// Runs worlds until none is left.
    fn work(&self, next: &AtomicU64, totals: &Mutex<Totals>) {
        let is_watched = std::io::stderr().is_terminal();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return;
            }
            let result = self.world(self.seed.wrapping_add(number));
            let mut totals = lock(totals);
            totals.add(&result);
            if let Err(what) = result {
                // A closed output must not stop the other worlds.
                let _ = writeln!(std::io::stdout(), "{what}");
            }
            if is_watched {
                totals.show(self.count);
            }
        }
    }

    /// Runs one random world; a panic in it is its failure. A failure comes with the command that
    /// plays it again.
    fn world(&self, seed: u64) -> Result<Report, String> {
        let scenario = Scenario::random(seed);
        let mut world: World = scenario.world();
        let run = AssertUnwindSafe(|| scenario.run_in(&mut world));
        let what = match std::panic::catch_unwind(run) {
            Ok(Ok(report)) => return Ok(report),
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("seed {seed}: a node or the world panicked"),
        };
        let path = self.failures.join(format!("x0x-sim-world-{seed}.steps"));
        let replay = crate::save(&world.recording(), &path);
        let replay = replay.unwrap_or_else(|error| format!("not possible: {error:#}"));
        Err(format!("FAILED {what}\nreplay: {replay}"))
    }
}

fn lock(totals: &Mutex<Totals>) -> MutexGuard<'_, Totals> {
    totals.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Totals {
    passed: u64,
    failed: u64,
    acknowledged: u64,
    uncertain: u64,
    refused: u64,
    crashes: u64,
    virtual_time: Duration,
}

impl Totals {
    fn add(&mut self, result: &Result<Report, String>) {
        match result {
            Ok(report) => {
                self.passed += 1;
                self.acknowledged += report.tally.sends_acknowledged;
                self.uncertain += report.tally.sends_uncertain;
                self.refused += report.tally.sends_refused;
                self.crashes += report.tally.crashes;
                self.virtual_time += report.virtual_time;
            }
            Err(_) => self.failed += 1,
        }
    }

    /// Shows how far it is, over what was shown before.
    fn show(&self, count: u64) {
        let done = self.passed + self.failed;
        // A closed output must not stop the worlds.
        let _ = write!(std::io::stderr(), "\r{done} of {count} worlds, {} failed", self.failed);
    }
}
