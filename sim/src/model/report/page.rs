//! The page.

use super::pictures::pictures;
use crate::model::experiment::{Run, Sample, Scenario, Verdict};
use crate::report::page::{Column, Page, Table};
use crate::report::text::number;

/// Returns one HTML page about what came out of a scenario.
pub fn page(scenario: &Scenario, runs: &[Run], verdicts: &[Verdict], command: &str) -> String {
    let mut page = Page::new(&scenario.title);
    page.paragraph("", &scenario.shows);
    page.command(command);
    if !verdicts.is_empty() {
        page.section("Limits");
        page.table(&limits(verdicts));
    }
    page.section("Pictures");
    page.charts(pictures(scenario, runs));
    page.section("Figures");
    page.tables(figures(runs).into_iter().chain(kinds(runs)));
    page.section("Worlds");
    page.table(&worlds(runs));
    page.finish()
}

fn limits(verdicts: &[Verdict]) -> Table {
    let mut table = Table::new(&[
        (Column::Text, "step and figure"),
        (Column::Number, "nodes"),
        (Column::Number, "limit"),
        (Column::Number, "worst"),
        (Column::Number, ""),
    ]);
    for verdict in verdicts {
        let expect = &verdict.expect;
        let limit = match (expect.min, expect.max) {
            (Some(min), _) => format!("≥ {min}"),
            (None, Some(max)) => format!("≤ {max}"),
            (None, None) => String::new(),
        };
        let (mark, word) = if verdict.holds { ("good", "holds") } else { ("bad", "fails") };
        let figure = format!("{}: {}", expect.of, words(&expect.figure));
        let worst = verdict.value.map_or_else(|| "–".to_owned(), number);
        table.marked(mark, &[&figure, &verdict.nodes, &limit, &worst, &word]);
    }
    table
}

/// The figures, a table for each step and size.
fn figures(runs: &[Run]) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut last = String::new();
    for Sample { part, figure, nodes, value } in Sample::gather(runs) {
        let head = format!("{part}, n = {nodes}");
        if head != last {
            tables.push(Table::new(&[
                (Column::Text, &head),
                (Column::Number, "mean"),
                (Column::Number, "least"),
                (Column::Number, "most"),
            ]));
            last = head;
        }
        let [mean, min, max] = [value.mean, value.min, value.max].map(number);
        if let Some(table) = tables.last_mut() {
            table.row(&[&words(figure), &mean, &min, &max]);
        }
    }
    tables
}

/// What each kind of frame costs, in the first world of each size.
fn kinds(runs: &[Run]) -> Option<Table> {
    let mut table = Table::new(&[
        (Column::Text, "bytes sent per node and second"),
        (Column::Number, "nodes"),
        (Column::Number, "step"),
        (Column::Number, "bytes/s"),
    ]);
    let (mut sizes, mut is_empty) = (Vec::new(), true);
    for run in runs {
        if sizes.contains(&run.nodes) {
            continue;
        }
        sizes.push(run.nodes);
        for part in &run.parts {
            for (kind, bytes) in part.kinds.iter().filter(|(_, bytes)| *bytes > 0.0) {
                table.row(&[kind, &run.nodes, &part.name, &number(*bytes)]);
                is_empty = false;
            }
        }
    }
    (!is_empty).then_some(table)
}

fn worlds(runs: &[Run]) -> Table {
    let mut table = Table::new(&[
        (Column::Number, "seed"),
        (Column::Number, "nodes"),
        (Column::Number, "events"),
        (Column::Number, "virtual s"),
        (Column::Number, "real s"),
        (Column::Code, "trace"),
    ]);
    for run in runs {
        let [played, took] = [run.virtual_time, run.real_time].map(|time| time.as_secs_f64());
        let trace = format!("{:016x}", run.trace);
        let events = run.tally.events;
        table.row(&[&run.seed, &run.nodes, &events, &number(played), &number(took), &trace]);
    }
    table
}

fn words(figure: &str) -> String {
    match figure.strip_suffix(".mean") {
        Some(figure) => format!("{} (mean)", words(figure)),
        None => figure.replace("_per_s", "/s").replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::experiment::{judge, run};
    use crate::report::markup;

    #[test]
    fn a_page_is_well_formed_and_has_its_limits() {
        let text = include_str!("../../../scenarios/all-at-once-100.toml");
        let scenario = Scenario::parse(text).expect("a scenario");
        let runs = [run(&scenario, 1, 20)];
        let page = page(&scenario, &runs, &judge(&scenario, &runs), "again <here>");
        markup::check(&page);
        for part in ["again &lt;here&gt;", ">burst: missed</td>", ">holds</td>", "<svg"] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }
}
