//! More of everything than one node can want.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use x0x_core::crypto::hash::blake3_keyed;
use x0x_core::link::admission::HALF_OPEN_MAX;
use x0x_core::link::{ANSWERS_MAX, ConnectError, LINKS_MAX};
use x0x_core::node::{Connect, Reply, Target};
use x0x_sim::{LinkProfile, NodeId, Step, Verdict, WorldConfig};

use super::arena::{Arena, HOSTILE, SECOND, VICTIM};
use super::attacker::Guest;
use super::frames::{CONTROL, DIRECT, Hello, message, open};
use x0x_core::direct;
use x0x_core::link;

/// An honest node that comes while the flood goes on.
const NEWCOMER: NodeId = NodeId(3);

/// How long a flood lasts.
const FLOOD: Duration = Duration::from_secs(15);

/// Sends first flights to the victim for a while, so many each 10 ms, each from the source that is
/// drawn for it. A flight that a node did not let in may be its own next.
fn flood(arena: &mut Arena, count: usize, source: impl Fn(u32) -> SocketAddr) {
    let target = arena.world.address(VICTIM);
    let flights: Vec<Vec<Bytes>> = (0..2 * HALF_OPEN_MAX)
        .map(|_| arena.strike(|attacker, now| attacker.first_flight(now, target)))
        .collect();
    let mut flights = (0..).zip(flights.into_iter().cycle());
    // Never at the very time of anybody else: what an allowance regains goes to the flood.
    let start = arena.world.now() + Duration::from_millis(3);
    let mut elapsed = Duration::ZERO;
    while elapsed < FLOOD {
        for (number, flight) in flights.by_ref().take(count) {
            for payload in flight {
                let step = Step::Inject { source: source(number), target, ecn: None, payload };
                arena.world.schedule(start + elapsed, step);
            }
        }
        elapsed += Duration::from_millis(10);
    }
}

/// Lets a newcomer dial the victim in the middle of a flood.
fn newcomer_gets_in(arena: &mut Arena) {
    arena.run(5 * SECOND);
    let usage = arena.usage();
    assert!(usage.half_open <= HALF_OPEN_MAX, "{usage:?}");
    assert!(usage.connections <= HALF_OPEN_MAX + 2, "{usage:?}");
    arena.connect(NEWCOMER, VICTIM);
    arena.talk();
    arena.run(SECOND);
    assert!(arena.world.is_linked(NEWCOMER, VICTIM), "{:?}", arena.counters(VICTIM));
    arena.run(40 * SECOND);
    assert_eq!(arena.usage().connections, 2, "what was abandoned is released");
    arena.unharmed();
}

fn spoofed(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x5000_0000 + number * 7), 4000))
}

#[test]
fn handshakes_abandoned_by_one_host_keep_nobody_else_out() {
    let mut arena = Arena::with(WorldConfig::new(1, 4));
    let source = arena.world.address(HOSTILE);
    flood(&mut arena, 5, |_| source);
    newcomer_gets_in(&mut arena);
    let counters = arena.counters(VICTIM);
    assert!(counters.get(link::Counter::HandshakesRetried) > 0, "{counters:?}");
}

#[test]
fn handshakes_abandoned_in_the_name_of_many_hosts_keep_nobody_out() {
    let mut arena = Arena::with(WorldConfig::new(2, 4));
    flood(&mut arena, 5, spoofed);
    newcomer_gets_in(&mut arena);
    let counters = arena.counters(VICTIM);
    assert!(counters.get(link::Counter::HandshakesRetried) > 0, "{counters:?}");
    assert_eq!(counters.get(link::Counter::HandshakesOverSourceLimit), 0, "{counters:?}");
}

#[test]
fn handshakes_abandoned_in_the_name_of_a_host_do_not_keep_that_host_out() {
    let mut arena = Arena::with(WorldConfig::new(3, 4));
    let source = arena.world.address(NEWCOMER);
    flood(&mut arena, 30, |_| source);
    newcomer_gets_in(&mut arena);
}

/// The attacker finishes TLS as fast as it can, with its own address, and says nothing then.
#[test]
fn connections_without_a_hello_from_one_host_keep_nobody_else_out() {
    let mut arena = Arena::with(WorldConfig::new(4, 4));
    let target = arena.world.address(VICTIM);
    let identity = arena.identity(1);
    for _ in 0..2 * HALF_OPEN_MAX {
        arena.attack(|attacker, now| attacker.dial(now, target, &identity.machine));
        // A tenth of a second passes with each.
        if arena.usage().half_open == HALF_OPEN_MAX {
            break;
        }
        for _ in 0..4 {
            arena.strike(|attacker, now| attacker.dial(now, target, &identity.machine));
        }
    }
    let counters = arena.counters(VICTIM);
    assert_eq!(arena.usage().half_open, HALF_OPEN_MAX, "{counters:?}");
    arena.connect(NEWCOMER, VICTIM);
    arena.run(4 * SECOND);
    assert!(arena.world.is_linked(NEWCOMER, VICTIM), "{:?}", arena.counters(VICTIM));
    assert!(arena.count(link::Counter::HandshakesEvicted) > 0);
    assert!(arena.usage().half_open <= HALF_OPEN_MAX);
    arena.run(40 * SECOND);
    assert_eq!(arena.usage().connections, 2);
    arena.unharmed();
}

