//! A node that was recorded, from its file.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use x0x_core::node::recording::{Replay, ReplayError, Tally};
use x0x_sim::flight::{self, Timeline};

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayNode {
    /// The recording, as a daemon writes it.
    file: PathBuf,
    /// Print a line for everything that went in or came out: seconds, kind, peer, bytes, what.
    #[arg(long)]
    timeline: bool,
    /// Write a page with pictures and the timeline to this file.
    #[arg(long, value_name = "HTML")]
    report: Option<PathBuf>,
}

impl ReplayNode {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let bytes = std::fs::read(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let mut replay = Replay::open(bytes, Instant::now())
            .with_context(|| format!("cannot replay {}", self.file.display()))?;
        let (timeline, result) = if self.timeline || self.report.is_some() {
            Timeline::of(&mut replay)
        } else {
            (Timeline::default(), replay.run())
        };
        let (tally, verdict) = (replay.tally(), verdict(&replay.tally(), &result));
        if let Some(report) = &self.report {
            let page = flight::page(replay.header(), &timeline, &tally, &verdict);
            std::fs::write(report, page)
                .with_context(|| format!("cannot write {}", report.display()))?;
        }
        match self.print(&timeline, &verdict) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            printed => printed.context("cannot write the output")?,
        }
        Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn print(&self, timeline: &Timeline, verdict: &str) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.timeline {
            for line in &timeline.lines {
                writeln!(out, "{}", timeline.row(line))?;
            }
        }
        writeln!(out, "{verdict}")?;
        out.flush()
    }
}

/// Says how the replay went.
fn verdict(tally: &Tally, result: &Result<Tally, ReplayError>) -> String {
    let Tally { inputs, outputs, bytes_sent, elapsed, end, bytes_left, .. } = tally;
    let seconds = elapsed.as_secs_f64();
    let counts =
        format!("{inputs} inputs, {outputs} outputs, {bytes_sent} bytes sent, over {seconds:.3} s");
    match (result, end) {
        (Ok(_), Some(end)) => format!("identical: {counts}; {end}"),
        (Ok(_), None) => format!(
            "identical: {counts}; the recording was cut, {bytes_left} bytes of an entry are left"
        ),
        (Err(ReplayError::Diverged(divergence)), _) => {
            format!("diverged: {divergence}\nidentical until there: {counts}")
        }
        (Err(error), _) => format!("broken: {error}\nidentical until there: {counts}"),
    }
}
