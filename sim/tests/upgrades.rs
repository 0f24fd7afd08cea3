//! Nodes of different versions of the protocol, and firewalls between sites.

#![expect(clippy::unwrap_used, reason = "a world that cannot go on has failed its test")]

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::gossip::Topic;
use x0x_core::link;
use x0x_core::link::{ConnectError, RefuseReason};
use x0x_core::node::Counters;
use x0x_core::node::control;
use x0x_core::node::{
    CommandId, Connect, Event, GetCounters, Publish, Reply, SendDirect, Subscribe, Target,
};
use x0x_sim::{NodeId, Step, World, WorldConfig};

const SECOND: Duration = Duration::from_secs(1);
const OLD: RangeInclusive<u16> = 1..=1;
const BOTH: RangeInclusive<u16> = 1..=2;
const NEW: RangeInclusive<u16> = 2..=2;

/// The longest pause between two dials, with its jitter.
const REDIAL_MAX: Duration = Duration::from_secs(75);

/// A world whose nodes keep these links, the first of each dials, and are all in one topic.
struct Talk {
    world: World,
    links: Vec<(NodeId, NodeId)>,
}

fn topic() -> Topic {
    Topic::new("news").unwrap()
}

impl Talk {
    fn new(nodes: u32, links: &[(u32, u32)]) -> Self {
        let links = links.iter().map(|&(from, to)| (NodeId(from), NodeId(to))).collect();
        let mut talk = Self { world: World::new(WorldConfig::new(61, nodes)), links };
        for node in 0..nodes {
            talk.ask(NodeId(node));
        }
        talk
    }

    /// Has the application of a node ask for its links and its topic.
    fn ask(&mut self, node: NodeId) {
        for (from, to) in self.links.clone() {
            if from == node {
                self.connect(from, to);
            }
        }
        self.world.command(node, Subscribe { topic: topic() }).unwrap();
    }

    fn connect(&mut self, from: NodeId, to: NodeId) -> CommandId {
        let machine = Some(self.world.node_config(to).machine_key.id());
        let target = Target::Address { address: self.world.address(to), machine };
        self.world.command(from, Connect { target, keep: true, timeout: 20 * SECOND }).unwrap()
    }

    fn upgrade(&mut self, node: NodeId, versions: RangeInclusive<u16>) {
        self.world.apply(Step::Upgrade { node, versions }).unwrap();
        self.ask(node);
    }

    /// Waits until all links are up.
    fn assert_linked(&mut self, limit: Duration) {
        let links = self.links.clone();
        let are_up = |world: &World| links.iter().all(|&(a, b)| world.is_linked(a, b));
        assert!(self.world.run_until_true(limit, are_up).unwrap());
    }

    fn send(&mut self, from: NodeId, to: NodeId) -> CommandId {
        let recipient = self.world.node_config(to).agent_key.id();
        let payload = Bytes::copy_from_slice(&self.world.now().as_nanos().to_be_bytes());
        let send = SendDirect { recipient, payload, timeout: 20 * SECOND };
        self.world.command(from, send).unwrap()
    }

    fn assert_sent(&self, id: CommandId) {
        let reply = self.world.reply(id);
        assert!(
            matches!(reply, Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))),
            "{reply:?}"
        );
    }

    /// A direct message passes over every link in both directions, and what each node publishes is
    /// heard by all.
    fn assert_talks(&mut self) {
        let mut sent = Vec::new();
        for (a, b) in self.links.clone() {
            sent.extend([self.send(a, b), self.send(b, a)]);
        }
        let nodes: Vec<NodeId> = self.world.nodes().collect();
        let mut published = Vec::new();
        for &node in &nodes {
            let payload = Bytes::from(format!("{node} at {:?}", self.world.now()));
            let publish = Publish { topic: topic(), payload: payload.clone() };
            self.world.command(node, publish).unwrap();
            published.push(payload);
        }
        self.world.run_for(20 * SECOND).unwrap();
        for id in sent {
            self.assert_sent(id);
        }
        for payload in published {
            for &node in &nodes {
                assert!(self.has_heard(node, &payload), "{node}: {payload:?}");
            }
        }
    }

    fn has_heard(&self, node: NodeId, text: &Bytes) -> bool {
        self.world.events().iter().any(|logged| {
            logged.node == node
                && matches!(&logged.event, Event::Gossip(gossip::Event::Received { payload, .. }) if payload == text)
        })
    }

    fn counters(&mut self, node: NodeId) -> Counters {
        let id = self.world.command(node, GetCounters).unwrap();
        self.world.run_for(SECOND).unwrap();
        let Some(Reply::Control(control::Reply::GetCounters(counters))) = self.world.reply(id)
        else {
            panic!("no counters")
        };
        counters.clone()
    }
}

