//! Tests of the network without nodes.

use x0x_core::transport::Ecn;

use super::*;
use crate::nat::{Dependence, NatProfile};
use crate::random;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);

fn address(node: NodeId) -> SocketAddr {
    // Two nodes share each host.
    format!("10.0.0.{}:{}", 1 + node.0 / 2, 4000 + node.0 % 2).parse().unwrap()
}

fn network(profile: LinkProfile) -> Network {
    let mut network = Network::new(random::from_number(7), 3, profile);
    for node in [A, B, C] {
        assert!(network.bind(None, address(node), node));
    }
    network
}

fn packet(from: NodeId, to: NodeId, len: usize) -> Packet {
    let payload = BytesMut::zeroed(len);
    Packet { source: address(from), target: address(to), ecn: Some(Ecn::Ect0), payload }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_good_link_delivers_once_after_its_latency() {
    let mut network = network(LinkProfile::default());
    let arrivals = network.send(ms(5), A, None, &mut packet(A, B, 100));
    assert_eq!(arrivals, Arrivals { first: Some(ms(25)), ..Arrivals::default() });
}

#[test]
fn nodes_of_one_host_have_their_own_addresses() {
    let mut network = network(LinkProfile::default());
    assert_eq!(address(A).ip(), address(B).ip());
    assert_eq!(network.owner(None, address(A)), Some(A));
    assert_eq!(network.owner(None, address(B)), Some(B));
    assert!(!network.bind(None, address(A), B));
    network.unbind(None, address(A));
    assert!(network.bind(None, address(A), B));
}

#[test]
fn jitter_keeps_the_order_and_reordering_breaks_it() {
    for (reorder, in_order) in [(0.0, true), (0.3, false)] {
        let mut network =
            network(LinkProfile { jitter: ms(15), reorder, ..LinkProfile::default() });
        let arrivals: Vec<_> =
            (0..200).map(|at| network.send(ms(at), A, None, &mut packet(A, B, 50)).first).collect();
        assert_eq!(arrivals.is_sorted(), in_order, "reorder {reorder}");
        assert_eq!(network.counters.reordered > 0, !in_order);
    }
}

#[test]
fn loss_and_duplication_follow_their_probability() {
    let mut network = network(LinkProfile { loss: 0.1, duplicate: 0.2, ..LinkProfile::default() });
    for at in 0..10_000 {
        network.send(ms(at), A, None, &mut packet(A, B, 50));
    }
    assert!((900..1100).contains(&network.counters.lost), "{:?}", network.counters);
    assert!((1650..1950).contains(&network.counters.duplicated), "{:?}", network.counters);
}

#[test]
fn a_full_queue_drops_newcomers_and_drains_with_time() {
    // 1 Mbit/s is 8 ms for 1000 bytes on the wire.
    let mut network = network(LinkProfile {
        bandwidth: Some(1_000_000),
        queue_bytes_max: 3000,
        latency: ms(1),
        ..LinkProfile::default()
    });
    let mut send = |at| network.send(ms(at), A, None, &mut packet(A, B, 972)).first;
    let burst: Vec<_> = (0..5).map(|_| send(0)).collect();
    assert_eq!(burst, [Some(ms(9)), Some(ms(17)), Some(ms(25)), None, None]);
    assert_eq!(send(8), Some(ms(33)));
    assert_eq!(send(100), Some(ms(109)));
    assert_eq!(network.counters.queue_full, 2);
}

#[test]
fn the_mtu_counts_the_headers() {
    let mut network = network(LinkProfile { mtu: 1280, ..LinkProfile::default() });
    assert!(network.send(ms(0), A, None, &mut packet(A, B, 1252)).first.is_some());
    assert!(network.send(ms(0), A, None, &mut packet(A, B, 1253)).first.is_none());
    assert_eq!(network.counters.too_large, 1);
}

#[test]
fn a_partition_separates_groups_until_it_heals() {
    let mut network = network(LinkProfile::default());
    let name = PartitionName(1);
    network.partition(name, &[vec![A]]);
    assert!(network.send(ms(0), A, None, &mut packet(A, B, 1)).first.is_none());
    assert!(network.send(ms(0), C, None, &mut packet(C, A, 1)).first.is_none());
    assert!(network.send(ms(0), B, None, &mut packet(B, C, 1)).first.is_some());
    network.heal(name);
    assert!(network.send(ms(0), A, None, &mut packet(A, B, 1)).first.is_some());
    assert_eq!(network.counters.partitioned, 2);
}

#[test]
fn of_two_partitions_each_heals_alone() {
    let mut network = network(LinkProfile::default());
    let [one, other] = [1, 2].map(PartitionName);
    network.partition(one, &[vec![A]]);
    network.partition(other, &[vec![A, B]]);
    let passes = |network: &mut Network, from, to| {
        network.send(ms(0), from, None, &mut packet(from, to, 1)).first.is_some()
    };
    assert!(!passes(&mut network, A, B));
    assert!(!passes(&mut network, B, C));
    network.heal(one);
    assert!(passes(&mut network, A, B));
    assert!(!passes(&mut network, B, C));
    network.heal(other);
    assert!(passes(&mut network, B, C));
    network.partition(one, &[vec![A]]);
    network.partition(other, &[vec![B]]);
    network.heal_all();
    assert!(passes(&mut network, A, C) && passes(&mut network, B, C));
}

#[test]
fn a_block_stops_one_direction() {
    let mut network = network(LinkProfile::default());
    network.set_blocked(A, B, true);
    assert!(network.send(ms(0), A, None, &mut packet(A, B, 1)).first.is_none());
    assert!(network.send(ms(0), B, None, &mut packet(B, A, 1)).first.is_some());
    network.set_blocked(A, B, false);
    assert!(network.send(ms(0), A, None, &mut packet(A, B, 1)).first.is_some());
}

#[test]
fn what_one_link_draws_changes_nothing_on_another() {
    let profile = LinkProfile { jitter: ms(9), loss: 0.2, ..LinkProfile::default() };
    let schedule = |with_others: bool| {
        let mut network = network(profile);
        let mut arrivals = Vec::new();
        for at in (0..100).map(ms) {
            if with_others {
                network.send(at, A, None, &mut packet(A, C, 9));
                network.send(at, B, None, &mut packet(B, A, 9));
            }
            arrivals.push(network.send(at, A, None, &mut packet(A, B, 9)));
        }
        arrivals
    };
    assert_eq!(schedule(false), schedule(true));
}

#[test]
fn links_that_are_not_used_take_no_memory() {
    let mut network = Network::new(random::from_number(7), 100_000, LinkProfile::default());
    for node in [A, B] {
        assert!(network.bind(None, address(node), node));
    }
    network.send(ms(0), A, None, &mut packet(A, B, 1));
    assert_eq!(network.links.iter().map(BTreeMap::len).sum::<usize>(), 1);
}

#[test]
fn an_override_changes_both_directions_of_one_link() {
    let mut network = network(LinkProfile::default());
    let slow = LinkProfile { latency: ms(300), ..LinkProfile::default() };
    network.set_link(Some((A, B)), slow);
    network.set_link(None, LinkProfile { latency: ms(1), ..LinkProfile::default() });
    assert_eq!(network.send(ms(0), A, None, &mut packet(A, B, 1)).first, Some(ms(300)));
    assert_eq!(network.send(ms(0), B, None, &mut packet(B, A, 1)).first, Some(ms(300)));
    assert_eq!(network.send(ms(0), A, None, &mut packet(A, C, 1)).first, Some(ms(1)));
}

#[test]
fn one_seed_gives_one_schedule() {
    let profile = LinkProfile {
        jitter: ms(9),
        loss: 0.1,
        reorder: 0.1,
        duplicate: 0.1,
        ..LinkProfile::default()
    };
    let schedule = || {
        let mut network = network(profile);
        (0..500).map(|at| network.send(ms(at), A, None, &mut packet(A, B, 9))).collect::<Vec<_>>()
    };
    assert_eq!(schedule(), schedule());
}

#[test]
fn losses_of_a_bad_link_come_together() {
    let burst = Burst { begin: 0.02, end: 0.2, loss: 1.0 };
    let mut network = network(LinkProfile { burst: Some(burst), ..LinkProfile::default() });
    let lost: Vec<bool> = (0..20_000)
        .map(|at| network.send(ms(at), A, None, &mut packet(A, B, 50)).first.is_none())
        .collect();
    let count = lost.iter().filter(|lost| **lost).count();
    let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    assert!((1500..2200).contains(&count), "one in eleven: {count}");
    let mean = count as f64 / bursts as f64;
    assert!((4.0..6.0).contains(&mean), "five in a row on average: {mean}");
}

#[test]
fn a_queue_marks_what_can_be_marked() {
    let profile = LinkProfile {
        bandwidth: Some(1_000_000),
        mark_bytes: Some(1500),
        ..LinkProfile::default()
    };
    let mut network = network(profile);
    let marks: Vec<_> = [Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ect0), None]
        .into_iter()
        .map(|ecn| {
            let mut packet = Packet { ecn, ..packet(A, B, 972) };
            network.send(ms(0), A, None, &mut packet);
            packet.ecn
        })
        .collect();
    assert_eq!(marks, [Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ce), None]);
    assert_eq!(network.counters.marked, 1);
}

