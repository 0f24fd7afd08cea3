//! Peers that begin and do not go on.

use std::time::Duration;

use bytes::Bytes;
use quinn_proto::VarInt;
use x0x_core::direct::{DirectError, RECIPIENT_BYTES_MAX};
use x0x_core::link::SEND_BUFFER_MAX;
use x0x_core::node::{CommandError, CommandId, Reply, SendDirect};
use x0x_core::transport::WINDOW_MIN;

use super::arena::{Arena, HOSTILE, Identity, SECOND, VICTIM};
use super::attacker::{LinkNumber, transport};
use super::frames::{BULK, CONTROL, DIRECT, GOSSIP, Hello, opened, varint};
use x0x_core::direct;
use x0x_core::link;

/// Half of a large direct message.
fn half(size: usize) -> Vec<u8> {
    [varint(16 << 20), vec![7; size]].concat()
}

#[test]
fn half_of_a_frame_on_each_stream_is_held_as_long_as_the_session_lasts() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let link = arena.session(&identity);
    arena.attack(|attacker, _| {
        attacker.write(link, CONTROL, varint(1000));
        attacker.write(link, DIRECT, half(500_000));
        attacker.write(link, GOSSIP, [varint(1000), vec![7; 500]].concat());
        attacker.write(link, BULK, [varint(1_000_000), vec![7; 500_000]].concat());
    });
    arena.run(20 * SECOND);
    assert_eq!(arena.usage().reassembly_bytes, 1_000_500);
    arena.unharmed();
    arena.attack(|attacker, now| attacker.close(link, now));
    assert_eq!(arena.usage().reassembly_bytes, 0);
}

/// The frame is completed, and the next one is not allowed: what was held is free again.
#[test]
fn what_a_violator_left_behind_is_not_held_against_others() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    for class in [BULK, CONTROL] {
        let link = arena.session(&identity);
        let started = [varint(100_000), vec![7; 90_000]].concat();
        arena.attack(|attacker, _| attacker.write(link, class, started));
        arena.run(SECOND);
        assert_eq!(arena.usage().reassembly_bytes, 90_000);
        let rest = [vec![7; 10_000], varint((1 << 62) - 1)].concat();
        arena.attack(|attacker, _| attacker.write(link, class, rest));
        arena.run(SECOND);
        assert!(arena.look(|a| a.link(link).lost.is_some()));
        assert_eq!(arena.usage().reassembly_bytes, 0);
    }
    arena.unharmed();
}

/// A hello and the beginning of another frame come in one datagram.
#[test]
fn what_follows_a_hello_is_counted_once() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let link = arena.dial(&identity);
    let hello = Hello::with(vec![identity.binding()]).encode();
    let bytes = [varint(hello.len() as u64), hello, varint(1000), vec![7; 100]].concat();
    arena.attack(|attacker, _| {
        attacker.write(link, CONTROL, bytes);
        attacker.write(link, DIRECT, half(50_000));
    });
    arena.run(SECOND);
    assert_eq!(arena.usage().reassembly_bytes, 50_100);
    arena.attack(|attacker, now| attacker.close(link, now));
    assert_eq!(arena.usage().reassembly_bytes, 0);
    arena.unharmed();
}

#[test]
fn before_its_hello_a_stranger_can_send_little() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let link = arena.dial(&identity);
    arena.attack(|attacker, _| attacker.write(link, DIRECT, half(1_000_000)));
    arena.attack(|attacker, _| attacker.write(link, BULK, half(1_000_000)));
    arena.run(SECOND);
    let sent = 2_000_010 - arena.look(|attacker| attacker.link(link).unsent());
    assert_eq!(sent, WINDOW_MIN as usize);
    arena.frame(link, CONTROL, &Hello::with(vec![identity.binding()]).encode());
    arena.run(9 * SECOND);
    // Not even its hello, which comes too late.
    assert_eq!(arena.usage().half_open, 0);
    assert_eq!(arena.count(link::Counter::HandshakesFailed), 1);
    arena.unharmed();
}

#[test]
fn after_its_hello_a_peer_can_send_as_much_as_its_streams_allow() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let link = arena.session(&identity);
    arena.attack(|attacker, _| attacker.write(link, DIRECT, half(4_000_000)));
    arena.run(SECOND);
    assert_eq!(arena.usage().reassembly_bytes, 4_000_000);
    arena.unharmed();
}

#[test]
fn incomplete_messages_of_all_peers_have_a_limit() {
    let mut arena = Arena::new(1);
    let size = (16 << 20) - 1;
    let mut links = Vec::new();
    for number in 0..2 {
        let identity = arena.identity(number);
        let link = arena.session(&identity);
        links.push(link);
        arena.attack(|attacker, _| attacker.write(link, DIRECT, half(size)));
        arena.run(4 * SECOND);
        let usage = arena.usage();
        assert!(usage.reassembly_bytes + usage.credit_bytes <= usage.receive_bytes_max);
    }
    arena.run(4 * SECOND);
    assert_eq!(arena.count(link::Counter::ReassemblyOverLimit), 1);
    let closed = arena.look(|a| links.iter().filter(|&&link| a.link(link).lost.is_some()).count());
    assert_eq!(closed, 1);
    arena.unharmed();
}

