//! The messages of a measurement: 8 bytes that name it, 8 bytes of number, then zeros.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::CliError;
use crate::files::random;

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
        if let Some(sent) = usize::try_from(number).ok().and_then(|at| self.sent.get(at)) {
            sent.store(self.now(), Ordering::Relaxed);
        }
        BASE64.encode(bytes)
    }

    /// Reads the number of a message of this batch.
    pub(super) fn read(&self, payload: &str) -> Option<u64> {
        let bytes = BASE64.decode(payload).ok()?;
        let (name, rest) = bytes.split_first_chunk::<8>()?;
        let (number, _) = rest.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(*number);
        (*name == self.name && number < self.count()).then_some(number)
    }

    /// How long ago a message was sent, in microseconds.
    pub(super) fn age(&self, number: u64) -> u64 {
        let at = usize::try_from(number).ok().and_then(|at| self.sent.get(at));
        at.map_or(0, |sent| self.now().saturating_sub(sent.load(Ordering::Relaxed)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_batch_only() {
        let (one, other) = (Batch::new(3, 16).unwrap(), Batch::new(3, 256).unwrap());
        assert_eq!(one.read(&one.payload(2)), Some(2));
        assert_eq!(other.read(&other.payload(1)), Some(1));
        for foreign in [other.payload(1), one.payload(3), "AAAA".into(), "?".into()] {
            assert_eq!(one.read(&foreign), None, "{foreign}");
        }
    }
}
