//! Class streams: the frames of all connections, and the memory that they take.
//!
//! Each class has a unidirectional stream in each direction, which is opened with its first frame
//! and lasts as long as the connection. A [`ClassStreams`] holds those of one connection. [`Streams`]
//! accounts for all of them:
//!
//! - incomplete frames and windows beyond the first share the pool, see [`credit`];
//! - frames that wait for QUIC share the send buffers.
//!
//! # How it is driven
//!
//! [`Streams::send`] adds a frame, [`Streams::flush`] hands to QUIC what was added, and
//! [`Streams::step`] reads a stream until it needs its owner. When a limit is exceeded, the owner
//! closes the connection that is returned.
//!
//! # Invariants
//!
//! - `reassembly_bytes` and `buffered_bytes` are the sums over all connections that are not over;
//!   `grown_bytes` is that over all connections, since a closed connection keeps its window until
//!   nothing is left of it.
//!
//! # Limits
//!
//! [`SEND_BUFFER_MAX`] and those of [`Limits`].

mod class_stream;
pub(super) mod credit;
mod reading;

use std::collections::BTreeSet;

use bytes::Bytes;

use super::connection::{Connection, Phase};
use super::connections::Connections;
use super::frames::{CloseCode, Control};
use super::{Class, Context, Counter, Output};
use crate::transport::{ConnectionKey, WINDOW_MAX};
use crate::wire;
pub(super) use class_stream::ClassStreams;
pub use class_stream::SEND_BUFFER_MAX;
use credit::TWO_ROUND_TRIPS_MIN;
pub(super) use credit::{Credit, Limits};
use reading::Next;
pub(super) use reading::{Reading, Step};

/// The class streams of all connections.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) limits: Limits,
    /// The bytes of all incomplete frames.
    pub(super) reassembly_bytes: usize,
    /// The windows of all connections, beyond the first of each.
    pub(super) grown_bytes: usize,
    /// The bytes that wait in all send buffers.
    pub(super) buffered_bytes: usize,
    /// The connections with something to hand to QUIC.
    unflushed: BTreeSet<ConnectionKey>,
}

