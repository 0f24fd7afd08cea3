//! The sessions with peers, and what waits to be sent to them.
//!
//! A frame goes out while the session has room; the last may exceed it. What finds no room waits:
//! control frames and items in queues of their own, each bounded. A peer that falls behind loses
//! items, never the others their time: an item that does not fit is announced instead, so that the
//! peer can ask for it when it has caught up. Of the authors whose items wait, the one that takes
//! the most room loses first.
//!
//! What waits for all peers has a limit, too, and counts as what it takes, not as what it says. When
//! there is too much, the peer for which the most waits loses all of it, and when that happens again its
//! session: it does not read.
//!
//! A peer that broke a rule is shunned for a while: its sessions stay with the owner and are not
//! used here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frames::{self, Frame, IDS_MAX, Ids, Message};
use super::missing::MissingItems;
use super::session::{Session, Waiting, Waits};
use super::{Contact, Context, Item, ItemId, Output, Peer, Request, TopicId};
use crate::overlay::Counter;
use crate::support::{BoundedMap, TokenBucket};

/// The most topics of a peer that are remembered although this node is not in them.
pub const OTHER_TOPICS_MAX: usize = 64;

/// What each of them takes.
pub(super) const OTHER_TOPIC_COST: usize = 540;

/// How many messages of comparisons are answered, whoever sends them: at once and after that.
const COMPARISONS_BURST: u32 = 200;
const COMPARISON_INTERVAL: Duration = Duration::from_millis(10);

/// How long a peer answers to a comparison that this node began.
const COMPARISON_TIME: Duration = Duration::from_secs(10);

/// How long a peer that broke a rule is shunned.
pub const SHUN_TIME: Duration = Duration::from_secs(600);

/// The most peers that are shunned. The one that was condemned first makes room.
pub const SHUNNED_MAX: usize = 1024;

/// What became of a topic that a peer named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// It is noted.
    Noted,
    /// It is noted, but the peer left this or another before.
    Again,
    /// It is not noted, because the peer is in too many that this node is not in.
    Ignored,
    /// The peer said so before, or is in more topics than there may be.
    Useless,
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions<P> {
    all: BTreeMap<P, Box<Session>>,
    /// Who is in which topic.
    by_topic: BTreeMap<TopicId, BTreeSet<P>>,
    /// Who broke a rule, and until when that counts.
    shunned: BoundedMap<P, Instant>,
    /// What peers announced and has not come.
    pub(super) missing: MissingItems<P>,
    /// How many comparisons of histories are answered.
    comparisons: Option<TokenBucket>,
    /// In how many topics each peer is a neighbour, and in how many it was asked to be one.
    uses: BTreeMap<P, usize>,
    /// How many topics are noted in which some peer is and this node is not, and how many may be.
    others: usize,
    others_max: usize,
    /// What waits for all peers, and how much may.
    waits: Waits,
    waits_max: Waits,
}

