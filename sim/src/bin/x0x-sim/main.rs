//! Runs simulated worlds: one with given numbers, many with random ones, one from a file, or a large
//! one that is idle. Runs a recorded node again.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};

mod experiment;
mod idle;
mod play;
mod replay;
mod replay_node;
mod report;
mod run;
mod shrink;
mod swarm;
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
    Run(run::Run),
    /// Runs worlds in which everything is drawn; all have to keep the rules and to heal.
    Swarm(swarm::SwarmOf),
    /// Makes the steps of a world that fails fewer.
    Shrink(shrink::Shrink),
    /// Plays the steps of a world again, from a file.
    Replay(replay::Replay),
    /// Runs a recorded node again and says whether it did the same.
    ReplayNode(replay_node::ReplayNode),
    /// Measures how fast a large world is in which nothing happens.
    Idle(idle::Idle),
    /// Plays scripts of whole worlds and says whether what they expect comes out.
    Play(play::Play),
    /// Plays scenario files over modelled links and judges what comes out.
    Experiment(experiment::Experiment),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().action {
        Action::Run(run) => run.execute(),
        Action::Swarm(swarm) => swarm.execute(),
        Action::Shrink(shrink) => shrink.execute(),
        Action::Replay(replay) => replay.execute(),
        Action::ReplayNode(replay) => replay.execute(),
        Action::Idle(idle) => idle.execute(),
        Action::Play(play) => play.execute(),
        Action::Experiment(experiment) => experiment.execute(),
    }
}

/// Writes the steps of a world and returns the command that plays them again.
fn save(steps: &[u8], path: &Path) -> anyhow::Result<String> {
    std::fs::write(path, steps).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!("x0x-sim replay {}", path.display()))
}

/// How long this thread has run; the real time where the system does not say.
fn processor_time(real: Duration) -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = schedstat.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or(real, Duration::from_nanos)
}