impl Streams {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            reassembly_bytes: 0,
            grown_bytes: 0,
            buffered_bytes: 0,
            unflushed: BTreeSet::new(),
        }
    }

    /// Adds a frame to what a connection sends.
    pub(super) fn send(
        &mut self,
        connections: &mut Connections,
        key: ConnectionKey,
        class: Class,
        header: &[u8],
        payload: &Bytes,
    ) {
        if let Some(connection) = connections.get_mut(key) {
            let sender = connection.streams.sender_mut(class);
            let before = sender.accounted(class);
            sender.push(header, payload);
            self.buffered_bytes = self.buffered_bytes + sender.accounted(class) - before;
            self.unflushed.insert(key);
        }
    }

    /// Adds a control frame to what a connection sends.
    pub(super) fn send_control(
        &mut self,
        connections: &mut Connections,
        key: ConnectionKey,
        record: &Bytes,
    ) {
        self.send(connections, key, Class::Control, &[], record);
    }

    /// Answers a ping, unless the peer does not read its answers.
    pub(super) fn handle_ping(
        &mut self,
        connections: &mut Connections,
        key: ConnectionKey,
        token: u64,
    ) {
        let has_room = connections
            .get(key)
            .is_some_and(|one| one.streams.sender(Class::Control).send_window() > 0);
        if has_room {
            self.send_control(connections, key, &wire::encode(&Control::Pong(token)));
        }
    }

    /// A connection may be written again.
    pub(super) fn writable(&mut self, key: ConnectionKey) {
        self.unflushed.insert(key);
    }

    /// Hands to QUIC what was added, and reports where there is room again.
    pub(super) fn flush(&mut self, context: &mut Context<'_>, connections: &mut Connections) {
        while let Some(key) = self.unflushed.pop_first() {
            let (connection, transport) = connections.parts(key);
            let Some(connection) = connection else { continue };
            for class in Class::ALL {
                let sender = connection.streams.sender_mut(class);
                let before = sender.accounted(class);
                let send_window = sender.flush(transport, key, class);
                self.buffered_bytes = self.buffered_bytes + sender.accounted(class) - before;
                if let (Some(send_window), Phase::Up, Some(machine)) =
                    (send_window, connection.phase, connection.machine)
                {
                    context.emit(Output::Writable { machine, class, send_window });
                }
            }
        }
    }

    /// Returns the connection whose send buffers hold the most, if all of them hold too much: its
    /// peer reads least.
    pub(super) fn over_send_limit(
        &self,
        context: &mut Context<'_>,
        connections: &Connections,
    ) -> Option<ConnectionKey> {
        if self.buffered_bytes <= self.limits.send {
            return None;
        }
        let living = connections.living().map(|(key, one)| (one.streams.send_bytes(), key));
        let (_, key) = living.max()?;
        context.count(Counter::SendBuffersOverLimit);
        Some(key)
    }

    /// Goes on with a read until it needs its owner. Returns `None` when it is done.
    pub(super) fn step(
        &mut self,
        context: &mut Context<'_>,
        connections: &mut Connections,
        reading: &mut Reading,
    ) -> Option<Step> {
        loop {
            let step = match reading.next {
                Next::Fill => {
                    let (connection, transport) = connections.parts(reading.key);
                    reading.fill(context, connection, transport)
                }
                Next::Frames => reading.take_frames(context, connections.get_mut(reading.key)),
                Next::Account => {
                    reading.next = Next::Credit;
                    self.account(context, connections, reading)
                }
                Next::Credit => self.credit_used(context, connections, reading),
                Next::Grow => {
                    reading.next = Next::End;
                    self.grow(connections, reading.key);
                    None
                }
                Next::End => reading.end(context),
                Next::Done => return None,
            };
            if step.is_some() {
                return step;
            }
        }
    }

    /// Returns the connection with the largest window that nobody uses, if that is larger than
    /// `window`.
    pub(super) fn idle_connection(
        context: &mut Context<'_>,
        connections: &Connections,
        window: u32,
    ) -> Option<ConnectionKey> {
        let idle = connections.living().filter(|(_, connection)| {
            let credit = &connection.credit;
            connection.phase == Phase::Up && credit.window() > window && credit.is_idle(context.now)
        });
        let (_, key) = idle.map(|(key, connection)| (connection.credit.window(), key)).max()?;
        context.count(Counter::CreditOverLimit);
        Some(key)
    }

    /// A connection is over: drops what waits in both directions.
    pub(super) fn connection_ended(&mut self, connection: &mut Connection) {
        self.reassembly_bytes -= connection.streams.reassembly_bytes();
        self.buffered_bytes -= connection.streams.send_bytes();
        connection.streams = ClassStreams::default();
    }

    /// Nothing is left of a connection.
    pub(super) fn connection_drained(&mut self, connection: &Connection) {
        self.grown_bytes -= connection.credit.grown();
    }

    /// Accounts for what a stream holds of incomplete frames. Returns the connection that holds the
    /// most of the pool, if all of them hold too much.
    fn account(
        &mut self,
        context: &mut Context<'_>,
        connections: &mut Connections,
        reading: &Reading,
    ) -> Option<Step> {
        let streams = &mut connections.get_mut(reading.key)?.streams;
        let receiver = streams.receiver_mut(reading.stream)?;
        let held = receiver.buffered();
        let before = std::mem::replace(&mut receiver.accounted, held);
        self.reassembly_bytes = self.reassembly_bytes + held - before;
        if self.grown_bytes + self.reassembly_bytes <= self.limits.pool {
            return None;
        }
        let (_, key) = connections.living().map(|(key, one)| (one.pool_bytes(), key)).max()?;
        context.count(Counter::ReassemblyOverLimit);
        Some(Step::Close(key, CloseCode::Protocol))
    }

    /// A peer used its credit. If the window limits it, the next step doubles the window; if there is
    /// no room, an idle connection is closed before.
    fn credit_used(
        &self,
        context: &mut Context<'_>,
        connections: &mut Connections,
        reading: &mut Reading,
    ) -> Option<Step> {
        reading.next = Next::End;
        let (connection, transport) = connections.parts(reading.key);
        let connection = connection?;
        let took = connection.credit.read(context.now, reading.count)?;
        let window = connection.credit.window();
        if connection.phase != Phase::Up || window == WINDOW_MAX {
            return None;
        }
        let round_trip = transport.round_trip(reading.key).unwrap_or_default();
        if took > (2 * round_trip).max(TWO_ROUND_TRIPS_MIN) {
            return None;
        }
        reading.next = Next::Grow;
        if self.has_room(window) {
            return None;
        }
        let idle = Self::idle_connection(context, connections, window)?;
        Some(Step::Close(idle, CloseCode::Bye))
    }

    /// Doubles the window of a connection, if there is room.
    fn grow(&mut self, connections: &mut Connections, key: ConnectionKey) {
        let (connection, transport) = connections.parts(key);
        let Some(connection) = connection else { return };
        let window = connection.credit.window();
        if self.has_room(window) {
            self.grown_bytes += window as usize;
            transport.set_window(key, connection.credit.double());
        }
    }

    /// Returns whether the pool has room for this many more bytes of windows.
    fn has_room(&self, bytes: u32) -> bool {
        let grown = self.grown_bytes + bytes as usize;
        grown <= self.limits.windows() && grown + self.reassembly_bytes <= self.limits.pool
    }
}
