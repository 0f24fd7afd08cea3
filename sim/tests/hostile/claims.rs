//! Claims of agents that a peer may not speak for.

use std::time::Duration;

use bytes::Bytes;
use x0x_core::identity::{AgentBinding, BINDING_VALIDITY, Validity};
use x0x_core::node::{Event, SendDirect};
use x0x_sim::world::UNIX_BASE;

use super::arena::{Arena, FRIEND, Identity, SECOND, VICTIM};
use super::frames::{CONTROL, DIRECT, Hello, message, open, rebind};
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;

const BAD_BINDING: u64 = 3;
const VIOLATION: u64 = 6;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_hello_with_a_claim_that_does_not_hold_is_refused_and_counted() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let friend = arena.world.node_config(FRIEND).clone();
    let friends = Identity { machine: friend.machine_key, agent: friend.agent_key };
    let mut changed = identity.binding();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let mut renamed = friends.binding();
    let at = renamed.windows(32).position(|part| part == friends.machine.id().0).unwrap();
    renamed[at..at + 32].copy_from_slice(&identity.machine.id().0);
    let skew = Duration::from_secs(125);
    let cases = [
        ("another machine's", vec![friends.binding()]),
        ("another machine's, with the name of this one", vec![renamed]),
        ("a changed signature", vec![changed]),
        ("expired", vec![identity.binding_at(UNIX_BASE - BINDING_VALIDITY - skew, 1)]),
        ("not yet valid", vec![identity.binding_at(UNIX_BASE + DAY, 1)]),
        ("a good one and a bad one", vec![identity.binding(), friends.binding()]),
        ("nothing that can be read", vec![vec![1; 5000]]),
    ];
    for (number, (name, bindings)) in (1..).zip(cases) {
        let link = arena.dial(&identity);
        arena.frame(link, CONTROL, &Hello::with(bindings).encode());
        assert_eq!(arena.look(|a| a.link(link).close_code()), Some(BAD_BINDING), "{name}");
        assert_eq!(arena.count(link::Counter::BindingsRefused), number, "{name}");
    }
    assert_eq!(arena.count(link::Counter::LinksUp), 1);
    arena.unharmed();
}

#[test]
fn a_binding_older_than_one_that_was_seen_is_refused() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    for (sequence, code) in [(5, None), (4, Some(BAD_BINDING)), (5, None), (6, None)] {
        let link = arena.dial(&identity);
        let binding = identity.binding_at(UNIX_BASE, sequence);
        arena.frame(link, CONTROL, &Hello::with(vec![binding]).encode());
        assert_eq!(arena.look(|a| a.link(link).close_code()), code, "sequence {sequence}");
    }
    assert_eq!(arena.count(link::Counter::BindingsRefused), 1);
    arena.unharmed();
}

#[test]
fn a_session_lasts_no_longer_than_its_binding() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let link = arena.dial(&identity);
    // Thirty seconds are left of it, and the skew that clocks may have.
    let binding = identity.binding_at(UNIX_BASE - BINDING_VALIDITY + 30 * SECOND, 1);
    arena.frame(link, CONTROL, &Hello::with(vec![binding]).encode());
    arena.run(140 * SECOND);
    assert_eq!(arena.look(|a| a.link(link).close_code()), None);
    arena.run(15 * SECOND);
    assert_eq!(arena.look(|a| a.link(link).close_code()), Some(BAD_BINDING));
    assert_eq!(arena.count(link::Counter::BindingsExpired), 1);
    arena.unharmed();
}

