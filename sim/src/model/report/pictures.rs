//! Which pictures a scenario gets.

use crate::model::experiment::{Expect, Figure, Part, Round, Run, Scenario};
use crate::model::histogram::Histogram;
use crate::report::axis::Axis;
use crate::report::chart::{Chart, Series, Shape};

/// The same step of all worlds of one size.
struct Group<'a> {
    name: String,
    nodes: u32,
    /// The same in all pictures.
    colour: usize,
    parts: Vec<&'a Part>,
}

/// Returns the pictures, in the order in which they are shown.
pub(super) fn pictures(scenario: &Scenario, runs: &[Run]) -> Vec<Chart> {
    let groups = groups(scenario, runs);
    let mut charts = Vec::new();
    charts.extend(recovery(&groups));
    charts.extend(redundancy(scenario, &groups));
    charts.extend(last_hop(&groups));
    charts.extend(latency(&groups));
    charts.extend(costs(scenario, &groups));
    charts.extend(degrees(&groups));
    charts
}

fn groups<'a>(scenario: &Scenario, runs: &'a [Run]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for run in runs {
        for part in &run.parts {
            let same = |group: &&mut Group<'_>| group.nodes == run.nodes && group.name == part.name;
            match groups.iter_mut().find(same) {
                Some(group) => group.parts.push(part),
                None => groups.push(Group {
                    name: part.name.clone(),
                    nodes: run.nodes,
                    colour: 0,
                    parts: vec![part],
                }),
            }
        }
    }
    let several = scenario.nodes.len() > 1;
    for (index, group) in groups.iter_mut().enumerate() {
        group.colour = index;
        if several {
            group.colour = scenario.nodes.iter().position(|&n| n == group.nodes).unwrap_or(index);
            group.name = format!("{}, n = {}", group.name, group.nodes);
        }
    }
    groups
}

impl Group<'_> {
    /// Returns a figure of each round: its mean, its least and its largest over the worlds.
    fn rounds(&self, value: impl Fn(&Round) -> f64) -> Vec<Figure> {
        let count = self.parts.iter().map(|part| part.rounds.len()).min().unwrap_or(0);
        let at =
            |round: usize| Figure::of(self.parts.iter().map(|part| value(&part.rounds[round])));
        (0..count).map(at).collect()
    }

    fn merged(&self, of: fn(&Part) -> &Histogram) -> Histogram {
        let mut merged = Histogram::default();
        self.parts.iter().for_each(|part| merged.merge(of(part)));
        merged
    }

    fn figure(&self, name: &str) -> Option<f64> {
        let values = self.parts.iter().filter_map(|part| part.figures.get(name));
        let values: Vec<f64> = values.map(|figure| figure.mean).collect();
        (!values.is_empty()).then(|| Figure::of(values).mean)
    }
}

fn limit(scenario: &Scenario, figure: &str) -> Option<f64> {
    let mut expects = scenario.expect.iter();
    let names =
        |expect: &Expect| expect.figure.strip_suffix(".mean").unwrap_or(&expect.figure) == figure;
    let expect = expects.find(|expect| names(expect))?;
    expect.max.or(expect.min)
}

fn scale(series: &[Series], of: fn(&(f64, f64)) -> f64) -> Vec<f64> {
    series.iter().flat_map(|s| s.shape.points()).map(|point| of(&point)).collect()
}

/// The x axis and the y axis for what is drawn.
fn axes(series: &[Series], x: &str, y: &str, more: Option<f64>) -> (Axis, Axis) {
    let xs = scale(series, |point| point.0).into_iter();
    let ys = scale(series, |point| point.1).into_iter().chain(more);
    (Axis::linear(x, xs, true), Axis::linear(y, ys, true))
}

