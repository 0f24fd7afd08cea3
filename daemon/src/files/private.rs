//! Files and directories that are accessible to one user only.
//!
//! Who can write a directory can replace its files, and who can write a file decides its content. So
//! paths that another user owns or may write are refused, and the error names the command that changes
//! them. Nothing is repaired, because their content may have been planted. If others may only read a
//! path of this user, its mode is corrected, with a warning.
//!
//! A symbolic link is followed if this user or root made it, and what it leads to is held to the same
//! rules. The directories above are not examined: a user that may write those can replace ours with
//! another, but that one is refused.
//!
//! A file is written under a random name in the same directory, synced, and then given its name: it
//! appears with its whole content or not at all.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use super::{FileError, hex, random};

/// The mode of a directory of ours.
const DIRECTORY_MODE: u32 = 0o700;

/// The mode of a file of ours.
const FILE_MODE: u32 = 0o600;

/// What is wrong with the owner or the mode of a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another user owns it.
    #[error(
        "{path} belongs to user {owner}, and this program runs as user {own}: run it as that user; or, \
         if you trust what is in it, run: chown {own} '{path}'"
    )]
    Foreign {
        /// The path.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who runs this.
        own: u32,
    },
    /// Another user made the symbolic link that stands there.
    #[error("{path} is a symbolic link that user {owner} made: remove it, and start again")]
    Link {
        /// The path.
        path: PathBuf,
        /// Who made the link.
        owner: u32,
    },
    /// Other users may write it.
    #[error(
        "other users may write {path} (mode {mode:o}): look at what is in it, then run: \
         chmod {right:o} '{path}'"
    )]
    Writable {
        /// The path.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What its mode must be.
        right: u32,
    },
    /// Other users may read it.
    #[error("other users may read {path} (mode {mode:o}): run: chmod {right:o} '{path}'")]
    Readable {
        /// The path.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What its mode must be.
        right: u32,
    },
}

/// Looks at the owner and the mode of a path, and of the link that may stand there.
///
/// # Errors
///
/// If the system does not show them.
pub(crate) fn inspect(path: &Path) -> io::Result<(Metadata, Option<Fault>)> {
    let link = link_fault(path)?;
    let metadata = fs::metadata(path)?;
    let fault = link.or_else(|| fault(path, &metadata));
    Ok((metadata, fault))
}

fn link_fault(path: &Path) -> io::Result<Option<Fault>> {
    let metadata = fs::symlink_metadata(path)?;
    let owner = metadata.uid();
    let is_foreign = metadata.is_symlink() && owner != own() && owner != 0;
    Ok(is_foreign.then(|| Fault::Link { path: path.into(), owner }))
}

fn fault(path: &Path, metadata: &Metadata) -> Option<Fault> {
    let path = || path.to_path_buf();
    let (owner, own, mode) = (metadata.uid(), own(), metadata.mode() & 0o7777);
    let right = if metadata.is_dir() { DIRECTORY_MODE } else { FILE_MODE };
    if owner != own {
        Some(Fault::Foreign { path: path(), owner, own })
    } else if mode & 0o022 != 0 {
        Some(Fault::Writable { path: path(), mode, right })
    } else if mode & 0o077 != 0 {
        Some(Fault::Readable { path: path(), mode, right })
    } else {
        None
    }
}

/// The user that runs this.
fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens a file of ours, or makes it if the options say so.
///
/// # Errors
///
/// If it cannot be opened, is not a regular file or has a [`Fault`].
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> Result<File, FileError> {
    refuse_link(path)?;
    // To open a pipe would wait for a writer.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io_error("read", path)(io::Error::other("it is not a regular file")));
    }
    let file = options.mode(FILE_MODE).open(path).map_err(io_error("open", path))?;
    admit(path, &file)?;
    Ok(file)
}

/// Refuses a symbolic link that another user made.
fn refuse_link(path: &Path) -> Result<(), FileError> {
    match link_fault(path) {
        Ok(Some(fault)) => Err(fault.into()),
        Ok(None) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}

/// Refuses a path that another user owns or may write, and takes read permission from others.
fn admit(path: &Path, file: &File) -> Result<(), FileError> {
    let metadata = file.metadata().map_err(io_error("look at", path))?;
    match fault(path, &metadata) {
        Some(Fault::Readable { mode, right, .. }) => {
            let changed = file.set_permissions(Permissions::from_mode(right));
            changed.map_err(io_error("change the mode of", path))?;
            let path = path.display();
            tracing::warn!(
                "other users could read {path} (mode {mode:o}): its mode is now {right:o}"
            );
            Ok(())
        }
        Some(fault) => Err(fault.into()),
        None => Ok(()),
    }
}

/// Reads a file of ours if it exists.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let mut file = match open(path, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(FileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes).map_err(io_error("read", path))?;
    Ok(Some(bytes))
}

/// Makes a directory, and those above it, that only its owner can enter.
///
/// # Errors
///
/// If it cannot be made, or is there and has a [`Fault`].
pub(crate) fn private_directory(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(DIRECTORY_MODE);
    builder.create(path).map_err(io_error("make", path))?;
    refuse_link(path)?;
    admit(path, &File::open(path).map_err(io_error("open", path))?)
}

