//! What a link between two hosts is like.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use x0x_core::support::Rng;

/// The UDP payload that fits an Ethernet frame: 1,500 bytes less the IPv4 and UDP headers.
pub const MTU_ETHERNET: usize = 1472;

/// The largest UDP payload over IPv4.
pub const MTU_LOOPBACK: usize = 65_507;

const MILLION: u32 = 1_000_000;

/// A probability in millionths, so that no dice depend on floating-point numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Chance(u32);

impl Chance {
    /// It never happens.
    pub const NEVER: Self = Self(0);

    /// It always happens.
    pub const ALWAYS: Self = Self(MILLION);

    /// Makes a chance from millionths; more than a million is always.
    pub const fn per_million(millionths: u32) -> Self {
        Self(if millionths > MILLION { MILLION } else { millionths })
    }

    /// Makes a chance from a percentage; more than a hundred is always.
    pub const fn percent(percent: u32) -> Self {
        Self::per_million(percent.saturating_mul(MILLION / 100))
    }

    /// Returns the chance in millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// Throws the dice. Draws nothing if the outcome is certain.
    pub(crate) fn happens(self, rng: &mut Rng) -> bool {
        match self.0 {
            0 => false,
            MILLION => true,
            millionths => rng.below(u64::from(MILLION)) < u64::from(millionths),
        }
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} %", f64::from(self.0) / 10_000.0)
    }
}

/// What one direction of a link is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkProfile {
    /// How long a datagram travels at least, beside its serialisation.
    pub latency: Duration,
    /// How much longer it may take: evenly spread between zero and this. Jitter alone never
    /// changes the order of datagrams.
    pub jitter: Duration,
    /// Bits of UDP payload per second; `None` means without limit.
    pub bandwidth: Option<u64>,
    /// How many bytes may wait for the bandwidth before newcomers are dropped.
    pub queue_bytes_max: u64,
    /// How likely a datagram is lost after it was serialised.
    pub loss: Chance,
    /// How likely a datagram takes `reorder_delay` longer and is overtaken.
    pub reorder: Chance,
    /// How much longer a datagram takes that is overtaken.
    pub reorder_delay: Duration,
    /// How likely a datagram arrives twice.
    pub duplicate: Chance,
    /// The largest UDP payload that passes.
    pub mtu: usize,
}

impl LinkProfile {
    /// A link like the loopback interface: no loss, no limit, 20 µs.
    pub const fn perfect() -> Self {
        Self {
            latency: Duration::from_micros(20),
            jitter: Duration::ZERO,
            bandwidth: None,
            queue_bytes_max: u64::MAX,
            loss: Chance::NEVER,
            reorder: Chance::NEVER,
            reorder_delay: Duration::ZERO,
            duplicate: Chance::NEVER,
            mtu: MTU_LOOPBACK,
        }
    }

    /// A link through a local network: 0.2 to 0.3 ms, 1 Gbit/s.
    pub const fn local_area() -> Self {
        Self {
            latency: Duration::from_micros(200),
            jitter: Duration::from_micros(100),
            bandwidth: Some(1_000_000_000),
            queue_bytes_max: 1 << 20,
            mtu: MTU_ETHERNET,
            ..Self::perfect()
        }
    }

    /// A link through the Internet: 30 to 40 ms, 100 Mbit/s.
    pub const fn wide_area() -> Self {
        Self {
            latency: Duration::from_millis(30),
            jitter: Duration::from_millis(10),
            bandwidth: Some(100_000_000),
            queue_bytes_max: 512 << 10,
            reorder_delay: Duration::from_millis(15),
            mtu: MTU_ETHERNET,
            ..Self::perfect()
        }
    }

    /// The same link with nothing lost, overtaken or doubled.
    #[must_use]
    pub fn healed(&self) -> Self {
        Self {
            loss: Chance::NEVER,
            reorder: Chance::NEVER,
            duplicate: Chance::NEVER,
            ..self.clone()
        }
    }
}

impl Default for LinkProfile {
    fn default() -> Self {
        Self::wide_area()
    }
}
