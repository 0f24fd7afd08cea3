//! Fewer steps that fail in the same way.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use x0x_sim::Recording;
use x0x_sim::hostile::AnyNode;
use x0x_sim::swarm::modelled::ModelledRecording;
use x0x_sim::swarm::shrink;

#[derive(Debug, clap::Args)]
pub(crate) struct Shrink {
    /// The file, as `run` and `swarm` write it for a world that fails.
    file: PathBuf,
    /// Where to write what is left; next to the file, with "-small" in its name, if this is missing.
    #[arg(long)]
    out: Option<PathBuf>,
    /// How many worlds to play at most.
    #[arg(long, default_value_t = 500)]
    runs: u32,
}

impl Shrink {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let bytes = std::fs::read(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        // Each world that panics would say so.
        std::panic::set_hook(Box::new(|_| {}));
        let is_watched = std::io::stderr().is_terminal();
        let progress = |steps: usize| {
            if is_watched {
                // A closed output must not stop it.
                let _ = write!(std::io::stderr(), "\r{steps} steps ");
            }
        };
        let (before, shrunk) = match ModelledRecording::from_bytes(&bytes) {
            Ok(recording) => {
                let shrunk = recording.shrink(self.runs, progress);
                (recording.acts.len(), shrunk.map(|left| (left.acts.len(), left.to_bytes())))
            }
            Err(_) => {
                let recording = Recording::from_bytes(&bytes)?;
                let shrunk = shrink::shrink::<AnyNode>(&recording, self.runs, progress);
                (recording.steps.len(), shrunk.map(|left| (left.steps.len(), left.to_bytes())))
            }
        };
        let mut out = std::io::stdout();
        if is_watched {
            writeln!(std::io::stderr())?;
        }
        let Some((left, bytes)) = shrunk else {
            writeln!(out, "these steps, played at their times, do not fail in that way")?;
            return Ok(ExitCode::FAILURE);
        };
        let target = self.out.clone().unwrap_or_else(|| {
            let stem = self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            self.file.with_file_name(format!("{stem}-small.steps"))
        });
        let replay = crate::save(&bytes, &target)?;
        writeln!(out, "{left} of {before} steps are left\nreplay: {replay}")?;
        Ok(ExitCode::SUCCESS)
    }
}
