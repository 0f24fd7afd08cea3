//! Dials, and what they may cost whoever lives at an address that a peer named.
//!
//! Anybody can name any address for a machine. A node that dials it sends the first packets of a
//! handshake to somebody who did not ask for them. So dials to addresses that nothing but a peer's
//! word stands for are limited:
//!
//! - [`HEARSAY_DIALS_BURST`] at once and one each second after that, for the whole node;
//! - one at a time for each address, and [`HEARSAY_DIALS_PER_NETWORK`] at a time for each network of
//!   one subscriber (24 bits of IPv4, 48 bits of IPv6);
//! - [`HEARSAY_DATAGRAMS_MAX`] datagrams, which is the first flight and one repetition, until an
//!   answer comes; a dial without an answer ends without a word;
//! - no port below [`HEARSAY_PORT_MIN`], no address that is none of one other host.
//!
//! A dial that may not begin yet waits as long as it is wanted. So a network gets at most
//! [`HEARSAY_DIALS_PER_NETWORK`] × [`HEARSAY_DATAGRAMS_MAX`] datagrams within one dial timeout from
//! a node, however often it is named.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::network::Network;
use super::pursuit::Goal;
use super::{Context, Path, State, Timer};
use crate::link::Counter;
use crate::support::TokenBucket;
use crate::transport::{ConnectionKey, Side};

/// How many dials to addresses that peers named may begin at once.
pub const HEARSAY_DIALS_BURST: u32 = 16;

/// How often another one may begin after that.
const HEARSAY_DIAL_INTERVAL: Duration = Duration::from_secs(1);

/// How many dials without an answer may be under way to one network because peers named it.
pub const HEARSAY_DIALS_PER_NETWORK: usize = 4;

/// How many datagrams go to an address that a peer named before an answer comes.
pub const HEARSAY_DATAGRAMS_MAX: usize = 4;

/// The lowest port that is dialled because a peer named it: below are services that everybody knows.
pub const HEARSAY_PORT_MIN: u16 = 1024;

/// How long a dial waits before it asks again whether it may begin.
const WAIT: Duration = Duration::from_secs(1);

/// The dials to addresses that peers named.
#[derive(Debug)]
pub(super) struct HearsayDials {
    bucket: TokenBucket,
    /// Those without an answer, and how many datagrams each may still send.
    unanswered: BTreeMap<ConnectionKey, (SocketAddr, usize)>,
}

impl HearsayDials {
    pub(super) fn new(now: Instant) -> Self {
        let bucket = TokenBucket::new(HEARSAY_DIALS_BURST, HEARSAY_DIAL_INTERVAL, now);
        Self { bucket, unanswered: BTreeMap::new() }
    }

    /// Takes leave for one more dial.
    fn take(&mut self, address: SocketAddr, now: Instant) -> bool {
        let network = Network::of(address.ip());
        let under_way = || self.unanswered.values().map(|(address, _)| *address);
        let to_network = under_way().filter(|other| Network::of(other.ip()) == network).count();
        !under_way().any(|other| other == address)
            && to_network < HEARSAY_DIALS_PER_NETWORK
            && self.bucket.take(now)
    }

    /// An answer came: the dial is one like others.
    pub(super) fn answered(&mut self, key: ConnectionKey) {
        self.unanswered.remove(&key);
    }

    /// Whether a dial waits for its first answer.
    pub(super) fn is_unanswered(&self, key: ConnectionKey) -> bool {
        self.unanswered.contains_key(&key)
    }

    /// Tells whether a connection may send so many datagrams, and notes that it does.
    pub(super) fn may_send(&mut self, key: ConnectionKey, datagrams: usize) -> bool {
        let Some((_, left)) = self.unanswered.get_mut(&key) else { return true };
        let may = datagrams <= *left;
        *left = left.saturating_sub(datagrams);
        may
    }
}

/// What a pursuit does next.
enum Next {
    Dial(SocketAddr, bool),
    /// Everything that is left must wait.
    Wait,
    Nothing,
}

