//! Receiving: a batch is checked, goes on to others, and waits for its turn to be delivered.
//!
//! ```text
//! well formed? → recent? → author heard? → new? → key → signature → no contradiction
//!     → overlay (to others) → order → delivered
//! ```
//!
//! The cheap checks come first, so a peer can cost one signature check for each forged batch, after
//! which its session ends.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::batch::{Batch, Root, VerifiedBatch};
use super::evidence;
use super::frames;
use super::keys::{AuthorKey, Parked};
use super::order::{Order, Relation, Roots};
use super::state::{Room, State, Timer, millis};
use super::{Context, MessageId, Output, Topic};
use crate::identity::{AgentId, CLOCK_SKEW_MAX};
use crate::overlay::{Fault, ItemId, Peer, Receipt, TopicId};
use crate::support::Counter;

/// Batches older than this are not taken.
pub const AGE_MAX: Duration = Duration::from_secs(15 * 60);

/// The most authors that are known in a topic.
pub const AUTHORS_MAX: usize = 4096;

/// The most bytes of batches of all authors of a topic that wait for those before them.
pub const TOPIC_WAITING_BYTES_MAX: usize = 16 << 20;

/// The most bytes that wait for what is missing in all topics, beside a small share for each.
pub const WAITING_BYTES_ALL_MAX: usize = 64 << 20;

/// How many bytes may wait in a topic whatever waits in others.
pub const WAITING_BYTES_SHARE: usize = 128 << 10;

/// The most authors that are remembered as no longer heard in a topic.
pub const EQUIVOCATORS_MAX: usize = 4096;

/// How long missing batches are waited for.
pub const GAP_TIME: Duration = Duration::from_secs(5);

/// When missing batches are asked for again.
pub const PULL_AGAIN: Duration = Duration::from_secs(1);

/// What is known of an author in a topic.
#[derive(Debug)]
pub(super) struct Author<P> {
    /// The newest stream.
    stream: u64,
    /// Its latest batches.
    roots: Roots,
    /// How far it is delivered, while the topic is subscribed to.
    order: Option<Order>,
    /// What is missing.
    gap: Option<Gap<P>>,
}

impl<P> Author<P> {
    /// Delivers no more, and waits for nothing. Returns the stream and the first sequence that was
    /// not delivered, if one was.
    pub(super) fn leave(&mut self) -> Option<(u64, u64)> {
        self.gap = None;
        let next = self.order.take()?.delivered_to()?;
        Some((self.stream, next))
    }
}

/// Missing batches that are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap<P> {
    /// The first sequence that is missing.
    sequence: u64,
    /// When it was noticed.
    since: Instant,
    /// Who has what comes after it.
    peer: P,
    /// Whether they were asked twice.
    is_asked_again: bool,
}

impl<P: Peer> State<P> {
    /// Looks at a batch that came.
    pub(super) fn receive(
        &mut self,
        context: &mut Context<'_, P>,
        receipt: Receipt<P>,
        bytes: Bytes,
    ) {
        context.count(Counter::GossipBatchesReceived);
        if let Some(session) = self.sessions.get_mut(&receipt.peer) {
            session.topics.insert(receipt.topic);
        }
        match Batch::parse(bytes) {
            Ok(batch) if batch.root().topic == receipt.topic && batch.stamp() == receipt.stamp => {
                self.judge(context, receipt, batch);
            }
            Ok(_) | Err(_) => {
                self.refuse(context, receipt, Fault::Forged, Counter::GossipBatchesForged)
            }
        }
    }

