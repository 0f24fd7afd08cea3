//! Which nodes and NATs the names of a script stand for.

use std::collections::BTreeMap;

use super::file::{PUBLIC, Script};
use super::mistake::Mistake;
use crate::{NatConfig, NatId, NodeId, Place};

/// How many nodes a script has at most.
const NODES_MAX: u32 = 10_000;

/// What the names stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Every name of nodes, those of groups, too.
    nodes: BTreeMap<String, Vec<NodeId>>,
    nats: BTreeMap<String, NatId>,
    /// Each node's own name.
    own: Vec<String>,
    /// Where each node is.
    pub(super) places: Vec<Place>,
    /// The NATs.
    pub(super) configs: Vec<NatConfig>,
}

impl Names {
    /// Learns the names of a script.
    pub(super) fn new(script: &Script) -> Result<Self, Mistake> {
        let mut names = Self::default();
        for (index, nat) in script.nat.iter().enumerate() {
            names.add_nat(nat).map_err(|what| Mistake { list: "nat", index, what })?;
        }
        for (index, node) in script.node.iter().enumerate() {
            names.add_nodes(node).map_err(|what| Mistake { list: "node", index, what })?;
        }
        if names.own.is_empty() {
            let what = "there is no node: add a [[node]] with a name".to_owned();
            return Err(Mistake { list: "", index: 0, what });
        }
        Ok(names)
    }

    /// Returns each node's own name.
    pub(super) fn own(&self) -> &[String] {
        &self.own
    }

    /// Returns how many nodes there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.own.len()).unwrap_or(u32::MAX)
    }

    /// Returns the nodes that a name stands for.
    pub(super) fn nodes(&self, name: &str) -> Result<&[NodeId], String> {
        let nodes = self.nodes.get(name).map(Vec::as_slice);
        nodes.ok_or_else(|| unknown("node", name, self.nodes.keys()))
    }

    /// Returns the nodes that names stand for.
    pub(super) fn all(&self, names: &[String]) -> Result<Vec<NodeId>, String> {
        let mut all = Vec::new();
        for name in names {
            all.extend(self.nodes(name)?);
        }
        Ok(all)
    }

    /// Returns the pairs of nodes that two names stand for, none with itself.
    pub(super) fn pairs(&self, from: &str, to: &str) -> Result<Vec<(NodeId, NodeId)>, String> {
        let to = self.nodes(to)?;
        let pairs = self.nodes(from)?.iter().flat_map(|&a| to.iter().map(move |&b| (a, b)));
        let pairs: Vec<_> = pairs.filter(|(a, b)| a != b).collect();
        if pairs.is_empty() {
            return Err(format!("`{from}` has nothing to do with itself: name two nodes"));
        }
        Ok(pairs)
    }

    /// Returns the NAT of a network.
    pub(super) fn network(&self, name: &str) -> Result<Option<NatId>, String> {
        if name == PUBLIC { Ok(None) } else { self.nat(name).map(Some) }
    }

    /// Returns a NAT.
    pub(super) fn nat(&self, name: &str) -> Result<NatId, String> {
        let nat = self.nats.get(name).copied();
        nat.ok_or_else(|| unknown("NAT", name, self.nats.keys()))
    }

    /// Tells whether the preferred address of a node means something in the preferred network of
    /// another: datagrams find it on their way out.
    pub(super) fn is_outside(&self, from: NodeId, to: NodeId) -> bool {
        let [mut network, target] = [from, to].map(|node| self.places[node.index()].networks[0]);
        while network != target {
            let Some(nat) = network else { return false };
            network = self.configs[nat.0 as usize].behind;
        }
        true
    }

    fn add_nat(&mut self, nat: &super::Nat) -> Result<(), String> {
        let is_free = nat.name != PUBLIC && !self.nats.contains_key(&nat.name);
        check_name(&nat.name, is_free)?;
        let behind = nat.behind.as_deref().map(|name| {
            self.nat(name).map_err(|what| format!("{what} before this one: outer NATs come first"))
        });
        let id = NatId(u32::try_from(self.configs.len()).map_err(|_| "too many NATs")?);
        self.configs.push(NatConfig { profile: nat.profile, behind: behind.transpose()? });
        self.nats.insert(nat.name.clone(), id);
        Ok(())
    }

    fn add_nodes(&mut self, node: &super::Node) -> Result<(), String> {
        let own: Vec<String> = match node.count {
            None => vec![node.name.clone()],
            Some(count @ 1..=NODES_MAX) => {
                (1..=count).map(|number| format!("{}-{number}", node.name)).collect()
            }
            Some(count) => return Err(format!("count = {count} is not 1 to {NODES_MAX}")),
        };
        let networks = node.networks.iter().map(|name| self.network(name));
        let mut networks: Vec<_> = networks.collect::<Result<_, _>>()?;
        if networks.is_empty() {
            networks.push(None);
        }
        let place = Place { networks, firewall: node.firewall, clock: node.clock };
        let mut group = Vec::new();
        for name in own {
            let id = NodeId(self.count());
            check_name(&name, !self.nodes.contains_key(&name))?;
            self.nodes.insert(name.clone(), vec![id]);
            self.own.push(name);
            self.places.push(place.clone());
            group.push(id);
        }
        if node.count.is_some() {
            check_name(&node.name, !self.nodes.contains_key(&node.name))?;
            self.nodes.insert(node.name.clone(), group);
        }
        Ok(())
    }
}

fn check_name(name: &str, is_free: bool) -> Result<(), String> {
    if name.is_empty() {
        Err("the name is empty".to_owned())
    } else if is_free {
        Ok(())
    } else {
        Err(format!("the name `{name}` is taken: choose another"))
    }
}

/// Says that a name stands for nothing, and which names there are.
pub(super) fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a String>,
) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    if known.is_empty() {
        return format!("there is no {kind} `{name}`, and no other");
    }
    format!("there is no {kind} `{name}`; there is {}", known.join(", "))
}
