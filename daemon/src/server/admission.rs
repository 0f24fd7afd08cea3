//! How many connections there may be, and which of them give way.
//!
//! A connection that has not shown the token yet holds one of a few places of its listener; when all
//! are taken, the oldest gives way, so a newcomer always gets in. The first request with the token
//! moves the connection to the places of authenticated ones, which nobody is evicted from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::select;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::queue::lock;

/// The most connections of one listener that have not shown the token.
pub const UNAUTHENTICATED_MAX: usize = 256;

/// The most connections of all listeners that have shown the token.
pub const AUTHENTICATED_MAX: usize = 4096;

/// How many open files are left to the store, to recordings and to the sockets of the node.
pub const FILES_RESERVED: usize = 64;

/// The listeners of a daemon.
const LISTENERS: usize = 2;

/// How long a connection may show its token before it gives way to another.
pub const STAY_MIN: Duration = Duration::from_millis(100);

/// Raises the limit of open files, as far as the system lets this process, to what the connections
/// need. Returns the limit.
pub fn raise_open_files() -> usize {
    let wanted = (AUTHENTICATED_MAX + LISTENERS * UNAUTHENTICATED_MAX + FILES_RESERVED) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current.unwrap_or(u64::MAX);
    let target = wanted.min(maximum.unwrap_or(u64::MAX));
    let raised = Rlimit { current: Some(target), maximum };
    let limit = if current < target && setrlimit(Resource::Nofile, raised).is_ok() {
        target
    } else {
        current
    };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Without the token, for each listener.
    pub unauthenticated: usize,
    /// With it, for all listeners.
    pub authenticated: usize,
}

impl Limits {
    /// Shares out the open files that this process may have.
    pub fn of(files: usize) -> Self {
        let places = files.saturating_sub(FILES_RESERVED);
        let unauthenticated = (places / 8).clamp(1, UNAUTHENTICATED_MAX);
        let rest = places.saturating_sub(LISTENERS * unauthenticated);
        Self { unauthenticated, authenticated: rest.clamp(1, AUTHENTICATED_MAX) }
    }
}

/// The places of authenticated connections, which all listeners share.
#[derive(Debug)]
struct Authenticated {
    count: AtomicUsize,
    max: usize,
}

