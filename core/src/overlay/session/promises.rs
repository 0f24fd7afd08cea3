//! Whether a peer sends the items that it announces.
//!
//! Each announcement is a promise. The peer keeps it by sending the item, and breaks it if it was asked
//! for the item and sent something else. A peer that broke [`PROMISES_BROKEN_MAX`] promises, and more
//! than it kept, announces items that it does not have.

use std::time::Instant;

/// The most promises that a peer may break, unless it kept as many.
const PROMISES_BROKEN_MAX: u32 = 16;

/// The promises of one peer.
#[derive(Debug, Default)]
pub(in crate::overlay) struct Promises {
    kept: u32,
    broken: u32,
    /// When the peer last sent an item that was requested, or new and valid.
    served_at: Option<Instant>,
    /// When this node last found a promise broken.
    broken_at: Option<Instant>,
}

impl Promises {
    /// The peer sent an item that was requested, or new and valid.
    pub(in crate::overlay) fn note_served(&mut self, now: Instant) {
        self.served_at = Some(now);
    }

    /// The peer sent an item that it had announced.
    pub(in crate::overlay) fn note_kept(&mut self) {
        self.kept = self.kept.saturating_add(1);
    }

    /// The peer did not send an item that it was asked for at `asked_at`. Returns true if it broke
    /// enough promises for its session to end.
    ///
    /// A peer that sent other items since then is slow and broke nothing. Requests that are older than
    /// the last broken promise broke with it: a link that stalls for a moment is one fault, not a
    /// hundred.
    pub(in crate::overlay) fn note_unserved(&mut self, now: Instant, asked_at: Instant) -> bool {
        let is_before = |at: Option<Instant>| at.is_none_or(|at| at <= asked_at);
        if !is_before(self.served_at) || !is_before(self.broken_at) {
            return false;
        }
        self.broken_at = Some(now);
        self.broken = self.broken.saturating_add(1);
        self.broken >= PROMISES_BROKEN_MAX && self.broken > self.kept
    }
}
