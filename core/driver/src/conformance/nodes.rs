//! Nodes for tests, and waiting for them.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::identity::{AgentId, AgentKey, MachineId, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::{
    Config, Connect, Connected, Event, MemoryStore, Reply, SendDirect, SetBlocked, Target,
};

use crate::runtime::{AsyncTimer, Runtime};
use crate::{Answer, Events, Handle, start};
use x0x_core::direct;

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A socket address of any port.
pub(super) const LOOPBACK: &str = "127.0.0.1:0";

pub(super) fn agent_key(number: u8) -> AgentKey {
    AgentKey::from_seed(&[number + 100; 32])
}

pub(super) fn agent(number: u8) -> AgentId {
    agent_key(number).id()
}

pub(super) fn machine(number: u8) -> MachineId {
    MachineKey::from_seed(&[number; 32]).id()
}

pub(super) fn config(number: u8, sockets: &[&str]) -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: agent_key(number),
        certificate: None,
        sockets: sockets.iter().map(|address| address.parse().unwrap()).collect(),
        link: LinkConfig::default(),
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    }
}

/// Starts a node on loopback that forgets everything.
pub(super) fn node(runtime: &impl Runtime, number: u8) -> (Handle, Events) {
    start(runtime, config(number, &[LOOPBACK]), MemoryStore::default()).unwrap()
}

pub(super) async fn connect(from: &Handle, address: SocketAddr) -> Connected {
    let target = Target::Address { address, machine: None };
    from.request(Connect { target, keep: false, timeout: PATIENCE }).await.unwrap().unwrap()
}

pub(super) fn message(number: u8, payload: impl Into<Bytes>) -> SendDirect {
    SendDirect { recipient: agent(number), payload: payload.into(), timeout: PATIENCE }
}

/// Sends a message and waits for its acknowledgement.
pub(super) async fn send(from: &Handle, to: u8, payload: &'static str) {
    from.request(message(to, payload)).await.unwrap().unwrap();
}

pub(super) async fn acknowledged(answer: Answer) {
    let reply = answer.await.unwrap().unwrap();
    assert!(matches!(reply, Reply::Direct(direct::Reply::SendDirect(Ok(_)))), "{reply:?}");
}

/// Blocks the agent of another number; each request is a write.
pub(super) fn block(number: u32) -> SetBlocked {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    SetBlocked { agent: AgentId(id), blocked: true }
}

/// Waits for an event of which `select` makes something.
pub(super) async fn next<T>(events: &mut Events, select: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the node runs");
        if let Some(selected) = select(event) {
            return selected;
        }
    }
}

/// Waits for the next direct message.
pub(super) async fn received(events: &mut Events) -> Bytes {
    let payload = |event| {
        if let Event::Direct(direct::Event::Received { payload, .. }) = event {
            Some(payload)
        } else {
            None
        }
    };
    next(events, payload).await
}

/// Waits for a future, but not longer than [`PATIENCE`].
pub(super) async fn within<F: Future>(runtime: &impl Runtime, future: F) -> F::Output {
    let mut timer = runtime.new_timer(Instant::now() + PATIENCE);
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        assert!(timer.poll_expired(context).is_pending(), "it takes longer than {PATIENCE:?}");
        Poll::Pending
    })
    .await
}

pub(super) async fn sleep(runtime: &impl Runtime, duration: Duration) {
    let mut timer = runtime.new_timer(Instant::now() + duration);
    poll_fn(|context| timer.poll_expired(context)).await;
}