#[test]
fn many_honest_nodes_on_one_host_all_get_in() {
    let config = WorldConfig { nodes_per_host: 3, ..WorldConfig::new(5, 3) };
    let mut arena = Arena::with(WorldConfig { nodes: 93, nodes_per_host: 90, ..config });
    let others: Vec<NodeId> = (3..93).map(NodeId).collect();
    for &node in &others {
        arena.connect(node, VICTIM);
    }
    arena.run(5 * SECOND);
    assert!(others.iter().all(|&node| arena.world.is_linked(node, VICTIM)));
    assert_eq!(arena.count(link::Counter::HandshakesOverSourceLimit), 0);
    arena.unharmed();
}

/// A probe of the client of a link, as `core/src/link/path.rs` says.
fn probe(secret: &[u8; 48], kind: u8, challenge: u64) -> Vec<u8> {
    let (ids, key) = secret.split_at(16);
    let mut bytes = vec![1, kind];
    bytes.extend_from_slice(&ids[8..]);
    bytes.extend_from_slice(&challenge.to_be_bytes());
    bytes.extend_from_slice(&[0; 18]);
    let role = 0;
    let mac = blake3_keyed(key.try_into().unwrap(), &[&bytes[..], &[role]].concat());
    bytes.extend_from_slice(&mac[..16]);
    bytes
}

#[test]
fn probes_make_a_node_send_nobody_more_than_three_times_what_came_from_there() {
    let mut arena = Arena::new(6);
    let identity = arena.identity(1);
    let link = arena.session(&identity);
    let secret = arena.look(|attacker| attacker.export(link, "x0x path probe v1"));
    let (bytes, most) = (Rc::new(Cell::new(0)), 3 * probe(&secret, 1, 0).len());
    for (number, kind) in (0..).zip([1, 2, 1, 2, 2]) {
        let elsewhere = spoofed(number);
        let counted = Rc::clone(&bytes);
        bytes.set(0);
        arena.world.set_interceptor(Some(Box::new(move |_, packet, _| {
            if packet.target == elsewhere {
                counted.set(counted.get() + packet.payload.len());
            }
            Verdict::Pass
        })));
        let (target, payload) = (arena.world.address(VICTIM), probe(&secret, kind, 1).into());
        arena.world.apply(Step::Inject { source: elsewhere, target, ecn: None, payload }).unwrap();
        arena.run(5 * SECOND);
        assert!(bytes.get() > 0 && bytes.get() <= most, "kind {kind}: {} bytes", bytes.get());
    }
    arena.world.set_interceptor(None);
    arena.unharmed();
}

#[test]
fn a_flood_of_probes_is_answered_within_limits() {
    let mut arena = Arena::new(7);
    let identity = arena.identity(1);
    let link = arena.session(&identity);
    let secret: [u8; 48] = arena.look(|attacker| attacker.export(link, "x0x path probe v1"));
    let target = arena.world.address(VICTIM);
    for number in 0..5000 {
        let kind = 1 + u8::try_from(number % 2).unwrap();
        let mut payload = probe(&secret, kind, number.into());
        if number % 3 == 0 {
            payload[30] ^= 1;
        }
        let (source, payload) = (spoofed(number), payload.into());
        arena.world.apply(Step::Inject { source, target, ecn: None, payload }).unwrap();
    }
    arena.talk();
    arena.run(10 * SECOND);
    assert_eq!(arena.count(link::Counter::ProbesForged), 1667);
    assert_eq!(arena.count(link::Counter::PathsChanged), 0);
    let usage = arena.usage();
    assert_eq!((usage.answers, usage.connections), (0, 2));
    arena.unharmed();
}

#[test]
fn a_flood_of_tiny_messages_delays_nobody_else() {
    let mut arena = Arena::new(8);
    let identity = arena.identity(1);
    let link = arena.session(&identity);
    let to = arena.world.node_config(VICTIM).agent_key.id();
    arena.frame(link, DIRECT, &open(0, 0, to, 1, 1));
    let mut sequence = 0;
    for _ in 0..20 {
        arena.talk();
        arena.strike(|attacker, _| {
            for _ in 0..1000 {
                sequence += 1;
                attacker.frame(link, DIRECT, &message(0, sequence, b""));
            }
        });
        arena.run(SECOND / 10);
        let behind = arena.world.outstanding();
        assert!(behind <= 30, "{behind} messages wait");
    }
    arena.run(5 * SECOND);
    assert_eq!(arena.look(|a| a.link(link).close_code()), None);
    assert!(arena.count(direct::Counter::MessagesReceived) >= sequence);
    arena.unharmed();
}

