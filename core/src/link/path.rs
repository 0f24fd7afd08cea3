//! The path below a connection, and the probes that move a connection to another one.
//!
//! QUIC sees a label that never changes; this module knows the path of the moment. A path is a
//! socket of this node and an address of the peer. A connection changes its path only after the
//! peer answered a probe over the new one, and probes carry a MAC under a key that only the two
//! ends of the TLS session know. So whoever copies or redirects datagrams can provoke probes, a
//! few small ones, and nothing else.
//!
//! # When a path is checked
//!
//! - *Rebinding.* A datagram with a connection id of ours came over another path. The new and the
//!   current path are both probed. The connection moves when the new path answers and the current
//!   one does not; an attacker who relays datagrams cannot draw a connection away from a path that
//!   works.
//! - *Moving.* This node lost its socket. It probes from another one with the flag
//!   [`Probe::prefer`]; both ends move as soon as their own probe is answered.
//!
//! Probes are repeated at growing intervals; a check that is not answered ends, and the same path
//! can be checked again by the next datagram that comes over it. Nothing is sent to a path beyond
//! three times what came over it, until it answers; the answer to a probe counts.
//!
//! # The datagram
//!
//! | bytes | what |
//! |---|---|
//! | 1 | `0x01`: the two top bits are zero, which no QUIC packet of ours has |
//! | 1 | kind: 1 probe, 2 probe that asks to move here, 3 answer |
//! | 8 | the receiver's probe id in this connection |
//! | 8 | challenge; the answer repeats it |
//! | 18 | answer: the address that the probe came from (IPv6 or mapped, port); else all zero |
//! | 16 | BLAKE3 under the probe key over all of the above and the sender's role |
//!
//! Probe ids and key come from the TLS exporter with the label `x0x path probe v1`: 8 bytes id of
//! the client, 8 bytes id of the server, 32 bytes key. A probe and its answer have the same size.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::crypto::hash::{blake3_keyed, equal};
use crate::support::Rng;
use crate::transport::Side;

/// The label under which the probe secrets are exported from TLS.
pub(super) const EXPORT_LABEL: &str = "x0x path probe v1";

/// How many bytes are exported from TLS for the probes of a connection.
pub(super) const EXPORT_LEN: usize = 48;

/// How many times a path is probed before the check ends.
pub(super) const PROBES_MAX: u32 = 6;

/// The pause after the first probe; it doubles.
const PROBE_INTERVAL: Duration = Duration::from_millis(40);

/// How long a check lasts whose path does not answer.
const CHECK_TIME: Duration = PROBE_INTERVAL.saturating_mul(2_u32.pow(PROBES_MAX));

/// How long the current path may take longer than the new one to answer, at least.
const GRACE_MIN: Duration = Duration::from_millis(100);

/// How long at most, whatever QUIC measured: after an interruption its round trip may be longer than
/// what the connection has left.
const GRACE_MAX: Duration = CHECK_TIME;

/// Bytes that may go to a path for each byte that came over it, until it answers (RFC 9000 §8.1).
pub(super) const AMPLIFICATION_MAX: usize = 3;

/// Bytes of own probes that may go to a path for a probe that came over it: its answer goes there
/// as well.
const PROBE_BUDGET: usize = PROBE_LEN * (AMPLIFICATION_MAX - 1);

const FIRST_BYTE: u8 = 0x01;
const ID_LEN: usize = 8;
const CHALLENGE_LEN: usize = 8;
const ADDRESS_LEN: usize = 18;
const MAC_LEN: usize = 16;
const BODY_LEN: usize = 2 + ID_LEN + CHALLENGE_LEN + ADDRESS_LEN;

/// The size of each probe and each answer, in bytes.
pub(super) const PROBE_LEN: usize = BODY_LEN + MAC_LEN;

/// A way to a peer: a socket of this node and an address of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The local address of the socket.
    pub local: SocketAddr,
    /// The address of the peer.
    pub remote: SocketAddr,
}

/// What names a connection in a probe.
pub(super) type ProbeId = [u8; ID_LEN];

/// The probe secrets of one connection.
#[derive(Clone)]
pub(super) struct ProbeKeys {
    /// What the peer's probes name this end by.
    pub(super) own_id: ProbeId,
    peer_id: ProbeId,
    key: [u8; 32],
    side: Side,
}

/// The content of a probe datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Asks whether the path works; with `prefer`, to move to it.
    Ask { challenge: [u8; CHALLENGE_LEN], prefer: bool },
    /// Says that it does.
    Answer { challenge: [u8; CHALLENGE_LEN], observed: SocketAddr },
}

/// Tells whether a datagram is a probe rather than a QUIC packet.
pub(super) fn is_probe(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xc0 == 0)
}

