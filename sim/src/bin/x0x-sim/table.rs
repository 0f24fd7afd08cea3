//! A report as rows, for people and for programs.

use std::fmt::{self, Write as _};
use std::time::Duration;

use x0x_sim::Report;
use x0x_sim::scenario::Figure;

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
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let mut rows = vec![("seed", Value::Number(report.seed))];
    rows.extend(report.figures().into_iter().map(|(name, figure)| {
        let value = match figure {
            Figure::Count(count) => Value::Number(count),
            Figure::Decimal(number) => Value::Decimal(number),
            Figure::Missing => Value::Missing,
        };
        (name, value)
    }));
    rows.extend([
        ("real_s", Value::Decimal(seconds)),
        ("times_real_time", Value::Decimal(report.virtual_time.as_secs_f64() / seconds)),
        ("trace_hash", Value::Text(report.trace_hex())),
    ]);
    rows
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
