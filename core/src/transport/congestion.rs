//! A way past the congestion window for acknowledgements.
//!
//! RFC 9002, section 7, exempts packets that hold acknowledgements only from congestion control.
//! `quinn-proto` 0.11 does not: while its window is full, or its pacer waits, and data is queued, it
//! sends no acknowledgement either. Two ends that were cut off from each other can both be in that
//! state when they hear each other again; each then waits for a probe timeout whose length it took
//! from the other's late acknowledgements, tens of seconds.
//!
//! The [`Valve`] returns whether a connection was held back, and nevertheless lets it send one datagram.
//! When that is due is the business of [`Debt`]: where an acknowledgement is owed for
//! [`ANSWER_DELAY_MIN`], and for longer the more datagrams passed of which none was acknowledged, so
//! that QUIC's own probes, which are no larger than what every path carries, get their turn. There are
//! at most [`OPENINGS_MAX`] such datagrams, and what is in flight exceeds the window by no more.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::{ConnectionStats, FrameStats, RttEstimator};

/// How long a peer waits for an acknowledgement while the congestion window is full: four times what
/// QUIC may delay it otherwise (RFC 9000, section 18.2), so that it leads the datagram by then.
const ANSWER_DELAY_MIN: Duration = Duration::from_millis(100);

/// After how many datagrams past the window the wait doubles, and how often it does.
const DELAY_DOUBLES_AFTER: u8 = 8;
const DELAY_DOUBLINGS_MAX: u8 = 4;

/// How many datagrams pass a full window while the peer acknowledges nothing: together they take
/// longer than the idle timeout, after which that peer is gone.
const OPENINGS_MAX: u8 = 64;

/// A window without an end: the least that turns `quinn-proto`'s pacer off as well.
const OPEN_WINDOW: u64 = 1 << 32;

/// Stands between the connections of one node and their congestion windows. All of them share it,
/// since one of them acts at a time.
#[derive(Debug, Default)]
pub(super) struct Valve {
    is_open: AtomicBool,
    /// Whether a window was looked at: only a connection that has data to send does.
    is_asked: AtomicBool,
    /// Whether the peer acknowledged something that it had not acknowledged before.
    is_acknowledged: AtomicBool,
}

impl Valve {
    /// Runs what may send. Returns its result and whether it looked at a window.
    pub(super) fn watch_window<T>(&self, send: impl FnOnce() -> T) -> (T, bool) {
        self.is_asked.store(false, Ordering::Relaxed);
        (send(), self.is_asked.load(Ordering::Relaxed))
    }

