//! Authors and what they signed: an honest one, one that started again, and one that contradicts
//! itself.

use std::sync::LazyLock;

use bytes::Bytes;
use x0x_core::gossip::batch::{Draft, Root, VerifiedBatch};
use x0x_core::gossip::{AuthorKey, Topic, fuzzing};
use x0x_core::identity::{AgentId, AgentKey};

use crate::fixture::UNIX_TIME;
use crate::frames::{Stock, millis};

/// The author that contradicts itself.
pub(crate) const LIAR: u8 = 2;

/// The author of what the tested node publishes, as payloads name it.
pub(crate) const OWN: u8 = 255;

const AUTHORS: u8 = 3;
const BATCHES: u64 = 10;

/// How many messages one message can be behind another in payloads.
const PAYLOAD_LEN: usize = 5;

/// Where a message is: author, topic, stream, number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) author: u8,
    pub(crate) topic: u8,
    pub(crate) at: (u8, u16),
}

impl Place {
    /// Makes the payload that says it, of at least this size.
    pub(crate) fn payload(self, size: usize) -> Bytes {
        let [high, low] = self.at.1.to_be_bytes();
        let mut payload = vec![0; size.max(PAYLOAD_LEN)];
        payload[..PAYLOAD_LEN].copy_from_slice(&[self.author, self.topic, self.at.0, high, low]);
        payload.into()
    }

    /// Reads a payload.
    pub(crate) fn of(payload: &[u8]) -> Self {
        let &[author, topic, stream, high, low] = payload.first_chunk().expect("it says its place");
        Self { author, topic, at: (stream, u16::from_be_bytes([high, low])) }
    }
}

/// What the authors signed.
pub(crate) struct Library {
    pub(crate) topics: Vec<Topic>,
    pub(crate) authors: Vec<AuthorKey>,
    pub(crate) stock: Stock,
    /// What proves that the liar is one.
    pub(crate) evidence: Vec<Bytes>,
}

/// Returns it.
pub(crate) fn library() -> &'static Library {
    static LIBRARY: LazyLock<Library> = LazyLock::new(make);
    &LIBRARY
}

impl Library {
    pub(crate) fn topic(&self, number: u8) -> (u8, &Topic) {
        let number = usize::from(number) % self.topics.len();
        (u8::try_from(number).unwrap_or(0), &self.topics[number])
    }

    /// Returns the number of an author.
    pub(crate) fn author(&self, id: &AgentId) -> Option<u8> {
        let place = self.authors.iter().position(|author| author.id() == *id)?;
        u8::try_from(place).ok()
    }

    pub(crate) fn topic_number(&self, topic: &Topic) -> u8 {
        let place = self.topics.iter().position(|known| known == topic);
        place.and_then(|place| u8::try_from(place).ok()).expect("a topic of this target")
    }
}

fn make() -> Library {
    let names = ["fuzz a", "fuzz b", "fuzz c"];
    let topics = names.map(|name| Topic::new(name).expect("a topic has a name")).to_vec();
    let keys: Vec<AgentKey> =
        (0..AUTHORS).map(|number| AgentKey::from_seed(&[40 + number; 32])).collect();
    let authors: Vec<AuthorKey> =
        keys.iter().map(|key| AuthorKey::new(key.public().clone())).collect();
    let (mut batches, mut evidence) = (Vec::new(), Vec::new());
    for (author, key) in (0..).zip(&keys) {
        for topic in 0..2 {
            // The second author started anew, the third says two things at one place.
            for stream in 0..=u8::from(author == 1) {
                let name = topics[usize::from(topic)].id();
                let place = Place { author, topic, at: (stream, 0) };
                let chain = write(key, place, start(key, name, stream));
                batches.extend(chain);
            }
            if author == LIAR {
                let same = &batches[batches.len() - 3];
                let root = Root { time: same.root().time + 1, ..same.root().clone() };
                let payload = Place::of(&same.payloads().next().expect("it has one")).payload(99);
                let other = Draft { root, payloads: &[payload], seed: [7; 32] };
                let other = other.sign(key, &[9; 32]);
                let proof = fuzzing::evidence(&authors[usize::from(author)], same, &other);
                evidence.push(proof.expect("they exclude each other"));
                batches.push(other);
            }
        }
    }
    let stock = Stock {
        topics: topics.iter().map(Topic::id).collect(),
        items: batches.iter().map(VerifiedBatch::item).collect(),
        homes: batches.iter().map(|batch| batch.root().topic).collect(),
    };
    Library { topics, authors, stock, evidence }
}

/// The first root of a stream.
fn start(key: &AgentKey, topic: x0x_core::overlay::TopicId, stream: u8) -> Root {
    let time = millis(UNIX_TIME) - 30_000 + u64::from(stream) * 25_000;
    Root {
        author: key.id(),
        topic,
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

/// Signs the batches of a stream.
fn write(key: &AgentKey, mut place: Place, mut root: Root) -> Vec<VerifiedBatch> {
    let mut batches = Vec::new();
    for sequence in 0..BATCHES {
        let payloads: Vec<Bytes> = (0..=sequence % 3)
            .map(|_| {
                let payload = place.payload(usize::from(place.at.1) * 20);
                place.at.1 += 1;
                payload
            })
            .collect();
        let draft = Draft { root: root.clone(), payloads: &payloads, seed: [7; 32] };
        let batch = draft.sign(key, &[8; 32]);
        root = Root {
            sequence: root.sequence + 1,
            first: batch.root().end(),
            time: root.time + 4000,
            previous_time: root.time,
            previous: *batch.hash(),
            ..root
        };
        batches.push(batch);
    }
    batches
}
