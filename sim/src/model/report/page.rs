//! The page.

use std::fmt::Write as _;

use super::chart::escape;
use super::pictures::pictures;
use super::table::number;
use crate::model::experiment::{Run, Sample, Scenario, Verdict};

pub(crate) const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2128; --soft: #5b6570; --grid: #e4e8ec;
  --c0: #2563c9; --c1: #c2570c; --c2: #15803d; --c3: #8b3fb5; --c4: #b4237a; --c5: #0e7490;
  --good: #15803d; --bad: #c81e1e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e3e7ec; --soft: #9aa5b1;
  --grid: #2b323a; --c0: #6aa5ff; --c1: #f59e52; --c2: #5cc98a; --c3: #c792f0; --c4: #f07fb8;
  --c5: #4cc3dd; --good: #5cc98a; --bad: #ff7b72; } }
body { margin: 0 auto; max-width: 1180px; padding: 24px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, 'DejaVu Sans', sans-serif; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 32px 0 8px; }
p { margin: 0 0 12px; max-width: 75ch; }
.soft { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr));
  gap: 20px; }
figure { margin: 0; display: flex; flex-direction: column; justify-content: space-between; border: 1px solid var(--grid); border-radius: 8px; padding: 12px 12px 4px; }
figcaption { font-size: 13px; color: var(--soft); min-height: 3em; }
figcaption b { color: var(--ink); font-size: 15px; display: block; }
figcaption span { margin-right: 14px; white-space: nowrap; }
figcaption i { display: inline-block; width: 10px; height: 10px; margin-right: 5px; }
i.c0 { background: var(--c0); } i.c1 { background: var(--c1); } i.c2 { background: var(--c2); }
i.c3 { background: var(--c3); } i.c4 { background: var(--c4); } i.c5 { background: var(--c5); }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11.5px system-ui, 'DejaVu Sans', sans-serif; fill: var(--soft); }
.grid { stroke: var(--grid); } .axis, .tick { stroke: var(--soft); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.band { stroke: none; opacity: 0.18; } .mark { stroke: var(--paper); stroke-width: 1.5; }
.limit { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 6 4; }
.line.c0 { stroke: var(--c0); } .line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); }
.line.c3 { stroke: var(--c3); } .line.c4 { stroke: var(--c4); } .line.c5 { stroke: var(--c5); }
.band.c0, .mark.c0, .bar.c0 { fill: var(--c0); } .band.c1, .mark.c1, .bar.c1 { fill: var(--c1); }
.band.c2, .mark.c2, .bar.c2 { fill: var(--c2); } .band.c3, .mark.c3, .bar.c3 { fill: var(--c3); }
.band.c4, .mark.c4, .bar.c4 { fill: var(--c4); } .band.c5, .mark.c5, .bar.c5 { fill: var(--c5); }
.wide { overflow-x: auto; }
.tables { display: flex; flex-wrap: wrap; gap: 8px 48px; }
table { border-collapse: collapse; font-size: 13.5px; margin-bottom: 16px; }
th, td { padding: 3px 14px 3px 0; text-align: right; border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 600; }
td { font-variant-numeric: tabular-nums; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
";

/// Returns one HTML page about what came out of a scenario.
pub fn page(scenario: &Scenario, runs: &[Run], verdicts: &[Verdict], command: &str) -> String {
    let title = escape(&scenario.title);
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n\
         <h1>{title}</h1>\n<p>{}</p>\n<p class=\"soft\"><code>{}</code></p>\n",
        escape(&scenario.shows),
        escape(command)
    );
    limits(&mut text, verdicts);
    text.push_str("<h2>Pictures</h2>\n<div class=\"charts\">\n");
    for chart in pictures(scenario, runs) {
        text.push_str(&chart.figure());
    }
    text.push_str("</div>\n<h2>Figures</h2>\n<div class=\"tables\">\n");
    figures(&mut text, runs);
    kinds(&mut text, runs);
    text.push_str("</div>\n");
    worlds(&mut text, runs);
    text.push_str("</body></html>\n");
    text
}