/// A server that gives hundreds of tickets after each handshake.
#[test]
fn a_flood_of_tickets_harms_nobody() {
    let mut arena = Arena::new(9);
    let identity = arena.identity(1);
    arena.attack(|attacker, _| {
        let mut server = (*attacker.tls(&identity.machine).server).clone();
        server.send_tls13_tickets = 2000;
        attacker.serve(server.into(), super::attacker::transport());
    });
    let target = Target::Address {
        address: arena.world.address(HOSTILE),
        machine: Some(identity.machine.id()),
    };
    let connect = Connect { target, keep: false, timeout: 5 * SECOND };
    arena.world.command(VICTIM, connect).unwrap();
    arena.talk();
    arena.run(SECOND);
    let link = arena.look(|attacker| attacker.accepted[0]);
    arena.frame(link, CONTROL, &Hello::with(vec![identity.binding()]).encode());
    arena.run(SECOND);
    assert_eq!(arena.count(link::Counter::LinksUp), 2);
    arena.unharmed();
}

#[test]
fn more_peers_than_links_are_refused_and_no_link_suffers() {
    let link = LinkProfile { latency: Duration::from_millis(1), ..LinkProfile::default() };
    let mut arena = Arena::with(WorldConfig { link, ..WorldConfig::new(10, 4) });
    let target = arena.world.address(VICTIM);
    let mut links = Vec::new();
    let count = u32::try_from(LINKS_MAX).unwrap();
    for number in 0..count {
        let identity = arena.identity(number);
        let hello = Hello::with(vec![identity.binding()]).encode();
        let link = arena.strike(|attacker, now| attacker.dial(now, target, &identity.machine));
        arena.run(Duration::from_millis(25));
        arena.strike(|attacker, _| attacker.frame(link, CONTROL, &hello));
        links.push(link);
    }
    arena.run(SECOND);
    // The friend has one of the links.
    assert_eq!(arena.usage().sessions, LINKS_MAX, "{:?}", arena.counters(VICTIM));
    assert_eq!(arena.count(link::Counter::LinksOverLimit), 1);
    let refused =
        arena.look(|a| links.iter().filter(|&&l| a.link(l).close_code() == Some(4)).count());
    assert_eq!(refused, 1);
    // Who was refused is not in the address book.
    let last = Target::Machine(arena.identity(count - 1).machine.id());
    let connect = Connect { target: last, keep: false, timeout: SECOND };
    let id = arena.world.command(VICTIM, connect).unwrap();
    let unknown = Reply::Link(link::Reply::Connect(Err(ConnectError::UnknownPeer)));
    assert_eq!(arena.world.reply(id), Some(&unknown));
    arena.connect(NEWCOMER, VICTIM);
    arena.run(SECOND);
    assert!(!arena.world.is_linked(NEWCOMER, VICTIM));
    assert!(arena.count(link::Counter::LinksOverLimit) > 1);
    arena.unharmed();
    // One of them goes: there is room for the newcomer.
    arena.attack(|attacker, now| attacker.close(links[0], now));
    arena.run(60 * SECOND);
    assert!(arena.world.is_linked(NEWCOMER, VICTIM));
    arena.unharmed();
}

/// Datagrams of an unknown version of QUIC are answered; the answers that wait have a limit.
#[test]
fn answers_beyond_their_limit_are_dropped_and_counted() {
    let mut arena = Arena::new(11);
    let mut payload = vec![0xc0, 0x0a, 0x0a, 0x0a, 0x0a, 8];
    payload.extend_from_slice(&[7; 8]);
    payload.push(0);
    payload.resize(1200, 0);
    let local = arena.world.address(VICTIM);
    arena.world.act(VICTIM, |guest, time| {
        let Guest::Honest(node) = guest else { panic!("the victim is honest") };
        for number in 0..2 * u32::try_from(ANSWERS_MAX).unwrap() {
            let payload = bytes::BytesMut::from(&payload[..]);
            let datagram = x0x_core::transport::Datagram {
                source: spoofed(number),
                local,
                ecn: None,
                payload,
            };
            node.handle_datagram(time, datagram);
        }
        assert_eq!(node.link_usage().answers, ANSWERS_MAX);
    });
    assert_eq!(arena.count(link::Counter::AnswersDropped), ANSWERS_MAX as u64);
    assert_eq!(arena.usage().answers, 0);
    arena.unharmed();
}
