//! UDP sockets with segmentation offload and congestion notification, through `quinn-udp`.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use x0x_core::transport::{Datagram, Ecn, Transmit};

use crate::StartError;

/// What is asked of the system for each direction of a socket: enough for some milliseconds at a
/// gigabyte a second. The system may give less.
const BUFFER_BYTES: usize = 4 << 20;

/// The largest datagram, or run of datagrams received as one.
const RECEIVE_BYTES: usize = 64 << 10;

/// One socket.
pub(crate) struct Socket {
    /// Its address, as the node knows it.
    pub(crate) local: SocketAddr,
    socket: UdpSocket,
    state: UdpSocketState,
}

/// Binds a socket to each address.
pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Vec<Socket>, StartError> {
    let bind =
        |&address| Socket::bind(address).map_err(|error| StartError::Bind { address, error });
    addresses.iter().map(bind).collect()
}

impl Socket {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let raw =
            match RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)) {
                Ok(raw) => raw,
                // A system without IPv6: what was to serve both serves IPv4.
                Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
                    return Self::bind((Ipv4Addr::UNSPECIFIED, address.port()).into());
                }
                Err(error) => return Err(error),
            };
        if address.is_ipv6() {
            raw.set_only_v6(false)?;
        }
        raw.set_nonblocking(true)?;
        raw.bind(&address.into())?;
        let socket = UdpSocket::from_std(raw.into())?;
        let state = UdpSocketState::new((&socket).into())?;
        // Smaller buffers work, less well.
        let _ = state.set_send_buffer_size((&socket).into(), BUFFER_BYTES);
        let _ = state.set_recv_buffer_size((&socket).into(), BUFFER_BYTES);
        Ok(Self { local: socket.local_addr()?, socket, state })
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
            let send = || self.state.try_send((&self.socket).into(), &datagrams);
            match self.socket.try_io(Interest::WRITABLE, send) {
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

    /// Receives one batch and hands over each datagram.
    pub(crate) fn receive(
        &self,
        buffers: &mut ReceiveBuffers,
        mut take: impl FnMut(Datagram),
    ) -> io::Result<()> {
        let ReceiveBuffers { bytes, metas } = buffers;
        let mut chunks = bytes.chunks_mut(RECEIVE_BYTES).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| chunks.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let receive = || self.state.recv((&self.socket).into(), &mut slices, metas);
        let count = self.socket.try_io(Interest::READABLE, receive)?;
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

    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error shows when the socket is read.
        self.socket.poll_recv_ready(context).map(|_| ())
    }

    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_send_ready(context).map(|_| ())
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
