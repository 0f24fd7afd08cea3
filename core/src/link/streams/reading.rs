//! The reading of one class stream: from chunks to frames, and to the credit that they used.
//!
//! What a frame causes may close the connection, or read the same stream from within. So reading is
//! a small state machine: [`Streams::step`](super::Streams::step) runs until it needs its owner, and
//! looks everything up again after that.

use bytes::Bytes;

use super::super::connection::{Connection, Phase};
use super::super::frames::CloseCode;
use super::super::{Class, Context, Counter, Output};
use crate::transport::{ConnectionKey, ReadEnd, State as Transport, StreamId};
use crate::wire::FrameReader;

/// The most bytes that are read from a stream before its frames are taken.
const READ_BYTES_MAX: usize = 256 * 1024;

/// A read under way.
#[derive(Debug)]
pub(in crate::link) struct Reading {
    pub(super) key: ConnectionKey,
    pub(super) stream: StreamId,
    pub(super) next: Next,
    /// The bytes that were read since the last [`Next::Fill`].
    pub(super) count: usize,
    end: ReadEnd,
}

/// What a read does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read bytes.
    Fill,
    /// Take the frames out of them.
    Frames,
    /// Account for what is left.
    Account,
    /// Count the bytes as used credit.
    Credit,
    /// Double the window, if it fits by now.
    Grow,
    /// Read on, or end.
    End,
    Done,
}

/// What a read needs of its owner.
#[derive(Debug)]
pub(in crate::link) enum Step {
    /// Handle a control frame of the connection that is read.
    Control(Bytes),
    /// Close a connection, which may be another one.
    Close(ConnectionKey, CloseCode),
}

impl Reading {
    pub(in crate::link) fn new(key: ConnectionKey, stream: StreamId) -> Self {
        Self { key, stream, next: Next::Fill, count: 0, end: ReadEnd::Open }
    }

    /// Reads bytes.
    pub(super) fn fill(
        &mut self,
        context: &mut Context<'_>,
        connection: Option<&mut Connection>,
        transport: &mut Transport,
    ) -> Option<Step> {
        self.next = Next::Done;
        let connection = connection?;
        if connection.phase == Phase::Over {
            return None;
        }
        let (phase, streams) = (connection.phase, &mut connection.streams);
        if streams.receiver_mut(self.stream)?.open.is_none() {
            return self.open(context, connection, transport);
        }
        let (class, reader) = streams.receiver_mut(self.stream)?.open.as_mut()?;
        if *class != Class::Control && phase != Phase::Up {
            return None;
        }
        self.count = 0;
        self.end = transport.read(self.key, self.stream, READ_BYTES_MAX, |chunk| {
            self.count += chunk.len();
            reader.push(chunk);
        });
        self.next = Next::Frames;
        None
    }

    /// Reads the first byte of a stream, its class.
    fn open(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        transport: &mut Transport,
    ) -> Option<Step> {
        let mut first = None;
        let end = transport.read(self.key, self.stream, 1, |chunk| first = chunk.first().copied());
        let streams = &mut connection.streams;
        match first.map(Class::from_code) {
            Some(Some(class)) if !streams.is_open(class) => {
                let reader = FrameReader::new(class.frame_size_max());
                streams.receiver_mut(self.stream)?.open = Some((class, reader));
                self.next = Next::Fill;
                None
            }
            None if end == ReadEnd::Open => None,
            Some(_) | None => Some(self.violation(context)),
        }
    }

    /// Reports frames, until one is for the link itself.
    pub(super) fn take_frames(
        &mut self,
        context: &mut Context<'_>,
        connection: Option<&mut Connection>,
    ) -> Option<Step> {
        let Some(connection) = connection.filter(|one| one.phase != Phase::Over) else {
            self.next = Next::Account;
            return None;
        };
        let machine = connection.machine;
        let receiver = connection.streams.receiver_mut(self.stream);
        let Some((class, reader)) = receiver.and_then(|receiver| receiver.open.as_mut()) else {
            self.next = Next::Account;
            return None;
        };
        loop {
            match (reader.next(), machine) {
                (Ok(Some(frame)), Some(_)) if *class == Class::Control => {
                    return Some(Step::Control(frame));
                }
                (Ok(Some(frame)), Some(machine)) => {
                    context.emit(Output::Frame { machine, class: *class, frame });
                }
                (Ok(None), _) => {
                    self.next = Next::Account;
                    return None;
                }
                (Err(_), _) | (Ok(Some(_)), None) => {
                    self.next = Next::Account;
                    return Some(self.violation(context));
                }
            }
        }
    }

    /// Ends the read, or goes on if more may have arrived.
    pub(super) fn end(&mut self, context: &mut Context<'_>) -> Option<Step> {
        self.next = if self.count < READ_BYTES_MAX { Next::Done } else { Next::Fill };
        if self.end == ReadEnd::Closed {
            // A class stream lasts as long as the session.
            self.next = Next::Done;
            return Some(self.violation(context));
        }
        None
    }

    fn violation(&self, context: &mut Context<'_>) -> Step {
        context.count(Counter::ProtocolViolations);
        Step::Close(self.key, CloseCode::Protocol)
    }
}