/// Five nodes in a ring learn the newer version one after another, and then forget the older one.
#[test]
fn a_rolling_upgrade_keeps_direct_messages_and_topics() {
    let mut talk = Talk::new(5, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]);
    talk.assert_linked(20 * SECOND);
    talk.assert_talks();
    for versions in [BOTH, NEW] {
        for node in 0..5 {
            talk.upgrade(NodeId(node), versions.clone());
            talk.assert_linked(REDIAL_MAX);
            talk.assert_talks();
        }
    }
    for node in 0..5 {
        assert_eq!(talk.counters(NodeId(node)).get(link::Counter::VersionsRefused), 0);
    }
}

/// The newer node is refused for minutes, in both directions, and talks through a third meanwhile.
/// When the older one is upgraded, the link comes up without anybody asking again.
#[test]
fn without_a_common_version_a_link_is_refused_until_there_is_one() {
    let (old, new, third) = (NodeId(0), NodeId(1), NodeId(2));
    let mut talk = Talk::new(3, &[(1, 0), (0, 2), (1, 2)]);
    talk.assert_linked(20 * SECOND);
    talk.upgrade(third, BOTH);
    talk.upgrade(new, NEW);
    talk.world.run_for(20 * SECOND).unwrap();
    for (from, to) in [(new, old), (old, new)] {
        let id = talk.connect(from, to);
        talk.world.run_for(20 * SECOND).unwrap();
        let refused =
            Reply::Link(link::Reply::Connect(Err(ConnectError::Refused(RefuseReason::Version))));
        assert_eq!(talk.world.reply(id), Some(&refused), "{from} to {to}");
    }
    let both = talk.links.clone();
    talk.links.retain(|&(from, to)| (from, to) != (new, old));
    for _ in 0..10 {
        talk.assert_linked(SECOND);
        talk.assert_talks();
        assert!(!talk.world.is_linked(old, new));
    }
    for node in [old, new] {
        let counters = talk.counters(node);
        // Each side dials, less and less often, and refuses what the other dials.
        let refused = counters.get(link::Counter::VersionsRefused);
        assert!((5..40).contains(&refused), "{node}: {refused}");
        for counter in [link::Counter::ProtocolViolations, link::Counter::BindingsRefused] {
            assert_eq!(counters.get(counter), 0, "{node}");
        }
    }
    talk.links = both;
    talk.world.apply(Step::Upgrade { node: old, versions: BOTH }).unwrap();
    talk.world.command(old, Subscribe { topic: topic() }).unwrap();
    talk.connect(old, third);
    talk.assert_linked(REDIAL_MAX);
    talk.assert_talks();
}

#[test]
fn an_upgrade_can_be_undone() {
    let mut talk = Talk::new(3, &[(1, 0), (2, 1)]);
    for versions in [BOTH, OLD] {
        for node in 0..3 {
            talk.upgrade(NodeId(node), versions.clone());
            talk.assert_linked(REDIAL_MAX);
            talk.assert_talks();
        }
    }
    assert_eq!(talk.world.tally().crashes, 6);
}

/// Two sites whose firewalls let nothing pass between them, and hosts that both can reach.
#[test]
fn topics_pass_around_a_firewall_between_two_sites() {
    let (one, other) = ([0, 1].map(NodeId), [2, 3].map(NodeId));
    let mut talk = Talk::new(5, &[(0, 4), (1, 4), (2, 4), (3, 4), (0, 1), (2, 3)]);
    for from in one {
        for to in other {
            for (from, to) in [(from, to), (to, from)] {
                talk.world.apply(Step::SetPassage { from, to, is_open: false }).unwrap();
            }
        }
    }
    talk.assert_linked(20 * SECOND);
    let blocked = talk.connect(one[0], other[0]);
    for _ in 0..10 {
        talk.assert_talks();
    }
    let timeout = Reply::Link(link::Reply::Connect(Err(ConnectError::Timeout)));
    assert_eq!(talk.world.reply(blocked), Some(&timeout));
    for from in one {
        assert!(other.iter().all(|&to| !talk.world.is_linked(from, to)));
    }
    assert!(talk.world.network().counters.partitioned > 0);
    assert_eq!(talk.world.tally().links_down, 0);
}