/// Writes a file that only its owner can read, and lasting. A file of that name is replaced.
///
/// # Errors
///
/// If it cannot be written; then what was there before is unchanged.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = write_temporary(path, bytes)?;
    let renamed = fs::rename(&temporary, path).and_then(|()| sync_directory(path));
    renamed.inspect_err(|_| drop(fs::remove_file(&temporary))).map_err(io_error("write", path))
}

/// Writes a file that only its owner can read, and lasting, unless there is one of that name. Returns
/// whether it was written.
///
/// # Errors
///
/// If it cannot be written; then what was there before is unchanged.
pub(super) fn publish(path: &Path, bytes: &[u8]) -> Result<bool, FileError> {
    let temporary = write_temporary(path, bytes)?;
    // Unlike a rename, a link is never made over another file.
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    let is_ours = match linked {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        // Some file systems have no hard links.
        Err(error) => return Err(io_error("hard-link a new file to", path)(error)),
    };
    removed.and_then(|()| sync_directory(path)).map_err(io_error("write", path))?;
    Ok(is_ours)
}

/// Writes bytes to a new file beside a path. Returns its name.
fn write_temporary(path: &Path, bytes: &[u8]) -> Result<PathBuf, FileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", hex(&random::<8>()?)));
    let temporary = PathBuf::from(name);
    let mut options = OpenOptions::new();
    // This follows no link, and takes no file that is there.
    options.write(true).create_new(true).mode(FILE_MODE);
    let write = || {
        let mut file = options.open(&temporary)?;
        // A strict umask removes the owner's permissions as well.
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let written = write().inspect_err(|_| drop(fs::remove_file(&temporary)));
    written.map_err(io_error("write", path))?;
    Ok(temporary)
}

/// Makes the names in a file's directory last.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |error| FileError::Io { action, path: path.into(), error }
}

/// The directories of an instance, which no other daemon uses while this value lives.
///
/// Two daemons with the same keys would contradict each other in the name of one agent, so the keys
/// are locked as well as the data.
#[derive(Debug)]
pub struct Directories {
    data: PathBuf,
    keys: PathBuf,
    /// The system unlocks these files when they are closed.
    _locks: Vec<File>,
}

impl Directories {
    /// Makes the directories if they are missing, and locks them.
    ///
    /// # Errors
    ///
    /// If another daemon uses one of them, or one cannot be made or has a [`Fault`].
    pub fn lock(data: &Path, keys: &Path) -> Result<Self, FileError> {
        for directory in [data, keys] {
            private_directory(directory)?;
        }
        let data_lock = lock(data)?.ok_or_else(|| FileError::DataInUse(data.into()))?;
        let mut locks = vec![data_lock];
        if !is_same(data, keys).map_err(io_error("look at", keys))? {
            locks.push(lock(keys)?.ok_or_else(|| FileError::KeysInUse(keys.into()))?);
        }
        Ok(Self { data: data.into(), keys: keys.into(), _locks: locks })
    }

    /// The directory of data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The directory of keys.
    pub fn keys(&self) -> &Path {
        &self.keys
    }
}

/// Locks a directory; `None` if another daemon holds the lock.
fn lock(directory: &Path) -> Result<Option<File>, FileError> {
    let path = directory.join(".lock");
    let file = open(&path, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

/// Whether two paths lead to the same directory.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory(test: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("x0x-private-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        private_directory(&path).expect("it can be made");
        path
    }

    fn names(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).expect("it is a directory");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("it is read").path()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_published_is_never_replaced_and_no_link_is_followed() {
        let root = directory("publish");
        let (path, link, target) = (root.join("a"), root.join("b"), root.join("c"));
        assert!(publish(&path, b"first").expect("it is written"));
        assert!(!publish(&path, b"second").expect("there is one"));
        assert_eq!(read(&path).expect("it is ours").as_deref(), Some(&b"first"[..]));
        symlink(&target, &link).expect("it can be made");
        assert!(!publish(&link, b"third").expect("there is one"));
        assert_eq!(names(&root), [path.clone(), link.clone()]);
        write_private(&link, b"fourth").expect("it is written");
        assert_eq!(read(&link).expect("it is ours").as_deref(), Some(&b"fourth"[..]));
        assert_eq!(names(&root), [path, link]);
        fs::remove_dir_all(&root).expect("the directory is ours");
    }

    #[test]
    fn a_directory_is_locked_once_under_any_name() {
        let root = directory("lock");
        let (data, keys, name) = (root.join("data"), root.join("keys"), root.join("name"));
        let held = Directories::lock(&data, &keys).expect("they are free");
        symlink(&keys, &name).expect("it can be made");
        let error = Directories::lock(&root.join("other"), &name).expect_err("the keys are held");
        assert!(matches!(error, FileError::KeysInUse(path) if path == name));
        let error = Directories::lock(&data, &root.join("other")).expect_err("the data are held");
        assert!(matches!(error, FileError::DataInUse(path) if path == data));
        drop(held);
        Directories::lock(&keys, &name).expect("they are free, and one directory");
        fs::remove_dir_all(&root).expect("the directory is ours");
    }
}
