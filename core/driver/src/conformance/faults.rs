//! A runtime around another one that injects faults into its sockets and its wall clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use quinn_udp::UdpSockRef;

use crate::runtime::{AsyncUdpSocket, Direction, Runtime};

/// What goes wrong, and what has happened.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What the wall clock shows instead of the time.
    unix_time: Option<Duration>,
    /// Where new sockets are connected to.
    peer: Option<SocketAddr>,
    /// How operations of a socket fail, by its local address.
    errors: BTreeMap<(SocketAddr, bool), ErrorKind>,
    /// Wake the loops that wait for a socket.
    wakers: Vec<Waker>,
    counts: Counts,
}

/// How many operations on sockets there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sends: usize,
    pub(super) receives: usize,
    /// Errors of the system, without those that say that an operation would block.
    pub(super) system_errors: usize,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Sets the wall clock.
    pub(super) fn set_unix_time(&self, unix_time: Duration) {
        self.lock().unix_time = Some(unix_time);
    }

    /// Connects each socket that is made from here on, so that the system reports what ICMP says.
    pub(super) fn connect_sockets(&self, peer: SocketAddr) {
        self.lock().peer = Some(peer);
    }

    /// Lets each operation of a socket fail, or succeed again.
    pub(super) fn set(&self, local: SocketAddr, direction: Direction, error: Option<ErrorKind>) {
        let mut state = self.lock();
        let key = (local, direction == Direction::Send);
        match error {
            Some(error) => state.errors.insert(key, error),
            None => state.errors.remove(&key),
        };
        state.wakers.drain(..).for_each(Waker::wake);
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }
}

/// A runtime with faults.
#[derive(Clone)]
pub(super) struct Faulty<R> {
    runtime: R,
    faults: Faults,
}

impl<R: Runtime> Faulty<R> {
    pub(super) fn new(runtime: R) -> (Self, Faults) {
        let faults = Faults::default();
        (Self { runtime, faults: faults.clone() }, faults)
    }
}

impl<R: Runtime> Runtime for Faulty<R> {
    type Timer = R::Timer;
    type Socket = FaultySocket<R::Socket>;

    fn new_timer(&self, at: Instant) -> R::Timer {
        self.runtime.new_timer(at)
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Self::Socket> {
        if let Some(peer) = self.faults.lock().peer {
            socket.connect(peer)?;
        }
        let local = socket.local_addr()?;
        let socket = self.runtime.wrap_udp_socket(socket)?;
        Ok(FaultySocket { local, socket, faults: self.faults.clone() })
    }

    fn yield_now(&self) -> impl Future<Output = ()> + Send {
        self.runtime.yield_now()
    }

    fn unix_time(&self) -> Duration {
        let set = self.faults.lock().unix_time;
        set.unwrap_or_else(|| self.runtime.unix_time())
    }
}

/// A socket with faults.
pub(super) struct FaultySocket<S> {
    local: SocketAddr,
    socket: S,
    faults: Faults,
}

impl<S> FaultySocket<S> {
    /// Returns how operations fail, and arranges to be woken when that changes.
    fn poll_error(&self, context: &Context<'_>, direction: Direction) -> Option<ErrorKind> {
        let mut state = self.faults.lock();
        state.wakers.push(context.waker().clone());
        state.errors.get(&(self.local, direction == Direction::Send)).copied()
    }
}

impl<S: AsyncUdpSocket> AsyncUdpSocket for FaultySocket<S> {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_error(context, Direction::Receive) {
            Some(ErrorKind::WouldBlock) => Poll::Pending,
            Some(_) => Poll::Ready(Ok(())),
            None => self.socket.poll_readable(context),
        }
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_error(context, Direction::Send) {
            Some(ErrorKind::WouldBlock) => Poll::Pending,
            Some(_) => Poll::Ready(Ok(())),
            None => self.socket.poll_writable(context),
        }
    }

    fn try_io<T>(
        &self,
        direction: Direction,
        operation: impl FnOnce(UdpSockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let error = {
            let mut state = self.faults.lock();
            match direction {
                Direction::Send => state.counts.sends += 1,
                Direction::Receive => state.counts.receives += 1,
            }
            state.errors.get(&(self.local, direction == Direction::Send)).copied()
        };
        if let Some(error) = error {
            return Err(error.into());
        }
        let result = self.socket.try_io(direction, operation);
        if result.as_ref().is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            self.faults.lock().counts.system_errors += 1;
        }
        result
    }
}
