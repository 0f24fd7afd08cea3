//! The page of a world.

use super::pictures::{charts, is_firewalled, map, nat_name, nodes};
use super::talk::sequence;
use super::{CHANGES_MAX, Focus, HEARD_MAX, History, LINKS_MAX, LeftOut, MESSAGES_MAX};
use crate::report::page::{Column, Page, Table};
use crate::{Machine, NodeId, World};

/// How many nodes have a row in the table.
const NODES_MAX: usize = 500;

/// How many changes have a row in the table.
const ROWS_MAX: usize = 500;

/// What a page says beside what the history knows.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What the world is.
    pub title: String,
    /// The command that runs it again.
    pub command: String,
    /// What was drawn for it.
    pub drawn: String,
    /// What went wrong; nothing if the world passed.
    pub failure: Option<String>,
    /// Names and values.
    pub numbers: Vec<(String, String)>,
}

/// Returns one HTML page about what happened in a world, if it keeps its history. The page has
/// nothing of the content of messages, no name of a topic and no key.
pub fn page<M: Machine>(world: &World<M>, about: &About, focus: &Focus) -> Option<String> {
    let history = world.history.as_deref()?;
    let mut page = Page::new(&about.title);
    page.command(&about.command);
    match &about.failure {
        Some(failure) => page.paragraph("failure", failure),
        None => page.paragraph("passed", "Every check passed."),
    }
    if !about.drawn.is_empty() {
        page.folded("What was drawn", |page| page.paragraph("soft", &about.drawn));
    }
    left_out(&mut page, history.left_out);
    let failure = world.failure();
    page.section("Topology");
    page.picture(&map(history, world).figure());
    page.section("Timeline");
    page.picture(&nodes(history, world.now(), failure.map(|failure| failure.at)).figure());
    page.folded("What happened, as a table", |page| {
        page.table(&changes(history));
        page.left_out(history.changes.len(), ROWS_MAX, "things that happened");
    });
    page.section("Messages");
    page.picture(&sequence(history, focus, failure, world.now()).figure());
    page.section("Latency and traffic");
    page.charts(charts(history, world));
    page.section("Numbers");
    page.table(&numbers(&about.numbers));
    page.section("Nodes");
    page.table(&lives(history, world));
    page.left_out(history.lives.len(), NODES_MAX, "nodes");
    Some(page.finish())
}

/// Says what there was no room for.
fn left_out(page: &mut Page, left_out: LeftOut) {
    let LeftOut { messages, publications, heard, links, changes } = left_out;
    let parts = [
        ("direct messages", messages, MESSAGES_MAX),
        ("messages of topics", publications, MESSAGES_MAX),
        ("times that one was heard", heard, HEARD_MAX),
        ("links", links, LINKS_MAX),
        ("changes", changes, CHANGES_MAX),
    ];
    for (what, count, most) in parts.into_iter().filter(|(_, count, _)| *count > 0) {
        let words = format!("The page knows the first {most} {what}; {count} more are left out.");
        page.paragraph("soft", &words);
    }
}

fn changes(history: &History) -> Table {
    let mut table =
        Table::new(&[(Column::Number, "seconds"), (Column::Text, "who"), (Column::Text, "what")]);
    for change in history.changes.iter().take(ROWS_MAX) {
        let at = format!("{:.3}", change.at.as_secs_f64());
        let who = change.node.map_or_else(|| "network".to_owned(), |node| node.to_string());
        table.row(&[&at, &who, &change.what]);
    }
    table
}

fn numbers(numbers: &[(String, String)]) -> Table {
    let mut table = Table::new(&[(Column::Text, "number"), (Column::Number, "value")]);
    for (name, value) in numbers {
        table.row(&[name, value]);
    }
    table
}

fn lives<M: Machine>(history: &History, world: &World<M>) -> Table {
    let mut table = Table::new(&[
        (Column::Text, "node"),
        (Column::Text, "network at the end"),
        (Column::Text, "at the end it"),
        (Column::Number, "starts"),
        (Column::Number, "links up"),
        (Column::Number, "links at the end"),
        (Column::Number, "sent"),
        (Column::Number, "acknowledged"),
        (Column::Number, "received"),
        (Column::Number, "published"),
        (Column::Number, "heard"),
        (Column::Number, "told as missed"),
        (Column::Number, "datagrams out"),
        (Column::Number, "bytes out"),
        (Column::Number, "datagrams in"),
    ]);
    for (life, node) in history.lives.iter().zip(0..).take(NODES_MAX) {
        let node = NodeId(node);
        let nat = world.network_of(node);
        let mut network =
            nat.map_or_else(|| "public".to_owned(), |nat| nat_name(world, nat.0 as usize));
        if is_firewalled(world, node) {
            network += ", firewall";
        }
        let all = (node, NodeId(0))..=(node, NodeId(u32::MAX));
        let links = history.links_up.range(all).count();
        let f = life.figures;
        table.row(&[
            &node,
            &network,
            &life.state.name(),
            &f.starts,
            &f.links_up,
            &links,
            &f.sent,
            &f.acknowledged,
            &f.delivered,
            &f.published,
            &f.heard,
            &f.missed,
            &f.datagrams_out,
            &f.bytes_out,
            &f.datagrams_in,
        ]);
    }
    table
}