/// The share of nodes that had a message before the next was published, if ever some had not.
fn recovery(groups: &[Group<'_>]) -> Option<Chart> {
    let troubled = |group: &&Group<'_>| {
        let rounds = group.rounds(|round| round.in_time);
        rounds.len() > 1 && rounds.iter().any(|figure| figure.min < 1.0)
    };
    let first = groups.iter().position(|group| troubled(&group))?;
    let mut series = Vec::new();
    let mut offset = 0.0;
    for group in groups[first..].iter().filter(|g| g.rounds(|_| 0.0).len() > 1) {
        let colour = group.colour;
        let rounds = group.rounds(|round| 100.0 * round.in_time);
        let place = |index: usize| offset + index as f64 + 1.0;
        let band = rounds.iter().enumerate().map(|(i, f)| (place(i), f.min, f.max)).collect();
        let line = rounds.iter().enumerate().map(|(i, f)| (place(i), f.mean)).collect();
        series.push(Series { name: None, colour, shape: Shape::Band(band) });
        let name = Some(group.name.clone());
        series.push(Series { name, colour, shape: Shape::Marks(line) });
        offset += rounds.len() as f64;
    }
    let x = scale(&series, |point| point.0).into_iter();
    let y = scale(&series, |point| point.1).into_iter();
    Some(Chart {
        title: "Recovery".to_owned(),
        note: "who has a message when the next is published: mean, and the range over seeds"
            .to_owned(),
        x: Axis::linear("message", x, true),
        y: Axis::linear("% of nodes", y.chain([100.0]), false),
        series,
        limit: None,
    })
}

