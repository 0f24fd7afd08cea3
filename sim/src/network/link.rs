//! One direction of the link between two nodes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use x0x_core::support::Rng;
use x0x_core::transport::Ecn;

use super::{Arrivals, NetworkCounters, Packet};
use crate::random::{chance, index, nanos, up_to};
use crate::units::{milliseconds, probability};

/// How much longer than [`LinkProfile::tail`] a datagram takes at most, as a power of two.
const TAIL_DOUBLINGS_MAX: u32 = 7;

/// How one direction of a link behaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkProfile {
    /// How long every datagram takes.
    #[serde(rename = "latency_ms", with = "milliseconds")]
    pub latency: Duration,
    /// How much longer it can take; the order stays.
    #[serde(rename = "jitter_ms", with = "milliseconds")]
    pub jitter: Duration,
    /// How much longer still one in two takes; twice that one in four, and so on: a heavy tail.
    /// The order stays.
    #[serde(rename = "tail_ms", with = "milliseconds")]
    pub tail: Duration,
    /// Bits per second; `None` means no limit and no queue.
    pub bandwidth: Option<u64>,
    /// How many bytes may wait for the bandwidth before newcomers are dropped.
    pub queue_bytes_max: usize,
    /// With how many bytes waiting newcomers that can be are marked instead of dropped; `None`
    /// marks nothing.
    pub mark_bytes: Option<usize>,
    /// The probability that a datagram is lost.
    #[serde(with = "probability")]
    pub loss: f64,
    /// Losses that come together.
    pub burst: Option<Burst>,
    /// The probability that a datagram is held back while others pass.
    #[serde(with = "probability")]
    pub reorder: f64,
    /// How long at most it is held back.
    #[serde(rename = "reorder_delay_ms", with = "milliseconds")]
    pub reorder_delay: Duration,
    /// The probability that a datagram arrives twice.
    #[serde(with = "probability")]
    pub duplicate: f64,
    /// The probability that a datagram arrives with a few bits changed, which no checksum noticed.
    #[serde(with = "probability")]
    pub corrupt: f64,
    /// The largest IP packet, in bytes. What is larger is dropped in silence.
    pub mtu: usize,
}

/// Losses in bursts: the model of Gilbert and Elliott. A link is good or bad, and may change with
/// each datagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// The probability that a good link becomes bad.
    #[serde(with = "probability")]
    pub begin: f64,
    /// The probability that a bad link becomes good.
    #[serde(with = "probability")]
    pub end: f64,
    /// The probability that a bad link loses a datagram.
    #[serde(with = "probability")]
    pub loss: f64,
}

impl Default for LinkProfile {
    /// A good link: 20 ms, no loss, 1500 bytes.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(20),
            jitter: Duration::ZERO,
            tail: Duration::ZERO,
            bandwidth: None,
            queue_bytes_max: 256 * 1024,
            mark_bytes: None,
            loss: 0.0,
            burst: None,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(10),
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: 1500,
        }
    }
}

/// One direction of a link.
#[derive(Debug)]
pub(super) struct LinkState {
    /// The profile, if it is not the default.
    pub(super) profile: Option<LinkProfile>,
    /// Whether nothing passes.
    pub(super) is_blocked: bool,
    /// When the queue is empty.
    busy_until: Duration,
    /// When the last datagram arrives that was not reordered.
    last_arrival: Duration,
    /// Whether losses come together at the moment.
    is_bad: bool,
    rng: Rng,
}

impl LinkState {
    /// Makes a link that nothing went over.
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            profile: None,
            is_blocked: false,
            busy_until: Duration::ZERO,
            last_arrival: Duration::ZERO,
            is_bad: false,
            rng,
        }
    }

    /// Carries a datagram, and tells when it arrives.
    pub(super) fn carry(
        &mut self,
        now: Duration,
        packet: &mut Packet,
        profile: &LinkProfile,
        counters: &mut NetworkCounters,
    ) -> Arrivals {
        let size = packet.wire_size();
        if size > profile.mtu {
            counters.too_large += 1;
            return Arrivals::default();
        }
        let Some(departure) = self.enqueue(now, packet, profile, counters) else {
            counters.queue_full += 1;
            return Arrivals::default();
        };
        if self.loses(profile) {
            counters.lost += 1;
            return Arrivals::default();
        }
        let mut arrival = departure + profile.latency + up_to(&mut self.rng, profile.jitter);
        arrival += self.tail(profile.tail);
        if chance(&mut self.rng, profile.reorder) {
            arrival += up_to(&mut self.rng, profile.reorder_delay);
            counters.reordered += 1;
        } else {
            arrival = arrival.max(self.last_arrival);
            self.last_arrival = arrival;
        }
        let second = chance(&mut self.rng, profile.duplicate).then(|| {
            counters.duplicated += 1;
            arrival + up_to(&mut self.rng, profile.latency)
        });
        if chance(&mut self.rng, profile.corrupt) && !packet.payload.is_empty() {
            counters.corrupted += 1;
            for _ in 0..=index(&mut self.rng, 3) {
                let place = index(&mut self.rng, packet.payload.len());
                packet.payload[place] ^= 1 << index(&mut self.rng, 8);
            }
        }
        Arrivals { first: Some(arrival), second, realm: None }
    }

    /// Returns when the last bit has left, or `None` if the queue is full.
    fn enqueue(
        &mut self,
        now: Duration,
        packet: &mut Packet,
        profile: &LinkProfile,
        counters: &mut NetworkCounters,
    ) -> Option<Duration> {
        let Some(bandwidth) = profile.bandwidth else { return Some(now) };
        let size = packet.wire_size();
        let bandwidth = u128::from(bandwidth.max(1));
        let start = self.busy_until.max(now);
        let waiting = (start - now).as_nanos() * bandwidth / 8_000_000_000;
        if waiting + size as u128 > profile.queue_bytes_max as u128 {
            return None;
        }
        let is_marked = profile.mark_bytes.is_some_and(|mark| waiting > mark as u128);
        if is_marked && matches!(packet.ecn, Some(Ecn::Ect0 | Ecn::Ect1)) {
            packet.ecn = Some(Ecn::Ce);
            counters.marked += 1;
        }
        let nanos = size as u128 * 8_000_000_000 / bandwidth;
        self.busy_until = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.busy_until)
    }

    fn loses(&mut self, profile: &LinkProfile) -> bool {
        let Some(burst) = profile.burst else { return chance(&mut self.rng, profile.loss) };
        let change = if self.is_bad { burst.end } else { burst.begin };
        self.is_bad ^= chance(&mut self.rng, change);
        let loss = if self.is_bad { burst.loss } else { profile.loss };
        chance(&mut self.rng, loss)
    }

    /// Draws from the heavy tail: each doubling is half as likely as the one before.
    fn tail(&mut self, unit: Duration) -> Duration {
        if unit.is_zero() {
            return Duration::ZERO;
        }
        let doublings = self.rng.next_u64().trailing_zeros().min(TAIL_DOUBLINGS_MAX);
        let longest = nanos(unit).saturating_mul((1 << doublings) - 1);
        up_to(&mut self.rng, Duration::from_nanos(longest))
    }
}
