//! A sequence chart: who did what, one thing after another, with arrows between those who talk.

use std::fmt::Write as _;
use std::time::Duration;

use super::text::escape;
use super::timeline::{Key, legend};

const WIDTH: f64 = 1100.0;
const FIRST: f64 = 130.0;
const LANES: f64 = 400.0;
const TEXT_GAP: f64 = 40.0;
const TOP: f64 = 34.0;
const ROW: f64 = 21.0;

/// How many rows are drawn.
pub(crate) const ROWS_MAX: usize = 150;

/// How many may be chosen to be shown.
pub(crate) const LANES_MAX: usize = 8;

/// How wide a letter is, at least for most of them.
const LETTER: f64 = 6.4;

/// Which arrow a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrow {
    /// None.
    None,
    /// From an earlier act to this one.
    After(usize),
    /// Straight to a lane.
    To(usize),
    /// Straight from a lane.
    From(usize),
    /// Towards a lane, where it does not arrive.
    Lost(usize),
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) at: Duration,
    /// Whose it is; everybody's if this is missing.
    pub(crate) lane: Option<usize>,
    pub(crate) arrow: Arrow,
    /// Its colour, and whether the arrow is only an answer.
    pub(crate) class: &'static str,
    pub(crate) words: String,
}

/// Which of the acts are shown if there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The first.
    First,
    /// The last.
    Last,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) lanes: Vec<String>,
    pub(crate) legend: Vec<Key>,
    pub(crate) acts: Vec<Act>,
    /// When a lane does not run.
    pub(crate) gone: Vec<(usize, Duration, Duration)>,
    pub(crate) keep: Keep,
}

/// The acts that are shown, in order.
struct Shown<'a> {
    acts: Vec<&'a Act>,
    /// The row of each act, by its place among all.
    rows: Vec<Option<usize>>,
}

impl Sequence {
    /// Draws it.
    pub(crate) fn figure(&self) -> String {
        let shown = self.shown();
        let height = TOP + ROW * (shown.acts.len() as f64 + 1.0);
        let mut text = format!(
            "<figure><figcaption><b>Who said what to whom</b>{}<div>{}</div></figcaption>\n<svg \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Sequence of messages\">\n",
            escape(&self.note(shown.acts.len())),
            legend(&self.legend)
        );
        for lane in 0..self.lanes.len() {
            self.draw_lane(&mut text, lane, &shown);
        }
        for (row, act) in shown.acts.iter().enumerate() {
            self.draw_act(&mut text, row, act, &shown);
        }
        text.push_str("</svg></figure>\n");
        text
    }

    fn note(&self, shown: usize) -> String {
        let all = self.acts.len();
        let which = match self.keep {
            Keep::First => "first",
            Keep::Last => "last",
        };
        let cut = if all > shown {
            format!("The {which} {shown} of {all} rows. ")
        } else {
            String::new()
        };
        format!("{cut}One row for each thing that happened, in order; the time is not to scale.")
    }

