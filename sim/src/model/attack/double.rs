//! An author with two faces.

use std::time::{Duration, Instant};

use x0x_core::support::Rng;

use super::{Attacker, Hand};
use crate::model::library::Number;
use crate::model::peer::PeerId;
use crate::model::protocol::{Effect, Input, Protocol};

/// Two nodes under one key: each peer hears one of them, and they publish different things.
#[derive(Debug)]
pub struct TwoFaced<P> {
    faces: [P; 2],
    every: Duration,
    next: Option<Instant>,
    said: u32,
}

impl<P: Protocol> TwoFaced<P> {
    /// Makes one that publishes this often.
    pub fn new(me: PeerId, rng: &Rng, every: Duration) -> Self {
        Self { faces: [P::start(me, rng), P::start(me, rng)], every, next: None, said: 0 }
    }

    fn drain(&mut self, hand: &mut Hand<'_, '_>) {
        for (face, node) in (0_u32..).zip(&mut self.faces) {
            let mut effects = Vec::new();
            node.drain(hand.env, &mut effects);
            node.settle(hand.env);
            node.drain(hand.env, &mut effects);
            for effect in effects {
                let is_meant = match &effect {
                    Effect::Frame { peer, .. } | Effect::Release { peer } => {
                        peer.index() % 2 == face
                    }
                    Effect::Connect { .. } => true,
                    Effect::Misbehaved { .. }
                    | Effect::Lonely
                    | Effect::Reappear { .. }
                    | Effect::Delivered { .. }
                    | Effect::Forgery
                    | Effect::Lagged { .. }
                    | Effect::Equivocated => false,
                };
                if is_meant {
                    hand.act(effect);
                }
            }
        }
    }
}

impl<P: Protocol> Attacker for TwoFaced<P> {
    fn on_start(&mut self, hand: &mut Hand<'_, '_>) {
        self.next = Some(hand.env.time.now + self.every);
    }

    fn handle(&mut self, hand: &mut Hand<'_, '_>, input: Input) {
        let now = hand.env.time.now;
        for (face, node) in (0_u32..).zip(&mut self.faces) {
            node.handle(hand.env, input.clone());
            // What the two say is what others said: the model knows no other messages.
            let has_two = hand.env.library.len() > 1;
            if self.next.is_some_and(|at| at <= now) && has_two {
                node.handle(hand.env, Input::Publish { number: Number((self.said + face) % 2) });
            }
        }
        if self.next.is_some_and(|at| at <= now) {
            self.said += 1;
            self.next = Some(now + self.every);
        }
        self.drain(hand);
    }

    fn deadline(&self) -> Option<Instant> {
        self.faces.iter().filter_map(P::deadline).chain(self.next).min()
    }
}
