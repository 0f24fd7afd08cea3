//! What attackers say that look like honest nodes: frames that the protocol has, and a use that it
//! was not made for.
//!
//! A [`Puppet`](super::Puppet) has an [`Abuse`] beside its honest node, so it is a neighbour like any
//! other and says this on top.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use x0x_core::overlay::{Stamp, TopicId};

use super::Hand;
use super::frames::{Frame, Message};
use crate::model::peer::{PeerId, mix};
use crate::model::protocol::{Effect, Protocol};
use crate::model::world::MAIN_TOPIC;

mod authors;
mod beacons;
mod hearsay;
mod items;

pub use authors::{PUPPET_MARK, PuppetAuthors};
pub use beacons::Beacons;
pub use hearsay::NamedAddresses;
pub use items::{InventedItems, Reconciler};

/// What an attacker says again and again.
pub trait Abuse: Debug {
    /// Returns how often it says something.
    fn period(&self) -> Duration;

    /// It hears something about the main topic, and the item if it is a push.
    fn hear(&mut self, _voice: &mut Voice<'_, '_, '_>, _peer: PeerId, _said: Heard) {}

    /// It says something to those with whom it has a session.
    fn strike(&mut self, voice: &mut Voice<'_, '_, '_>, peers: &BTreeSet<PeerId>);
}

/// What an attacker hears.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The message.
    pub message: Message,
    /// The item; only a push has one.
    pub item: Bytes,
}

impl Heard {
    /// Reads a frame about the main topic.
    pub fn read<P: Protocol>(frame: &[u8]) -> Option<Self> {
        match Frame::decode(frame.strip_prefix(P::OVERLAY_PREFIX)?)? {
            (Frame::Topic(topic, message), item) if topic == main_topic() => {
                Some(Self { message, item })
            }
            (Frame::Topics(_) | Frame::Topic(..), _) => None,
        }
    }
}

/// Says things about the main topic.
#[derive(Debug)]
pub struct Voice<'a, 'b, 'c> {
    /// What it acts through.
    pub hand: &'a mut Hand<'b, 'c>,
    /// What comes before a frame of the overlay.
    pub prefix: &'static [u8],
}

impl Voice<'_, '_, '_> {
    /// Says something.
    pub fn say(&mut self, peer: PeerId, message: Message) {
        self.push(peer, message, Bytes::new());
    }

    /// Says something with an item.
    pub fn push(&mut self, peer: PeerId, message: Message, item: Bytes) {
        let frame = Frame::Topic(main_topic(), message).encode();
        let header = [self.prefix, &frame].concat().into();
        self.hand.act(Effect::Frame { peer, header, body: item, number: None });
    }

    /// Returns the wall time in milliseconds.
    pub fn unix_millis(&self) -> u64 {
        u64::try_from(self.hand.env.time.unix_time.as_millis()).unwrap_or(u64::MAX)
    }

    /// Names a node that does not exist.
    pub fn invent_peer(&mut self) -> PeerId {
        PeerId::invented(self.hand.rng.next_u64())
    }

    /// Pushes something under the stamp of an item.
    pub fn push_junk(&mut self, peer: PeerId, stamp: Stamp) {
        let push = Message::Push { stamp, hops: 1, is_repair: false };
        self.push(peer, push, Bytes::from_static(&[0]));
    }
}

/// The topic that all nodes are in.
pub(super) fn main_topic() -> TopicId {
    MAIN_TOPIC.id()
}

/// Picks one of some peers, another for each number.
fn nth(peers: &BTreeSet<PeerId>, number: u64) -> Option<PeerId> {
    let count = u64::try_from(peers.len()).ok().filter(|&count| count > 0)?;
    peers.iter().nth(usize::try_from(mix(number) % count).ok()?).copied()
}

#[cfg(test)]
mod tests;