/// What arrives out of order waits in QUIC, whoever holds back the start of a stream.
#[test]
fn data_that_cannot_be_read_yet_has_a_limit_for_all_peers_together() {
    let mut arena = Arena::new(1);
    let (mut sent, peers) = (0, 100_u32);
    for number in 0..peers {
        let identity = arena.identity(number);
        let link = arena.session(&identity);
        sent += arena.strike(|attacker, now| {
            for class in [DIRECT, GOSSIP, BULK] {
                attacker.write(link, class, vec![7; (1 << 20) - 2]);
            }
            attacker.send_without_start(link, now)
        });
        arena.run(SECOND / 20);
        let usage = arena.usage();
        assert!(usage.reassembly_bytes + usage.credit_bytes <= usage.receive_bytes_max);
    }
    let usage = arena.usage();
    assert_eq!(usage.sessions, 1 + peers as usize, "they are all there");
    assert!(sent > peers as usize * WINDOW_MIN as usize / 4, "{sent} bytes");
    assert!(usage.credit_bytes <= (peers as usize + 2) * WINDOW_MIN as usize, "{usage:?}");
    arena.unharmed();
}

/// Has the victim send messages to the attacker until it takes no more.
fn fill(arena: &mut Arena, identity: &Identity, size: usize) -> Vec<CommandId> {
    let payload = Bytes::from(vec![3; size]);
    let mut sent = Vec::new();
    loop {
        let recipient = identity.agent.id();
        let send = SendDirect { recipient, payload: payload.clone(), timeout: 20 * SECOND };
        match arena.world.command(VICTIM, send) {
            Ok(id) => sent.push(id),
            Err(CommandError::Direct(direct::RequestError::QueueFull)) => return sent,
            Err(error) => panic!("{error}"),
        }
    }
}

fn ends_with(arena: &Arena, ids: &[CommandId], expected: fn(&DirectError) -> bool) {
    for &id in ids {
        match arena.world.reply(id) {
            Some(Reply::Direct(direct::Reply::SendDirect(Err(error)))) => {
                assert!(expected(error), "{error:?}")
            }
            reply => panic!("{reply:?}"),
        }
    }
}

/// Makes a session over a connection that gives the victim credit for its hello and no more.
fn miser(arena: &mut Arena, identity: &Identity, credit: u32) -> LinkNumber {
    let target = arena.world.address(VICTIM);
    let machine = identity.machine.clone();
    let link = arena.attack(|attacker, now| {
        let mut settings = transport();
        settings
            .receive_window(VarInt::from_u32(credit))
            .stream_receive_window(VarInt::from_u32(credit));
        let tls = attacker.tls(&machine);
        attacker.dial_with(now, target, tls.client, settings)
    });
    arena.run(SECOND / 5);
    arena.attack(|attacker, _| attacker.stop_reading(link));
    arena.frame(link, CONTROL, &Hello::with(vec![identity.binding()]).encode());
    arena.run(SECOND);
    link
}

#[test]
fn a_peer_that_never_reads_makes_its_own_messages_fail_and_no_others() {
    for credit in [0, 8000, 1 << 20] {
        let mut arena = Arena::new(1);
        let identity = arena.identity(1);
        let link = miser(&mut arena, &identity, credit);
        assert_eq!(arena.usage().sessions, 2, "credit {credit}");
        let ids = fill(&mut arena, &identity, 1 << 20);
        assert_eq!(ids.len(), RECIPIENT_BYTES_MAX >> 20, "the sender is told that it is too much");
        for _ in 0..10 {
            arena.talk();
            arena.run(SECOND);
            let behind = arena.world.outstanding();
            assert!(behind <= ids.len() + 10, "{behind} messages wait");
            let waiting = arena.usage().send_buffer_bytes;
            assert!(waiting <= SEND_BUFFER_MAX + (1 << 20) + 10_000, "{waiting} bytes wait");
        }
        arena.run(15 * SECOND);
        ends_with(&arena, &ids, |error| matches!(error, DirectError::Timeout { .. }));
        assert!(arena.look(|a| a.link(link).lost.is_none()));
        // There is room again, and it is filled again.
        assert_eq!(fill(&mut arena, &identity, 1 << 20).len(), RECIPIENT_BYTES_MAX >> 20);
        arena.run(25 * SECOND);
        arena.unharmed();
    }
}

#[test]
fn a_peer_that_reads_and_never_acknowledges_makes_its_own_messages_fail() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let link = arena.session(&identity);
    let send = |arena: &mut Arena| {
        let payload = Bytes::from_static(b"hello?");
        let recipient = identity.agent.id();
        let send = SendDirect { recipient, payload, timeout: 5 * SECOND };
        arena.world.command(VICTIM, send).unwrap()
    };
    let ids: Vec<CommandId> = (0..100).map(|_| send(&mut arena)).collect();
    arena.run(2 * SECOND);
    // It even answers that it knows the conversation.
    arena.frame(link, DIRECT, &opened(0, 1));
    arena.run(5 * SECOND);
    ends_with(&arena, &ids, |error| *error == DirectError::Timeout { sent: true });
    assert_eq!(arena.world.outstanding(), 0);
    assert!(arena.look(|a| a.link(link).lost.is_none()));
    arena.unharmed();
}

/// The victim dials; the attacker answers the handshake and nothing else.
#[test]
fn a_dialled_peer_that_says_no_hello_is_given_up() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    arena.attack(|attacker, _| {
        let tls = attacker.tls(&identity.machine);
        attacker.serve(tls.server, transport());
    });
    let target = x0x_core::node::Target::Address {
        address: arena.world.address(HOSTILE),
        machine: Some(identity.machine.id()),
    };
    let connect = x0x_core::node::Connect { target, keep: false, timeout: 15 * SECOND };
    let id = arena.world.command(VICTIM, connect).unwrap();
    arena.run(20 * SECOND);
    let expected = Reply::Link(link::Reply::Connect(Err(link::ConnectError::Timeout)));
    assert_eq!(arena.world.reply(id), Some(&expected));
    assert!(arena.count(link::Counter::HandshakesFailed) > 0);
    arena.run(Duration::from_secs(20));
    let usage = arena.usage();
    assert_eq!((usage.connections, usage.dials), (1, 0));
    arena.unharmed();
}
