//! Address translators by RFC 4787, and stateful firewalls, over virtual time.
//!
//! A [`Nat`] has one IPv4 address outside and a table of *mappings*: inner socket to outer port. It
//! is driven by two calls, one for each direction, and draws no time of its own: what has expired is
//! found out when it is looked at.
//!
//! * **Mapping.** A mapping serves an inner socket for every remote socket
//!   ([`Dependence::None`]), for those of one address, or for one ([`Dependence`]).
//! * **Filtering.** What comes in passes if the inner socket sent, through this mapping, to anybody,
//!   to the address, or to the very socket that it comes from, and not too long ago.
//! * **Ports** are kept if they are free, counted up, or drawn. The table is bounded: when it is
//!   full of living mappings, new ones fail ([`Refusal::Exhausted`]).
//! * **Timeout.** A mapping ends when nothing refreshed it for [`NatProfile::timeout`]. What goes
//!   out refreshes; what comes in only if [`NatProfile::inbound_refreshes`].
//! * **Hairpin.** Whether inner hosts reach each other by outer addresses is the network's to ask,
//!   see [`NatProfile::hairpin`]; they then see each other's outer addresses, as RFC 4787 demands.
//!
//! A [`Firewall`] filters in the same way and translates nothing.
//!
//! Not modelled: port overloading, fragments, ICMP, and NATs with several outer addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use x0x_core::support::Rng;

use crate::random;
use crate::units::seconds;

mod firewall;

pub use firewall::{Firewall, FirewallProfile};

/// The first outer port that a NAT gives away, unless it keeps the inner one.
pub const PORT_FIRST: u16 = 1024;

/// How many outer ports a NAT can give away at most.
pub const PORTS_MAX: u32 = 65_536 - PORT_FIRST as u32;

/// How many ports are drawn before the next free one is taken.
const DRAWS_MAX: u32 = 16;

/// On what of the remote socket a decision depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    /// On nothing: "endpoint-independent".
    None,
    /// On its address: "address-dependent".
    Address,
    /// On its address and port: "address and port-dependent".
    AddressAndPort,
}

/// Which outer port a new mapping gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ports {
    /// The inner one, or the next free one.
    Preserved,
    /// The one after the last.
    Sequential,
    /// Any.
    Random,
}

/// How a NAT behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatProfile {
    /// Which remote sockets share a mapping.
    pub mapping: Dependence,
    /// From where a mapping lets in.
    pub filtering: Dependence,
    /// Which ports mappings get.
    pub ports: Ports,
    /// How many mappings there are at most, at most [`PORTS_MAX`].
    pub mappings_max: u32,
    /// Whether inner hosts reach one another by outer addresses.
    pub hairpin: bool,
    /// How long a mapping lives that nothing refreshes.
    #[serde(rename = "timeout_s", with = "seconds")]
    pub timeout: Duration,
    /// Whether what comes in refreshes a mapping, too.
    pub inbound_refreshes: bool,
}

impl Default for NatProfile {
    /// What most homes have: one mapping for each inner socket, strict filtering, two minutes.
    fn default() -> Self {
        Self {
            mapping: Dependence::None,
            filtering: Dependence::AddressAndPort,
            ports: Ports::Preserved,
            mappings_max: PORTS_MAX,
            hairpin: false,
            timeout: Duration::from_secs(120),
            inbound_refreshes: true,
        }
    }
}

/// Why a datagram does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room for another mapping.
    Exhausted,
    /// No mapping has this port.
    Unmapped,
    /// The mapping does not let in from there.
    Filtered,
}

/// What of a remote socket counts: the rest is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Remote(Option<(IpAddr, u16)>);

impl Dependence {
    fn of(self, remote: SocketAddr) -> Remote {
        Remote(match self {
            Self::None => None,
            Self::Address => Some((remote.ip(), 0)),
            Self::AddressAndPort => Some((remote.ip(), remote.port())),
        })
    }
}

#[derive(Clone, Debug)]
struct Mapping {
    inner: SocketAddr,
    remote: Remote,
    used_at: Duration,
    passes: Passes,
}

/// From where may be let in, with the time of the last use.
#[derive(Clone, Debug, Default)]
struct Passes(BTreeMap<Remote, Duration>);

impl Passes {
    /// Lets in from there until the timeout is over, and forgets whom it is over for.
    fn open(&mut self, now: Duration, remote: Remote, timeout: Duration) {
        if !self.0.contains_key(&remote) {
            self.0.retain(|_, at| *at + timeout > now);
        }
        self.0.insert(remote, now);
    }

    fn lets_in(&mut self, now: Duration, remote: Remote, timeout: Duration, refresh: bool) -> bool {
        let Some(at) = self.0.get_mut(&remote).filter(|at| **at + timeout > now) else {
            return false;
        };
        if refresh {
            *at = now;
        }
        true
    }
}

/// A NAT. It translates what goes out from and comes in to its one outer address.
#[derive(Clone, Debug)]
pub struct Nat {
    profile: NatProfile,
    rng: Rng,
    by_port: BTreeMap<u16, Mapping>,
    by_inner: BTreeMap<(SocketAddr, Remote), u16>,
    last_port: u16,
}

