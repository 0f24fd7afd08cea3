//! Frames of the overlay, from choices: well formed, and about what the target knows.

use std::time::Duration;

use bytes::Bytes;
use x0x_core::overlay::history::History;
use x0x_core::overlay::reconcile::{Opening, open};
use x0x_core::overlay::{Item, Stamp, TopicId};

use crate::fixture::UNIX_TIME;
use crate::input::Input;

/// The peers of the node that is tested; it is none of them.
pub(crate) const PEERS: u8 = 8;
/// The node that is tested.
pub(crate) const ME: u8 = 8;

/// How much of what is of no use a peer may do before it is accused.
pub(crate) const BLAME_MAX: usize = 1024;

/// How much of that is an item that somebody says to have.
const ITEM_BLAME: usize = 64;

/// Where a frame has its topic: behind its version and its kind.
const TOPIC_AT: usize = 2;

/// What frames are about.
pub(crate) struct Stock {
    pub(crate) topics: Vec<TopicId>,
    pub(crate) items: Vec<Item>,
    /// The topic of each item, if it has one of its own.
    pub(crate) homes: Vec<TopicId>,
}

/// A frame, and how much its sender can be blamed for it at the most.
pub(crate) struct Drawn {
    pub(crate) bytes: Bytes,
    pub(crate) blame: usize,
}

/// The wall time of the targets, in milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Stock {
    pub(crate) fn topic(&self, number: u8) -> TopicId {
        self.topics[usize::from(number) % self.topics.len()]
    }

    pub(crate) fn item(&self, number: usize) -> &Item {
        &self.items[number % self.items.len()]
    }

    /// Reads choices and makes the frame of a peer.
    pub(crate) fn frame(&self, input: &mut Input<'_>) -> Drawn {
        let choice = input.byte();
        if choice % 32 == 16 {
            return self.topics(input);
        }
        let mut frame = vec![1, 1];
        frame.extend_from_slice(&self.topic(choice >> 5).0);
        let kind = choice % 32 % 16;
        frame.push(kind);
        let mut blame = 1;
        match kind {
            2 => entries(input, &mut frame),
            3 => frame.push(input.byte() % 3),
            4 => frame.push(input.byte() & 1),
            6 => {
                entry(input, &mut frame);
                frame.push(input.byte());
            }
            7 | 8 => {
                varint(u64::from(input.byte()), &mut frame);
                if kind == 7 {
                    frame.push(input.byte());
                }
                entries(input, &mut frame);
            }
            9 => blame = self.push(input, &mut frame),
            10 | 13 => {
                blame = self.ids(input, &mut frame);
                if kind == 10 {
                    frame.push(input.byte() & 1);
                }
            }
            11 => {
                let choice = input.byte();
                frame.extend_from_slice(&[choice & 1, choice >> 1 & 1]);
                if choice & 2 == 2 {
                    frame.extend_from_slice(&self.item(input.number()).stamp.id.0);
                }
            }
            14 => {
                frame.push(input.byte() % (PEERS + 1));
                let [generation, seconds] = [input.byte(), input.byte()];
                let last = |byte: u8, value: u64| if byte == u8::MAX { u64::MAX } else { value };
                varint(last(generation, generation.into()), &mut frame);
                // Some are of a time at which a root lives.
                let time = millis(UNIX_TIME) + 1000 * u64::from(seconds);
                varint(last(seconds, time), &mut frame);
                frame.push(input.byte());
            }
            15 => blame = self.reconcile(input, &mut frame),
            // Joined, left, part and prune have nothing more.
            _ => {}
        }
        Drawn { bytes: frame.into(), blame }
    }

    fn topics(&self, input: &mut Input<'_>) -> Drawn {
        let count = input.byte() % 4;
        let mut frame = vec![1, 0, count];
        (0..count).for_each(|_| frame.extend_from_slice(&self.topic(input.byte()).0));
        Drawn { bytes: frame.into(), blame: usize::from(count) + 1 }
    }

    /// An item as it was made, or with one thing changed.
    fn push(&self, input: &mut Input<'_>, frame: &mut Vec<u8>) -> usize {
        let number = input.number() % self.items.len();
        let item = self.item(number);
        if let Some(home) = self.homes.get(number) {
            frame[TOPIC_AT..TOPIC_AT + home.0.len()].copy_from_slice(&home.0);
        }
        let (change, hops) = (input.byte(), input.byte());
        let Stamp { mut time, mut id } = item.stamp;
        let mut bytes = item.bytes.to_vec();
        match change {
            1 => time += 1,
            2 => id.0[0] ^= 1,
            3 => {
                let place = input.number() % bytes.len();
                bytes[place] ^= 1 << (hops % 8);
            }
            _ => {}
        }
        varint(time, frame);
        frame.extend_from_slice(&id.0);
        frame.extend_from_slice(&[hops, change >> 7]);
        frame.extend_from_slice(&bytes);
        if (1..=3).contains(&change) { BLAME_MAX } else { ITEM_BLAME }
    }

    /// The ids of a few items in a row, or of none.
    fn ids(&self, input: &mut Input<'_>, frame: &mut Vec<u8>) -> usize {
        let (first, count) = (input.number(), input.byte() % 32);
        frame.push(count);
        for index in 0..usize::from(count) {
            let mut id = self.item(first + index).stamp.id;
            id.0[15] ^= u8::from(first > 0xf000);
            frame.extend_from_slice(&id.0);
        }
        usize::from(count) * ITEM_BLAME + 1
    }

    /// How a peer begins that has a few items in a row; or any bytes.
    fn reconcile(&self, input: &mut Input<'_>, frame: &mut Vec<u8>) -> usize {
        let (first, count) = (input.number(), usize::from(input.byte()));
        let (bytes, blame) = if count < 64 {
            let now = millis(UNIX_TIME);
            let mut history = History::new(now - 600_000);
            for index in 0..count {
                let _ = history.insert(self.item(first + index).clone(), now);
            }
            let opening = Opening { now, until: u64::MAX, salt: first as u64 };
            (
                open(&history, opening).map(|message| message.encode()).unwrap_or_default(),
                count * ITEM_BLAME + 1,
            )
        } else {
            (Bytes::copy_from_slice(input.counted()), BLAME_MAX)
        };
        varint(bytes.len() as u64, frame);
        frame.extend_from_slice(&bytes);
        if bytes.is_empty() { BLAME_MAX } else { blame }
    }
}

/// A number as postcard writes it.
fn varint(mut number: u64, frame: &mut Vec<u8>) {
    while number > 0x7f {
        frame.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    frame.push(number.to_le_bytes()[0]);
}

/// A peer, and where it is reached unless it is the sender.
fn entry(input: &mut Input<'_>, frame: &mut Vec<u8>) {
    let choice = input.byte();
    let peer = choice % (PEERS + 1);
    frame.push(peer);
    frame.extend_from_slice(if choice & 128 == 0 { &[1, 7] } else { &[0] });
}

fn entries(input: &mut Input<'_>, frame: &mut Vec<u8>) {
    let count = input.byte() % 17;
    frame.push(count);
    (0..count).for_each(|_| entry(input, frame));
}
