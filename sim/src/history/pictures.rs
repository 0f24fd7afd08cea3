//! The pictures of a world: its nodes over time, their links, latency and traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use super::words::place;
use super::{Change, History, Life, Link, State};
use crate::report::chart::Chart;
use crate::report::timeline::{self, Mark, Row, Span, Timeline};
use crate::report::topology::{Chord, LINKS_MAX, Map, NODES_MAX, Spot};
use crate::{Machine, NodeId, World};

/// How often and how long two nodes had a link.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    times: usize,
    /// At how many ends it is up at the end.
    up: usize,
}

impl State {
    /// Returns how it is drawn.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Leaving => "leaving",
            Self::Down => "down",
            Self::Asleep => "asleep",
        }
    }

    /// Returns what it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Running => "runs",
            Self::Leaving => "says goodbye",
            Self::Down => "is down",
            Self::Asleep => "sleeps",
        }
    }
}

/// Draws who had a link with whom.
pub(super) fn map<M: Machine>(history: &History, world: &World<M>) -> Map {
    let mut pairs: BTreeMap<(NodeId, NodeId), Pair> = BTreeMap::new();
    for Link { node, peer, until, .. } in &history.links {
        let pair = pairs.entry((*node.min(peer), *node.max(peer))).or_default();
        pair.times += 1;
        pair.up += usize::from(until.is_none());
    }
    let mut note = format!("{} nodes, {} pairs that had a link", history.lives.len(), pairs.len());
    if history.lives.len() > NODES_MAX || pairs.len() > LINKS_MAX {
        note += &format!("; the first {NODES_MAX} nodes and {LINKS_MAX} pairs are drawn");
    }
    let chord = |(&(a, b), pair): (&(NodeId, NodeId), &Pair)| {
        let Pair { times, up } = pair;
        let state = if *up > 0 { "up at the end" } else { "not up at the end" };
        // Both ends tell of a link.
        let title = format!("{a} and {b}: {state}, times up: {}", times.div_ceil(2));
        Chord { ends: (a.index(), b.index()), is_up: *up > 0, title }
    };
    Map {
        note,
        legend: vec![
            ("c2 thin", "link that is up at the end"),
            ("soft thin", "link that was up before"),
            ("c3", "hosts behind the same NAT at the end"),
            ("rim round", "firewall"),
            ("running round", "runs"),
            ("down round", "is down"),
            ("asleep round", "sleeps"),
        ],
        spots: world.nodes().take(NODES_MAX).map(|node| spot(history, world, node)).collect(),
        chords: pairs.iter().map(chord).collect(),
    }
}

fn spot<M: Machine>(history: &History, world: &World<M>, node: NodeId) -> Spot {
    let state = history.lives[node.index()].state;
    let nat = world.network_of(node);
    let is_firewalled = is_firewalled(world, node);
    let firewall = if is_firewalled { ", behind a firewall" } else { "" };
    let links = history.links.iter().filter(|link| link.node == node && link.until.is_none());
    let title =
        format!("{} {}{firewall}, {} links at the end", state.name(), place(nat), links.count());
    Spot {
        name: node.to_string(),
        title,
        class: state.class(),
        place: nat.map(|nat| nat_name(world, nat.0 as usize)),
        is_firewalled,
    }
}

pub(super) fn is_firewalled<M: Machine>(world: &World<M>, node: NodeId) -> bool {
    let place = world.config().places.get(node.index());
    place.is_some_and(|place| place.firewall.is_some())
}

/// Names a NAT, with those that it is behind.
pub(super) fn nat_name<M: Machine>(world: &World<M>, nat: usize) -> String {
    let mut name = format!("NAT {nat}");
    let mut outer = world.config().nats.get(nat).and_then(|nat| nat.behind);
    while let Some(nat) = outer {
        name += &format!(" behind NAT {}", nat.0);
        outer = world.config().nats.get(nat.0 as usize).and_then(|nat| nat.behind);
    }
    name
}

