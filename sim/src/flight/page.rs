//! A timeline as one page.

use x0x_core::node::recording::{Header, Tally};

use super::pictures::{charts, nodes, sequence};
use super::{Kind, Line, Peer, Timeline};
use crate::report::page::{Column, Page, Table};

/// How many lines the page shows; traffic and timeouts are not among them.
const LINES_MAX: usize = 2000;

/// How many peers have a row.
const PEERS_MAX: usize = 200;

/// Returns a page about what a recorded node did. `verdict` says whether the replay was the same.
pub fn page(header: &Header, timeline: &Timeline, tally: &Tally, verdict: &str) -> String {
    let (machine, agent) = (header.config.machine_key.id(), header.config.agent_key.id());
    let mut page = Page::new(&format!("Flight recording of {}", machine.short()));
    let is_same = verdict.starts_with("identical");
    page.paragraph(if is_same { "passed" } else { "failure" }, verdict);
    let (program, start) = (&header.program, header.unix_time.as_secs());
    let about = format!(
        "Machine {machine}, agent {agent}, recorded by {program}. Started at Unix time {start}."
    );
    page.paragraph("soft", &about);
    page.section("The node and its peers");
    page.picture(&nodes(timeline, tally.elapsed).figure());
    page.section("Messages");
    page.picture(&sequence(timeline).figure());
    page.section("Latency and traffic");
    page.charts(charts(timeline, tally.elapsed));
    page.section("Peers");
    page.table(&peers(timeline.peers.rows()));
    page.left_out(timeline.peers.rows().len(), PEERS_MAX, "peers");
    page.section("Kinds");
    page.table(&counts(&timeline.lines));
    let rare = || timeline.lines.iter().filter(|line| line.kind.is_rare());
    page.folded("Everything but datagrams and timeouts", |page| {
        page.paragraph("soft", "The command's --timeline prints these, too.");
        page.table(&lines(timeline, rare().take(LINES_MAX)));
        page.left_out(rare().count(), LINES_MAX, "lines");
    });
    page.finish()
}

fn peers(peers: &[Peer]) -> Table {
    let mut table = Table::new(&[
        (Column::Code, "peer"),
        (Column::Text, "first address"),
        (Column::Number, "links"),
        (Column::Number, "datagrams in"),
        (Column::Number, "bytes in"),
        (Column::Number, "datagrams out"),
        (Column::Number, "bytes out"),
    ]);
    for peer in peers.iter().take(PEERS_MAX) {
        let links = peer.links.len();
        let Peer { name, address, received, received_bytes, sent, sent_bytes, .. } = peer;
        table.row(&[name, address, &links, received, received_bytes, sent, sent_bytes]);
    }
    table
}

/// How often each kind of thing happened.
fn counts(lines: &[Line]) -> Table {
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
    let mut table =
        Table::new(&[(Column::Text, "kind"), (Column::Number, "lines"), (Column::Number, "bytes")]);
    for kind in KINDS {
        let of_kind = || lines.iter().filter(|line| line.kind == kind);
        let bytes: usize = of_kind().map(|line| line.size).sum();
        if of_kind().next().is_some() {
            table.row(&[&kind, &of_kind().count(), &bytes]);
        }
    }
    table
}

fn lines<'a>(timeline: &Timeline, lines: impl Iterator<Item = &'a Line>) -> Table {
    let mut table = Table::new(&[
        (Column::Number, "seconds"),
        (Column::Text, "kind"),
        (Column::Text, "peer"),
        (Column::Number, "bytes"),
        (Column::Text, "what"),
    ]);
    for Line { at, kind, peer, size, detail, .. } in lines {
        let at = format!("{:.6}", at.as_secs_f64());
        let peer = peer.map_or("", |peer| timeline.peers.name(peer));
        let size = if *size == 0 { String::new() } else { size.to_string() };
        table.row(&[&at, kind, &peer, &size, detail]);
    }
    table
}
