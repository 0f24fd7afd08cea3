//! What is wrong with a script, and where.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

/// A part of a script that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The list in which it is, such as `step`; empty for the script itself.
    pub list: &'static str,
    /// Its place in the list, from zero.
    pub index: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.list.is_empty() {
            write!(formatter, "[[{}]] number {}: ", self.list, self.index + 1)?;
        }
        formatter.write_str(&self.what)
    }
}

impl std::error::Error for Mistake {}

/// Why a text is no script.
#[derive(Clone, Debug, PartialEq)]
pub enum ParseError {
    /// It has not the form of one; the error says where.
    Form(toml::de::Error),
    /// A part makes no sense.
    Meaning {
        /// The line where the part begins, from one.
        line: usize,
        /// What is wrong.
        mistake: Mistake,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(error) => error.fmt(formatter),
            Self::Meaning { line, mistake } => write!(formatter, "line {line}, {mistake}"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Where the entries of the lists are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entries {
    nat: Vec<Spanned<IgnoredAny>>,
    node: Vec<Spanned<IgnoredAny>>,
    link: Vec<Spanned<IgnoredAny>>,
    step: Vec<Spanned<IgnoredAny>>,
    expect: Vec<Spanned<IgnoredAny>>,
    limit: Vec<Spanned<IgnoredAny>>,
}

/// Finds the line of a mistake in the text of its script.
pub(super) fn line_of(mistake: &Mistake, text: &str) -> usize {
    let entries: Entries = toml::from_str(text).unwrap_or_default();
    let list = match mistake.list {
        "nat" => entries.nat,
        "node" => entries.node,
        "link" => entries.link,
        "step" => entries.step,
        "expect" => entries.expect,
        "limit" => entries.limit,
        _ => Vec::new(),
    };
    let start = list.get(mistake.index).map_or(0, |entry| entry.span().start);
    1 + text.bytes().take(start).filter(|&byte| byte == b'\n').count()
}
