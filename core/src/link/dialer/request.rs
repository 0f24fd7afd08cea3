//! A dial request: who waits for a session with one destination, and what was tried.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::RequestId;
use crate::address_book::Candidate;
use crate::identity::MachineId;
use crate::transport::ConnectionKey;

/// The most doublings of the pause between two dials.
const DOUBLINGS_MAX: u32 = 16;

/// What is dialled next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This address; with whether only the word of a peer stands for it.
    Dial(SocketAddr, bool),
    /// Nothing yet: everything that is left has to wait.
    Wait,
    /// Nothing: no address is known.
    Nothing,
}

/// A dial request.
#[derive(Debug, Default)]
pub(super) struct DialRequest {
    /// The machine of the destination, or the one that answered at its address.
    pub(super) machine: Option<MachineId>,
    /// Whether the application keeps the session up.
    pub(super) keep: bool,
    pub(super) wanted_until: Option<Instant>,
    /// Whether a protocol waits for it, and learns if it fails.
    pub(super) is_for_protocol: bool,
    pub(super) waiters: Vec<RequestId>,
    /// The connection that is being dialled.
    pub(super) attempt: Option<ConnectionKey>,
    pub(super) failures: u32,
    /// The addresses that were tried in this round.
    tried: Vec<SocketAddr>,
    /// The address that the application just named. It is dialled first.
    pub(super) named: Option<SocketAddr>,
}

impl DialRequest {
    /// Returns whether anybody still waits for the session.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        self.keep || !self.waiters.is_empty() || self.wanted_until.is_some_and(|until| until > now)
    }

    /// Returns the pause before the next dial, without jitter.
    pub(super) fn backoff(&self, min: Duration, max: Duration) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(DOUBLINGS_MAX);
        (min * (1 << doublings)).min(max)
    }

    /// Chooses the address that the application named, or else the most promising one that was not
    /// tried in this round. `may_dial` decides about addresses that only peers named.
    pub(super) fn next_address(
        &mut self,
        candidates: &[Candidate],
        mut may_dial: impl FnMut(SocketAddr) -> bool,
    ) -> Next {
        if let Some(address) = self.named.take() {
            self.tried.push(address);
            return Next::Dial(address, false);
        }
        let mut untried = |tried: &[SocketAddr]| {
            candidates.iter().find(|candidate| {
                !tried.contains(&candidate.address)
                    && (!candidate.is_hearsay || may_dial(candidate.address))
            })
        };
        let found = untried(&self.tried).or_else(|| {
            self.tried.clear();
            untried(&[])
        });
        match found {
            Some(candidate) => {
                self.tried.push(candidate.address);
                Next::Dial(candidate.address, candidate.is_hearsay)
            }
            None if candidates.is_empty() => Next::Nothing,
            None => Next::Wait,
        }
    }
}
