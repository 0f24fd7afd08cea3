//! Datagrams in and out: what a driver moves.

use std::net::SocketAddr;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

/// The explicit congestion notification of an IP packet (RFC 3168).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ecn {
    /// Capable of congestion notification, first codepoint.
    Ect0 = 2,
    /// Capable of congestion notification, second codepoint.
    Ect1 = 1,
    /// A router met congestion.
    Ce = 3,
}

impl Ecn {
    /// Returns the two bits of the IP header.
    pub fn bits(self) -> u8 {
        self as u8
    }

    /// Returns what the two lowest bits say; `None` if nothing.
    pub fn from_bits(bits: u8) -> Option<Self> {
        [Self::Ect0, Self::Ect1, Self::Ce].into_iter().find(|ecn| ecn.bits() == bits & 3)
    }
}

/// One UDP datagram that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagram {
    /// Where it came from.
    pub source: SocketAddr,
    /// The socket that it arrived on, by the address in the configuration of the node.
    pub local: SocketAddr,
    /// Its congestion notification, if the driver can read it.
    pub ecn: Option<Ecn>,
    /// Its bytes.
    pub payload: BytesMut,
}

/// One or more UDP datagrams to send; their bytes are in the buffer given to `poll_output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transmit {
    /// Where to send them.
    pub target: SocketAddr,
    /// The socket to send them from, by the address in the configuration of the node.
    pub local: SocketAddr,
    /// The congestion notification to set.
    pub ecn: Option<Ecn>,
    /// How many bytes of the buffer are to be sent.
    pub size: usize,
    /// The size of each datagram but the last, if there are several in the buffer.
    pub segment_size: Option<usize>,
}
