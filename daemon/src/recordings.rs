//! Recordings of the node, for whoever has to find out what it did: see
//! [`x0x_core::node::recording`].
//!
//! A recording holds the secret keys of the machine and of the agent, and the content of messages. So
//! there is none unless somebody asks for it, its file is its owner's alone, and who asks is told.
//! Nothing here ever deletes one.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use x0x_tokio::{RecordingFile, RecordingState, RecordingWatch};

use crate::files::{FileError, private_directory};
use crate::queue::lock;
use crate::supervisor::{RestartError, Supervisor};

/// How large a recording becomes unless somebody says otherwise, in MiB.
pub const MIB_DEFAULT: u64 = 64;

/// How large a recording may become at most, in MiB.
pub const MIB_MAX: u64 = 64 << 10;

/// What everybody is told who records.
pub const WARNING: &str = "The recording holds the secret keys of this machine and of its agent, and \
                           the content of messages. Whoever has the file can pose as them: keep it \
                           to yourself, and delete it when it has served.";

/// How many files may have been made in the same second.
const FILES_AT_ONCE: u32 = 100;

/// Why a recording does not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// It would be too large, or nothing.
    #[error("max_mib must be from 1 to {MIB_MAX}")]
    Size,
    /// The file cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// The node is recorded already.
    #[error("a recording is under way")]
    UnderWay,
    /// The node.
    #[error(transparent)]
    Restart(#[from] RestartError),
}

/// A recording: where it is, and how it stands.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The file.
    pub path: PathBuf,
    /// How large it may become, in bytes.
    pub bytes_max: u64,
    watch: RecordingWatch,
}

impl Recording {
    /// Makes the file of a new recording, `recordings/<unix time>.x0xrec` in the data directory.
    ///
    /// # Errors
    ///
    /// If the size is out of its range or the file cannot be made.
    pub fn create(data_dir: &Path, max_mib: u64) -> Result<(Self, RecordingFile), BeginError> {
        if !(1..=MIB_MAX).contains(&max_mib) {
            return Err(BeginError::Size);
        }
        let bytes_max = max_mib << 20;
        let directory = data_dir.join("recordings");
        private_directory(&directory)?;
        let (path, file) = create(&directory)?;
        let file = RecordingFile::new(file, bytes_max);
        Ok((Self { path, bytes_max, watch: file.watch() }, file))
    }

    /// Returns its state.
    pub fn state(&self) -> RecordingState {
        self.watch.state()
    }

    /// Removes the file of a recording that has not begun. It is empty.
    pub(crate) fn discard(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "an empty file remains");
        }
    }
}

/// Makes a file that only its owner can read, named by the time.
fn create(directory: &Path) -> Result<(PathBuf, File), FileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let names = (1..FILES_AT_ONCE).map(|number| format!("{unix_time}-{number}.x0xrec"));
    let mut error = io::Error::from(ErrorKind::AlreadyExists);
    for name in std::iter::once(format!("{unix_time}.x0xrec")).chain(names) {
        let path = directory.join(name);
        match options.open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(taken) if taken.kind() == ErrorKind::AlreadyExists => {}
            Err(other) => {
                error = other;
                break;
            }
        }
    }
    Err(FileError::Io { action: "make a file in", path: directory.into(), error })
}

/// Begins and ends the recordings of a daemon's node.
#[derive(Debug)]
pub struct Recorder {
    supervisor: Supervisor,
    data_dir: PathBuf,
    last: Mutex<Option<Recording>>,
    /// Whoever begins or ends a recording.
    turn: tokio::sync::Mutex<()>,
}

impl Recorder {
    /// Makes the recorder of a node, which may be recorded already.
    pub fn new(supervisor: Supervisor, data_dir: &Path, recording: Option<Recording>) -> Self {
        let (data_dir, last) = (data_dir.into(), Mutex::new(recording));
        Self { supervisor, data_dir, last, turn: tokio::sync::Mutex::default() }
    }

    /// Returns the recording that is under way, or the last one.
    pub fn recording(&self) -> Option<Recording> {
        lock(&self.last).clone()
    }

    /// Begins a recording, which restarts the node. A caller that gives up waiting stops nothing.
    ///
    /// # Errors
    ///
    /// See [`BeginError`].
    pub async fn begin(self: &Arc<Self>, max_mib: u64) -> Result<Recording, BeginError> {
        let recorder = self.clone();
        let turn = tokio::spawn(async move { recorder.take(max_mib).await });
        turn.await.unwrap_or(Err(BeginError::Restart(RestartError::Halted)))
    }

    async fn take(&self, max_mib: u64) -> Result<Recording, BeginError> {
        let _turn = self.turn.lock().await;
        if self.recording().is_some_and(|last| last.state().ended.is_none()) {
            return Err(BeginError::UnderWay);
        }
        let (recording, file) = Recording::create(&self.data_dir, max_mib)?;
        let path = recording.path.display();
        if let Err(error) = self.supervisor.record(file).await {
            recording.discard();
            return Err(error.into());
        }
        tracing::warn!(%path, "the node was restarted and is recorded. {WARNING}");
        *lock(&self.last) = Some(recording.clone());
        Ok(recording)
    }

    /// Ends the recording that is under way. Returns it, or the last one, once its file is whole.
    pub async fn end(&self) -> Option<Recording> {
        let _turn = self.turn.lock().await;
        self.supervisor.node().stop_recording().await;
        self.recording()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_private_and_never_replaced() {
        let root = std::env::temp_dir().join(format!("x0x-recordings-{}", std::process::id()));
        let made: Vec<_> =
            (0..5).map(|_| Recording::create(&root, 1).expect("it is made").0.path).collect();
        let mut names = made.clone();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), made.len());
        #[cfg(unix)]
        for (path, expected) in [(&made[0], 0o600), (&root.join("recordings"), 0o700)] {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path).expect("it exists").permissions().mode();
            assert_eq!(mode & 0o777, expected, "{}", path.display());
        }
        for size in [0, MIB_MAX + 1, u64::MAX] {
            assert!(matches!(Recording::create(&root, size), Err(BeginError::Size)));
        }
        std::fs::remove_dir_all(&root).expect("the directory is ours");
    }
}
