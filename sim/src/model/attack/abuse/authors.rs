//! Authors without end.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::gossip::batch::{Draft, Root};
use x0x_core::identity::{AgentId, AgentKey};

use super::{Abuse, Heard, Voice, main_topic};
use crate::model::attack::frames::Message;
use crate::model::peer::PeerId;

/// What every message of a puppet author begins with.
pub const PUPPET_MARK: &[u8] = b"x0x puppet ";

/// What comes before the key of an author.
const KEY: u8 = 1;

/// How old a batch is when it is said again.
const REPLAY_AFTER: Duration = Duration::from_secs(30);

/// How many batches it remembers.
const BATCHES_MAX: usize = 64;

/// Publishes in the name of ever new authors, whose keys it made: each signs one batch, truly. After a
/// while it says again what honest authors said.
#[derive(Debug)]
pub struct PuppetAuthors {
    period: Duration,
    authors: u64,
    heard: VecDeque<(Instant, Message, Bytes)>,
}

impl PuppetAuthors {
    /// Makes one that has a new author this often.
    pub fn new(period: Duration) -> Self {
        Self { period, authors: 0, heard: VecDeque::new() }
    }

    fn publish(&mut self, voice: &mut Voice<'_, '_, '_>, peers: &BTreeSet<PeerId>) {
        self.authors += 1;
        let key = AgentKey::from_seed(&voice.hand.rng.bytes());
        let payload = [PUPPET_MARK, &self.authors.to_le_bytes()].concat();
        let draft = Draft {
            root: first_root(voice.unix_millis()),
            payloads: &[payload.into()],
            seed: voice.hand.rng.bytes(),
        };
        let item = draft.sign(&key, &voice.hand.rng.bytes()).item();
        let shown: Bytes = [&[KEY], &key.public().as_bytes()[..]].concat().into();
        for &peer in peers {
            voice.hand.send(peer, shown.clone());
            let push = Message::Push { stamp: item.stamp, hops: 0, is_repair: false };
            voice.push(peer, push, item.bytes.clone());
        }
    }
}

/// What an author signs that says something for the first time.
fn first_root(time: u64) -> Root {
    Root {
        author: AgentId([0; 32]),
        topic: main_topic(),
        stream: time,
        sequence: 0,
        first: 0,
        count: 0,
        time,
        previous_time: 0,
        previous: [0; 32],
        merkle: [0; 32],
    }
}

impl Abuse for PuppetAuthors {
    fn period(&self) -> Duration {
        self.period
    }

    fn hear(&mut self, voice: &mut Voice<'_, '_, '_>, _peer: PeerId, said: Heard) {
        if matches!(said.message, Message::Push { .. }) && self.heard.len() < BATCHES_MAX {
            self.heard.push_back((voice.hand.env.time.now, said.message, said.item));
        }
    }

    fn strike(&mut self, voice: &mut Voice<'_, '_, '_>, peers: &BTreeSet<PeerId>) {
        self.publish(voice, peers);
        let now = voice.hand.env.time.now;
        let is_old = self.heard.front().is_some_and(|(at, ..)| *at + REPLAY_AFTER <= now);
        if is_old && let Some((_, message, item)) = self.heard.pop_front() {
            for &peer in peers {
                voice.push(peer, message.clone(), item.clone());
            }
        }
    }
}
