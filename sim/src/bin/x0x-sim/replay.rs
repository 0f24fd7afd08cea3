//! A world from a file.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use x0x_sim::history::About;
use x0x_sim::hostile::AnyNode;
use x0x_sim::recording::RecordedStep;
use x0x_sim::swarm::modelled::{ModelledRecording, TimedAct};
use x0x_sim::{Failure, Recording, World};

use crate::report::{PageOptions, numbers};

/// How much of a step or an event is shown; payloads are long.
const SHOWN_MAX: usize = 160;

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The file, as `run`, `swarm` and `shrink` write it.
    file: PathBuf,
    /// Show each step and each event of each node.
    #[arg(long)]
    events: bool,
    #[command(flatten)]
    page: PageOptions,
}

impl Replay {
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        let bytes = std::fs::read(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        if let Ok(recording) = ModelledRecording::from_bytes(&bytes) {
            return self.modelled(&recording, &mut out);
        }
        let mut recording = Recording::from_bytes(&bytes)?;
        recording.config.record_events = self.events;
        let mut world: World<AnyNode> = recording.world();
        self.page.begin(&mut world)?;
        let play = std::panic::AssertUnwindSafe(|| world.play(&recording));
        let played = std::panic::catch_unwind(play);
        self.save(&mut world, &recording, played.as_ref().ok())?;
        let result = played.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if self.events {
            show(&recording, &world, &mut out)?;
        }
        writeln!(
            out,
            "{} steps and {} events in {:.6} s of virtual time",
            recording.steps.len(),
            world.processed(),
            world.now().as_secs_f64(),
        )?;
        match (&result, &recording.failure) {
            (Err(failure), _) => writeln!(out, "failed: {failure}")?,
            (Ok(()), Some(failure)) => {
                writeln!(out, "no check failed; what was recorded: {failure}")?;
            }
            (Ok(()), None) => {}
        }
        let is_same = world.trace_hash() == recording.trace_hash
            && (result.is_ok() || result.err() == recording.failure);
        if !is_same {
            writeln!(out, "this is not what was recorded: the program is another one")?;
        }
        writeln!(out, "trace_hash {}", world.trace_hex())?;
        Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Writes the page; a world without a result panicked.
    fn save(
        &self,
        world: &mut World<AnyNode>,
        recording: &Recording,
        result: Option<&Result<(), Failure>>,
    ) -> anyhow::Result<()> {
        let file = self.file.display();
        let failure = match (result, &recording.failure) {
            (None, _) => Some("a node or the world panicked".to_owned()),
            (Some(Err(failure)), _) => Some(failure.to_string()),
            // What the driver of the recorded world found wrong is wrong here, too.
            (Some(Ok(())), Some(failure)) if world.trace_hash() == recording.trace_hash => {
                Some(world.fail(failure.what.clone()).to_string())
            }
            (Some(Ok(())), Some(failure)) => Some(format!(
                "No check failed, and this is not what was recorded: the program is another one. \
                 Recorded was: {failure}"
            )),
            (Some(Ok(())), None) => None,
        };
        let title = format!("{} nodes, seed {}", world.config().nodes, world.config().seed);
        let (command, numbers) = (format!("x0x-sim replay {file}"), numbers(world));
        let about = About { title, command, failure, numbers, ..About::default() };
        self.page.save(world, &about)
    }

    fn modelled(
        &self,
        recording: &ModelledRecording,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        if self.events {
            for TimedAct { at, act } in &recording.acts {
                writeln!(out, "{:>12.6} step {}", at.as_secs_f64(), cut(act))?;
            }
        }
        anyhow::ensure!(self.page.report.is_none(), "a modelled world has no page");
        let played = recording.play();
        let seconds = played.stopped_at.as_secs_f64();
        writeln!(out, "{} steps in {seconds:.6} s of virtual time", played.acts.len())?;
        if let Some(failure) = &played.failure {
            writeln!(out, "failed: {failure}")?;
        }
        let is_same = played == *recording;
        if !is_same {
            writeln!(out, "this is not what was recorded: the program is another one")?;
        }
        writeln!(out, "trace_hash {:016x}", played.trace)?;
        Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn show(recording: &Recording, world: &World<AnyNode>, out: &mut impl Write) -> anyhow::Result<()> {
    let mut steps = recording.steps.iter().peekable();
    for logged in world.events() {
        while let Some(step) = steps.next_if(|step| step.at <= logged.at) {
            show_step(step, out)?;
        }
        let seconds = logged.at.as_secs_f64();
        writeln!(out, "{seconds:>12.6} {} {}", logged.node, cut(&logged.event))?;
    }
    steps.try_for_each(|step| show_step(step, out))
}

fn show_step(step: &RecordedStep, out: &mut impl Write) -> anyhow::Result<()> {
    Ok(writeln!(out, "{:>12.6} step {}", step.at.as_secs_f64(), cut(&step.step))?)
}

fn cut(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take(SHOWN_MAX).collect()
}
