//! Who sent and received how much, by kind of frame.

use std::collections::BTreeMap;

/// How many bytes of frames are taken to fit a datagram.
pub const DATAGRAM_BYTES: u64 = 1300;

/// What a datagram costs beyond the frames in it: IPv6 and UDP headers 48 bytes, QUIC's short
/// header and authentication tag about 30, less where IPv4 is used; taken as 60.
pub const DATAGRAM_OVERHEAD: u64 = 60;

/// What a session costs each end while nothing else travels: a ping and its acknowledgement every
/// 15 s, about 75 bytes each.
pub const KEEP_ALIVE_OVERHEAD: f64 = 2.0 * 75.0 / 15.0;

/// A kind of frame, as the protocol tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

/// Frames and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many frames.
    pub frames: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Counts {
    fn add(&mut self, bytes: u64) {
        self.frames += 1;
        self.bytes += bytes;
    }

    /// Returns what came on top of an earlier count.
    pub fn since(self, earlier: Self) -> Self {
        Self { frames: self.frames - earlier.frames, bytes: self.bytes - earlier.bytes }
    }
}

/// What went one way at a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames without an item.
    pub control: Counts,
    /// Frames with an item; all of their bytes.
    pub payload: Counts,
    /// Datagrams, by the estimate of this model.
    pub datagrams: u64,
}

impl Traffic {
    /// Returns the bytes of all frames.
    pub fn bytes(&self) -> u64 {
        self.control.bytes + self.payload.bytes
    }

    /// Returns what came on top of an earlier count.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            control: self.control.since(earlier.control),
            payload: self.payload.since(earlier.payload),
            datagrams: self.datagrams - earlier.datagrams,
        }
    }

    pub(crate) fn frame(&mut self, bytes: u64, is_payload: bool) {
        if is_payload {
            self.payload.add(bytes);
        } else {
            self.control.add(bytes);
        }
    }

    pub(crate) fn flush(&mut self, bytes: u64) {
        self.datagrams += bytes.div_ceil(DATAGRAM_BYTES);
    }
}

/// Frames by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds {
    counts: BTreeMap<Kind, Counts>,
}

impl Kinds {
    pub(crate) fn add(&mut self, kind: Kind, bytes: u64) {
        self.counts.entry(kind).or_default().add(bytes);
    }

    pub(crate) fn all(&self) -> &BTreeMap<Kind, Counts> {
        &self.counts
    }
}
