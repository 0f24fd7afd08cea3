//! Lanes: the frames of one class on one stream.
//!
//! Frames are staged in one buffer and handed to the stream in one piece, so that many small
//! messages share packets. A lane has room for [`LANE_BYTES_MAX`]; the sender is told when there is
//! room again. The stream has its own window on top, see
//! [`STREAM_WINDOW`](crate::transport::STREAM_WINDOW).

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::Class;
use crate::transport::{ConnectionKey, State as Transport, StreamId};
use crate::wire::{FrameReader, varint, write_frame};

/// How many bytes may wait in a lane before its stream takes them. One frame may overshoot.
pub const LANE_BYTES_MAX: usize = 256 * 1024;

/// A payload of this size travels as it is, without a copy into the lane's buffer.
const COPY_MAX: usize = 8 * 1024;

/// The sending end.
#[derive(Debug)]
pub(super) struct OutLane {
    stream: Option<StreamId>,
    staged: BytesMut,
    chunks: VecDeque<Bytes>,
    chunk_bytes: usize,
    /// What is left of the room that the sender was told of.
    granted: usize,
}

impl Default for OutLane {
    fn default() -> Self {
        Self {
            stream: None,
            staged: BytesMut::new(),
            chunks: VecDeque::new(),
            chunk_bytes: 0,
            granted: LANE_BYTES_MAX,
        }
    }
}

impl OutLane {
    /// How many bytes may be added now.
    pub(super) fn room(&self) -> usize {
        LANE_BYTES_MAX.saturating_sub(self.waiting())
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.chunk_bytes + self.staged.len()
    }

    /// How many bytes count towards what all lanes hold together. A direct message that waits here is
    /// also held, and bounded, where the application handed it over; so it counts as what a lane
    /// takes.
    pub(super) fn accounted(&self, class: Class) -> usize {
        match class {
            Class::Direct => self.waiting().min(LANE_BYTES_MAX),
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

    /// Hands to the stream what it takes. Returns the new room, if the sender used up half of what
    /// it was told of.
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
        let half = LANE_BYTES_MAX / 2;
        if self.granted < half && self.room() >= half {
            self.granted = self.room();
            return Some(self.granted);
        }
        None
    }

    fn seal(&mut self) {
        if !self.staged.is_empty() {
            let chunk = self.staged.split().freeze();
            self.chunk_bytes += chunk.len();
            self.chunks.push_back(chunk);
        }
    }
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct InLane {
    pub(super) stream: StreamId,
    /// Known once the first byte has arrived, and the reader with it.
    pub(super) open: Option<(Class, FrameReader)>,
    /// How many bytes of it are accounted for, see [`credit`](super::credit).
    pub(super) accounted: usize,
}

impl InLane {
    pub(super) fn new(stream: StreamId) -> Self {
        Self { stream, open: None, accounted: 0 }
    }

    /// How many bytes of frames that are not complete it holds.
    pub(super) fn buffered(&self) -> usize {
        self.open.as_ref().map_or(0, |(_, reader)| reader.buffered())
    }
}