impl<P: Peer> Sessions<P> {
    /// Makes the sessions of a node without peers, that may hold so much.
    pub(super) fn new(waits_max: Waits, others_max: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            by_topic: BTreeMap::new(),
            shunned: BoundedMap::new(SHUNNED_MAX),
            missing: MissingItems::new(),
            comparisons: None,
            uses: BTreeMap::new(),
            others: 0,
            others_max,
            waits: Waits::default(),
            waits_max,
        }
    }

    /// Begins a session.
    pub(super) fn begin(&mut self, now: Instant, peer: P, way: (Contact, Duration), room: usize) {
        let (contact, round_trip) = way;
        self.all.insert(peer, Box::new(Session::new(contact, round_trip, room, now)));
        self.missing.begin(now, peer);
    }

    /// Shuns a peer for a while.
    pub(super) fn shun(&mut self, now: Instant, peer: P) {
        self.shunned.insert(peer, now + SHUN_TIME);
    }

    /// Whether a peer broke a rule not long ago.
    pub(super) fn is_shunned(&self, now: Instant, peer: &P) -> bool {
        self.shunned.peek(peer).is_some_and(|&until| now < until)
    }

    /// Ends a session.
    pub(super) fn end(&mut self, context: &mut Context<'_, P>, peer: &P) {
        let Some(session) = self.all.remove(peer) else { return };
        for topic in &session.topics {
            self.forget_member(topic, peer);
        }
        self.others -= session.others;
        self.count_waits(session.held(), Waits::default());
        let missed = self.missing.end(context.now, peer);
        context.count_many(Counter::ItemsMissed, missed);
    }

    /// Asks others for what a peer announced, if that was asked and has sent nothing at all for long.
    pub(super) fn give_up_silent(&mut self, context: &mut Context<'_, P>, peer: &P) {
        let Some(session) = self.all.get(peer) else { return };
        if self.missing.is_silent(context.now, peer, session.heard_at) {
            let missed = self.missing.give_up(context.now, peer);
            context.count_many(Counter::ItemsMissed, missed);
        }
    }

    pub(super) fn get(&self, peer: &P) -> Option<&Session> {
        self.all.get(peer).map(|session| &**session)
    }

    pub(super) fn get_mut(&mut self, peer: &P) -> Option<&mut Session> {
        self.all.get_mut(peer).map(|session| &mut **session)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = P> {
        self.all.keys().copied()
    }

    /// Who is in a topic and has a session.
    pub(super) fn members(&self, topic: &TopicId) -> impl Iterator<Item = P> {
        self.by_topic.get(topic).into_iter().flatten().copied()
    }

    /// Notes that a peer is in a topic. Those that this node is in come first.
    pub(super) fn note_member(&mut self, topic: TopicId, peer: P, is_own: bool) -> Named {
        let Some(session) = self.all.get_mut(&peer) else { return Named::Useless };
        let Err(place) = session.topics.binary_search(&topic) else { return Named::Useless };
        if session.named >= frames::TOPICS_MAX {
            return Named::Useless;
        }
        session.named += 1;
        if !is_own {
            if session.others >= OTHER_TOPICS_MAX || self.others >= self.others_max {
                return Named::Ignored;
            }
            session.others += 1;
            self.others += 1;
        }
        session.topics.insert(place, topic);
        self.by_topic.entry(topic).or_default().insert(peer);
        let is_again = session.lefts > 0;
        session.lefts = session.lefts.saturating_sub(1);
        if is_again { Named::Again } else { Named::Noted }
    }

    /// Notes that a peer is not in a topic.
    pub(super) fn note_left(&mut self, topic: TopicId, peer: P, is_own: bool) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        session.named = session.named.saturating_sub(1);
        if let Ok(place) = session.topics.binary_search(&topic) {
            session.topics.remove(place);
            session.lefts += 1;
            if !is_own {
                session.others -= 1;
                self.others -= 1;
            }
            self.forget_member(&topic, &peer);
        }
    }

    /// This node joined a topic or left it.
    pub(super) fn note_own(&mut self, topic: &TopicId, is_own: bool) {
        for peer in self.by_topic.get(topic).into_iter().flatten() {
            let Some(session) = self.all.get_mut(peer) else { continue };
            for others in [&mut session.others, &mut self.others] {
                *others = if is_own { *others - 1 } else { *others + 1 };
            }
        }
    }

    /// How many topics are noted in which some peer is and this node is not.
    pub(super) fn others(&self) -> usize {
        self.others
    }

    /// A topic uses the session with a peer, once more.
    pub(super) fn hold(&mut self, peer: P) {
        *self.uses.entry(peer).or_default() += 1;
    }

    /// A topic uses the session with a peer no more.
    pub(super) fn unhold(&mut self, peer: &P) {
        if let Some(uses) = self.uses.get_mut(peer) {
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(peer);
            }
        }
    }

    /// Whether there is a session that no topic uses.
    pub(super) fn is_unused(&self, peer: &P) -> bool {
        self.all.contains_key(peer) && !self.uses.contains_key(peer)
    }

    /// This node begins to compare histories with a peer.
    pub(super) fn note_opened(&mut self, now: Instant, peer: &P) {
        if let Some(session) = self.all.get_mut(peer) {
            session.opened_at = Some(now);
        }
    }

    /// Whether one more message of a comparison is answered.
    pub(super) fn may_compare(&mut self, now: Instant) -> bool {
        let new = || TokenBucket::new(COMPARISONS_BURST, COMPARISON_INTERVAL, now);
        self.comparisons.get_or_insert_with(new).take(now)
    }

    /// Whether a peer may answer to a comparison that this node began.
    pub(super) fn may_answer(&self, now: Instant, peer: &P) -> bool {
        let opened_at = self.all.get(peer).and_then(|session| session.opened_at);
        opened_at.is_some_and(|at| now <= at + COMPARISON_TIME)
    }

    /// Whether a peer that is in a topic may begin to compare its history.
    pub(super) fn may_open(&mut self, now: Instant, peer: &P, topic: &TopicId) -> bool {
        let session = self.all.get_mut(peer);
        let session = session.filter(|session| session.topics.binary_search(topic).is_ok());
        session.is_some_and(|session| session.openings.take(now))
    }

    /// A peer is of no use: its session ends, and nothing that it sends is looked at again.
    pub(super) fn dismiss(&mut self, context: &mut Context<'_, P>, peer: P, rule: &'static str) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        if !std::mem::replace(&mut session.is_condemned, true) {
            let before = session.held();
            session.clear();
            self.count_waits(before, Waits::default());
            context.count(Counter::Violations);
            context.emit(Output::Session(Request::Violation { peer, rule }));
        }
    }

    /// What waits for all peers.
    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    fn count_waits(&mut self, before: Waits, after: Waits) {
        self.waits.control = self.waits.control - before.control + after.control;
        self.waits.items = self.waits.items - before.items + after.items;
    }

    /// Gives up what waits for the peers for which the most waits, until it is not too much.
    fn shrink_waits(&mut self, context: &mut Context<'_, P>) {
        while self.waits.control > self.waits_max.control {
            self.give_up_longest(context, |waits| waits.control);
        }
        while self.waits.items > self.waits_max.items {
            self.give_up_longest(context, |waits| waits.items);
        }
    }

    fn give_up_longest(&mut self, context: &mut Context<'_, P>, share: impl Fn(Waits) -> usize) {
        let longest = self.all.iter_mut().max_by_key(|(_, session)| share(session.held()));
        let Some((&peer, session)) = longest else { return };
        let before = session.held();
        let (control, items) = session.clear();
        let was_behind = std::mem::replace(&mut session.is_behind, true);
        self.count_waits(before, Waits::default());
        context.count_many(Counter::ControlDropped, control);
        context.count_many(Counter::ItemsDisplaced, items);
        if was_behind {
            self.dismiss(context, peer, "does not read what it is sent");
        }
    }

    /// Sends a control frame.
    pub(super) fn send(&mut self, context: &mut Context<'_, P>, peer: P, frame: &Frame<P>) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        if session.is_condemned {
            return;
        }
        let header = frames::encode(frame);
        if session.room > 0 {
            session.room = session.room.saturating_sub(header.len());
            return emit(context, peer, header, None);
        }
        let is_refusal = matches!(frame, Frame::Topic(_, Message::NeighborReply(false)));
        if is_refusal && std::mem::replace(&mut session.refusal_waits, true) {
            return context.count(Counter::ControlDropped);
        }
        let before = session.held();
        if !session.queue_control(header) {
            return context.count(Counter::ControlDropped);
        }
        let after = session.held();
        self.count_waits(before, after);
        self.shrink_waits(context);
    }

    /// Sends a message about a topic.
    pub(super) fn tell(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        topic: TopicId,
        message: Message<P>,
    ) {
        self.send(context, peer, &Frame::Topic(topic, message));
    }

    /// Sends an item; the header is its encoded push.
    pub(super) fn push(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        topic: TopicId,
        (header, item): (Bytes, Item),
    ) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        if session.is_condemned {
            return;
        }
        if session.room > 0 && session.items.is_empty() {
            session.room = session.room.saturating_sub(header.len() + item.bytes.len());
            return emit(context, peer, header, Some(item));
        }
        let before = session.held();
        let displaced = session.queue_item(Waiting { topic, header, item });
        let after = session.held();
        context.count_many(Counter::ItemsDisplaced, displaced);
        self.count_waits(before, after);
        self.shrink_waits(context);
    }

    /// Sends what waits while there is room.
    pub(super) fn writable(&mut self, context: &mut Context<'_, P>, peer: P, room: usize) {
        let Some(session) = self.all.get_mut(&peer) else { return };
        session.room = room;
        let before = session.held();
        session.refusal_waits &= room == 0;
        while session.room > 0 {
            let (header, item) = if let Some(header) = session.take_control() {
                (header, None)
            } else if let Some(waiting) = session.take_item(0) {
                (waiting.header, Some(waiting.item))
            } else {
                break;
            };
            let size = header.len() + item.as_ref().map_or(0, |item| item.bytes.len());
            session.room = session.room.saturating_sub(size);
            emit(context, peer, header, item);
        }
        let displaced =
            if session.room > 0 { std::mem::take(&mut session.displaced) } else { Vec::new() };
        let after = session.held();
        self.count_waits(before, after);
        self.announce_displaced(context, peer, displaced);
    }

    fn announce_displaced(
        &mut self,
        context: &mut Context<'_, P>,
        peer: P,
        displaced: Vec<(TopicId, ItemId)>,
    ) {
        let mut by_topic: BTreeMap<TopicId, Vec<ItemId>> = BTreeMap::new();
        for (topic, id) in displaced {
            by_topic.entry(topic).or_default().push(id);
        }
        for (topic, ids) in by_topic {
            for chunk in ids.chunks(IDS_MAX) {
                let ids = Ids::new(chunk.to_vec()).expect("a chunk is no longer than a frame");
                self.tell(context, peer, topic, Message::IHave { ids, is_repair: true });
            }
        }
    }

    fn forget_member(&mut self, topic: &TopicId, peer: &P) {
        if let Some(members) = self.by_topic.get_mut(topic) {
            members.remove(peer);
            if members.is_empty() {
                self.by_topic.remove(topic);
            }
        }
    }
}

/// Sends a frame: the header, then the bytes of the item if there is one.
fn emit<P: Peer>(context: &mut Context<'_, P>, peer: P, header: Bytes, item: Option<Item>) {
    let payload = item.map(|item| item.bytes).unwrap_or_default();
    context.emit(Output::Session(Request::Send { peer, header: header.into(), payload }));
}
