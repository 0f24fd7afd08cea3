//! The bytes of a link: control frames, classes and close codes.

use std::ops::RangeInclusive;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::address_book::AGENTS_PER_MACHINE_MAX;
use crate::identity::BINDING_SIZE_MAX;
use crate::wire::{BoundedBytes, BoundedVec, Versioned};

/// The bindings of the agents on a machine, in the order of their indexes.
pub(super) type Bindings = BoundedVec<BoundedBytes<BINDING_SIZE_MAX>, AGENTS_PER_MACHINE_MAX>;

/// A control frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Control {
    /// The first frame of each side. The client sends it when it knows the server's key. The server
    /// answers with its own when it has accepted the client.
    Hello(Hello),
    /// Newer bindings, in place of the earlier ones.
    Rebind(Bindings),
    /// Asks for a pong with the same token.
    Ping(u64),
    /// Answers a ping.
    Pong(u64),
}

/// What a side says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The oldest version of the protocol that the side speaks.
    pub(super) version_min: u16,
    /// The newest.
    pub(super) version_max: u16,
    /// A random number of this run of the node. Another one means that the node lost its state.
    pub(super) incarnation: u64,
    /// The agents that live on the machine.
    pub(super) bindings: Bindings,
}

impl Hello {
    /// Returns the newest version that both this side and one with the versions `own` speak.
    pub(super) fn common_version(&self, own: &RangeInclusive<u16>) -> Option<u16> {
        let oldest = self.version_min.max(*own.start());
        let newest = self.version_max.min(*own.end());
        (oldest <= newest).then_some(newest)
    }
}

impl Versioned for Control {
    const VERSION: u8 = 1;
    const SIZE_MAX: usize = 64 + AGENTS_PER_MACHINE_MAX * (BINDING_SIZE_MAX + 4);
}

/// A class of frames: their priority. Each has a stream of its own in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// The link's own frames and membership.
    Control,
    /// Direct messages.
    Direct,
    /// Gossip.
    Gossip,
    /// Large transfers that may wait.
    Bulk,
}

impl Class {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Direct, Self::Gossip, Self::Bulk];

    /// Returns the first byte of each stream of the class.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Direct => 1,
            Self::Gossip => 2,
            Self::Bulk => 3,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.code() == code)
    }

    /// Returns the priority of the class's stream. The greater goes first.
    pub(super) fn priority(self) -> i32 {
        -i32::from(self.code())
    }

    /// Returns the size of the largest frame of the class, in bytes.
    pub const fn frame_size_max(self) -> usize {
        match self {
            Self::Control => 128 * 1024,
            Self::Gossip => 1024 * 1024 + 8 * 1024,
            Self::Direct => 16 * 1024 * 1024 + 64,
            Self::Bulk => 1024 * 1024,
        }
    }
}

/// Why a node closes a connection; the peer sees the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCode {
    Bye,
    Duplicate,
    BadBinding,
    TooManyLinks,
    Version,
    Protocol,
    OwnAddress,
    Replaced,
    TimedOut,
}

impl CloseCode {
    const ALL: [Self; 9] = [
        Self::Bye,
        Self::Duplicate,
        Self::BadBinding,
        Self::TooManyLinks,
        Self::Version,
        Self::Protocol,
        Self::OwnAddress,
        Self::Replaced,
        Self::TimedOut,
    ];

    pub(super) const fn number(self) -> u32 {
        self as u32 + 1
    }

    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Duplicate => "there is a link already",
            Self::BadBinding => "bad agent binding",
            Self::TooManyLinks => "too many links",
            Self::Version => "no common version",
            Self::Protocol => "protocol violation",
            Self::OwnAddress => "this is my own address",
            Self::Replaced => "replaced by a newer connection",
            Self::TimedOut => "timed out",
        }
    }
}

/// Makes a list of bindings from their bytes.
pub(super) fn bindings(list: impl IntoIterator<Item = Bytes>) -> Bindings {
    let bounded: Vec<_> = list
        .into_iter()
        .map(|bytes| BoundedBytes::new(bytes).expect("an own binding has its bounded size"))
        .collect();
    BoundedVec::new(bounded).expect("an own machine has a bounded number of agents")
}