/// Returns the connection that a probe names, if it has the form of a probe.
pub(super) fn receiver(datagram: &[u8]) -> Option<ProbeId> {
    if datagram.len() != PROBE_LEN || datagram.first() != Some(&FIRST_BYTE) {
        return None;
    }
    datagram.get(2..2 + ID_LEN)?.try_into().ok()
}

impl ProbeKeys {
    pub(super) fn new(exported: &[u8; EXPORT_LEN], side: Side) -> Self {
        let (ids, key) = exported.split_at(2 * ID_LEN);
        let (client, server) = ids.split_at(ID_LEN);
        let (own, peer) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let fixed = |bytes: &[u8]| bytes.try_into().expect("the parts have their fixed lengths");
        Self {
            own_id: fixed(own),
            peer_id: fixed(peer),
            key: key.try_into().expect("the parts have their fixed lengths"),
            side,
        }
    }

    pub(super) fn seal(&self, probe: &Probe) -> [u8; PROBE_LEN] {
        let mut datagram = [0; PROBE_LEN];
        let (kind, challenge, observed) = match probe {
            Probe::Ask { challenge, prefer: false } => (1, challenge, None),
            Probe::Ask { challenge, prefer: true } => (2, challenge, None),
            Probe::Answer { challenge, observed } => (3, challenge, Some(observed)),
        };
        datagram[0] = FIRST_BYTE;
        datagram[1] = kind;
        datagram[2..10].copy_from_slice(&self.peer_id);
        datagram[10..18].copy_from_slice(challenge);
        if let Some(address) = observed {
            datagram[18..BODY_LEN].copy_from_slice(&encode_address(address));
        }
        let mac = self.mac(&datagram[..BODY_LEN], self.side);
        datagram[BODY_LEN..].copy_from_slice(&mac);
        datagram
    }

    /// Opens a probe of the peer; nothing if it is forged or malformed.
    pub(super) fn open(&self, datagram: &[u8]) -> Option<Probe> {
        let datagram: &[u8; PROBE_LEN] = datagram.try_into().ok()?;
        let (body, mac) = datagram.split_at(BODY_LEN);
        let sender = match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        if !equal(&self.mac(body, sender), mac) {
            return None;
        }
        let challenge = body[10..18].try_into().ok()?;
        let address = &body[18..];
        let is_empty = address.iter().all(|&byte| byte == 0);
        match body[1] {
            1 if is_empty => Some(Probe::Ask { challenge, prefer: false }),
            2 if is_empty => Some(Probe::Ask { challenge, prefer: true }),
            3 => Some(Probe::Answer { challenge, observed: decode_address(address)? }),
            _ => None,
        }
    }

    /// Puts the right MAC on a datagram, whatever is in it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn with_mac(&self, datagram: &[u8; PROBE_LEN]) -> [u8; PROBE_LEN] {
        let mut datagram = *datagram;
        let mac = self.mac(&datagram[..BODY_LEN], self.side);
        datagram[BODY_LEN..].copy_from_slice(&mac);
        datagram
    }

    fn mac(&self, body: &[u8], sender: Side) -> [u8; MAC_LEN] {
        let mut input = [0; BODY_LEN + 1];
        input[..BODY_LEN].copy_from_slice(body);
        input[BODY_LEN] = match sender {
            Side::Client => 0,
            Side::Server => 1,
        };
        let full = blake3_keyed(&self.key, &input);
        full[..MAC_LEN].try_into().expect("a hash is longer than a MAC")
    }
}

fn encode_address(address: &SocketAddr) -> [u8; ADDRESS_LEN] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; ADDRESS_LEN];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

fn decode_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(IpAddr::from(*ip).to_canonical(), port))
}

/// A check of one path.
#[derive(Debug)]
struct Check {
    path: Path,
    challenge: [u8; CHALLENGE_LEN],
    sent: u32,
    next_at: Instant,
    /// How many more bytes may go there before it answers; `None` if there is no limit.
    budget: Option<usize>,
    answered_at: Option<Instant>,
}

impl Check {
    fn new(path: Path, budget: Option<usize>, now: Instant, rng: &mut Rng) -> Self {
        Self { path, challenge: rng.bytes(), sent: 0, next_at: now, budget, answered_at: None }
    }

    /// Returns the next probe if it is due and affordable.
    fn poll(&mut self, now: Instant, prefer: bool) -> Option<Probe> {
        if self.answered_at.is_some() || self.next_at > now || self.sent >= PROBES_MAX {
            return None;
        }
        if let Some(budget) = &mut self.budget {
            *budget = budget.checked_sub(PROBE_LEN)?;
        }
        self.next_at = now + PROBE_INTERVAL * 2_u32.pow(self.sent);
        self.sent += 1;
        Some(Probe::Ask { challenge: self.challenge, prefer })
    }

