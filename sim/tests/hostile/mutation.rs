//! Datagrams that are changed, cut, lengthened and repeated on their way.

use std::net::SocketAddr;
use std::time::Duration;

use x0x_core::support::Rng;
use x0x_sim::{Packet, Step, Verdict, WorldConfig};

use super::arena::{Arena, FRIEND, SECOND, VICTIM};
use x0x_core::link;

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap()
}

/// Changes a datagram in one of many ways.
fn mutate(rng: &mut Rng, payload: &mut bytes::BytesMut) {
    let size = payload.len();
    match rng.below(4) {
        0 => {
            for _ in 0..=rng.below(8) {
                payload[below(rng, size)] ^= 1 << rng.below(8);
            }
        }
        1 => payload.truncate(below(rng, size)),
        2 => {
            for _ in 0..=rng.below(64) {
                payload.extend_from_slice(&rng.bytes::<1>());
            }
        }
        _ => {
            // The first bytes choose what a datagram is.
            let first: [u8; 1] = rng.bytes();
            payload[0] = first[0];
        }
    }
}

/// Each datagram goes on unless it is changed; a copy follows, changed or not, from elsewhere or not.
fn attacker(seed: u8, percent: u64) -> x0x_sim::network::Interceptor {
    let mut rng = Rng::from_seed([seed; 32]);
    let elsewhere: SocketAddr = "203.0.113.7:7".parse().unwrap();
    Box::new(move |_, packet, injected| {
        if rng.below(100) < percent {
            let mut copy = Packet { ..packet.clone() };
            if rng.below(2) == 0 {
                copy.source = elsewhere;
            }
            if rng.below(2) == 0 {
                mutate(&mut rng, &mut copy.payload);
            }
            injected.push((Duration::from_millis(rng.below(2000)), copy));
        }
        if rng.below(100) < percent {
            mutate(&mut rng, &mut packet.payload);
        }
        Verdict::Pass
    })
}

#[test]
fn changed_and_repeated_datagrams_stop_neither_handshakes_nor_messages() {
    for (seed, percent) in (1..=21).zip([5, 20, 35].into_iter().cycle()) {
        let mut arena = Arena::apart(WorldConfig::new(seed.into(), 3));
        arena.world.set_interceptor(Some(attacker(seed, percent)));
        arena.connect(FRIEND, VICTIM);
        let linked = arena.world.run_until_true(60 * SECOND, |w| w.is_linked(FRIEND, VICTIM));
        assert!(linked.unwrap_or_else(|failure| panic!("{failure}")), "seed {seed}");
        for _ in 0..30 {
            arena.talk();
            arena.run(SECOND / 2);
        }
        arena.unharmed();
        let usage = arena.usage();
        assert_eq!((usage.sessions, usage.answers, usage.reassembly_bytes), (1, 0, 0));
        assert!(usage.connections <= 20, "{usage:?}");
        let counters = arena.counters(VICTIM);
        let strange = counters.get(link::Counter::DatagramsUnknown);
        assert!(strange + counters.get(link::Counter::DatagramsMalformed) > 0, "{counters:?}");
        assert_eq!(
            counters.get(link::Counter::PathsChanged),
            0,
            "a copy from elsewhere moves nothing"
        );
        arena.world.set_interceptor(None);
        arena.run(60 * SECOND);
        assert_eq!(arena.usage().connections, 1, "what strangers began is over");
        arena.unharmed();
    }
}

/// Every datagram to the victim comes again, from its source and from somewhere else.
fn replay(arena: &mut Arena) {
    let victim = arena.world.address(VICTIM);
    let elsewhere: SocketAddr = "203.0.113.7:7".parse().unwrap();
    arena.world.set_interceptor(Some(Box::new(move |_, packet, injected| {
        if packet.target == victim {
            injected.push((40 * SECOND, packet.clone()));
            injected.push((60 * SECOND, Packet { source: elsewhere, ..packet.clone() }));
        }
        Verdict::Pass
    })));
    arena.connect(FRIEND, VICTIM);
    arena.run(SECOND);
    assert!(arena.world.is_linked(FRIEND, VICTIM));
    arena.talk();
    arena.run(SECOND);
    arena.world.set_interceptor(None);
}

