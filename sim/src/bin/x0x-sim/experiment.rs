//! Plays a scenario file and says whether what came out is what must.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use x0x_sim::model::experiment::{self, Run, Sample, Scenario};

#[derive(Debug, clap::Args)]
pub(crate) struct Experiment {
    /// The scenario files.
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,
    /// How many seeds are played; the scenario says it if this does not.
    #[arg(long)]
    seeds: Option<u32>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play only this number of nodes, whatever the scenario says.
    #[arg(long)]
    nodes: Option<u32>,
    /// How many worlds are played at a time, a thread each.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

impl Experiment {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        let mut holds = true;
        for path in &self.scenarios {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let scenario = Scenario::parse(&text)
                .with_context(|| format!("{} is no scenario", path.display()))?;
            writeln!(out, "{}\n{}", scenario.title, scenario.shows)?;
            let runs = self.play(&scenario, &mut out)?;
            write!(out, "{}", table(&runs))?;
            for verdict in experiment::judge(&scenario, &runs) {
                holds &= verdict.holds;
                writeln!(out, "{verdict}")?;
            }
            if !holds {
                writeln!(out, "again: x0x-sim experiment {} --seed {}", path.display(), self.seed)?;
            }
        }
        Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn play(&self, scenario: &Scenario, out: &mut impl Write) -> anyhow::Result<Vec<Run>> {
        let seeds = u64::from(self.seeds.unwrap_or(scenario.seeds));
        let sizes = self.nodes.map_or_else(|| scenario.nodes.clone(), |nodes| vec![nodes]);
        let worlds: Vec<(u32, u64)> = sizes
            .iter()
            .flat_map(|&nodes| (self.seed..self.seed + seeds).map(move |seed| (nodes, seed)))
            .collect();
        let mut runs = Vec::new();
        for group in worlds.chunks(self.jobs.max(1)) {
            let played = std::thread::scope(|scope| {
                let play =
                    |&(nodes, seed)| scope.spawn(move || experiment::run(scenario, seed, nodes));
                let threads: Vec<_> = group.iter().map(play).collect();
                threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
            });
            for run in played {
                let run = run.map_err(|_| anyhow::anyhow!("a world panicked"))?;
                writeln!(
                    out,
                    "n {} seed {} trace {:016x}: {:.0} s in {:.1} s, {} events",
                    run.nodes,
                    run.seed,
                    run.trace,
                    run.virtual_time.as_secs_f64(),
                    run.real_time.as_secs_f64(),
                    run.tally.events,
                )?;
                out.flush()?;
                runs.push(run);
            }
        }
        Ok(runs)
    }
}

/// Returns the figures as rows.
fn table(runs: &[Run]) -> String {
    let mut text = String::new();
    let samples = Sample::gather(runs);
    let width = samples.iter().map(|sample| sample.figure.len()).max().unwrap_or(0);
    let mut last = String::new();
    for Sample { part, figure, nodes, value } in samples {
        let head = format!("\n{part}, n = {nodes}");
        // Writing to a string cannot fail.
        if head != last {
            let _ = writeln!(
                text,
                "{head}\n{:<width$}  {:>12} {:>12} {:>12}",
                "", "mean", "min", "max"
            );
            last = head;
        }
        let _ = writeln!(
            text,
            "{figure:<width$}  {:>12.4} {:>12.4} {:>12.4}",
            value.mean, value.min, value.max
        );
    }
    text
}
