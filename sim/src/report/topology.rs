//! Who has a link with whom, as nodes on a circle.

use std::fmt::Write as _;

use super::text::escape;
use super::timeline::{Key, legend};

const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 620.0;
const RADIUS: f64 = 235.0;

/// How many nodes are drawn.
pub(crate) const NODES_MAX: usize = 200;

/// How many links are drawn.
pub(crate) const LINKS_MAX: usize = 2000;

/// From how many nodes on their names are left out.
const NAMES_MAX: usize = 80;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) class: &'static str,
    /// Where it is, if it is not in the open: those in the same place are beside each other.
    pub(crate) place: Option<String>,
    pub(crate) is_firewalled: bool,
}

/// A link between two nodes, by their places among the nodes.
#[derive(Clone, Debug)]
pub(crate) struct Chord {
    pub(crate) ends: (usize, usize),
    pub(crate) is_up: bool,
    pub(crate) title: String,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) note: String,
    pub(crate) legend: Vec<Key>,
    pub(crate) spots: Vec<Spot>,
    pub(crate) chords: Vec<Chord>,
}

impl Map {
    /// Draws it.
    pub(crate) fn figure(&self) -> String {
        let mut text = format!(
            "<figure><figcaption><b>Links</b>{}<div>{}</div></figcaption>\n<svg \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Links\">\n",
            escape(&self.note),
            legend(&self.legend)
        );
        let order = self.order();
        let mut seats = vec![None; self.spots.len()];
        for (seat, &spot) in order.iter().enumerate() {
            seats[spot] = Some(seat as f64);
        }
        let count = order.len() as f64;
        // Those that are up lie above the others.
        let mut chords: Vec<&Chord> = self.chords.iter().take(LINKS_MAX).collect();
        chords.sort_by_key(|chord| chord.is_up);
        for Chord { ends, is_up, title } in chords {
            let seat = |spot: usize| seats.get(spot).copied().flatten();
            let (Some(a), Some(b)) = (seat(ends.0), seat(ends.1)) else { continue };
            let ((x1, y1), (x2, y2)) = (at(a / count, RADIUS), at(b / count, RADIUS));
            // Drawn towards the middle, so that links along the circle are seen.
            let (x, y) = (f64::midpoint(x1, x2), f64::midpoint(y1, y2));
            let (x, y) = (x + (WIDTH / 2.0 - x) * 0.35, y + (HEIGHT / 2.0 - y) * 0.35);
            let class = if *is_up { "up" } else { "ended" };
            let _ = writeln!(
                text,
                "<path class=\"arrow {class}\" d=\"M{x1:.1} {y1:.1}Q{x:.1} {y:.1} {x2:.1} \
                 {y2:.1}\"><title>{}</title></path>",
                escape(title)
            );
        }
        self.places(&mut text, &order);
        for (seat, &spot) in order.iter().enumerate() {
            self.spots[spot].draw(&mut text, seat as f64 / count, order.len());
        }
        text.push_str("</svg></figure>\n");
        text
    }

    /// The nodes around the circle: those in the open first, then place by place.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.spots.len().min(NODES_MAX)).collect();
        order.sort_by_key(|&spot| &self.spots[spot].place);
        order
    }

    /// Draws an arc along those that are in one place.
    fn places(&self, text: &mut String, order: &[usize]) {
        let count = order.len() as f64;
        let mut seat = 0;
        for group in order.chunk_by(|&a, &b| self.spots[a].place == self.spots[b].place) {
            let (first, last) = (seat as f64 - 0.35, (seat + group.len()) as f64 - 0.65);
            seat += group.len();
            let Some(place) = &self.spots[group[0]].place else { continue };
            let points = (0..=24).map(|part| {
                let turn = first + (last - first) * f64::from(part) / 24.0;
                let (x, y) = at(turn / count, RADIUS + 44.0);
                format!("{x:.1},{y:.1}")
            });
            let points: Vec<String> = points.collect();
            let (middle, place) = (f64::midpoint(first, last) / count, escape(place));
            let (x, y) = at(middle, RADIUS + 56.0);
            let _ = writeln!(
                text,
                "<polyline class=\"place\" points=\"{}\"><title>{place}</title></polyline>\
                 <text class=\"ink\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{place}</text>",
                points.join(" "),
                y + 4.0,
                anchor(x)
            );
        }
    }
}

impl Spot {
    fn draw(&self, text: &mut String, turn: f64, count: usize) {
        let (x, y) = at(turn, RADIUS);
        let radius = if count <= NAMES_MAX { 9.0 } else { 4.0 };
        let firewalled = if self.is_firewalled { " firewalled" } else { "" };
        let _ = writeln!(
            text,
            "<circle class=\"node {}{firewalled}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\">\
             <title>{}: {}</title></circle>",
            self.class,
            escape(&self.name),
            escape(&self.title)
        );
        if count <= NAMES_MAX {
            let (x, y) = at(turn, RADIUS + 22.0);
            let _ = writeln!(
                text,
                "<text class=\"ink\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                y + 4.0,
                escape(&self.name)
            );
        }
    }
}

/// Where a part of a turn leads, from the top.
fn at(turn: f64, radius: f64) -> (f64, f64) {
    let angle = std::f64::consts::TAU * turn;
    (WIDTH / 2.0 + radius * angle.sin(), HEIGHT / 2.0 - radius * angle.cos())
}

fn anchor(x: f64) -> &'static str {
    match x - WIDTH / 2.0 {
        right if right > 20.0 => "start",
        left if left < -20.0 => "end",
        _ => "middle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::markup;
    use crate::report::page::Page;

    fn draw(count: usize, chords: Vec<Chord>) -> String {
        let spot = |node: usize| Spot {
            name: format!("n{node}"),
            title: "runs".to_owned(),
            class: "running",
            place: node.is_multiple_of(3).then(|| "NAT 0".to_owned()),
            is_firewalled: node == 1,
        };
        let spots = (0..count).map(spot).collect();
        let map = Map { note: String::new(), legend: Vec::new(), spots, chords };
        let mut page = Page::new("a map");
        page.picture(&map.figure());
        let page = page.finish();
        markup::check(&page);
        page
    }

    fn chord(ends: (usize, usize), is_up: bool) -> Chord {
        Chord { ends, is_up, title: format!("{} and {}", ends.0, ends.1) }
    }

    #[test]
    fn nodes_of_one_place_are_beside_each_other() {
        let page = draw(7, vec![chord((0, 1), true), chord((2, 5), false)]);
        assert_eq!(page.matches("<polyline class=\"place\"").count(), 1);
        assert_eq!(page.matches("firewalled\"").count(), 1);
        let (up, ended) = (page.find("arrow up").unwrap(), page.find("arrow ended").unwrap());
        assert!(ended < up, "what is up lies above");
    }

    #[test]
    fn a_large_map_has_a_limit() {
        let chords = (0..2 * LINKS_MAX).map(|n| chord((n % NODES_MAX, (n + 1) % NODES_MAX), true));
        let page = draw(2 * NODES_MAX, chords.collect());
        assert_eq!(page.matches("<circle").count(), NODES_MAX);
        assert_eq!(page.matches("<path").count(), LINKS_MAX);
    }
}
