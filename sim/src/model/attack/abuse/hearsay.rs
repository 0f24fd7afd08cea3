//! Names that lead nowhere.

use std::collections::BTreeSet;
use std::time::Duration;

use x0x_core::overlay::ENTRIES_MAX;

use super::{Abuse, Heard, Voice, nth};
use crate::model::attack::frames::{Entry, Message};
use crate::model::peer::PeerId;

/// How many steps a newcomer asks for.
const STEPS: u8 = 6;

/// How many peers it remembers, to rewrite where they are reached.
const KNOWN_MAX: usize = 256;

/// Names peers that do not exist, and says of real ones that they are elsewhere: in referrals, as
/// newcomers, in shuffles and in the answers to these.
#[derive(Debug)]
pub struct NamedAddresses {
    period: Duration,
    sent: u64,
    known: BTreeSet<PeerId>,
}

impl NamedAddresses {
    /// Makes one that names peers this often.
    pub fn new(period: Duration) -> Self {
        Self { period, sent: 0, known: BTreeSet::new() }
    }

    /// Makes a list of which every other entry is a real peer with a wrong contact.
    fn entries(&self, voice: &mut Voice<'_, '_, '_>) -> Vec<Entry> {
        let entry = |place| self.entry(voice, place);
        (0..ENTRIES_MAX).map(entry).collect()
    }

    fn entry(&self, voice: &mut Voice<'_, '_, '_>, place: usize) -> Entry {
        let invented = voice.invent_peer();
        let real = nth(&self.known, voice.hand.rng.next_u64()).filter(|_| place % 2 == 1);
        Entry { peer: real.unwrap_or(invented), contact: invented.contact() }
    }

    fn learn(&mut self, entries: &[Entry]) {
        let room = KNOWN_MAX.saturating_sub(self.known.len());
        self.known.extend(entries.iter().map(|entry| entry.peer).take(room));
    }
}

impl Abuse for NamedAddresses {
    fn period(&self) -> Duration {
        self.period
    }

    fn hear(&mut self, voice: &mut Voice<'_, '_, '_>, peer: PeerId, said: Heard) {
        match said.message {
            Message::Refer(entries) | Message::Shuffled { entries, .. } => self.learn(&entries),
            Message::Newcomer { entry, .. } => self.learn(&[entry]),
            Message::Shuffle { walk, entries, .. } => {
                self.learn(&entries);
                let entries = self.entries(voice);
                voice.say(peer, Message::Shuffled { walk, entries });
            }
            Message::Joined
            | Message::Left
            | Message::Neighbour(_)
            | Message::Answer(_)
            | Message::Part
            | Message::Push { .. }
            | Message::Have { .. }
            | Message::Graft { .. }
            | Message::Prune
            | Message::Want(_)
            | Message::Beacon { .. }
            | Message::Reconcile(_) => {}
        }
    }

    fn strike(&mut self, voice: &mut Voice<'_, '_, '_>, peers: &BTreeSet<PeerId>) {
        let room = KNOWN_MAX.saturating_sub(self.known.len());
        self.known.extend(peers.iter().take(room));
        for &peer in peers {
            self.sent += 1;
            let entries = self.entries(voice);
            let walk = voice.hand.rng.next_u32();
            let message = match self.sent % 4 {
                0 => Message::Refer(entries),
                1 => Message::Newcomer { entry: self.entry(voice, 0), steps: STEPS },
                2 => Message::Shuffle { walk, steps: STEPS, entries },
                _ => Message::Shuffled { walk, entries },
            };
            voice.say(peer, message);
        }
    }
}
