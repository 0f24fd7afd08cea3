//! What the node tells, handed to everybody who listens, and what is remembered of it.
//!
//! A [`Feed`] copies each item to all its [`Subscription`]s. Each has a bounded queue of its own;
//! when it is full the oldest item goes, and is counted. So a slow reader harms itself only.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use utoipa::ToSchema;
use x0x_core::identity::{AgentId, MachineId};
use x0x_core::node::{Event, Fatal};
use x0x_tokio::Events;

use crate::queue::{Limits, Queue, Taken, lock};
use crate::topics::Topics;
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;

/// How many direct messages wait for one listener.
pub const DIRECT_QUEUE_MAX: usize = 8192;

/// How many changes of peers wait for one listener.
pub const PEER_QUEUE_MAX: usize = 256;

/// How many bytes wait for one listener.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// How many events are handled before those who listen get their turn.
const EVENTS_AT_ONCE: usize = 1024;

/// How many machines are remembered after their link went down.
pub const PEERS_MAX: usize = 4096;

/// Copies items to everybody who subscribed.
#[derive(Debug)]
pub struct Feed<T> {
    limits: Limits,
    /// How many bytes an item has.
    size: fn(&T) -> usize,
    queues: Mutex<Vec<Arc<Queue<T>>>>,
    evicted: AtomicU64,
}

impl<T: Clone> Feed<T> {
    /// Makes a feed whose subscriptions hold at most so much each.
    pub fn new(limits: Limits, size: fn(&T) -> usize) -> Self {
        Self { limits, size, queues: Mutex::default(), evicted: AtomicU64::new(0) }
    }

    /// Subscribes from now on.
    pub fn subscribe(self: &Arc<Self>) -> Subscription<T> {
        let queue = Arc::new(Queue::new(self.limits));
        lock(&self.queues).push(queue.clone());
        Subscription { feed: self.clone(), queue }
    }

    /// Hands an item to everybody. It is only made if there is anybody.
    pub fn publish(&self, item: impl FnOnce() -> T) {
        let queues = lock(&self.queues);
        let Some((last, others)) = queues.split_last() else { return };
        let item = item();
        let size = (self.size)(&item);
        let mut evicted = 0;
        for queue in others {
            evicted += queue.push(item.clone(), size);
        }
        evicted += last.push(item, size);
        self.evicted.fetch_add(evicted, Ordering::Relaxed);
    }

    /// Ends all subscriptions, once they have taken what waits for them.
    pub fn close(&self) {
        lock(&self.queues).drain(..).for_each(|queue| queue.close());
    }

    /// How many listen.
    pub fn subscribers(&self) -> usize {
        lock(&self.queues).len()
    }

    /// How many items were lost because a listener was slow.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// One listener.
#[derive(Debug)]
pub struct Subscription<T: Clone> {
    feed: Arc<Feed<T>>,
    queue: Arc<Queue<T>>,
}

impl<T: Clone> Subscription<T> {
    /// Waits for the next item; `None` once the feed is closed. It may be cancelled without a loss.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            match poll_fn(|context| self.queue.poll_next(context)).await? {
                Taken::Item(item) => return Some(item),
                // They are counted.
                Taken::Missed(_) => {}
            }
        }
    }
}

impl<T: Clone> Drop for Subscription<T> {
    fn drop(&mut self) {
        lock(&self.feed.queues).retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

/// A direct message, as listeners see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DirectMessage {
    /// The agent that sent it; proven.
    sender: String,
    /// The machine that it came from; proven.
    machine_id: String,
    /// The message, base64.
    payload: String,
    /// When it arrived, in milliseconds since the Unix epoch.
    received_at: u64,
    /// Whether the sender is proven. Always.
    verified: bool,
    /// What the contacts say of the sender.
    trust_decision: &'static str,
}

/// A change of a peer, as listeners see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeerChange {
    /// The machine.
    pub peer_id: String,
    /// What happened.
    pub event: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// What is remembered of a machine.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The agents that it proved.
    pub agents: Vec<AgentId>,
    /// Whether it has a link.
    pub is_connected: bool,
    /// How many links it has had.
    pub generation: u64,
    /// When a message of it last came.
    pub last_received: Option<Instant>,
    /// When a message to it was last acknowledged.
    pub last_sent: Option<Instant>,
    /// Why the last link ended.
    pub close_reason: Option<String>,
    /// How many messages came from it.
    pub received: u64,
    /// How many messages to it were acknowledged.
    pub sent: u64,
    /// How many messages to it failed.
    pub failed: u64,
    changed: Instant,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            agents: Vec::new(),
            is_connected: false,
            generation: 0,
            last_received: None,
            last_sent: None,
            close_reason: None,
            received: 0,
            sent: 0,
            failed: 0,
            changed: Instant::now(),
        }
    }
}

