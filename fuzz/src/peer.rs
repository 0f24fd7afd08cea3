//! A peer that proved its key and then sends what it likes: arbitrary bytes on its streams, and
//! probes with a right MAC and arbitrary content.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use x0x_core::crypto::tls::{KeyExchange, WallClock};
use x0x_core::identity::{AgentBinding, AgentKey, MachineKey, Validity};
use x0x_core::link::fuzzing::make_control;
use x0x_core::node::Event;
use x0x_core::path::fuzzing::authenticated;
use x0x_core::path::{EXPORT_LABEL, EXPORT_LEN};
use x0x_core::support::Rng;
use x0x_core::transport::{
    ConnectionKey, Event as Quic, Received, State, StreamId, TlsIdentity, TransportSettings,
};
use x0x_core::wire::write_frame;

use crate::bench::{Bench, Who, address, socket};
use crate::fixture::UNIX_TIME;
use crate::input::Input;
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;

/// Returns the keys of the other node.
pub(crate) fn keys() -> (MachineKey, AgentKey) {
    static KEYS: LazyLock<(MachineKey, AgentKey)> =
        LazyLock::new(|| (MachineKey::from_seed(&[11; 32]), AgentKey::from_seed(&[12; 32])));
    KEYS.clone()
}

/// Returns a binding of the other node's agent.
pub(crate) fn binding() -> Bytes {
    static BINDING: LazyLock<Bytes> = LazyLock::new(|| {
        let (machine, agent) = keys();
        let validity = Validity::starting_at(UNIX_TIME);
        AgentBinding::issue(&agent, machine.id(), validity, 1, None, &[13; 32]).bytes().clone()
    });
    BINDING.clone()
}

/// Any behaviour of a peer whose key is proven.
pub fn peer_streams(data: &[u8]) {
    let mut world = after_steps(data);
    world.bench.pass(Duration::from_secs(120));
}

/// Returns the node and its peer as they are after the last step.
pub(crate) fn after_steps(data: &[u8]) -> World {
    let mut world = World::new();
    world.run(4);
    let mut input = Input::new(data);
    while !input.is_empty() {
        world.step(&mut input);
        world.run(1);
    }
    world.run(3);
    world
}

/// The node and its peer.
pub(crate) struct World {
    bench: Bench,
    peer: State,
    clock: WallClock,
    connection: ConnectionKey,
    exported: Option<[u8; EXPORT_LEN]>,
    streams: BTreeMap<u8, StreamId>,
    /// What was written and not yet taken by its stream.
    unwritten: BTreeMap<u8, Vec<Bytes>>,
    /// Whether the node has a session with the peer.
    pub(crate) is_up: bool,
    /// How many messages the node told of.
    pub(crate) received: usize,
}

const LABEL: fn() -> SocketAddr = || socket(Who::Tested);

impl World {
    fn new() -> Self {
        let bench = Bench::fresh(Who::Tested);
        let clock = WallClock::new(UNIX_TIME);
        let (machine, _) = keys();
        let settings = TransportSettings {
            keep_alive: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(45),
            discover_mtu: false,
            initial_mtu: 1200,
        };
        let identity = TlsIdentity {
            key: machine.signing_key(),
            secret: &[14; 32],
            clock: &clock,
            key_exchange: KeyExchange::MlKem768,
        };
        let mut peer = State::new(&settings, &identity, Rng::from_seed([15; 32]));
        let connection = peer.connect(bench.now, LABEL(), None).expect("the address is a host's");
        Self {
            bench,
            peer,
            clock,
            connection,
            exported: None,
            streams: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            is_up: false,
            received: 0,
        }
    }

    fn now(&self) -> Instant {
        self.bench.now
    }

