//! One picture.

use std::fmt::Write as _;

use super::axis::Axis;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 48.0;

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

/// Makes a text safe within markup.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
