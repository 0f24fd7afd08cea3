//! What can be dialled.

use std::net::SocketAddr;

use crate::identity::{AgentId, MachineId};

/// The peer to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialTarget {
    /// Any machine that answers at an address.
    Address(SocketAddr),
    /// A machine, at an address that becomes known with it.
    MachineAt(MachineId, SocketAddr),
    /// A machine, at its known addresses.
    Machine(MachineId),
    /// The machine on which an agent was proven last.
    Agent(AgentId),
}

/// What a dial request dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::link) enum Destination {
    Address(SocketAddr),
    Machine(MachineId),
}

impl Destination {
    pub(in crate::link) fn machine(self) -> Option<MachineId> {
        match self {
            Self::Machine(machine) => Some(machine),
            Self::Address(_) => None,
        }
    }
}