impl Nat {
    /// Makes a NAT without mappings.
    pub fn new(profile: NatProfile, rng: Rng) -> Self {
        Self {
            profile,
            rng,
            by_port: BTreeMap::new(),
            by_inner: BTreeMap::new(),
            last_port: PORT_FIRST - 1,
        }
    }

    /// Returns how it behaves.
    pub fn profile(&self) -> &NatProfile {
        &self.profile
    }

    /// Lets a datagram out and returns the port from which it seems to come.
    ///
    /// # Errors
    ///
    /// [`Refusal::Exhausted`].
    pub fn outbound(
        &mut self,
        now: Duration,
        inner: SocketAddr,
        remote: SocketAddr,
    ) -> Result<u16, Refusal> {
        let key = (inner, self.profile.mapping.of(remote));
        let known = self.by_inner.get(&key).copied();
        let port = match known.filter(|&port| self.is_alive(now, port)) {
            Some(port) => port,
            None => self.map(now, key)?,
        };
        let NatProfile { filtering, timeout, .. } = self.profile;
        if let Some(mapping) = self.by_port.get_mut(&port) {
            mapping.used_at = now;
            mapping.passes.open(now, filtering.of(remote), timeout);
        }
        Ok(port)
    }

    /// Lets a datagram in and returns for whom it is.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unmapped`] or [`Refusal::Filtered`].
    pub fn inbound(
        &mut self,
        now: Duration,
        remote: SocketAddr,
        port: u16,
    ) -> Result<SocketAddr, Refusal> {
        if !self.is_alive(now, port) {
            return Err(Refusal::Unmapped);
        }
        let NatProfile { filtering, timeout, inbound_refreshes, .. } = self.profile;
        let mapping = self.by_port.get_mut(&port).ok_or(Refusal::Unmapped)?;
        if !mapping.passes.lets_in(now, filtering.of(remote), timeout, inbound_refreshes) {
            return Err(Refusal::Filtered);
        }
        if inbound_refreshes {
            mapping.used_at = now;
        }
        Ok(mapping.inner)
    }

    /// Returns for whom a port stands at the moment, whoever asks.
    pub fn peek(&self, now: Duration, port: u16) -> Option<SocketAddr> {
        self.is_alive(now, port).then(|| self.by_port.get(&port).map(|mapping| mapping.inner))?
    }

    /// Loses every mapping, as one that was switched off and on.
    pub fn reset(&mut self) {
        self.by_port.clear();
        self.by_inner.clear();
    }

    /// Returns how many mappings live.
    pub fn mappings(&self, now: Duration) -> usize {
        self.by_port.keys().filter(|&&port| self.is_alive(now, port)).count()
    }

    fn is_alive(&self, now: Duration, port: u16) -> bool {
        let mapping = self.by_port.get(&port);
        mapping.is_some_and(|mapping| mapping.used_at + self.profile.timeout > now)
    }

    /// Makes a mapping.
    fn map(&mut self, now: Duration, key: (SocketAddr, Remote)) -> Result<u16, Refusal> {
        let most = self.profile.mappings_max.min(PORTS_MAX) as usize;
        if self.by_port.len() >= most {
            self.purge(now);
        }
        if self.by_port.len() >= most {
            return Err(Refusal::Exhausted);
        }
        let port = self.free_port(now, key.0.port());
        self.forget(port);
        if let Some(old) = self.by_inner.insert(key, port) {
            self.by_port.remove(&old);
        }
        let (inner, remote) = key;
        let mapping = Mapping { inner, remote, used_at: now, passes: Passes::default() };
        self.by_port.insert(port, mapping);
        self.last_port = port;
        Ok(port)
    }

    /// Picks a port without a living mapping; there is one.
    fn free_port(&mut self, now: Duration, inner: u16) -> u16 {
        let first = match self.profile.ports {
            Ports::Preserved => inner.max(PORT_FIRST),
            Ports::Sequential => next_port(self.last_port),
            Ports::Random => {
                let mut port = self.draw();
                for _ in 1..DRAWS_MAX {
                    if !self.is_alive(now, port) {
                        break;
                    }
                    port = self.draw();
                }
                port
            }
        };
        let mut port = first;
        while self.is_alive(now, port) {
            port = next_port(port);
        }
        port
    }

    fn draw(&mut self) -> u16 {
        let offset = random::index(&mut self.rng, PORTS_MAX as usize);
        PORT_FIRST + u16::try_from(offset).unwrap_or(0)
    }

    fn purge(&mut self, now: Duration) {
        let gone: Vec<u16> =
            self.by_port.keys().copied().filter(|&port| !self.is_alive(now, port)).collect();
        gone.into_iter().for_each(|port| self.forget(port));
    }

    fn forget(&mut self, port: u16) {
        if let Some(mapping) = self.by_port.remove(&port) {
            self.by_inner.remove(&(mapping.inner, mapping.remote));
        }
    }
}

fn next_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(PORT_FIRST).max(PORT_FIRST)
}

#[cfg(test)]
mod tests;
