//! The store on a thread of its own. Batches that wait are applied together, so that many writes
//! cost one flush of the disk.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use futures_core::Stream as _;
use x0x_core::node::{Batch, Load, LoadId, Store, StoreError, WriteId};

/// How many tasks wait for the store before the loop takes in nothing but their results.
pub const STORE_TASKS_MAX: usize = 4096;

/// How many tasks the store takes at once.
const TASKS_AT_ONCE: usize = 1024;

/// What the node wants of the store.
pub(crate) enum Task {
    Write(Batch),
    Load(Load),
}

/// The result of a task.
pub(crate) enum Done {
    Stored(WriteId, Result<(), StoreError>),
    Loaded(LoadId, Result<Bytes, StoreError>),
}

/// The loop's end of the store. Both channels are bounded by the loop: it takes in nothing that could
/// cause a task while [`STORE_TASKS_MAX`] wait, and each task has one result.
pub(crate) struct StoreTask {
    tasks: mpsc::Sender<Task>,
    done: Pin<Box<Receiver<Done>>>,
    /// How many tasks have no result yet.
    waiting: usize,
}

/// Runs the store until the sending end is dropped and everything is written.
pub(crate) fn spawn(store: impl Store) -> StoreTask {
    let (tasks, queue) = mpsc::channel();
    let (results, done) = async_channel::unbounded();
    thread::spawn(move || serve(results, store, queue));
    StoreTask { tasks, done: Box::pin(done), waiting: 0 }
}

impl StoreTask {
    pub(crate) fn push(&mut self, task: Task) {
        self.waiting += 1;
        // If the thread has ended, its results end, too.
        let _ = self.tasks.send(task);
    }

    /// Takes the next result; `None` if the thread has ended.
    pub(crate) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<Option<Done>> {
        let done = self.done.as_mut().poll_next(context);
        self.waiting = self.waiting.saturating_sub(usize::from(done.is_ready()));
        done
    }

    /// Returns whether tasks have no result yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.waiting > 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting >= STORE_TASKS_MAX
    }

    /// Waits until everything is written and the store is dropped.
    pub(crate) async fn close(self) {
        let Self { tasks, mut done, .. } = self;
        drop(tasks);
        while poll_fn(|context| done.as_mut().poll_next(context)).await.is_some() {}
    }
}

// The parameters are dropped from the last to the first, so the results end after the store.
fn serve(results: Sender<Done>, mut store: impl Store, queue: mpsc::Receiver<Task>) {
    while let Ok(first) = queue.recv() {
        let (mut batches, mut loads) = (Vec::new(), Vec::new());
        for task in std::iter::once(first).chain(queue.try_iter()).take(TASKS_AT_ONCE) {
            match task {
                Task::Write(batch) => batches.push(batch),
                Task::Load(load) => loads.push(load),
            }
        }
        if !batches.is_empty() {
            let result = store.apply(&batches);
            for batch in batches {
                // A node that is gone waits for nothing.
                let _ = results.try_send(Done::Stored(batch.id, result.clone()));
            }
        }
        for load in loads {
            let result = store.load(&load);
            let _ = results.try_send(Done::Loaded(load.id, result));
        }
    }
}
