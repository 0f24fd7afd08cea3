//! Items that were announced and have not come, of all topics, and when peers are asked for them.
//!
//! Each item is in the queue of one peer that announced it: the one to ask next, or the one that owes
//! the answer. A queue has two parts. In one, items wait for a time: until then they may come unasked, or
//! the answer may come. In the other, items wait until the peer may be asked once more. A peer is looked
//! at when the first of these times comes, so what waits takes memory and no time.
//!
//! # Limits
//!
//! - A queue holds at most [`MISSING_BY_PEER_MAX`] items of all topics: about as many as the peer can be
//!   asked for in a minute. Comparisons of histories find the rest.
//! - All queues hold at most [`MISSING_MAX`] items. When they are full, the longest gives way to the
//!   others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{ItemId, Peer, TopicId};
use crate::support::{Deadline, Timers, TokenBucket};

/// The most items that are missing, of all topics.
pub const MISSING_MAX: usize = 65_536;

/// The most items that are missing in the queue of one peer.
pub const MISSING_BY_PEER_MAX: usize = 600;

/// What a missing item takes.
pub(super) const MISSING_COST: usize = 448;

/// How many peers that have a missing item are remembered.
const HOLDERS_MAX: usize = 8;

/// How many times a missing item is asked for.
const TRIES_MAX: u32 = 6;

/// What a node asks itself of one peer: less than it would answer, as what was sent in the course of
/// a while may arrive at once.
const ASKS_BURST: u32 = 48;
const ASK_INTERVAL: Duration = Duration::from_millis(110);

/// How long a peer that is asked may send nothing at all. What it announced is given up then.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Names a missing item.
pub(super) type Key = (TopicId, ItemId);

/// An item that was announced and has not come.
#[derive(Debug)]
pub(super) struct Missing<P> {
    pub(super) holders: Vec<P>,
    /// Which of them is asked next.
    next: usize,
    pub(super) tries: u32,
    pub(super) announced_at: Instant,
    /// Who was asked last, and since when it owes an answer.
    pub(super) asked: Option<(P, Instant)>,
    pub(super) is_repair: bool,
    /// In whose queue it is, under which time, and in which part.
    peer: P,
    at: Instant,
    is_ready: bool,
}

/// What is missing that one peer announced.
#[derive(Debug)]
struct Queue {
    /// What this node may ask of the peer.
    asks: TokenBucket,
    /// When the peer was first asked for an item since it last said anything.
    silent_since: Option<Instant>,
    /// Items that are given time, until when.
    timed: BTreeSet<(Instant, Key)>,
    /// Items to ask for, since when.
    ready: BTreeSet<(Instant, Key)>,
    /// When the peer is looked at next.
    wake_at: Option<Instant>,
}

