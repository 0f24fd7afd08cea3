//! What came out of a scenario: a table for a terminal, and one page with pictures.
//!
//! The page is one HTML file with SVG in it. It needs no script and no network, and it follows the
//! reader's choice of light or dark.

mod axis;
mod chart;
mod page;
mod pictures;
mod table;

pub use page::page;
pub use table::{rounds, table};
