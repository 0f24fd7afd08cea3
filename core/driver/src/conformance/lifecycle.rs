//! Start, stop, restart, and clocks.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use futures_util::future::{join, join_all};
use x0x_core::direct::DirectError;
use x0x_core::link::DownReason;
use x0x_core::node::recording::{End, Moment, Replay};
use x0x_core::node::{
    CommandError, Connect, Event, ListPeers, MemoryStore, Reply, SetBlocked, Target,
};

use super::faults::Faulty;
use super::nodes::{
    LOOPBACK, PATIENCE, agent, block, config, connect, machine, message, next, node, received,
    send, within,
};
use super::recordings::Scratch;
use super::test_store::TestStore;
use crate::{Ended, Runtime, StartError, start, start_recorded};
use x0x_core::direct;
use x0x_core::link;
use x0x_core::node::control;

/// The first node has the port; the second names it in its error.
pub async fn an_address_that_is_taken_is_an_error_that_names_it<R: Runtime>(runtime: R) {
    let (taken, _events) = node(&runtime, 1);
    let address = taken.sockets()[0];
    let second = config(2, &[&address.to_string()]);
    let error = start(&runtime, second, MemoryStore::default()).err();
    assert!(
        matches!(error, Some(StartError::Bind { address: a, .. }) if a == address),
        "{error:?}"
    );
    within(&runtime, taken.request(ListPeers)).await.unwrap();
}

/// A message to nobody waits until the shutdown, which the peer learns of. Then there is nothing left.
pub async fn a_node_that_is_shut_down_answers_everybody_and_frees_its_port<R: Runtime>(runtime: R) {
    let (alice, mut alice_events) = node(&runtime, 1);
    let (bob, mut bob_events) = node(&runtime, 2);
    let address = bob.sockets()[0];
    connect(&alice, address).await;
    let nowhere = ([127, 0, 0, 1], UdpSocket::bind(LOOPBACK).unwrap().local_addr().unwrap().port());
    let target = Target::Address { address: nowhere.into(), machine: Some(machine(9)) };
    let waiting = Connect { target, keep: true, timeout: PATIENCE };
    let waiting = bob.send(waiting.into()).await.unwrap();
    within(&runtime, bob.shut_down()).await;
    let answer = waiting.await.unwrap().unwrap();
    assert!(matches!(answer, Reply::Link(link::Reply::Connect(Err(_)))), "{answer:?}");
    assert_eq!(bob.request(ListPeers).await, Err(CommandError::Halted));
    assert!(UdpSocket::bind(address).is_ok(), "the port is free");
    within(&runtime, async { while bob_events.next().await.is_some() {} }).await;
    let reason = |event| {
        if let Event::Link(link::Event::PeerDown { reason, .. }) = event {
            Some(reason)
        } else {
            None
        }
    };
    let reason = within(&runtime, next(&mut alice_events, reason)).await;
    assert_eq!(reason, DownReason::ClosedByPeer);
}

/// Nobody is left who could ask for anything.
pub async fn a_handle_that_is_dropped_stops_the_node<R: Runtime>(runtime: R) {
    let (alice, mut alice_events) = node(&runtime, 1);
    let (bob, mut bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    drop(bob);
    let down = |event| matches!(event, Event::Link(link::Event::PeerDown { .. })).then_some(());
    within(&runtime, next(&mut alice_events, down)).await;
    within(&runtime, async { while bob_events.next().await.is_some() {} }).await;
}

/// The second run has the address book and the blocked agents of the first, and its port.
pub async fn the_state_survives_a_restart<R: Runtime>(runtime: R) {
    let store = TestStore::new(|_| Ok(()));
    let mut settings = config(1, &[LOOPBACK]);
    let (alice, _events) = start(&runtime, settings.clone(), store.clone()).unwrap();
    let (bob, _bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    alice.request(SetBlocked { agent: agent(2), blocked: true }).await.unwrap();
    settings.sockets = alice.sockets().to_vec();
    within(&runtime, alice.shut_down()).await;

    let (alice, _events) = start(&runtime, settings.clone(), store).unwrap();
    assert_eq!(alice.sockets(), settings.sockets);
    let target = Target::Agent(agent(2));
    let again = Connect { target, keep: false, timeout: PATIENCE };
    let connected = within(&runtime, alice.request(again)).await.unwrap().unwrap();
    assert_eq!(connected.machine, machine(2));
    let refused = within(&runtime, bob.request(message(1, "hello"))).await.unwrap();
    assert!(matches!(refused, Err(DirectError::Refused(_))), "{refused:?}");
}

/// A slow store and a message that nobody acknowledges: every write is stored, every request answered,
/// and the recording whole.
pub async fn a_shutdown_loses_nothing<R: Runtime>(runtime: R) {
    const WRITES: u32 = 3000;
    let store = TestStore::new(|_| {
        thread::sleep(Duration::from_millis(100));
        Ok(())
    });
    let scratch = Scratch::new("shutdown");
    let file = scratch.file(64 << 20);
    let watch = file.watch();
    let started = start_recorded(&runtime, config(1, &[LOOPBACK]), store.clone(), file);
    let (alice, _events) = started.unwrap();
    let (bob, _bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    let before = store.len();
    let mut answers = Vec::new();
    for number in 0..WRITES {
        answers.push(alice.send(block(number).into()).await.unwrap());
    }
    let shutdown = async {
        alice.shut_down().await;
        let state = watch.state();
        assert_eq!(state.ended, Some(Ended::With(End::NodeEnded)), "the file is whole");
        assert_eq!(state.bytes, std::fs::metadata(&scratch.0).unwrap().len());
        assert!(store.len() >= before + WRITES as usize, "all is stored: {}", store.len());
    };
    let (answers, ()) = within(&runtime, join(join_all(answers), shutdown)).await;
    for answer in answers {
        assert!(
            matches!(answer, Ok(Ok(Reply::Control(control::Reply::SetBlocked(_))))),
            "{answer:?}"
        );
    }
    let mut replay: Replay = scratch.replay();
    let mut replies = 0;
    let tally = replay.visit(|_, moment| {
        if let Moment::Output(x0x_core::node::Output::Event(Event::Reply { .. }), _) = moment {
            replies += 1;
        }
    });
    let tally = tally.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(tally.end, Some(End::NodeEnded));
    // The replies to the writes, to the connect and to the shutdown.
    assert_eq!(replies, WRITES + 2);
}

/// The wall clock jumps by days; the link stays and messages carry the new time.
pub async fn a_clock_that_jumps_breaks_no_link<R: Runtime>(runtime: R) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let (jumping, faults) = Faulty::new(runtime.clone());
    let (alice, mut alice_events) = node(&jumping, 1);
    let (bob, mut bob_events) = node(&runtime, 2);
    connect(&bob, alice.sockets()[0]).await;
    let now = runtime.unix_time();
    for unix_time in [now + 2 * DAY, now - 3 * DAY, now + DAY, now] {
        faults.set_unix_time(unix_time);
        within(&runtime, send(&bob, 1, "what time is it?")).await;
        let at = |event| {
            assert!(!matches!(event, Event::Link(link::Event::PeerDown { .. })), "{event:?}");
            if let Event::Direct(direct::Event::Received { received_at, .. }) = event {
                Some(received_at)
            } else {
                None
            }
        };
        let received_at = within(&runtime, next(&mut alice_events, at)).await;
        assert!(received_at.abs_diff(unix_time) < Duration::from_secs(10), "{received_at:?}");
        within(&runtime, send(&alice, 2, "late")).await;
        assert_eq!(within(&runtime, received(&mut bob_events)).await, "late");
    }
}