#[test]
fn corruption_changes_a_few_bits() {
    let mut network = network(LinkProfile { corrupt: 0.5, ..LinkProfile::default() });
    let mut changed = 0;
    for at in 0..1000 {
        let mut packet = packet(A, B, 100);
        network.send(ms(at), A, None, &mut packet);
        let bits: u32 = packet.payload.iter().map(|byte| byte.count_ones()).sum();
        assert!(bits <= 3, "{bits}");
        changed += u64::from(bits > 0);
    }
    assert!((430..570).contains(&changed), "{changed}");
    assert!(network.counters.corrupted >= changed);
}

#[test]
fn a_heavy_tail_delays_few_a_lot_and_keeps_the_order() {
    let mut network = network(LinkProfile { tail: ms(10), ..LinkProfile::default() });
    let delays: Vec<_> = (0..2000_u64)
        .map(|n| network.send(ms(10_000 * n), A, None, &mut packet(A, B, 50)).first.unwrap())
        .zip(0..)
        .map(|(at, n)| at - ms(10_000 * n))
        .collect();
    let later = |than| delays.iter().filter(|delay| **delay > ms(than)).count();
    assert!((350..700).contains(&later(25)), "{}", later(25));
    assert!((5..60).contains(&later(420)), "{}", later(420));
    assert!(delays.iter().all(|delay| *delay <= ms(20 + 1270)));
    let close: Vec<_> = (0..200)
        .map(|n| network.send(ms(99_000_000 + n), A, None, &mut packet(A, B, 50)).first)
        .collect();
    assert!(close.is_sorted());
}

