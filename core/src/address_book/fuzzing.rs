//! Doors for the fuzz targets: stored records.

use bytes::Bytes;

use super::AddressBook;
use crate::identity::{AgentId, MachineId};

/// What an address book knows after it took one stored record.
#[derive(Debug)]
pub struct RestoredRecord {
    /// The record that the book would store.
    pub record: Bytes,
    /// The number of addresses of the machine.
    pub addresses: usize,
    /// The machine of the given agent.
    pub machine: Option<MachineId>,
}

/// Restores a stored record, then reports that a dial to each of its addresses failed and worked.
///
/// # Panics
///
/// If the book knows more addresses after that than before.
pub fn record(record: &[u8], agent: &AgentId) -> Option<RestoredRecord> {
    let machine = MachineId([1; 32]);
    let mut book = AddressBook::new();
    book.restore(machine, record).ok()?;
    let candidates = book.candidates(&machine);
    let restored = RestoredRecord {
        record: book.record(&machine)?,
        addresses: candidates.len(),
        machine: book.machine_of(agent),
    };
    for candidate in candidates {
        book.dial_failed(machine, candidate.address);
        book.session_began(machine, candidate.address, u64::MAX, &[]);
    }
    let addresses = book.candidates(&machine).len();
    assert!(addresses <= restored.addresses, "no address comes from nowhere");
    Some(restored)
}
