//! Which neighbor makes room for another.
//!
//! The [`PROTECTED`] oldest neighbors never do: attackers with many identities cannot take over the
//! whole active view. Neighbors outside the tree go first.

use super::super::Peer;
use super::super::context::TopicContext;
use super::super::sampling::pick;
use super::super::topic::View;

/// The number of neighbors that no request can displace: the oldest.
pub const PROTECTED: usize = 4;

/// What a neighbor is chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The most distant one, by round trip.
    Distance,
    /// A random one.
    Random,
}

/// Returns the neighbor that makes room, if any may.
pub(super) fn choose<P: Peer>(
    cx: &mut TopicContext<'_, '_, P>,
    view: &View<'_, P>,
    choice: Choice,
) -> Option<P> {
    let spare = spare(view);
    let evicted = match choice {
        Choice::Distance => spare.iter().copied().max_by_key(|peer| cx.sessions.round_trip(peer)),
        Choice::Random => pick(cx.rng(), &spare),
    };
    evicted.or_else(|| pick(cx.rng(), &unprotected(view)))
}

/// Returns whether a peer is closer than the most distant neighbor that may go, by at least a fifth of
/// the round trip.
pub(super) fn is_closer<P: Peer>(
    cx: &TopicContext<'_, '_, P>,
    view: &View<'_, P>,
    peer: &P,
) -> bool {
    let round_trips = spare(view).into_iter().map(|peer| cx.sessions.round_trip(&peer));
    let worst = round_trips.max().unwrap_or_default();
    cx.sessions.round_trip(peer) < worst.saturating_sub(worst / 5)
}

/// Returns all neighbors but the protected ones, oldest first.
fn unprotected<P: Peer>(view: &View<'_, P>) -> Vec<P> {
    let mut by_age: Vec<(u64, P)> =
        view.roster.iter().map(|(&peer, neighbor)| (neighbor.standing.order, peer)).collect();
    by_age.sort_unstable();
    by_age.into_iter().skip(PROTECTED).map(|(_, peer)| peer).collect()
}

/// Returns those of them whose removal does not change the tree.
fn spare<P: Peer>(view: &View<'_, P>) -> Vec<P> {
    unprotected(view).into_iter().filter(|peer| !view.is_in_tree(peer)).collect()
}
