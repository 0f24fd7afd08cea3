//! The streams of a connection: unidirectional, one for each class of messages and direction.

use bytes::Bytes;
use quinn_proto::{Dir, ReadError};

use super::{ConnectionKey, State};

/// A stream of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) quinn_proto::StreamId);

/// What a read ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// More may come.
    Open,
    /// The peer finished or reset the stream.
    Closed,
}

impl State {
    /// Opens a stream with a priority: the greater is sent first. Returns nothing while the peer
    /// allows no more streams.
    pub fn open_stream(&mut self, key: ConnectionKey, priority: i32) -> Option<StreamId> {
        let entry = self.connections.get_mut(&key)?;
        let id = entry.connection.streams().open(Dir::Uni)?;
        // A stream that was opened in this very step is not closed.
        let _ = entry.connection.send_stream(id).set_priority(priority);
        Some(StreamId(id))
    }

    /// Takes the next stream that the peer opened.
    pub fn accept_stream(&mut self, key: ConnectionKey) -> Option<StreamId> {
        let entry = self.connections.get_mut(&key)?;
        entry.connection.streams().accept(Dir::Uni).map(StreamId)
    }

    /// Writes as much of the chunks as there is room for and takes it out of them. Returns how
    /// many bytes were written; fewer than there are means that [`Event::Writable`] follows.
    ///
    /// [`Event::Writable`]: super::Event::Writable
    pub fn write(&mut self, key: ConnectionKey, stream: StreamId, chunks: &mut [Bytes]) -> usize {
        let Some(entry) = self.connections.get_mut(&key) else { return 0 };
        let mut total = 0;
        let mut rest = chunks;
        while !rest.is_empty() {
            match entry.connection.send_stream(stream.0).write_chunks(rest) {
                Ok(written) => {
                    total += written.bytes;
                    rest = &mut rest[written.chunks..];
                }
                // Blocked: the event follows. Stopped or closed: the peer wants no more of this
                // class, or the connection is ending; either way nothing can be sent.
                Err(_) => break,
            }
        }
        if total > 0 {
            self.drive(key);
        }
        total
    }

    /// Reads what has arrived on a stream, chunk by chunk, at most `size_max` bytes.
    pub fn read(
        &mut self,
        key: ConnectionKey,
        stream: StreamId,
        mut size_max: usize,
        mut take: impl FnMut(Bytes),
    ) -> ReadEnd {
        let Some(entry) = self.connections.get_mut(&key) else { return ReadEnd::Closed };
        let mut source = entry.connection.recv_stream(stream.0);
        let Ok(mut chunks) = source.read(true) else { return ReadEnd::Closed };
        let end = loop {
            match chunks.next(size_max) {
                Ok(Some(chunk)) => {
                    size_max -= chunk.bytes.len();
                    take(chunk.bytes);
                }
                Ok(None) | Err(ReadError::Reset(_)) => break ReadEnd::Closed,
                Err(ReadError::Blocked) => break ReadEnd::Open,
            }
            if size_max == 0 {
                break ReadEnd::Open;
            }
        };
        if chunks.finalize().should_transmit() {
            self.drive(key);
        }
        end
    }
}