impl Authenticated {
    fn enter(&self) -> bool {
        let more = |count| (count < self.max).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn leave(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that has not shown the token.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    task: AbortHandle,
}

/// The places of one listener.
#[derive(Debug)]
pub struct Admission {
    max: usize,
    /// By their numbers, which grow: the first is the oldest.
    waiting: Mutex<BTreeMap<u64, Waiting>>,
    freed: Notify,
    authenticated: Arc<Authenticated>,
}

impl Admission {
    /// Makes the places of so many listeners.
    pub fn for_listeners<const N: usize>(limits: Limits) -> [Arc<Self>; N] {
        let Limits { unauthenticated: max, authenticated } = limits;
        let authenticated =
            Arc::new(Authenticated { count: AtomicUsize::new(0), max: authenticated });
        std::array::from_fn(|_| {
            Arc::new(Self {
                max,
                waiting: Mutex::default(),
                freed: Notify::new(),
                authenticated: authenticated.clone(),
            })
        })
    }

    /// Waits until there is a place, at most [`STAY_MIN`]: then the oldest connection gives way.
    pub(super) async fn room(&self) {
        loop {
            let oldest = {
                let waiting = lock(&self.waiting);
                let oldest = waiting.values().next().map(|oldest| oldest.since);
                oldest.filter(|_| waiting.len() >= self.max)
            };
            let Some(since) = oldest else { return };
            if since.elapsed() >= STAY_MIN {
                self.evict();
                return;
            }
            select! {
                () = sleep_until(since + STAY_MIN) => {}
                () = self.freed.notified() => {}
            }
        }
    }

    /// Ends the oldest connection that has not shown the token.
    pub(super) fn evict(&self) {
        let oldest = lock(&self.waiting).pop_first();
        if let Some((_, oldest)) = oldest {
            oldest.task.abort();
        }
    }

    /// Runs a new connection.
    pub(super) fn run<F>(
        self: &Arc<Self>,
        number: u64,
        local: Option<SocketAddr>,
        serve: impl FnOnce(Arc<Place>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let place = Arc::new(Place {
            admission: self.clone(),
            number,
            local,
            is_authenticated: AtomicBool::new(false),
            was_challenged: AtomicBool::new(false),
            has_late_body: AtomicBool::new(false),
        });
        let task = tokio::spawn(serve(place.clone())).abort_handle();
        let mut waiting = lock(&self.waiting);
        if !place.is_authenticated() {
            waiting.insert(number, Waiting { since: Instant::now(), task });
        }
        drop(waiting);
        // If the connection has ended already, this gives its place back.
        drop(place);
    }
}

/// The place of a connection, which ends when the last of those who hold it drops it.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    number: u64,
    /// The address at which the connection came in, if it is over TCP.
    pub(crate) local: Option<SocketAddr>,
    is_authenticated: AtomicBool,
    was_challenged: AtomicBool,
    /// Whether the body of the request did not come in time.
    pub(super) has_late_body: AtomicBool,
}

impl Place {
    fn is_authenticated(&self) -> bool {
        self.is_authenticated.load(Ordering::Relaxed)
    }

    /// Takes note that the connection showed the token. False if there is no place left.
    pub(crate) fn authenticate(&self) -> bool {
        if self.is_authenticated() {
            return true;
        }
        let mut waiting = lock(&self.admission.waiting);
        if !self.admission.authenticated.enter() {
            return false;
        }
        self.is_authenticated.store(true, Ordering::Relaxed);
        waiting.remove(&self.number);
        drop(waiting);
        self.admission.freed.notify_one();
        true
    }

    /// Tells whether this is the first challenge on the connection.
    pub(crate) fn may_challenge(&self) -> bool {
        !self.was_challenged.swap(true, Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_authenticated() {
            self.admission.authenticated.leave();
        } else {
            lock(&self.admission.waiting).remove(&self.number);
            self.admission.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::yield_now;

    use super::*;

    #[test]
    fn the_limits_leave_files_to_the_rest_of_the_daemon() {
        for files in [256, 1024, 4096, 8192, usize::MAX] {
            let Limits { unauthenticated, authenticated } = Limits::of(files);
            let all = LISTENERS * unauthenticated + authenticated;
            assert!(all + FILES_RESERVED <= files, "{files}: {all}");
        }
        let usual = Limits { unauthenticated: 120, authenticated: 720 };
        assert_eq!(Limits::of(1024), usual);
        let most =
            Limits { unauthenticated: UNAUTHENTICATED_MAX, authenticated: AUTHENTICATED_MAX };
        assert_eq!(Limits::of(raise_open_files().max(8192)), most);
        // Even with nothing, a connection can be made.
        assert_eq!(Limits::of(0), Limits { unauthenticated: 1, authenticated: 1 });
    }

    /// Runs a connection that never ends by itself; returns its place.
    async fn enter(admission: &Arc<Admission>, number: u64) -> std::sync::Weak<Place> {
        let (send, place) = tokio::sync::oneshot::channel();
        admission.room().await;
        admission.run(number, None, |place| async move {
            let _ = send.send(Arc::downgrade(&place));
            pending::<()>().await;
            drop(place);
        });
        place.await.unwrap()
    }

    #[tokio::test]
    async fn the_oldest_gives_way_unless_it_showed_the_token() {
        let [admission] = Admission::for_listeners(Limits { unauthenticated: 2, authenticated: 1 });
        let first = enter(&admission, 0).await;
        assert!(first.upgrade().unwrap().authenticate());
        let (second, third) = (enter(&admission, 1).await, enter(&admission, 2).await);
        assert!(!second.upgrade().unwrap().authenticate(), "one place only");
        let started = Instant::now();
        let fourth = enter(&admission, 3).await;
        assert!(started.elapsed() >= STAY_MIN / 2, "the second was given its time");
        yield_now().await;
        let places = [&first, &second, &third, &fourth];
        assert_eq!(places.map(|place| place.strong_count() > 0), [true, false, true, true]);
        assert_eq!(lock(&admission.waiting).len(), 2);
    }

    #[tokio::test]
    async fn a_place_is_free_again_once_its_connection_ends() {
        let [admission, other] =
            Admission::for_listeners(Limits { unauthenticated: 1, authenticated: 1 });
        admission.run(0, None, |place| async move { assert!(place.authenticate()) });
        other.run(0, None, |place| async move { drop(place) });
        assert_eq!(lock(&other.waiting).len(), 1);
        while !lock(&other.waiting).is_empty() {
            yield_now().await;
        }
        let authenticated = || admission.authenticated.count.load(Ordering::Relaxed);
        while authenticated() > 0 {
            yield_now().await;
        }
        let again = enter(&other, 1).await.upgrade().unwrap();
        assert!(again.authenticate() && again.authenticate());
        assert_eq!((authenticated(), lock(&other.waiting).len()), (1, 0));
    }

    #[test]
    fn a_connection_is_challenged_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let [admission] = Admission::for_listeners(Limits::of(1024));
            let place = enter(&admission, 0).await.upgrade().unwrap();
            assert!(place.may_challenge());
            assert!(!place.may_challenge());
        });
    }
}
