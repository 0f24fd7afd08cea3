//! What a node holds of one topic that it is in. The parts of its behaviour are in
//! [`membership`](super::membership), [`tree`](super::tree) and [`broadcast`](super::broadcast).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::broadcast::DEFERRED_MAX;
use super::frames::{Entry, Message};
use super::history::History;
use super::membership::{Asked, NEWCOMERS_MAX};
use super::missing::{Key, MissingItems};
use super::passive::Passive;
use super::sessions::Sessions;
use super::tree::{Beacon, Root};
use super::walks::WALKS_MAX;
use super::{Config, Context, ItemId, Peer, TopicId};
use crate::support::{BoundedMap, Deadline, TimerName, TokenBucket};

/// How a topic acts: on the sessions, through the context of the input.
pub(super) struct Air<'a, 'c, P> {
    pub(super) context: &'a mut Context<'c, P>,
    pub(super) sessions: &'a mut Sessions<P>,
    pub(super) missing: &'a mut MissingItems<P>,
}

impl<P: Peer> Air<'_, '_, P> {
    pub(super) fn now(&self) -> Instant {
        self.context.now
    }

    /// The wall time in milliseconds.
    pub(super) fn unix_millis(&self) -> u64 {
        u64::try_from(self.context.unix_time.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn tell(&mut self, peer: P, topic: TopicId, message: Message<P>) {
        self.sessions.send_message(self.context, peer, topic, message);
    }

    /// See [`Sessions::ban`].
    pub(super) fn ban(&mut self, peer: P, rule: &'static str) {
        self.sessions.ban(self.context, peer, rule);
    }

    /// See [`Sessions::penalize`].
    pub(super) fn penalize(&mut self, peer: P) {
        self.sessions.penalize(self.context, peer);
    }

    /// See [`Sessions::may_fetch`].
    pub(super) fn may_fetch(&mut self, peer: &P) -> bool {
        self.sessions.may_fetch(self.context, peer)
    }

    /// Whether this node may ask a peer for something that costs much.
    pub(super) fn can_ask(&mut self, peer: &P) -> bool {
        self.missing.can_ask(self.context.now, peer)
    }

    /// For how many items more that a peer announces there is a place.
    pub(super) fn places(&mut self, peer: &P, wanted: usize) -> usize {
        self.missing.make_room(self.context.now, peer, wanted)
    }

    /// A peer is asked for an item, and may take its time.
    pub(super) fn note_asked(&mut self, key: Key, peer: P, until: Instant) {
        let now = self.now();
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.note_requested(key.1);
        let heard_at = session.heard_at;
        self.missing.note_asked((now, until), &key, peer, heard_at);
    }

    /// Whether a peer broke a rule not long ago.
    pub(super) fn is_shunned(&self, peer: &P) -> bool {
        self.sessions.is_shunned(self.now(), peer)
    }

    /// An entry that names the peer itself, or as the peer at the other end is known.
    pub(super) fn resolve(&self, sender: &P, entry: Entry<P>) -> Entry<P> {
        if entry.peer == *sender {
            Entry { peer: entry.peer, contact: self.sessions.contact(sender) }
        } else {
            entry
        }
    }

    /// A duration between two.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.context.rng.below(span.max(1)))
    }

    /// A place among so many at random.
    pub(super) fn index(&mut self, length: usize) -> Option<usize> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        (length > 0).then(|| usize::try_from(self.context.rng.below(length)).unwrap_or(0))
    }

    /// One of several at random.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = self.index(from.len())?;
        from.get(index).copied()
    }

    /// Some of many at random, in random order.
    pub(super) fn sample<T>(&mut self, mut from: Vec<T>, count: usize) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(index) = self.index(from.len())
        {
            taken.push(from.swap_remove(index));
        }
        taken
    }
}

