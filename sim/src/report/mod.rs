//! What the simulator's pages are made of.
//!
//! A page is one HTML file with SVG in it. It needs no script and no network, and it follows the
//! reader's choice of light or dark. Reports of scenarios ([`model::report`](crate::model::report)),
//! of worlds ([`history`](crate::history)) and of recorded nodes ([`flight`](crate::flight)) are put
//! together from the same pieces.

pub(crate) mod axis;
pub(crate) mod chart;
pub(crate) mod page;
pub(crate) mod sequence;
pub(crate) mod text;
pub(crate) mod timeline;
pub(crate) mod topology;

#[cfg(test)]
pub(crate) mod markup;
