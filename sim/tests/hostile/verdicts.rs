//! Lies about messages: acknowledgements of nothing, numbers backwards, the same again and again.

use bytes::Bytes;
use x0x_core::direct::DirectError;
use x0x_core::identity::AgentId;
use x0x_core::node::{CommandId, Event, Reply, SendDirect};
use x0x_core::support::Rng;

use super::arena::{Arena, Identity, SECOND, VICTIM};
use super::attacker::LinkNumber;
use super::frames::{DIRECT, message, open, opened, verdict};
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;

const VIOLATION: u64 = 6;

/// Has the victim send the attacker a few messages.
fn address(arena: &mut Arena, identity: &Identity, count: usize) -> Vec<CommandId> {
    let send = || {
        let payload = Bytes::from_static(b"to be acknowledged");
        SendDirect { recipient: identity.agent.id(), payload, timeout: 5 * SECOND }
    };
    let ids = (0..count).map(|_| arena.world.command(VICTIM, send()).unwrap()).collect();
    arena.run(SECOND);
    ids
}

/// A session in which the attacker has got a few messages.
fn addressed(arena: &mut Arena, identity: &Identity, count: usize) -> (LinkNumber, Vec<CommandId>) {
    let link = arena.session(identity);
    let ids = address(arena, identity, count);
    assert_eq!(arena.look(|a| a.link(link).frames(DIRECT).len()), 1 + count);
    (link, ids)
}

fn acknowledged(arena: &Arena, ids: &[CommandId]) -> usize {
    let is_good = |id: &&CommandId| {
        matches!(arena.world.reply(**id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_)))))
    };
    ids.iter().filter(is_good).count()
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_ends_the_session() {
    let lies: [(&str, &[Vec<u8>]); 6] = [
        ("a verdict on the next message", &[opened(0, 1), verdict(0, 4, 0)]),
        ("a verdict on all messages", &[opened(0, 1), verdict(0, (1 << 62) - 1, 0)]),
        ("a verdict in an answer", &[[opened(0, 1), vec![9, 0]].concat()]),
        ("a verdict on another channel", &[verdict(1, 1, 0)]),
        ("a record from the future", &[opened(0, 2)]),
        ("two answers", &[opened(0, 1), opened(0, 1)]),
    ];
    let mut arena = Arena::new(1);
    for (number, (name, frames)) in (1..).zip(lies) {
        let identity = arena.identity(number);
        let (link, ids) = addressed(&mut arena, &identity, 3);
        for frame in frames {
            arena.frame(link, DIRECT, frame);
        }
        assert_eq!(arena.look(|a| a.link(link).close_code()), Some(VIOLATION), "{name}");
        assert_eq!(arena.count(direct::Counter::Violations), number.into(), "{name}");
        arena.run(6 * SECOND);
        assert_eq!(acknowledged(&arena, &ids), 0, "{name}");
        for id in ids {
            let reply = arena.world.reply(id);
            let timeout =
                Reply::Direct(direct::Reply::SendDirect(Err(DirectError::Timeout { sent: true })));
            assert_eq!(reply, Some(&timeout), "{name}");
        }
    }
    arena.unharmed();
}

#[test]
fn an_acknowledgement_that_comes_twice_or_backwards_changes_nothing() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let (link, ids) = addressed(&mut arena, &identity, 5);
    arena.frame(link, DIRECT, &opened(0, 1));
    for (through, expected) in [(0, 0), (2, 2), (2, 2), (1, 2), (4, 4), (3, 4), (5, 5), (5, 5)] {
        // A refusal of what was accepted is too late.
        for code in [0, 1, 4] {
            arena.frame(link, DIRECT, &verdict(0, through, code));
        }
        assert_eq!(acknowledged(&arena, &ids), expected, "through {through}");
    }
    for _ in 0..1000 {
        arena.strike(|attacker, _| attacker.frame(link, DIRECT, &verdict(0, 5, 0)));
    }
    arena.run(SECOND);
    assert_eq!(arena.look(|a| a.link(link).close_code()), None);
    assert_eq!(arena.world.outstanding(), 0);
    arena.unharmed();
}

/// The second session resumes the conversation of the first and repeats all of it.
#[test]
fn a_flood_of_messages_that_came_before_delivers_none_of_them_again() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let to = arena.world.node_config(VICTIM).agent_key.id();
    for attempt in 1..=4 {
        let link = arena.session(&identity);
        arena.frame(link, DIRECT, &open(0, 0, to, 77, attempt));
        arena.strike(|attacker, _| {
            for sequence in 1..=1000 {
                attacker.frame(link, DIRECT, &message(0, sequence, &sequence.to_be_bytes()));
            }
        });
        arena.talk();
        arena.run(2 * SECOND);
        assert_eq!(arena.look(|a| a.link(link).close_code()), None);
        arena.attack(|attacker, now| attacker.close(link, now));
    }
    let delivered = arena.world.events().iter().filter(|logged| match &logged.event {
        Event::Direct(direct::Event::Received { sender, .. }) => *sender == identity.agent.id(),
        Event::Reply { .. }
        | Event::Link(link::Event::PeerUp { .. })
        | Event::Link(link::Event::PeerDown { .. })
        | Event::Link(link::Event::PathChanged { .. })
        | Event::Gossip(gossip::Event::Received { .. })
        | Event::Gossip(gossip::Event::Lagged { .. })
        | Event::Gossip(gossip::Event::Equivocated { .. })
        | Event::Halted(_) => false,
    });
    assert_eq!(delivered.count(), 1000);
    assert_eq!(arena.count(direct::Counter::MessagesDuplicate), 3000);
    arena.unharmed();
}

/// A frame of any kind whose fields are near to what the rules allow.
fn likely(rng: &mut Rng, to: AgentId, step: u64) -> Vec<u8> {
    let small = |rng: &mut Rng, bound| u8::try_from(rng.below(bound)).unwrap();
    let channel = small(rng, 3);
    match rng.below(12) {
        0 => open(channel, small(rng, 2), to, rng.below(3), 1 + rng.below(4)),
        1 => opened(channel, 1 + rng.below(3)),
        2 | 3 => verdict(channel, rng.below(8), small(rng, 6)),
        4 => message(channel, rng.below(40), b"at random"),
        _ => message(0, 1 + 2 * step + rng.below(3), b"likely"),
    }
}

#[test]
fn whatever_a_peer_says_in_whatever_order_its_messages_and_those_for_it_end() {
    for seed in 1..=6 {
        chatter(seed);
    }
}

fn chatter(seed: u8) {
    let mut arena = Arena::new(seed.into());
    let identity = arena.identity(1);
    let to = arena.world.node_config(VICTIM).agent_key.id();
    let mut rng = Rng::from_seed([seed; 32]);
    for round in 0..100 {
        let Some(link) = arena.held_session(&identity) else {
            arena.run(40 * SECOND);
            continue;
        };
        address(&mut arena, &identity, round % 4);
        if rng.below(4) > 0 {
            arena.frame(link, DIRECT, &open(0, 0, to, rng.below(2), 1 + rng.below(4)));
        }
        for step in 0..rng.below(12) {
            let frame = likely(&mut rng, to, step);
            arena.strike(|attacker, _| attacker.frame(link, DIRECT, &frame));
            if rng.below(4) == 0 {
                arena.run(SECOND / 20);
            }
        }
        arena.run(SECOND);
    }
    arena.run(10 * SECOND);
    assert_eq!(arena.world.outstanding(), 0);
    assert!(arena.count(direct::Counter::Violations) > 10);
    assert!(arena.count(direct::Counter::MessagesReceived) > 10);
    arena.unharmed();
}
