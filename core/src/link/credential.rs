//! The credential of this node: the binding of its agent to its machine.
//!
//! A binding is renewed after half of its validity, and when the wall clock was set to a time for
//! which it was not made. Its sequence is the time at which it was issued, in milliseconds since the
//! Unix epoch, and greater than all before. Peers refuse a binding older than the newest that they
//! know, so the sequence is stored as soon as a peer may have seen it, and a later run begins above
//! it even if the clock shows less.
//!
//! # Invariants
//!
//! - Of two bindings that a node issues, in one run or in two, the later one has the greater
//!   sequence.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frames::{self, Bindings, Control};
use super::{Context, LinkIdentity, Table, Timer};
use crate::identity::{AgentBinding, BINDING_VALIDITY, MachineId, Validity};
use crate::support::{Changes, Rng, Timers};
use crate::wire::{self, DecodeError, Versioned};

/// The credential of this node.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) identity: LinkIdentity,
    pub(super) binding: AgentBinding,
    /// When the binding was issued, since the Unix epoch.
    issued_at: Duration,
    sequence: u64,
    /// The highest sequence that is stored.
    stored_sequence: u64,
    /// A random number of this run of the node.
    pub(super) incarnation: u64,
    pub(super) timers: Timers<Timer>,
}

impl Credential {
    pub(super) fn new(
        identity: LinkIdentity,
        now: Instant,
        unix_time: Duration,
        rng: &mut Rng,
    ) -> Self {
        let sequence = millis(unix_time);
        let binding = issue(&identity, unix_time, sequence, rng);
        let mut timers = Timers::default();
        timers.set(Timer::Renew, now + BINDING_VALIDITY / 2);
        Self {
            identity,
            binding,
            issued_at: unix_time,
            sequence,
            stored_sequence: 0,
            incarnation: rng.next_u64(),
            timers,
        }
    }

    /// Returns the id of this machine.
    pub(super) fn machine(&self) -> MachineId {
        self.identity.machine_key.id()
    }

    /// Returns the bindings of the agents on this machine.
    pub(super) fn bindings(&self) -> Bindings {
        frames::bindings([self.binding.bytes().clone()])
    }

    /// Issues a newer binding. Returns the control frame that tells peers of it.
    pub(super) fn renew(&mut self, context: &mut Context<'_>) -> Bytes {
        self.issued_at = context.unix_time;
        self.sequence = millis(context.unix_time).max(self.sequence.saturating_add(1));
        self.binding = issue(&self.identity, context.unix_time, self.sequence, context.rng);
        self.timers.set(Timer::Renew, context.now + BINDING_VALIDITY / 2);
        wire::encode(&Control::Rebind(self.bindings()))
    }

    /// The wall clock was set, or the host slept. Renews the binding if it is not valid yet, or due
    /// for renewal.
    pub(super) fn handle_wall_time(&mut self, context: &mut Context<'_>) -> Option<Bytes> {
        let (from, until) = (self.issued_at, self.issued_at.saturating_add(BINDING_VALIDITY / 2));
        if (from..until).contains(&context.unix_time) {
            self.timers.set(Timer::Renew, context.now + (until - context.unix_time));
            return None;
        }
        Some(self.renew(context))
    }

    /// Takes the stored sequence back, and renews the binding if it is not above it.
    pub(super) fn restore(
        &mut self,
        context: &mut Context<'_>,
        record: &[u8],
    ) -> Result<Option<Bytes>, DecodeError> {
        let StoredSequence { sequence } = wire::decode(record)?;
        self.stored_sequence = sequence;
        if self.sequence > sequence {
            return Ok(None);
        }
        self.sequence = sequence;
        Ok(Some(self.renew(context)))
    }

    /// Stores the sequence, if it has grown. A peer may have seen it.
    pub(super) fn store(&mut self, context: &mut Context<'_>) {
        if self.sequence > self.stored_sequence {
            self.stored_sequence = self.sequence;
            let key = Bytes::copy_from_slice(&self.machine().0);
            let value = wire::encode(&StoredSequence { sequence: self.sequence });
            context.store(Changes::put(Table::Own, key, value));
        }
    }
}

/// The stored record: the sequence of the last binding.
#[derive(Debug, Serialize, Deserialize)]
struct StoredSequence {
    sequence: u64,
}

impl Versioned for StoredSequence {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 16;
}

/// Returns a time in milliseconds, which orders the bindings of one key.
pub(super) fn millis(unix_time: Duration) -> u64 {
    u64::try_from(unix_time.as_millis()).unwrap_or(u64::MAX)
}

/// Issues a binding of the agent to the machine.
pub(super) fn issue(
    identity: &LinkIdentity,
    unix_time: Duration,
    sequence: u64,
    rng: &mut Rng,
) -> AgentBinding {
    AgentBinding::issue(
        &identity.agent_key,
        identity.machine_key.id(),
        Validity::starting_at(unix_time),
        sequence,
        identity.certificate.clone(),
        &rng.bytes(),
    )
}
