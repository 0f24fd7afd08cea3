//! Strangers without end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use x0x_core::session::Contact;

use super::abuse::Voice;
use super::frames::{Entry, Message, Priority};
use super::{Attacker, Hand};
use crate::model::peer::PeerId;
use crate::model::protocol::{Effect, Protocol};

/// How long a stranger stays after its last session began.
const STAY: Duration = Duration::from_millis(100);

/// How long an identity is tried at most.
const TRIED: Duration = Duration::from_secs(2);

/// Comes under a new identity, says what a newcomer says, goes, and comes back as somebody else.
#[derive(Debug)]
pub struct Strangers {
    me: PeerId,
    prefix: &'static [u8],
    targets: Vec<PeerId>,
    up: BTreeSet<PeerId>,
    is_there: bool,
    next: Option<Instant>,
}

impl Strangers {
    /// Makes one that goes to these nodes.
    pub fn new<P: Protocol>(me: PeerId, targets: Vec<PeerId>) -> Self {
        let (up, prefix) = (BTreeSet::new(), P::OVERLAY_PREFIX);
        Self { me, prefix, targets, up, is_there: false, next: None }
    }
}

impl Attacker for Strangers {
    fn on_start(&mut self, hand: &mut Hand<'_, '_>) {
        self.next = Some(hand.env.time.now);
    }

    fn on_peer_up(&mut self, hand: &mut Hand<'_, '_>, peer: PeerId, _contact: &Contact) {
        self.up.insert(peer);
        let (now, contact) = (hand.env.time.now, self.me.contact());
        let mut voice = Voice { hand, prefix: self.prefix };
        voice.say(peer, Message::Joined);
        voice.say(peer, Message::Neighbour(Priority::High));
        let entry = Entry { peer: self.me, contact };
        voice.say(peer, Message::Newcomer { entry, steps: 6 });
        if self.targets.iter().all(|target| self.up.contains(target)) {
            self.next = Some(now + STAY);
        }
    }

    fn on_peer_down(&mut self, _hand: &mut Hand<'_, '_>, peer: PeerId) {
        self.up.remove(&peer);
    }

    fn tick(&mut self, hand: &mut Hand<'_, '_>) {
        let now = hand.env.time.now;
        self.is_there = !self.is_there;
        if self.is_there {
            self.targets.iter().for_each(|&peer| hand.dial(peer));
            self.next = Some(now + TRIED);
        } else {
            self.me = self.me.reborn();
            hand.act(Effect::Reappear { id: self.me });
            self.next = Some(now + STAY);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }
}
