//! The frames of the protocol, written by hand: also those that no encoder of the core makes.

use x0x_core::identity::AgentId;

/// The stream classes.
pub(crate) const CONTROL: u8 = 0;
pub(crate) const DIRECT: u8 = 1;
pub(crate) const GOSSIP: u8 = 2;
pub(crate) const BULK: u8 = 3;

/// A number as QUIC writes it, in the shortest form.
pub(crate) fn varint(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let (size, tag) = match value {
        0..=0x3f => (1, 0),
        0x40..=0x3fff => (2, 0x40),
        0x4000..=0x3fff_ffff => (4, 0x80),
        _ => (8, 0xc0),
    };
    let mut out = bytes[8 - size..].to_vec();
    out[0] |= tag;
    out
}

/// Splits the complete frames of a stream.
pub(crate) fn read_frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(&first) = bytes.first() {
        let size = 1_usize << (first >> 6);
        let Some((length, rest)) = bytes.split_at_checked(size) else { break };
        let value = length.iter().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        // The two top bits are the size of the number.
        let length = usize::try_from(value & ((1 << (8 * size - 2)) - 1)).unwrap();
        let Some((frame, rest)) = rest.split_at_checked(length) else { break };
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

/// A number as postcard writes it.
pub(crate) fn groups(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// The payload of a hello.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) version_min: u64,
    pub(crate) version_max: u64,
    pub(crate) incarnation: u64,
    pub(crate) bindings: Vec<Vec<u8>>,
}

impl Hello {
    /// A hello that an honest node might send.
    pub(crate) fn with(bindings: Vec<Vec<u8>>) -> Self {
        Self { version_min: 1, version_max: 1, incarnation: 7, bindings }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let numbers = [self.version_min, self.version_max, self.incarnation];
        let mut out = vec![1, 0];
        out.extend(numbers.into_iter().flat_map(groups));
        out.extend(list(&self.bindings));
        out
    }
}

/// The payload of a rebind.
pub(crate) fn rebind(bindings: &[Vec<u8>]) -> Vec<u8> {
    [vec![1, 1], list(bindings)].concat()
}

fn list(bindings: &[Vec<u8>]) -> Vec<u8> {
    let mut out = groups(bindings.len() as u64);
    for binding in bindings {
        out.extend(groups(binding.len() as u64));
        out.extend(binding);
    }
    out
}

/// Begins a conversation.
pub(crate) fn open(channel: u8, from: u8, to: AgentId, conversation: u64, attempt: u64) -> Vec<u8> {
    let mut out = vec![1, channel];
    out.extend(conversation.to_be_bytes());
    out.push(from);
    out.extend(to.0);
    out.extend(varint(1));
    out.extend(varint(attempt));
    // The first attempt with this incarnation of the recipient.
    out.extend(varint(attempt.min(1)));
    out
}

/// Answers that a conversation was begun with `born`.
pub(crate) fn opened(channel: u8, born: u64) -> Vec<u8> {
    [vec![2, channel], varint(born)].concat()
}

/// A message.
pub(crate) fn message(channel: u8, sequence: u64, payload: &[u8]) -> Vec<u8> {
    [vec![3, channel], varint(sequence), payload.to_vec()].concat()
}

/// A verdict on all messages up to `through`.
pub(crate) fn verdict(channel: u8, through: u64, verdict: u8) -> Vec<u8> {
    [vec![4, channel], varint(through), vec![verdict]].concat()
}
