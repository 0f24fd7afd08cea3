//! Attackers that speak the protocol: an honest node whose words are twisted on their way out, and
//! which may say more than these.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::support::Rng;

use super::abuse::{Abuse, Heard, Voice};
use super::{Attacker, Hand};
use crate::model::peer::PeerId;
use crate::model::protocol::{Effect, Input, Protocol, TopicNumber};
use x0x_core::session;

/// How a puppet departs from the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Twist {
    /// It says what an honest node says.
    Nothing,
    /// It changes a byte of every item that it passes on.
    Forge,
    /// It announces items, asks for them, and never gives any away.
    Mute,
    /// It never asks, answers or passes on anything: whatever is sent to it is lost.
    Swallow,
    /// It announces items that do not exist, and gives none away.
    Invent,
    /// It takes part in this many topics that nobody else knows.
    Topics(u32),
    /// It sends every item this many times.
    Repeat(u32),
}

/// Where a frame of gossip about a topic has the kind of its message, and the kind that announces
/// items: their count and their ids follow.
const HAVE_AT: usize = 35;
const HAVE: u8 = 10;
const ID_LEN: usize = 16;

/// Changes every id of an announcement.
fn invent(header: &[u8]) -> Bytes {
    let mut invented = header.to_vec();
    // A count above 127 takes two bytes: then the ids are changed in other places.
    for id in invented[HAVE_AT + 2..].chunks_exact_mut(ID_LEN) {
        id.iter_mut().for_each(|byte| *byte ^= 0x55);
    }
    invented.into()
}

/// What a puppet does on top of its twist.
#[derive(Clone, Debug)]
pub struct Twisted {
    /// How it departs from the rules.
    pub twist: Twist,
    /// Whom it dials first, and again a while after each end of the session.
    pub targets: Vec<PeerId>,
    /// How long it waits before it dials again.
    pub patience: Duration,
}

/// An honest node whose words are twisted on their way out.
#[derive(Debug)]
pub struct Puppet<P> {
    node: P,
    plan: Twisted,
    redial: Vec<PeerId>,
    redial_at: Option<Instant>,
    /// What it says beside its node, and when.
    abuse: Option<(Box<dyn Abuse>, Option<Instant>)>,
    peers: BTreeSet<PeerId>,
}

impl<P: Protocol> Puppet<P> {
    /// Makes a puppet with the id that it really has.
    pub fn new(me: PeerId, rng: &Rng, plan: Twisted) -> Self {
        Self {
            node: P::start(me, rng),
            plan,
            redial: Vec::new(),
            redial_at: None,
            abuse: None,
            peers: BTreeSet::new(),
        }
    }

    /// Has it say something beside its node.
    #[must_use]
    pub fn with_abuse(self, abuse: Box<dyn Abuse>) -> Self {
        Self { abuse: Some((abuse, None)), ..self }
    }

    /// Lets it hear and say what it has beside its node.
    fn abuse(&mut self, hand: &mut Hand<'_, '_>, input: &Input) {
        let Some((abuse, next)) = &mut self.abuse else { return };
        let now = hand.env.time.now;
        let mut voice = Voice { hand, prefix: P::OVERLAY_PREFIX };
        if let Input::Session(session::Event::Frame { peer, frame }) = input
            && let Some(said) = Heard::read::<P>(frame)
        {
            abuse.hear(&mut voice, *peer, said);
        }
        if self.peers.is_empty() {
            *next = None;
        } else if *next.get_or_insert(now + abuse.period()) <= now {
            *next = Some(now + abuse.period());
            abuse.strike(&mut voice, &self.peers);
        }
    }

    fn drain(&mut self, hand: &mut Hand<'_, '_>) {
        let mut effects = Vec::new();
        self.node.drain(hand.env, &mut effects);
        for effect in effects {
            match effect {
                Effect::Frame { peer, header, body, .. } => {
                    self.twist(hand, peer, header, body);
                }
                // A puppet has no reason to help by accusing anybody.
                Effect::Misbehaved { .. } => {}
                Effect::Connect { .. }
                | Effect::Release { .. }
                | Effect::Delivered { .. }
                | Effect::Lonely
                | Effect::Reappear { .. }
                | Effect::Forgery
                | Effect::Lagged { .. }
                | Effect::Equivocated => hand.act(effect),
            }
        }
    }

    fn twist(&self, hand: &mut Hand<'_, '_>, peer: PeerId, header: Bytes, body: Bytes) {
        let mut send =
            |body| hand.act(Effect::Frame { peer, header: header.clone(), body, number: None });
        match self.plan.twist {
            Twist::Forge if !body.is_empty() => {
                let mut forged = body.to_vec();
                let last = forged.len() - 1;
                forged[last] ^= 1;
                send(forged.into());
            }
            Twist::Mute | Twist::Invent if !body.is_empty() => {}
            Twist::Swallow => {}
            Twist::Repeat(times) if !body.is_empty() => {
                (0..times).for_each(|_| send(body.clone()));
            }
            Twist::Invent if header.get(HAVE_AT) == Some(&HAVE) => {
                let header = invent(&header);
                hand.act(Effect::Frame { peer, header, body, number: None });
            }
            Twist::Nothing
            | Twist::Forge
            | Twist::Invent
            | Twist::Mute
            | Twist::Repeat(_)
            | Twist::Topics(_) => send(body),
        }
    }
}

impl<P: Protocol> Attacker for Puppet<P> {
    fn on_start(&mut self, hand: &mut Hand<'_, '_>) {
        for &peer in &self.plan.targets {
            hand.dial(peer);
        }
        if let Twist::Topics(count) = self.plan.twist {
            for topic in 1..=count {
                self.node.handle(hand.env, Input::Join { topic: TopicNumber(topic) });
            }
        }
    }

    fn handle(&mut self, hand: &mut Hand<'_, '_>, input: Input) {
        match input {
            Input::Session(session::Event::Opened(session::Opened { peer, .. })) => {
                self.peers.insert(peer);
            }
            Input::Session(session::Event::Closed { peer }) => {
                self.peers.remove(&peer);
                if self.plan.targets.contains(&peer) {
                    self.redial.push(peer);
                    self.redial_at.get_or_insert(hand.env.time.now + self.plan.patience);
                }
            }
            Input::Session(_)
            | Input::Join { .. }
            | Input::Leave { .. }
            | Input::Publish { .. }
            | Input::SetBlocked { .. }
            | Input::Timeout => {}
        }
        if self.redial_at.is_some_and(|at| at <= hand.env.time.now) {
            self.redial_at = None;
            self.redial.drain(..).for_each(|peer| hand.dial(peer));
        }
        self.node.handle(hand.env, input.clone());
        self.drain(hand);
        self.node.settle(hand.env);
        self.drain(hand);
        self.abuse(hand, &input);
    }

    fn deadline(&self) -> Option<Instant> {
        let abuse = self.abuse.as_ref().and_then(|(_, next)| *next);
        self.node.deadline().into_iter().chain(self.redial_at).chain(abuse).min()
    }
}
