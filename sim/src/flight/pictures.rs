//! The pictures of a recorded node: its links over time, what it said to whom, and its traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use x0x_core::node::CommandId;

use super::{Kind, Line, Peer, Timeline};
use crate::report::chart::{Chart, rates};
use crate::report::sequence::{self, Act, Arrow, Keep, Sequence};
use crate::report::timeline::{self, Mark, Row, Span};

/// How many peers have a lifeline, beside the node.
const LANES_MAX: usize = sequence::LANES_MAX - 1;

/// Draws when each peer had a link, and how many the node had.
pub(super) fn nodes(timeline: &Timeline, end: Duration) -> timeline::Timeline {
    let linked = timeline.peers.rows().iter().filter(|peer| !peer.links.is_empty());
    let rows = std::iter::once(this_node(timeline, end)).chain(linked.map(|peer| links(peer, end)));
    timeline::Timeline {
        title: "The node, and when each peer had a link",
        note: String::new(),
        legend: vec![
            ("running", "runs"),
            ("down", "is shut down or halted"),
            ("ink thin", "how many links it has"),
            ("link c2", "link"),
            ("c3 round", "the wall clock is set"),
            ("bad round", "a command is refused"),
        ],
        end,
        rows: rows.collect(),
        failed: None,
    }
}

fn this_node(timeline: &Timeline, end: Duration) -> Row {
    let is_end = |line: &&Line| {
        let is_reply = line.kind == Kind::Reply && line.detail.starts_with("ShutDown");
        is_reply || (line.kind == Kind::Event && line.detail.starts_with("Halted"))
    };
    let ended = timeline.lines.iter().find(is_end).map_or(end, |line| line.at);
    let mut spans = vec![span(Duration::ZERO, ended, "running", "runs")];
    if ended < end {
        spans.push(span(ended, end, "down", "is shut down or halted"));
    }
    let mark = |line: &Line| {
        let class = match line.kind {
            Kind::Refused => "bad",
            Kind::DatagramIn
            | Kind::DatagramOut
            | Kind::Timeout
            | Kind::Command
            | Kind::Reply
            | Kind::Event
            | Kind::Store
            | Kind::Stored => return None,
        };
        Some(Mark { at: line.at, class, title: format!("{}: {}", line.kind, line.detail) })
    };
    let links = timeline.peers.rows().iter().flat_map(|peer| &peer.links);
    let counts = timeline::counts(links.copied());
    let marks = timeline.lines.iter().filter_map(mark).collect();
    Row { name: "this node".to_owned(), spans, counts, marks }
}

fn links(peer: &Peer, end: Duration) -> Row {
    let spans = peer.links.iter();
    let spans = spans.map(|(from, until)| span(*from, until.unwrap_or(end), "link", "link"));
    Row { name: peer.name.clone(), spans: spans.collect(), ..Row::default() }
}

fn span(from: Duration, until: Duration, class: &'static str, title: &str) -> Span {
    Span { from, until, class, title: title.to_owned() }
}

/// Draws what the node and those with whom it talked most said to each other.
pub(super) fn sequence(timeline: &Timeline) -> Sequence {
    let lanes = lanes(timeline);
    let lane_of = |peer: usize| Some(lanes.iter().position(|&lane| lane == peer)? + 1);
    let mut acts = Vec::new();
    let mut sent = BTreeMap::new();
    for line in &timeline.lines {
        let lane = line.peer.and_then(lane_of);
        if let Some(command) = line.command.filter(|_| line.kind == Kind::Command)
            && line.detail.starts_with("SendDirect")
        {
            sent.insert(command, lane);
        }
        acts.extend(act(line, lane, &sent));
    }
    for act in &mut acts {
        // What does not arrive does not show where it should.
        if let Arrow::Lost(lane) = act.arrow {
            act.words += &format!(" ({})", timeline.peers.name(lanes[lane - 1]));
        }
    }
    let names = lanes.iter().map(|&peer| timeline.peers.name(peer).to_owned());
    Sequence {
        lanes: std::iter::once("this node".to_owned()).chain(names).collect(),
        legend: vec![
            ("c0", "direct message"),
            ("c3", "message of a topic"),
            ("c2", "link is up"),
            ("bad", "failed, lost or down"),
        ],
        acts,
        gone: Vec::new(),
        keep: Keep::First,
    }
}

