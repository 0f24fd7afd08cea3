//! Path selection: the route below each connection, and the probes that move it to another one.
//!
//! QUIC sees a label for each connection that never changes. The owner of the connection maps the
//! label to the route of the moment, which [`PathState`] selects: a [`Path`], which is a socket of
//! this node and an address of the peer, or any other [`Candidate`], such as a [`Route`] that may
//! lead through a relay. Nothing in here knows QUIC, sockets or relays.
//!
//! # How it is driven
//!
//! The owner reports datagrams that came over another route ([`PathState::handle_foreign`]), probes
//! ([`PathState::handle_ask`]), answers ([`PathState::handle_answer`]) and the loss of its own socket
//! ([`PathState::move_to`]). After each of them, and at [`PathState::deadline`], it calls
//! [`PathState::poll`] until that returns nothing, sends the probes, and notes the moves. It answers
//! every probe that [`ProbeKeys::open`] accepts.
//!
//! # When a route is checked
//!
//! - *Rebinding.* A datagram of the connection came over another route. This node probes both the
//!   new and the current route. The connection moves when the new route answers and the current one
//!   does not. A candidate whose [type preference](Candidate::type_preference) is higher than that of
//!   the current route needs no silence of it: a direct path replaces a relayed one at once.
//! - *Moving.* An end lost its socket. It probes from another one with the flag `prefer`, and both
//!   ends move as soon as their own probe is answered.
//!
//! A `PathState` checks several candidates at once, up to the number that it was made with. Each
//! has its own challenge, amplification budget and timeout. The first that is ready wins; among
//! several it is the one of the highest type preference, then one that an end asked for, then the
//! one that answered first. The others are dropped, but for those of a higher type preference than
//! the winner.
//!
//! # Invariants
//!
//! - The route changes only after the peer answered a probe over the new one. Probes and answers
//!   carry a MAC under a key that only the two ends of the TLS session know. An attacker who copies or
//!   redirects datagrams can cause a few small probes, and no move away from a route that works.
//! - A route that has not answered gets at most [`AMPLIFICATION_MAX`] times the bytes that came over
//!   it (RFC 9000, section 8.1), answers to probes included.
//!
//! # Limits
//!
//! [`CANDIDATES_MAX`], [`PROBES_MAX`], [`CHECK_TIME`]. A check that is not answered ends, and the next
//! datagram over the same route begins another one.

mod check;
mod probe;
mod route;
mod selection;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod tests;

pub use check::{AMPLIFICATION_MAX, CHECK_TIME, PROBES_MAX};
pub use probe::{
    CHALLENGE_LEN, EXPORT_LABEL, EXPORT_LEN, PROBE_LEN, Probe, ProbeId, ProbeKeys, is_probe,
    receiver,
};
pub use route::{Candidate, CircuitId, Path, Route};
pub use selection::{CANDIDATES_MAX, PathOutput, PathState};
