//! Figures as rows.

use std::fmt::Write as _;

use crate::model::experiment::{Run, Sample};
use crate::report::text::number;

/// Returns the figures of all steps as rows: the mean of all worlds and rounds, and the extremes.
pub fn table(runs: &[Run]) -> String {
    let mut text = String::new();
    let samples = Sample::gather(runs);
    let width = samples.iter().map(|sample| sample.figure.len()).max().unwrap_or(0);
    let mut last = String::new();
    for Sample { part, figure, nodes, value } in samples {
        let head = format!("\n{part}, n = {nodes}");
        // Writing to a string cannot fail.
        if head != last {
            let _ =
                writeln!(text, "{head}\n{:<width$} {:>12} {:>12} {:>12}", "", "mean", "min", "max");
            last = head;
        }
        let [mean, min, max] = [value.mean, value.min, value.max].map(number);
        let _ = writeln!(text, "{figure:<width$} {mean:>12} {min:>12} {max:>12}");
    }
    text + &rare(runs)
}

/// Returns what became of each message, as rows.
pub fn rounds(runs: &[Run]) -> String {
    let mut text = String::from(
        "nodes seed step message redundancy last_hop milliseconds expected missed in_time repairs\n",
    );
    for run in runs {
        for part in &run.parts {
            for (message, round) in part.rounds.iter().enumerate() {
                let _ = writeln!(
                    text,
                    "{} {} {} {message} {:.3} {} {:.0} {} {} {:.5} {}",
                    run.nodes,
                    run.seed,
                    part.name.replace(' ', "-"),
                    round.redundancy,
                    round.last_hop,
                    round.milliseconds,
                    round.expected,
                    round.missed,
                    round.in_time,
                    round.repairs
                );
            }
        }
    }
    text
}

/// Returns what should be rare and was not absent.
fn rare(runs: &[Run]) -> String {
    let mut text = String::new();
    let sum = |value: fn(&Run) -> u64| runs.iter().map(value).sum::<u64>();
    let counts = [
        ("frames without a session", sum(|run| run.tally.frames_homeless)),
        ("frames without room", sum(|run| run.tally.frames_over_room)),
        ("wishes for a session that was there", sum(|run| run.tally.connects_redundant)),
        ("wishes with a wrong contact", sum(|run| run.tally.connects_misled)),
        ("complaints of being alone", sum(|run| run.tally.lonely)),
        ("dials that failed", sum(|run| run.tally.dials_failed)),
        ("deliveries twice", sum(|run| run.tally.delivered_twice)),
        ("forgeries met", sum(|run| run.tally.forgeries)),
        ("messages told as lost", sum(|run| run.tally.lagged)),
        ("authors found out", sum(|run| run.tally.equivocations)),
        ("honest nodes accused by honest ones", sum(|run| run.tally.wrongly_accused)),
    ];
    for (name, count) in counts.into_iter().filter(|&(_, count)| count > 0) {
        let _ = writeln!(text, "{name}: {count}");
    }
    let mut rules = std::collections::BTreeMap::<&str, u64>::new();
    for (rule, count) in runs.iter().flat_map(|run| &run.rules) {
        *rules.entry(rule).or_default() += count;
    }
    for (rule, count) in rules {
        let _ = writeln!(text, "broken rule, {rule}: {count}");
    }
    if text.is_empty() { text } else { format!("\nin all worlds\n{text}") }
}
