//! What became of the datagrams of a world.

use serde::{Serialize, Serializer, ser::SerializeMap};

/// Why a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The link lost it.
    Lost,
    /// The link's queue was full.
    QueueFull,
    /// It was larger than the link's MTU.
    TooLarge,
    /// A partition or a block lay between the hosts.
    Blocked,
    /// There is no host, or no socket, at its target.
    Unreachable,
    /// The node at its target is not running.
    NodeDown,
    /// The interceptor dropped it.
    Intercepted,
    /// The node sent it from a socket that it does not have.
    NoSocket,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::QueueFull,
        Self::TooLarge,
        Self::Blocked,
        Self::Unreachable,
        Self::NodeDown,
        Self::Intercepted,
        Self::NoSocket,
    ];

    /// The reason in words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::QueueFull => "queue full",
            Self::TooLarge => "larger than the mtu",
            Self::Blocked => "partitioned",
            Self::Unreachable => "unreachable",
            Self::NodeDown => "node down",
            Self::Intercepted => "intercepted",
            Self::NoSocket => "no socket",
        }
    }
}

/// Counts of datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NetworkStats {
    /// Datagrams that nodes sent.
    pub sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Datagrams that reached a node, copies and injected ones included.
    pub delivered: u64,
    /// Their bytes.
    pub bytes_delivered: u64,
    /// Datagrams that the network doubled.
    pub duplicated: u64,
    /// Datagrams that the network held back so that others overtook them.
    pub overtaken: u64,
    /// Datagrams that an attacker added.
    pub injected: u64,
    /// Datagrams that did not arrive, by reason.
    pub dropped: DropCounts,
}

/// Counts of datagrams that did not arrive, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl DropCounts {
    pub(crate) fn add(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Returns the count of one reason.
    pub const fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Returns the sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns the reasons that occurred, with their counts.
    pub fn non_zero(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason, self.get(reason)))
            .filter(|&(_, count)| count > 0)
    }
}

impl Serialize for DropCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (reason, count) in self.non_zero() {
            map.serialize_entry(reason.label(), &count)?;
        }
        map.end()
    }
}
