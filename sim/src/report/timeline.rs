//! Rows over time: in which state something was, how many of something it had, and what happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::axis::Axis;
use super::text::{escape, seconds};

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 120.0;
const RIGHT: f64 = 20.0;
const ROW: f64 = 26.0;
const BAR: f64 = 18.0;
const BOTTOM: f64 = 40.0;

/// How many rows are drawn.
pub(crate) const ROWS_MAX: usize = 100;

/// How many spans, marks and changes of a count are drawn in a row: more could not be told apart.
pub(crate) const EACH_MAX: usize = 500;

/// How many things the text of one mark names.
const NAMED_MAX: usize = 6;

/// A time in which something was so.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) class: &'static str,
    pub(crate) title: String,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at: Duration,
    pub(crate) class: &'static str,
    pub(crate) title: String,
}

/// A row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) spans: Vec<Span>,
    /// How many there are from a time on.
    pub(crate) counts: Vec<(Duration, usize)>,
    pub(crate) marks: Vec<Mark>,
}

/// A key of the legend: its class and its words.
pub(crate) type Key = (&'static str, &'static str);

/// All rows.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub(crate) title: &'static str,
    pub(crate) note: String,
    pub(crate) legend: Vec<Key>,
    pub(crate) end: Duration,
    pub(crate) rows: Vec<Row>,
    /// When something failed.
    pub(crate) failed: Option<Duration>,
}

impl Timeline {
    /// Draws it.
    pub(crate) fn figure(&self) -> String {
        let rows = &self.rows[..self.rows.len().min(ROWS_MAX)];
        let counts = rows.iter().flat_map(|row| &row.counts);
        let most = counts.map(|(_, count)| *count).max().unwrap_or(0);
        let note = format!("{} The line is the number of links, at most {most}.", self.note);
        let axis = Axis::time(self.end);
        let height = ROW * rows.len() as f64 + BOTTOM;
        let title = escape(self.title);
        let mut text = format!(
            "<figure><figcaption><b>{title}</b>{}<div>{}</div></figcaption>\n<svg \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n",
            escape(note.trim()),
            legend(&self.legend)
        );
        scale(&mut text, &axis, height);
        let most = most.max(1);
        for (index, row) in rows.iter().enumerate() {
            row.draw(&mut text, &axis, ROW * index as f64, most, self.end);
        }
        if let Some(failed) = self.failed {
            let x = place(&axis, failed);
            let _ = writeln!(
                text,
                "<line class=\"limit\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{:.1}\">\
                 <title>failed at {}</title></line>",
                height - BOTTOM + 4.0,
                seconds(failed)
            );
        }
        text.push_str("</svg></figure>\n");
        text
    }
}

/// Returns how many links there are from each time on.
pub(crate) fn counts(
    links: impl Iterator<Item = (Duration, Option<Duration>)>,
) -> Vec<(Duration, usize)> {
    let mut changes: Vec<(Duration, bool)> = Vec::new();
    for (from, until) in links {
        changes.push((from, true));
        changes.extend(until.map(|until| (until, false)));
    }
    // One that ends when another begins ends later, so that there are never less than none.
    changes.sort_unstable_by_key(|&(at, begins)| (at, !begins));
    let mut count: usize = 0;
    let mut counts = vec![(Duration::ZERO, 0)];
    for (at, begins) in changes {
        count = if begins { count + 1 } else { count.saturating_sub(1) };
        counts.push((at, count));
    }
    counts
}

/// Writes what the colours mean.
pub(crate) fn legend(keys: &[Key]) -> String {
    let keys = keys.iter();
    keys.map(|(class, words)| format!("<span><i class=\"{class}\"></i>{words}</span> ")).collect()
}

fn place(axis: &Axis, at: Duration) -> f64 {
    LEFT + axis.place(at.as_secs_f64()) * (WIDTH - LEFT - RIGHT)
}

fn scale(text: &mut String, axis: &Axis, height: f64) {
    let base = height - BOTTOM + 4.0;
    for (value, label) in axis.ticks() {
        let x = LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT);
        let _ = writeln!(
            text,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{base:.1}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            base + 14.0
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        base + 30.0,
        axis.label
    );
}