impl Queue {
    fn new(now: Instant) -> Self {
        Self {
            asks: TokenBucket::new(ASKS_BURST, ASK_INTERVAL, now),
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

    /// Whether the peer can be asked for one item more at once.
    fn is_free(&mut self, now: Instant) -> bool {
        self.ready.len() < self.asks.available(now)
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct MissingItems<P> {
    items: BTreeMap<Key, Missing<P>>,
    queues: BTreeMap<P, Queue>,
    wakes: Timers<P>,
    items_max: usize,
}

impl<P: Peer> MissingItems<P> {
    pub(super) fn new() -> Self {
        let (items, queues) = (BTreeMap::new(), BTreeMap::new());
        Self { items, queues, wakes: Timers::default(), items_max: MISSING_MAX }
    }

    /// Says how many bytes there are for what is missing.
    pub(super) fn set_bytes_max(&mut self, bytes: usize) {
        self.items_max = MISSING_MAX.min(bytes / MISSING_COST);
    }

    /// The bytes of what is missing, as they count.
    pub(super) fn bytes(&self) -> usize {
        self.items.len() * MISSING_COST
    }

    /// A session with a peer began.
    pub(super) fn begin(&mut self, now: Instant, peer: P) {
        self.queues.insert(peer, Queue::new(now));
    }

    /// A session ended. Returns how many items nobody else has.
    pub(super) fn end(&mut self, now: Instant, peer: &P) -> u64 {
        let given_up = self.give_up(now, peer);
        self.queues.remove(peer);
        self.wakes.cancel(peer);
        given_up
    }

    /// Asks others for what a peer announced. Returns how many items nobody else has.
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

    /// Forgets what is missing in a topic.
    pub(super) fn forget_topic(&mut self, now: Instant, topic: TopicId) {
        let keys: Vec<Key> = self.of_topic(topic).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(now, &key);
        }
    }

    /// Takes a token of what may be asked of a peer.
    pub(super) fn can_ask(&mut self, now: Instant, peer: &P) -> bool {
        self.queues.get_mut(peer).is_some_and(|queue| queue.asks.take(now))
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Missing<P>> {
        self.items.get(key)
    }

    /// How many items are missing in a topic.
    pub(super) fn len(&self, topic: TopicId) -> usize {
        self.of_topic(topic).count()
    }

    /// When a peer is looked at next.
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

    /// Returns an item in the queue of a peer whose time has come. The caller moves it or removes it.
    pub(super) fn first_due(&self, now: Instant, peer: &P) -> Option<Key> {
        let (at, key) = self.queues.get(peer)?.timed.first()?;
        (*at <= now).then_some(*key)
    }

    /// Takes a token of what may be asked of a peer, and returns the item to ask it for. The caller asks
    /// for it.
    pub(super) fn first_ready(&mut self, now: Instant, peer: &P) -> Option<Key> {
        let queue = self.queues.get_mut(peer)?;
        let &(_, key) = queue.ready.first()?;
        queue.asks.take(now).then_some(key)
    }

    /// Returns other items that a peer is to be asked for: those of a topic that come by repair.
    pub(super) fn ready_repairs(&self, peer: &P, topic: TopicId) -> impl Iterator<Item = ItemId> {
        let ready = self.queues.get(peer).into_iter().flat_map(|queue| &queue.ready);
        let of_topic = ready.filter(move |(_, key)| key.0 == topic).map(|(_, key)| key);
        let is_repair = |key: &&Key| self.items.get(key).is_some_and(|item| item.is_repair);
        of_topic.filter(is_repair).map(|key| key.1)
    }

    /// Finds places in the queue of a peer for so many items more, and returns for how many there are
    /// any. Of a full node the longest queue loses its last items, if it is longer than this one.
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

    /// Makes the longest queues lose their last items until there is room for the rest. Returns how many.
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

    /// Notes an item that a peer announced, and until when it may come unasked.
    pub(super) fn insert(&mut self, key: Key, peer: P, times: (Instant, Instant), is_repair: bool) {
        let (now, until) = times;
        let missing = Missing {
            holders: vec![peer],
            next: 0,
            tries: 0,
            announced_at: now,
            asked: None,
            is_repair,
            peer,
            at: until,
            is_ready: false,
        };
        self.items.insert(key, missing);
        self.enqueue(&key, peer, until, false);
        self.schedule(&peer, now);
    }

    /// Notes that one more peer has an item that is missing. It is asked if the one that was to be
    /// asked has too much to do.
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

    /// A peer does not have an item after all. The next is asked at once.
    pub(super) fn forget_holder(&mut self, now: Instant, key: &Key, peer: &P) {
        let Some(item) = self.items.get_mut(key) else { return };
        item.holders.retain(|holder| holder != peer);
        let at = item.peer;
        self.move_to(now, key, at, now, false);
    }

    /// Gives an item more time.
    pub(super) fn put_off(&mut self, now: Instant, key: &Key, until: Instant) {
        if let Some(item) = self.items.get(key) {
            let peer = item.peer;
            self.move_to(now, key, peer, until, false);
        }
    }

    /// Lets an item wait until a peer that has it can be asked: the next, or another if that has too
    /// much to do. Returns whether there is one.
    pub(super) fn ask_next(&mut self, now: Instant, key: &Key) -> bool {
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

    /// A peer was asked for an item and is given time to answer.
    pub(super) fn note_asked(
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
        // A peer that is silent is judged when it speaks, by when it was asked first.
        let is_silent = |&(asked, at): &(P, Instant)| asked == peer && heard_at <= at;
        item.asked = item.asked.filter(is_silent).or(Some((peer, now)));
        if let Some(queue) = self.queues.get_mut(&peer) {
            let is_silent = queue.silent_since.is_some_and(|since| heard_at <= since);
            if !is_silent {
                queue.silent_since = Some(now);
            }
        }
        self.move_to(now, key, peer, until, false);
    }

    /// Whether a peer that was asked has sent nothing at all for long.
    pub(super) fn is_silent(&self, now: Instant, peer: &P, heard_at: Instant) -> bool {
        let since = self.queues.get(peer).and_then(|queue| queue.silent_since);
        since.is_some_and(|since| heard_at <= since && now >= since + SILENCE_MAX)
    }

    /// An answer of a peer is judged no more.
    pub(super) fn settle(&mut self, key: &Key) {
        if let Some(item) = self.items.get_mut(key) {
            item.asked = None;
        }
    }

    pub(super) fn remove(&mut self, now: Instant, key: &Key) -> Option<Missing<P>> {
        let item = self.items.remove(key)?;
        if let Some(queue) = self.queues.get_mut(&item.peer) {
            queue.part(item.is_ready).remove(&(item.at, *key));
        }
        self.schedule(&item.peer, now);
        Some(item)
    }

    /// Decides when a peer is looked at next: when the time of an item comes, or when it can be asked.
    pub(super) fn schedule(&mut self, peer: &P, now: Instant) {
        let Some(queue) = self.queues.get_mut(peer) else { return };
        let timed = queue.timed.first().map(|(at, _)| *at);
        let ready = (!queue.ready.is_empty()).then(|| queue.asks.ready_at(now));
        let next = timed.into_iter().chain(ready).min();
        if next != queue.wake_at {
            queue.wake_at = next;
            match next {
                Some(at) => self.wakes.set(*peer, at),
                None => self.wakes.cancel(peer),
            }
        }
    }

    fn of_topic(&self, topic: TopicId) -> impl Iterator<Item = (&Key, &Missing<P>)> {
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
