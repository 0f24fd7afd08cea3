//! What the parts of a topic act on: the input's context, the sessions, and the topic's timers.

use std::time::{Duration, Instant};

use super::frames::Message;
use super::missing::MissingItems;
use super::sampling;
use super::sessions::Sessions;
use super::{Context, Counter, ItemId, Peer, TopicId};
use crate::support::{Rng, TimerName, Timers};

/// The context of one topic while it handles one input.
pub(super) struct TopicContext<'a, 'c, P> {
    pub(super) context: &'a mut Context<'c, P>,
    pub(super) sessions: &'a mut Sessions<P>,
    pub(super) missing: &'a mut MissingItems<P>,
    pub(super) timers: &'a mut Timers<Timer<P>>,
    /// The topic.
    pub(super) topic: TopicId,
    /// This node.
    pub(super) me: P,
}

impl<P: Peer> TopicContext<'_, '_, P> {
    pub(super) fn now(&self) -> Instant {
        self.context.now
    }

    /// Returns the wall time in milliseconds since the Unix epoch.
    pub(super) fn unix_millis(&self) -> u64 {
        u64::try_from(self.context.unix_time.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn rng(&mut self) -> &mut Rng {
        self.context.rng
    }

    /// Returns a random duration, see [`sampling::between`].
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        sampling::between(self.context.rng, least, most)
    }

    pub(super) fn count(&mut self, counter: Counter) {
        self.context.count(counter);
    }

    /// Sends a message about the topic.
    pub(super) fn send(&mut self, peer: P, message: Message<P>) {
        self.sessions.send_message(self.context, peer, self.topic, message);
    }

    /// See [`Sessions::penalize`].
    pub(super) fn penalize(&mut self, peer: P) {
        self.sessions.penalize(self.context, peer);
    }

    /// See [`Sessions::may_fetch`].
    pub(super) fn may_fetch(&mut self, peer: &P) -> bool {
        self.sessions.may_fetch(self.context, peer)
    }

    /// See [`MissingItems::take_request`].
    pub(super) fn take_request(&mut self, peer: &P) -> bool {
        self.missing.take_request(self.context.now, peer)
    }

    /// Notes that this node asks a peer for an item, and waits for the answer until some time.
    pub(super) fn note_requested(&mut self, id: ItemId, peer: P, until: Instant) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.note_requested(id);
        let (times, heard_at) = ((self.context.now, until), session.heard_at);
        self.missing.note_requested(times, &(self.topic, id), peer, heard_at);
    }

    /// Sets a timer that is not set yet.
    pub(super) fn set_if_unset(&mut self, timer: Timer<P>, at: Instant) {
        if !self.timers.contains(&timer) {
            self.timers.set(timer, at);
        }
    }
}

/// The timers of a topic. Of those that are due at the same time the first here fires first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer<P> {
    /// Membership: ask peers to be neighbors, because there are too few.
    Fill,
    /// Membership: start a shuffle.
    Shuffle,
    /// Membership: ask a lost neighbor again.
    Retry,
    /// Membership: look for a closer neighbor.
    Closer,
    /// Tree: send the next beacon of this root.
    Beacon,
    /// Tree: forward the beacon that the rate limit held back.
    Pass,
    /// Tree: the root sent no beacon for too long.
    Rootless,
    /// Tree: the beacons of one sequence have arrived, so choose the parent.
    Settle,
    /// Tree: all nodes have chosen their parents, so prune the other links.
    Prune,
    /// Broadcast: send the queued announcements.
    Announce,
    /// Broadcast: announce what neighbors should have announced and did not.
    Deferred,
    /// Broadcast: reconcile the history with that of a neighbor.
    Compare,
    /// Membership: a peer did not answer a neighbor request.
    NeighborRequest(P),
}

impl<P> TimerName for Timer<P> {
    fn name(&self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Shuffle => "shuffle",
            Self::Retry => "retry",
            Self::Closer => "closer",
            Self::Beacon => "beacon",
            Self::Pass => "pass",
            Self::Rootless => "rootless",
            Self::Settle => "settle",
            Self::Prune => "prune",
            Self::Announce => "announce",
            Self::Deferred => "deferred",
            Self::Compare => "compare",
            Self::NeighborRequest(_) => "neighbour request",
        }
    }
}
