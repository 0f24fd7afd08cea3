//! Two nodes over real sockets.

#![expect(clippy::unwrap_used, reason = "a node that cannot go on has failed its test")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use x0x_core::identity::{AgentId, AgentKey, MachineKey};
use x0x_core::link::{ConnectError, DownReason, LinkConfig};
use x0x_core::node::{
    CommandError, Config, Connect, Connected, Event, ListPeers, MemoryStore, SendDirect,
    SetBlocked, Store, Target,
};
use x0x_tokio::{Events, Handle, StartError, start};

const PATIENCE: Duration = Duration::from_secs(20);

fn agent(number: u8) -> AgentKey {
    AgentKey::from_seed(&[number + 100; 32])
}

fn config(number: u8, sockets: &[&str]) -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: agent(number),
        certificate: None,
        sockets: sockets.iter().map(|address| address.parse().unwrap()).collect(),
        link: LinkConfig::default(),
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    }
}

fn node(number: u8) -> (Handle, Events) {
    start(config(number, &["127.0.0.1:0"]), MemoryStore::default()).unwrap()
}

async fn connect(from: &Handle, address: SocketAddr) -> Result<Connected, ConnectError> {
    let target = Target::Address { address, machine: None };
    from.request(Connect { target, keep: false, timeout: PATIENCE }).await.unwrap()
}

async fn next(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    let find = async {
        loop {
            let event = events.next().await.expect("the node runs");
            if wanted(&event) {
                return event;
            }
        }
    };
    timeout(PATIENCE, find).await.expect("the event comes")
}

fn message(recipient: AgentId, number: u32) -> SendDirect {
    let payload = Bytes::copy_from_slice(&number.to_be_bytes());
    SendDirect { recipient, payload, timeout: PATIENCE }
}

#[tokio::test]
async fn messages_arrive_in_order_and_a_peer_learns_of_a_shutdown() {
    const COUNT: u32 = 10_000;
    let (alice, mut alice_events) = node(1);
    let (bob, mut bob_events) = node(2);
    connect(&alice, bob.sockets()[0]).await.unwrap();
    let recipient = agent(2).id();
    let sending = async {
        let mut answers = Vec::new();
        for number in 0..COUNT {
            answers.push(alice.send(message(recipient, number).into()).await.unwrap());
        }
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
    };
    let receiving = async {
        for expected in 0..COUNT {
            let event = next(&mut bob_events, |e| matches!(e, Event::DirectReceived { .. })).await;
            let Event::DirectReceived { sender, payload, .. } = event else { unreachable!() };
            assert_eq!(sender, agent(1).id());
            assert_eq!(payload[..], expected.to_be_bytes());
        }
    };
    tokio::join!(sending, receiving);
    bob.shut_down().await;
    assert_eq!(bob.request(ListPeers).await, Err(CommandError::Halted));
    let down = next(&mut alice_events, |e| matches!(e, Event::PeerDown { .. })).await;
    assert!(matches!(down, Event::PeerDown { reason: DownReason::ClosedByPeer, .. }), "{down:?}");
    let rest = timeout(PATIENCE, async { while bob_events.next().await.is_some() {} }).await;
    assert_eq!(rest, Ok(()), "the events end");
}

#[tokio::test]
async fn a_socket_for_both_families_reaches_both() {
    let (dual, _dual_events) = start(config(1, &["[::]:0"]), MemoryStore::default()).unwrap();
    let (four, _four_events) = node(2);
    let (six, _six_events) = start(config(3, &["[::1]:0"]), MemoryStore::default()).unwrap();
    for other in [&four, &six] {
        let address = other.sockets()[0];
        let connected = connect(&dual, address).await.unwrap();
        assert_eq!(connected.address, address);
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_it() {
    let (taken, _events) = node(1);
    let address = taken.sockets()[0];
    let error = start(config(2, &[&address.to_string()]), MemoryStore::default()).err();
    assert!(
        matches!(error, Some(StartError::Bind { address: a, .. }) if a == address),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_handle_that_is_dropped_stops_the_node() {
    let (alice, mut alice_events) = node(1);
    let (bob, _bob_events) = node(2);
    connect(&alice, bob.sockets()[0]).await.unwrap();
    drop(bob);
    next(&mut alice_events, |e| matches!(e, Event::PeerDown { .. })).await;
}

/// A disk that is full.
struct Full;

impl Store for Full {
    fn restore(&mut self) -> Result<x0x_core::node::Restored, x0x_core::node::StoreError> {
        Ok(x0x_core::node::Restored::default())
    }

    fn apply(&mut self, _: &[x0x_core::node::Batch]) -> Result<(), x0x_core::node::StoreError> {
        Err(x0x_core::node::StoreError::Full)
    }

    fn load(&mut self, _: &x0x_core::node::Load) -> Result<Bytes, x0x_core::node::StoreError> {
        Err(x0x_core::node::StoreError::Missing)
    }
}

#[tokio::test]
async fn a_full_disk_halts_the_node_and_nobody_waits_for_ever() {
    let (node, mut events) = start(config(1, &["127.0.0.1:0"]), Full).unwrap();
    let block = SetBlocked { agent: agent(9).id(), blocked: true };
    let answer = timeout(PATIENCE, node.request(block)).await.unwrap();
    assert_eq!(answer, Err(CommandError::Halted));
    next(&mut events, |e| matches!(e, Event::Halted(_))).await;
    timeout(PATIENCE, node.shut_down()).await.expect("a halted node is shut down");
}