    /// Carries datagrams both ways, a number of times.
    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.flush();
            let mut buf = Vec::new();
            while let Some(packets) = self.peer.poll_transmit(self.now(), &mut buf) {
                for datagram in buf.chunks(packets.segment_size.unwrap_or(packets.size)) {
                    self.bench.receive(socket(Who::Other), socket(Who::Tested), datagram);
                }
                buf.clear();
            }
            for datagram in std::mem::take(&mut self.bench.sent) {
                if datagram.payload[0] & 0xc0 != 0 && datagram.local == socket(Who::Other) {
                    self.take(datagram.payload);
                }
            }
            self.check_events();
            self.bench.pass(Duration::from_millis(1));
        }
    }

    fn take(&mut self, payload: BytesMut) {
        let now = self.now();
        let received = self.peer.handle_datagram(now, LABEL(), None, payload, &mut Vec::new());
        if let Received::Stranger(stranger) = received {
            self.peer.ignore(stranger);
        }
        while let Some((_, event)) = self.peer.poll_event() {
            if let Quic::Established { .. } = event {
                self.exported = self.peer.export_secret(self.connection, EXPORT_LABEL);
            }
        }
    }

    fn check_events(&mut self) {
        let (machine, agent) = keys();
        for event in self.bench.events.drain(..) {
            match event {
                Event::Link(link::Event::PeerUp { machine: up, agents, .. }) => {
                    assert!(!self.is_up, "one session at a time");
                    assert_eq!((up, agents), (machine.id(), vec![agent.id()]));
                    self.is_up = true;
                }
                Event::Link(link::Event::PeerDown { .. }) => {
                    assert!(std::mem::take(&mut self.is_up))
                }
                Event::Direct(direct::Event::Received { sender, .. }) => {
                    assert!(self.is_up, "messages come in sessions");
                    assert_eq!(sender, agent.id(), "the sender is proven");
                    self.received += 1;
                }
                Event::Link(link::Event::PathChanged { .. })
                | Event::Reply { .. }
                | Event::Gossip(gossip::Event::Received { .. })
                | Event::Gossip(gossip::Event::Lagged { .. })
                | Event::Gossip(gossip::Event::Equivocated { .. })
                | Event::Halted(_) => {}
            }
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (kind, number) = (input.byte(), input.byte());
        match kind % 8 {
            0 | 1 => self.write(number % 4, Bytes::copy_from_slice(input.counted())),
            2 => {
                // A whole frame.
                let mut frame = BytesMut::new();
                let payload = input.counted();
                write_frame(&mut frame, &[&[number], payload]);
                self.write(kind >> 6, frame.freeze());
            }
            3 => {
                let mut frame = BytesMut::from(if number & 2 == 0 { &[0][..] } else { &[] });
                let control = make_control([binding()], number & 1 == 0);
                write_frame(&mut frame, &[&control]);
                self.write(0, frame.freeze());
            }
            4 | 5 => self.probe(kind, number, input.counted()),
            6 => {
                let time = Duration::from_millis(u64::from(number) * 8);
                self.bench.pass(time);
                self.clock.set(UNIX_TIME + time);
                self.peer.handle_timeout(self.now());
            }
            _ => self.peer.close(self.now(), self.connection, u32::from(number), "fuzz"),
        }
    }

    fn probe(&mut self, kind: u8, number: u8, content: &[u8]) {
        let Some(exported) = self.exported else { return };
        let datagram = authenticated(content, &exported, false);
        let size = if kind & 16 == 0 { datagram.len() } else { usize::from(number) };
        let datagram = &datagram[..size.min(datagram.len())];
        self.bench.receive(address(number), socket(Who::Tested), datagram);
    }

    fn write(&mut self, lane: u8, bytes: Bytes) {
        if !bytes.is_empty() && self.exported.is_some() {
            self.unwritten.entry(lane).or_default().push(bytes);
        }
    }

    fn flush(&mut self) {
        for (lane, chunks) in &mut self.unwritten {
            let stream = match self.streams.get(lane) {
                Some(stream) => *stream,
                None => match self.peer.open_stream(self.connection, 0) {
                    Some(stream) => *self.streams.entry(*lane).or_insert(stream),
                    None => continue,
                },
            };
            self.peer.write(self.connection, stream, chunks);
            chunks.retain(|chunk| !chunk.is_empty());
        }
    }
}
