//! Frames that no honest peer sends, from a peer whose key and agent are proven.

use x0x_core::link::AGENTS_PER_MACHINE_MAX;
use x0x_core::node::Event;
use x0x_core::support::Rng;
use x0x_core::transport::PEER_STREAMS_MAX;

use super::arena::{Arena, SECOND, VICTIM};
use super::frames::{BULK, CONTROL, DIRECT, GOSSIP, Hello, groups, message, open, varint};
use super::frames::{opened, rebind, verdict};
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;

/// Close codes of the protocol.
const BAD_BINDING: u64 = 3;
const VERSION: u64 = 5;
const VIOLATION: u64 = 6;
const TIMED_OUT: u64 = 9;

/// A frame with its length.
fn framed(payload: &[u8]) -> Vec<u8> {
    [varint(payload.len() as u64), payload.to_vec()].concat()
}

/// What is written to a stream of a class, after a good hello.
fn cases(arena: &Arena) -> Vec<(&'static str, u8, Vec<u8>)> {
    let to = arena.world.node_config(VICTIM).agent_key.id();
    let again = Hello::with(Vec::new()).encode();
    let open_then = |frames: &[Vec<u8>]| {
        let first = framed(&open(0, 0, to, 1, 1));
        frames.iter().fold(first, |bytes, frame| [bytes, framed(frame)].concat())
    };
    let message_to = |sequence| message(0, sequence, b"x");
    vec![
        ("an empty frame", CONTROL, vec![0]),
        ("a control frame of an unknown version", CONTROL, framed(&[2, 0])),
        ("an unknown control frame", CONTROL, framed(&[1, 2])),
        ("a control frame without content", CONTROL, framed(&[1])),
        ("an oversize control frame", CONTROL, varint(128 * 1024 + 1)),
        ("a second hello", CONTROL, framed(&again)),
        ("a length that is not in its one form", CONTROL, framed(&[1, 1, 0x80, 0])),
        ("a byte after a rebind", CONTROL, framed(&[rebind(&[]), vec![0]].concat())),
        ("too many bindings", CONTROL, framed(&rebind(&vec![vec![1]; AGENTS_PER_MACHINE_MAX + 1]))),
        ("a huge number of bindings", CONTROL, framed(&[vec![1, 1], groups(u64::MAX)].concat())),
        ("a frame of gossip", GOSSIP, framed(b"rumour")),
        ("a frame of bulk", BULK, framed(b"load")),
        ("an oversize gossip frame", GOSSIP, varint(1024 * 1024 + 8 * 1024 + 1)),
        ("an oversize bulk frame", BULK, varint(1024 * 1024 + 1)),
        ("an oversize direct frame", DIRECT, varint(16 * 1024 * 1024 + 65)),
        ("the largest length there is", DIRECT, varint((1 << 62) - 1)),
        ("a stream of an unknown class", 4, framed(b"what")),
        ("a stream of another unknown class", 255, framed(b"what")),
        ("a direct frame of kind 0", DIRECT, framed(&[0, 0])),
        ("a direct frame of kind 5", DIRECT, framed(&[5, 0])),
        ("a channel beyond the limit", DIRECT, framed(&open(64, 0, to, 1, 1))),
        ("a sender that is not proven", DIRECT, framed(&open(0, 1, to, 1, 1))),
        ("a conversation cut short", DIRECT, framed(&open(0, 0, to, 1, 1)[..20])),
        ("attempt zero", DIRECT, framed(&open(0, 0, to, 1, 0))),
        ("a conversation opened twice", DIRECT, open_then(&[open(0, 0, to, 1, 2)])),
        ("a conversation on two channels", DIRECT, open_then(&[open(1, 0, to, 1, 1)])),
        ("a message on no channel", DIRECT, framed(&message_to(1))),
        ("a message on another channel", DIRECT, open_then(&[message(1, 1, b"x")])),
        ("message zero", DIRECT, open_then(&[message_to(0)])),
        ("a message twice", DIRECT, open_then(&[message_to(1), message_to(1)])),
        ("messages backwards", DIRECT, open_then(&[message_to(9), message_to(8)])),
        ("a message that is too large", DIRECT, open_then(&[message(0, 1, &[7; (16 << 20) + 1])])),
        ("an unknown verdict", DIRECT, framed(&verdict(0, 1, 5))),
        ("a verdict on nothing", DIRECT, framed(&verdict(0, 1, 0))),
        ("an answer to nothing", DIRECT, framed(&opened(0, 1))),
    ]
}

#[test]
fn a_frame_that_no_honest_peer_sends_ends_its_session_alone() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let cases = cases(&arena);
    for (number, (name, class, bytes)) in (1..).zip(cases) {
        let link = arena.session(&identity);
        arena.talk();
        arena.attack(|attacker, _| attacker.write(link, class, bytes));
        arena.run(2 * SECOND);
        assert_eq!(arena.look(|a| a.link(link).close_code()), Some(VIOLATION), "{name}");
        assert_eq!(arena.count(link::Counter::ProtocolViolations), number, "{name}");
        assert_eq!(arena.usage().reassembly_bytes, 0, "{name}");
    }
    assert!(arena.count(direct::Counter::Violations) > 0);
    arena.run(10 * SECOND);
    assert_eq!(arena.usage().connections, 1);
    arena.unharmed();
}

