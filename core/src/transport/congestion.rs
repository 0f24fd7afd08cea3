//! A way past the congestion window for acknowledgements.
//!
//! RFC 9002, section 7, exempts packets that hold acknowledgements only from congestion control.
//! `quinn-proto` 0.11 does not: while its window is full, or its pacer waits, and data is queued, it
//! sends no acknowledgement either. Two ends that were cut off from each other can both be in that
//! state when they hear each other again; each then waits for a probe timeout whose length it took
//! from the other's late acknowledgements, tens of seconds.
//!
//! The [`Valve`] tells whether a connection was held back, and lets it send one datagram all the same.
//! How often that may be is the business of [`Answer`]: not before [`ANSWER_DELAY_MAX`] after the peer
//! was heard, and once for each time. So a full window is exceeded by ten datagrams a second at most,
//! and only while the peer is heard.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};

/// How long a peer that was heard waits for the next datagram while the congestion window is full:
/// four times what QUIC's acknowledgements may be delayed otherwise (RFC 9000, section 18.2).
pub(super) const ANSWER_DELAY_MAX: Duration = Duration::from_millis(100);

/// A window without an end: the least that turns `quinn-proto`'s pacer off as well.
const OPEN_WINDOW: u64 = 1 << 32;

/// Stands between the connections of one node and their congestion windows. All of them share it,
/// since one of them acts at a time.
#[derive(Debug, Default)]
pub(super) struct Valve {
    is_open: AtomicBool,
    /// Whether a window was looked at: only a connection that has data to send does.
    is_asked: AtomicBool,
}

impl Valve {
    /// Runs what may send. Returns its result and whether it looked at a window.
    pub(super) fn watch<T>(&self, send: impl FnOnce() -> T) -> (T, bool) {
        self.is_asked.store(false, Ordering::Relaxed);
        (send(), self.is_asked.load(Ordering::Relaxed))
    }

    /// Runs what may send while no window holds it back.
    pub(super) fn open<T>(&self, send: impl FnOnce() -> T) -> T {
        self.is_open.store(true, Ordering::Relaxed);
        let sent = send();
        self.is_open.store(false, Ordering::Relaxed);
        sent
    }

    fn window(&self, window: u64) -> u64 {
        self.is_asked.store(true, Ordering::Relaxed);
        if self.is_open.load(Ordering::Relaxed) { OPEN_WINDOW } else { window }
    }
}

/// When a connection owes its peer an answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// When the peer was heard for the first time since something was sent.
    heard: Option<Instant>,
    is_held_back: bool,
}

impl Answer {
    /// Notes that the peer was heard.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard.get_or_insert(now);
    }

    /// Notes that a datagram was sent: whatever it is, it holds the acknowledgements.
    pub(super) fn sent(&mut self) {
        *self = Self::default();
    }

    /// Notes that nothing was sent, and whether that was for the congestion window. Returns whether
    /// a datagram must go past it now.
    pub(super) fn not_sent(&mut self, now: Instant, is_held_back: bool) -> bool {
        self.is_held_back = is_held_back;
        let is_due = self.deadline().is_some_and(|at| at <= now);
        if is_due {
            *self = Self::default();
        }
        is_due
    }

    /// Returns when a datagram must go past the window.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.heard.filter(|_| self.is_held_back).map(|heard| heard + ANSWER_DELAY_MAX)
    }
}

/// Makes controllers by CUBIC (RFC 9438) behind a valve.
#[derive(Debug)]
pub(super) struct ValvedCubic(pub(super) Arc<Valve>);

impl ControllerFactory for ValvedCubic {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Arc::new(CubicConfig::default()).build(now, current_mtu);
        Box::new(Valved { cubic, valve: self.0.clone() })
    }
}

struct Valved {
    cubic: Box<dyn Controller>,
    valve: Arc<Valve>,
}

impl Controller for Valved {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.valve.window(self.cubic.window())
    }

    fn metrics(&self) -> ControllerMetrics {
        self.cubic.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone_box(), valve: self.valve.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::testing::start;

    #[test]
    fn a_full_window_is_passed_once_for_a_peer_that_was_heard_and_not_before_its_time() {
        let (mut answer, mut now) = (Answer::default(), start());
        assert!(!answer.not_sent(now, true), "nothing was heard");
        answer.heard(now);
        let due = now + ANSWER_DELAY_MAX;
        assert!(!answer.not_sent(now, true));
        assert_eq!(answer.deadline(), Some(due));
        now += ANSWER_DELAY_MAX / 2;
        answer.heard(now);
        assert_eq!(answer.deadline(), Some(due), "the first time counts");
        assert!(answer.not_sent(due, true));
        assert!(!answer.not_sent(due, true), "once");
        assert_eq!(answer.deadline(), None);
    }

    #[test]
    fn who_sent_since_or_has_nothing_to_send_owes_no_answer() {
        let (mut answer, now) = (Answer::default(), start());
        answer.heard(now);
        answer.sent();
        assert!(!answer.not_sent(now + ANSWER_DELAY_MAX, true));
        answer.heard(now);
        assert!(!answer.not_sent(now + ANSWER_DELAY_MAX, false));
        assert_eq!(answer.deadline(), None);
    }

    #[test]
    fn a_window_is_open_only_within_the_call_that_opens_it() {
        let valve = Arc::new(Valve::default());
        let cubic = Arc::new(ValvedCubic(valve.clone())).build(start(), 1200);
        let (window, is_asked) = valve.watch(|| cubic.window());
        assert!(is_asked && window == cubic.initial_window());
        assert_eq!(valve.open(|| cubic.clone_box().window()), OPEN_WINDOW);
        assert_eq!(cubic.window(), window);
        assert!(!valve.watch(|| ()).1);
    }
}