    fn take_answer(&mut self, path: Path, challenge: [u8; CHALLENGE_LEN], now: Instant) -> bool {
        let matches = self.path == path && self.challenge == challenge && self.sent > 0;
        if matches {
            self.answered_at.get_or_insert(now);
        }
        matches
    }
}

/// A move under consideration: the new path, and the current one if it may still work.
#[derive(Debug)]
struct Move {
    new: Check,
    current: Option<Check>,
    prefer: bool,
    ends_at: Instant,
}

/// The path of one connection.
#[derive(Debug)]
pub(super) struct PathState {
    current: Path,
    considered: Option<Move>,
}

/// What a [`PathState`] wants after an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathOutput {
    /// Send this probe over this path.
    Probe(Path, Probe),
    /// The connection has moved to this path.
    Moved(Path),
}

impl PathState {
    pub(super) fn new(current: Path) -> Self {
        Self { current, considered: None }
    }

    pub(super) fn current(&self) -> Path {
        self.current
    }

    /// A datagram of this connection came over another path, so that `earned` bytes may go there.
    pub(super) fn handle_foreign(
        &mut self,
        now: Instant,
        path: Path,
        earned: usize,
        rng: &mut Rng,
    ) {
        if path == self.current {
            return;
        }
        if let Some(considered) = &mut self.considered {
            if considered.new.path == path
                && let Some(budget) = &mut considered.new.budget
            {
                *budget = budget.saturating_add(earned);
            }
            return;
        }
        let budget = Some(earned);
        let current = Some(Check::new(self.current, None, now, rng));
        self.consider(now, Check::new(path, budget, now, rng), current, false);
    }

    /// This node wants to move, because the socket of the current path is gone.
    pub(super) fn move_to(&mut self, now: Instant, path: Path, rng: &mut Rng) {
        // The peer's address is the proven one; only this node's socket is new.
        self.consider(now, Check::new(path, None, now, rng), None, true);
    }

    /// The peer sent a probe over a path, which is answered, and asks to move there if `prefer`.
    pub(super) fn handle_ask(&mut self, now: Instant, path: Path, prefer: bool, rng: &mut Rng) {
        if path == self.current || !prefer {
            return self.handle_foreign(now, path, PROBE_BUDGET, rng);
        }
        let underway = self.considered.as_ref().is_some_and(|m| m.prefer && m.new.path == path);
        if !underway {
            let budget = Some(PROBE_BUDGET);
            self.consider(now, Check::new(path, budget, now, rng), None, true);
        } else if let Some(Move { new: Check { budget: Some(budget), .. }, .. }) =
            &mut self.considered
        {
            *budget = budget.saturating_add(PROBE_BUDGET);
        }
    }

    /// The peer answered a probe over a path.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        path: Path,
        challenge: [u8; CHALLENGE_LEN],
        round_trip: Duration,
    ) {
        let Some(considered) = &mut self.considered else { return };
        if considered.new.take_answer(path, challenge, now) {
            considered.ends_at = now + (round_trip * 2).clamp(GRACE_MIN, GRACE_MAX);
        } else if let Some(current) = &mut considered.current
            && current.take_answer(path, challenge, now)
        {
            // The current path works: stay.
            self.considered = None;
        }
    }

    /// Returns what is due. Call until there is nothing.
    pub(super) fn poll(&mut self, now: Instant) -> Option<PathOutput> {
        let considered = self.considered.as_mut()?;
        let checks = [Some(&mut considered.new), considered.current.as_mut()];
        let prefer = considered.prefer;
        for check in checks.into_iter().flatten() {
            if let Some(probe) = check.poll(now, prefer) {
                return Some(PathOutput::Probe(check.path, probe));
            }
        }
        let answered = considered.new.answered_at.is_some();
        if answered && (considered.current.is_none() || considered.ends_at <= now) {
            self.current = considered.new.path;
            self.considered = None;
            return Some(PathOutput::Moved(self.current));
        }
        if considered.ends_at <= now {
            self.considered = None;
        }
        None
    }

    /// Returns when [`PathState::poll`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let considered = self.considered.as_ref()?;
        let next = [Some(&considered.new), considered.current.as_ref()]
            .into_iter()
            .flatten()
            .filter(|check| {
                let affordable = check.budget.is_none_or(|budget| budget >= PROBE_LEN);
                check.answered_at.is_none() && check.sent < PROBES_MAX && affordable
            })
            .map(|check| check.next_at)
            .min();
        Some(next.map_or(considered.ends_at, |next| next.min(considered.ends_at)))
    }

    fn consider(&mut self, now: Instant, new: Check, current: Option<Check>, prefer: bool) {
        self.considered = Some(Move { new, current, prefer, ends_at: now + CHECK_TIME });
    }
}

#[cfg(test)]
mod tests;
