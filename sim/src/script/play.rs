//! Plays a script, and says whether what came out is what must.

use std::fmt;

use super::file::{Limit, Script};
use super::plan::{Plan, Wanted};
use crate::{Failure, Machine, Report, Step, World};

/// What came out of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// The figures, up to where the world ended.
    pub report: Report,
    /// Each expectation in the order of time, and then each limit.
    pub verdicts: Vec<Verdict>,
    /// What went wrong first: a rule of every world, an expectation or a limit.
    pub failure: Option<Failure>,
}

/// Whether an expectation or a limit holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What must be true, in the words of the script.
    pub words: String,
    /// Whether it is; `None` if the world ended before.
    pub holds: Option<bool>,
    /// What is instead, or the value of a figure.
    pub seen: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.holds {
            Some(true) => "holds",
            Some(false) => "FAILS",
            None => "open ",
        };
        write!(formatter, "{word}  {}", self.words)?;
        if self.seen.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.seen) }
    }
}

/// Plays a plan in its world.
pub(super) fn play<M: Machine>(script: &Script, plan: Plan, world: &mut World<M>) -> Played {
    for (at, step) in plan.steps {
        world.schedule(at, step);
    }
    let mut verdicts = Vec::new();
    let (mut looked_at, mut is_over) = (None, false);
    for wanted in &plan.wanted {
        // Everything that is expected at one time is looked at, even if some of it is not so.
        if looked_at != Some(wanted.at) {
            (looked_at, is_over) = (Some(wanted.at), world.run_until(wanted.at).is_err());
        }
        verdicts.push(if is_over { open(words_of(wanted)) } else { look(wanted, world) });
    }
    // If it failed already, it fails in the same way.
    let mut result = world.run_until(script.duration);
    let report = Report::new(world, &plan.edges);
    for limit in &script.limit {
        let verdict = match result {
            Ok(()) => judge(limit, &report),
            Err(_) => open(words(limit)),
        };
        verdicts.push(verdict);
    }
    let missed = verdicts.iter().find(|verdict| verdict.holds == Some(false));
    if let Some(missed) = missed.filter(|_| result.is_ok()) {
        result = Err(world.fail(format!("{} ({})", missed.words, missed.seen)));
    }
    Played { report, verdicts, failure: result.err() }
}

/// Looks whether something is so. What is not is a step that fails the world.
fn look<M: Machine>(wanted: &Wanted, world: &mut World<M>) -> Verdict {
    let mut seen = Vec::new();
    for expectation in &wanted.expectations {
        if let Err((node, what)) = world.meets(expectation) {
            seen.push(node.map_or_else(|| what.clone(), |node| format!("{node}: {what}")));
        }
        // It is no command.
        let _ = world.apply(Step::Expect(expectation.clone()));
    }
    let (all, failed) = (wanted.expectations.len(), seen.len());
    let mut seen = seen.into_iter().next().unwrap_or_default();
    if failed > 1 {
        seen = format!("{failed} of {all}, as {seen}");
    }
    Verdict { words: words_of(wanted), holds: Some(failed == 0), seen }
}

/// The world ended before.
fn open(words: String) -> Verdict {
    Verdict { words, holds: None, seen: String::new() }
}

fn words_of(wanted: &Wanted) -> String {
    format!("at {} s {}", wanted.at.as_secs_f64(), wanted.words)
}

fn judge(limit: &Limit, report: &Report) -> Verdict {
    let value = report.figure(&limit.figure).and_then(|figure| figure.number());
    let is_below = limit.max.is_none_or(|max| value.is_some_and(|value| value <= max));
    let is_above = limit.min.is_none_or(|min| value.is_some_and(|value| value >= min));
    let seen = value.map_or_else(|| "none".to_owned(), |value| format!("{value}"));
    Verdict { words: words(limit), holds: Some(is_below && is_above), seen }
}

fn words(limit: &Limit) -> String {
    let max = limit.max.map_or_else(String::new, |max| format!(" ≤ {max}"));
    let min = limit.min.map_or_else(String::new, |min| format!(" ≥ {min}"));
    format!("{}{max}{min}", limit.figure)
}