/// What is due in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer<P> {
    /// There are too few neighbours.
    Fill,
    /// Exchange acquaintances.
    Shuffle,
    /// Try a lost neighbour again.
    Retry,
    /// Look for a closer neighbour.
    Closer,
    /// As the root, say so.
    Beacon,
    /// Pass on what was held back of the root.
    Pass,
    /// Nobody says that it is the root.
    Rootless,
    /// The beacons of one sequence have come: choose the parent.
    Settle,
    /// The parents are chosen: give up the links that the tree does not need.
    Prune,
    /// Tell neighbours what there is.
    Announce,
    /// Tell neighbours what they should have announced and have not.
    Deferred,
    /// Compare histories with some neighbour.
    Compare,
    /// A peer has not answered.
    Asked(P),
}

impl<P> TimerName for Timer<P> {
    fn name(&self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Shuffle => "shuffle",
            Self::Retry => "retry",
            Self::Closer => "closer",
            Self::Beacon => "beacon",
            Self::Pass => "pass",
            Self::Rootless => "rootless",
            Self::Settle => "settle",
            Self::Prune => "prune",
            Self::Announce => "announce",
            Self::Deferred => "deferred",
            Self::Compare => "compare",
            Self::Asked(_) => "neighbour request",
        }
    }
}

/// A neighbour in a topic: a peer in the active view.
#[derive(Debug)]
pub(super) struct Neighbour<P> {
    /// Those with smaller numbers have been neighbours for longer.
    pub(super) order: u64,
    /// Whether items are pushed to it; else they are announced.
    pub(super) is_eager: bool,
    /// Whether it said that this node is above it in the tree.
    pub(super) is_child: bool,
    /// Whether it was the parent and does not know yet that it is no more.
    pub(super) was_parent: bool,
    /// What it last said of the root.
    pub(super) root: Option<Root<P>>,
    /// What it may say of the root.
    pub(super) beacons: TokenBucket,
    /// Items to announce to it.
    pub(super) news: Vec<ItemId>,
    /// Items that it is to announce, by name, and until when it is given the time.
    pub(super) deferred: Vec<(ItemId, Instant)>,
    /// Random walks that it may start or pass on.
    pub(super) walks: TokenBucket,
}

impl<P> Neighbour<P> {
    /// Leaves it to the neighbour to announce an item, for a while. Returns whether there is room for
    /// that.
    pub(super) fn defer(&mut self, id: ItemId, until: Instant) -> bool {
        let Err(place) = self.place(&id) else { return true };
        let has_room = self.deferred.len() < DEFERRED_MAX;
        if has_room {
            self.deferred.insert(place, (id, until));
        }
        has_room
    }

    /// It showed that it has an item.
    pub(super) fn knows(&mut self, id: &ItemId) {
        if let Ok(place) = self.place(id) {
            self.deferred.remove(place);
        }
    }

    fn place(&self, id: &ItemId) -> Result<usize, usize> {
        self.deferred.binary_search_by_key(id, |&(other, _)| other)
    }
}

/// The state of one topic.
#[derive(Debug)]
pub(super) struct Topic<P> {
    pub(super) id: TopicId,
    pub(super) me: P,
    pub(super) config: Config,
    /// The active view.
    pub(super) active: BTreeMap<P, Neighbour<P>>,
    /// The passive view.
    pub(super) passive: Passive<P>,
    /// Peers that were asked to be neighbours, or that a session is wanted with.
    pub(super) asked: BTreeMap<P, Asked>,
    /// Neighbours whose session was lost, and until when they are tried again.
    pub(super) lost: VecDeque<(P, Instant)>,
    pub(super) fill_pause: Duration,
    pub(super) shuffles: u32,
    /// Where random walks came from.
    pub(super) walks: BoundedMap<u32, P>,
    pub(super) orders: u64,
    /// Peers that others were asked to find neighbours for, and until when that is enough.
    pub(super) newcomers: BoundedMap<P, Instant>,
    /// How many neighbours may be given up for others that have none.
    pub(super) evictions: TokenBucket,
    pub(super) root: Option<Root<P>>,
    /// The root that was given up last.
    pub(super) lost_root: Option<Beacon<P>>,
    /// How many beacons may be passed on.
    pub(super) passed_beacons: TokenBucket,
    /// How often this node may become the root because others say that it is.
    pub(super) reigns: TokenBucket,
    pub(super) parent: Option<P>,
    pub(super) beacon_pause: Duration,
    /// How often the parent did not push what another neighbour had.
    pub(super) parent_misses: u32,
    pub(super) history: History,
    /// Whether an item that came by repair is among those to announce.
    pub(super) has_repair_news: bool,
    /// Items that the owner checks.
    pub(super) checking: BTreeSet<ItemId>,
    /// How long before an item its first announcement comes, at most of late.
    pub(super) lead: Duration,
    /// Peers whose session the topic may not need any more.
    pub(super) freed: Vec<P>,
    pub(super) timers: crate::support::Timers<Timer<P>>,
}

