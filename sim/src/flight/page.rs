//! A timeline as one page: HTML with SVG in it, without a script and without the network, in the
//! reader's choice of light or dark.

use std::fmt::Write as _;
use std::time::Duration;

use x0x_core::node::recording::{Header, Tally};

use super::{Kind, Line, Peer, Timeline};
use crate::model::report::axis::Axis;
use crate::model::report::chart::{Chart, Series, Shape, escape};
use crate::model::report::page::STYLE;
use crate::model::report::table::number;

/// Into how many parts the time of a picture is divided.
const PARTS: usize = 200;

/// How many lines the page shows; traffic and timeouts are not among them.
const LINES_MAX: usize = 2000;

/// How many peers have a row.
const PEERS_MAX: usize = 200;

/// How many links are drawn.
const LINKS_MAX: usize = 40;

/// Returns a page about what a recorded node did. `verdict` says whether the replay was the same.
pub fn page(header: &Header, timeline: &Timeline, tally: &Tally, verdict: &str) -> String {
    let machine = header.config.machine_key.id();
    let title = format!("Flight recording of {}", machine.short());
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}\n\
         td.text, th.text {{ text-align: left; }} .link {{ fill: var(--c2); }}</style></head><body>\n\
         <h1>{title}</h1>\n<p>{}</p>\n<p class=\"soft\">Machine <code>{machine}</code>, agent \
         <code>{}</code>, recorded by {}. Started at Unix time {}.</p>\n",
        escape(verdict),
        header.config.agent_key.id(),
        escape(&header.program),
        header.unix_time.as_secs(),
    );
    text.push_str("<h2>Pictures</h2>\n<div class=\"charts\">\n");
    for chart in charts(timeline, tally.elapsed) {
        text.push_str(&chart.figure());
    }
    text.push_str("</div>\n");
    links(&mut text, timeline.peers.rows(), tally.elapsed);
    peers(&mut text, timeline.peers.rows());
    counts(&mut text, &timeline.lines);
    lines(&mut text, timeline);
    text.push_str("</body></html>\n");
    text
}

/// Sums of lines for each part of the time.
struct Parts {
    width: f64,
    sums: Vec<f64>,
}

impl Parts {
    fn new(elapsed: Duration) -> Self {
        // The last part ends after the last line.
        let width = (elapsed.as_secs_f64() * 1.000_001).max(1e-3) / PARTS as f64;
        Self { width, sums: vec![0.0; PARTS] }
    }

    fn of(lines: &[Line], elapsed: Duration, value: impl Fn(&Line) -> f64) -> Vec<(f64, f64)> {
        let mut parts = Self::new(elapsed);
        for line in lines {
            let mut at = 0;
            while at + 1 < PARTS && parts.width * (at as f64 + 1.0) <= line.at.as_secs_f64() {
                at += 1;
            }
            parts.sums[at] += value(line);
        }
        let width = parts.width;
        let rate = |(at, sum): (usize, f64)| (at as f64 * width, sum / width);
        let end = (PARTS as f64 * width, 0.0);
        parts.sums.into_iter().enumerate().map(rate).chain([end]).collect()
    }
}

fn charts(timeline: &Timeline, elapsed: Duration) -> [Chart; 2] {
    let lines = &timeline.lines;
    let bytes = |kind| {
        let value = move |line: &Line| if line.kind == kind { line.size as f64 } else { 0.0 };
        Parts::of(lines, elapsed, value)
    };
    let told = |name: &'static str| {
        let is_it = move |line: &Line| line.kind == Kind::Event && line.detail.starts_with(name);
        Parts::of(lines, elapsed, move |line| f64::from(u8::from(is_it(line))))
    };
    let answered = Parts::of(lines, elapsed, |line| {
        let is_sent = line.kind == Kind::Reply && line.detail.starts_with("SendDirect");
        f64::from(u8::from(is_sent))
    });
    [
        chart(
            "Traffic",
            "bytes of datagrams, as the node saw them",
            "bytes/s",
            [("in", bytes(Kind::DatagramIn)), ("out", bytes(Kind::DatagramOut))],
        ),
        chart(
            "Messages",
            "direct messages and messages of topics",
            "messages/s",
            [
                ("direct, received", told("DirectReceived")),
                ("direct, answered", answered),
                ("topics, received", told("GossipReceived")),
            ],
        ),
    ]
}

fn chart<const N: usize>(
    title: &str,
    note: &str,
    unit: &str,
    lines: [(&str, Vec<(f64, f64)>); N],
) -> Chart {
    let series = lines.into_iter().enumerate().map(|(colour, (name, points))| Series {
        name: Some(name.to_owned()),
        colour,
        shape: Shape::Steps(points),
    });
    let mut series: Vec<Series> = series.collect();
    // Of what never happened there is nothing to see.
    series.retain(|series| series.shape.points().iter().any(|point| point.1 > 0.0));
    // One line has no legend.
    let only = if let [one] = &series[..] { one.name.as_deref() } else { None };
    let note = only.map_or_else(|| note.to_owned(), |only| format!("{note}: {only} only"));
    let points: Vec<(f64, f64)> = series.iter().flat_map(|series| series.shape.points()).collect();
    Chart {
        title: title.to_owned(),
        note,
        x: Axis::linear("seconds since the start", points.iter().map(|point| point.0), true),
        y: Axis::linear(unit, points.iter().map(|point| point.1), true),
        series,
        limit: None,
    }
}

