//! Fuzz targets for everything in the core that reads bytes of a peer or of a store.
//!
//! A target is a function from arbitrary bytes to nothing. It panics if the core breaks a promise:
//! that no bytes make it panic, that a value has one form, that what is written is read back, that
//! limits hold, that a forgery is refused, that a node answers what it accepted. [`TARGETS`] lists
//! them all.
//!
//! They are driven in three ways. `cargo fuzz run NAME` lets libFuzzer find inputs, with a nightly
//! compiler. The program of this crate replays the stored corpora and changes them at random from
//! a printed seed, with any compiler. A test replays the corpora as well.
//!
//! `corpora/NAME/` holds small inputs: `seed-*` are made from real encodings ([`seeds`]), the
//! others were found.

mod authors;
mod bench;
pub mod corpus;
pub mod crypto;
pub mod dictionary;
pub mod direct;
pub mod documents;
mod fixture;
mod frames;
pub mod gossip;
mod input;
pub mod link;
pub mod modelled;
pub mod node;
pub mod node_world;
pub mod overlay;
pub mod peer;
mod quic;
pub mod reconcile;
pub mod recording;
pub mod seeds;
pub mod subscriber;
pub mod transport;
pub mod wire;

use std::sync::LazyLock;
use std::time::Instant;

/// A target: it panics if the core breaks a promise.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("address_page", link::address_page),
    ("binding", documents::binding),
    ("certificate", documents::certificate),
    ("class_stream", link::class_stream),
    ("close_code", link::close_code),
    ("connection_id", transport::connection_id),
    ("control_frame", link::control_frame),
    ("direct_frame", direct::direct_frame),
    ("direct_sessions", direct::direct_sessions),
    ("frame_reader", wire::frame_reader),
    ("gossip_batch", gossip::gossip_batch),
    ("gossip_evidence", gossip::gossip_evidence),
    ("gossip_frame", gossip::gossip_frame),
    ("gossip_inputs", subscriber::gossip_inputs),
    ("gossip_proof", gossip::gossip_proof),
    ("gossip_world", modelled::gossip_world),
    ("id", documents::id),
    ("kem", crypto::kem),
    ("key_file", documents::key_file),
    ("node_datagrams", node::node_datagrams),
    ("node_initials", node::node_initials),
    ("node_inputs", node::node_inputs),
    ("node_recording", recording::node_recording),
    ("node_restored", node::node_restored),
    ("node_world", node_world::node_world),
    ("overlay_frame", overlay::overlay_frame),
    ("overlay_inputs", overlay::overlay_inputs),
    ("overlay_world", modelled::overlay_world),
    ("path_probe", link::path_probe),
    ("peer_streams", peer::peer_streams),
    ("reconcile_histories", reconcile::reconcile_histories),
    ("reconcile_message", reconcile::reconcile_message),
    ("revocation", documents::revocation),
    ("signature", crypto::signature),
    ("tls_key", transport::tls_key),
    ("tls_name", transport::tls_name),
    ("tls_share", transport::tls_share),
    ("varint", wire::varint),
    ("words", documents::words),
];

/// The targets that read a sequence of operations on something that has a state; the others read
/// one value.
pub const STATEFUL: &[&str] = &[
    "direct_sessions",
    "gossip_inputs",
    "gossip_world",
    "node_datagrams",
    "node_initials",
    "node_inputs",
    "node_recording",
    "node_restored",
    "node_world",
    "overlay_inputs",
    "overlay_world",
    "peer_streams",
    "reconcile_histories",
];

/// Returns how often a long run executes a target.
pub fn long_run(target: &str) -> u64 {
    if STATEFUL.contains(&target) { 1_000_000 } else { 10_000_000 }
}

/// Returns the target with this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The instant from which every target counts.
fn start() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START
}
