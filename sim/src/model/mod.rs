//! The modelled-link fidelity: real protocols over sessions that are only modelled, for worlds of
//! two to a hundred thousand nodes on one thread.
//!
//! A [`World`] owns nodes that run a [`Protocol`]: the overlay alone ([`OverlayNode`]; the world
//! makes the items and vouches for them), or gossip with real signatures ([`GossipNode`]). The
//! frames that travel are the encoded ones. What is modelled is what lies below them:
//!
//! * A **session** takes one and a half round trips to begin, or fails after the dial timeout. Its
//!   frames arrive in order, each after the latency of the pair, which a hash of the pair and the
//!   seed draws. It ends when the side that dialled has no more use for it, when one side accuses
//!   the other, or when nothing came for the idle timeout.
//! * **Room**: a lane takes 256 KiB; its sender is told when half of that was used and half is free
//!   again. The last frame may need more than what is left; one after that is dropped and counted:
//!   no protocol should send one.
//! * **Bytes**: frames count with their bytes. What the packets around them cost is an estimate,
//!   counted apart: [`DATAGRAM_OVERHEAD`] for each datagram, where the frames that one node sends
//!   to one peer at one time share datagrams.
//!
//! Everything random comes from one seed; the same seed gives the same [`World::trace_hash`].
//!
//! * [`attack`]: nodes that follow no rules.
//! * [`experiment`]: scenario files: what is done to a world, and what must come out.
//! * [`report`]: what came out, as a table and as one page with pictures.

pub mod attack;
pub mod experiment;
pub mod report;

mod bits;
mod config;
mod graph;
mod histogram;
mod ledger;
mod library;
mod peer;
mod protocol;
mod queue;
mod record;
mod session;
mod world;

#[cfg(test)]
mod tests;

pub use bits::Bits;
pub use config::{ModelConfig, Span};
pub use graph::Graph;
pub use histogram::Histogram;
pub use ledger::{Counts, DATAGRAM_BYTES, DATAGRAM_OVERHEAD, KEEP_ALIVE_OVERHEAD, Kind, Traffic};
pub use library::{Library, Number};
pub use peer::PeerId;
pub use protocol::{Effect, Env, GossipNode, Input, OverlayNode, Protocol, TopicNumber};
pub use record::Record;
pub use world::{HANDSHAKE_BYTES, MAIN_TOPIC, Tally, World};
