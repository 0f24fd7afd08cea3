//! What peers say about machines: it displaces nothing that is proven, and costs others little.

use super::*;
use crate::address_book::{HEARD_MAX, HEARSAY_MAX, PER_NETWORK_MAX, STRANGERS_MAX};

fn invented(number: u32) -> MachineId {
    let mut id = [0xee; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    MachineId(id)
}

fn named(host: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, host], 4000))
}

#[test]
fn a_friend_that_was_away_is_found_again_whatever_peers_say_about_its_addresses() {
    let mut pair = Pair::new();
    pair.connect();
    pair.disconnect();
    let machine = pair.server();
    pair.is_deaf[SERVER] = true;
    pair.act(DIALLER, |state, context| state.dial_for(context, machine, None));
    pair.run_for(Duration::from_secs(60));
    for host in 0..8 {
        pair.act(DIALLER, |state, context| state.dial_for(context, machine, Some(named(host))));
    }
    pair.run_for(Duration::from_secs(60));
    pair.is_deaf[SERVER] = false;
    pair.act(DIALLER, |state, context| {
        let (target, timeout) = (DialTarget::Machine(machine), Duration::from_secs(3600));
        state.connect(context, RequestId(7), target, true, timeout);
    });
    pair.run_for(Duration::from_secs(15));
    assert_eq!(pair.ends[DIALLER].ups, 2);
    assert_eq!(pair.ends[DIALLER].forgotten, []);
}

#[test]
fn machines_that_peers_invent_push_out_nobody() {
    let mut pair = Pair::new();
    pair.connect();
    let friend = pair.server();
    for number in 0..2 * u32::try_from(STRANGERS_MAX).unwrap() {
        pair.act(DIALLER, |state, context| {
            state.dial_for(context, invented(number), Some(named(1)));
        });
    }
    assert!(pair.ends[DIALLER].state.usage().dials <= HEARSAY_MAX);
    pair.run_for(Duration::from_secs(120));
    let End { state, forgotten, .. } = &pair.ends[DIALLER];
    assert_eq!(forgotten, &[], "nothing of it was stored");
    assert_eq!(
        state.dialer.book.addresses.machine_of(&AgentKey::from_seed(&[11; 32]).id()),
        Some(friend)
    );
    assert_ne!(
        state.dialer.book.addresses.binding_sequence(&friend, &AgentKey::from_seed(&[11; 32]).id()),
        0
    );
    assert_eq!(state.usage().dials, 0);
}

#[test]
fn strangers_with_sessions_push_out_no_machine_that_wrote_or_was_written_to() {
    let friend = AgentKey::from_seed(&[11; 32]).id();
    for (name, is_written_to) in [("written to", true), ("wrote", false)] {
        let mut pair = Pair::new();
        // Reached for by a peer's word alone, so nothing but the message makes it worth a place.
        pair.reach(pair.server());
        let machine = pair.server();
        pair.act(DIALLER, |state, context| {
            if is_written_to {
                state.sent_to(context, &friend);
            } else {
                state.heard_from(context, machine);
            }
        });
        pair.release();
        assert_eq!(pair.ups_and_downs(), [(1, 1); 2], "{name}");
        let book = &mut pair.ends[DIALLER].state.dialer.book.addresses;
        for number in 0..2 * u32::try_from(STRANGERS_MAX + HEARD_MAX).unwrap() {
            let source = SocketAddr::from(([10, 0, 0, 1], 4000));
            book.session_began(invented(number), source, 5, &[]);
            book.session_ended(invented(number), source, 5);
        }
        assert_eq!(book.machine_of(&friend), Some(machine), "{name}");
        assert!(book.reached().len() <= PER_NETWORK_MAX + 1, "{name}");
    }
}

