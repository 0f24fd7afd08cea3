//! Answers as text for people: aligned, with short ids and relative times.

use serde_json::{Map, Value};

/// How many digits a short id has.
const SHORT_LEN: usize = 8;

/// How many digits an id has.
const ID_LEN: usize = 64;

/// Colours, if they are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.into() }
    }
}

/// Writes rows below headers, each column as wide as its widest cell.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let headers: Vec<String> = headers.iter().map(|&header| header.into()).collect();
    let rows: Vec<&[String]> =
        std::iter::once(headers.as_slice()).chain(rows.iter().map(Vec::as_slice)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let line = |row: &&[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Writes an object as `key: value` lines; nested ones are indented by two spaces.
pub(crate) fn fields(object: &Value) -> String {
    let empty = Map::new();
    let mut lines = Vec::new();
    add_fields(object.as_object().unwrap_or(&empty), 0, &mut lines);
    lines.join("\n")
}

fn add_fields(object: &Map<String, Value>, indent: usize, lines: &mut Vec<String>) {
    let is_shown = |key: &str| indent > 0 || key != "ok";
    let is_nested = |value: &Value| {
        value.as_object().is_some_and(|nested| !nested.is_empty()) || is_list(value)
    };
    let flat = object.iter().filter(|(key, value)| is_shown(key) && !is_nested(value));
    let width = flat.map(|(key, _)| key.chars().count() + 1).max().unwrap_or(0);
    for (key, value) in object.iter().filter(|(key, _)| is_shown(key)) {
        let margin = " ".repeat(indent);
        if let (true, Some(nested)) = (is_nested(value), value.as_object()) {
            lines.push(format!("{margin}{}:", name(key)));
            add_fields(nested, indent + 2, lines);
        } else if let (true, Some(items)) = (is_nested(value), value.as_array()) {
            lines.push(format!("{margin}{key}:"));
            let rows = objects(items);
            lines.extend(rows.lines().map(|line| format!("{margin}  {line}")));
        } else {
            lines.push(format!("{margin}{:<width$} {}", format!("{key}:"), scalar(key, value)));
        }
    }
}

/// Ids are keys, too.
fn name(key: &str) -> String {
    if is_id(key) { short(key) } else { safe(key) }
}

fn is_list(value: &Value) -> bool {
    value.as_array().and_then(|items| items.first()).is_some_and(Value::is_object)
}

/// Writes objects with the keys of the first as a table.
pub(crate) fn objects(items: &[Value]) -> String {
    let Some(first) = items.first().and_then(Value::as_object) else { return String::new() };
    let keys: Vec<&str> = first.keys().map(String::as_str).collect();
    let headers: Vec<String> = keys.iter().map(|key| header(key)).collect();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let cell = |item: &Value, key: &str| scalar(key, item.get(key).unwrap_or(&Value::Null));
    let rows = items.iter().map(|item| keys.iter().map(|key| cell(item, key)).collect());
    table(&headers, &rows.collect::<Vec<_>>())
}

fn header(key: &str) -> String {
    key.strip_suffix("_id").unwrap_or(key).replace('_', " ").to_uppercase()
}

fn scalar(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(number) => match number.as_u64() {
            Some(count) => quantity(key, count),
            None => number.to_string(),
        },
        Value::String(text) if is_id(text) => short(text),
        Value::String(text) => safe(text),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => {
            items.iter().map(|item| scalar(key, item)).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) if fields.is_empty() => "-".into(),
        Value::Object(_) => value.to_string(),
    }
}

fn quantity(key: &str, count: u64) -> String {
    if key.ends_with("_ms_ago") {
        ago(count)
    } else if key.ends_with("_secs") {
        duration(count)
    } else if key.ends_with("_ms") {
        format!("{count} ms")
    } else if key.ends_with("_us") {
        format!("{count} µs")
    } else {
        count.to_string()
    }
}

/// Tells whether this is an id in full.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The first digits of an id, which may be given where an id is asked for.
pub(crate) fn short(id: &str) -> String {
    if is_id(id) { id[..SHORT_LEN].into() } else { safe(id) }
}

/// A time in the past, in milliseconds.
pub(crate) fn ago(millis: u64) -> String {
    match millis {
        0..1000 => "just now".into(),
        _ => format!("{} ago", duration(millis / 1000)),
    }
}

/// A length of time, in its two greatest units.
pub(crate) fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, size) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0 s".into() } else { parts.join(" ") }
}

/// The time of day (UTC) of a time in milliseconds since the Unix epoch.
pub(crate) fn time_of_day(unix_millis: u64) -> String {
    let seconds = unix_millis / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Text of others, without what would steer a terminal.
pub(crate) fn safe(text: &str) -> String {
    // The order of letters can be turned round, too, which shows what is not there.
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if steers(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_become_aligned_lines() {
        let id = "ab".repeat(32);
        let object = json!({
            "ok": true,
            "status": "connected",
            "agent_id": id,
            "uptime_secs": 3700,
            "user_id": null,
            "addrs": ["a", "b"],
            "warnings": [],
            "snapshot": { "connected": true, "last_sent_ms_ago": 61_000 },
            "peers": [{ "agent_id": id, "rtt_ms": 3 }],
        });
        let text = fields(&object);
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "status:      connected",
            "agent_id:    abababab",
            "uptime_secs: 1 h 1 min",
            "user_id:     -",
            "addrs:       a, b",
            "warnings:    -",
            "snapshot:",
            "  connected:        yes",
            "  last_sent_ms_ago: 1 min 1 s ago",
            "peers:",
            "  AGENT     RTT MS",
            "  abababab  3 ms",
        ] {
            assert!(lines.contains(&line), "{line} is not in:\n{text}");
        }
        assert_eq!(lines.len(), 12, "{text}");
    }

    #[test]
    fn times_have_at_most_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3600, "1 h"),
            (3601, "1 h"),
            (90_061, "1 d 1 h"),
            (86_460, "1 d"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
        assert_eq!((ago(10), ago(2000)), ("just now".into(), "2 s ago".into()));
        assert_eq!(time_of_day(1_700_000_000_000), "22:13:20Z");
    }

    #[test]
    fn text_of_others_does_not_steer_the_terminal() {
        assert_eq!(safe("a\u{1b}[31m\nb\u{202e}c"), r"a\u{1b}[31m\nb\u{202e}c");
        assert_eq!(safe("Grüße 👋"), "Grüße 👋");
    }

    #[test]
    fn colour_is_only_there_if_wanted() {
        assert_eq!(Paint(false).red("x"), "x");
        assert_eq!(Paint(true).red("x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