    fn shown(&self) -> Shown<'_> {
        let mut order: Vec<usize> = (0..self.acts.len()).collect();
        order.sort_by_key(|&act| self.acts[act].at);
        let more = order.len().saturating_sub(ROWS_MAX);
        let order = match self.keep {
            Keep::First => &order[..order.len() - more],
            Keep::Last => &order[more..],
        };
        let mut rows = vec![None; self.acts.len()];
        for (row, &act) in order.iter().enumerate() {
            rows[act] = Some(row);
        }
        Shown { acts: order.iter().map(|&act| &self.acts[act]).collect(), rows }
    }

    fn x(&self, lane: usize) -> f64 {
        FIRST + self.step() * lane as f64
    }

    fn step(&self) -> f64 {
        (LANES / self.lanes.len().saturating_sub(1).max(1) as f64).min(200.0)
    }

    fn last(&self) -> f64 {
        self.x(self.lanes.len().saturating_sub(1))
    }

    /// Draws a lifeline: dotted where it does not run.
    fn draw_lane(&self, text: &mut String, lane: usize, shown: &Shown<'_>) {
        let x = self.x(lane);
        let bottom = y(shown.acts.len());
        let before = |at: Duration| shown.acts.partition_point(|act| act.at < at);
        let _ = writeln!(
            text,
            "<text class=\"ink\" x=\"{x:.1}\" y=\"16\" text-anchor=\"middle\">{}</text>",
            escape(&self.lanes[lane])
        );
        let mut from = TOP - ROW / 2.0;
        let mut line = |class: &str, from: f64, until: f64| {
            let _ = writeln!(
                text,
                "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from:.1}\" \
                 y2=\"{until:.1}\"/>"
            );
        };
        for &(_, begin, end) in self.gone.iter().filter(|gone| gone.0 == lane) {
            let (begin, end) = (before(begin), before(end));
            if begin < end {
                line("lane", from, y(begin));
                line("lane gone", y(begin), y(end));
                from = y(end);
            }
        }
        line("lane", from, bottom);
    }

    fn draw_act(&self, text: &mut String, row: usize, act: &Act, shown: &Shown<'_>) {
        let y = y(row);
        let room = ((WIDTH - self.last() - TEXT_GAP) / LETTER).max(20.0);
        let mut words = act.words.clone();
        if words.chars().count() as f64 > room {
            let letters =
                words.chars().zip(0_u32..).take_while(|(_, n)| f64::from(*n) < room - 1.0);
            words = letters.map(|(letter, _)| letter).chain(['…']).collect();
        }
        let ink = if act.class == "bad" { "bad" } else { "ink" };
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.3} s</text>\
             <text class=\"{ink}\" x=\"{:.1}\" y=\"{:.1}\">{}{}</text>",
            FIRST - TEXT_GAP,
            y + 4.0,
            act.at.as_secs_f64(),
            self.last() + TEXT_GAP,
            y + 4.0,
            title(&act.words, &words),
            escape(&words)
        );
        let Some(lane) = act.lane else {
            let (left, right) = (FIRST - 20.0, self.last() + 20.0);
            let _ = writeln!(
                text,
                "<line class=\"arrow faint {}\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" \
                 y2=\"{y:.1}\"/>",
                act.class
            );
            return;
        };
        let here = (self.x(lane), y);
        match act.arrow {
            Arrow::None => {}
            Arrow::After(cause) => {
                let from = self.acts[cause].lane.unwrap_or(lane);
                // What began before the first row comes from the side.
                let begin = shown.rows[cause].map_or(y, self::y);
                arrow(text, act.class, (self.x(from), begin), here);
            }
            Arrow::To(other) => arrow(text, act.class, here, (self.x(other), y)),
            Arrow::From(other) => arrow(text, act.class, (self.x(other), y), here),
            Arrow::Lost(other) => {
                // Not on another lane.
                let step = self.step() * 0.45;
                lost(text, here, here.0 + if other > lane { step } else { -step });
            }
        }
        let _ = writeln!(
            text,
            "<circle class=\"head {}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3.2\"/>",
            colour(act.class),
            here.0
        );
    }
}

fn y(row: usize) -> f64 {
    TOP + ROW * (row as f64 + 0.5)
}

/// Returns what the pointer shows over words that were cut.
fn title(all: &str, shown: &str) -> String {
    if all == shown { String::new() } else { format!("<title>{}</title>", escape(all)) }
}

/// The colour of a class, without how its line is drawn.
fn colour(class: &str) -> &str {
    class.strip_prefix("faint ").unwrap_or(class)
}

