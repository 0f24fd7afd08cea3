//! What a step does, in words.

use std::fmt::Write as _;
use std::time::Duration;

use x0x_core::node::Request;

use crate::{ClockProfile, DiskProfile, LinkProfile, NatId, NodeId, Step};
use x0x_core::node::control;

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A node stops or starts.
    Life,
    /// A host is elsewhere, or reaches others in another way.
    Place,
    /// What passes between nodes.
    Network,
    /// A disk.
    Disk,
    /// A clock.
    Clock,
}

impl Sort {
    /// Returns how it is drawn.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Life => "bad",
            Self::Place => "c0",
            Self::Network => "c1",
            Self::Disk => "c3",
            Self::Clock => "c5",
        }
    }
}

/// Returns what a step is about, whose it is, and what it does; nothing if nobody has to know.
pub(super) fn of(step: &Step, now: Duration) -> Option<(Sort, Option<NodeId>, String)> {
    let of_node = |sort, node: &NodeId, what: String| Some((sort, Some(*node), what));
    let of_all = |what: String| Some((Sort::Network, None, what));
    match step {
        Step::Crash { node } => of_node(Sort::Life, node, "crashes".into()),
        Step::Restart { node } => of_node(Sort::Life, node, "starts again".into()),
        Step::Upgrade { node, versions } => {
            let (oldest, newest) = (versions.start(), versions.end());
            of_node(Sort::Life, node, format!("starts with protocol {oldest} to {newest}"))
        }
        Step::Command { node, request: Request::Control(control::Request::ShutDown(_)) } => {
            of_node(Sort::Life, node, "is told to shut down".into())
        }
        Step::Sleep { node, stops_clock } => {
            let clock = if *stops_clock { ", and so does its clock" } else { "" };
            of_node(Sort::Life, node, format!("sleeps{clock}"))
        }
        Step::Wake { node } => of_node(Sort::Life, node, "wakes".into()),
        // How the links are when a world begins is no change.
        Step::SetLink { .. } if now.is_zero() => None,
        Step::SetLink { ends: Some((a, b)), profile } => {
            of_node(Sort::Network, a, format!("the link to {b}: {}", link(profile)))
        }
        Step::SetLink { ends: None, profile } | Step::SetEveryLink { profile } => {
            of_all(format!("every link: {}", link(profile)))
        }
        Step::SetDirection { .. } if now.is_zero() => None,
        Step::SetDirection { from, to, profile } => {
            of_node(Sort::Network, from, format!("the way to {to}: {}", link(profile)))
        }
        Step::SetPassage { .. } if now.is_zero() => None,
        Step::SetPassage { from, to, is_open } => {
            let what = if *is_open { "is open" } else { "is blocked" };
            of_node(Sort::Network, from, format!("the way to {to} {what}"))
        }
        Step::Partition { name, groups } => {
            of_all(format!("partition {}: {}", name.0, sides(groups)))
        }
        Step::Heal { name } => of_all(format!("partition {} ends", name.0)),
        Step::ResetNat { nat } => of_all(format!("NAT {} loses its mappings", nat.0)),
        Step::MoveSocket { node, address, announce } => {
            of_node(Sort::Place, node, format!("has the address {address}{}", told(*announce)))
        }
        Step::Roam { node, nat, announce, .. } => {
            of_node(Sort::Place, node, format!("moves {}{}", place(*nat), told(*announce)))
        }
        Step::SetInterface { node, socket, is_up } => {
            let what = if *is_up { "up" } else { "down" };
            of_node(Sort::Place, node, format!("interface {socket} goes {what}"))
        }
        Step::SetDisk { node, profile } => of_node(Sort::Disk, node, disk(profile)),
        Step::SetClock { node, profile } => of_node(Sort::Clock, node, clock(*profile)),
        Step::Calm => of_all("no more faults from here on".into()),
        Step::Inject { source, target, payload, .. } => {
            of_all(format!("{} bytes for {target} that claim to be of {source}", payload.len()))
        }
        Step::Command { .. } | Step::Expect(_) => None,
    }
}

/// Returns where a host is.
pub(super) fn place(nat: Option<NatId>) -> String {
    nat.map_or_else(|| "in the public network".to_owned(), |nat| format!("behind NAT {}", nat.0))
}

fn told(announce: bool) -> &'static str {
    if announce { "" } else { ", and is not told" }
}

/// The smaller of two sides is enough to know.
fn sides(groups: &[Vec<NodeId>]) -> String {
    let side = |group: &Vec<NodeId>| {
        let names: Vec<String> = group.iter().take(20).map(NodeId::to_string).collect();
        let more = if group.len() > names.len() { " …" } else { "" };
        format!("{}{more}", names.join(" "))
    };
    let sides: Vec<String> = groups.iter().map(side).collect();
    format!("{} | the others", sides.join(" | "))
}

fn link(profile: &LinkProfile) -> String {
    let mut words = format!("{} ms", profile.latency.as_millis());
    let shares = [
        ("loss", profile.loss),
        ("reordered", profile.reorder),
        ("twice", profile.duplicate),
        ("corrupted", profile.corrupt),
    ];
    // Writing to a string cannot fail.
    for (what, share) in shares.into_iter().filter(|(_, share)| *share > 0.0) {
        let _ = write!(words, ", {what} {:.1} %", share * 100.0);
    }
    if let Some(bandwidth) = profile.bandwidth {
        let _ = write!(words, ", {} kbit/s", bandwidth / 1000);
    }
    if profile.burst.is_some() {
        words += ", losses in bursts";
    }
    let _ = write!(words, ", {} bytes at most", profile.mtu);
    words
}

fn disk(profile: &DiskProfile) -> String {
    match profile.writes_left {
        Some(left) => format!("its disk is full after {left} more writes"),
        None => format!("its disk takes {} ms", profile.write_latency.as_millis()),
    }
}

fn clock(profile: ClockProfile) -> String {
    let ClockProfile { ahead_ms, drift_ppm } = profile;
    format!("its clock is {ahead_ms} ms ahead and drifts by {drift_ppm} ppm")
}
