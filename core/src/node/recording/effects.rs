//! What a node did, as a running hash.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serde::Serialize;

use super::{DIGEST_LEN, Digest};
use crate::crypto::hash::Blake3;
use crate::node::{Batch, CommandError, Event, Load, Output};
use crate::transport::Transmit;
use crate::wire::{self, Versioned};

/// The form of an effect that is hashed.
#[derive(Serialize)]
enum Effect<'a> {
    /// The datagrams follow.
    Transmit(&'a Transmit),
    Store(&'a Batch),
    Load(&'a Load),
    Event(&'a Event),
    /// The time of the deadline since the start, and its timer.
    Settled,
    Idle(Option<(Duration, &'a str)>),
    Refused(&'a CommandError),
}

impl Versioned for Effect<'_> {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = usize::MAX;
}

/// Hashes effects.
pub(super) struct Effects {
    started: Instant,
    hash: Blake3,
    record: BytesMut,
}

impl Effects {
    /// Begins with nothing, for a node that started at this time.
    pub(super) fn new(started: Instant) -> Self {
        Self { started, hash: Blake3::new(), record: BytesMut::new() }
    }

    /// Adds an output, and the datagrams in `buf` if it sends any.
    pub(super) fn output(&mut self, output: &Output, buf: &[u8]) {
        match output {
            Output::Transmit(transmit) => {
                self.add(&Effect::Transmit(transmit));
                self.hash.update(buf.get(..transmit.size).unwrap_or(buf));
            }
            Output::Store(batch) => self.add(&Effect::Store(batch)),
            Output::Load(load) => self.add(&Effect::Load(load)),
            Output::Event(event) => self.add(&Effect::Event(event)),
            Output::Settled => self.add(&Effect::Settled),
            Output::Idle { deadline } => {
                let after = |at: Instant| at.saturating_duration_since(self.started);
                let deadline = deadline.map(|deadline| (after(deadline.at), deadline.timer));
                self.add(&Effect::Idle(deadline));
            }
        }
    }

    /// Adds that a command was refused.
    pub(super) fn refused(&mut self, error: &CommandError) {
        self.add(&Effect::Refused(error));
    }

    /// Returns the hash so far.
    pub(super) fn digest(&self) -> Digest {
        let hash = self.hash.finish();
        std::array::from_fn::<u8, DIGEST_LEN, _>(|index| hash[index])
    }

    fn add(&mut self, effect: &Effect<'_>) {
        self.record.clear();
        wire::encode_into(effect, &mut self.record);
        self.hash.update(&self.record);
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Effects").finish_non_exhaustive()
    }
}