/// Draws when each peer had a link.
fn links(text: &mut String, peers: &[Peer], elapsed: Duration) {
    const LEFT: f64 = 130.0;
    const WIDTH: f64 = 1100.0;
    const ROW: f64 = 22.0;
    let linked: Vec<&Peer> =
        peers.iter().filter(|peer| !peer.links.is_empty()).take(LINKS_MAX).collect();
    if linked.is_empty() {
        return;
    }
    let whole = elapsed.as_secs_f64().max(1e-3);
    let place = |at: f64| LEFT + (WIDTH - LEFT - 10.0) * (at / whole).min(1.0);
    let height = ROW * (linked.len() as f64 + 1.0);
    let _ = writeln!(
        text,
        "<h2>Links</h2>\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Links\">"
    );
    for (index, peer) in linked.iter().enumerate() {
        let y = ROW * index as f64;
        let _ = write!(
            text,
            "<text x=\"0\" y=\"{:.1}\">{}</text><line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" \
             y1=\"{:.1}\" y2=\"{:.1}\"/>",
            y + 15.0,
            escape(&peer.name),
            WIDTH - 10.0,
            y + ROW,
            y + ROW
        );
        for (from, until) in &peer.links {
            let (from, until) = (from.as_secs_f64(), until.unwrap_or(elapsed).as_secs_f64());
            let left = place(from);
            let _ = write!(
                text,
                "<rect class=\"link\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\">\
                 <title>{from:.3} s to {until:.3} s</title></rect>",
                y + 4.0,
                (place(until) - left).max(1.0)
            );
        }
        text.push('\n');
    }
    let base = height - 5.0;
    let _ = writeln!(
        text,
        "<text x=\"{LEFT}\" y=\"{base:.1}\">0 s</text><text x=\"{}\" y=\"{base:.1}\" \
         text-anchor=\"end\">{} s</text></svg>",
        WIDTH - 10.0,
        number(whole)
    );
}

fn peers(text: &mut String, peers: &[Peer]) {
    text.push_str(
        "<h2>Peers</h2>\n<div class=\"wide\"><table><tr><th>peer</th><th class=\"text\">first \
         address</th><th>links</th><th>datagrams in</th><th>bytes in</th><th>datagrams out</th>\
         <th>bytes out</th></tr>\n",
    );
    for peer in peers.iter().take(PEERS_MAX) {
        let _ = writeln!(
            text,
            "<tr><td><code>{}</code></td><td class=\"text\">{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&peer.name),
            escape(&peer.address),
            peer.links.len(),
            peer.received,
            peer.received_bytes,
            peer.sent,
            peer.sent_bytes
        );
    }
    text.push_str("</table></div>\n");
    left_out(text, peers.len(), PEERS_MAX, "peers");
}

/// How often each kind of thing happened.
fn counts(text: &mut String, lines: &[Line]) {
    const KINDS: [Kind; 9] = [
        Kind::DatagramIn,
        Kind::DatagramOut,
        Kind::Timeout,
        Kind::Command,
        Kind::Refused,
        Kind::Reply,
        Kind::Event,
        Kind::Store,
        Kind::Stored,
    ];
    text.push_str("<h2>Kinds</h2>\n<table><tr><th>kind</th><th>lines</th><th>bytes</th></tr>\n");
    for kind in KINDS {
        let of_kind = || lines.iter().filter(|line| line.kind == kind);
        if of_kind().next().is_none() {
            continue;
        }
        let bytes: usize = of_kind().map(|line| line.size).sum();
        let _ = writeln!(
            text,
            "<tr><td>{kind}</td><td>{}</td><td>{bytes}</td></tr>",
            of_kind().count()
        );
    }
    text.push_str("</table>\n");
}

fn lines(text: &mut String, timeline: &Timeline) {
    let rare = || timeline.lines.iter().filter(|line| line.kind.is_rare());
    text.push_str(
        "<h2>Timeline</h2>\n<p class=\"soft\">Without datagrams and timeouts; \
         <code>--timeline</code> prints these, too.</p>\n<div class=\"wide\"><table><tr>\
         <th>seconds</th><th class=\"text\">kind</th><th class=\"text\">peer</th><th>bytes</th>\
         <th class=\"text\">what</th></tr>\n",
    );
    for Line { at, kind, peer, size, detail } in rare().take(LINES_MAX) {
        let _ = writeln!(
            text,
            "<tr><td>{:.6}</td><td class=\"text\">{kind}</td><td class=\"text\">{}</td><td>{}</td>\
             <td class=\"text\">{}</td></tr>",
            at.as_secs_f64(),
            escape(peer.map_or("", |peer| timeline.peers.name(peer))),
            if *size == 0 { String::new() } else { size.to_string() },
            escape(detail)
        );
    }
    text.push_str("</table></div>\n");
    left_out(text, rare().count(), LINES_MAX, "lines");
}

fn left_out(text: &mut String, count: usize, most: usize, what: &str) {
    if count > most {
        let _ = writeln!(text, "<p class=\"soft\">The first {most} of {count} {what}.</p>");
    }
}
