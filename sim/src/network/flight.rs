//! Datagrams under way, and what an attacker on the path may do with them.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use x0x_core::transport::Ecn;

/// A datagram under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// When it was sent, since the world began. Changing it has no effect.
    pub sent_at: Duration,
    /// Where it claims to come from.
    pub source: SocketAddr,
    /// Where it goes.
    pub target: SocketAddr,
    /// Its congestion notification.
    pub ecn: Option<Ecn>,
    /// Its bytes.
    pub payload: BytesMut,
}

/// A datagram that an attacker sends: it arrives after a delay, whatever the link is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// When it arrives, from now.
    pub after: Duration,
    /// The datagram. Its source is what the receiver sees; nobody checks it.
    pub flight: Flight,
}

/// What an interceptor decides about a datagram that it may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It vanishes.
    Drop,
    /// It goes on as it is, and these are sent as well.
    PassAnd(Vec<Injection>),
    /// It vanishes, and these are sent.
    Replace(Vec<Injection>),
}

/// What sees each datagram when it is sent, before its link decides its fate.
///
/// It may change every field: the bytes, the target (redirect), the source (spoof). It is not a
/// step: a recording of a world with an interceptor replays only with the same interceptor.
pub type Interceptor = Box<dyn FnMut(&mut Flight) -> Verdict>;

/// Hides the interceptor from `Debug`.
#[derive(Default)]
pub(crate) struct InterceptorSlot(pub(crate) Option<Interceptor>);

impl fmt::Debug for InterceptorSlot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "an interceptor" } else { "none" })
    }
}
