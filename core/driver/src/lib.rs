//! Runs a [`Node`](x0x_core::node::Node) on any async runtime: sockets, one timer and a store task. It
//! knows no protocol.
//!
//! [`start`] binds the sockets, reads the store and spawns the loop on a [`Runtime`]. The application
//! talks to the node through a [`Handle`], which can be cloned, and hears of it through [`Events`].
//! Adapters implement [`Runtime`]: `x0x-tokio` and `x0x-smol`.
//!
//! # Rules
//!
//! 1. The loop awaits nothing but its own wake-ups: no slow reader of events and no blocked socket
//!    holds up the node, nor does the store until [`STORE_TASKS_MAX`] tasks wait for it. While a socket
//!    is blocked, nothing is built for sending. When the application was given events or replies, it
//!    has one turn before the next datagrams are built, so that its answer shares them with the
//!    acknowledgement.
//! 2. An error of a socket never ends the node. What was not sent is lost like any datagram. A socket
//!    that fails again and again is read again after [`RECEIVE_PAUSE`]; what a socket does not take
//!    within [`BLOCKED_TIME_MAX`] is lost.
//! 3. Work between two polls of the outputs is bounded: [`RECEIVES_MAX`] batches of datagrams from each
//!    socket, [`COMMANDS_MAX`] requests, and the results of the store.
//!
//! # Recording
//!
//! [`start_recorded`] writes everything that happens to the node to a [`RecordingFile`], from which it
//! can run again, see [`x0x_core::node::recording`]. The recording ends with the node, by
//! [`Handle::stop_recording`], or when its file cannot be written as fast as things happen; then the
//! node goes on.
//!
//! # Limits
//!
//! [`COMMANDS_MAX`] requests wait for the loop; further senders wait. [`EVENTS_MAX`] events wait for the
//! application; beyond it the oldest are lost and counted. While [`STORE_TASKS_MAX`] writes and reads
//! wait for the store, the loop takes in nothing but their results. [`RECORDING_QUEUE_BYTES_MAX`] bytes
//! of a recording wait for its file.

mod alarm;
#[cfg(feature = "conformance")]
pub mod conformance;
mod event_loop;
mod events;
mod handle;
mod recording_file;
mod recording_node;
pub mod runtime;
mod socket;
mod sockets;
mod store;

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

pub use events::{EVENTS_MAX, Events};
pub use handle::{Answer, COMMANDS_MAX, Handle, reply_to};
pub use recording_file::{
    Ended, RECORDING_QUEUE_BYTES_MAX, RecordingFile, RecordingState, RecordingWatch,
};
pub use runtime::Runtime;
pub use socket::{RECEIVE_PAUSE, RECEIVES_MAX};
pub use sockets::BLOCKED_TIME_MAX;
pub use store::STORE_TASKS_MAX;
use x0x_core::node::recording::{Header, TooSmall};
use x0x_core::node::{self, Config, Store, StoreError};

use recording_node::RecordingNode;
use sockets::Sockets;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be bound.
    #[error("cannot listen on UDP {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The store could not be read.
    #[error("cannot read the store: {0}")]
    Store(#[from] StoreError),
    /// The node cannot start with this configuration or these records.
    #[error(transparent)]
    Node(#[from] node::StartError),
    /// The system gave no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// The recording has no room for its header.
    #[error(transparent)]
    Recording(#[from] TooSmall),
}

/// Starts a node on a runtime. Its sockets are bound to the addresses in `config`, of which a port may
/// be 0; [`Handle::sockets`] returns the addresses that they got.
///
/// # Errors
///
/// See [`StartError`]. The store is unchanged and nothing is left bound.
///
/// # Panics
///
/// If the runtime panics because it does not run.
pub fn start<R: Runtime>(
    runtime: &R,
    config: Config,
    store: impl Store,
) -> Result<(Handle, Events), StartError> {
    launch(runtime, config, store, None)
}

/// Starts a node as [`start`], and records it. The recording holds secrets.
///
/// # Errors
///
/// As [`start`].
///
/// # Panics
///
/// As [`start`].
pub fn start_recorded<R: Runtime>(
    runtime: &R,
    config: Config,
    store: impl Store,
    file: RecordingFile,
) -> Result<(Handle, Events), StartError> {
    launch(runtime, config, store, Some(file))
}

fn launch<R: Runtime>(
    runtime: &R,
    mut config: Config,
    mut store: impl Store,
    file: Option<RecordingFile>,
) -> Result<(Handle, Events), StartError> {
    let sockets = Sockets::bind(runtime, &config.sockets)?;
    config.sockets = sockets.locals();
    let restored = store.restore()?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(StartError::Randomness)?;
    let (program, unix_time) = (Header::PROGRAM.to_owned(), runtime.unix_time());
    let header = Header { program, config, seed, restored, unix_time };
    let node = RecordingNode::start(&header, Instant::now(), file)?;
    Ok(event_loop::spawn(runtime, node, sockets, store::spawn(store)))
}
