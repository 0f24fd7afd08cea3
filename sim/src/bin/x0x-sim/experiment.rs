//! Plays a scenario file and says whether what came out is what must.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use x0x_sim::model::experiment::{self, Run, Scenario, Verdict};
use x0x_sim::model::report;

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
    /// Print what became of each message.
    #[arg(long)]
    rounds: bool,
    /// Write a page with pictures to this file; with several scenarios, to a file for each in this
    /// folder.
    #[arg(long)]
    report: Option<PathBuf>,
}

impl Experiment {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        let mut all_hold = true;
        for path in &self.scenarios {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let scenario = Scenario::parse(&text)
                .with_context(|| format!("{} is no scenario", path.display()))?;
            writeln!(out, "{}\n{}", scenario.title, scenario.shows)?;
            let runs = self.play(&scenario, &mut out)?;
            if self.rounds {
                write!(out, "{}", report::rounds(&runs))?;
            }
            writeln!(out, "{}", report::table(&runs))?;
            let verdicts = experiment::judge(&scenario, &runs);
            for verdict in &verdicts {
                writeln!(out, "{verdict}")?;
            }
            let command = self.command(&scenario, path);
            if !verdicts.iter().all(|verdict| verdict.holds) {
                all_hold = false;
                writeln!(out, "again: {command}")?;
            }
            self.save(path, &scenario, &runs, &verdicts, &command)?;
            writeln!(out)?;
        }
        Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Returns the command that does this again.
    fn command(&self, scenario: &Scenario, path: &Path) -> String {
        let seeds = self.seeds.unwrap_or(scenario.seeds);
        let nodes = self.nodes.map_or_else(String::new, |nodes| format!(" --nodes {nodes}"));
        let path = path.display();
        format!("x0x-sim experiment {path} --seed {} --seeds {seeds}{nodes}", self.seed)
    }

    fn save(
        &self,
        path: &Path,
        scenario: &Scenario,
        runs: &[Run],
        verdicts: &[Verdict],
        command: &str,
    ) -> anyhow::Result<()> {
        let Some(report) = &self.report else { return Ok(()) };
        let target = if self.scenarios.len() == 1 {
            report.clone()
        } else {
            std::fs::create_dir_all(report)
                .with_context(|| format!("cannot make {}", report.display()))?;
            report.join(path.file_stem().unwrap_or_default()).with_extension("html")
        };
        std::fs::write(&target, report::page(scenario, runs, verdicts, command))
            .with_context(|| format!("cannot write {}", target.display()))
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
