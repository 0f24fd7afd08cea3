//! A recording on its way to its file, on a thread of its own: a slow disk never holds up the loop.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures_channel::oneshot;
use x0x_core::node::recording::End;

/// How many bytes of a recording wait for its file. When there are more the recording ends.
pub const RECORDING_QUEUE_BYTES_MAX: usize = 32 << 20;

/// Why a recording ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// For the reason in its last entry.
    With(End),
    /// The file could not be written; the recording in it is cut.
    Unwritable(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::With(end) => end.fmt(formatter),
            Self::Unwritable(error) => write!(formatter, "the file could not be written: {error}"),
        }
    }
}

/// The state of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingState {
    /// How many bytes are in the file.
    pub bytes: u64,
    /// Why there will be no more, once the file is whole or given up.
    pub ended: Option<Ended>,
}

/// A new file for a recording, and its largest size.
#[derive(Debug)]
pub struct RecordingFile {
    file: File,
    pub(crate) bytes_max: u64,
    shared: Arc<Shared>,
}

/// Reports the state of a recording.
#[derive(Clone, Debug)]
pub struct RecordingWatch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Why nothing follows, if nothing does.
    closed: Option<End>,
    written: u64,
    ended: Option<Ended>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordingFile {
    /// Records to an empty file, at most `bytes_max` bytes.
    pub fn new(file: File, bytes_max: u64) -> Self {
        Self { file, bytes_max, shared: Arc::default() }
    }

    /// Returns what reports the state of the recording, also after its end.
    pub fn watch(&self) -> RecordingWatch {
        RecordingWatch(self.shared.clone())
    }

    /// Starts the thread that writes.
    pub(crate) fn open(self) -> RecordingSink {
        let Self { file, shared, .. } = self;
        let (report, written) = oneshot::channel();
        let writer = shared.clone();
        thread::spawn(move || {
            write(file, &writer);
            // Nobody has to wait for it.
            let _ = report.send(());
        });
        RecordingSink { shared, written }
    }
}

impl RecordingWatch {
    /// Returns the state of the recording.
    pub fn state(&self) -> RecordingState {
        let queue = self.0.lock();
        RecordingState { bytes: queue.written, ended: queue.ended.clone() }
    }
}

/// Ready when a file is whole or given up.
pub(crate) type Written = oneshot::Receiver<()>;

/// The loop's end of a recording.
pub(crate) struct RecordingSink {
    shared: Arc<Shared>,
    written: Written,
}

impl RecordingSink {
    /// Queues bytes, all or none. Returns whether there was room.
    pub(crate) fn push(&self, bytes: &[u8]) -> bool {
        let mut queue = self.shared.lock();
        let size = queue.bytes.len() + bytes.len();
        let is_full = !queue.bytes.is_empty() && size > RECORDING_QUEUE_BYTES_MAX;
        if !is_full {
            queue.bytes.extend_from_slice(bytes);
            drop(queue);
            self.shared.changed.notify_one();
        }
        !is_full
    }

    /// Returns whether the file can still be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.shared.lock().ended.is_none()
    }

    /// Queues the last bytes.
    pub(crate) fn close(self, bytes: &[u8], end: End) -> Written {
        let mut queue = self.shared.lock();
        queue.bytes.extend_from_slice(bytes);
        queue.closed = Some(end);
        drop(queue);
        self.shared.changed.notify_one();
        self.written
    }
}

fn write(mut file: File, shared: &Shared) {
    let mut chunk = Vec::new();
    let failed = loop {
        let mut queue = shared.lock();
        while queue.bytes.is_empty() && queue.closed.is_none() {
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut queue.bytes, &mut chunk);
        drop(queue);
        if chunk.is_empty() {
            break file.sync_all().err();
        }
        if let Err(error) = file.write_all(&chunk) {
            break Some(error);
        }
        shared.lock().written += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        chunk.clear();
    };
    let mut queue = shared.lock();
    queue.bytes = Vec::new();
    queue.ended = match failed {
        Some(error) => Some(Ended::Unwritable(error.to_string())),
        None => queue.closed.map(Ended::With),
    };
}
