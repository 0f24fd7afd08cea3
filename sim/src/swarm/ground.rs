//! Who is where, and who can reach whom.

use std::collections::BTreeSet;
use std::time::Duration;

use x0x_core::support::Rng;

use super::draw::pick;
use super::{LINKS_EACH_MAX, Options};
use crate::nat::{Dependence, PORTS_MAX, Ports};
use crate::random::{self, chance};
use crate::scenario::neighbours;
use crate::{
    ClockProfile, FirewallProfile, NatConfig, NatId, NatProfile, NodeId, Place, WorldConfig,
};

/// The ground of a world: NATs, places, and the links that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// The NATs, carriers first.
    pub nats: Vec<NatConfig>,
    /// Where each node is when the world begins.
    pub places: Vec<Place>,
    /// Between the two groups of each, nothing passes in either direction, ever.
    pub walls: Vec<[BTreeSet<NodeId>; 2]>,
    /// The links to keep; the first node dials.
    pub edges: Vec<(NodeId, NodeId)>,
}

/// Each so-many-th node is in the public network, without a firewall and behind no wall.
const OPEN_EVERY: u32 = 7;

const DEPENDENCES: [Dependence; 3] =
    [Dependence::None, Dependence::Address, Dependence::AddressAndPort];

impl Ground {
    /// Draws the ground of a world.
    pub fn draw(options: &Options) -> Self {
        let rng = random::from_number(options.seed).fork("swarm ground");
        let mut ground = Self::default();
        ground.draw_nats(options, &mut rng.fork("nats"));
        ground.draw_places(options, &mut rng.fork("places"));
        ground.draw_walls(options, &mut rng.fork("walls"));
        ground.draw_edges(options, &mut rng.fork("edges"));
        ground.limit_tables(options, &mut rng.fork("tables"));
        ground
    }

    /// Returns what the world is made from.
    pub fn world_config(&self, options: &Options) -> WorldConfig {
        WorldConfig {
            dual_stack: options.dual_stack,
            nats: self.nats.clone(),
            places: self.places.clone(),
            link: options.link,
            disk: options.disk,
            marked: true,
            record_events: false,
            ..WorldConfig::new(options.seed, options.nodes + options.hostile)
        }
    }

    /// Tells whether nothing passes between two nodes, ever.
    pub fn are_walled_off(&self, a: NodeId, b: NodeId) -> bool {
        let are_apart = |[one, other]: &[BTreeSet<NodeId>; 2]| {
            (one.contains(&a) && other.contains(&b)) || (one.contains(&b) && other.contains(&a))
        };
        self.walls.iter().any(are_apart)
    }

    /// Tells whether a node reaches another's preferred socket, whatever happened before: no wall is
    /// between them, and the other has no firewall and is in the public network or in the same one.
    pub fn can_dial(&self, from: NodeId, to: NodeId) -> bool {
        if self.are_walled_off(from, to) {
            return false;
        }
        let [from, to] = [from, to].map(|node| &self.places[node.index()]);
        let network = to.networks[0];
        to.firewall.is_none() && (network.is_none() || from.networks[0] == network)
    }

    /// Tells whether some NAT stands in front of both nodes.
    pub fn have_common_nat(&self, a: NodeId, b: NodeId) -> bool {
        let numbers = 0..u32::try_from(self.nats.len()).unwrap_or(0);
        let is_behind = |node: NodeId, nat| {
            let networks = &self.places[node.index()].networks;
            networks.iter().any(|&network| self.is_within(network, nat))
        };
        numbers.map(NatId).any(|nat| is_behind(a, nat) && is_behind(b, nat))
    }

    /// Tells whether others depend on where a node is: it is dialled, or it dials within its network.
    pub fn must_stay(&self, node: NodeId) -> bool {
        let is_private = |node: NodeId| self.places[node.index()].networks[0].is_some();
        self.edges.iter().any(|&(from, to)| to == node || (from == node && is_private(to)))
    }

    /// Returns the nodes with a link to this one.
    pub fn neighbours(&self, node: NodeId) -> Vec<NodeId> {
        neighbours(&self.edges, node)
    }

    /// Returns the members that a chain of links through members joins to a node, itself included.
    pub fn joined(&self, node: NodeId, members: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let mut joined = BTreeSet::from([node]);
        let mut open = vec![node];
        while let Some(next) = open.pop() {
            for neighbour in self.neighbours(next) {
                if members.contains(&neighbour) && joined.insert(neighbour) {
                    open.push(neighbour);
                }
            }
        }
        joined
    }

    fn draw_nats(&mut self, options: &Options, rng: &mut Rng) {
        for _ in 0..options.carriers {
            let profile = nat(rng);
            self.nats.push(NatConfig { profile, behind: None });
        }
        for _ in 0..options.homes {
            let profile = nat(rng);
            let has_carrier = options.carriers > 0 && chance(rng, 0.5);
            let carrier = has_carrier.then(|| NatId(super::draw::draw(rng, options.carriers)));
            self.nats.push(NatConfig { profile, behind: carrier });
        }
    }