    /// A key came.
    pub(super) fn handle_key(&mut self, context: &mut Context<'_, P>, peer: P, key: AuthorKey) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.knows(key.id());
            if self.keys.proven(&key.id()).is_none() {
                session.keep(key.clone());
            }
        }
        let waiting = self.keys.take(|parked| parked.batch.root().author == key.id());
        for Parked { receipt, batch, .. } in waiting {
            match self.precheck(context, &receipt, batch.root(), batch.hash()) {
                Ok(()) => self.admit(context, receipt, batch, &key),
                Err(counter) => self.refuse(context, receipt, Fault::Unwanted, counter),
            }
        }
        self.set_parked_timer();
    }

    /// Gives up batches whose key does not come.
    pub(super) fn drop_late(&mut self, context: &mut Context<'_, P>) {
        let late = self.keys.take_late(context.now);
        self.give_up_parked(context, late);
    }

    /// Gives up batches that wait for a key.
    pub(super) fn drop_parked(
        &mut self,
        context: &mut Context<'_, P>,
        is_over: impl Fn(&Parked<P>) -> bool,
    ) {
        let over = self.keys.take(is_over);
        self.give_up_parked(context, over);
    }

    fn give_up_parked(&mut self, context: &mut Context<'_, P>, parked: Vec<Parked<P>>) {
        for Parked { receipt, .. } in parked {
            let counter = Counter::GossipBatchesWithoutKey;
            self.refuse(context, receipt, Fault::Unchecked, counter);
        }
        self.set_parked_timer();
    }

    fn set_parked_timer(&mut self) {
        match self.keys.deadline() {
            Some(at) => self.timers.set(Timer::Parked, at),
            None => self.timers.cancel(&Timer::Parked),
        }
    }

    /// Missing batches did not come for a while.
    pub(super) fn handle_gap(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
        author: AgentId,
    ) {
        let Some(room) = self.topics.get_mut(&topic) else { return };
        let Some(known) = room.authors.get_mut(&author) else { return };
        let Some(gap) = &mut known.gap else { return };
        if !std::mem::replace(&mut gap.is_asked_again, true) {
            let (peer, at) = (gap.peer, gap.since + GAP_TIME);
            self.timers.set(Timer::Gap(topic, author), at);
            return self.drive(context, |overlay, context| overlay.pull(context, topic, peer));
        }
        let peer = gap.peer;
        if let Some(missed) = known.order.as_mut().and_then(Order::skip) {
            let missed = if self.blocked.contains(&author) { 0 } else { missed };
            lag(context, &room.topic, author, missed);
        }
        self.proceed(context, topic, author, peer);
    }

    fn refuse(
        &mut self,
        context: &mut Context<'_, P>,
        receipt: Receipt<P>,
        fault: Fault,
        counter: Counter,
    ) {
        context.count(counter);
        self.drive(context, |overlay, context| overlay.reject(context, receipt, fault));
    }

    /// Finds the key of a batch, or lets it wait for it.
    fn judge(&mut self, context: &mut Context<'_, P>, receipt: Receipt<P>, batch: Batch) {
        if let Err(counter) = self.precheck(context, &receipt, batch.root(), batch.hash()) {
            return self.refuse(context, receipt, Fault::Unwanted, counter);
        }
        let (peer, author) = (receipt.peer, batch.root().author);
        let session = self.sessions.get(&peer);
        let key = self.keys.proven(&author).or_else(|| session?.find(&author)).cloned();
        if let Some(key) = key {
            return self.admit(context, receipt, batch, &key);
        }
        let can_ask = self.overlay.state.has_room(&peer);
        match self.keys.park(context.now, receipt, batch, can_ask) {
            Ok(true) => {
                context.count(Counter::GossipKeysAsked);
                let (header, payload) = (frames::key_request(&author), Bytes::new());
                self.overlay.state.take_room(&peer, header.len());
                context.emit(Output::Frame { peer, header, payload });
            }
            Ok(false) => {}
            Err(receipt) => {
                let counter = Counter::GossipBatchesWithoutKey;
                self.refuse(context, receipt, Fault::Unchecked, counter);
            }
        }
        self.set_parked_timer();
    }

    /// The checks that cost nothing. An error says how a refusal is counted.
    fn precheck(
        &self,
        context: &Context<'_, P>,
        receipt: &Receipt<P>,
        root: &Root,
        hash: &[u8; 32],
    ) -> Result<(), Counter> {
        let now = context.unix_time;
        let (oldest, newest) = (now.saturating_sub(AGE_MAX), now + CLOCK_SKEW_MAX);
        let room = self.topics.get(&receipt.topic).ok_or(Counter::GossipBatchesUnwanted)?;
        if !(millis(oldest)..=millis(newest)).contains(&root.time)
            || self.equivocators.peek(&(root.topic, root.author)).is_some()
        {
            return Err(Counter::GossipBatchesUnwanted);
        }
        let is_own = root.author == self.key.id() && room.publisher.is_own(root.stream);
        let known = room.authors.peek(&root.author).filter(|known| known.stream == root.stream);
        let relation = known.map(|known| known.roots.relate(root, hash));
        if is_own || relation == Some(Relation::Known) {
            return Err(Counter::GossipBatchesDuplicate);
        }
        Ok(())
    }

    /// Checks the signature of a batch and takes it.
    fn admit(
        &mut self,
        context: &mut Context<'_, P>,
        receipt: Receipt<P>,
        batch: Batch,
        key: &AuthorKey,
    ) {
        let Ok(batch) = batch.verify(key) else {
            let counter = Counter::GossipBatchesForged;
            return self.refuse(context, receipt, Fault::Forged, counter);
        };
        let (topic, author, peer) = (receipt.topic, batch.root().author, receipt.peer);
        if self.keys.proven(&author).is_none() {
            self.keys.prove(self.sessions.get_mut(&peer), key.clone());
        }
        context.count(Counter::GossipBatchesVerified);
        let count = batch.root().count.into();
        context.counters.add(Counter::GossipMessagesReceived, count);
        match self.relate(context, &batch) {
            Relation::Known => {
                let counter = Counter::GossipBatchesDuplicate;
                return self.refuse(context, receipt, Fault::Unwanted, counter);
            }
            Relation::Excludes(other) => {
                self.accuse(context, key, &batch, &other);
                let counter = Counter::GossipBatchesUnwanted;
                return self.refuse(context, receipt, Fault::Unwanted, counter);
            }
            Relation::New => {}
        }
        if author == self.key.id() {
            self.note_own_stream(topic, batch.root().stream);
        }
        let (item, is_repair) = (batch.item(), receipt.is_repair);
        self.drive(context, |overlay, context| overlay.accept(context, receipt, item));
        self.order(context, batch, is_repair);
        self.proceed(context, topic, author, peer);
    }

    /// A batch of this agent came that this run did not publish.
    fn note_own_stream(&mut self, topic: TopicId, stream: u64) {
        self.last_stream = self.last_stream.max(stream);
        if let Some(room) = self.topics.get_mut(&topic) {
            room.publisher.outdone_by(stream);
        }
    }

    /// Compares a batch with those of its author that came, and remembers it.
    fn relate(&mut self, context: &mut Context<'_, P>, batch: &VerifiedBatch) -> Relation {
        let (root, hash) = (batch.root(), batch.hash());
        let Some(room) = self.topics.get_mut(&root.topic) else { return Relation::New };
        if let Some(known) = room.authors.get_mut(&root.author) {
            if root.stream < known.stream {
                return Relation::New;
            }
            if root.stream == known.stream {
                let relation = known.roots.relate(root, hash);
                if relation == Relation::New {
                    known.roots.insert(root, hash);
                }
                return relation;
            }
        }
        self.begin(context, root.topic, root.author, root.stream);
        if let Some(room) = self.topics.get_mut(&root.topic)
            && let Some(known) = room.authors.get_mut(&root.author)
        {
            known.roots.insert(root, hash);
        }
        Relation::New
    }

    /// Begins a stream of an author; what is missing of the stream before it will not come.
    fn begin(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
        author: AgentId,
        stream: u64,
    ) {
        let first = self.past.next(context.now, (topic, author), stream);
        let Some(room) = self.topics.get_mut(&topic) else { return };
        if let Some(known) = room.authors.remove(&author) {
            room.finish(context, author, known, &self.blocked);
            self.timers.cancel(&Timer::Gap(topic, author));
        }
        let known = Author {
            stream,
            roots: Roots::default(),
            order: room.since.map(|since| Order::new(since, first)),
            gap: None,
        };
        if let Some((forgotten, known)) = room.authors.insert(author, known) {
            context.count(Counter::GossipAuthorsForgotten);
            room.finish(context, forgotten, known, &self.blocked);
            self.timers.cancel(&Timer::Gap(topic, forgotten));
        }
    }

    /// Puts a batch into the order of its stream.
    fn order(&mut self, context: &mut Context<'_, P>, batch: VerifiedBatch, is_repair: bool) {
        let root = batch.root();
        let Some(room) = self.topics.get_mut(&root.topic) else { return };
        let Some(since) = room.since else { return };
        let Some(known) = room.authors.get_mut(&root.author) else { return };
        let is_past_own = root.author == self.key.id() && room.publisher.is_past(root.stream);
        if root.stream != known.stream || is_past_own {
            return context.count(Counter::GossipBatchesPast);
        }
        let order = known.order.get_or_insert_with(|| {
            let subject = (root.topic, root.author);
            Order::new(since, self.past.next(context.now, subject, root.stream))
        });
        let before = order.waiting_bytes();
        order.take(batch, is_repair);
        room.waiting_bytes = room.waiting_bytes - before + order.waiting_bytes();
    }

    /// Delivers what is next of an author, and waits for what is missing.
    fn proceed(&mut self, context: &mut Context<'_, P>, topic: TopicId, author: AgentId, peer: P) {
        let is_blocked = self.blocked.contains(&author);
        let waiting_max = self.waiting_bytes_max(&topic);
        let Some(room) = self.topics.get_mut(&topic) else { return };
        let Some(known) = room.authors.get_mut(&author) else { return };
        let Some(order) = &mut known.order else { return };
        loop {
            while let Some(batch) = order.next() {
                room.waiting_bytes -= batch.size();
                deliver(context, &room.topic, is_blocked, &batch);
            }
            if !order.is_full() && room.waiting_bytes <= waiting_max {
                break;
            }
            let Some(missed) = order.skip() else { break };
            lag(context, &room.topic, author, if is_blocked { 0 } else { missed });
        }
        let missing = order.gap();
        if missing == known.gap.as_ref().map(|gap| gap.sequence) {
            return;
        }
        known.gap = missing.map(|sequence| Gap {
            sequence,
            since: context.now,
            peer,
            is_asked_again: false,
        });
        if known.gap.is_none() {
            return self.timers.cancel(&Timer::Gap(topic, author));
        }
        self.timers.set(Timer::Gap(topic, author), context.now + PULL_AGAIN);
        self.drive(context, |overlay, context| overlay.pull(context, topic, peer));
    }

    /// How many bytes may wait in a topic.
    fn waiting_bytes_max(&self, topic: &TopicId) -> usize {
        let waiting = self.topics.get(topic).map_or(0, |room| room.waiting_bytes);
        if waiting <= WAITING_BYTES_SHARE {
            return WAITING_BYTES_SHARE;
        }
        let all: usize = self.topics.values().map(|room| room.waiting_bytes).sum();
        let left = WAITING_BYTES_ALL_MAX.saturating_sub(all - waiting);
        left.clamp(WAITING_BYTES_SHARE, TOPIC_WAITING_BYTES_MAX)
    }

    /// Proves that an author contradicts itself, if the other batch is still there.
    fn accuse(
        &mut self,
        context: &mut Context<'_, P>,
        key: &AuthorKey,
        batch: &Batch,
        other: &ItemId,
    ) {
        let topic = batch.root().topic;
        let Some(other) = self.overlay.state.item(&topic, other) else { return };
        let Ok(other) = Batch::parse(other) else { return };
        if let Some(evidence) = evidence::accuse(key, batch, &other) {
            self.expose(context, topic, batch.root().author, &evidence, None);
        }
    }

    /// Evidence came.
    pub(super) fn handle_evidence(&mut self, context: &mut Context<'_, P>, peer: P, bytes: &Bytes) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let proven = match evidence::Parsed::parse(bytes) {
            Ok(parsed) => {
                let subject = parsed.subject();
                if !self.topics.contains_key(&subject.0)
                    || self.equivocators.peek(&subject).is_some()
                    || !session.evidence.take(context.now)
                {
                    return context.count(Counter::GossipEvidenceIgnored);
                }
                parsed.verify()
            }
            Err(error) => Err(error),
        };
        match proven {
            Ok(proven) => self.expose(context, proven.topic, proven.author, bytes, Some(peer)),
            Err(_) => self.condemn(context, peer, "evidence proves nothing"),
        }
    }

    /// Stops hearing an author, and tells the application and the peers in the topic.
    fn expose(
        &mut self,
        context: &mut Context<'_, P>,
        topic: TopicId,
        author: AgentId,
        evidence: &Bytes,
        from: Option<P>,
    ) {
        let Some(room) = self.topics.get_mut(&topic) else { return };
        context.count(Counter::GossipEquivocations);
        self.equivocators.insert((topic, author), ());
        if let Some(known) = room.authors.remove(&author) {
            room.waiting_bytes -= known.order.map_or(0, |order| order.waiting_bytes());
            self.timers.cancel(&Timer::Gap(topic, author));
        }
        let name = room.topic.clone();
        context.emit(Output::Equivocated { topic: name, author, evidence: evidence.clone() });
        for (&peer, session) in &self.sessions {
            let concerns = Some(peer) != from && session.topics.contains(&topic);
            let (header, payload) = (frames::evidence(), evidence.clone());
            let size = header.len() + payload.len();
            // Who reads nothing hears of it from others.
            if concerns && !session.is_condemned && self.overlay.state.take_room(&peer, size) {
                context.emit(Output::Frame { peer, header, payload });
            }
        }
    }
}

