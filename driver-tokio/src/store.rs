//! The store on a thread of its own. Batches that wait are applied together, so that many writes
//! cost one flush of the disk.

use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc;
use x0x_core::node::{Batch, Load, LoadId, Restored, Store, StoreError, WriteId};

/// What the node wants of the store.
pub(crate) enum Task {
    Write(Batch),
    Load(Load),
    Restore,
}

/// What became of it.
pub(crate) enum Done {
    Stored(WriteId, Result<(), StoreError>),
    Loaded(LoadId, Result<Bytes, StoreError>),
    Restored(Result<Restored, StoreError>),
}

/// The node's end of the store. Its queue is bounded by the node, which has a bounded number of
/// records to write.
pub(crate) struct StoreTask {
    pub(crate) tasks: mpsc::UnboundedSender<Task>,
    pub(crate) done: mpsc::UnboundedReceiver<Done>,
    pub(crate) thread: thread::JoinHandle<()>,
}

/// Runs the store until the sending end is dropped and all is written.
pub(crate) fn spawn(store: impl Store) -> StoreTask {
    let (tasks, queue) = mpsc::unbounded_channel();
    let (results, done) = mpsc::unbounded_channel();
    let thread = thread::spawn(move || serve(store, queue, &results));
    StoreTask { tasks, done, thread }
}

fn serve(
    mut store: impl Store,
    mut queue: mpsc::UnboundedReceiver<Task>,
    results: &mpsc::UnboundedSender<Done>,
) {
    // How many tasks are taken at once.
    const TASKS_MAX: usize = 1024;
    let mut tasks = Vec::new();
    while queue.blocking_recv_many(&mut tasks, TASKS_MAX) > 0 {
        let (mut batches, mut loads, mut restores) = (Vec::new(), Vec::new(), 0);
        for task in tasks.drain(..) {
            match task {
                Task::Write(batch) => batches.push(batch),
                Task::Load(load) => loads.push(load),
                Task::Restore => restores += 1,
            }
        }
        if !batches.is_empty() {
            let result = store.apply(&batches);
            for batch in batches {
                // A node that is gone waits for nothing.
                let _ = results.send(Done::Stored(batch.id, result.clone()));
            }
        }
        for load in loads {
            let result = store.load(&load);
            let _ = results.send(Done::Loaded(load.id, result));
        }
        // What was written before is in it.
        for _ in 0..restores {
            let _ = results.send(Done::Restored(store.restore()));
        }
    }
}
