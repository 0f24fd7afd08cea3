//! Attackers that need not understand what they send.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::session::Contact;

use super::{Attacker, Hand};
use crate::model::peer::PeerId;

/// What a [`Flood`] consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filler {
    /// A frame of random bytes, up to so many.
    Junk(u64),
    /// Frames that say that the sender is in ever more topics.
    Topics,
}

/// How many topics are named to each peer at a time.
const TOPICS_AT_ONCE: usize = 16;

/// What comes before the topic in a frame that says who is in it, and after: the overlay's frame,
/// its version, a message about a topic, `Joined`.
const JOINED: ([u8; 3], u8) = ([0, 1, 1], 0);

/// Sends something useless to every peer that it has, again and again.
#[derive(Debug)]
pub struct Flood {
    filler: Filler,
    targets: Vec<PeerId>,
    peers: BTreeSet<PeerId>,
    every: Duration,
    next: Option<Instant>,
}

impl Flood {
    /// Makes one that dials the targets and sends this often.
    pub fn new(filler: Filler, targets: Vec<PeerId>, every: Duration) -> Self {
        Self { filler, targets, peers: BTreeSet::new(), every, next: None }
    }

    fn fill(&self, hand: &mut Hand<'_, '_>, peer: PeerId) {
        match self.filler {
            Filler::Junk(size_max) => {
                let size = 1 + hand.rng.below(size_max.max(1));
                let mut frame = vec![0; usize::try_from(size).unwrap_or(1)];
                hand.rng.fill(&mut frame);
                hand.send(peer, frame.into());
            }
            Filler::Topics => {
                for _ in 0..TOPICS_AT_ONCE {
                    let mut topic = [0; 32];
                    hand.rng.fill(&mut topic);
                    hand.send(peer, [&JOINED.0[..], &topic, &[JOINED.1]].concat().into());
                }
            }
        }
    }
}

impl Attacker for Flood {
    fn on_start(&mut self, hand: &mut Hand<'_, '_>) {
        for &peer in &self.targets {
            hand.dial(peer);
        }
        self.next = Some(hand.env.time.now + self.every);
    }

    fn on_peer_up(&mut self, _hand: &mut Hand<'_, '_>, peer: PeerId, _contact: &Contact) {
        self.peers.insert(peer);
    }

    fn on_peer_down(&mut self, hand: &mut Hand<'_, '_>, peer: PeerId) {
        self.peers.remove(&peer);
        hand.dial(peer);
    }

    fn tick(&mut self, hand: &mut Hand<'_, '_>) {
        for &peer in &self.peers {
            self.fill(hand, peer);
        }
        self.next = Some(hand.env.time.now + self.every);
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

/// Keeps the latest frames that came and sends them again, to everybody and often.
#[derive(Debug)]
pub struct Recorder {
    targets: Vec<PeerId>,
    peers: BTreeSet<PeerId>,
    frames: VecDeque<Bytes>,
    every: Duration,
    next: Option<Instant>,
}

/// How many frames a recorder keeps.
const FRAMES_MAX: usize = 256;

/// How many frames it sends to each peer at a time.
const FRAMES_AT_ONCE: usize = 16;

impl Recorder {
    /// Makes one that dials the targets and sends again what it heard this often.
    pub fn new(targets: Vec<PeerId>, every: Duration) -> Self {
        Self { targets, peers: BTreeSet::new(), frames: VecDeque::new(), every, next: None }
    }
}

impl Attacker for Recorder {
    fn on_start(&mut self, hand: &mut Hand<'_, '_>) {
        for &peer in &self.targets {
            hand.dial(peer);
        }
        self.next = Some(hand.env.time.now + self.every);
    }

    fn on_peer_up(&mut self, _hand: &mut Hand<'_, '_>, peer: PeerId, _contact: &Contact) {
        self.peers.insert(peer);
    }

    fn on_peer_down(&mut self, hand: &mut Hand<'_, '_>, peer: PeerId) {
        self.peers.remove(&peer);
        hand.dial(peer);
    }

    fn on_frame(&mut self, _hand: &mut Hand<'_, '_>, _peer: PeerId, frame: &Bytes) {
        if self.frames.len() >= FRAMES_MAX {
            self.frames.pop_front();
        }
        self.frames.push_back(frame.clone());
    }

    fn tick(&mut self, hand: &mut Hand<'_, '_>) {
        for &peer in &self.peers {
            for _ in 0..FRAMES_AT_ONCE.min(self.frames.len()) {
                let pick = crate::random::index(hand.rng, self.frames.len());
                hand.send(peer, self.frames[pick].clone());
            }
        }
        self.next = Some(hand.env.time.now + self.every);
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }
}
