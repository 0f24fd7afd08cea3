//! What came out of a scenario: a table for a terminal, and one page with pictures.
//!
//! The page is one HTML file with SVG in it. It needs no script and no network, and it follows the
//! reader's choice of light or dark.

pub(crate) mod axis;
pub(crate) mod chart;
pub(crate) mod page;
mod pictures;
pub(crate) mod table;

pub use page::page;
pub use table::{rounds, table};
