//! Announced items that have not arrived, of all topics, and when peers are asked for them.
//!
//! Each item is in the queue of one peer that announced it: the one that was asked last, or that is
//! asked next. A queue has two parts. *Timed* items wait until a time, because they may still come over
//! the tree, or because the peer has time to answer. *Ready* items wait until the rate limit allows
//! another request to the peer.
//!
//! # How it is driven
//!
//! [`MissingItems::pop_peer`] returns each peer whose queue has something to do at
//! [`MissingItems::deadline`]. The owner handles [`MissingItems::first_due`] and
//! [`MissingItems::first_ready`] until they return nothing, then calls [`MissingItems::schedule`]. Items
//! that wait thus cost memory and no time.
//!
//! # Invariants
//!
//! - Each item is in exactly one part of one queue.
//! - An item is requested at most [`TRIES_MAX`] times, from its holders in turn.
//!
//! # Limits
//!
//! - A queue holds at most [`MISSING_BY_PEER_MAX`] items of all topics, about as many as the peer may be
//!   asked for in a minute. Comparisons of histories find the rest.
//! - All queues hold at most [`MISSING_MAX`] items, or fewer if the memory budget is smaller. When they
//!   are full, the longest queue loses items to the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{ItemId, Peer, TopicId};
use crate::support::{Deadline, Timers, TokenBucket};

/// The most missing items, of all topics and peers.
pub const MISSING_MAX: usize = 65_536;

/// The most missing items in the queue of one peer.
pub const MISSING_BY_PEER_MAX: usize = 600;

/// The memory that a missing item takes.
pub(super) const MISSING_COST: usize = 448;

/// The most peers that are remembered to have a missing item.
const HOLDERS_MAX: usize = 8;

/// How often a missing item is requested.
const TRIES_MAX: u32 = 6;

/// Rate at which this node sends costly requests to one peer. It is lower than the rate that the peer
/// accepts, because requests spread over time can arrive as one burst.
const REQUESTS_BURST: u32 = 48;
const REQUEST_INTERVAL: Duration = Duration::from_millis(110);

/// How long a peer with pending requests may send nothing at all before others are asked.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Identifies a missing item.
pub(super) type Key = (TopicId, ItemId);

/// A missing item.
#[derive(Debug)]
pub(super) struct MissingItem<P> {
    /// Peers that announced it.
    pub(super) holders: Vec<P>,
    /// The index of the holder that is asked next.
    next: usize,
    /// How often it was requested.
    pub(super) tries: u32,
    /// When the first announcement arrived.
    pub(super) announced_at: Instant,
    /// The peer that was asked last, and since when its answer is due.
    pub(super) requested: Option<(P, Instant)>,
    /// Whether it is being repaired, so that it will not come over the tree.
    pub(super) is_repair: bool,
    /// Its place: the peer's queue, the time in the queue, and the part.
    peer: P,
    at: Instant,
    is_ready: bool,
}

/// The missing items of one peer.
#[derive(Debug)]
struct Queue {
    /// The costly requests that this node may send to the peer.
    requests: TokenBucket,
    /// When the peer was first asked for an item after its last frame.
    silent_since: Option<Instant>,
    /// Items that wait, by the time until which they do.
    timed: BTreeSet<(Instant, Key)>,
    /// Items to request, by the time since which they wait for that.
    ready: BTreeSet<(Instant, Key)>,
    /// When the queue has something to do next.
    wake_at: Option<Instant>,
}

impl Queue {
    fn new(now: Instant) -> Self {
        Self {
            requests: TokenBucket::new(REQUESTS_BURST, REQUEST_INTERVAL, now),
            silent_since: None,
            timed: BTreeSet::new(),
            ready: BTreeSet::new(),
            wake_at: None,
        }
    }

    fn len(&self) -> usize {
        self.timed.len() + self.ready.len()
    }

    fn part(&mut self, is_ready: bool) -> &mut BTreeSet<(Instant, Key)> {
        if is_ready { &mut self.ready } else { &mut self.timed }
    }

    fn has_place(&self) -> bool {
        self.len() < MISSING_BY_PEER_MAX
    }

    /// Returns whether a request for one more item could be sent at once.
    fn is_free(&mut self, now: Instant) -> bool {
        self.ready.len() < self.requests.available(now)
    }
}