impl State {
    /// Dials, if the pursuit still has a purpose and something to dial.
    pub(super) fn attempt(&mut self, context: &mut Context<'_>, goal: Goal) {
        let Some(pursuit) = self.pursuits.get_mut(&goal) else { return };
        let reached = pursuit.machine.is_some_and(|machine| self.sessions.contains_key(&machine));
        if pursuit.attempt.is_some() || reached {
            return;
        }
        if !pursuit.is_wanted(context.now) {
            return self.drop_pursuit(context, goal);
        }
        let next = match goal {
            Goal::Address(address) => Next::Dial(address, false),
            Goal::Machine(machine) => self.next_dial(context, goal, &machine),
        };
        let (address, is_hearsay) = match next {
            Next::Dial(address, _) if self.is_dialled(goal, address) => {
                return self.timers.set(Timer::Pursue(goal), context.now + WAIT);
            }
            Next::Dial(address, is_hearsay) => (address, is_hearsay),
            Next::Wait => return self.timers.set(Timer::Pursue(goal), context.now + WAIT),
            Next::Nothing => return self.pause(context, goal),
        };
        let dialled = self.socket_for(address).and_then(|local| {
            let machine = goal.machine();
            let key =
                self.transport.connect(context.now, address, machine.as_ref().map(|m| &m.0))?;
            Some((key, Path { local, remote: address }))
        });
        let Some((key, path)) = dialled else { return self.pause(context, goal) };
        context.count(Counter::Dials);
        if is_hearsay {
            self.hearsay.unanswered.insert(key, (address, HEARSAY_DATAGRAMS_MAX));
        }
        self.connections.insert(key, Connection::new(Side::Client, path, Some(goal)));
        self.by_path.insert(path, key);
        self.timers.set(Timer::Handshake(key), context.now + self.config.dial_timeout);
        if let Some(pursuit) = self.pursuits.get_mut(&goal) {
            pursuit.attempt = Some(key);
        }
    }

    /// Whether a machine's address is dialled already, to find out who answers there.
    fn is_dialled(&self, goal: Goal, address: SocketAddr) -> bool {
        let other = Goal::Address(address);
        goal != other && self.pursuits.get(&other).is_some_and(|other| other.attempt.is_some())
    }

    /// Chooses the address that the application named, or the most promising one that was not tried
    /// since all were.
    fn next_dial(
        &mut self,
        context: &mut Context<'_>,
        goal: Goal,
        machine: &crate::identity::MachineId,
    ) -> Next {
        let candidates = self.book.candidates(machine);
        let Some(pursuit) = self.pursuits.get_mut(&goal) else { return Next::Nothing };
        if let Some(address) = pursuit.named.take() {
            pursuit.tried.push(address);
            return Next::Dial(address, false);
        }
        let hearsay = &mut self.hearsay;
        let mut untried = |tried: &[SocketAddr]| {
            candidates.iter().find(|candidate| {
                !tried.contains(&candidate.address)
                    && (!candidate.is_hearsay || hearsay.take(candidate.address, context.now))
            })
        };
        let found = untried(&pursuit.tried).or_else(|| {
            pursuit.tried.clear();
            untried(&[])
        });
        match found {
            Some(candidate) => {
                pursuit.tried.push(candidate.address);
                Next::Dial(candidate.address, candidate.is_hearsay)
            }
            None if candidates.is_empty() => Next::Nothing,
            None => {
                context.count(Counter::DialsDelayed);
                Next::Wait
            }
        }
    }

    /// Tells whether an address that a peer named can be one of another host.
    pub(super) fn may_be_named(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let is_host = match ip {
            // Networks 0 and 240 to 255 have no hosts (RFC 1122, RFC 1112).
            IpAddr::V4(ip) => !matches!(ip.octets()[0], 0 | 240..=255),
            IpAddr::V6(ip) => !ip.is_unspecified(),
        };
        let is_own = self.sockets.iter().any(|own| {
            own.port() == address.port() && (ip.is_loopback() || own.ip().to_canonical() == ip)
        });
        address.port() >= HEARSAY_PORT_MIN && is_host && !ip.is_multicast() && !is_own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::testing::start;

    #[test]
    fn dials_that_peers_cause_are_limited_by_time_address_and_network() {
        let now = start();
        let mut dials = HearsayDials::new(now);
        let address = |network: u8, host: u8| SocketAddr::from(([203, 0, network, host], 4000));
        let begin = |dials: &mut HearsayDials, address, now| {
            let may = dials.take(address, now);
            if may {
                let key = ConnectionKey::for_test(dials.unanswered.len());
                dials.unanswered.insert(key, (address, HEARSAY_DATAGRAMS_MAX));
            }
            may
        };
        assert!(begin(&mut dials, address(1, 1), now));
        assert!(!begin(&mut dials, address(1, 1), now), "one at a time for each address");
        for host in 2..=4 {
            assert!(begin(&mut dials, address(1, host), now));
        }
        assert!(!begin(&mut dials, address(1, 5), now), "four at a time for each network");
        for network in 2..=13 {
            assert!(begin(&mut dials, address(network, 1), now));
        }
        assert!(!begin(&mut dials, address(14, 1), now), "the burst is used up");
        let later = now + HEARSAY_DIAL_INTERVAL;
        assert!(begin(&mut dials, address(14, 1), later));
        assert!(!begin(&mut dials, address(15, 1), later));
        dials.answered(ConnectionKey::for_test(0));
        assert!(begin(&mut dials, address(1, 1), later + HEARSAY_DIAL_INTERVAL));
    }
}