#[test]
fn each_direction_has_its_own_speed() {
    let mut network = network(LinkProfile::default());
    let slow = LinkProfile { bandwidth: Some(1_000_000), ..LinkProfile::default() };
    network.set_direction(A, B, slow);
    assert_eq!(network.send(ms(0), A, None, &mut packet(A, B, 972)).first, Some(ms(28)));
    assert_eq!(network.send(ms(0), B, None, &mut packet(B, A, 972)).first, Some(ms(20)));
}

/// Where the nodes of the tests with NATs are: A behind a home NAT, B behind another, both behind a
/// carrier; C is public.
struct Homes {
    network: Network,
    homes: [NatId; 2],
}

const PRIVATE: &str = "192.168.1.2:4000";
const PUBLIC: &str = "9.9.9.9:9";

impl Homes {
    fn new(carrier: NatProfile, home: NatProfile) -> Self {
        let mut network = Network::new(random::from_number(7), 3, LinkProfile::default());
        let carrier = network.add_nat(NatConfig { profile: carrier, behind: None });
        let homes =
            [A, B].map(|_| network.add_nat(NatConfig { profile: home, behind: Some(carrier) }));
        // Both homes use the same private address.
        assert!(network.bind(Some(homes[0]), PRIVATE.parse().unwrap(), A));
        assert!(network.bind(Some(homes[1]), PRIVATE.parse().unwrap(), B));
        assert!(network.bind(None, PUBLIC.parse().unwrap(), C));
        Self { network, homes }
    }