/// The missing items of all topics and peers.
#[derive(Debug)]
pub(super) struct MissingItems<P> {
    items: BTreeMap<Key, MissingItem<P>>,
    queues: BTreeMap<P, Queue>,
    wakes: Timers<P>,
    items_max: usize,
}

impl<P: Peer> MissingItems<P> {
    pub(super) fn new() -> Self {
        let (items, queues) = (BTreeMap::new(), BTreeMap::new());
        Self { items, queues, wakes: Timers::default(), items_max: MISSING_MAX }
    }

    /// Sets the memory that missing items may take, in bytes.
    pub(super) fn set_bytes_max(&mut self, bytes: usize) {
        self.items_max = MISSING_MAX.min(bytes / MISSING_COST);
    }

    /// Returns the memory that missing items take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.items.len() * MISSING_COST
    }

    /// A session with a peer began.
    pub(super) fn begin(&mut self, now: Instant, peer: P) {
        self.queues.insert(peer, Queue::new(now));
    }

    /// A session with a peer ended: other peers are asked for what it announced. Returns the number of
    /// items that no other peer has announced.
    pub(super) fn end(&mut self, now: Instant, peer: &P) -> u64 {
        let given_up = self.give_up(now, peer);
        self.queues.remove(peer);
        self.wakes.cancel(peer);
        given_up
    }

    /// Moves the items of a peer to other peers that announced them. Returns the number of items that no
    /// other peer has announced.
    pub(super) fn give_up(&mut self, now: Instant, peer: &P) -> u64 {
        let Some(queue) = self.queues.get_mut(peer) else { return 0 };
        queue.silent_since = None;
        let queued = std::mem::take(&mut queue.timed);
        let ready = std::mem::take(&mut queue.ready);
        let mut given_up = 0;
        for (_, key) in queued.into_iter().chain(ready) {
            let Some(item) = self.items.get_mut(&key) else { continue };
            item.holders.retain(|holder| holder != peer);
            let queues = &self.queues;
            let has_place = |holder: &&P| queues.get(holder).is_some_and(Queue::has_place);
            if let Some(&next) = item.holders.iter().find(has_place) {
                self.enqueue(&key, next, now, false);
                self.schedule(&next, now);
            } else {
                self.items.remove(&key);
                given_up += 1;
            }
        }
        self.schedule(peer, now);
        given_up
    }

    /// Removes the missing items of a topic.
    pub(super) fn forget_topic(&mut self, now: Instant, topic: TopicId) {
        let keys: Vec<Key> = self.of_topic(topic).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(now, &key);
        }
    }

    /// Takes one of the costly requests that may be sent to a peer. Returns false if there is none.
    pub(super) fn take_request(&mut self, now: Instant, peer: &P) -> bool {
        self.queues.get_mut(peer).is_some_and(|queue| queue.requests.take(now))
    }

    pub(super) fn get(&self, key: &Key) -> Option<&MissingItem<P>> {
        self.items.get(key)
    }

    /// Returns the number of missing items in a topic.
    pub(super) fn len(&self, topic: TopicId) -> usize {
        self.of_topic(topic).count()
    }

    /// Returns when the first queue has something to do.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.wakes.first().map(|(at, _)| Deadline { at, timer: "fetch" })
    }

    /// Takes a peer whose queue has something to do.
    pub(super) fn pop_peer(&mut self, now: Instant) -> Option<P> {
        let peer = self.wakes.pop_due(now)?;
        if let Some(queue) = self.queues.get_mut(&peer) {
            queue.wake_at = None;
        }
        Some(peer)
    }

    /// Returns an item of a peer whose time is over. The caller moves it or removes it.
    pub(super) fn first_due(&self, now: Instant, peer: &P) -> Option<Key> {
        let (at, key) = self.queues.get(peer)?.timed.first()?;
        (*at <= now).then_some(*key)
    }

    /// Returns the item to request from a peer, and takes the request from its rate. The caller sends
    /// it.
    pub(super) fn first_ready(&mut self, now: Instant, peer: &P) -> Option<Key> {
        let queue = self.queues.get_mut(peer)?;
        let &(_, key) = queue.ready.first()?;
        queue.requests.take(now).then_some(key)
    }

    /// Returns the ready items of a peer and a topic that are being repaired: one request may name many.
    pub(super) fn ready_repairs(&self, peer: &P, topic: TopicId) -> impl Iterator<Item = ItemId> {
        let ready = self.queues.get(peer).into_iter().flat_map(|queue| &queue.ready);
        let of_topic = ready.filter(move |(_, key)| key.0 == topic).map(|(_, key)| key);
        let is_repair = |key: &&Key| self.items.get(key).is_some_and(|item| item.is_repair);
        of_topic.filter(is_repair).map(|key| key.1)
    }

    /// Makes room for more items in the queue of a peer. Returns for how many there is room, at most
    /// `wanted`. If all queues together are full, the longest loses its last items as long as it is
    /// longer than this one.
    pub(super) fn make_room(&mut self, now: Instant, peer: &P, wanted: usize) -> usize {
        let Some(own) = self.queues.get(peer).map(Queue::len) else { return 0 };
        let wanted = wanted.min(MISSING_BY_PEER_MAX.saturating_sub(own));
        let free = self.items_max.saturating_sub(self.items.len());
        if wanted <= free {
            return wanted;
        }
        let Some((longest, length)) = self.longest() else { return free };
        let count = (wanted - free).min(length.saturating_sub(own) / 2);
        self.drop_last(now, &longest, count);
        free + count
    }

    /// Removes the last items of the longest queues until the limit is kept. Returns how many.
    pub(super) fn shrink(&mut self, now: Instant) -> u64 {
        let before = self.items.len();
        while self.items.len() > self.items_max
            && let Some((longest, length)) = self.longest()
            && length > 0
        {
            let excess = self.items.len() - self.items_max;
            self.drop_last(now, &longest, excess.min(length.div_ceil(2)));
        }
        u64::try_from(before - self.items.len()).unwrap_or(u64::MAX)
    }

    fn longest(&self) -> Option<(P, usize)> {
        let longest = self.queues.iter().max_by_key(|(_, queue)| queue.len())?;
        Some((*longest.0, longest.1.len()))
    }

    fn drop_last(&mut self, now: Instant, peer: &P, count: usize) {
        for _ in 0..count {
            let queue = self.queues.get(peer);
            let last = queue.and_then(|queue| queue.timed.last().or_else(|| queue.ready.last()));
            if let Some(&(_, key)) = last {
                self.remove(now, &key);
            }
        }
    }

    /// Adds an item that a peer announced. `times` are now and the time until which the item may come
    /// without a request.
    pub(super) fn insert(&mut self, key: Key, peer: P, times: (Instant, Instant), is_repair: bool) {
        let (now, until) = times;
        let missing = MissingItem {
            holders: vec![peer],
            next: 0,
            tries: 0,
            announced_at: now,
            requested: None,
            is_repair,
            peer,
            at: until,
            is_ready: false,
        };
        self.items.insert(key, missing);
        self.enqueue(&key, peer, until, false);
        self.schedule(&peer, now);
    }

    /// Notes that another peer announced a missing item. The item moves to its queue if the request
    /// limit holds back the present one.
    pub(super) fn note_holder(&mut self, now: Instant, key: &Key, peer: P) {
        let Some(item) = self.items.get_mut(key) else { return };
        if item.holders.len() >= HOLDERS_MAX || item.holders.contains(&peer) {
            return;
        }
        item.holders.push(peer);
        if item.is_ready {
            let (at, before) = (item.at, item.peer);
            let mut is_free = |peer| {
                let queue = self.queues.get_mut(peer);
                queue.is_some_and(|queue| queue.has_place() && queue.is_free(now))
            };
            if !is_free(&before) && is_free(&peer) {
                self.move_to(now, key, peer, at, true);
            }
        }
    }

    /// A peer does not have a missing item after all: the next is asked at once.
    pub(super) fn forget_holder(&mut self, now: Instant, key: &Key, peer: &P) {
        let Some(item) = self.items.get_mut(key) else { return };
        item.holders.retain(|holder| holder != peer);
        let at = item.peer;
        self.move_to(now, key, at, now, false);
    }

    /// Waits longer for an item.
    pub(super) fn postpone(&mut self, now: Instant, key: &Key, until: Instant) {
        if let Some(item) = self.items.get(key) {
            let peer = item.peer;
            self.move_to(now, key, peer, until, false);
        }
    }

    /// Makes an item ready in the queue of the next holder, or of another if the request limit holds that
    /// one back. Returns false if no holder is left, or the item was requested too often.
    pub(super) fn queue_next(&mut self, now: Instant, key: &Key) -> bool {
        let Some(item) = self.items.get_mut(key) else { return false };
        item.holders.retain(|holder| self.queues.contains_key(holder));
        let count = item.holders.len();
        if count == 0 || item.tries >= TRIES_MAX {
            return false;
        }
        let first = item.next % count;
        let present = item.peer;
        let in_turn = (first..first + count).map(|index| item.holders[index % count]);
        let able: Vec<P> = in_turn
            .filter(|holder| {
                *holder == present || self.queues.get(holder).is_some_and(Queue::has_place)
            })
            .collect();
        let queues = &mut self.queues;
        let is_free = |peer: &&P| queues.get_mut(peer).is_some_and(|queue| queue.is_free(now));
        let Some(&chosen) = able.iter().find(is_free).or_else(|| able.first()) else {
            return false;
        };
        self.move_to(now, key, chosen, now, true);
        true
    }

    /// Notes a request for an item. `times` are now and the time until which the peer may answer.
    pub(super) fn note_requested(
        &mut self,
        times: (Instant, Instant),
        key: &Key,
        peer: P,
        heard_at: Instant,
    ) {
        let (now, until) = times;
        let Some(item) = self.items.get_mut(key) else { return };
        item.next = item.holders.iter().position(|holder| *holder == peer).map_or(0, |at| at + 1);
        item.tries += 1;
        // A silent peer is not penalized until it sends something again. The deadline then counts from
        // the first request.
        let is_silent = |&(requested, at): &(P, Instant)| requested == peer && heard_at <= at;
        item.requested = item.requested.filter(is_silent).or(Some((peer, now)));
        if let Some(queue) = self.queues.get_mut(&peer) {
            let is_silent = queue.silent_since.is_some_and(|since| heard_at <= since);
            if !is_silent {
                queue.silent_since = Some(now);
            }
        }
        self.move_to(now, key, peer, until, false);
    }

    /// Returns whether a peer with pending requests has sent nothing at all for too long.
    pub(super) fn is_silent(&self, now: Instant, peer: &P, heard_at: Instant) -> bool {
        let since = self.queues.get(peer).and_then(|queue| queue.silent_since);
        since.is_some_and(|since| heard_at <= since && now >= since + SILENCE_MAX)
    }

    /// Stops waiting for the answer to the last request for an item.
    pub(super) fn forget_request(&mut self, key: &Key) {
        if let Some(item) = self.items.get_mut(key) {
            item.requested = None;
        }
    }

    /// Removes an item that arrived or is given up.
    pub(super) fn remove(&mut self, now: Instant, key: &Key) -> Option<MissingItem<P>> {
        let item = self.items.remove(key)?;
        if let Some(queue) = self.queues.get_mut(&item.peer) {
            queue.part(item.is_ready).remove(&(item.at, *key));
        }
        self.schedule(&item.peer, now);
        Some(item)
    }

    /// Sets the time at which the queue of a peer has something to do: when the time of an item is over,
    /// or when the next request may be sent.
    pub(super) fn schedule(&mut self, peer: &P, now: Instant) {
        let Some(queue) = self.queues.get_mut(peer) else { return };
        let timed = queue.timed.first().map(|(at, _)| *at);
        let ready = (!queue.ready.is_empty()).then(|| queue.requests.ready_at(now));
        let next = timed.into_iter().chain(ready).min();
        if next != queue.wake_at {
            queue.wake_at = next;
            match next {
                Some(at) => self.wakes.set(*peer, at),
                None => self.wakes.cancel(peer),
            }
        }
    }

    fn of_topic(&self, topic: TopicId) -> impl Iterator<Item = (&Key, &MissingItem<P>)> {
        self.items.range((topic, ItemId([0; 16]))..=(topic, ItemId([u8::MAX; 16])))
    }

    fn enqueue(&mut self, key: &Key, peer: P, at: Instant, is_ready: bool) {
        let Some(item) = self.items.get_mut(key) else { return };
        (item.peer, item.at, item.is_ready) = (peer, at, is_ready);
        if let Some(queue) = self.queues.get_mut(&peer) {
            queue.part(is_ready).insert((at, *key));
        }
    }

    fn move_to(&mut self, now: Instant, key: &Key, peer: P, at: Instant, is_ready: bool) {
        let Some(item) = self.items.get(key) else { return };
        let before = item.peer;
        if let Some(queue) = self.queues.get_mut(&before) {
            queue.part(item.is_ready).remove(&(item.at, *key));
        }
        self.enqueue(key, peer, at, is_ready);
        self.schedule(&peer, now);
        if before != peer {
            self.schedule(&before, now);
        }
    }
}
