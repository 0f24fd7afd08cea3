//! Neighbors whose session was lost.
//!
//! They are asked again for [`RETRY_TIME`], one at a time, and accept even if they have no room. That
//! merges the overlay of a topic after a partition of the network.
//!
//! # Limits
//!
//! At most [`LOST_MAX`] neighbors. The one that was lost first makes room.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::Peer;
use super::super::context::{Timer, TopicContext};

/// The pause between two attempts, and how long a neighbor is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(60);
const RETRY_TIME: Duration = Duration::from_secs(3600);

/// The most lost neighbors that are asked again.
const LOST_MAX: usize = 16;

/// The lost neighbors, in the order in which they are asked.
#[derive(Debug)]
pub(super) struct LostNeighbors<P> {
    peers: VecDeque<(P, Instant)>,
}

impl<P: Peer> LostNeighbors<P> {
    pub(super) fn new() -> Self {
        Self { peers: VecDeque::new() }
    }

    /// Adds a neighbor, and sets the timer if it is not set.
    pub(super) fn add(&mut self, cx: &mut TopicContext<'_, '_, P>, peer: P) {
        if self.peers.len() >= LOST_MAX {
            self.peers.pop_front();
        }
        self.peers.push_back((peer, cx.now() + RETRY_TIME));
        let pause = cx.between(RETRY_PAUSE / 2, RETRY_PAUSE);
        cx.set_if_unset(Timer::Retry, cx.now() + pause);
    }

    pub(super) fn remove(&mut self, peer: &P) {
        self.peers.retain(|(lost, _)| lost != peer);
    }

    /// Returns the neighbor to ask next, and moves it to the end. Removes those before it whose time is
    /// over, or that are obsolete.
    pub(super) fn next(&mut self, now: Instant, is_obsolete: impl Fn(&P) -> bool) -> Option<P> {
        while let Some((peer, until)) = self.peers.pop_front() {
            if until > now && !is_obsolete(&peer) {
                self.peers.push_back((peer, until));
                return Some(peer);
            }
        }
        None
    }

    /// Sets the timer for the next attempt, if there is one to make.
    pub(super) fn schedule(&self, cx: &mut TopicContext<'_, '_, P>) {
        if !self.peers.is_empty() {
            let pause = cx.between(RETRY_PAUSE / 2, RETRY_PAUSE);
            cx.timers.set(Timer::Retry, cx.now() + pause);
        }
    }
}
