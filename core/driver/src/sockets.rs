//! The sockets of a node, and what one of them has not sent yet.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use x0x_core::transport::{Datagram, Transmit};

use crate::StartError;
use crate::runtime::{AsyncUdpSocket, Runtime};
use crate::socket::{ReceiveBuffers, Socket};

/// How long a socket may block before the datagrams that it does not take are lost. A socket that
/// stays blocked would keep the others from sending, and the node from stopping.
pub const BLOCKED_TIME_MAX: Duration = Duration::from_secs(1);

/// All sockets of a node.
pub(crate) struct Sockets<S> {
    sockets: Vec<Socket<S>>,
    receive_buffers: ReceiveBuffers,
    transmit_buffer: Vec<u8>,
    blocked: Option<Blocked>,
}

/// What a blocked socket has not taken.
struct Blocked {
    transmit: Transmit,
    /// How many bytes of it the socket has taken.
    sent: usize,
    /// When the rest is lost.
    until: Instant,
}

impl<S: AsyncUdpSocket> Sockets<S> {
    /// Binds a socket to each address.
    pub(crate) fn bind(
        runtime: &impl Runtime<Socket = S>,
        addresses: &[SocketAddr],
    ) -> Result<Self, StartError> {
        let bind = |&address| {
            Socket::bind(runtime, address).map_err(|error| StartError::Bind { address, error })
        };
        Ok(Self {
            sockets: addresses.iter().map(bind).collect::<Result<_, _>>()?,
            receive_buffers: ReceiveBuffers::new(),
            transmit_buffer: Vec::new(),
            blocked: None,
        })
    }

    /// The addresses that the sockets are bound to.
    pub(crate) fn locals(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|socket| socket.local).collect()
    }

    /// The buffer into which the node writes datagrams.
    pub(crate) fn transmit_buffer(&mut self) -> &mut Vec<u8> {
        &mut self.transmit_buffer
    }

    /// Sends what is in the buffer, unless the socket blocks.
    pub(crate) fn send(&mut self, transmit: Transmit) {
        self.send_rest(Blocked { transmit, sent: 0, until: Instant::now() + BLOCKED_TIME_MAX });
    }

    /// Tries again to send what a socket has not taken; it is lost if the time is over.
    pub(crate) fn retry(&mut self, now: Instant) {
        match self.blocked.take() {
            Some(blocked) if now < blocked.until => self.send_rest(blocked),
            Some(Blocked { transmit, .. }) => {
                tracing::debug!(local = %transmit.local, "datagrams not sent: the socket blocks");
            }
            None => {}
        }
    }

    fn send_rest(&mut self, mut rest: Blocked) {
        let socket = self.sockets.iter().find(|socket| socket.local == rest.transmit.local);
        let Some(socket) = socket else { return };
        if !socket.send(&rest.transmit, &self.transmit_buffer, &mut rest.sent) {
            self.blocked = Some(rest);
        }
    }

    /// Returns whether a socket blocks. Then the buffer is in use.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Ready when the blocked socket takes datagrams again; never if none is blocked.
    pub(crate) fn poll_unblocked(&self, context: &mut Context<'_>) -> Poll<()> {
        let local = self.blocked.as_ref().map(|blocked| blocked.transmit.local);
        let socket = self.sockets.iter().find(|socket| Some(socket.local) == local);
        socket.map_or(Poll::Pending, |socket| socket.poll_writable(context))
    }

    /// Hands over the datagrams that arrived at any socket.
    pub(crate) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
        mut take: impl FnMut(Datagram),
    ) -> Poll<()> {
        let mut received = Poll::Pending;
        for socket in &mut self.sockets {
            // All are polled, so that each wakes the loop.
            if socket.poll_receive(context, now, &mut self.receive_buffers, &mut take).is_ready() {
                received = Poll::Ready(());
            }
        }
        received
    }

    /// When a pause of a socket ends, or what it has not taken is lost.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let blocked = self.blocked.as_ref().map(|blocked| blocked.until);
        let paused = self.sockets.iter().filter_map(|socket| socket.paused_until);
        paused.chain(blocked).min()
    }
}