impl Row {
    fn draw(&self, text: &mut String, axis: &Axis, y: f64, most: usize, end: Duration) {
        let _ = writeln!(
            text,
            "<text class=\"ink\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            y + 16.0,
            escape(&self.name)
        );
        for span in self.spans.iter().take(EACH_MAX) {
            let left = place(axis, span.from);
            let width = (place(axis, span.until) - left).max(1.0);
            let _ = writeln!(
                text,
                "<rect class=\"span {}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
                 height=\"{BAR}\"><title>{}: {}, {} to {}</title></rect>",
                span.class,
                y + 3.0,
                escape(&self.name),
                escape(&span.title),
                seconds(span.from),
                seconds(span.until)
            );
        }
        self.draw_counts(text, axis, y, most, end);
        self.draw_marks(text, axis, y);
    }

    /// Draws how many there were, as a line within the bar.
    fn draw_counts(&self, text: &mut String, axis: &Axis, y: f64, most: usize, end: Duration) {
        let height =
            |count: usize| y + 3.0 + (BAR - 2.0) * (1.0 - count as f64 / most as f64) + 1.0;
        // Of what happens at one place only the end can be seen.
        let mut points: Vec<(f64, f64)> = Vec::new();
        for &(at, count) in &self.counts {
            let next = (place(axis, at).round(), height(count));
            if points.last().is_some_and(|last| last.0.total_cmp(&next.0).is_eq()) {
                points.pop();
            }
            if points.len() < EACH_MAX {
                points.push(next);
            }
        }
        let Some(&last) = points.last() else { return };
        points.push((place(axis, end), last.1));
        let corners = points.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
        let path: Vec<String> = corners.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(text, "<polyline class=\"line ink\" points=\"{}\"/>", path.join(" "));
    }

    /// Draws what happened; what happened at one time is one mark.
    fn draw_marks(&self, text: &mut String, axis: &Axis, y: f64) {
        let mut marks: BTreeMap<Duration, Vec<&Mark>> = BTreeMap::new();
        for mark in &self.marks {
            marks.entry(mark.at).or_default().push(mark);
        }
        for (at, marks) in marks.into_iter().take(EACH_MAX) {
            let mut titles: Vec<String> =
                marks.iter().take(NAMED_MAX).map(|mark| escape(&mark.title)).collect();
            if marks.len() > NAMED_MAX {
                titles.push(format!("and {} more", marks.len() - NAMED_MAX));
            }
            let _ = writeln!(
                text,
                "<circle class=\"mark {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"><title>{} at {}: {}\
                 </title></circle>",
                marks[0].class,
                place(axis, at),
                y + 12.0,
                escape(&self.name),
                seconds(at),
                titles.join("; ")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::markup;
    use crate::report::page::Page;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn draw(rows: Vec<Row>) -> String {
        let legend = vec![("running", "runs")];
        let end = at(60_000);
        let note = String::new();
        let timeline =
            Timeline { title: "Nodes", note, legend, end, rows, failed: Some(at(59_000)) };
        let mut page = Page::new("a timeline");
        page.picture(&timeline.figure());
        let page = page.finish();
        markup::check(&page);
        page
    }

    #[test]
    fn a_row_has_its_spans_and_its_marks() {
        let span =
            Span { from: at(0), until: at(30_000), class: "running", title: "runs".to_owned() };
        let mark = |title: &str| Mark { at: at(30_000), class: "bad", title: title.to_owned() };
        let row = Row {
            name: "n<0>".to_owned(),
            spans: vec![span],
            counts: vec![(at(1000), 1), (at(2000), 3)],
            marks: (0..8).map(|n| mark(&format!("fault {n}"))).collect(),
        };
        let page = draw(vec![row]);
        assert!(page.contains("n&lt;0&gt;: runs, 0.000 s to 30.000 s"), "{page}");
        assert!(
            page.contains("at 30.000 s: fault 0; fault 1; fault 2; fault 3; fault 4; fault 5; ")
        );
        assert!(page.contains("and 2 more"));
        assert!(page.contains("failed at 59.000 s"));
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_drawn() {
        let many = 10 * EACH_MAX as u64;
        let row = |_| Row {
            name: "n".to_owned(),
            spans: (0..many)
                .map(|n| Span {
                    from: at(n),
                    until: at(n + 1),
                    class: "running",
                    title: String::new(),
                })
                .collect(),
            counts: (0..many).map(|n| (at(n * 12), 1)).collect(),
            marks: (0..many)
                .map(|n| Mark { at: at(n * 12), class: "bad", title: String::new() })
                .collect(),
        };
        let page = draw((0..2 * ROWS_MAX).map(row).collect());
        assert_eq!(page.matches("<rect").count(), ROWS_MAX * EACH_MAX);
        assert_eq!(page.matches("<circle").count(), ROWS_MAX * EACH_MAX);
        assert_eq!(page.matches("<polyline").count(), ROWS_MAX);
    }
}
