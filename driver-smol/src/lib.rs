//! Runs a [`Node`](x0x_core::node::Node) on smol: the [`Runtime`] of `async-io` and `async-executor` for
//! [`x0x_driver`], whose documentation has the rules and limits.
//!
//! Run the application on the same executor as the node, as below: then it gets the turn that the
//! driver gives it before datagrams are built.
//!
//! ```
//! # use std::sync::Arc;
//! # use async_executor::Executor;
//! # use x0x_core::node::{CommandError, Config, ListPeers, MemoryStore, PeerInfo};
//! # use x0x_smol::StartError;
//! fn peers(config: Config) -> Result<Result<Vec<PeerInfo>, CommandError>, StartError> {
//!     let executor = Arc::new(Executor::new());
//!     let (node, _events) = x0x_smol::start(&executor, config, MemoryStore::default())?;
//!     let application = executor.spawn(async move { node.request(ListPeers).await });
//!     Ok(async_io::block_on(executor.run(application)))
//! }
//! ```

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_executor::Executor;
use async_io::Async;
use quinn_udp::UdpSockRef;
use x0x_core::node::{Config, Store};
use x0x_driver::runtime::{AsyncTimer, AsyncUdpSocket, Direction};

pub use x0x_driver::{
    Answer, BLOCKED_TIME_MAX, COMMANDS_MAX, EVENTS_MAX, Ended, Events, Handle, RECEIVE_PAUSE,
    RECEIVES_MAX, RECORDING_QUEUE_BYTES_MAX, RecordingFile, RecordingState, RecordingWatch,
    Runtime, STORE_TASKS_MAX, StartError, reply_to,
};

/// An executor, with the timers and sockets of `async-io`.
#[derive(Clone, Debug)]
pub struct Smol(pub Arc<Executor<'static>>);

/// Starts a node on an executor. Its sockets are bound to the addresses in `config`, of which a port may
/// be 0; [`Handle::sockets`] returns the addresses that they got.
///
/// # Errors
///
/// See [`StartError`].
pub fn start(
    executor: &Arc<Executor<'static>>,
    config: Config,
    store: impl Store,
) -> Result<(Handle, Events), StartError> {
    x0x_driver::start(&Smol(executor.clone()), config, store)
}

/// Starts a node as [`start`], and records it. The recording holds secrets.
///
/// # Errors
///
/// See [`StartError`].
pub fn start_recorded(
    executor: &Arc<Executor<'static>>,
    config: Config,
    store: impl Store,
    file: RecordingFile,
) -> Result<(Handle, Events), StartError> {
    x0x_driver::start_recorded(&Smol(executor.clone()), config, store, file)
}

impl Runtime for Smol {
    type Timer = Timer;
    type Socket = Socket;

    fn new_timer(&self, at: Instant) -> Timer {
        Timer(async_io::Timer::at(at))
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future).detach();
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Socket> {
        let io = Async::new_nonblocking(socket)?;
        Ok(Socket { io, is_readable: AtomicBool::new(true), is_writable: AtomicBool::new(true) })
    }

    fn yield_now(&self) -> impl Future<Output = ()> + Send {
        futures_lite::future::yield_now()
    }
}

/// A timer of `async-io`.
#[derive(Debug)]
pub struct Timer(async_io::Timer);

impl AsyncTimer for Timer {
    fn reset(&mut self, at: Instant) {
        self.0.set_at(at);
    }

    fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(|_| ())
    }
}

/// A socket of `async-io`. Waiting costs a system call there, so readiness is kept until an operation
/// would block.
#[derive(Debug)]
pub struct Socket {
    io: Async<UdpSocket>,
    is_readable: AtomicBool,
    is_writable: AtomicBool,
}

impl AsyncUdpSocket for Socket {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_readable.load(Ordering::Relaxed) {
            ready!(self.io.poll_readable(context))?;
            self.is_readable.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_writable.load(Ordering::Relaxed) {
            ready!(self.io.poll_writable(context))?;
            self.is_writable.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn try_io<T>(
        &self,
        direction: Direction,
        operation: impl FnOnce(UdpSockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let result = operation((&self.io).into());
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            let is_ready = match direction {
                Direction::Receive => &self.is_readable,
                Direction::Send => &self.is_writable,
            };
            is_ready.store(false, Ordering::Relaxed);
        }
        result
    }
}
