//! One node with its disk, its socket and its timer.

use std::net::SocketAddr;
use std::time::Duration;

use x0x_core::node::Config;

use super::clock::{ClockProfile, HostClock};
use super::sleep::Sleep;
use crate::{Disk, DiskProfile, NatId};

/// What the world keeps of a node.
#[derive(Debug)]
pub(super) struct Host<M> {
    /// What the node is started with.
    pub(super) config: Config,
    /// The node, while it runs.
    pub(super) machine: Option<M>,
    /// How often it was started.
    pub(super) run: u32,
    /// Its disk; it outlives the runs.
    pub(super) disk: Disk,
    /// Whether its disk was made to fail.
    pub(super) disk_fails: bool,
    /// Its sockets, the preferred first.
    pub(super) sockets: Vec<Socket>,
    /// Its clocks.
    pub(super) clock: HostClock,
    /// Its sleep, if it sleeps.
    pub(super) sleep: Option<Sleep>,
    /// When it wants to be called, by its own clock.
    pub(super) deadline: Option<Duration>,
    /// Its timer.
    pub(super) timer: Timer,
}

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// Its address as the node knows it.
    pub(super) local: SocketAddr,
    /// Its address in the network that it is in.
    pub(super) public: SocketAddr,
    /// The NAT behind which that network is; `None` is the public one.
    pub(super) nat: Option<NatId>,
    /// Whether its interface is up.
    pub(super) is_up: bool,
}

impl Socket {
    /// Makes a socket in the public network.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { local: address, public: address, nat: None, is_up: true }
    }
}

/// The one entry of a node in the event queue that counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    /// The number of the newest entry; older ones are ignored.
    pub(super) generation: u32,
    /// When the newest entry comes, if it has not come yet.
    pub(super) armed: Option<Duration>,
}

impl<M> Host<M> {
    /// Makes a host whose node does not run yet.
    pub(super) fn new(
        config: Config,
        sockets: Vec<Socket>,
        disk: Disk,
        clock: ClockProfile,
    ) -> Self {
        Self {
            config,
            machine: None,
            run: 0,
            disk_fails: disk.profile().writes_left.is_some(),
            disk,
            sockets,
            clock: HostClock::new(clock),
            sleep: None,
            deadline: None,
            timer: Timer::default(),
        }
    }

    /// Changes how the disk behaves.
    pub(super) fn set_disk(&mut self, profile: DiskProfile) {
        self.disk_fails |= profile.writes_left.is_some();
        self.disk.set_profile(profile);
    }
}

impl Timer {
    /// Returns the generation of a new entry if the deadline needs one: an entry that comes too
    /// early is moved when it comes, one that comes too late is replaced.
    pub(super) fn arm(&mut self, at: Duration) -> Option<u32> {
        if self.armed.is_some_and(|armed| armed <= at) {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        self.armed = Some(at);
        Some(self.generation)
    }

    /// Forgets the entry.
    pub(super) fn disarm(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.armed = None;
    }
}
