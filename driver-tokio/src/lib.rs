//! Runs a [`Node`](x0x_core::node::Node) on tokio: the [`Runtime`] of tokio for [`x0x_driver`], whose
//! documentation has the rules and limits.
//!
//! ```
//! # use x0x_core::node::{CommandError, Config, ListPeers, MemoryStore, PeerInfo};
//! # use x0x_tokio::StartError;
//! async fn peers(config: Config) -> Result<Result<Vec<PeerInfo>, CommandError>, StartError> {
//!     let (node, _events) = x0x_tokio::start(config, MemoryStore::default())?;
//!     Ok(node.request(ListPeers).await)
//! }
//! ```

use std::future::Future;
use std::io;
use std::net;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use quinn_udp::UdpSockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::{Sleep, sleep_until};
use x0x_core::node::{Config, Store};
use x0x_driver::runtime::{AsyncTimer, AsyncUdpSocket, Direction};

pub use x0x_driver::{
    Answer, BLOCKED_TIME_MAX, COMMANDS_MAX, EVENTS_MAX, Ended, Events, Handle, RECEIVE_PAUSE,
    RECEIVES_MAX, RECORDING_QUEUE_BYTES_MAX, RecordingFile, RecordingState, RecordingWatch,
    Runtime, STORE_TASKS_MAX, StartError, reply_to,
};

/// The tokio runtime of the calling task.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

/// Starts a node on the present runtime. Its sockets are bound to the addresses in `config`, of which a
/// port may be 0; [`Handle::sockets`] returns the addresses that they got.
///
/// # Errors
///
/// See [`StartError`].
///
/// # Panics
///
/// Outside of a tokio runtime with its time and I/O drivers.
pub fn start(config: Config, store: impl Store) -> Result<(Handle, Events), StartError> {
    x0x_driver::start(&Tokio, config, store)
}

/// Starts a node as [`start`], and records it. The recording holds secrets.
///
/// # Errors
///
/// See [`StartError`].
///
/// # Panics
///
/// As [`start`].
pub fn start_recorded(
    config: Config,
    store: impl Store,
    file: RecordingFile,
) -> Result<(Handle, Events), StartError> {
    x0x_driver::start_recorded(&Tokio, config, store, file)
}

impl Runtime for Tokio {
    type Timer = Timer;
    type Socket = Socket;

    fn new_timer(&self, at: Instant) -> Timer {
        Timer(Box::pin(sleep_until(at.into())))
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(future);
    }

    fn wrap_udp_socket(&self, socket: net::UdpSocket) -> io::Result<Socket> {
        UdpSocket::from_std(socket).map(Socket)
    }

    fn yield_now(&self) -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
}

/// A timer of tokio.
#[derive(Debug)]
pub struct Timer(Pin<Box<Sleep>>);

impl AsyncTimer for Timer {
    fn reset(&mut self, at: Instant) {
        self.0.as_mut().reset(at.into());
    }

    fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

/// A socket of tokio.
#[derive(Debug)]
pub struct Socket(UdpSocket);

impl AsyncUdpSocket for Socket {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_recv_ready(context)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_send_ready(context)
    }

    fn try_io<T>(
        &self,
        direction: Direction,
        operation: impl FnOnce(UdpSockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let interest = match direction {
            Direction::Receive => Interest::READABLE,
            Direction::Send => Interest::WRITABLE,
        };
        self.0.try_io(interest, || operation((&self.0).into()))
    }
}
