//! One direction between two hosts: where a datagram waits, is lost, doubled or overtaken.

use x0x_core::support::Rng;

use super::{DropReason, LinkProfile};
use crate::time::{Nanos, nanos};

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does not arrive.
    Dropped(DropReason),
    /// It arrives, perhaps twice.
    Arrives {
        /// When.
        at: Nanos,
        /// When its copy arrives, if it is doubled.
        copy_at: Option<Nanos>,
        /// Whether others may overtake it.
        overtaken: bool,
    },
}

/// The state of one direction between two hosts.
#[derive(Debug)]
pub(super) struct Link {
    /// What this link is like, if it is not like the others.
    pub(super) profile: Option<LinkProfile>,
    /// Whether nothing passes.
    pub(super) blocked: bool,
    /// The link's own dice: traffic elsewhere does not shift them.
    rng: Rng,
    /// When the last datagram that waits has been serialised.
    busy_until: Nanos,
    /// When the last datagram in order arrives.
    last_arrival: Nanos,
}

impl Link {
    pub(super) fn new(rng: Rng) -> Self {
        Self { profile: None, blocked: false, rng, busy_until: 0, last_arrival: 0 }
    }

    /// Decides the fate of a datagram of `size` bytes on a link that is like `profile`.
    pub(super) fn send(&mut self, now: Nanos, size: usize, profile: &LinkProfile) -> Fate {
        if size > profile.mtu {
            return Fate::Dropped(DropReason::TooLarge);
        }
        let Some(departure) = self.serialise(now, size as u64, profile) else {
            return Fate::Dropped(DropReason::QueueFull);
        };
        if profile.loss.happens(&mut self.rng) {
            return Fate::Dropped(DropReason::Lost);
        }
        let at = self.travel(departure, profile);
        let overtaken = profile.reorder.happens(&mut self.rng);
        let copied = profile.duplicate.happens(&mut self.rng);
        let at = if overtaken {
            at.saturating_add(nanos(profile.reorder_delay))
        } else {
            self.last_arrival = self.last_arrival.max(at);
            self.last_arrival
        };
        let copy_at = copied.then(|| self.travel(at - nanos(profile.latency).min(at), profile));
        Fate::Arrives { at, copy_at: copy_at.map(|copy| copy.max(at)), overtaken }
    }

    /// Puts the datagram behind those that wait. Returns when its last bit leaves, or nothing if
    /// the queue is full.
    fn serialise(&mut self, now: Nanos, size: u64, profile: &LinkProfile) -> Option<Nanos> {
        let Some(bandwidth) = profile.bandwidth else { return Some(now) };
        let waiting = bits_in(self.busy_until.saturating_sub(now), bandwidth) / 8;
        if waiting.saturating_add(size) > profile.queue_bytes_max {
            return None;
        }
        self.busy_until = self.busy_until.max(now).saturating_add(time_of(size * 8, bandwidth));
        Some(self.busy_until)
    }

    /// Returns when a datagram arrives that leaves now.
    fn travel(&mut self, departure: Nanos, profile: &LinkProfile) -> Nanos {
        let jitter = match nanos(profile.jitter) {
            0 => 0,
            jitter => self.rng.below(jitter.saturating_add(1)),
        };
        departure.saturating_add(nanos(profile.latency)).saturating_add(jitter)
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

fn bits_in(time: Nanos, bandwidth: u64) -> u64 {
    let bits = u128::from(time) * u128::from(bandwidth) / NANOS_PER_SECOND;
    u64::try_from(bits).unwrap_or(u64::MAX)
}

fn time_of(bits: u64, bandwidth: u64) -> Nanos {
    let time = u128::from(bits) * NANOS_PER_SECOND / u128::from(bandwidth.max(1));
    Nanos::try_from(time).unwrap_or(Nanos::MAX)
}
