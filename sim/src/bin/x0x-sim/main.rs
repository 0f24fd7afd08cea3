//! Runs simulated worlds: one with given numbers, many with random ones, or one from a file.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use x0x_sim::Recording;

mod replay;
mod run;
mod table;
mod worlds;

#[derive(Debug, Parser)]
#[command(about = "Deterministic worlds of x0x nodes")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Runs one world and shows what came out.
    Run(run::Run),
    /// Runs random worlds with faults; all have to recover.
    Worlds(worlds::Worlds),
    /// Plays the steps of a world again, from a file.
    Replay(replay::Replay),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().action {
        Action::Run(run) => run.execute(),
        Action::Worlds(worlds) => worlds.execute(),
        Action::Replay(replay) => replay.execute(),
    }
}

/// Writes the steps of a world and returns the command that plays them again.
fn save(recording: &Recording, path: &Path) -> anyhow::Result<String> {
    std::fs::write(path, recording.to_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!("x0x-sim replay {}", path.display()))
}
