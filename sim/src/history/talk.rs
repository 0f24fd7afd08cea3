//! What a few nodes said to each other, one thing after another.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{BETWEEN_MAX, Focus, History, Link, Message, Publication, State};
use crate::report::sequence::{Act, Arrow, Keep, Sequence};
use crate::{Failure, NodeId};

/// How many nodes are shown if none are chosen.
const USUAL: usize = 3;

/// Makes the chart of what those nodes said to each other.
struct Talk<'a> {
    history: &'a History,
    nodes: Vec<NodeId>,
    focus: &'a Focus,
    acts: Vec<Act>,
}

/// Draws it. What came last matters most in a world that failed.
pub(super) fn sequence(
    history: &History,
    focus: &Focus,
    failure: Option<&Failure>,
    end: Duration,
) -> Sequence {
    let chosen = focus.between.iter().copied().filter(|node| node.index() < history.lives.len());
    let mut nodes: Vec<NodeId> = chosen.take(BETWEEN_MAX).collect();
    if nodes.is_empty() {
        nodes = talkers(history, failure.and_then(|failure| failure.node));
    }
    let mut talk = Talk { history, nodes, focus, acts: Vec::new() };
    // What was done comes before what came of it at the same time.
    talk.changes();
    history.links.iter().for_each(|link| talk.link(link));
    history.messages.iter().zip(1..).for_each(|(message, number)| talk.message(message, number));
    let is_one =
        |a: &Publication, b: &Publication| (a.author, a.topic, a.at) == (b.author, b.topic, b.at);
    let mut number = 1;
    for burst in history.publications.chunk_by(is_one) {
        talk.burst(burst, number);
        number += burst.len();
    }
    if let Some(failure) = failure {
        let lane = failure.node.and_then(|node| talk.lane(node));
        talk.add(failure.at, lane, Arrow::None, "bad", format!("FAILED: {}", failure.what));
    }
    let gone = talk.gone(end);
    Sequence {
        lanes: talk.nodes.iter().map(NodeId::to_string).collect(),
        legend: vec![
            ("c0", "direct message"),
            ("c3", "message of a topic"),
            ("c2", "link is up"),
            ("c1", "fault or its end"),
            ("bad", "failed, lost or down"),
        ],
        acts: talk.acts,
        gone,
        keep: if failure.is_some() { Keep::Last } else { Keep::First },
    }
}

/// Returns those that talked most with each other, beginning with one of them if it is given.
fn talkers(history: &History, first: Option<NodeId>) -> Vec<NodeId> {
    let mut said: BTreeMap<(NodeId, NodeId), usize> = BTreeMap::new();
    for message in &history.messages {
        *said.entry((message.from, message.to)).or_default() += 1;
    }
    for publication in &history.publications {
        for node in publication.heard.keys() {
            *said.entry((publication.author, *node)).or_default() += 1;
        }
    }
    for link in &history.links {
        said.entry((link.node, link.peer)).or_default();
    }
    said.retain(|(a, b), _| a != b);
    let mut nodes: Vec<NodeId> = first.into_iter().collect();
    while nodes.len() < USUAL {
        let mut with: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (&(a, b), count) in &said {
            for (node, other) in [(a, b), (b, a)] {
                if !nodes.contains(&node) && (nodes.is_empty() || nodes.contains(&other)) {
                    *with.entry(node).or_default() += count + 1;
                }
            }
        }
        let next = with.iter().max_by_key(|(node, count)| (**count, std::cmp::Reverse(**node)));
        let Some((&next, _)) = next else { break };
        nodes.push(next);
    }
    nodes.sort_unstable();
    nodes
}

