//! Streams in: from chunks to frames.

use super::connection::Phase;
use super::frames::{self, CloseCode, Control};
use super::lanes::InLane;
use super::{Class, Context, Output, State};
use crate::link::Counter;
use crate::transport::{ConnectionKey, Event, PEER_STREAMS_MAX, ReadEnd, StreamId};
use crate::wire::{self, FrameReader};

/// How much is read from a stream before its frames are taken.
const READ_BYTES_MAX: usize = 256 * 1024;

impl State {
    /// Handles what QUIC has to tell, until there is nothing.
    pub(super) fn drain_transport(&mut self, context: &mut Context<'_>) {
        while let Some((key, event)) = self.transport.poll_event() {
            match event {
                Event::Established { peer, side: _, is_resumed } => {
                    if is_resumed {
                        context.count(Counter::HandshakesResumed);
                    }
                    self.established(context, key, &peer);
                }
                Event::Opened => self.accept_streams(context, key),
                Event::Readable(stream) => self.read(context, key, stream),
                Event::Writable(_) => {
                    self.unflushed.insert(key);
                }
                Event::Stopped(_) => self.violated(context, key),
                Event::Lost(reason) => self.lost(context, key, reason),
                Event::Drained => self.drained(key),
            }
        }
    }

    /// Reads everything that waited until the session came up.
    pub(super) fn read_all(&mut self, context: &mut Context<'_>, key: ConnectionKey) {
        let streams: Vec<StreamId> = match self.connections.get(&key) {
            Some(connection) => connection.lanes.iter().map(|lane| lane.stream).collect(),
            None => return,
        };
        for stream in streams {
            self.read(context, key, stream);
        }
    }

    fn accept_streams(&mut self, context: &mut Context<'_>, key: ConnectionKey) {
        while let Some(stream) = self.transport.accept_stream(key) {
            let Some(connection) = self.connections.get_mut(&key) else { return };
            assert!(
                connection.lanes.len() < PEER_STREAMS_MAX as usize,
                "QUIC lets a peer open no more streams"
            );
            connection.lanes.push(InLane::new(stream));
            self.read(context, key, stream);
        }
    }

    fn read(&mut self, context: &mut Context<'_>, key: ConnectionKey, stream: StreamId) {
        loop {
            let Some(connection) = self.connections.get_mut(&key) else { return };
            let Some(index) = connection.lane_of(stream) else { return };
            let lane = &mut connection.lanes[index];
            if connection.phase == Phase::Over {
                return;
            }
            let Some((class, reader)) = &mut lane.open else {
                if !self.open_lane(context, key, stream, index) {
                    return;
                }
                continue;
            };
            let class = *class;
            if class != Class::Control && connection.phase != Phase::Up {
                return;
            }
            let mut count = 0;
            let end = self.transport.read(key, stream, READ_BYTES_MAX, |chunk| {
                count += chunk.len();
                reader.push(chunk);
            });
            self.take_frames(context, key, index, class);
            self.account(context, key, index);
            self.credit_used(context, key, count);
            if end == ReadEnd::Closed {
                // A class lives as long as the session.
                return self.violated(context, key);
            }
            if count < READ_BYTES_MAX {
                return;
            }
        }
    }

    /// Reads the first byte of a stream, its class. Returns whether the lane is open.
    fn open_lane(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        stream: StreamId,
        index: usize,
    ) -> bool {
        let mut first = None;
        let end = self.transport.read(key, stream, 1, |chunk| first = chunk.first().copied());
        let Some(connection) = self.connections.get_mut(&key) else { return false };
        let Some(code) = first else {
            if end == ReadEnd::Closed {
                self.violated(context, key);
            }
            return false;
        };
        let in_use = |class| connection.lanes.iter().flat_map(|l| &l.open).any(|o| o.0 == class);
        match Class::from_code(code) {
            Some(class) if !in_use(class) => {
                let reader = FrameReader::new(class.frame_size_max());
                connection.lanes[index].open = Some((class, reader));
                true
            }
            Some(_) | None => {
                self.violated(context, key);
                false
            }
        }
    }

    fn take_frames(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        index: usize,
        class: Class,
    ) {
        loop {
            let Some(connection) = self.connections.get_mut(&key) else { return };
            if connection.phase == Phase::Over {
                return;
            }
            let machine = connection.machine;
            let Some((_, reader)) = &mut connection.lanes[index].open else { return };
            match (reader.next(), machine) {
                (Ok(Some(frame)), Some(_)) if class == Class::Control => {
                    self.handle_control(context, key, &frame);
                }
                (Ok(Some(frame)), Some(machine)) => {
                    context.emit(Output::Frame { machine, class, frame });
                }
                (Ok(None), _) => return,
                (Err(_), _) | (Ok(Some(_)), None) => return self.violated(context, key),
            }
        }
    }

    fn handle_control(&mut self, context: &mut Context<'_>, key: ConnectionKey, frame: &[u8]) {
        let phase = self.connections.get(&key).map(|connection| connection.phase);
        match (wire::decode::<Control>(frame), phase) {
            (Ok(Control::Hello(hello)), Some(Phase::AwaitingHello)) => {
                self.handle_hello(context, key, &hello);
            }
            (Ok(Control::Rebind(bindings)), Some(Phase::Up)) => {
                self.handle_rebind(context, key, &bindings);
            }
            (Ok(Control::Ping(token)), Some(Phase::Up)) => self.handle_ping(key, token),
            (Ok(Control::Pong(token)), Some(Phase::Up)) => self.handle_pong(context, key, token),
            (Ok(_) | Err(_), _) => {
                self.violated(context, key);
            }
        }
    }

    fn handle_rebind(
        &mut self,
        context: &mut Context<'_>,
        key: ConnectionKey,
        bindings: &frames::Bindings,
    ) {
        let Some(connection) = self.connections.get(&key) else { return };
        let (Some(machine), address) = (connection.machine, connection.path.current().remote)
        else {
            return;
        };
        let Some(residents) = self.prove_agents(context, key, machine, bindings) else {
            return self.close(context, key, CloseCode::BadBinding);
        };
        // Agents neither come nor go while a session lasts: frames name them by index.
        let agents = residents.iter().map(|resident| &resident.agent);
        if self.sessions.get(&machine).is_some_and(|session| session.agents.iter().eq(agents)) {
            self.note_peer(context, machine, address, &residents);
        } else {
            self.violated(context, key);
        }
    }

    /// The peer broke a rule: that ends the connection.
    pub(super) fn violated(&mut self, context: &mut Context<'_>, key: ConnectionKey) {
        context.count(Counter::ProtocolViolations);
        self.close(context, key, CloseCode::Protocol);
    }

    /// The application above found that a peer broke a rule.
    pub fn misbehaved(&mut self, context: &mut Context<'_>, machine: &crate::identity::MachineId) {
        if let Some(key) = self.sessions.get(machine).map(|session| session.connection) {
            self.violated(context, key);
        }
    }
}
