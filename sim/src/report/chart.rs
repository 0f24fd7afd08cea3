//! One picture.

use std::fmt::Write as _;
use std::time::Duration;

use super::axis::Axis;
use super::text::escape;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 48.0;

/// Into how many parts the time is divided for a rate.
const RATE_PARTS: usize = 200;

/// Into how many parts the time is divided for a latency.
const LATENCY_PARTS: usize = 80;

/// How the values of a series are drawn.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// A line through the points.
    Line(Vec<(f64, f64)>),
    /// A line that keeps a value until the next point.
    Steps(Vec<(f64, f64)>),
    /// The area between two values at each place.
    Band(Vec<(f64, f64, f64)>),
    /// A line with a mark at each point.
    Marks(Vec<(f64, f64)>),
    /// A bar for each whole number, beside those of other series.
    Bars(Vec<(f64, f64)>),
}

impl Shape {
    pub(crate) fn points(&self) -> Vec<(f64, f64)> {
        match self {
            Self::Line(points) | Self::Steps(points) | Self::Marks(points) | Self::Bars(points) => {
                points.clone()
            }
            Self::Band(points) => {
                points.iter().flat_map(|&(x, low, high)| [(x, low), (x, high)]).collect()
            }
        }
    }
}

/// Values of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// What the legend says; nothing for a part of the series before.
    pub(crate) name: Option<String>,
    pub(crate) colour: usize,
    pub(crate) shape: Shape,
}

/// A picture.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    /// A limit that is drawn across.
    pub(crate) limit: Option<f64>,
}

impl Chart {
    /// Makes a picture of values over time; nothing if there are none but zero.
    pub(crate) fn over_time(
        (title, note, unit): (&str, &str, &str),
        end: Duration,
        lines: Vec<(&str, Vec<(f64, f64)>)>,
    ) -> Option<Self> {
        let are_several = lines.len() > 1;
        let series = lines.into_iter().enumerate().map(|(colour, (name, points))| Series {
            name: Some(name.to_owned()),
            colour,
            shape: Shape::Steps(points),
        });
        let mut series: Vec<Series> = series.collect();
        series.retain(|series| series.shape.points().iter().any(|point| point.1 > 0.0));
        // One line has no legend.
        let only = if let [one] = &series[..] { one.name.as_deref() } else { None };
        let only = only.filter(|_| are_several);
        let note = only.map_or_else(|| note.to_owned(), |only| format!("{note}: {only} only"));
        let values = series.iter().flat_map(|series| series.shape.points()).map(|point| point.1);
        let y = Axis::linear(unit, values, true);
        let (title, x) = (title.to_owned(), Axis::time(end));
        (!series.is_empty()).then_some(Self { title, note, x, y, series, limit: None })
    }

    /// Makes a picture of how long something took that began at a time; nothing if there is none.
    pub(crate) fn latency(
        (title, note): (&str, &str),
        end: Duration,
        took: &[(Duration, Duration)],
    ) -> Option<Self> {
        let mut parts: Vec<Vec<f64>> = vec![Vec::new(); LATENCY_PARTS];
        for (at, took) in took {
            parts[part(*at, end, LATENCY_PARTS)].push(took.as_secs_f64() * 1000.0);
        }
        let width = width(end, LATENCY_PARTS);
        let mut series: Vec<Series> = Vec::new();
        let mut last = None;
        for (number, part) in parts.iter_mut().enumerate().filter(|(_, part)| !part.is_empty()) {
            part.sort_unstable_by(f64::total_cmp);
            let (low, high) = (part[0], part[part.len() - 1]);
            let (from, until) = (number as f64 * width, (number as f64 + 1.0) * width);
            let band = [(from, low, high), (until, low, high)];
            let middle = (f64::midpoint(from, until), part[part.len() / 2]);
            // Between parts in which nothing was there is nothing to draw.
            let is_next = last.is_some_and(|last| last + 1 == number);
            last = Some(number);
            if is_next
                && let [.., Series { shape: Shape::Band(bands), .. }, middles] = &mut series[..]
                && let Shape::Marks(middles) = &mut middles.shape
            {
                bands.extend(band);
                middles.push(middle);
                continue;
            }
            let (band, middle) = (Shape::Band(band.to_vec()), Shape::Marks(vec![middle]));
            series.push(Series { name: None, colour: 0, shape: band });
            series.push(Series { name: None, colour: 1, shape: middle });
        }
        let names = ["fastest to slowest", "median"];
        for (series, name) in series.iter_mut().zip(names) {
            series.name = Some(name.to_owned());
        }
        let values = took.iter().map(|(_, took)| took.as_secs_f64() * 1000.0);
        (!took.is_empty()).then(|| Self {
            title: title.to_owned(),
            note: format!("{note}, {} in all", took.len()),
            x: Axis::time(end),
            y: Axis::log("milliseconds", values),
            series,
            limit: None,
        })
    }