impl Talk<'_> {
    fn lane(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|&shown| shown == node)
    }

    /// Adds something, if it is in the time that is shown. Returns its place.
    fn add(
        &mut self,
        at: Duration,
        lane: Option<usize>,
        arrow: Arrow,
        class: &'static str,
        words: String,
    ) -> Option<usize> {
        let is_shown = at >= self.focus.from && self.focus.until.is_none_or(|until| at <= until);
        if !is_shown {
            return None;
        }
        self.acts.push(Act { at, lane, arrow, class, words });
        Some(self.acts.len() - 1)
    }

    fn link(&mut self, link: &Link) {
        let Link { node, peer, from, until } = link;
        let (Some(here), Some(there)) = (self.lane(*node), self.lane(*peer)) else { return };
        let words = format!("{node}: the link to {peer} is up");
        self.add(*from, Some(here), Arrow::From(there), "faint c2", words);
        if let Some((at, why)) = until {
            let words = format!("{node}: the link to {peer} is down, {why}");
            self.add(*at, Some(here), Arrow::Lost(there), "bad", words);
        }
    }

    fn message(&mut self, message: &Message, number: usize) {
        let Message { from, to, size, sent_at, delivered_at, ended } = message;
        let (Some(here), Some(there)) = (self.lane(*from), self.lane(*to)) else { return };
        let towards = if here == there { Arrow::None } else { Arrow::Lost(there) };
        let arrow = if delivered_at.is_some() { Arrow::None } else { towards };
        let words = format!("{from} sends message {number} to {to}, {size} bytes");
        let sent = self.add(*sent_at, Some(here), arrow, "c0", words);
        let straight = |lane| if here == there { Arrow::None } else { Arrow::From(lane) };
        let mut delivered = None;
        if let Some(at) = delivered_at {
            let arrow = sent.map_or_else(|| straight(here), Arrow::After);
            let words = format!("{to} gets message {number}");
            delivered = self.add(*at, Some(there), arrow, "c0", words);
        }
        match ended {
            None => {}
            Some((at, Ok(()))) => {
                let arrow = delivered.map_or_else(|| straight(there), Arrow::After);
                let words = format!("{from} knows that message {number} arrived");
                self.add(*at, Some(here), arrow, "faint c0", words);
            }
            Some((at, Err(why))) => {
                let words = format!("message {number} of {from} to {to} ends: {why}");
                self.add(*at, Some(here), Arrow::None, "bad", words);
            }
        }
    }

    /// Adds what one author published to one topic at one time.
    fn burst(&mut self, burst: &[Publication], number: usize) {
        let Some(Publication { author, topic, at, .. }) = burst.first() else { return };
        let Some(here) = self.lane(*author) else { return };
        let size: usize = burst.iter().map(|publication| publication.size).sum();
        let names = names(number, number + burst.len() - 1);
        let words = format!("{author} publishes {names} to topic {topic}, {size} bytes");
        let published = self.add(*at, Some(here), Arrow::None, "c3", words);
        let mut heard: BTreeMap<(Duration, NodeId), Vec<usize>> = BTreeMap::new();
        for (publication, number) in burst.iter().zip(number..) {
            for (node, at) in &publication.heard {
                heard.entry((*at, *node)).or_default().push(number);
            }
        }
        for ((at, node), numbers) in heard {
            let Some(there) = self.lane(node).filter(|&there| there != here) else { continue };
            let arrow = published.map_or(Arrow::From(here), Arrow::After);
            let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
            let names = if last - first + 1 == numbers.len() {
                self::names(first, last)
            } else {
                format!("{} of {}", numbers.len(), self::names(first, last))
            };
            self.add(at, Some(there), arrow, "c3", format!("{node} hears {names} of {author}"));
        }
    }

    fn changes(&mut self) {
        for change in &self.history.changes {
            let lane = change.node.map(|node| self.lane(node));
            if lane == Some(None) {
                continue;
            }
            let who = change.node.map_or_else(|| "network".to_owned(), |node| node.to_string());
            let words = format!("{who}: {}", change.what);
            self.add(change.at, lane.flatten(), Arrow::None, "c1", words);
        }
    }

    /// Returns when which lane does not run.
    fn gone(&self, end: Duration) -> Vec<(usize, Duration, Duration)> {
        let mut gone = Vec::new();
        for (lane, node) in self.nodes.iter().enumerate() {
            let states = &self.history.lives[node.index()].states;
            let ends = states.iter().skip(1).map(|(at, _)| *at).chain([end]);
            for (&(from, state), until) in states.iter().zip(ends) {
                if matches!(state, State::Down | State::Asleep) {
                    gone.push((lane, from, until));
                }
            }
        }
        gone
    }
}

/// Names messages of topics.
fn names(first: usize, last: usize) -> String {
    if first == last { format!("p{first}") } else { format!("p{first}…p{last}") }
}
