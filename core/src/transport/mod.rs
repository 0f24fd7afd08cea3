//! QUIC endpoint and connections.

mod datagram;

pub use datagram::{Datagram, Ecn, Transmit};
