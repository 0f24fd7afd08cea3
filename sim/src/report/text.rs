//! Numbers and words as they stand on a page.

use std::time::Duration;

/// Makes a text safe within markup.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Writes a number with as many digits as it deserves.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 && value.abs() < 1e9 => format!("{value:.0}"),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if (0.99..1.0).contains(&size) => format!("{value:.5}"),
        _ => format!("{value:.3}"),
    }
}

/// Writes a time in seconds.
pub(crate) fn seconds(at: Duration) -> String {
    format!("{:.3} s", at.as_secs_f64())
}
