//! Whether what came out is what must.

use std::fmt;

use super::figures::{Run, Sample};
use super::file::{Expect, Scenario};

/// Whether a limit holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The limit.
    pub expect: Expect,
    /// The number of nodes.
    pub nodes: u32,
    /// The figure in the worst world; missing if there is no such figure.
    pub value: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expect { of, figure, max, min, .. } = &self.expect;
        let word = if self.holds { "holds" } else { "FAILS" };
        write!(formatter, "{word}  {of}: {figure}")?;
        if let Some(max) = max {
            write!(formatter, " ≤ {max}")?;
        }
        if let Some(min) = min {
            write!(formatter, " ≥ {min}")?;
        }
        match self.value {
            Some(value) => write!(formatter, " (n = {}: {value:.4})", self.nodes),
            None => write!(formatter, " (n = {}: there is no such figure)", self.nodes),
        }
    }
}

/// Judges what came out. A limit on `figure` is one on its worst value in any world and any round; a
/// limit on `figure.mean` is one on the mean over rounds, in the worst world.
pub fn judge(scenario: &Scenario, runs: &[Run]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut sizes: Vec<u32> = Sample::gather(runs).iter().map(|sample| sample.nodes).collect();
    sizes.dedup();
    for expect in &scenario.expect {
        for &nodes in &sizes {
            if expect.nodes.is_none_or(|only| only == nodes) {
                verdicts.push(one(expect, nodes, runs));
            }
        }
    }
    verdicts
}

fn one(expect: &Expect, nodes: u32, runs: &[Run]) -> Verdict {
    let (figure, of_mean) = match expect.figure.strip_suffix(".mean") {
        Some(figure) => (figure, true),
        None => (expect.figure.as_str(), false),
    };
    let runs = runs.iter().filter(|run| run.nodes == nodes);
    let parts = runs.flat_map(|run| run.parts.iter().filter(|part| part.name == expect.of));
    let figures: Vec<_> = parts.filter_map(|part| part.figures.get(figure)).collect();
    let highest = figures.iter().map(|f| if of_mean { f.mean } else { f.max }).reduce(f64::max);
    let lowest = figures.iter().map(|f| if of_mean { f.mean } else { f.min }).reduce(f64::min);
    let is_below = expect.max.is_none_or(|max| highest.is_some_and(|value| value <= max));
    let is_above = expect.min.is_none_or(|min| lowest.is_some_and(|value| value >= min));
    let value = if expect.max.is_some() { highest } else { lowest };
    Verdict { expect: expect.clone(), nodes, value, holds: is_below && is_above }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::figures::{Figure, Part};
    use super::*;

    #[test]
    fn the_worst_world_decides() {
        let run = |seed, values: &[f64]| Run {
            seed,
            nodes: 10,
            parts: vec![Part {
                name: "a".to_owned(),
                figures: BTreeMap::from([("redundancy", Figure::of(values.iter().copied()))]),
                ..Part::default()
            }],
            tally: Default::default(),
            rules: BTreeMap::new(),
            trace: 0,
            virtual_time: Duration::ZERO,
            real_time: Duration::ZERO,
        };
        let runs = [run(1, &[0.1, 0.3]), run(2, &[0.1, 0.5])];
        let expect = |figure: &str, max| Expect {
            of: "a".to_owned(),
            figure: figure.to_owned(),
            max,
            min: if max.is_none() { Some(0.2) } else { None },
            nodes: None,
        };
        let cases = [
            ("redundancy", Some(0.5), true),
            ("redundancy", Some(0.4), false),
            ("redundancy.mean", Some(0.3), true),
            ("redundancy.mean", Some(0.29), false),
            ("redundancy", None, false),
            ("redundancy.mean", None, true),
            ("nothing", Some(1.0), false),
        ];
        for (figure, max, holds) in cases {
            assert_eq!(one(&expect(figure, max), 10, &runs).holds, holds, "{figure} {max:?}");
        }
    }
}
