//! Two nodes, their histories, and the messages between them.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::super::super::history::{History, Insertion};
use super::super::super::{Item, ItemId, Stamp};
use super::super::{Message, Opening, Response, open, respond};
use crate::crypto::hash::blake3;

/// The wall time of both nodes.
pub(super) const NOW: u64 = 1_750_000_000_000;

/// More messages than any exchange has.
const MESSAGES_MAX: usize = 64;

/// The bytes that ask for an item.
const WANT_SIZE: usize = 16;

/// The item of this number; the time is spread as if a few were made in a second.
pub(super) fn stamp(number: u64) -> Stamp {
    stamp_at(number, NOW - 800_000 + number * 170)
}

/// The item of this number, with a time.
pub(super) fn stamp_at(number: u64, time: u64) -> Stamp {
    let hash = blake3(&number.to_be_bytes());
    Stamp { time, id: ItemId(*hash.first_chunk().unwrap()) }
}

fn item(stamp: Stamp) -> Item {
    Item { stamp, source: 1, bytes: Bytes::from_static(b"an item") }
}

/// Makes a history with these items.
pub(super) fn history(since: u64, stamps: impl IntoIterator<Item = Stamp>) -> History {
    let mut history = History::new(since);
    for stamp in stamps {
        assert_ne!(history.insert(item(stamp), NOW), Insertion::OutOfTime);
    }
    history.expire(NOW);
    history
}

/// What an exchange cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// The messages, without requests and items.
    pub(super) messages: usize,
    /// Their bytes, and those of requests.
    pub(super) bytes: usize,
    /// The items that were sent.
    pub(super) items: usize,
}

/// Two nodes. The first opens exchanges.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) nodes: [History; 2],
    /// Whether items arrive only after the last message.
    pub(super) is_slow: bool,
    pub(super) salt: u64,
}

impl Pair {
    pub(super) fn new(left: History, right: History) -> Self {
        Self { nodes: [left, right], is_slow: false, salt: 0x0123_4567_89ab_cdef }
    }

    /// Runs one exchange to its end.
    pub(super) fn exchange(&mut self) -> Cost {
        let mut cost = Cost::default();
        let opening = Opening { now: NOW, until: u64::MAX, salt: self.salt };
        let mut message = open(&self.nodes[0], opening);
        let mut transfers = VecDeque::new();
        let mut to = 1;
        while let Some(sent) = message {
            cost.messages += 1;
            assert!(cost.messages <= MESSAGES_MAX, "an exchange ends");
            let bytes = sent.encode();
            cost.bytes += bytes.len();
            let Response { reply, send, want } =
                respond(&self.nodes[to], &Message::decode(&bytes).unwrap());
            cost.bytes += WANT_SIZE * want.len();
            cost.items += send.len() + want.len();
            assert!(send.iter().all(|id| self.nodes[to].contains(id)));
            assert!(want.iter().all(|id| !self.nodes[to].has_seen(id)));
            transfers.extend(send.into_iter().map(|id| (to, id)));
            transfers.extend(want.into_iter().map(|id| (1 - to, id)));
            if !self.is_slow {
                self.carry(&mut transfers);
            }
            message = reply;
            to = 1 - to;
        }
        self.carry(&mut transfers);
        cost
    }

    /// Carries items that are still kept to the other node, each of which is new there.
    fn carry(&mut self, transfers: &mut VecDeque<(usize, ItemId)>) {
        for (from, id) in transfers.drain(..) {
            if let Some(item) = self.nodes[from].get(&id).cloned() {
                assert_eq!(self.nodes[1 - from].insert(item, NOW), Insertion::New);
            }
        }
    }

    /// The stamps that a node knows from the higher floor on.
    pub(super) fn common(&self, node: usize) -> BTreeSet<Stamp> {
        let floor = self.nodes[0].floor().max(self.nodes[1].floor());
        let end = super::super::END;
        self.nodes[node].stamps(floor..end).into_iter().collect()
    }
}