#[test]
fn a_conversation_that_is_played_again_changes_nothing() {
    let mut arena = Arena::apart(WorldConfig::new(1, 3));
    replay(&mut arena);
    arena.run(90 * SECOND);
    assert_eq!(arena.count(link::Counter::LinksUp), 1);
    assert_eq!(arena.count(link::Counter::PathsChanged), 0);
    assert_eq!(arena.usage().connections, 1);
    arena.unharmed();
}

#[test]
fn a_handshake_that_is_played_to_a_restarted_node_ends_in_time_and_is_counted() {
    let mut arena = Arena::apart(WorldConfig::new(1, 3));
    replay(&mut arena);
    arena.run(SECOND);
    arena.world.apply(Step::Restart { node: VICTIM }).unwrap();
    arena.run(30 * SECOND);
    assert!(arena.world.is_linked(FRIEND, VICTIM), "the friend is back");
    arena.run(60 * SECOND);
    assert_eq!(arena.count(link::Counter::LinksUp), 1, "only the friend's new link");
    let counters = arena.counters(VICTIM);
    let failed = counters.get(link::Counter::HandshakesFailed);
    assert!(failed > 0, "the copies began a handshake: {counters:?}");
    assert_eq!(arena.usage().connections, 1);
    arena.unharmed();
}

/// Random bytes with each kind of beginning, and from wherever a datagram can claim to come.
#[test]
fn datagrams_out_of_nowhere_harm_nobody() {
    let mut arena = Arena::new(1);
    let target = arena.world.address(VICTIM);
    let mut sources = ["0.0.0.0:0", "255.255.255.255:1", "224.0.0.1:5", "[::]:0", "203.0.113.7:7"]
        .map(|source| source.parse::<SocketAddr>().unwrap())
        .to_vec();
    sources.push("[::ffff:203.0.113.7]:7".parse().unwrap());
    sources.extend([target, arena.world.address(FRIEND)]);
    let mut rng = Rng::from_seed([9; 32]);
    for number in 0..8000_u32 {
        let size = [0, 1, 20, 52, 60, 300, 1200, 1452][below(&mut rng, 8)];
        let mut payload = vec![0; size];
        rng.fill(&mut payload);
        // Probes, short headers, Initial packets of version 1, and everything else.
        let firsts: [&[u8]; 4] = [&[1, 1], &[0x40], &[0xc0, 0, 0, 0, 1, 8], &[]];
        let first = firsts[below(&mut rng, 4)];
        if payload.len() > first.len() {
            payload[..first.len()].copy_from_slice(first);
        }
        if size == 1200 && first.len() > 2 {
            // No source id, no token, and the rest is one packet.
            payload[14..18].copy_from_slice(&[0, 0, 0x44, 0x9e]);
        }
        let source = sources[number as usize % sources.len()];
        let (ecn, payload) = (None, payload.into());
        arena.world.apply(Step::Inject { source, target, ecn, payload }).unwrap();
        if number % 100 == 0 {
            arena.talk();
            arena.run(SECOND / 50);
        }
    }
    arena.run(20 * SECOND);
    let counters = arena.counters(VICTIM);
    for counter in [
        link::Counter::DatagramsMalformed,
        link::Counter::DatagramsUnknown,
        link::Counter::HandshakesFailed,
    ] {
        assert!(counters.get(counter) > 0, "{counters:?}");
    }
    assert_eq!(
        counters.get(link::Counter::LinksDown) + counters.get(link::Counter::PathsChanged),
        0
    );
    assert_eq!(arena.usage().connections, 1);
    arena.unharmed();
}