/// Returns the peers that get a lifeline: those with most messages, and then with most datagrams.
fn lanes(timeline: &Timeline) -> Vec<usize> {
    let rows = timeline.peers.rows();
    let mut said = vec![0_usize; rows.len()];
    for line in &timeline.lines {
        let is_said = matches!(line.kind, Kind::Command | Kind::Event);
        if let Some(peer) = line.peer.filter(|_| is_said) {
            said[peer] += 1;
        }
    }
    let mut lanes: Vec<usize> = (0..rows.len()).collect();
    let weight = |&peer: &usize| (said[peer], rows[peer].sent + rows[peer].received);
    lanes.sort_by_key(|peer| std::cmp::Reverse(weight(peer)));
    lanes.truncate(LANES_MAX);
    lanes
}

/// Returns what a line is in the sequence chart. `sent` knows to whom each direct message went.
fn act(line: &Line, lane: Option<usize>, sent: &BTreeMap<CommandId, Option<usize>>) -> Option<Act> {
    let Line { at, kind, size, detail, .. } = line;
    let is = |word: &str| detail.starts_with(word);
    let (arrow, class) = match kind {
        Kind::Command if is("SendDirect") => (Arrow::To(lane?), "c0"),
        Kind::Command if is("Publish") => (Arrow::None, "c3"),
        Kind::Reply if is("SendDirect") => {
            let failed = detail.contains(": ");
            let lane = sent.get(&line.command?).copied().flatten()?;
            if failed { (Arrow::Lost(lane), "bad") } else { (Arrow::From(lane), "faint c0") }
        }
        Kind::Event if is("DirectReceived") => (Arrow::From(lane?), "c0"),
        Kind::Event if is("GossipReceived") => (lane.map_or(Arrow::None, Arrow::From), "c3"),
        Kind::Event if is("PeerUp") => (Arrow::From(lane?), "faint c2"),
        Kind::Event if is("PeerDown") => (Arrow::Lost(lane?), "bad"),
        Kind::Event if is("PathChanged") => (Arrow::To(lane?), "faint soft"),
        Kind::Event if is("Halted") => (Arrow::None, "bad"),
        Kind::Command
        | Kind::Reply
        | Kind::Event
        | Kind::DatagramIn
        | Kind::DatagramOut
        | Kind::Timeout
        | Kind::Refused
        | Kind::Store
        | Kind::Stored => return None,
    };
    let bytes = if *size == 0 { String::new() } else { format!(", {size} bytes") };
    let is_reply = *kind == Kind::Reply;
    let words = if is_reply { format!("answer to {detail}") } else { format!("{detail}{bytes}") };
    Some(Act { at: *at, lane: Some(0), arrow, class, words })
}

/// Draws how long direct messages took, and how much passed.
pub(super) fn charts(timeline: &Timeline, elapsed: Duration) -> Vec<Chart> {
    let lines = &timeline.lines;
    let bytes = |kind: Kind| {
        let of_kind = lines.iter().filter(move |line| line.kind == kind);
        rates(of_kind.map(|line| (line.at, line.size as f64)), elapsed)
    };
    let count = |kind: Kind, name: &'static str| {
        let is_it = move |line: &&Line| line.kind == kind && line.detail.starts_with(name);
        rates(lines.iter().filter(is_it).map(|line| (line.at, 1.0)), elapsed)
    };
    let traffic = vec![("in", bytes(Kind::DatagramIn)), ("out", bytes(Kind::DatagramOut))];
    let messages = vec![
        ("direct, received", count(Kind::Event, "DirectReceived")),
        ("direct, answered", count(Kind::Reply, "SendDirect")),
        ("topics, received", count(Kind::Event, "GossipReceived")),
    ];
    let latency = ("Direct messages", "from the command to its answer");
    let bytes = ("Traffic", "bytes of datagrams, as the node saw them", "bytes/s");
    let told = ("Messages", "direct messages and messages of topics", "messages/s");
    let charts = [
        Chart::latency(latency, elapsed, &latencies(lines)),
        Chart::over_time(bytes, elapsed, traffic),
        Chart::over_time(told, elapsed, messages),
    ];
    charts.into_iter().flatten().collect()
}

/// Returns when each direct message was sent, and how long its answer took.
fn latencies(lines: &[Line]) -> Vec<(Duration, Duration)> {
    let mut sent = BTreeMap::new();
    let mut latencies = Vec::new();
    for line in lines.iter().filter(|line| line.detail.starts_with("SendDirect")) {
        let Some(command) = line.command else { continue };
        if line.kind == Kind::Command {
            sent.insert(command, line.at);
        } else if line.kind == Kind::Reply
            && !line.detail.contains(": ")
            && let Some(at) = sent.remove(&command)
        {
            latencies.push((at, line.at.saturating_sub(at)));
        }
    }
    latencies
}
