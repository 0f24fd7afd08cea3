//! The driver: some ends in virtual time, and the datagrams between them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use x0x_core::crypto::hash::blake3_keyed;
use x0x_core::link::LinkConfig;
use x0x_core::transport::{Datagram, Transmit};

use crate::rate;
use x0x_core::support::Time;

/// The wall time at which all worlds start.
pub(crate) const UNIX_TIME: Duration = Duration::from_secs(1_800_000_000);

/// How long every connection and message may take; none comes near it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The payload of each bulk frame, and of each write to a bare stream.
pub(crate) static PAYLOAD: [u8; 64 << 10] = [7; 64 << 10];

/// One end: a node, the links of one, or a bare endpoint.
pub(crate) trait End {
    fn dial(&mut self, now: Instant, target: SocketAddr);
    fn receive(&mut self, now: Instant, datagram: Datagram);
    /// Does everything that can be done now and writes the next datagrams into `buf`.
    fn transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit>;
    fn deadline(&mut self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    /// How many connections are up.
    fn up(&self) -> usize;
}

/// An end that can send and receive a mass of bytes.
pub(crate) trait Pipe: End {
    fn send(&mut self, size: usize);
    fn received(&self) -> usize;
}

/// Some ends in virtual time and what is under way between them.
pub(crate) struct World<E> {
    pub(crate) now: Instant,
    pub(crate) delay: Duration,
    pub(crate) ends: Vec<E>,
    queue: VecDeque<(Instant, Datagram)>,
    buf: Vec<u8>,
    /// Whether nothing happens before the time moves.
    pub(crate) is_quiet: bool,
}

impl<E: End> World<E> {
    pub(crate) fn new(ends: Vec<E>) -> Self {
        let (delay, queue, buf) = (Duration::ZERO, VecDeque::new(), Vec::new());
        Self { now: anchor(), delay, ends, queue, buf, is_quiet: false }
    }

    /// Connects all with all.
    pub(crate) fn connect(&mut self) {
        for client in 0..self.ends.len() {
            for server in client + 1..self.ends.len() {
                self.ends[client].dial(self.now, address(server));
            }
        }
        self.is_quiet = false;
        self.run_until(|ends| ends.iter().all(|end| end.up() == ends.len() - 1));
    }

    pub(crate) fn run_until(&mut self, done: impl Fn(&[E]) -> bool) {
        while !done(&self.ends) {
            self.step();
        }
    }

    pub(crate) fn step(&mut self) {
        if self.is_quiet {
            self.move_time();
        }
        self.is_quiet = true;
        for index in 0..self.ends.len() {
            while let Some(transmit) = self.ends[index].transmit(self.now, &mut self.buf) {
                self.carry(transmit);
            }
        }
    }

    /// Splits what was sent into datagrams, as a driver splits what it received in one piece.
    fn carry(&mut self, transmit: Transmit) {
        let size = transmit.segment_size.unwrap_or(transmit.size);
        let mut batch = BytesMut::from(&self.buf[..transmit.size]);
        while !batch.is_empty() {
            let payload = batch.split_to(size.min(batch.len()));
            let (source, local, ecn) = (transmit.local, transmit.target, transmit.ecn);
            let datagram = Datagram { source, local, ecn, payload };
            if self.delay.is_zero() {
                self.is_quiet = false;
                self.ends[index_of(local)].receive(self.now, datagram);
            } else {
                self.queue.push_back((self.now + self.delay, datagram));
            }
        }
    }

    fn move_time(&mut self) {
        let arrival = self.queue.front().map(|&(at, _)| at);
        let timer = self.ends.iter_mut().filter_map(End::deadline).min();
        let next = arrival.into_iter().chain(timer).min().expect("somebody waits for something");
        self.now = self.now.max(next);
        while let Some((at, _)) = self.queue.front()
            && *at <= self.now
        {
            let (_, datagram) = self.queue.pop_front().unwrap();
            self.ends[index_of(datagram.local)].receive(self.now, datagram);
        }
        for end in &mut self.ends {
            if end.deadline().is_some_and(|at| at <= self.now) {
                end.handle_timeout(self.now);
            }
        }
    }
}

impl<E: Pipe> World<E> {
    /// Sends bytes from the first end to the second. Returns bytes per second.
    pub(crate) fn transfer(&mut self, size: usize) -> f64 {
        let goal = self.ends[1].received() + size;
        self.ends[0].send(size);
        self.is_quiet = false;
        rate(size, || self.run_until(|ends| ends[1].received() >= goal))
    }
}

/// The one instant from which all worlds count.
pub(crate) fn anchor() -> Instant {
    static ANCHOR: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ANCHOR.get_or_init(|| Instant::now() + Duration::from_secs(3600))
}

/// Both clocks of all worlds.
pub(crate) fn time(now: Instant) -> Time {
    Time { now: anchor(), unix_time: UNIX_TIME }.at(now)
}

pub(crate) fn address(index: usize) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, u8::try_from(index).unwrap()), 5483).into()
}

fn index_of(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { panic!("all addresses here are IPv4") };
    usize::from(address.ip().octets()[3])
}

/// The seed of a key: the same for all ends with this index.
pub(crate) fn seed(purpose: &str, index: usize) -> [u8; 32] {
    blake3_keyed(&[u8::try_from(index).unwrap(); 32], purpose.as_bytes())
}

/// A seed that no other end has, so that handshakes differ and their costs average out.
pub(crate) fn fresh_seed() -> [u8; 32] {
    static LAST: AtomicU32 = AtomicU32::new(0);
    blake3_keyed(&[0; 32], &LAST.fetch_add(1, Ordering::Relaxed).to_be_bytes())
}

pub(crate) fn link_config(initial_mtu: u16) -> LinkConfig {
    LinkConfig { initial_mtu, ..LinkConfig::default() }
}
