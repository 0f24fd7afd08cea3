//! Beacons without end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Abuse, Voice, nth};
use crate::model::attack::frames::Message;
use crate::model::peer::PeerId;

/// Sends every neighbour a hundred beacons each second: in its own name, in the neighbour's, in
/// that of others, and in the name of nobody, each of a higher generation than the last.
#[derive(Debug)]
pub struct Beacons {
    me: PeerId,
    period: Duration,
    sent: u64,
}

/// After so many beacons comes one that no other is above.
const LAST_AFTER: u64 = 20_000;

impl Beacons {
    /// Makes one that sends this often.
    pub fn new(me: PeerId, period: Duration) -> Self {
        Self { me, period, sent: 0 }
    }
}

impl Abuse for Beacons {
    fn period(&self) -> Duration {
        self.period
    }

    fn strike(&mut self, voice: &mut Voice<'_, '_, '_>, peers: &BTreeSet<PeerId>) {
        self.sent += 1;
        let invented = voice.invent_peer();
        let other = nth(peers, self.sent).unwrap_or(self.me);
        let is_last = self.sent.is_multiple_of(LAST_AFTER);
        let generation = if is_last { u64::MAX } else { self.sent };
        let sequence = if is_last { u64::MAX } else { voice.unix_millis() + self.sent };
        for &peer in peers {
            let root = match self.sent % 4 {
                0 => invented,
                1 => self.me,
                2 => peer,
                _ => other,
            };
            voice.say(peer, Message::Beacon { root, generation, sequence, hops: 0 });
        }
    }
}
