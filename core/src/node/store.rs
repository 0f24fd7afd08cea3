//! What a node asks its store to keep.
//!
//! The core names records, the driver keeps them. A [`Batch`] is atomic, and batches are applied
//! in the order of their ids. What depends on a batch leaves the node only after
//! [`Node::handle_stored`](super::Node::handle_stored) said that it is safe.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Table;

/// A write, numbered from 1 within one run of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WriteId(pub u64);

/// A read, numbered from 1 within one run of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LoadId(pub u64);

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The table.
    pub table: Table,
    /// The key in the table.
    pub key: Bytes,
    /// The value, in the record's versioned form.
    pub value: Bytes,
}

/// Changes that are applied together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The id to report back.
    pub id: WriteId,
    /// Records to set.
    pub puts: Vec<Record>,
    /// Records to remove, by table and key.
    pub deletes: Vec<(Table, Bytes)>,
}

/// A read of one record, or of a range of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The id to report back.
    pub id: LoadId,
    /// The table.
    pub table: Table,
    /// The key in the table.
    pub key: Bytes,
    /// The bytes of the value that are wanted.
    pub range: std::ops::Range<u64>,
}

/// Everything that a node kept before it stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The records of all tables.
    pub records: Vec<Record>,
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("no space left in the store")]
    Full,
    /// The record does not exist.
    #[error("no such record")]
    Missing,
    /// Anything else.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Where a driver keeps a node's records. One trait for all drivers; a call may block.
pub trait Store: Send + 'static {
    /// Reads everything that a node needs to start.
    ///
    /// # Errors
    ///
    /// If it cannot be read. Nothing is changed then.
    fn restore(&mut self) -> Result<Restored, StoreError>;

    /// Applies batches in their order, all of them or none. What it reports as done survives a
    /// crash of the machine.
    ///
    /// # Errors
    ///
    /// If they are not safely stored.
    fn apply(&mut self, batches: &[Batch]) -> Result<(), StoreError>;

    /// Reads a range of one record.
    ///
    /// # Errors
    ///
    /// If the record does not exist, does not have the range, or cannot be read.
    fn load(&mut self, load: &Load) -> Result<Bytes, StoreError>;
}

/// A store that forgets everything when it is dropped.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    records: BTreeMap<(Table, Bytes), Bytes>,
}

impl Store for MemoryStore {
    fn restore(&mut self) -> Result<Restored, StoreError> {
        let records = self.records.iter().map(|((table, key), value)| Record {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        });
        Ok(Restored { records: records.collect() })
    }

    fn apply(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        for batch in batches {
            for Record { table, key, value } in batch.puts.iter().cloned() {
                self.records.insert((table, key), value);
            }
            for place in &batch.deletes {
                self.records.remove(place);
            }
        }
        Ok(())
    }

    fn load(&mut self, load: &Load) -> Result<Bytes, StoreError> {
        let value = self.records.get(&(load.table, load.key.clone())).ok_or(StoreError::Missing)?;
        slice(value, &load.range)
    }
}

/// Cuts a range of bytes out of a value.
///
/// # Errors
///
/// If the value does not have the range.
pub fn slice(value: &Bytes, range: &std::ops::Range<u64>) -> Result<Bytes, StoreError> {
    let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    let (start, end) = bounds
        .filter(|&(start, end)| start <= end && end <= value.len())
        .ok_or_else(|| StoreError::Failed("the range is outside of the record".into()))?;
    Ok(value.slice(start..end))
}