#[test]
fn garbage_in_every_lane_ends_its_session_alone() {
    let mut arena = Arena::new(2);
    let identity = arena.identity(1);
    let mut rng = Rng::from_seed([4; 32]);
    let mut ended = 0;
    for round in 0..40 {
        let link = arena.session(&identity);
        let class = [CONTROL, DIRECT, GOSSIP, BULK][round % 4];
        let mut garbage = vec![0; usize::try_from(1 + rng.below(4000)).unwrap()];
        rng.fill(&mut garbage);
        arena.attack(|attacker, _| attacker.write(link, class, garbage));
        arena.talk();
        arena.run(SECOND);
        ended += u32::from(arena.look(|a| a.link(link).lost.is_some()));
    }
    // The others wait for the rest of a frame that they began, until their node is back.
    assert!(ended > 20, "{ended}");
    arena.run(60 * SECOND);
    arena.unharmed();
}

#[test]
fn a_peer_can_open_no_more_streams_than_there_are_classes() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let link = arena.session(&identity);
    arena.attack(|attacker, _| {
        for class in [CONTROL, DIRECT, GOSSIP, BULK, 9, 10] {
            attacker.write(link, class, varint(100));
        }
    });
    let opened = arena.look(|a| a.link(link).opened());
    assert_eq!(opened, PEER_STREAMS_MAX as usize);
    assert_eq!(arena.look(|a| a.link(link).close_code()), None);
    arena.unharmed();
}

#[test]
fn a_second_stream_of_a_class_ends_the_session() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    for class in [CONTROL, DIRECT] {
        let link = arena.session(&identity);
        arena.attack(|attacker, _| {
            attacker.write(link, class, varint(100));
            attacker.forget_stream(link, class);
            attacker.write(link, class, varint(100));
        });
        assert_eq!(arena.look(|a| a.link(link).close_code()), Some(VIOLATION), "{class}");
    }
    assert_eq!(arena.count(link::Counter::ProtocolViolations), 2);
    arena.unharmed();
}

#[test]
fn a_stream_that_ends_or_is_stopped_ends_the_session() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    for (number, name) in (1..).zip(["end", "reset", "stop"]) {
        let link = arena.session(&identity);
        arena.attack(|attacker, _| match name {
            "stop" => attacker.stop_streams(link),
            _ => attacker.end_stream(link, CONTROL, name == "reset"),
        });
        assert_eq!(arena.look(|a| a.link(link).close_code()), Some(VIOLATION), "{name}");
        assert_eq!(arena.count(link::Counter::ProtocolViolations), number, "{name}");
    }
    arena.unharmed();
}

#[test]
fn a_peer_that_says_no_hello_is_given_up_and_counted() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let link = arena.dial(&identity);
    arena.run(5 * SECOND);
    assert_eq!(arena.usage().half_open, 1);
    assert_eq!(arena.look(|a| a.link(link).close_code()), None);
    arena.run(6 * SECOND);
    assert_eq!(arena.look(|a| a.link(link).close_code()), Some(TIMED_OUT));
    assert_eq!(arena.count(link::Counter::HandshakesFailed), 1);
    arena.run(5 * SECOND);
    assert_eq!((arena.usage().half_open, arena.usage().connections), (0, 1));
    arena.unharmed();
}

#[test]
fn a_hello_that_is_not_good_is_refused_with_its_reason() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let good = Hello::with(vec![identity.binding()]);
    let versions = |version_min, version_max| Hello { version_min, version_max, ..good.clone() };
    let cut = good.encode()[..100].to_vec();
    let long = [good.encode(), vec![0]].concat();
    let cases = [
        ("a newer version", versions(2, 3).encode(), VERSION, link::Counter::VersionsRefused),
        ("an older version", versions(0, 0).encode(), VERSION, link::Counter::VersionsRefused),
        ("no version", versions(2, 1).encode(), VERSION, link::Counter::VersionsRefused),
        ("no agent", Hello::with(Vec::new()).encode(), BAD_BINDING, link::Counter::BindingsRefused),
        ("a hello cut short", cut, VIOLATION, link::Counter::ProtocolViolations),
        ("a byte after the hello", long, VIOLATION, link::Counter::ProtocolViolations),
        ("a rebind", rebind(&good.bindings), VIOLATION, link::Counter::ProtocolViolations),
    ];
    for (name, hello, code, counter) in cases {
        let before = arena.count(counter);
        let link = arena.dial(&identity);
        arena.frame(link, CONTROL, &hello);
        assert_eq!(arena.look(|a| a.link(link).close_code()), Some(code), "{name}");
        assert_eq!(arena.count(counter), before + 1, "{name}");
    }
    assert_eq!(arena.count(link::Counter::LinksUp), 1);
    arena.unharmed();
}

#[test]
fn what_comes_before_the_hello_waits_for_it() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let to = arena.world.node_config(VICTIM).agent_key.id();
    let link = arena.dial(&identity);
    arena.frame(link, DIRECT, &open(0, 0, to, 1, 1));
    arena.frame(link, DIRECT, &message(0, 1, b"early"));
    arena.run(SECOND);
    let received = |arena: &Arena| {
        let events = arena.world.events().iter();
        events
            .filter(|logged| match &logged.event {
                Event::Direct(direct::Event::Received { payload, sender, .. }) => {
                    &payload[..] == b"early" && *sender == identity.agent.id()
                }
                Event::Reply { .. }
                | Event::Link(link::Event::PeerUp { .. })
                | Event::Link(link::Event::PeerDown { .. })
                | Event::Link(link::Event::PathChanged { .. })
                | Event::Gossip(gossip::Event::Received { .. })
                | Event::Gossip(gossip::Event::Lagged { .. })
                | Event::Gossip(gossip::Event::Equivocated { .. })
                | Event::Halted(_) => false,
            })
            .count()
    };
    assert_eq!(received(&arena), 0);
    arena.frame(link, CONTROL, &Hello::with(vec![identity.binding()]).encode());
    assert_eq!(received(&arena), 1);
    arena.unharmed();
}