    /// Sends, and tells who got it and from where it seemed to come.
    fn send(&mut self, from: NodeId, target: SocketAddr) -> Option<(NodeId, SocketAddr)> {
        let (nat, source) = match from {
            C => (None, PUBLIC),
            NodeId(n) => (Some(self.homes[n as usize]), PRIVATE),
        };
        let source = source.parse().unwrap();
        let payload = BytesMut::zeroed(9);
        let mut packet = Packet { source, target, ecn: None, payload };
        let arrivals = self.network.send(ms(0), from, nat, &mut packet);
        let node = self.network.receive(arrivals.first?, arrivals.realm, &mut packet)?;
        Some((node, packet.source))
    }
}

fn loose(hairpin: bool) -> NatProfile {
    NatProfile { filtering: Dependence::None, hairpin, ..NatProfile::default() }
}

#[test]
fn behind_a_home_and_a_carrier_an_answer_finds_its_way_back() {
    let mut homes = Homes::new(NatProfile::default(), NatProfile::default());
    let public = PUBLIC.parse().unwrap();
    let (to, seen) = homes.send(A, public).unwrap();
    assert_eq!((to, seen.to_string()), (C, "198.18.0.1:4000".to_owned()));
    assert_eq!(homes.send(C, seen), Some((A, public)));
    let (_, other) = homes.send(B, public).unwrap();
    assert_ne!(other, seen, "the carrier tells the homes apart");
    assert_eq!(homes.send(C, other), Some((B, public)));
    assert_eq!(homes.send(C, "198.18.0.1:9".parse().unwrap()), None);
    assert_eq!(homes.send(C, "10.1.1.1:1".parse().unwrap()), None, "nobody has it");
    let counters = homes.network.counters;
    assert_eq!((counters.filtered, counters.unreachable), (1, 1), "{counters:?}");
}

#[test]
fn neighbours_of_a_carrier_reach_each_other_with_a_hairpin_only() {
    for hairpin in [false, true] {
        let mut homes = Homes::new(loose(hairpin), loose(false));
        let (_, b) = homes.send(B, PUBLIC.parse().unwrap()).unwrap();
        let heard = homes.send(A, b);
        assert_eq!(heard.map(|(to, _)| to), hairpin.then_some(B));
        if let Some((_, source)) = heard {
            assert_eq!(source.ip(), b.ip(), "the outer address of the other");
        }
    }
}

#[test]
fn a_private_address_means_the_host_of_ones_own_network() {
    let mut homes = Homes::new(loose(true), loose(true));
    let (to, _) = homes.send(A, PRIVATE.parse().unwrap()).unwrap();
    assert_eq!(to, A, "not B, who has the same address at home");
    assert_eq!(homes.send(C, PRIVATE.parse().unwrap()), None);
}

#[test]
fn a_mapping_that_is_made_while_a_datagram_travels_counts() {
    let mut homes = Homes::new(NatProfile::default(), NatProfile::default());
    let public: SocketAddr = PUBLIC.parse().unwrap();
    let (_, seen) = homes.send(A, public).unwrap();
    homes.network.reset_nat(homes.homes[0]);
    let payload = BytesMut::zeroed(9);
    let mut answer = Packet { source: public, target: seen, ecn: None, payload };
    let arrivals = homes.network.send(ms(0), C, None, &mut answer);
    assert!(arrivals.first.is_some());
    assert_eq!(homes.send(C, seen), None, "its home forgot it");
    homes.send(A, public).unwrap();
    assert_eq!(homes.network.receive(ms(40), arrivals.realm, &mut answer), Some(A));
}

#[test]
fn a_full_nat_counts_what_it_drops() {
    let full = NatProfile { mappings_max: 0, ..NatProfile::default() };
    let mut homes = Homes::new(NatProfile::default(), full);
    assert_eq!(homes.send(A, PUBLIC.parse().unwrap()), None);
    assert_eq!(homes.network.counters.exhausted, 1);
}

#[test]
fn a_firewall_stops_what_was_not_asked_for() {
    let mut homes = Homes::new(loose(false), loose(false));
    homes.network.set_firewall(C, FirewallProfile::default());
    let public: SocketAddr = PUBLIC.parse().unwrap();
    assert_eq!(homes.send(A, public), None);
    assert_eq!(homes.network.counters.filtered, 1);
    let a = "198.18.0.1:4000".parse().unwrap();
    assert_eq!(homes.send(C, a), Some((A, public)));
    assert_eq!(homes.send(A, public), Some((C, a)));
}
