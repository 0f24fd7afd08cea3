//! Many messages, and applications that are slower or faster than the node.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{join, join_all};
use x0x_core::node::Event;

use super::faults::Faulty;
use super::nodes::{acknowledged, agent, connect, message, next, node, received, within};
use crate::{COMMANDS_MAX, EVENTS_MAX, Events, Handle, Runtime};
use x0x_core::direct;

fn numbered(to: u8, number: usize) -> x0x_core::node::Request {
    let number = u32::try_from(number).unwrap();
    message(to, Bytes::copy_from_slice(&number.to_be_bytes())).into()
}

fn number(payload: &[u8]) -> usize {
    u32::from_be_bytes(payload.try_into().unwrap()) as usize
}

/// Sends numbered messages, all at once, and waits for all acknowledgements.
async fn storm(from: &Handle, to: u8, count: usize) {
    let mut answers = Vec::new();
    for number in 0..count {
        answers.push(from.send(numbered(to, number)).await.unwrap());
    }
    join_all(answers.into_iter().map(acknowledged)).await;
}

async fn hear(events: &mut Events, from: u8, count: usize) {
    for expected in 0..count {
        let heard = next(events, |event| {
            let Event::Direct(direct::Event::Received { sender, payload, .. }) = event else {
                return None;
            };
            Some((sender, number(&payload)))
        });
        assert_eq!(heard.await, (agent(from), expected));
    }
}

/// Both send as fast as they can.
pub async fn storms_both_ways_arrive_in_order<R: Runtime>(runtime: R) {
    const COUNT: usize = 10_000;
    let (alice, mut alice_events) = node(&runtime, 1);
    let (bob, mut bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    let storms = join(storm(&alice, 2, COUNT), storm(&bob, 1, COUNT));
    let hearing = join(hear(&mut bob_events, 1, COUNT), hear(&mut alice_events, 2, COUNT));
    within(&runtime, join(storms, hearing)).await;
}

/// The node has no turn before the queue is full: what does not fit waits, and keeps its place.
pub async fn requests_beyond_the_limit_wait_and_none_is_lost<R: Runtime>(runtime: R) {
    const COUNT: usize = 3 * COMMANDS_MAX;
    let (alice, _alice_events) = node(&runtime, 1);
    let (bob, mut bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    let mut answers = Vec::new();
    let mut next = 0;
    let full = loop {
        let mut sending = Box::pin(alice.send(numbered(2, next)));
        next += 1;
        match sending.as_mut().now_or_never() {
            Some(answer) => answers.push(answer.unwrap()),
            None => break sending,
        }
    };
    assert_eq!(answers.len(), COMMANDS_MAX);
    let rest = async {
        answers.push(full.await.unwrap());
        for number in next..COUNT {
            answers.push(alice.send(numbered(2, number)).await.unwrap());
        }
        join_all(answers.into_iter().map(acknowledged)).await;
    };
    within(&runtime, join(rest, hear(&mut bob_events, 1, COUNT))).await;
}

/// The application of one node takes no event until more have come than wait for it.
pub async fn a_slow_application_loses_the_oldest_events_and_the_node_goes_on<R: Runtime>(
    runtime: R,
) {
    const LOST: usize = 1000;
    const AT_ONCE: usize = 8192;
    let (alice, _alice_events) = node(&runtime, 1);
    let (bob, mut bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    // The first event says that the link is up.
    let count = EVENTS_MAX + LOST - 1;
    for first in (0..count).step_by(AT_ONCE) {
        let mut answers = Vec::new();
        for number in first..count.min(first + AT_ONCE) {
            answers.push(alice.send(numbered(2, number)).await.unwrap());
        }
        within(&runtime, join_all(answers.into_iter().map(acknowledged))).await;
    }
    for expected in LOST - 1..count {
        assert_eq!(number(&within(&runtime, received(&mut bob_events)).await), expected);
        assert_eq!(bob_events.lost(), LOST as u64);
    }
    within(&runtime, storm(&alice, 2, 10)).await;
    within(&runtime, hear(&mut bob_events, 1, 10)).await;
}

/// The application has a turn between the event and the acknowledgement.
pub async fn an_immediate_answer_shares_the_datagram_of_the_acknowledgement<R: Runtime>(
    runtime: R,
) {
    static ECHOED: AtomicUsize = AtomicUsize::new(0);
    const COUNT: usize = 200;
    let (counting, faults) = Faulty::new(runtime.clone());
    let (alice, mut alice_events) = node(&runtime, 1);
    let (bob, mut bob_events) = node(&counting, 2);
    let address = bob.sockets()[0];
    connect(&alice, address).await;
    runtime.spawn(async move {
        loop {
            let payload = received(&mut bob_events).await;
            drop(bob.send(message(1, payload).into()).await);
            ECHOED.fetch_add(1, Ordering::Relaxed);
        }
    });
    let round_trip = async |number| {
        let sent = alice.send(numbered(2, number)).await.unwrap();
        received(&mut alice_events).await;
        acknowledged(sent).await;
    };
    let all = async {
        let mut round_trip = round_trip;
        round_trip(0).await;
        let before = faults.counts().sends;
        for number in 1..=COUNT {
            round_trip(number).await;
        }
        faults.counts().sends - before
    };
    let sends = within(&runtime, all).await;
    assert_eq!(ECHOED.load(Ordering::Relaxed), COUNT + 1);
    // One for each message, and some for what QUIC has to say by itself.
    assert!(sends < COUNT * 3 / 2, "{sends} datagrams for {COUNT} messages");
}