/// Draws the states of all nodes over time.
pub(super) fn nodes(history: &History, end: Duration, failed: Option<Duration>) -> Timeline {
    let most = timeline::ROWS_MAX - 1;
    let count = history.lives.len();
    let shown =
        if count > most { format!("The first {most} of {count} nodes. ") } else { String::new() };
    let rows = history.lives.iter().zip(0..).take(most);
    let rows = rows.map(|(life, node)| node_row(history, life, NodeId(node), end));
    let failure = failed.map(|_| ("bad thin", "the world failed"));
    let mut legend = vec![
        ("running", "runs"),
        ("down", "is down"),
        ("asleep", "sleeps"),
        ("leaving", "says goodbye"),
        ("ink thin", "number of links"),
        ("c1", "partition"),
        ("bad round", "crash, start, goodbye, sleep"),
        ("c0 round", "place"),
        ("c1 round", "network"),
        ("c3 round", "disk"),
        ("c5 round", "clock"),
    ];
    legend.extend(failure);
    Timeline {
        title: "The nodes over time",
        note: format!("{shown}A mark says what happened when the pointer is over it."),
        legend,
        end,
        rows: std::iter::once(network_row(history, end)).chain(rows).collect(),
        failed,
    }
}

/// What concerns all nodes: partitions, and steps that are no node's.
fn network_row(history: &History, end: Duration) -> Row {
    let spans = history.splits.iter().map(|split| Span {
        from: split.from,
        until: split.until.unwrap_or(end),
        class: "split",
        title: format!("partition {}", split.name.0),
    });
    let marks = history.changes.iter().filter(|change| change.node.is_none());
    let marks = marks.map(Change::mark).collect();
    Row { name: "network".to_owned(), spans: spans.collect(), counts: Vec::new(), marks }
}

fn node_row(history: &History, life: &Life, node: NodeId, end: Duration) -> Row {
    let ends = life.states.iter().skip(1).map(|(at, _)| *at).chain([end]);
    let spans = life.states.iter().zip(ends).map(|(&(from, state), until)| Span {
        from,
        until,
        class: state.class(),
        title: state.name().to_owned(),
    });
    let links = history.links.iter().filter(|link| link.node == node);
    let links = links.map(|link| (link.from, link.until.as_ref().map(|(at, _)| *at)));
    let marks = history.changes.iter().filter(|change| change.node == Some(node));
    Row {
        name: node.to_string(),
        spans: spans.collect(),
        counts: timeline::counts(links),
        marks: marks.map(Change::mark).collect(),
    }
}

impl Change {
    fn mark(&self) -> Mark {
        Mark { at: self.at, class: self.sort.class(), title: self.what.clone() }
    }
}

/// Draws how long messages took, and how much passed.
pub(super) fn charts<M: Machine>(history: &History, world: &World<M>) -> Vec<Chart> {
    let acknowledged = history.messages.iter().filter_map(|message| match message.ended {
        Some((at, Ok(()))) => Some((message.sent_at, at.saturating_sub(message.sent_at))),
        Some((_, Err(_))) | None => None,
    });
    let heard = history.publications.iter().flat_map(|publication| {
        let others = publication.heard.iter().filter(|(node, _)| **node != publication.author);
        others.map(|(_, at)| (publication.at, at.saturating_sub(publication.at)))
    });
    let (acknowledged, heard): (Vec<_>, Vec<_>) = (acknowledged.collect(), heard.collect());
    let end = world.now();
    let direct =
        Chart::latency(("Direct messages", "from sent to acknowledged"), end, &acknowledged);
    let note = "from published to heard, by those who were away, too";
    let topics = Chart::latency(("Topics", note), end, &heard);
    let (width, parts) = history.meter.parts(&world.network().counters);
    let rate = |value: fn(&super::meter::Part) -> u64| {
        parts.iter().map(|(at, part)| (*at, value(part) as f64 / width)).collect::<Vec<_>>()
    };
    let bytes = vec![("bytes", rate(|part| part.bytes))];
    let datagrams = vec![
        ("sent", rate(|part| part.sent)),
        ("delivered", rate(|part| part.delivered)),
        ("lost or dropped", rate(|part| part.lost)),
    ];
    let traffic = Chart::over_time(("Traffic", "what all nodes sent", "bytes/s"), end, bytes);
    let datagrams = Chart::over_time(("Datagrams", "of all nodes", "datagrams/s"), end, datagrams);
    [direct, topics, traffic, datagrams].into_iter().flatten().collect()
}
