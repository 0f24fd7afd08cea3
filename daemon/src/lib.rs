//! The x0x daemon: a node with its files and its local API, and the command line for it.
//!
//! | module | is |
//! |---|---|
//! | [`paths`] | where an instance keeps its files |
//! | [`config`] | what the configuration file says |
//! | [`files`] | keys and tokens on disk |
//! | [`memory`] | keeps keys and tokens in memory from other programs |
//! | [`store`] | the records of the node, in redb |
//! | [`node`] | the node that runs at the moment |
//! | [`supervisor`] | replaces it by one that is recorded |
//! | [`hub`] | what the node tells, handed to everybody who listens |
//! | [`recordings`] | recordings of the node |
//! | [`topics`] | who wants which topics, and their messages |
//! | [`queue`] | a bounded queue to one listener |
//! | [`api`] | HTTP, server-sent events and WebSocket |
//! | [`server`] | the connections of the API and their limits |
//! | [`socket`] | the Unix socket of the API |
//! | [`proof`] | how a daemon proves that it knows the token |
//! | [`daemon`] | start and stop of it all |
//! | [`client`] | asks a running daemon |
//! | [`instances`] | which daemons there are |
//! | [`doctor`] | what is wrong with one |
//! | [`cli`] | the command line `x0x` |
//!
//! The protocol is in [`x0x_core`], the sockets are in [`x0x_tokio`]; nothing here knows either.

pub mod api;
mod bootstrap;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod files;
pub mod hub;
pub mod instances;
pub mod memory;
pub mod node;
pub mod paths;
pub mod proof;
pub mod queue;
pub mod recordings;
pub mod server;
pub mod socket;
pub mod store;
pub mod supervisor;
pub mod topics;

/// The version of the API that the daemon speaks.
pub const API_LEVEL: &str = "0.19.21";
