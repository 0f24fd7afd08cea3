//! What a world drives.

use std::fmt;
use x0x_core::gossip;
use x0x_core::link::admission::HALF_OPEN_MAX;
use x0x_core::link::{ANSWERS_MAX, Class, DIALS_MAX, LINKS_MAX, SEND_BUFFER_MAX};
use x0x_core::node::{CommandError, Config, Input, Node, Output, Restored, StartError, Time};
use x0x_core::overlay;
use x0x_core::support::MemoryBudget;

/// The most bytes that wait for one peer: of each class what its lane takes, and one frame more.
const LANE_BYTES_EACH: usize = 4 * (SEND_BUFFER_MAX + Class::Direct.frame_size_max());

/// A node as the world sees it: inputs go in, outputs come out, nothing else.
///
/// [`Node`] is the one that matters. Tests of the world itself use a smaller one.
pub trait Machine: fmt::Debug + Sized {
    /// Starts the node; see [`Node::new`].
    ///
    /// # Errors
    ///
    /// If the configuration or the store is not valid.
    fn start(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        time: Time,
    ) -> Result<Self, StartError>;

    /// Hands over an input; see [`Node::handle`].
    ///
    /// # Errors
    ///
    /// Only a command can fail.
    fn handle(&mut self, time: Time, input: Input) -> Result<(), CommandError>;

    /// Takes the next output; see [`Node::poll_output`].
    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Output;

    /// Returns what the node holds more of than it may, if it counts.
    fn over_limit(&self) -> Option<String> {
        None
    }

    /// Returns what the node still holds although nothing happens, if it counts: each account goes
    /// back to zero once a world is quiet.
    fn held(&self) -> Option<String> {
        None
    }
}

impl Machine for Node {
    fn start(
        config: Config,
        seed: [u8; 32],
        restored: Restored,
        time: Time,
    ) -> Result<Self, StartError> {
        Self::new(config, seed, restored, time)
    }

    fn handle(&mut self, time: Time, input: Input) -> Result<(), CommandError> {
        Self::handle(self, time, input)
    }

    fn poll_output(&mut self, buffer: &mut Vec<u8>) -> Output {
        Self::poll_output(self, buffer)
    }

    fn over_limit(&self) -> Option<String> {
        let usage = self.link_usage();
        let received = usage.reassembly_bytes + usage.credit_bytes;
        let (overlay, memory) = (self.overlay_held(), MemoryBudget::DEFAULT);
        let holds = [
            ("sessions", usage.sessions, LINKS_MAX),
            ("dials", usage.dials, DIALS_MAX),
            ("strangers", usage.half_open, HALF_OPEN_MAX),
            ("answers", usage.answers, ANSWERS_MAX),
            ("bytes that peers may send or did not complete", received, usage.receive_bytes_max),
            (
                "bytes that wait for room",
                usage.send_buffer_bytes,
                usage.connections * LANE_BYTES_EACH,
            ),
            ("bytes of control frames", overlay.control, memory.control()),
            ("bytes of items that wait", overlay.items, memory.items()),
            ("bytes of names of items", overlay.index, memory.index()),
            ("bytes of histories", overlay.history, memory.history()),
            ("bytes of what waits for order", self.gossip_held().ordering_bytes, memory.ordering()),
        ];
        let broken = holds.into_iter().find(|(_, count, most)| count > most);
        broken.map(|(what, count, most)| format!("{count} {what}, at most {most}"))
    }

    fn held(&self) -> Option<String> {
        let usage = self.link_usage();
        let holds = [
            ("strangers", usage.half_open),
            ("answers", usage.answers),
            ("bytes of incomplete frames", usage.reassembly_bytes),
            ("bytes that wait for room", usage.send_buffer_bytes),
            ("bytes of direct messages", self.direct_waiting_bytes()),
        ];
        let gossip = gossip_held(&self.gossip_held());
        let overlay = overlay_held(&self.overlay_held());
        let mut held =
            holds.into_iter().chain(gossip).chain(overlay).filter(|&(_, count)| count > 0);
        held.next().map(|(what, count)| format!("{count} {what}"))
    }
}

/// What gossip holds only while something happens.
pub(crate) fn gossip_held(held: &gossip::Held) -> [(&'static str, usize); 3] {
    [
        ("bytes of batches that wait for their turn", held.waiting_bytes),
        ("batches that wait for a key", held.batches_without_key),
        ("messages that are not signed", held.messages_unsigned),
    ]
}

/// What an overlay holds only while something happens.
pub(crate) fn overlay_held(held: &overlay::Held) -> [(&'static str, usize); 2] {
    [("bytes of control frames", held.control), ("bytes of items that wait", held.items)]
}
