//! What came out of a scenario: a table for a terminal, and one page with pictures.

mod page;
mod pictures;
mod table;

pub use page::page;
pub use table::{rounds, table};
