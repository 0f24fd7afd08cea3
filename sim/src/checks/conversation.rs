//! The messages from one node to another, and the order in which they may arrive.

use std::collections::BTreeMap;
use std::time::Duration;

use x0x_core::crypto::hash::siphash;

/// A message that its sender's node accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    /// The run of the sender.
    run: u32,
    /// When the command was accepted.
    pub(super) sent_at: Duration,
    /// Whether the recipient has it.
    pub(super) delivered: bool,
    /// Whether its sender was told so.
    pub(super) acknowledged: bool,
    /// Whether its end said that the recipient has not got it.
    pub(super) refused: bool,
}

/// All messages from one node to another.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    messages: Vec<Message>,
    by_key: BTreeMap<u64, Vec<usize>>,
    /// The last message delivered of each run of the sender.
    last_delivered: BTreeMap<u32, usize>,
}

impl Conversation {
    /// Adds a message and returns its index.
    pub(super) fn sent(&mut self, key: u64, run: u32, now: Duration) -> usize {
        let index = self.messages.len();
        self.by_key.entry(key).or_default().push(index);
        self.messages.push(Message {
            run,
            sent_at: now,
            delivered: false,
            acknowledged: false,
            refused: false,
        });
        index
    }

    /// Returns a message by its index.
    pub(super) fn message(&mut self, index: usize) -> Option<&mut Message> {
        self.messages.get_mut(index)
    }

    /// Tells whether a message with this key was delivered, and its sender knows.
    pub(super) fn was_delivered(&self, key: u64) -> bool {
        let indices = self.by_key.get(&key);
        indices.is_some_and(|indices| {
            let is_done = |message: &Message| message.delivered && message.acknowledged;
            indices.iter().any(|&index| is_done(&self.messages[index]))
        })
    }

    /// Finds the message with this key that is due next and marks it.
    pub(super) fn deliver(&mut self, key: u64) -> Result<Message, &'static str> {
        let indices = self.by_key.get(&key).ok_or("that was never sent")?;
        let in_order = |&index: &usize| {
            let last = self.last_delivered.get(&self.messages[index].run);
            last.is_none_or(|&last| last < index)
        };
        let undelivered = || indices.iter().copied().filter(|&i| !self.messages[i].delivered);
        undelivered().next().ok_or("delivered twice")?;
        let index = undelivered().find(in_order).ok_or("out of order")?;
        let message = &mut self.messages[index];
        self.last_delivered.insert(message.run, index);
        message.delivered = true;
        if message.refused { Err("that was refused or not sent") } else { Ok(*message) }
    }
}

/// Returns what a message is recognised by: a hash of its payload.
pub(crate) fn message_key(payload: &[u8]) -> u64 {
    siphash(b"x0x-sim messages", payload)
}
