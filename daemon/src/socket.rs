//! The Unix socket of the API, and streams of either kind.
//!
//! The socket is `api.sock` in the data directory, mode 0600. Both ends ask the system who the other
//! is: the daemon takes its own user and root, the client its own user. A socket that another user
//! put there is therefore refused, even in a directory that others may write.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::paths::api_socket;

/// The longest path that every system takes as the address of a socket, in bytes (macOS has room for
/// 104 with the zero at the end, Linux for 108).
const PATH_LEN_MAX: usize = 103;

/// How long a client waits before it tries a socket again whose queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// The listening socket of a daemon; the file goes with it.
#[derive(Debug)]
pub struct ApiSocket {
    /// The socket.
    pub listener: UnixListener,
    /// Its file.
    pub file: SocketFile,
}

/// The file of a socket, which is removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already, with the whole directory.
        let _ = fs::remove_file(&self.0);
    }
}

impl ApiSocket {
    /// Listens in a data directory. The caller holds the lock of the directory, so a socket that is
    /// there was left by a daemon that was killed: it is replaced.
    ///
    /// # Errors
    ///
    /// If something else has the name, or the file system has no sockets.
    pub fn bind(data: &Path) -> io::Result<Self> {
        let path = api_socket(data);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "it is not a socket")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let short = Short::of(&path)?;
        let listener = UnixListener::bind(&short.path)?;
        let file = SocketFile(path);
        fs::set_permissions(&file.0, Permissions::from_mode(0o600))?;
        Ok(Self { listener, file })
    }
}

/// Tells whether a data directory has a socket, which may be stale.
pub fn exists(data: &Path) -> bool {
    fs::symlink_metadata(api_socket(data)).is_ok_and(|found| found.file_type().is_socket())
}

/// Why there is no connection to a socket.
#[derive(Debug)]
pub enum ConnectError {
    /// Nobody listens.
    Stale,
    /// A process of another user listens.
    Foreign(u32),
    /// The system does not let us.
    Io(io::Error),
}

/// Connects to the daemon of a data directory, which must run as this user.
///
/// # Errors
///
/// See [`ConnectError`].
pub async fn connect(data: &Path) -> Result<UnixStream, ConnectError> {
    let path = api_socket(data);
    let short = Short::of(&path).map_err(ConnectError::Io)?;
    let stream = loop {
        match UnixStream::connect(&short.path).await {
            Ok(stream) => break stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) =>
            {
                return Err(ConnectError::Stale);
            }
            Err(error) => return Err(ConnectError::Io(error)),
        }
    };
    let user = stream.peer_cred().map_err(ConnectError::Io)?.uid();
    if is_own(user) { Ok(stream) } else { Err(ConnectError::Foreign(user)) }
}

/// Tells whether a user is the one that this process runs as.
pub(crate) fn is_own(user: u32) -> bool {
    user == own_user()
}

/// The user that this process runs as.
pub(crate) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A name of a socket that fits into its address. A long one is reached through its directory, which
/// stays open as long.
struct Short {
    path: PathBuf,
    _directory: Option<File>,
}

impl Short {
    fn of(path: &Path) -> io::Result<Self> {
        let directory = path.parent().filter(|_| path.as_os_str().len() > PATH_LEN_MAX);
        let (Some(directory), Some(name)) = (directory, path.file_name()) else {
            return Ok(Self { path: path.into(), _directory: None });
        };
        let directory = File::open(directory)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        debug_assert!(path.as_os_str().as_bytes().len() <= PATH_LEN_MAX);
        Ok(Self { path, _directory: Some(directory) })
    }
}

/// A connection of either kind.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over the Unix socket.
    Unix(UnixStream),
}

macro_rules! delegate {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp(inner) => {
                let $inner = Pin::new(inner);
                $call
            }
            Stream::Unix(inner) => {
                let $inner = Pin::new(inner);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("x0x-socket-{}", std::process::id()));
        let path = root.join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[tokio::test]
    async fn a_socket_is_its_owners_replaces_a_stale_one_and_goes_with_its_daemon() {
        for name in ["short", &["long"; 60].concat()] {
            let data = directory(name);
            assert!(matches!(connect(&data).await, Err(ConnectError::Stale)));
            let first = ApiSocket::bind(&data).unwrap();
            let mode = fs::metadata(api_socket(&data)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            connect(&data).await.unwrap();
            // Killed: its file stays.
            let ApiSocket { listener, file } = first;
            drop(listener);
            std::mem::forget(file);
            assert!(exists(&data));
            assert!(matches!(connect(&data).await, Err(ConnectError::Stale)));
            let second = ApiSocket::bind(&data).unwrap();
            connect(&data).await.unwrap();
            drop(second);
            assert!(!exists(&data), "{name}");
            fs::remove_dir_all(&data).unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_not_a_socket_is_left_alone() {
        let data = directory("file");
        let other = data.join("other");
        fs::write(&other, "x").unwrap();
        std::os::unix::fs::symlink(&other, api_socket(&data)).unwrap();
        assert_eq!(ApiSocket::bind(&data).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(!exists(&data));
        assert_eq!(fs::read(&other).unwrap(), b"x");
        fs::remove_dir_all(&data).unwrap();
    }
}