impl<P: Peer> Topic<P> {
    pub(super) fn new(air: &mut Air<'_, '_, P>, id: TopicId, me: P, config: Config) -> Self {
        let now = air.now();
        let mut topic = Self {
            id,
            me,
            config,
            active: BTreeMap::new(),
            passive: Passive::new(),
            asked: BTreeMap::new(),
            lost: VecDeque::new(),
            fill_pause: super::membership::FILL_PAUSE_MIN,
            shuffles: 0,
            walks: BoundedMap::new(WALKS_MAX),
            orders: 0,
            newcomers: BoundedMap::new(NEWCOMERS_MAX),
            evictions: super::membership::evictions(now),
            root: None,
            lost_root: None,
            passed_beacons: super::tree::passed_beacons(now),
            reigns: super::tree::reigns(now),
            parent: None,
            beacon_pause: super::tree::BEACON_PAUSE_MIN,
            parent_misses: 0,
            history: History::new(air.unix_millis()),
            has_repair_news: false,
            checking: BTreeSet::new(),
            lead: super::broadcast::LEAD_FIRST,
            freed: Vec::new(),
            timers: crate::support::Timers::default(),
        };
        topic.start_membership(air);
        topic.start_tree(air);
        topic.start_comparing(air);
        topic
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, air: &mut Air<'_, '_, P>) {
        while let Some(timer) = self.timers.pop_due(air.now()) {
            match timer {
                Timer::Fill => self.fill(air),
                Timer::Shuffle => self.shuffle(air),
                Timer::Retry => self.retry_lost(air),
                Timer::Closer => self.seek_closer(air),
                Timer::Beacon => self.send_beacons(air),
                Timer::Pass => self.pass_beacon(air, None),
                Timer::Rootless => self.become_root(air),
                Timer::Settle => self.settle_tree(air),
                Timer::Prune => self.prune(air),
                Timer::Announce => self.announce(air),
                Timer::Deferred => self.announce_deferred(air),
                Timer::Compare => self.compare(air),
                Timer::Asked(peer) => self.unanswered(air, peer),
            }
        }
    }

    /// Handles what a peer says of the topic.
    /// Returns when [`Topic::handle_timeout`] is due, and for which timer.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.timers.deadline()
    }

    pub(super) fn handle_message(
        &mut self,
        air: &mut Air<'_, '_, P>,
        peer: P,
        message: Message<P>,
    ) {
        match message {
            Message::Joined | Message::Push { .. } => {}
            Message::Left => self.member_left(air, peer),
            Message::PeerExchange(entries) => self.referred(air, peer, entries.into_vec()),
            Message::Neighbor(priority) => self.asked_for(air, peer, priority),
            Message::NeighborReply(is_accepted) => self.answered(air, peer, is_accepted),
            Message::Disconnect => self.parted(air, peer),
            Message::ForwardJoin { entry, steps } => self.newcomer(air, peer, entry, steps),
            Message::Shuffle { walk, steps, entries } => {
                self.walk_came(air, peer, (walk, steps), entries.into_vec());
            }
            Message::ShuffleReply { walk, entries } => {
                self.walk_returned(air, peer, walk, entries.into_vec());
            }
            Message::IHave { ids, is_repair } => {
                self.announced(air, peer, &ids.into_vec(), is_repair);
            }
            Message::Graft { is_child, item } => self.grafted(air, peer, (is_child, item)),
            Message::Prune => self.pruned(peer),
            Message::IWant(ids) => self.wanted(air, peer, &ids.into_vec()),
            Message::Beacon(beacon) => self.beacon(air, peer, beacon),
            Message::Reconcile(bytes) => self.reconcile(air, peer, &bytes),
        }
    }
}
