//! A deterministic discrete-event world of whole x0x nodes.
//!
//! A [`World`] owns nodes, a network between them and a disk for each. Time is virtual: it jumps
//! from one event to the next. Everything random comes from one seed, so a world that is built and
//! driven the same way does the same again, datagram for datagram; [`World::trace_hash`] tells
//! whether it did.
//!
//! * [`world`]: the event loop. A [`Step`] is the only way to act on a world that runs.
//! * [`network`]: links with delay, loss and queues, partitions, and a hook for an attacker.
//! * [`nat`]: address translators and firewalls on the way.
//! * [`disk`]: atomic batches that become durable after a while.
//! * [`trace`]: the running hash over everything that moved.
//! * [`checks`]: what must hold in every world, whatever its faults.
//! * [`recording`]: a world that ran, as a file that plays it again.
//! * [`flight`]: what a recorded node of a daemon did, as a timeline and a page.
//! * [`history`]: what happened in a world, as a page.
//! * [`scenario`]: worlds with a topology, a workload and faults, from a few numbers.
//! * [`script`]: worlds in which everything is written down, as files or in Rust.
//! * [`swarm`]: worlds in which everything is drawn from one seed.
//! * [`machine`]: what a world drives, so that its own tests need no whole node.
//! * [`model`]: the other fidelity, for worlds of up to a hundred thousand nodes: the protocols of
//!   topics over sessions that are modelled.
//!
//! It is not a model of the protocol: the nodes are the real ones, only time, sockets, disks and
//! randomness are replaced.

pub mod checks;
pub mod disk;
pub mod flight;
pub mod history;
pub mod hostile;
pub mod machine;
pub mod model;
pub mod nat;
pub mod network;
pub mod recording;
pub mod scenario;
pub mod script;
pub mod step;
pub mod swarm;
pub mod trace;
pub mod world;

mod queue;
mod random;
mod report;
mod units;

#[cfg(test)]
mod courier;

pub use checks::{Failure, Tally};
pub use disk::{Disk, DiskProfile};
pub use machine::Machine;
pub use nat::{FirewallProfile, NatProfile};
pub use network::{
    Burst, LinkProfile, NatConfig, NatId, Network, NetworkCounters, Packet, PartitionName, Verdict,
};
pub use recording::{RecordedStep, Recording};
pub use scenario::{Report, Scenario, Topology};
pub use script::Script;
pub use step::{NodeId, Step};
pub use world::{ClockProfile, Place, World, WorldConfig};