#[test]
fn a_rebind_can_neither_add_nor_change_an_agent() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let other = arena.identity(2);
    let machine = identity.machine.id();
    let validity = Validity::starting_at(UNIX_BASE);
    let second = AgentBinding::issue(&other.agent, machine, validity, 1, None, &[5; 32]);
    let (own, second) = (identity.binding(), second.bytes().to_vec());
    let cases = [
        ("the same", vec![own.clone()], None),
        ("a newer one", vec![identity.binding_at(UNIX_BASE, 2)], None),
        ("an older one", vec![own.clone()], Some(BAD_BINDING)),
        ("one more", vec![identity.binding_at(UNIX_BASE, 2), second.clone()], Some(VIOLATION)),
        ("another", vec![second], Some(VIOLATION)),
        ("none", vec![], Some(BAD_BINDING)),
    ];
    for (name, bindings, code) in cases {
        let link = arena.dial(&identity);
        let newest = identity.binding_at(UNIX_BASE, 2);
        let first = if code.is_none() { own.clone() } else { newest };
        arena.frame(link, CONTROL, &Hello::with(vec![first]).encode());
        arena.frame(link, CONTROL, &rebind(&bindings));
        assert_eq!(arena.look(|a| a.link(link).close_code()), code, "{name}");
    }
    arena.unharmed();
}

#[test]
fn the_sender_of_a_message_is_the_agent_that_was_proven() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let to = arena.world.node_config(VICTIM).agent_key.id();
    for from in [0, 1, 7, 255] {
        let link = arena.session(&identity);
        arena.frame(link, DIRECT, &open(0, from, to, from.into(), 1));
        arena.frame(link, DIRECT, &message(0, 1, b"whose word is this"));
        let expected = (from > 0).then_some(VIOLATION);
        assert_eq!(arena.look(|a| a.link(link).close_code()), expected, "from {from}");
    }
    let senders: Vec<_> = arena
        .world
        .events()
        .iter()
        .filter_map(|logged| match &logged.event {
            Event::Direct(direct::Event::Received { sender, .. }) => Some(*sender),
            Event::Reply { .. }
            | Event::Link(link::Event::PeerUp { .. })
            | Event::Link(link::Event::PeerDown { .. })
            | Event::Link(link::Event::PathChanged { .. })
            | Event::Gossip(gossip::Event::Received { .. })
            | Event::Gossip(gossip::Event::Lagged { .. })
            | Event::Gossip(gossip::Event::Equivocated { .. })
            | Event::Halted(_) => None,
        })
        .collect();
    assert_eq!(senders, [identity.agent.id()]);
    assert_eq!(arena.count(direct::Counter::Violations), 3);
    arena.unharmed();
}

/// Messages for agents that are not here, on as many channels as there can be.
#[test]
fn messages_for_others_are_refused_and_counted() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let link = arena.session(&identity);
    for channel in 0..64 {
        let nobody = Identity::new(1000 + u32::from(channel)).agent.id();
        arena.attack(|attacker, _| {
            attacker.frame(link, DIRECT, &open(channel, 0, nobody, channel.into(), 1));
            attacker.frame(link, DIRECT, &message(channel, 1, b"hello"));
        });
    }
    assert_eq!(arena.look(|a| a.link(link).close_code()), None);
    assert_eq!(arena.count(direct::Counter::MessagesRefused), 64);
    assert_eq!(arena.look(|a| a.link(link).frames(DIRECT).len()), 64, "an answer with its verdict");
    arena.unharmed();
}

#[test]
fn an_agent_that_is_claimed_twice_is_the_same_agent() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let to = arena.world.node_config(VICTIM).agent_key.id();
    for round in 1..=3 {
        let link = arena.dial(&identity);
        let hello = Hello::with(vec![identity.binding(); 8]).encode();
        arena.frame(link, CONTROL, &hello);
        let send = SendDirect {
            recipient: identity.agent.id(),
            payload: Bytes::from_static(b"hello"),
            timeout: SECOND,
        };
        arena.world.command(VICTIM, send).unwrap();
        arena.frame(link, DIRECT, &open(7, 0, to, round, 1));
        arena.frame(link, DIRECT, &message(7, 1, b"hello"));
        assert_eq!(arena.count(direct::Counter::MessagesReceived), round);
        // The same agent once more, by another of its places.
        arena.frame(link, DIRECT, &open(3, 5, to, round, 1));
        assert_eq!(arena.look(|a| a.link(link).close_code()), Some(VIOLATION));
        arena.run(2 * SECOND);
        assert_eq!(arena.world.outstanding(), 0);
    }
    arena.unharmed();
}
