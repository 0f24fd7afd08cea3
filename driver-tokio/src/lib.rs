//! Runs a [`Node`](x0x_core::node::Node) on tokio: sockets, one timer and a store task. It knows no
//! protocol.
//!
//! [`start`] binds the sockets, reads the store and spawns the loop. The application talks to the
//! node through a [`Handle`], which can be cloned, and hears of it through [`Events`].
//!
//! # Rules
//!
//! 1. The loop awaits nothing but its own wake-ups: no slow reader of events, no slow store and no
//!    blocked socket holds up the node. While a socket is blocked, nothing is built for sending.
//!    When the application was told something, it has one turn before the next datagrams are built,
//!    so that its answer shares them with the acknowledgement.
//! 2. An error of a socket is never the end of the node. What was not sent is lost like any
//!    datagram.
//! 3. Work between two polls of the outputs is bounded: [`RECEIVES_MAX`] batches of datagrams and
//!    [`COMMANDS_MAX`] commands.
//!
//! # Recording
//!
//! [`start_recorded`] and [`Handle::record`] write everything that happens to the node to a [`Tape`],
//! from which it can run again, see [`x0x_core::node::recording`]. A tape that cannot be written as
//! fast as things happen ends; the node goes on.
//!
//! # Limits
//!
//! [`COMMANDS_MAX`] commands wait for the loop; whoever sends more waits. [`EVENTS_MAX`] events wait
//! for the application; beyond it the oldest are lost and counted. A write that the store has not
//! finished holds up what depends on it, not the loop. [`TAPE_BYTES_MAX`] bytes of a recording wait for
//! its file.

mod events;
mod handle;
mod recorded;
mod restart;
mod run;
mod socket;
mod store;
mod tape;

use std::io;
use std::net::SocketAddr;

pub use events::{EVENTS_MAX, Events};
pub use handle::Handle;
pub use recorded::start_recorded;
pub use restart::RecordError;
pub use run::{COMMANDS_MAX, RECEIVES_MAX};
pub use tape::{Ended, TAPE_BYTES_MAX, Tape, TapeState, TapeWatch};
use x0x_core::node::recording::TooSmall;
use x0x_core::node::{self, Config, Store, StoreError};

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

/// Starts a node on the present runtime. Its sockets are bound to the addresses in `config`, of
/// which a port may be 0; [`Handle::sockets`] says what they became.
///
/// # Errors
///
/// See [`StartError`].
///
/// # Panics
///
/// Outside of a tokio runtime with its time and I/O drivers.
pub fn start(config: Config, store: impl Store) -> Result<(Handle, Events), StartError> {
    launch(config, store, None)
}

fn launch(
    mut config: Config,
    mut store: impl Store,
    tape: Option<Tape>,
) -> Result<(Handle, Events), StartError> {
    let sockets = socket::bind(&config.sockets)?;
    config.sockets = sockets.iter().map(|socket| socket.local).collect();
    let restored = store.restore()?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(StartError::Randomness)?;
    let (node, too_small) = recorded::Recorded::start(&config, seed, restored, tape)?;
    match too_small {
        Some(too_small) => Err(too_small.into()),
        None => Ok(run::spawn(config, node, sockets, store::spawn(store))),
    }
}