/// How direct messages fared since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirectStats {
    /// Sends that were asked for.
    pub sends: u64,
    /// Those that were acknowledged.
    pub succeeded: u64,
    /// Those that ended otherwise.
    pub failed: u64,
    /// Those to an agent of this node.
    pub loopback: u64,
    /// Messages that came.
    pub received: u64,
}

#[derive(Debug, Default)]
struct State {
    peers: BTreeMap<MachineId, Peer>,
    stats: DirectStats,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Hub {
    /// Direct messages, each as the fields of a JSON object, between its braces.
    pub direct: Arc<Feed<Arc<str>>>,
    /// Changes of peers.
    pub peers: Arc<Feed<PeerChange>>,
    /// Messages of topics.
    pub topics: Arc<Topics>,
    state: Mutex<State>,
    /// How many events of the node were lost because this hub was slow.
    lost: AtomicU64,
}

impl Default for Hub {
    fn default() -> Self {
        let limits = |items| Limits { items, bytes: QUEUE_BYTES_MAX };
        Self {
            direct: Arc::new(Feed::new(limits(DIRECT_QUEUE_MAX), |fields| fields.len())),
            peers: Arc::new(Feed::new(limits(PEER_QUEUE_MAX), |change| change.event.len())),
            topics: Arc::default(),
            state: Mutex::default(),
            lost: AtomicU64::new(0),
        }
    }
}

impl Hub {
    /// Hands on the events of a node until it ends. Returns why it halted, if it did.
    pub async fn run(&self, mut events: Events) -> Option<Fatal> {
        let mut halted = None;
        let mut handled = 0;
        let mut lost = 0;
        while let Some(event) = events.next().await {
            let more = events.lost() - lost;
            if more > 0 {
                lost += more;
                self.lost.fetch_add(more, Ordering::Relaxed);
                self.topics.lost(more);
            }
            if let Event::Halted(fatal) = &event {
                halted = Some(fatal.clone());
            }
            self.handle(event);
            handled += 1;
            if handled % EVENTS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        halted
    }

    /// Ends all streams.
    pub fn close(&self) {
        self.direct.close();
        self.peers.close();
        self.topics.close();
    }

    fn handle(&self, event: Event) {
        match event {
            Event::Direct(direct::Event::Received {
                sender,
                machine,
                payload,
                received_at,
                ..
            }) => {
                let mut state = lock(&self.state);
                state.stats.received += 1;
                if let Some(peer) = state.peers.get_mut(&machine) {
                    peer.received += 1;
                    peer.last_received = Some(Instant::now());
                }
                drop(state);
                let Some(trust) = trust_of(&sender) else { return };
                self.direct
                    .publish(|| direct_fields((sender, trust), machine, &payload, received_at));
            }
            Event::Link(link::Event::PeerUp { machine, agents, address }) => {
                let generation = {
                    let mut state = lock(&self.state);
                    let peer = state.peer(machine);
                    (peer.agents, peer.is_connected, peer.close_reason) = (agents, true, None);
                    peer.generation += 1;
                    peer.generation
                };
                let event = if generation == 1 { "Established" } else { "Replaced" };
                self.changed(
                    machine,
                    format!("{event} {{ generation: {generation}, address: {address} }}"),
                );
            }
            Event::Link(link::Event::PeerDown { machine, reason }) => {
                {
                    let mut state = lock(&self.state);
                    let peer = state.peer(machine);
                    (peer.is_connected, peer.close_reason) = (false, Some(format!("{reason:?}")));
                }
                self.changed(machine, format!("Closed {{ reason: {reason:?} }}"));
            }
            Event::Link(link::Event::PathChanged { machine, address }) => {
                tracing::info!(machine = %machine.short(), %address, "link moved");
            }
            Event::Halted(fatal) => tracing::error!(%fatal, "the node has halted"),
            Event::Gossip(gossip::Event::Received { topic, author, payload, .. }) => {
                self.topics.deliver(&topic, &author, &payload);
            }
            Event::Gossip(gossip::Event::Lagged { topic, author, missed }) => {
                tracing::debug!(author = %author.short(), missed, "messages of a topic were missed");
                self.topics.lagged(&topic, &author, missed);
            }
            Event::Gossip(gossip::Event::Equivocated { author, .. }) => {
                tracing::warn!(author = %author.short(), "an agent contradicts itself in a topic");
                self.topics.equivocated();
            }
            // The driver hands replies to those who asked.
            Event::Reply { .. } => {}
        }
    }

    fn changed(&self, machine: MachineId, event: String) {
        tracing::info!(machine = %machine.short(), %event, "peer");
        let (peer_id, at_ms) = (machine.to_string(), unix_millis());
        self.peers.publish(|| PeerChange { peer_id, event, at_ms });
    }

    /// Notes how a send to another node ended.
    pub fn sent(&self, recipient: &AgentId, is_acknowledged: bool, is_loopback: bool) {
        let mut state = lock(&self.state);
        state.stats.sends += 1;
        state.stats.loopback += u64::from(is_loopback);
        state.stats.succeeded += u64::from(is_acknowledged);
        state.stats.failed += u64::from(!is_acknowledged);
        let home = |peer: &&mut Peer| peer.is_connected && peer.agents.contains(recipient);
        if let Some(peer) = state.peers.values_mut().find(home) {
            peer.sent += u64::from(is_acknowledged);
            peer.failed += u64::from(!is_acknowledged);
            if is_acknowledged {
                peer.last_sent = Some(Instant::now());
            }
        }
    }

    /// What is remembered of a machine.
    pub fn peer(&self, machine: &MachineId) -> Option<Peer> {
        lock(&self.state).peers.get(machine).cloned()
    }

    /// All machines that are remembered.
    pub fn all_peers(&self) -> BTreeMap<MachineId, Peer> {
        lock(&self.state).peers.clone()
    }

    /// How many events of the node were lost because this hub was slow.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// How direct messages fared.
    pub fn stats(&self) -> DirectStats {
        lock(&self.state).stats
    }
}

impl State {
    /// Finds a machine or begins to remember it; the one without a link that changed longest ago
    /// makes room.
    fn peer(&mut self, machine: MachineId) -> &mut Peer {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&machine) {
            let away = self.peers.iter().filter(|(_, peer)| !peer.is_connected);
            if let Some(oldest) = away.min_by_key(|(_, peer)| peer.changed).map(|(id, _)| *id) {
                self.peers.remove(&oldest);
            }
        }
        let peer = self.peers.entry(machine).or_default();
        peer.changed = Instant::now();
        peer
    }
}

/// What the contacts say of a sender; `None` if nothing of it is to be delivered. There are no
/// contacts yet, so all senders are unknown.
pub(crate) fn trust_of(_sender: &AgentId) -> Option<&'static str> {
    Some("unknown")
}

