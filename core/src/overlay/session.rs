//! One session: what the peer may ask for, what it did so far, and what waits to be sent to it.
//!
//! The parts are the topics that the peer is in ([`PeerTopics`]), the items that it promised
//! ([`Promises`]) and its send queue ([`SendQueue`]). The rates here bound what this node does for a
//! peer. An honest peer stays below them; see [`sessions`](super::sessions) for what happens to others.

mod promises;
mod queue;
mod topics;

use std::time::{Duration, Instant};

pub(super) use promises::Promises;
pub use queue::{CONTROL_BYTES_MAX, FRAME_COST, QUEUE_BYTES_MAX, QUEUE_ITEMS_MAX, WAITING_COST};
pub(super) use queue::{QueuedBytes, SendQueue, Waiting};
pub use topics::OTHER_TOPICS_MAX;
pub(super) use topics::{Announcement, PeerTopics};

use super::{Contact, ItemId, TOPICS_MAX};
use crate::support::{BoundedMap, TokenBucket};

/// Rate at which this node answers costly requests of one peer.
const REQUESTS_BURST: u32 = 64;
const REQUEST_INTERVAL: Duration = Duration::from_millis(100);

/// Rate at which this node answers reconciliation messages of a peer that is not a neighbor and was not
/// sent any.
const OPENINGS_BURST: u32 = 8;
const OPENING_INTERVAL: Duration = Duration::from_secs(2);

/// Rate at which a peer may send useless messages: requests over the limit, or items twice. It exceeds
/// what an honest peer sends because of requests that overlap while a link stalls.
const USELESS_BURST: u32 = 1024;
const USELESS_INTERVAL: Duration = Duration::from_millis(100);

/// The most items of which a session remembers that they were requested or came twice.
const ITEMS_MAX: usize = 256;

/// What a session remembers of an item that the peer sent although this node knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duplicate {
    /// Nothing.
    First,
    /// This node had asked the peer for it.
    Requested,
    /// The peer sent it before as a duplicate.
    Repeated,
}

/// A session with a peer.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) contact: Contact,
    pub(super) round_trip: Duration,
    /// When the last frame arrived.
    pub(super) heard_at: Instant,
    /// Whether this node asked for the end of the session. It ignores what the peer sends until then.
    pub(super) is_disconnected: bool,
    /// The topics that the peer is in.
    pub(super) topics: PeerTopics,
    /// The announcements that the peer kept and broke.
    pub(super) promises: Promises,
    /// What waits to be sent to it.
    pub(super) queue: SendQueue,
    /// The costly requests that it may make.
    requests: TokenBucket,
    /// The reconciliations that it may open.
    openings: TokenBucket,
    /// The useless messages that it may send.
    useless: TokenBucket,
    /// How many [`PeerExchange`](super::frames::Message::PeerExchange) messages it may send: one for
    /// each topic that this node announced to it.
    exchanges: usize,
    /// Items that it was asked for or sent as duplicates.
    items: BoundedMap<ItemId, Duplicate>,
    /// When this node last opened a reconciliation with it.
    opened_at: Option<Instant>,
}

impl Session {
    pub(super) fn new(contact: Contact, round_trip: Duration, window: usize, now: Instant) -> Self {
        Self {
            contact,
            round_trip,
            heard_at: now,
            is_disconnected: false,
            topics: PeerTopics::default(),
            promises: Promises::default(),
            queue: SendQueue::new(window),
            requests: TokenBucket::new(REQUESTS_BURST, REQUEST_INTERVAL, now),
            openings: TokenBucket::new(OPENINGS_BURST, OPENING_INTERVAL, now),
            useless: TokenBucket::new(USELESS_BURST, USELESS_INTERVAL, now),
            exchanges: 0,
            items: BoundedMap::new(ITEMS_MAX),
            opened_at: None,
        }
    }

    /// Takes a costly request of the peer. Returns false if it makes too many.
    pub(super) fn take_request(&mut self, now: Instant) -> bool {
        self.requests.take(now)
    }

    /// Takes a reconciliation that the peer opens. Returns false if it opens too many.
    pub(super) fn take_opening(&mut self, now: Instant) -> bool {
        self.openings.take(now)
    }

    /// Takes a useless message of the peer. Returns false if it sends too many.
    pub(super) fn take_useless(&mut self, now: Instant) -> bool {
        self.useless.take(now)
    }

    /// This node announced topics to the peer: it may answer each with a peer exchange.
    pub(super) fn allow_exchanges(&mut self, topics: usize) {
        self.exchanges = (self.exchanges + topics).min(TOPICS_MAX);
    }

    /// Takes a peer exchange. Returns false if the peer sent more than it may.
    pub(super) fn take_exchange(&mut self) -> bool {
        let is_allowed = self.exchanges > 0;
        self.exchanges = self.exchanges.saturating_sub(1);
        is_allowed
    }

    /// This node asked the peer for an item.
    pub(super) fn note_requested(&mut self, id: ItemId) {
        self.items.insert(id, Duplicate::Requested);
    }

    /// The peer sent an item that this node knew. Returns what the session remembers of it.
    pub(super) fn note_duplicate(&mut self, id: ItemId) -> Duplicate {
        let duplicate = self.items.peek(&id).copied().unwrap_or(Duplicate::First);
        if duplicate != Duplicate::Repeated {
            self.items.insert(id, Duplicate::Repeated);
        }
        duplicate
    }

    /// This node opened a reconciliation with the peer.
    pub(super) fn note_opened(&mut self, now: Instant) {
        self.opened_at = Some(now);
    }

    /// Returns when this node last opened a reconciliation with the peer.
    pub(super) fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }
}
