//! A report as rows, for people and for programs.

use std::fmt::{self, Write as _};
use std::time::Duration;

use x0x_sim::Report;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A count.
    Number(u64),
    /// A number with a unit; the unit is part of the name.
    Decimal(f64),
    /// Hex or another text that needs no escape.
    Text(String),
    /// There is none.
    Missing,
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Decimal(number) => write!(formatter, "{number:.3}"),
            Self::Text(text) => formatter.write_str(text),
            Self::Missing => formatter.write_str("-"),
        }
    }
}

/// The rows of a report, in the order in which they are shown.
pub(crate) fn rows(report: &Report, elapsed: Duration) -> Vec<(&'static str, Value)> {
    let Report { tally, network, .. } = report;
    let ms = |time: Option<Duration>| {
        time.map_or(Value::Missing, |time| Value::Decimal(time.as_secs_f64() * 1000.0))
    };
    let seconds = elapsed.as_secs_f64().max(1e-9);
    vec![
        ("seed", Value::Number(report.seed)),
        ("nodes", Value::Number(u64::from(report.nodes))),
        ("links_wanted", Value::Number(report.links as u64)),
        ("links_up_at_end", Value::Number(report.links_up as u64)),
        ("crashes", Value::Number(tally.crashes)),
        ("commands_refused", Value::Number(tally.refused)),
        ("connects_failed", Value::Number(tally.connects_failed)),
        ("messages_sent", Value::Number(tally.sends)),
        ("messages_delivered", Value::Number(tally.delivered)),
        ("messages_acknowledged", Value::Number(tally.sends_acknowledged)),
        ("messages_refused", Value::Number(tally.sends_refused)),
        ("messages_uncertain", Value::Number(tally.sends_uncertain)),
        ("messages_forgotten", Value::Number(tally.sends_forgotten)),
        ("delivered_ms_p50", ms(report.delivered_within(50))),
        ("delivered_ms_p99", ms(report.delivered_within(99))),
        ("acknowledged_ms_p50", ms(report.acknowledged_within(50))),
        ("acknowledged_ms_p99", ms(report.acknowledged_within(99))),
        ("datagrams_sent", Value::Number(network.sent)),
        ("datagram_bytes_sent", Value::Number(network.sent_bytes)),
        ("datagrams_delivered", Value::Number(network.delivered)),
        ("datagrams_lost", Value::Number(network.lost)),
        ("datagrams_queue_full", Value::Number(network.queue_full)),
        ("datagrams_too_large", Value::Number(network.too_large)),
        ("datagrams_partitioned", Value::Number(network.partitioned)),
        ("datagrams_unreachable", Value::Number(network.unreachable)),
        ("events", Value::Number(report.events)),
        ("virtual_s", Value::Decimal(report.virtual_time.as_secs_f64())),
        ("real_s", Value::Decimal(seconds)),
        ("times_real_time", Value::Decimal(report.virtual_time.as_secs_f64() / seconds)),
        ("trace_hash", Value::Text(report.trace_hex())),
    ]
}

/// Writes rows under each other, values aligned.
pub(crate) fn aligned(rows: &[(&str, Value)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|(name, value)| format!("{name:<width$}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes rows as one JSON object.
pub(crate) fn json(rows: &[(&str, Value)]) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in rows.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::Decimal(number) => format!("{number:.6}"),
            Value::Text(text) => format!("\"{text}\""),
            Value::Missing => "null".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}\"{name}\":{value}");
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_a_form_for_people_and_one_for_programs() {
        let rows = [
            ("a", Value::Number(7)),
            ("long", Value::Decimal(0.5)),
            ("b", Value::Text("ff".to_owned())),
            ("c", Value::Missing),
        ];
        assert_eq!(aligned(&rows), "a     7\nlong  0.500\nb     ff\nc     -");
        assert_eq!(json(&rows), r#"{"a":7,"long":0.500000,"b":"ff","c":null}"#);
    }
}