fn direct_fields(
    (sender, trust): (AgentId, &'static str),
    machine: MachineId,
    payload: &[u8],
    received_at: Duration,
) -> Arc<str> {
    let message = DirectMessage {
        sender: sender.to_string(),
        machine_id: machine.to_string(),
        payload: BASE64.encode(payload),
        received_at: u64::try_from(received_at.as_millis()).unwrap_or(u64::MAX),
        verified: true,
        trust_decision: trust,
    };
    let json = serde_json::to_string(&message).expect("plain fields have a JSON form");
    json[1..json.len() - 1].into()
}

/// The time, in milliseconds since the Unix epoch.
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_loses_the_oldest_and_counts_it() {
        let feed = Arc::new(Feed::new(Limits { items: 3, bytes: 99 }, |_| 1));
        let mut slow = feed.subscribe();
        let mut fast = feed.subscribe();
        for number in 0..5 {
            feed.publish(|| number);
            assert_eq!(fast.next().await, Some(number));
        }
        assert_eq!((feed.evicted(), feed.subscribers()), (2, 2));
        drop(fast);
        feed.close();
        let rest: Vec<_> = [slow.next().await, slow.next().await, slow.next().await].into();
        assert_eq!((rest, slow.next().await), (vec![Some(2), Some(3), Some(4)], None));
        feed.publish(|| panic!("nobody listens"));
    }

    #[test]
    fn machines_without_a_link_make_room_for_new_ones() {
        let mut state = State::default();
        let id = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            MachineId(id)
        };
        state.peer(id(0)).is_connected = true;
        for number in 1..PEERS_MAX + 10 {
            state.peer(id(number));
        }
        assert_eq!(state.peers.len(), PEERS_MAX);
        assert!(state.peers.contains_key(&id(0)) && !state.peers.contains_key(&id(1)));
    }
}
