//! Nodes that follow no rules.
//!
//! An [`Attacker`] stands in the place of a protocol: it hears what a node would hear and sends any
//! bytes to anybody that it has a session with. It may dial whom it likes and hang up when it likes.
//! What it cannot do is speak for somebody else: a session names its two ends truly, as the link
//! does. It may come back as somebody whom nobody knows ([`Effect::Reappear`]).

use std::fmt::Debug;
use std::time::Instant;

use bytes::Bytes;
use x0x_core::session::{self, Contact};
use x0x_core::support::Rng;

use super::peer::PeerId;
use super::protocol::{Effect, Env, Input};

pub mod abuse;
pub mod frames;

mod crowd;
mod double;
mod puppet;
mod strangers;

pub use crowd::{Filler, Flood, Recorder};
pub use double::TwoFaced;
pub use puppet::{Puppet, Twist, Twisted};
pub use strangers::Strangers;

/// What an attacker acts through.
#[derive(Debug)]
pub struct Hand<'a, 'b> {
    /// What surrounds it.
    pub env: &'a mut Env<'b>,
    /// Its own generator.
    pub rng: &'a mut Rng,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Hand<'_, '_> {
    /// Sends a frame, whatever is in it.
    pub fn send(&mut self, peer: PeerId, frame: Bytes) {
        self.effects.push(Effect::Frame { peer, header: frame, body: Bytes::new(), number: None });
    }

    /// Dials a peer.
    pub fn dial(&mut self, peer: PeerId) {
        self.effects.push(Effect::Connect { peer, contact: peer.contact() });
    }

    /// Ends a session.
    pub fn hang_up(&mut self, peer: PeerId) {
        self.effects.push(Effect::Misbehaved { peer, rule: "hung up by an attacker" });
    }

    /// Does something that a node may do.
    pub fn act(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}

/// A node that follows no rules.
pub trait Attacker: Debug {
    /// It starts.
    fn on_start(&mut self, _hand: &mut Hand<'_, '_>) {}

    /// A session began.
    fn on_peer_up(&mut self, _hand: &mut Hand<'_, '_>, _peer: PeerId, _contact: &Contact) {}

    /// A session ended.
    fn on_peer_down(&mut self, _hand: &mut Hand<'_, '_>, _peer: PeerId) {}

    /// A frame arrived.
    fn on_frame(&mut self, _hand: &mut Hand<'_, '_>, _peer: PeerId, _frame: &Bytes) {}

    /// The time of [`Attacker::deadline`] has come.
    fn tick(&mut self, _hand: &mut Hand<'_, '_>) {}

    /// Returns when to call [`Attacker::tick`].
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Handles any input. What is not handed on has no meaning to an attacker.
    fn handle(&mut self, hand: &mut Hand<'_, '_>, input: Input) {
        match input {
            Input::Session(session::Event::Opened(session::Opened { peer, contact, .. })) => {
                self.on_peer_up(hand, peer, &contact);
            }
            Input::Session(session::Event::Closed { peer }) => self.on_peer_down(hand, peer),
            Input::Session(session::Event::Frame { peer, frame }) => {
                self.on_frame(hand, peer, &frame);
            }
            Input::Timeout => self.tick(hand),
            Input::Session(_)
            | Input::Join { .. }
            | Input::Leave { .. }
            | Input::SetBlocked { .. }
            | Input::Publish { .. } => {}
        }
    }
}