fn redundancy(scenario: &Scenario, groups: &[Group<'_>]) -> Option<Chart> {
    let mut series = Vec::new();
    for group in groups.iter().filter(|group| group.rounds(|_| 0.0).len() > 1) {
        let colour = group.colour;
        let rounds = group.rounds(|round| round.redundancy);
        let place = |index: usize| index as f64 + 1.0;
        let band = rounds.iter().enumerate().map(|(i, f)| (place(i), f.min, f.max)).collect();
        let line = rounds.iter().enumerate().map(|(i, f)| (place(i), f.mean)).collect();
        series.push(Series { name: None, colour, shape: Shape::Band(band) });
        let name = Some(group.name.clone());
        series.push(Series { name, colour, shape: Shape::Line(line) });
    }
    if series.is_empty() {
        return None;
    }
    let limit = limit(scenario, "redundancy");
    let (x, y) = axes(&series, "message", "copies beyond one", limit);
    Some(Chart {
        title: "Redundancy".to_owned(),
        note:
            "payload frames per node beyond the one that it needs: mean, and the range over seeds"
                .to_owned(),
        x,
        y,
        series,
        limit,
    })
}

fn last_hop(groups: &[Group<'_>]) -> Option<Chart> {
    let mut series = Vec::new();
    for group in groups.iter().filter(|g| !g.rounds(|_| 0.0).is_empty()) {
        let colour = group.colour;
        let mut hops = Histogram::default();
        for round in group.parts.iter().flat_map(|part| &part.rounds) {
            hops.add(usize::from(round.last_hop));
        }
        series.push(bars(&group.name, colour, &hops));
    }
    let (x, y) = bar_axes(&series, "links to the last node", "% of messages")?;
    Some(Chart {
        title: "Depth".to_owned(),
        note: "over how many links a message came to the node that was furthest".to_owned(),
        x,
        y,
        series,
        limit: None,
    })
}

fn bars(name: &str, colour: usize, histogram: &Histogram) -> Series {
    let total = histogram.total().max(1) as f64;
    let share = |(number, count): (usize, u64)| (number as f64, 100.0 * count as f64 / total);
    let shape = Shape::Bars(histogram.iter().map(share).collect());
    Series { name: Some(name.to_owned()), colour, shape }
}

fn latency(groups: &[Group<'_>]) -> Option<Chart> {
    let mut series = Vec::new();
    for group in groups.iter().filter(|g| !g.rounds(|_| 0.0).is_empty()) {
        let colour = group.colour;
        let latencies = group.merged(|part| &part.latencies);
        if latencies.total() == 0 {
            continue;
        }
        // The last thousandth may have come by repair, far to the right.
        let end = latencies.quantile(0.999).unwrap_or(0);
        let mut sum = 0;
        let mut points = vec![(0.0, 0.0)];
        for (ms, count) in latencies.iter().take_while(|&(ms, _)| ms <= end) {
            sum += count;
            points.push((ms as f64, 100.0 * sum as f64 / latencies.total() as f64));
        }
        let name = Some(group.name.clone());
        series.push(Series { name, colour, shape: Shape::Steps(thin(points)) });
    }
    if series.is_empty() {
        return None;
    }
    let (x, y) = axes(&series, "milliseconds", "% of deliveries", Some(100.0));
    Some(Chart {
        title: "Latency".to_owned(),
        note: "the share of deliveries within a time; the last thousandth is left out".to_owned(),
        x,
        y,
        series,
        limit: None,
    })
}

/// Keeps a few hundred points.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len() / 300 + 1;
    let last = points.len() - 1;
    let kept = points.into_iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last);
    kept.map(|(_, point)| point).collect()
}

/// What a node costs against the number of nodes, if there are several.
fn costs(scenario: &Scenario, groups: &[Group<'_>]) -> Vec<Chart> {
    if scenario.nodes.len() < 2 {
        return Vec::new();
    }
    let plot = |title: &str, note: &str, y: &str, lines: &[(&str, &str, f64)]| {
        let mut series = Vec::new();
        for (colour, (name, figure, unit)) in lines.iter().enumerate() {
            let points = groups
                .iter()
                .filter_map(|group| Some((f64::from(group.nodes), group.figure(figure)? / unit)));
            let points: Vec<_> = points.collect();
            if !points.is_empty() {
                let name = Some((*name).to_owned());
                series.push(Series { name, colour, shape: Shape::Marks(points) });
            }
        }
        let xs = scale(&series, |point| point.0).into_iter();
        let ys = scale(&series, |point| point.1).into_iter();
        (!series.is_empty()).then(|| Chart {
            title: title.to_owned(),
            note: note.to_owned(),
            x: Axis::log("nodes", xs),
            y: Axis::linear(y, ys, true),
            series,
            limit: None,
        })
    };
    let traffic = plot(
        "Traffic at rest",
        "what a node sends each second while nothing is published",
        "bytes/s",
        &[
            ("frames", "control_bytes_per_s", 1.0),
            ("with packets and keep-alive", "estimated_bytes_per_s", 1.0),
        ],
    );
    let memory = plot(
        "Memory",
        "what the process grew by for each node, model included",
        "kB",
        &[("resident", "resident_bytes", 1000.0), ("counted", "counted_bytes", 1000.0)],
    );
    let sessions = plot(
        "Sessions",
        "how many a node has, and how many of its peers are neighbours",
        "peers",
        &[("sessions", "sessions", 1.0), ("neighbours", "neighbours", 1.0)],
    );
    [traffic, memory, sessions].into_iter().flatten().collect()
}

fn degrees(groups: &[Group<'_>]) -> Option<Chart> {
    // Of each world the end.
    let last = |group: &&Group<'_>| {
        let end = groups.iter().rfind(|other| other.nodes == group.nodes);
        end.is_some_and(|end| end.name == group.name)
    };
    let series: Vec<Series> = groups
        .iter()
        .filter(last)
        .map(|group| bars(&group.name, group.colour, &group.merged(|part| &part.degrees)))
        .collect();
    let (x, y) = bar_axes(&series, "neighbours in the topic", "% of nodes")?;
    Some(Chart {
        title: "Neighbours".to_owned(),
        note: "how many neighbours nodes have in the end".to_owned(),
        x,
        y,
        series,
        limit: None,
    })
}

/// The axes for bars, if there are any.
fn bar_axes(series: &[Series], x: &str, y: &str) -> Option<(Axis, Axis)> {
    let xs = scale(series, |point| point.0);
    let ys = scale(series, |point| point.1).into_iter();
    (!xs.is_empty()).then(|| (Axis::whole(x, xs.into_iter()), Axis::linear(y, ys, true)))
}
