//! A store that outlives its node and does what a test says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use x0x_core::node::{Batch, Load, MemoryStore, Restored, Store, StoreError};

/// Decides the result of a write before it is done. It may take its time.
type Before = dyn Fn(&[Batch]) -> Result<(), StoreError> + Send + Sync;

/// Records in memory. Clones share them.
#[derive(Clone)]
pub(super) struct TestStore {
    records: Arc<Mutex<MemoryStore>>,
    before: Arc<Before>,
}

impl TestStore {
    /// Makes a store that calls `before` ahead of each write.
    pub(super) fn new(
        before: impl Fn(&[Batch]) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self { records: Arc::default(), before: Arc::new(before) }
    }

    /// Returns how many records there are.
    pub(super) fn len(&self) -> usize {
        self.records().restore().map_or(0, |restored| restored.records.len())
    }

    fn records(&self) -> MutexGuard<'_, MemoryStore> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for TestStore {
    fn restore(&mut self) -> Result<Restored, StoreError> {
        self.records().restore()
    }

    fn apply(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        (self.before)(batches)?;
        self.records().apply(batches)
    }

    fn load(&mut self, load: &Load) -> Result<Bytes, StoreError> {
        self.records().load(load)
    }
}
