//! The stream of one class: its frames on the way out and on the way in.
//!
//! Outgoing frames are staged in one buffer and handed to QUIC in one piece, so that small messages
//! share packets. A stream buffers up to [`SEND_BUFFER_MAX`] bytes; the sender learns when there is
//! room again. QUIC has its own window on top, see
//! [`STREAM_WINDOW`](crate::transport::STREAM_WINDOW).

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::super::Class;
use crate::transport::{ConnectionKey, PEER_STREAMS_MAX, State as Transport, StreamId};
use crate::wire::{FrameReader, varint, write_frame};

/// The most bytes that wait in the buffer of a stream before QUIC takes them. One frame may exceed
/// it.
pub const SEND_BUFFER_MAX: usize = 256 * 1024;

/// A payload above this size is not copied into the buffer.
const COPY_MAX: usize = 8 * 1024;

/// The sending end of a class stream.
#[derive(Debug)]
pub(in crate::link) struct SendStream {
    stream: Option<StreamId>,
    staged: BytesMut,
    chunks: VecDeque<Bytes>,
    chunk_bytes: usize,
    /// What is left of the window that the sender knows.
    granted: usize,
}

impl Default for SendStream {
    fn default() -> Self {
        Self {
            stream: None,
            staged: BytesMut::new(),
            chunks: VecDeque::new(),
            chunk_bytes: 0,
            granted: SEND_BUFFER_MAX,
        }
    }
}

impl SendStream {
    /// Returns how many bytes may be added now.
    pub(in crate::link) fn send_window(&self) -> usize {
        SEND_BUFFER_MAX.saturating_sub(self.waiting())
    }

    /// Returns how many bytes count towards the send buffers of the node. A direct message that waits
    /// here is also held, and bounded, where the application handed it over; so a stream of direct
    /// messages counts for at most [`SEND_BUFFER_MAX`].
    pub(in crate::link) fn accounted(&self, class: Class) -> usize {
        match class {
            Class::Direct => self.waiting().min(SEND_BUFFER_MAX),
            Class::Control | Class::Gossip | Class::Bulk => self.waiting(),
        }
    }

    /// Adds a frame made of a header and a payload.
    pub(super) fn push(&mut self, header: &[u8], payload: &Bytes) {
        if payload.len() <= COPY_MAX {
            write_frame(&mut self.staged, &[header, payload]);
        } else {
            let size = u64::try_from(header.len() + payload.len()).unwrap_or(u64::MAX);
            varint::write(&mut self.staged, size);
            self.staged.put_slice(header);
            self.seal();
            self.chunk_bytes += payload.len();
            self.chunks.push_back(payload.clone());
        }
        self.granted = self.granted.saturating_sub(header.len() + payload.len());
    }

    /// Hands to QUIC what it takes. Returns the new window if the sender used more than half of the
    /// one that it knows.
    pub(super) fn flush(
        &mut self,
        transport: &mut Transport,
        key: ConnectionKey,
        class: Class,
    ) -> Option<usize> {
        if self.stream.is_none() && !(self.staged.is_empty() && self.chunks.is_empty()) {
            self.stream = Some(transport.open_stream(key, class.priority())?);
            self.chunks.push_front(Bytes::copy_from_slice(&[class.code()]));
            self.chunk_bytes += 1;
        }
        self.seal();
        let stream = self.stream?;
        if !self.chunks.is_empty() {
            let written = transport.write(key, stream, self.chunks.make_contiguous());
            self.chunk_bytes -= written;
            while self.chunks.front().is_some_and(Bytes::is_empty) {
                self.chunks.pop_front();
            }
        }
        let half = SEND_BUFFER_MAX / 2;
        if self.granted < half && self.send_window() >= half {
            self.granted = self.send_window();
            return Some(self.granted);
        }
        None
    }

    /// Returns how many bytes wait.
    fn waiting(&self) -> usize {
        self.chunk_bytes + self.staged.len()
    }

    fn seal(&mut self) {
        if !self.staged.is_empty() {
            let chunk = self.staged.split().freeze();
            self.chunk_bytes += chunk.len();
            self.chunks.push_back(chunk);
        }
    }
}

/// The receiving end of a class stream.
#[derive(Debug)]
pub(super) struct ReceiveStream {
    pub(super) stream: StreamId,
    /// The class and the frames that arrive. Known once the first byte has arrived.
    pub(super) open: Option<(Class, FrameReader)>,
    /// How many bytes of incomplete frames are accounted for, see [`credit`](super::credit).
    pub(super) accounted: usize,
}

impl ReceiveStream {
    fn new(stream: StreamId) -> Self {
        Self { stream, open: None, accounted: 0 }
    }

    /// Returns how many bytes of incomplete frames it holds.
    pub(super) fn buffered(&self) -> usize {
        self.open.as_ref().map_or(0, |(_, reader)| reader.buffered())
    }
}

/// The class streams of one connection, in both directions.
#[derive(Debug, Default)]
pub(in crate::link) struct ClassStreams {
    send: [SendStream; Class::ALL.len()],
    /// In the order in which the peer opened them.
    receive: Vec<ReceiveStream>,
}

impl ClassStreams {
    pub(in crate::link) fn sender(&self, class: Class) -> &SendStream {
        &self.send[usize::from(class.code())]
    }

    pub(super) fn sender_mut(&mut self, class: Class) -> &mut SendStream {
        &mut self.send[usize::from(class.code())]
    }

    /// Adds a stream that the peer opened.
    ///
    /// # Panics
    ///
    /// If there are [`PEER_STREAMS_MAX`] already: QUIC lets a peer open no more.
    pub(in crate::link) fn accept(&mut self, stream: StreamId) {
        assert!(self.receive.len() < PEER_STREAMS_MAX as usize, "QUIC limits the streams");
        self.receive.push(ReceiveStream::new(stream));
    }

    /// Returns the streams that the peer opened, in their order.
    pub(in crate::link) fn accepted(&self) -> impl ExactSizeIterator<Item = StreamId> {
        self.receive.iter().map(|receiver| receiver.stream)
    }

    pub(super) fn receiver_mut(&mut self, stream: StreamId) -> Option<&mut ReceiveStream> {
        self.receive.iter_mut().find(|receiver| receiver.stream == stream)
    }

    /// Returns whether the peer opened a stream of a class.
    pub(super) fn is_open(&self, class: Class) -> bool {
        self.receive.iter().flat_map(|receiver| &receiver.open).any(|open| open.0 == class)
    }

    /// Returns how many bytes wait for QUIC, as they count towards the send buffers of the node, see
    /// [`SendStream::accounted`].
    pub(super) fn send_bytes(&self) -> usize {
        Class::ALL.into_iter().map(|class| self.sender(class).accounted(class)).sum()
    }

    /// Returns how many bytes of incomplete frames are accounted for.
    pub(in crate::link) fn reassembly_bytes(&self) -> usize {
        self.receive.iter().map(|receiver| receiver.accounted).sum()
    }
}
