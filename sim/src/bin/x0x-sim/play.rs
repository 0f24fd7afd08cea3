//! Plays scripts of whole worlds and says whether what came out is what must.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use x0x_sim::script::Played;
use x0x_sim::{Recording, Script, World};

use crate::table;

#[derive(Debug, clap::Args)]
pub(crate) struct Play {
    /// The scripts, as those in sim/scenarios/worlds.
    #[arg(required = true)]
    scripts: Vec<PathBuf>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds are played.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many worlds are played at a time, a thread each.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Print the table of figures of each world.
    #[arg(long)]
    table: bool,
    /// The folder for the steps of worlds that fail.
    #[arg(long, default_value = ".")]
    failures: PathBuf,
}

/// A world that was played. A panic in it leaves only the recording.
struct Outcome {
    played: Option<Played>,
    recording: Recording,
    real_time: Duration,
}

impl Play {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        let mut all_hold = true;
        for path in &self.scripts {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let script = Script::parse(&text)
                .map_err(|error| anyhow::anyhow!("{} is no script: {error}", path.display()))?;
            writeln!(out, "{}\n{}", script.title, script.shows)?;
            let names = script.names()?.into_iter().zip(0..);
            let names: Vec<String> = names.map(|(name, id)| format!("n{id} {name}")).collect();
            writeln!(out, "{}", names.join(", "))?;
            let seeds: Vec<u64> = (self.seed..self.seed.saturating_add(self.seeds)).collect();
            for group in seeds.chunks(self.jobs.max(1)) {
                for (outcome, seed) in play_all(&script, group)?.iter().zip(group) {
                    all_hold &= self.show(path, *seed, outcome, &mut out)?;
                }
            }
            writeln!(out)?;
        }
        Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Prints what came out. Tells whether everything holds.
    fn show(
        &self,
        path: &Path,
        seed: u64,
        outcome: &Outcome,
        out: &mut impl Write,
    ) -> anyhow::Result<bool> {
        let Outcome { played, recording, real_time } = outcome;
        writeln!(
            out,
            "seed {seed} trace {}: {:.0} s in {:.1} s, {} events",
            x0x_sim::trace::hex(&recording.trace_hash),
            recording.stopped_at.as_secs_f64(),
            real_time.as_secs_f64(),
            recording.events,
        )?;
        if let Some(played) = played {
            if self.table {
                let rows = table::rows(&played.report, *real_time);
                writeln!(out, "{}", table::aligned(&rows))?;
            }
            for verdict in &played.verdicts {
                writeln!(out, "{verdict}")?;
            }
        }
        let what = match played.as_ref().map(|played| &played.failure) {
            Some(None) => return Ok(true),
            Some(Some(failure)) => failure.to_string(),
            None => format!("seed {seed}: a node or the world panicked"),
        };
        let stem = path.file_stem().unwrap_or_default().display();
        let steps = self.failures.join(format!("x0x-sim-play-{stem}-{seed}.steps"));
        let replay = crate::save(&recording.to_bytes(), &steps)?;
        writeln!(out, "FAILED {what}\nreplay: {replay}")?;
        writeln!(out, "again: x0x-sim play {} --seed {seed}", path.display())?;
        Ok(false)
    }
}

/// Plays a script with several seeds at a time.
fn play_all(script: &Script, seeds: &[u64]) -> anyhow::Result<Vec<Outcome>> {
    std::thread::scope(|scope| {
        let play = |&seed| scope.spawn(move || play(script, seed));
        let threads: Vec<_> = seeds.iter().map(play).collect();
        let outcomes = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a world cannot be made")))
        });
        outcomes.collect()
    })
}

fn play(script: &Script, seed: u64) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let mut world: World = script.world(seed)?;
    let run = AssertUnwindSafe(|| script.run_in(&mut world));
    let played = std::panic::catch_unwind(run).ok().transpose()?;
    Ok(Outcome { played, recording: world.recording(), real_time: start.elapsed() })
}
