//! Items that do not exist, and comparisons without end.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use x0x_core::overlay::{IDS_MAX, ItemId, Stamp};

use super::{Abuse, Heard, Voice};
use crate::model::attack::frames::{Message, Priority};
use crate::model::peer::PeerId;

/// How many announcements it begins with: as many items as a peer may be missing.
const BURST: u64 = 16;

/// How many stamps it remembers.
const STAMPS_MAX: usize = 64;

/// Announces items that do not exist and gives none away. Before each announcement it pushes an item
/// that everybody has, to look like somebody who gives.
#[derive(Debug)]
pub struct InventedItems {
    period: Duration,
    sent: u64,
    stamps: VecDeque<Stamp>,
}

impl InventedItems {
    /// Makes one that announces this often, after a burst.
    pub fn new(period: Duration) -> Self {
        Self { period, sent: 0, stamps: VecDeque::new() }
    }
}

impl Abuse for InventedItems {
    fn period(&self) -> Duration {
        self.period
    }

    fn hear(&mut self, _voice: &mut Voice<'_, '_, '_>, _peer: PeerId, said: Heard) {
        let Message::Push { stamp, .. } = said.message else { return };
        if !self.stamps.contains(&stamp) {
            self.stamps.push_back(stamp);
        }
        if self.stamps.len() > STAMPS_MAX {
            self.stamps.pop_front();
        }
    }

    fn strike(&mut self, voice: &mut Voice<'_, '_, '_>, peers: &BTreeSet<PeerId>) {
        let count = if self.sent == 0 { BURST } else { 1 };
        self.sent += 1;
        // The latest may not have reached everybody yet.
        let known = self.stamps.len().checked_sub(2).and_then(|most| {
            let place = usize::try_from(self.sent).unwrap_or(0) % (most + 1);
            self.stamps.get(place).copied()
        });
        for &peer in peers {
            if let Some(stamp) = known {
                voice.push_junk(peer, stamp);
            }
            for _ in 0..count {
                let ids = (0..IDS_MAX).map(|_| ItemId(voice.hand.rng.bytes())).collect();
                voice.say(peer, Message::Have { ids, is_repair: false });
            }
        }
    }
}

/// How many items it lists.
const LISTED: usize = 32;

/// The range lists what is there, its start is written, and it has no end.
const LIST_OF_EVERYTHING: u8 = 1 | 2 | 4;

/// Compares histories as often as it may: it says that it has nothing at all, or only what does not
/// exist. Now and then it leaves the topic and joins it again.
#[derive(Debug)]
pub struct Reconciler {
    period: Duration,
    sent: u64,
}

impl Reconciler {
    /// Makes one that compares this often.
    pub fn new(period: Duration) -> Self {
        Self { period, sent: 0 }
    }
}

impl Abuse for Reconciler {
    fn period(&self) -> Duration {
        self.period
    }

    fn strike(&mut self, voice: &mut Voice<'_, '_, '_>, peers: &BTreeSet<PeerId>) {
        self.sent += 1;
        let ids = if self.sent.is_multiple_of(4) { LISTED } else { 0 };
        let ids: Vec<[u8; 16]> = (0..ids).map(|_| voice.hand.rng.bytes()).collect();
        let message = list_of_everything(self.sent, voice.unix_millis(), ids);
        for &peer in peers {
            voice.say(peer, Message::Reconcile(message.clone()));
            if self.sent.is_multiple_of(10) {
                voice.say(peer, Message::Left);
                voice.say(peer, Message::Joined);
                voice.say(peer, Message::Neighbour(Priority::High));
            }
        }
    }
}

/// Makes a reconciliation that lists these ids, all of one time, and says that there is nothing else.
fn list_of_everything(salt: u64, time: u64, mut ids: Vec<[u8; 16]>) -> Vec<u8> {
    ids.sort_unstable();
    let mut bytes = salt.to_be_bytes().to_vec();
    // From the beginning of time on, an id of no bytes.
    bytes.extend([LIST_OF_EVERYTHING, 0, 0]);
    bytes.push(u8::try_from(ids.len()).expect("few ids"));
    let mut before = 0;
    for id in ids {
        // A variable-length integer of eight bytes, or the shortest.
        let since = time - std::mem::replace(&mut before, time);
        if since == 0 {
            bytes.push(0);
        } else {
            bytes.extend((since | 0b11 << 62).to_be_bytes());
        }
        bytes.extend(id);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use x0x_core::overlay::reconcile;

    use super::list_of_everything;

    #[test]
    fn the_core_reads_what_a_reconciler_says() {
        for count in [0, 1, 32] {
            let ids = (0..count).map(|number| [number; 16]).collect();
            let bytes = list_of_everything(7, 1_800_000_000_000, ids);
            let message = reconcile::Message::decode(&bytes).unwrap();
            assert_eq!((message.spans_len(), message.ids_len()), (1, usize::from(count)));
        }
    }
}