    fn draw_places(&mut self, options: &Options, rng: &mut Rng) {
        for node in 0..options.nodes {
            let network = |rng: &mut Rng| {
                let is_behind = !self.nats.is_empty() && chance(rng, options.behind);
                let number = random::index(rng, self.nats.len().max(1));
                is_behind.then(|| NatId(u32::try_from(number).unwrap_or(0)))
            };
            let mut networks = vec![network(rng)];
            if chance(rng, options.two_interfaces) {
                networks.push(network(rng));
            }
            let firewall = chance(rng, options.firewalled).then(|| FirewallProfile {
                filtering: pick(rng, &DEPENDENCES),
                timeout: pick(rng, &[30, 60, 180].map(Duration::from_secs)),
                inbound_refreshes: chance(rng, 0.5),
            });
            let clock = clock(options, rng);
            // Enough nodes can be dialled by everybody that all others find room.
            self.places.push(if node % OPEN_EVERY == 0 {
                Place { networks: vec![None], firewall: None, clock }
            } else {
                Place { networks, firewall, clock }
            });
        }
        let hostile = (0..options.hostile).map(|_| Place::default());
        self.places.extend(hostile);
    }

    /// Draws between whom there are walls. Those who can be dialled by everybody are behind none.
    fn draw_walls(&mut self, options: &Options, rng: &mut Rng) {
        for _ in 0..options.walls {
            let mut groups = [BTreeSet::new(), BTreeSet::new()];
            for node in (0..options.nodes).filter(|node| node % OPEN_EVERY != 0) {
                if let Some(group) = groups.get_mut(random::index(rng, 4)) {
                    group.insert(NodeId(node));
                }
            }
            self.walls.push(groups);
        }
    }

    fn draw_edges(&mut self, options: &Options, rng: &mut Rng) {
        let nodes: Vec<NodeId> = (0..options.nodes).map(NodeId).collect();
        for (index, &node) in nodes.iter().enumerate().skip(1) {
            let mut choices = nodes[..index].to_vec();
            choices.retain(|&to| self.may_link(node, to));
            let to = pick(rng, &choices);
            self.edges.push((node, to));
        }
        for _ in 0..options.more_links {
            let (from, to) = (pick(rng, &nodes), pick(rng, &nodes));
            if self.may_link(from, to) {
                self.edges.push((from, to));
            }
        }
    }

    /// Tells whether a link from one node to another can be asked for.
    fn may_link(&self, from: NodeId, to: NodeId) -> bool {
        let has_room = |node| self.neighbours(node).len() < LINKS_EACH_MAX;
        let is_new = from != to && !self.neighbours(from).contains(&to);
        is_new && has_room(from) && has_room(to) && self.can_dial(from, to)
    }

    /// Gives some NATs a table that just holds what is behind them.
    fn limit_tables(&mut self, options: &Options, rng: &mut Rng) {
        for number in 0..self.nats.len() {
            let id = NatId(u32::try_from(number).unwrap_or(0));
            let inside = self.places.iter().flat_map(|place| &place.networks);
            let sockets = inside.filter(|network| self.is_within(**network, id)).count();
            // A NAT that stands behind this one must not need several mappings for one socket.
            let mut within = self.nats.iter().zip(0..);
            let is_simple = within.all(|(nat, inner)| {
                nat.profile.mapping == Dependence::None || !self.is_within(Some(NatId(inner)), id)
            });
            let profile = &mut self.nats[number].profile;
            if is_simple && chance(rng, 0.3) {
                // All who roam may end here.
                let sockets = u32::try_from(sockets).unwrap_or(PORTS_MAX);
                profile.mappings_max = sockets + options.faults.roams;
            }
        }
    }

    fn is_within(&self, mut network: Option<NatId>, nat: NatId) -> bool {
        while let Some(inner) = network {
            if inner == nat {
                return true;
            }
            network = self.nats[inner.0 as usize].behind;
        }
        false
    }
}

fn nat(rng: &mut Rng) -> NatProfile {
    NatProfile {
        mapping: pick(rng, &DEPENDENCES),
        filtering: pick(rng, &DEPENDENCES),
        ports: pick(rng, &[Ports::Preserved, Ports::Sequential, Ports::Random]),
        mappings_max: PORTS_MAX,
        hairpin: chance(rng, 0.5),
        timeout: pick(rng, &[20, 30, 60, 120].map(Duration::from_secs)),
        inbound_refreshes: chance(rng, 0.5),
    }
}

/// Draws clocks that are off.
pub(super) fn clock(options: &Options, rng: &mut Rng) -> ClockProfile {
    let mut around = |most: u64| {
        let drawn = rng.below(2 * most + 1);
        i64::try_from(drawn).unwrap_or(0) - i64::try_from(most).unwrap_or(0)
    };
    let ahead_ms = around(options.clock_ms);
    let drift_ppm = i32::try_from(around(options.drift_ppm)).unwrap_or(0);
    ClockProfile { ahead_ms, drift_ppm }
}