impl<P> Room<P> {
    /// Ends the stream of an author: what waits is delivered, and what is missing is told.
    pub(super) fn finish(
        &mut self,
        context: &mut Context<'_, P>,
        author: AgentId,
        known: Author<P>,
        blocked: &std::collections::BTreeSet<AgentId>,
    ) {
        let Some(mut order) = known.order else { return };
        let is_blocked = blocked.contains(&author);
        loop {
            while let Some(batch) = order.next() {
                self.waiting_bytes -= batch.size();
                deliver(context, &self.topic, is_blocked, &batch);
            }
            let Some(missed) = order.skip() else { return };
            lag(context, &self.topic, author, if is_blocked { 0 } else { missed });
        }
    }
}

/// Delivers the messages of a batch.
pub(super) fn deliver<P>(
    context: &mut Context<'_, P>,
    topic: &Topic,
    is_blocked: bool,
    batch: &VerifiedBatch,
) {
    let root = batch.root();
    if is_blocked {
        return context.counters.add(Counter::GossipMessagesBlocked, root.count.into());
    }
    context.counters.add(Counter::GossipMessagesDelivered, root.count.into());
    let published_at = Duration::from_millis(root.time);
    for (index, payload) in (0..).zip(batch.payloads()) {
        context.emit(Output::Received {
            topic: topic.clone(),
            author: root.author,
            payload,
            published_at,
            message: MessageId { batch: batch.id(), index },
        });
    }
}

/// Tells that messages were missed.
fn lag<P>(context: &mut Context<'_, P>, topic: &Topic, author: AgentId, missed: u64) {
    if missed > 0 {
        context.counters.add(Counter::GossipMessagesLagged, missed);
        context.emit(Output::Lagged { topic: topic.clone(), author, missed });
    }
}
