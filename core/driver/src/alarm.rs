//! The one timer of the loop.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use crate::runtime::{AsyncTimer, Runtime};

/// A timer that is set lazily. Setting a timer costs system calls on some runtimes, and most deadlines
/// of QUIC move to a later time before they come. So a timer that expires too early stays set, and is
/// set again when it expires.
pub(crate) struct Alarm<T> {
    timer: T,
    /// When the timer expires; `None` once it has.
    expires: Option<Instant>,
}

impl<T: AsyncTimer> Alarm<T> {
    pub(crate) fn new(runtime: &impl Runtime<Timer = T>) -> Self {
        let now = Instant::now();
        Self { timer: runtime.new_timer(now), expires: Some(now) }
    }

    /// Ready if the deadline has passed. Without a deadline it never is.
    pub(crate) fn poll_passed(
        &mut self,
        context: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        loop {
            if self.expires.is_none_or(|at| at > deadline) {
                self.timer.reset(deadline);
                self.expires = Some(deadline);
            }
            ready!(self.timer.poll_expired(context));
            self.expires = None;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
        }
    }
}
