//! What a driver needs of an async runtime. The model is the runtime interface of quinn.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quinn_udp::UdpSockRef;

/// An async runtime: timers, tasks and sockets.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A timer of the runtime.
    type Timer: AsyncTimer;

    /// A UDP socket that the runtime polls.
    type Socket: AsyncUdpSocket;

    /// Makes a timer that expires at `at`.
    fn new_timer(&self, at: Instant) -> Self::Timer;

    /// Drives a future to completion in the background.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// Registers a socket with the runtime. The socket does not block.
    ///
    /// # Errors
    ///
    /// If the runtime cannot poll the socket.
    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Self::Socket>;

    /// Lets every other task that can run have a turn, once.
    fn yield_now(&self) -> impl Future<Output = ()> + Send;

    /// Returns the wall time since the Unix epoch. Tests inject clock jumps here.
    fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }
}

/// A timer that can be set again.
pub trait AsyncTimer: Send + 'static {
    /// Sets the time at which the timer expires.
    fn reset(&mut self, at: Instant);

    /// Ready once the time has come. A timer that has expired is not polled again until it is reset.
    fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// A UDP socket that a runtime polls.
pub trait AsyncUdpSocket: Send + Sync + 'static {
    /// Ready if a receive may succeed. An operation that would block makes the socket pending until
    /// the system reports it ready again. A spurious `Ready` does no harm.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready if a send may succeed, as [`AsyncUdpSocket::poll_readable`].
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Performs one operation on the socket. [`io::ErrorKind::WouldBlock`] clears the readiness of the
    /// direction.
    ///
    /// # Errors
    ///
    /// What the operation returns.
    fn try_io<T>(
        &self,
        direction: Direction,
        operation: impl FnOnce(UdpSockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T>;
}

/// The direction of an operation on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A receive.
    Receive,
    /// A send.
    Send,
}
