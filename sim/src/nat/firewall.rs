//! A stateful firewall in front of one host: what was asked for comes in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Dependence, Passes};
use crate::units::seconds;

/// How a firewall behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FirewallProfile {
    /// From where it lets in, once the host sent there.
    pub filtering: Dependence,
    /// For how long.
    #[serde(rename = "timeout_s", with = "seconds")]
    pub timeout: Duration,
    /// Whether what comes in keeps it open, too.
    pub inbound_refreshes: bool,
}

impl Default for FirewallProfile {
    fn default() -> Self {
        Self {
            filtering: Dependence::AddressAndPort,
            timeout: Duration::from_secs(60),
            inbound_refreshes: true,
        }
    }
}

/// A firewall. It changes no address, so it is the same in front of a host or of a site, except that
/// the hosts of a site pass it on the way to one another.
#[derive(Clone, Debug)]
pub struct Firewall {
    profile: FirewallProfile,
    passes: BTreeMap<SocketAddr, Passes>,
}

impl Firewall {
    /// Makes a firewall that lets nothing in yet.
    pub fn new(profile: FirewallProfile) -> Self {
        Self { profile, passes: BTreeMap::new() }
    }

    /// Sees a datagram go out.
    pub fn outbound(&mut self, now: Duration, inner: SocketAddr, remote: SocketAddr) {
        let FirewallProfile { filtering, timeout, .. } = self.profile;
        self.passes.entry(inner).or_default().open(now, filtering.of(remote), timeout);
    }

    /// Tells whether a datagram may come in.
    pub fn lets_in(&mut self, now: Duration, inner: SocketAddr, remote: SocketAddr) -> bool {
        let FirewallProfile { filtering, timeout, inbound_refreshes } = self.profile;
        self.passes.get_mut(&inner).is_some_and(|passes| {
            passes.lets_in(now, filtering.of(remote), timeout, inbound_refreshes)
        })
    }
}