/// What a node sends to a network while peers name machines there, in datagrams and bytes.
fn sent_to_named(pair: &mut Pair, duration: Duration) -> (usize, usize) {
    let (end, mut datagrams, mut bytes) = (pair.now + duration, 0, 0);
    loop {
        pair.act(DIALLER, State::flush);
        let mut buf = Vec::new();
        while let Some(sent) = pair.ends[DIALLER].state.poll_transmit(pair.now, &mut buf) {
            assert_eq!(sent.target.ip(), named(1).ip());
            datagrams += buf.chunks(sent.segment_size.unwrap_or(sent.size)).count();
            bytes += sent.size;
            buf.clear();
        }
        match pair.ends[DIALLER].state.deadline().map(|due| due.at).filter(|at| *at <= end) {
            Some(at) => pair.now = pair.now.max(at),
            None => break,
        }
        pair.act(DIALLER, State::handle_timeout);
    }
    pair.now = end;
    (datagrams, bytes)
}

#[test]
fn a_bystander_that_a_peer_names_gets_a_first_flight_twice() {
    let mut pair = Pair::new();
    pair.act(DIALLER, |state, context| state.dial_for(context, invented(1), Some(named(1))));
    assert_eq!(sent_to_named(&mut pair, Duration::from_secs(60)), (4, 4800));
    assert_eq!(pair.ends[DIALLER].unreached, [invented(1)]);
    assert_eq!(pair.ends[DIALLER].state.usage().connections, 0);
}

#[test]
fn a_bystander_that_peers_name_all_the_time_gets_two_kilobytes_a_second_at_most() {
    let mut pair = Pair::new();
    let mut sent = 0;
    for number in 0..6000 {
        let port = 4000 + u16::try_from(number % 1000).unwrap();
        let address = SocketAddr::new(named(1).ip(), port);
        pair.act(DIALLER, |state, context| {
            state.dial_for(context, invented(number), Some(address));
        });
        sent += sent_to_named(&mut pair, Duration::from_millis(10)).1;
    }
    let limit = 60 * 2000;
    assert!((limit / 2..limit).contains(&sent), "{sent} bytes in a minute");
}

#[test]
fn a_dial_to_a_named_address_that_is_answered_goes_on_like_any_other() {
    let mut pair = Pair::new();
    // Only the first flight is lost.
    pair.is_deaf[SERVER] = true;
    let (machine, address) = (pair.server(), Some(address(SERVER)));
    pair.act(DIALLER, |state, context| state.dial_for(context, machine, address));
    pair.run_for(Duration::from_millis(100));
    pair.is_deaf[SERVER] = false;
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.ups_and_downs(), [(1, 0); 2]);
}

#[test]
fn addresses_that_cannot_be_another_hosts_are_not_dialled_because_a_peer_names_them() {
    let mut pair = Pair::new();
    let own = address(DIALLER);
    let texts = [
        "203.0.113.1:0",
        "203.0.113.1:53",
        "203.0.113.1:1023",
        "0.0.0.0:4000",
        "0.1.2.3:4000",
        "255.255.255.255:4000",
        "240.0.0.1:4000",
        "224.0.0.1:4000",
        "[::]:4000",
        "[ff02::1]:4000",
        "[::ffff:224.0.0.1]:4000",
        "127.0.0.1:4000",
    ];
    for address in texts.into_iter().map(|text| text.parse().unwrap()).chain([own]) {
        pair.act(DIALLER, |state, context| state.dial_for(context, invented(1), Some(address)));
        assert_eq!(pair.ends[DIALLER].unreached.pop(), Some(invented(1)), "{address}");
    }
    assert_eq!(pair.count(DIALLER, Counter::Dials), 0);
    // What the application names is its own business.
    let target = DialTarget::Address("203.0.113.1:53".parse().unwrap());
    pair.act(DIALLER, |state, context| {
        state.connect(context, RequestId(1), target, false, Duration::from_secs(1));
    });
    assert_eq!(pair.count(DIALLER, Counter::Dials), 1);
}