    /// Runs what may receive. Returns whether something was acknowledged.
    pub(super) fn watch_acknowledgements(&self, receive: impl FnOnce()) -> bool {
        self.is_acknowledged.store(false, Ordering::Relaxed);
        receive();
        self.is_acknowledged.load(Ordering::Relaxed)
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

/// Whether a connection owes its peer an acknowledgement. It is looked at only while the connection is
/// held back. What came and what was sent between two looks has no order: then the debt counts as new,
/// and one datagram may pass that need not.
#[derive(Debug, Default)]
pub(super) struct Debt {
    /// The acknowledgements sent and the frames received that ask for one, at the last look.
    acknowledgements: u64,
    eliciting: u64,
    since: Option<Instant>,
    is_held_back: bool,
    /// How often the window was passed since the peer acknowledged something.
    openings: u8,
}

impl Debt {
    /// Notes that the peer acknowledged something.
    pub(super) fn acknowledged(&mut self) {
        self.openings = 0;
    }

    /// Notes that the window does not hold the connection back.
    pub(super) fn free(&mut self) {
        self.is_held_back = false;
    }

    /// Notes that the window holds the connection back, which counted these frames so far. Returns
    /// whether a datagram must go past it now.
    pub(super) fn held_back(&mut self, now: Instant, stats: &ConnectionStats) -> bool {
        self.note(now, stats.frame_tx.acks, eliciting(&stats.frame_rx))
    }

    fn note(&mut self, now: Instant, acknowledgements: u64, eliciting: u64) -> bool {
        self.is_held_back = true;
        if std::mem::replace(&mut self.acknowledgements, acknowledgements) != acknowledgements {
            self.since = None;
        }
        if std::mem::replace(&mut self.eliciting, eliciting) != eliciting {
            self.since.get_or_insert(now);
        }
        let is_due = self.deadline().is_some_and(|at| at <= now);
        if is_due {
            self.openings += 1;
            self.since = Some(now);
        }
        is_due
    }

    /// Returns when a datagram must go past the window.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let doublings = (self.openings / DELAY_DOUBLES_AFTER).min(DELAY_DOUBLINGS_MAX);
        let may_pass = self.is_held_back && self.openings < OPENINGS_MAX;
        let since = self.since.filter(|_| may_pass)?;
        Some(since + ANSWER_DELAY_MIN * (1 << doublings))
    }
}

/// Counts the frames that ask for an acknowledgement, of those that peers of this protocol send while
/// a connection is up (RFC 9000, section 13.2.1).
fn eliciting(frames: &FrameStats) -> u64 {
    let data = frames.stream + frames.reset_stream + frames.stop_sending;
    let room = frames.max_data + frames.max_stream_data + frames.max_streams_uni;
    let blocked = frames.data_blocked + frames.stream_data_blocked + frames.streams_blocked_uni;
    let ids = frames.new_connection_id + frames.retire_connection_id;
    let handshake = frames.crypto + frames.new_token + u64::from(frames.handshake_done);
    data + room + blocked + ids + handshake + frames.ping
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
        self.valve.is_acknowledged.store(true, Ordering::Relaxed);
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
    fn a_full_window_is_passed_for_a_debt_that_is_old_enough_until_it_is_paid() {
        let (mut debt, mut now) = (Debt::default(), start());
        assert!(!debt.note(now, 0, 0));
        assert_eq!(debt.deadline(), None, "nothing was heard");
        assert!(!debt.note(now, 0, 1));
        let due = now + ANSWER_DELAY_MIN;
        now += ANSWER_DELAY_MIN / 2;
        assert!(!debt.note(now, 0, 2));
        assert_eq!(debt.deadline(), Some(due), "the first time counts");
        assert!(debt.note(due, 0, 2));
        assert_eq!(debt.deadline(), Some(due + ANSWER_DELAY_MIN), "not paid, not due at once");
        assert!(!debt.note(due, 0, 2));
        assert!(!debt.note(due + ANSWER_DELAY_MIN, 1, 2), "paid");
        assert_eq!(debt.deadline(), None);
    }

    #[test]
    fn who_is_not_held_back_has_no_deadline_and_still_owes() {
        let (mut debt, now) = (Debt::default(), start());
        assert!(!debt.note(now, 0, 1));
        debt.free();
        assert_eq!(debt.deadline(), None);
        assert!(
            debt.note(now + 2 * ANSWER_DELAY_MIN, 0, 1),
            "what was sent held no acknowledgement"
        );
    }

    #[test]
    fn a_peer_that_acknowledges_nothing_waits_longer_and_longer_and_in_the_end_for_good() {
        let (mut debt, mut now, mut waited) = (Debt::default(), start(), Vec::new());
        debt.note(now, 0, 1);
        while let Some(due) = debt.deadline() {
            waited.push(due - now);
            now = due;
            assert!(debt.note(now, 0, 1));
        }
        assert_eq!(waited.len(), usize::from(OPENINGS_MAX));
        assert!(waited.is_sorted() && waited[0] == ANSWER_DELAY_MIN);
        assert!(now - start() > Duration::from_secs(45), "{waited:?}");
        debt.acknowledged();
        assert_eq!(debt.deadline(), Some(now + ANSWER_DELAY_MIN));
    }

    #[test]
    fn a_window_is_open_only_within_the_call_that_opens_it() {
        let valve = Arc::new(Valve::default());
        let cubic = Arc::new(ValvedCubic(valve.clone())).build(start(), 1200);
        let (window, is_asked) = valve.watch_window(|| cubic.window());
        assert!(is_asked && window == cubic.initial_window());
        assert_eq!(valve.open(|| cubic.clone_box().window()), OPEN_WINDOW);
        assert_eq!(cubic.window(), window);
        assert!(!valve.watch_window(|| ()).1);
    }
}
