//! What became of one broadcast.

use std::rc::Rc;
use std::time::Duration;

use super::bits::Bits;

/// What became of one broadcast so far.
#[derive(Clone, Debug)]
pub struct Record {
    /// The node that published it.
    pub origin: u32,
    /// When it was published.
    pub at: Duration,
    /// How many bytes it has.
    pub size: usize,
    /// The nodes that were in the topic when it was published.
    pub audience: Rc<Bits>,
    /// The nodes that have it.
    pub received: Bits,
    /// The most links that it came over to a node of the audience.
    pub hops_max: u8,
    /// When the last node of the audience got it.
    pub last_at: Duration,
    /// How many frames with it arrived.
    pub payload_frames: u64,
    /// How many nodes got it by repair.
    pub repairs: u32,
}

impl Record {
    /// Returns the relative message redundancy: payload frames, for each node that has the message,
    /// beyond the one that it needs.
    pub fn redundancy(&self) -> f64 {
        let others = f64::from(self.received.count()) - 1.0;
        if others <= 0.0 { 0.0 } else { self.payload_frames as f64 / others - 1.0 }
    }

    /// Returns how long it took until the last node had it.
    pub fn duration(&self) -> Duration {
        self.last_at.saturating_sub(self.at)
    }
}