fn limits(text: &mut String, verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    text.push_str(
        "<h2>Limits</h2>\n<div class=\"wide\"><table><tr><th>step and figure</th><th>nodes</th>\
         <th>limit</th><th>worst</th><th></th></tr>\n",
    );
    for verdict in verdicts {
        let expect = &verdict.expect;
        let limit = match (expect.min, expect.max) {
            (Some(min), _) => format!("≥ {min}"),
            (None, Some(max)) => format!("≤ {max}"),
            (None, None) => String::new(),
        };
        let (class, word) = if verdict.holds { ("good", "holds") } else { ("bad", "fails") };
        let _ = writeln!(
            text,
            "<tr><td>{}: {}</td><td>{}</td><td>{limit}</td><td>{}</td>\
             <td class=\"{class}\">{word}</td></tr>",
            escape(&expect.of),
            escape(&words(&expect.figure)),
            verdict.nodes,
            verdict.value.map_or_else(|| "–".to_owned(), number)
        );
    }
    text.push_str("</table></div>\n");
}

fn figures(text: &mut String, runs: &[Run]) {
    let mut last = String::new();
    for Sample { part, figure, nodes, value } in Sample::gather(runs) {
        let head = format!("{part}, n = {nodes}");
        if head != last {
            let end = if last.is_empty() { "" } else { "</table></div>\n" };
            let _ = writeln!(
                text,
                "{end}<div class=\"wide\"><table><tr><th>{}</th><th>mean</th><th>least</th>\
                 <th>most</th></tr>",
                escape(&head)
            );
            last = head;
        }
        let [mean, min, max] = [value.mean, value.min, value.max].map(number);
        let name = words(figure);
        let _ =
            writeln!(text, "<tr><td>{name}</td><td>{mean}</td><td>{min}</td><td>{max}</td></tr>");
    }
    if !last.is_empty() {
        text.push_str("</table></div>\n");
    }
}

/// What each kind of frame costs, in the first world of each size.
fn kinds(text: &mut String, runs: &[Run]) {
    let mut parts = runs.iter().flat_map(|run| &run.parts);
    if !parts.any(|part| part.kinds.iter().any(|(_, bytes)| *bytes > 0.0)) {
        return;
    }
    text.push_str(
        "<div class=\"wide\"><table><tr><th>bytes sent per node and second</th><th>nodes</th>\
         <th>step</th><th>bytes/s</th></tr>\n",
    );
    let mut sizes = Vec::new();
    for run in runs {
        if sizes.contains(&run.nodes) {
            continue;
        }
        sizes.push(run.nodes);
        for part in &run.parts {
            for (kind, bytes) in part.kinds.iter().filter(|(_, bytes)| *bytes > 0.0) {
                let _ = writeln!(
                    text,
                    "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    escape(kind),
                    run.nodes,
                    escape(&part.name),
                    number(*bytes)
                );
            }
        }
    }
    text.push_str("</table></div>\n");
}

fn worlds(text: &mut String, runs: &[Run]) {
    text.push_str(
        "<h2>Worlds</h2>\n<div class=\"wide\"><table><tr><th>seed</th><th>nodes</th>\
         <th>events</th><th>virtual s</th><th>real s</th><th>trace</th></tr>\n",
    );
    for run in runs {
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td><code>{:016x}</code></td></tr>",
            run.seed,
            run.nodes,
            run.tally.events,
            number(run.virtual_time.as_secs_f64()),
            number(run.real_time.as_secs_f64()),
            run.trace
        );
    }
    text.push_str("</table></div>\n");
}

fn words(figure: &str) -> String {
    match figure.strip_suffix(".mean") {
        Some(figure) => format!("{} (mean)", words(figure)),
        None => figure.replace("_per_s", "/s").replace('_', " "),
    }
}