    /// Draws it.
    pub(crate) fn figure(&self) -> String {
        let mut text = format!(
            "<figure><figcaption><b>{}</b> {}<div>{}</div></figcaption>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.title),
            escape(&self.note),
            self.legend(),
            escape(&self.title)
        );
        self.frame(&mut text);
        let bars = self.series.iter().filter(|s| matches!(s.shape, Shape::Bars(_))).count();
        let mut bar = 0;
        for series in &self.series {
            self.draw(&mut text, series, bar, bars);
            bar += usize::from(matches!(series.shape, Shape::Bars(_)));
        }
        if let Some(limit) = self.limit {
            let y = self.y(limit);
            let _ = writeln!(
                text,
                "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                WIDTH - RIGHT
            );
        }
        text.push_str("</svg></figure>\n");
        text
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn frame(&self, text: &mut String) {
        let (right, base) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in self.y.ticks() {
            let y = self.y(value);
            let _ = writeln!(
                text,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 7.0,
                y + 4.0
            );
        }
        for (value, label) in self.x.ticks() {
            let x = self.x(value);
            let _ = writeln!(
                text,
                "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{base}\" y2=\"{}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                base + 4.0,
                base + 18.0
            );
        }
        let _ = writeln!(
            text,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{base}\" y2=\"{base}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" x=\"{}\" y=\"{}\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 10.0,
            escape(&self.x.label),
            6,
            TOP - 18.0,
            escape(&self.y.label)
        );
    }

    fn draw(&self, text: &mut String, series: &Series, bar: usize, bars: usize) {
        let class = format!("c{}", series.colour % 6);
        let at = |&(x, y): &(f64, f64)| format!("{:.1},{:.1}", self.x(x), self.y(y));
        let path = |points: &[(f64, f64)]| points.iter().map(at).collect::<Vec<_>>().join(" ");
        let _ = match &series.shape {
            Shape::Line(points) => {
                writeln!(text, "<polyline class=\"line {class}\" points=\"{}\"/>", path(points))
            }
            Shape::Steps(points) => {
                let corners = points.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
                let corners: Vec<_> = corners.chain(points.last().copied()).collect();
                writeln!(text, "<polyline class=\"line {class}\" points=\"{}\"/>", path(&corners))
            }
            Shape::Marks(points) => {
                let marks = points.iter().map(|&(x, y)| {
                    let (x, y) = (self.x(x), self.y(y));
                    format!("<circle class=\"mark {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>")
                });
                let marks: String = marks.collect();
                writeln!(
                    text,
                    "<polyline class=\"line {class}\" points=\"{}\"/>{marks}",
                    path(points)
                )
            }
            Shape::Band(points) => {
                let low = points.iter().map(|&(x, low, _)| (x, low));
                let high = points.iter().rev().map(|&(x, _, high)| (x, high));
                let around: Vec<_> = low.chain(high).collect();
                writeln!(text, "<polygon class=\"band {class}\" points=\"{}\"/>", path(&around))
            }
            Shape::Bars(points) => {
                let width = (self.x(self.x.min + 1.0) - self.x(self.x.min)) * 0.8;
                let each = (width / bars.max(1) as f64).max(1.0);
                let rows = points.iter().map(|&(x, y)| {
                    let (left, top) = (self.x(x) - width / 2.0 + each * bar as f64, self.y(y));
                    let height = HEIGHT - BOTTOM - top;
                    format!(
                        "<rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" \
                         width=\"{each:.1}\" height=\"{height:.1}\"/>"
                    )
                });
                let rows: String = rows.collect();
                writeln!(text, "{rows}")
            }
        };
    }

    /// Names the series.
    fn legend(&self) -> String {
        let named = self.series.iter().filter_map(|s| Some((s.name.as_deref()?, s.colour % 6)));
        let named: Vec<_> = named.collect();
        if named.len() < 2 {
            return String::new();
        }
        let names = named.iter().map(|(name, colour)| {
            format!("<span><i class=\"c{colour}\"></i>{}</span> ", escape(name))
        });
        names.collect()
    }
}

/// Returns how much there was of something for each second, over time.
pub(crate) fn rates(
    values: impl Iterator<Item = (Duration, f64)>,
    end: Duration,
) -> Vec<(f64, f64)> {
    let mut sums = vec![0.0; RATE_PARTS];
    for (at, value) in values {
        sums[part(at, end, RATE_PARTS)] += value;
    }
    let width = width(end, RATE_PARTS);
    let rates = sums.into_iter().enumerate().map(|(at, sum)| (at as f64 * width, sum / width));
    rates.chain([(RATE_PARTS as f64 * width, 0.0)]).collect()
}

/// Returns in which part of all parts a time is.
fn part(at: Duration, end: Duration, parts: usize) -> usize {
    let nanos = end.as_nanos().max(1);
    let part = at.as_nanos() * parts as u128 / nanos;
    usize::try_from(part).unwrap_or(parts).min(parts - 1)
}

/// Returns how many seconds a part has.
fn width(end: Duration, parts: usize) -> f64 {
    end.as_secs_f64().max(1e-3) / parts as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_there_was_in_a_second() {
        let second = Duration::from_secs(1);
        let rates =
            rates([(second, 10.0), (second, 20.0), (second * 100, 5.0)].into_iter(), second * 100);
        assert_eq!(rates.len(), RATE_PARTS + 1);
        assert_eq!(rates[2], (1.0, 60.0));
        assert_eq!(rates[RATE_PARTS - 1], (99.5, 10.0));
        assert_eq!(rates.iter().filter(|rate| rate.1 > 0.0).count(), 2);
    }

    #[test]
    fn a_latency_has_its_median_and_its_range() {
        let ms = Duration::from_millis;
        assert!(Chart::latency(("", ""), ms(80_000), &[]).is_none());
        let took = [(0, 5), (1, 7), (2, 900), (1500, 8), (79_000, 20)];
        let took = took.map(|(at, took)| (ms(at), ms(took)));
        let chart = Chart::latency(("title", "note"), ms(80_000), &took).expect("there is one");
        assert_eq!(chart.note, "note, 5 in all");
        let shapes = chart.series.iter().map(|series| &series.shape);
        let points: Vec<_> = shapes.flat_map(Shape::points).collect();
        let first = [(0.0, 5.0), (0.0, 900.0), (1.0, 5.0), (1.0, 900.0)];
        let next = [(1.0, 8.0), (1.0, 8.0), (2.0, 8.0), (2.0, 8.0), (0.5, 7.0), (1.5, 8.0)];
        let last = [(79.0, 20.0), (79.0, 20.0), (80.0, 20.0), (80.0, 20.0), (79.5, 20.0)];
        assert_eq!(points, [&first[..], &next, &last].concat());
    }
}
