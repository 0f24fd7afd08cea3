//! The messages of a measurement: 8 bytes that name it, 8 bytes of number, 8 bytes of time if there is
//! room, then zeros.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::CliError;
use crate::files::random;

/// The number of a payload that is none of the batch.
const PROBE: u64 = u64::MAX;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A message of the batch, as it was sent.
    Message(u64),
    /// Shows that messages arrive.
    Probe,
    /// It has the name of the batch and is not as it was sent.
    Damaged,
    /// It has nothing to do with the batch.
    Foreign,
}

/// Messages with numbers from 0 on, and when each was sent.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    name: [u8; 8],
    size: usize,
    started: Instant,
    /// Microseconds since the start.
    sent: Arc<[AtomicU64]>,
}

impl Batch {
    pub(super) fn new(count: u64, size: usize) -> Result<Self, CliError> {
        let name = random().map_err(|error| CliError::Failed(error.to_string()))?;
        let sent = (0..count).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { name, size, started: Instant::now(), sent })
    }

    pub(super) fn count(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Makes the payload of a message, which is sent next, in base64.
    pub(super) fn payload(&self, number: u64) -> String {
        let mut bytes = vec![0; self.size];
        bytes[..8].copy_from_slice(&self.name);
        bytes[8..16].copy_from_slice(&number.to_be_bytes());
        let now = self.now();
        if let Some(sent) = usize::try_from(number).ok().and_then(|at| self.sent.get(at)) {
            sent.store(now, Ordering::Relaxed);
        }
        if let Some(time) = bytes[16..].first_chunk_mut() {
            *time = now.to_be_bytes();
        }
        BASE64.encode(bytes)
    }

    /// Makes a payload that is none of the batch, in base64.
    pub(super) fn probe(&self) -> String {
        self.payload(PROBE)
    }

    /// Reads a payload.
    pub(super) fn read(&self, payload: &str) -> Read {
        let Ok(bytes) = BASE64.decode(payload) else { return Read::Foreign };
        let Some((name, rest)) = bytes.split_first_chunk::<8>() else { return Read::Foreign };
        let Some((number, rest)) = rest.split_first_chunk::<8>() else { return Read::Foreign };
        if *name != self.name {
            return Read::Foreign;
        }
        let number = u64::from_be_bytes(*number);
        if number == PROBE {
            return Read::Probe;
        }
        let sent = usize::try_from(number).ok().and_then(|at| self.sent.get(at));
        let (time, zeros) = rest
            .split_first_chunk::<8>()
            .map_or((None, rest), |(time, zeros)| (Some(u64::from_be_bytes(*time)), zeros));
        let sent = sent.map(|sent| sent.load(Ordering::Relaxed));
        let is_whole = bytes.len() == self.size
            && sent.is_some()
            && (time.is_none() || time == sent)
            && zeros.iter().all(|&byte| byte == 0);
        if is_whole { Read::Message(number) } else { Read::Damaged }
    }

    /// How long ago a message was sent, in microseconds.
    pub(super) fn age(&self, number: u64) -> u64 {
        let at = usize::try_from(number).ok().and_then(|at| self.sent.get(at));
        at.map_or(0, |sent| self.now().saturating_sub(sent.load(Ordering::Relaxed)))
    }

    /// Microseconds since the batch was made.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_batch_only() {
        let (one, other) = (Batch::new(3, 16).unwrap(), Batch::new(3, 256).unwrap());
        assert_eq!(one.read(&one.payload(2)), Read::Message(2));
        assert_eq!(other.read(&other.payload(1)), Read::Message(1));
        assert_eq!(other.read(&other.probe()), Read::Probe);
        for foreign in [other.payload(1), "AAAA".into(), "?".into()] {
            assert_eq!(one.read(&foreign), Read::Foreign, "{foreign}");
        }
    }

    #[test]
    fn a_message_that_was_changed_is_damaged() {
        let batch = Batch::new(3, 64).unwrap();
        let bytes = BASE64.decode(batch.payload(1)).unwrap();
        for at in 8..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x80;
            assert_eq!(batch.read(&BASE64.encode(changed)), Read::Damaged, "{at}");
        }
        assert_eq!(batch.read(&BASE64.encode(&bytes[..63])), Read::Damaged);
        assert_eq!(batch.read(&batch.payload(3)), Read::Damaged, "there is no such number");
    }
}
