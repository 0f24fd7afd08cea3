//! Several sockets, and sockets that fail.

use std::io::ErrorKind;
use std::time::Duration;

use x0x_core::node::{ChangeNetwork, Connect, Event, ListPeers, MemoryStore, Target};

use super::faults::{Counts, Faulty};
use super::nodes::{PATIENCE, config, connect, machine, next, node, received, send, sleep, within};
use crate::runtime::Direction;
use crate::{RECEIVE_PAUSE, RECEIVES_MAX, Runtime, start};
use x0x_core::direct;
use x0x_core::link;

/// A socket for both families, and one for each of two IPv4 addresses and one IPv6 address.
pub async fn peers_are_reached_over_every_socket<R: Runtime>(runtime: R) {
    let started = |number, sockets: &[&str]| {
        start(&runtime, config(number, sockets), MemoryStore::default()).unwrap()
    };
    let (four, _four_events) = node(&runtime, 2);
    let (six, _six_events) = started(3, &["[::1]:0"]);
    let (dual, _dual_events) = started(1, &["[::]:0"]);
    for other in [&four, &six] {
        let address = other.sockets()[0];
        assert_eq!(within(&runtime, connect(&dual, address)).await.address, address);
    }
    let (several, mut events) = started(4, &["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"]);
    let &[one, two, three] = several.sockets() else { panic!("three sockets") };
    for (peer, number, address) in [(&four, 2, one), (&dual, 1, two), (&six, 3, three)] {
        assert_eq!(within(&runtime, connect(peer, address)).await.machine, machine(4));
        within(&runtime, send(peer, 4, "over any socket")).await;
        assert_eq!(within(&runtime, received(&mut events)).await, "over any socket");
        within(&runtime, send(&several, number, "and back")).await;
    }
}

/// The socket is connected to a port that nobody has, so the system reports what ICMP says.
pub async fn a_port_that_is_unreachable_does_not_end_the_node<R: Runtime>(runtime: R) {
    let (bob, _bob_events) = node(&runtime, 2);
    let address = bob.sockets()[0];
    let (connected, faults) = Faulty::new(runtime.clone());
    faults.connect_sockets(address);
    let (alice, mut alice_events) = node(&connected, 1);
    within(&runtime, connect(&alice, address)).await;
    within(&runtime, bob.shut_down()).await;
    let down = |event| matches!(event, Event::Link(link::Event::PeerDown { .. })).then_some(());
    within(&runtime, next(&mut alice_events, down)).await;

    let target = Target::Address { address, machine: None };
    let dialling = Connect { target, keep: false, timeout: PATIENCE };
    let dialling = alice.send(dialling.into()).await.unwrap();
    while faults.counts().system_errors == 0 {
        within(&runtime, alice.request(ListPeers)).await.unwrap();
        sleep(&runtime, Duration::from_millis(10)).await;
    }
    let again = start(&runtime, config(2, &[&address.to_string()]), MemoryStore::default());
    let (_bob, mut bob_events) = again.unwrap();
    within(&runtime, dialling).await.unwrap().unwrap();
    within(&runtime, send(&alice, 2, "at last")).await;
    assert_eq!(within(&runtime, received(&mut bob_events)).await, "at last");
}

/// Requests are answered meanwhile; datagrams leave when the socket takes them.
pub async fn a_blocked_socket_holds_up_no_request<R: Runtime>(runtime: R) {
    let (blocking, faults) = Faulty::new(runtime.clone());
    let (alice, _alice_events) = node(&blocking, 1);
    let (bob, mut bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    let local = alice.sockets()[0];
    faults.set(local, Direction::Send, Some(ErrorKind::WouldBlock));
    let sent = alice.send(super::nodes::message(2, "patience").into()).await.unwrap();
    let before = faults.counts().sends;
    for _ in 0..100 {
        assert_eq!(within(&runtime, alice.request(ListPeers)).await.unwrap().len(), 1);
    }
    // A request is an occasion to try again, no more.
    let tries = faults.counts().sends - before;
    assert!(tries < 1000, "{tries} tries to send");
    faults.set(local, Direction::Send, None);
    assert_eq!(within(&runtime, received(&mut bob_events)).await, "patience");
    within(&runtime, super::nodes::acknowledged(sent)).await;
}

/// What the socket does not take is lost after a while.
pub async fn a_socket_that_stays_blocked_does_not_keep_the_node_from_stopping<R: Runtime>(
    runtime: R,
) {
    let (blocking, faults) = Faulty::new(runtime.clone());
    let (alice, _alice_events) = node(&blocking, 1);
    let (bob, _bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    faults.set(alice.sockets()[0], Direction::Send, Some(ErrorKind::WouldBlock));
    within(&runtime, alice.shut_down()).await;
}

/// One of two addresses goes while a link uses it. The application says so, and the link goes on.
pub async fn a_link_moves_when_its_address_is_removed<R: Runtime>(runtime: R) {
    let (failing, faults) = Faulty::new(runtime.clone());
    let settings = config(1, &["127.0.0.1:0", "127.0.0.2:0"]);
    let (alice, mut alice_events) = start(&failing, settings, MemoryStore::default()).unwrap();
    let &[removed, kept] = alice.sockets() else { panic!("two sockets") };
    let (bob, mut bob_events) = node(&runtime, 2);
    connect(&bob, removed).await;
    within(&runtime, send(&bob, 1, "before")).await;
    faults.set(removed, Direction::Send, Some(ErrorKind::AddrNotAvailable));
    faults.set(removed, Direction::Receive, Some(ErrorKind::NetworkDown));
    alice.request(ChangeNetwork { sockets: vec![kept] }).await.unwrap();
    within(&runtime, send(&alice, 2, "after")).await;
    assert_eq!(within(&runtime, received(&mut bob_events)).await, "after");
    within(&runtime, send(&bob, 1, "back")).await;
    for expected in ["before", "back"] {
        let payload = |event| {
            assert!(!matches!(event, Event::Link(link::Event::PeerDown { .. })), "{event:?}");
            if let Event::Direct(direct::Event::Received { payload, .. }) = event {
                Some(payload)
            } else {
                None
            }
        };
        assert_eq!(within(&runtime, next(&mut alice_events, payload)).await, expected);
    }
}

/// The loop sleeps between the tries, and the link survives.
pub async fn a_socket_that_fails_again_and_again_is_read_again_after_a_pause<R: Runtime>(
    runtime: R,
) {
    const PAUSES: u32 = 5;
    let (failing, faults) = Faulty::new(runtime.clone());
    let (alice, _alice_events) = node(&failing, 1);
    let (bob, mut bob_events) = node(&runtime, 2);
    connect(&alice, bob.sockets()[0]).await;
    let Counts { receives: before, .. } = faults.counts();
    faults.set(alice.sockets()[0], Direction::Receive, Some(ErrorKind::NetworkDown));
    sleep(&runtime, PAUSES * RECEIVE_PAUSE).await;
    let tries = faults.counts().receives - before;
    let tries_max = (PAUSES as usize + 2) * RECEIVES_MAX;
    assert!((RECEIVES_MAX..=tries_max).contains(&tries), "{tries} receives");
    faults.set(alice.sockets()[0], Direction::Receive, None);
    within(&runtime, send(&alice, 2, "again")).await;
    assert_eq!(within(&runtime, received(&mut bob_events)).await, "again");
}
