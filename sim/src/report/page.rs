//! A page and its tables.

use std::fmt::{Display, Write as _};

use super::chart::Chart;
use super::text::escape;

const STYLE: &str = include_str!("page.css");

/// A page that is being written.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// Begins a page.
    pub(crate) fn new(title: &str) -> Self {
        let title = escape(title);
        let text = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
             <title>{title}</title><style>\n{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        );
        Self { text }
    }

    /// Adds a paragraph; the class says what it is.
    pub(crate) fn paragraph(&mut self, class: &str, text: &str) {
        let _ = writeln!(self.text, "<p class=\"{class}\">{}</p>", escape(text));
    }

    /// Adds a command that does it again.
    pub(crate) fn command(&mut self, command: &str) {
        let _ = writeln!(self.text, "<p class=\"soft\"><code>{}</code></p>", escape(command));
    }

    /// Begins a section.
    pub(crate) fn section(&mut self, title: &str) {
        let _ = writeln!(self.text, "<h2>{}</h2>", escape(title));
    }

    /// Says that there was more than is shown.
    pub(crate) fn left_out(&mut self, count: usize, most: usize, what: &str) {
        if count > most {
            self.paragraph("soft", &format!("The first {most} of {count} {what}."));
        }
    }

    /// Adds pictures beside each other.
    pub(crate) fn charts(&mut self, charts: impl IntoIterator<Item = Chart>) {
        self.text.push_str("<div class=\"charts\">\n");
        charts.into_iter().for_each(|chart| self.text.push_str(&chart.figure()));
        self.text.push_str("</div>\n");
    }

    /// Adds a picture as wide as the page.
    pub(crate) fn picture(&mut self, figure: &str) {
        let _ = writeln!(self.text, "<div class=\"wide\">{figure}</div>");
    }

    /// Adds tables beside each other, as far as there is room.
    pub(crate) fn tables(&mut self, tables: impl IntoIterator<Item = Table>) {
        self.text.push_str("<div class=\"tables\">\n");
        tables.into_iter().for_each(|table| self.table(&table));
        self.text.push_str("</div>\n");
    }

    /// Adds a table.
    pub(crate) fn table(&mut self, table: &Table) {
        let _ = writeln!(self.text, "<div class=\"wide\"><table>{}</table></div>", table.rows);
    }

    /// Adds something that the reader opens.
    pub(crate) fn folded(&mut self, title: &str, add: impl FnOnce(&mut Self)) {
        let _ = writeln!(self.text, "<details><summary>{}</summary>", escape(title));
        add(self);
        self.text.push_str("</details>\n");
    }

    /// Ends the page.
    pub(crate) fn finish(self) -> String {
        self.text + "</body></html>\n"
    }
}

/// What a column of a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Numbers; the first column is at the left all the same.
    Number,
    /// Words.
    Text,
    /// Names that a program made.
    Code,
}

/// A table that is being written.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: String,
}

impl Table {
    /// Begins a table with the names of its columns.
    pub(crate) fn new(columns: &[(Column, &str)]) -> Self {
        let mut rows = String::from("<tr>");
        for (column, name) in columns {
            let _ = write!(rows, "<th{}>{}</th>", class(*column), escape(name));
        }
        rows.push_str("</tr>");
        Self { columns: columns.iter().map(|(column, _)| *column).collect(), rows }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: &[&dyn Display]) {
        self.marked("", cells);
    }

    /// Adds a row whose last cell is marked, such as `good` or `bad`.
    pub(crate) fn marked(&mut self, mark: &str, cells: &[&dyn Display]) {
        let _ = write!(self.rows, "\n<tr class=\"{mark}\">");
        for (column, cell) in self.columns.iter().zip(cells) {
            let (class, cell) = (class(*column), escape(&cell.to_string()));
            let _ = match column {
                Column::Code => write!(self.rows, "<td{class}><code>{cell}</code></td>"),
                Column::Number | Column::Text => write!(self.rows, "<td{class}>{cell}</td>"),
            };
        }
        self.rows.push_str("</tr>");
    }
}

fn class(column: Column) -> &'static str {
    match column {
        Column::Number => "",
        Column::Text | Column::Code => " class=\"text\"",
    }
}
