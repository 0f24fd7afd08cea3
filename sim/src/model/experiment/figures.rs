//! What came out of a scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::histogram::Histogram;
use crate::model::world::Tally;

/// One world that was played.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// How many nodes there were.
    pub nodes: u32,
    /// What the steps with a name gave.
    pub parts: Vec<Part>,
    /// Counts of what should be rare.
    pub tally: Tally,
    /// Which rules were broken, as honest nodes say.
    pub rules: BTreeMap<&'static str, u64>,
    /// The hash over everything that moved.
    pub trace: u64,
    /// How long the world ran, by its own clock.
    pub virtual_time: Duration,
    /// How long it took.
    pub real_time: Duration,
}

/// What a step gave.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The name of the step.
    pub name: String,
    /// Its figures, each under its name.
    pub figures: BTreeMap<&'static str, Figure>,
    /// What became of each message.
    pub rounds: Vec<Round>,
    /// How long deliveries took, in milliseconds.
    pub latencies: Histogram,
    /// Over how many links deliveries came.
    pub hops: Histogram,
    /// How many neighbours nodes had in the topic.
    pub degrees: Histogram,
    /// Bytes sent by each node each second, by kind of frame.
    pub kinds: Vec<(String, f64)>,
}

/// A number, or the mean and the largest of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl From<f64> for Figure {
    fn from(value: f64) -> Self {
        Self { mean: value, min: value, max: value }
    }
}

impl Figure {
    /// Takes several numbers.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut sum, mut count) = (0.0, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            sum += value;
            count += 1.0;
            min = value.min(min);
            max = value.max(max);
        }
        if count == 0.0 { Self::from(0.0) } else { Self { mean: sum / count, min, max } }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// Payload frames per node beyond the one that it needs.
    pub redundancy: f64,
    /// The most links that it came over.
    pub last_hop: u8,
    /// How long it took to the last node that got it.
    pub milliseconds: f64,
    /// How many nodes that are there should have it.
    pub expected: u32,
    /// How many of them do not.
    pub missed: u32,
    /// How many got it by repair.
    pub repairs: u32,
    /// The share of nodes that had it when the next message was published.
    pub in_time: f64,
}

impl Round {
    /// Returns the share of nodes that have it.
    pub fn reached(&self) -> f64 {
        if self.expected == 0 {
            return 1.0;
        }
        1.0 - f64::from(self.missed) / f64::from(self.expected)
    }
}

/// A figure of one step over all seeds, for one number of nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The step.
    pub part: String,
    /// The figure.
    pub figure: &'static str,
    /// How many nodes.
    pub nodes: u32,
    /// The mean of means, the smallest and the largest of all.
    pub value: Figure,
}

impl Sample {
    /// Gathers the figures of many worlds, in the order of the steps.
    pub fn gather(runs: &[Run]) -> Vec<Self> {
        let mut sizes: Vec<u32> = runs.iter().map(|run| run.nodes).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let mut samples = Vec::new();
        for nodes in sizes {
            let runs: Vec<&Run> = runs.iter().filter(|run| run.nodes == nodes).collect();
            let Some(first) = runs.first() else { continue };
            for (index, part) in first.parts.iter().enumerate() {
                for &figure in part.figures.keys() {
                    let values = runs.iter().filter_map(|run| {
                        run.parts.get(index).and_then(|part| part.figures.get(figure))
                    });
                    let values: Vec<Figure> = values.copied().collect();
                    let value = Figure {
                        mean: Figure::of(values.iter().map(|value| value.mean)).mean,
                        min: Figure::of(values.iter().map(|value| value.min)).min,
                        max: Figure::of(values.iter().map(|value| value.max)).max,
                    };
                    samples.push(Self { part: part.name.clone(), figure, nodes, value });
                }
            }
        }
        samples
    }
}
