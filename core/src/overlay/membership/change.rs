//! What a decision of the membership changes in the active view. The topic applies it, because the tree
//! and the broadcast take part.

use super::super::Contact;

/// Changes that belong together, in the order in which they are applied.
#[must_use]
#[derive(Debug)]
pub(in crate::overlay) struct Change<P> {
    /// A neighbor to remove.
    pub(in crate::overlay) down: Option<Down<P>>,
    /// A peer to add. It may be a neighbor already.
    pub(in crate::overlay) up: Option<Up<P>>,
    /// A peer to reconcile the history with.
    pub(in crate::overlay) reconcile: Option<P>,
}

impl<P> Change<P> {
    /// Changes nothing.
    pub(super) const NONE: Self = Self { down: None, up: None, reconcile: None };

    /// Removes a neighbor.
    pub(super) fn down(down: Down<P>) -> Self {
        Self { down: Some(down), ..Self::NONE }
    }
}

/// A neighbor to remove.
#[derive(Debug)]
pub(in crate::overlay) struct Down<P> {
    pub(in crate::overlay) peer: P,
    pub(super) cause: Cause,
}

impl<P> Down<P> {
    /// Returns whether the session with the neighbor ended.
    pub(in crate::overlay) fn is_session_lost(&self) -> bool {
        matches!(self.cause, Cause::SessionLost(_))
    }
}

/// Why a neighbor is removed.
#[derive(Debug)]
pub(super) enum Cause {
    /// It left the topic.
    Left,
    /// One of the two ends disconnected. It stays in the passive view.
    Disconnected,
    /// The session ended. The peer stays in the passive view with this contact, and is asked again.
    SessionLost(Contact),
}

/// A peer to add.
#[derive(Debug)]
pub(in crate::overlay) struct Up<P> {
    pub(in crate::overlay) peer: P,
    pub(super) origin: Origin,
}

/// How a peer became a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It accepted a request of this node.
    Accepted,
    /// It made a request.
    Requested,
    /// It made a request of high priority: random walks look for more neighbors for it.
    Joining,
}
