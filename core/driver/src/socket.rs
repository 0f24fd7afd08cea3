//! One UDP socket with segmentation offload and congestion notification, through `quinn-udp`.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use x0x_core::transport::{Datagram, Ecn, Transmit};

use crate::runtime::{AsyncUdpSocket, Direction, Runtime};

/// How many batches of datagrams are taken from a socket at once.
pub const RECEIVES_MAX: usize = 4;

/// How long a socket is not read after [`RECEIVES_MAX`] errors in a row. A socket whose every receive
/// fails would keep the loop busy.
pub const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// What is asked of the system for each direction of a socket: enough for some milliseconds at a
/// gigabyte a second. The system may give less.
const BUFFER_BYTES: usize = 4 << 20;

/// The largest datagram, or run of datagrams received as one.
const RECEIVE_BYTES: usize = 64 << 10;

/// One socket.
pub(crate) struct Socket<S> {
    /// Its address, as the node knows it.
    pub(crate) local: SocketAddr,
    io: S,
    state: UdpSocketState,
    /// Until when it is not read.
    pub(crate) paused_until: Option<Instant>,
}

impl<S: AsyncUdpSocket> Socket<S> {
    pub(crate) fn bind(
        runtime: &impl Runtime<Socket = S>,
        address: SocketAddr,
    ) -> io::Result<Self> {
        let raw =
            match RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)) {
                Ok(raw) => raw,
                // A system without IPv6: what was to serve both serves IPv4.
                Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
                    return Self::bind(runtime, (Ipv4Addr::UNSPECIFIED, address.port()).into());
                }
                Err(error) => return Err(error),
            };
        if address.is_ipv6() {
            raw.set_only_v6(false)?;
        }
        raw.set_nonblocking(true)?;
        raw.bind(&address.into())?;
        let socket = UdpSocket::from(raw);
        let state = UdpSocketState::new((&socket).into())?;
        // Smaller buffers work, less well.
        let _ = state.set_send_buffer_size((&socket).into(), BUFFER_BYTES);
        let _ = state.set_recv_buffer_size((&socket).into(), BUFFER_BYTES);
        let local = socket.local_addr()?;
        Ok(Self { local, io: runtime.wrap_udp_socket(socket)?, state, paused_until: None })
    }

    /// Sends datagrams from `buf`, of which the first `sent` bytes are sent already. Returns whether
    /// all are sent; if not, the socket is blocked. An error loses the datagrams.
    pub(crate) fn send(&self, transmit: &Transmit, buf: &[u8], sent: &mut usize) -> bool {
        let segment = transmit.segment_size.unwrap_or(transmit.size);
        let at_once = segment * self.state.max_gso_segments();
        while *sent < transmit.size {
            let contents = &buf[*sent..transmit.size.min(*sent + at_once)];
            let datagrams = quinn_udp::Transmit {
                destination: self.reachable(transmit.target),
                ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn.bits())),
                contents,
                segment_size: (contents.len() > segment).then_some(segment),
                src_ip: None,
            };
            let send = |socket: quinn_udp::UdpSockRef<'_>| self.state.try_send(socket, &datagrams);
            match self.io.try_io(Direction::Send, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::debug!(target = %transmit.target, %error, "datagrams not sent");
                }
                Ok(()) => {}
            }
            *sent += contents.len();
        }
        true
    }

    /// Receives up to [`RECEIVES_MAX`] batches if there are any, and hands over each datagram.
    pub(crate) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
        buffers: &mut ReceiveBuffers,
        take: &mut impl FnMut(Datagram),
    ) -> Poll<()> {
        if self.paused_until.is_some_and(|until| now < until) {
            return Poll::Pending;
        }
        self.paused_until = None;
        let readable = ready!(self.io.poll_readable(context));
        let mut errors = 0;
        for _ in 0..RECEIVES_MAX {
            match readable.as_ref().map_or(Ok(()), |()| self.receive(buffers, take)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A message of the network about an earlier datagram, mostly.
                Err(error) => {
                    tracing::debug!(local = %self.local, %error, "not received");
                    errors += 1;
                }
            }
        }
        if errors == RECEIVES_MAX {
            self.paused_until = Some(now + RECEIVE_PAUSE);
        }
        Poll::Ready(())
    }

    /// Receives one batch and hands over each datagram.
    fn receive(
        &self,
        buffers: &mut ReceiveBuffers,
        take: &mut impl FnMut(Datagram),
    ) -> io::Result<()> {
        let ReceiveBuffers { bytes, metas } = buffers;
        let mut chunks = bytes.chunks_mut(RECEIVE_BYTES).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| chunks.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let receive =
            |socket: quinn_udp::UdpSockRef<'_>| self.state.recv(socket, &mut slices, metas);
        let count = self.io.try_io(Direction::Receive, receive)?;
        for (meta, bytes) in metas.iter().zip(&slices).take(count) {
            let mut batch = BytesMut::from(&bytes[..meta.len]);
            while !batch.is_empty() {
                let payload = batch.split_to(meta.stride.clamp(1, batch.len()));
                let ecn = meta.ecn.and_then(|ecn| Ecn::from_bits(ecn as u8));
                take(Datagram { source: meta.addr, local: self.local, ecn, payload });
            }
        }
        Ok(())
    }

    /// Ready when a blocked socket takes datagrams again.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error shows when the socket is written.
        self.io.poll_writable(context).map(|_| ())
    }

    /// The address in the form that the socket's family takes.
    fn reachable(&self, target: SocketAddr) -> SocketAddr {
        match target {
            SocketAddr::V4(v4) if self.local.is_ipv6() => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            SocketAddr::V4(_) | SocketAddr::V6(_) => target,
        }
    }
}

/// Memory for one batch of receives.
pub(crate) struct ReceiveBuffers {
    bytes: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl ReceiveBuffers {
    pub(crate) fn new() -> Self {
        let bytes = vec![0; RECEIVE_BYTES * BATCH_SIZE].into_boxed_slice();
        Self { bytes, metas: [RecvMeta::default(); BATCH_SIZE] }
    }
}