fn arrow(text: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1e-6);
    let (ux, uy) = (dx / length, dy / length);
    // The head ends where the dot of the act begins.
    let tip = (to.0 - 3.0 * ux, to.1 - 3.0 * uy);
    let base = (tip.0 - 8.0 * ux, tip.1 - 8.0 * uy);
    let (left, right) =
        ((base.0 - 3.5 * uy, base.1 + 3.5 * ux), (base.0 + 3.5 * uy, base.1 - 3.5 * ux));
    let _ = writeln!(
        text,
        "<line class=\"arrow {class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>\
         <polygon class=\"head {}\" points=\"{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}\"/>",
        from.0,
        from.1,
        base.0,
        base.1,
        colour(class),
        tip.0,
        tip.1,
        left.0,
        left.1,
        right.0,
        right.1
    );
}

/// Draws a line that ends on the way.
fn lost(text: &mut String, from: (f64, f64), x: f64) {
    let (left, right, up, down) = (x - 4.0, x + 4.0, from.1 - 4.0, from.1 + 4.0);
    let _ = writeln!(
        text,
        "<line class=\"arrow faint bad\" x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{y:.1}\"/>\
         <path class=\"arrow bad\" d=\"M{left:.1} {up:.1}L{right:.1} {down:.1}M{left:.1} \
         {down:.1}L{right:.1} {up:.1}\"/>",
        from.0,
        y = from.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::markup;
    use crate::report::page::Page;

    fn act(at: u64, lane: usize, arrow: Arrow) -> Act {
        let at = Duration::from_millis(at);
        Act { at, lane: Some(lane), arrow, class: "c0", words: format!("act <{}>", at.as_millis()) }
    }

    fn draw(acts: Vec<Act>, keep: Keep) -> String {
        let lanes = vec!["n0".to_owned(), "n1".to_owned()];
        let gone = vec![(1, Duration::from_millis(2), Duration::from_millis(4))];
        let sequence = Sequence { lanes, legend: vec![("c0", "message")], acts, gone, keep };
        let mut page = Page::new("a sequence");
        page.picture(&sequence.figure());
        let page = page.finish();
        markup::check(&page);
        page
    }

    #[test]
    fn an_arrow_goes_from_what_was_sent_to_what_arrived() {
        let everybody = Act { lane: None, ..act(3, 0, Arrow::None) };
        let acts = vec![
            act(1, 0, Arrow::None),
            act(5, 1, Arrow::After(0)),
            act(2, 0, Arrow::Lost(1)),
            everybody,
            act(6, 0, Arrow::From(1)),
            act(7, 0, Arrow::To(1)),
        ];
        let page = draw(acts, Keep::First);
        // From the first row and lane towards the fourth row and the second lane.
        assert!(page.contains("x1=\"130.0\" y1=\"44.5\" x2=\"319.5\""), "{page}");
        assert!(page.contains("lane gone"));
        assert_eq!(page.matches("<polygon").count(), 3);
        assert_eq!(page.matches("<path").count(), 1);
        assert!(page.contains("act &lt;5&gt;"));
    }

    #[test]
    fn long_words_are_cut_and_shown_by_the_pointer() {
        let all = "a long word ".repeat(30);
        let page = draw(vec![Act { words: all.clone(), ..act(1, 0, Arrow::None) }], Keep::First);
        assert!(page.contains(&format!("<title>{all}</title>")), "{page}");
        assert_eq!(page.matches(&all).count(), 1);
        assert!(page.contains("…</text>"));
    }

    #[test]
    fn the_first_or_the_last_rows_are_kept() {
        let acts: Vec<Act> = (0..2 * ROWS_MAX as u64).map(|at| act(at, 0, Arrow::None)).collect();
        let (last, most) = (2 * ROWS_MAX - 1, ROWS_MAX);
        for (keep, which, there, away) in
            [(Keep::First, "first", 0, last), (Keep::Last, "last", last, 0)]
        {
            let page = draw(acts.clone(), keep);
            assert!(page.contains(&format!("The {which} {most} of {} rows.", 2 * most)), "{page}");
            assert!(page.contains(&format!("act &lt;{there}&gt;")));
            assert!(!page.contains(&format!("act &lt;{away}&gt;")));
            assert_eq!(page.matches("<circle").count(), most);
        }
    }
}
