//! Handshakes of many networks that never end, and a newcomer among them.

use std::net::Ipv6Addr;

use super::*;
use crate::link::admission::HALF_OPEN_MAX;
use crate::transport::{Received, State as Transport, TlsIdentity, TransportSettings};

/// How many networks the attacker has.
const NETWORKS: u16 = 300;

/// A client of QUIC that answers Retry and then falls silent.
struct Silent {
    transport: Transport,
    dialled: u16,
}

impl Silent {
    fn new(number: u8) -> Self {
        let key = MachineKey::from_seed(&[number; 32]);
        let settings = TransportSettings {
            keep_alive: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(45),
            discover_mtu: true,
            initial_mtu: 1200,
        };
        let tls = TlsIdentity {
            key: key.signing_key(),
            secret: &[1; 32],
            clock: &WallClock::new(UNIX_TIME),
            key_exchange: LinkConfig::default().key_exchange,
        };
        Self {
            transport: Transport::new(&settings, &tls, Rng::from_seed([number; 32])),
            dialled: 0,
        }
    }

    /// Begins one handshake from a source.
    fn dial(&mut self, pair: &mut Pair, source: SocketAddr) {
        let server = pair.ends[SERVER].state.peers.connections.sockets[0];
        let key = self.transport.connect(pair.now, server, None).unwrap();
        // The first flight, the Retry, and the first flight again.
        for _ in 0..2 {
            let mut buf = Vec::new();
            while let Some(packets) = self.transport.poll_transmit(pair.now, &mut buf) {
                assert_eq!(packets.connection, key);
                for payload in buf.chunks(packets.segment_size.unwrap_or(packets.size)) {
                    let payload = payload.into();
                    let datagram = Datagram { source, local: server, ecn: None, payload };
                    pair.act(SERVER, |state, context| state.handle_datagram(context, datagram));
                }
                buf.clear();
            }
            pair.act(SERVER, State::flush);
            while let Some(sent) = pair.ends[SERVER].state.poll_transmit(pair.now, &mut buf) {
                let is_retry = buf[0] & 0xf0 == 0xf0;
                if is_retry && sent.target == source {
                    let (now, payload, mut answer) = (pair.now, buf[..].into(), Vec::new());
                    let received =
                        self.transport.handle_datagram(now, server, None, payload, &mut answer);
                    assert!(matches!(received, Received::Handled));
                }
                buf.clear();
            }
        }
        self.transport.forget(key);
        while self.transport.poll_event().is_some() {}
    }

    /// Begins handshakes from the next of the attacker's networks.
    fn flood(&mut self, pair: &mut Pair, count: u16, source: impl Fn(u16) -> SocketAddr) {
        for _ in 0..count {
            self.dial(pair, source(self.dialled % NETWORKS));
            self.dialled += 1;
        }
    }
}

/// How many of ten newcomers are let in and still have their place after 20 more handshakes of an
/// attacker.
fn newcomers_let_in(source: impl Fn(u16) -> SocketAddr) -> usize {
    let mut pair = Pair::new();
    let mut attacker = Silent::new(77);
    pair.ends[SERVER].state.peers.connections.sockets =
        vec![SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into(), 4001)];
    attacker.flood(&mut pair, NETWORKS, &source);
    let newcomer = SocketAddr::from(([192, 0, 2, 9], 4000));
    let mut let_in = 0;
    for _ in 0..10 {
        attacker.flood(&mut pair, 20, &source);
        assert_eq!(pair.ends[SERVER].state.usage().half_open, HALF_OPEN_MAX);
        Silent::new(78).dial(&mut pair, newcomer);
        attacker.flood(&mut pair, 20, &source);
        let connections = &pair.ends[SERVER].state.peers.connections;
        let is_newcomers = |key: &ConnectionKey| connections.remote(*key) == Some(newcomer);
        let place = connections.admission.half_open().find(is_newcomers);
        if let Some(key) = place {
            let_in += 1;
            pair.act(SERVER, |state, context| {
                state.close(context, key, CloseCode::TimedOut);
                state.peers.connections.transport.forget(key);
                state.peers.drained(&mut state.dialer, key);
            });
        }
        pair.now += Duration::from_millis(100);
    }
    let_in
}

#[test]
fn a_subscriber_with_many_networks_keeps_no_newcomer_out() {
    let of_one_site = |network| {
        let ip = Ipv6Addr::new(0x2001, 0xdb8, 0x1234, network, 0, 0, 0, 1);
        SocketAddr::new(ip.into(), 4000)
    };
    assert_eq!(newcomers_let_in(of_one_site), 10);
}

#[test]
fn an_attacker_with_as_many_sites_as_there_are_places_keeps_few_newcomers_out() {
    let of_many_sites = |network| {
        let ip = Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, 1);
        SocketAddr::new(ip.into(), 4000)
    };
    // A place lasts 20 handshakes with a chance of (255/256)^20, which is 92 %.
    assert!(newcomers_let_in(of_many_sites) >= 8);
}
