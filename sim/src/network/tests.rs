//! Tests of the network without nodes.

use super::*;
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
        assert!(network.bind(address(node), node));
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
    let arrivals = network.send(ms(5), A, &packet(A, B, 100));
    assert_eq!(arrivals, Arrivals { first: Some(ms(25)), second: None });
}

#[test]
fn nodes_of_one_host_have_their_own_addresses() {
    let mut network = network(LinkProfile::default());
    assert_eq!(address(A).ip(), address(B).ip());
    assert_eq!(network.owner(address(A)), Some(A));
    assert_eq!(network.owner(address(B)), Some(B));
    assert!(!network.bind(address(A), B));
    network.unbind(address(A));
    assert!(network.bind(address(A), B));
}

#[test]
fn jitter_keeps_the_order_and_reordering_breaks_it() {
    for (reorder, in_order) in [(0.0, true), (0.3, false)] {
        let mut network =
            network(LinkProfile { jitter: ms(15), reorder, ..LinkProfile::default() });
        let arrivals: Vec<_> =
            (0..200).map(|at| network.send(ms(at), A, &packet(A, B, 50)).first).collect();
        assert_eq!(arrivals.is_sorted(), in_order, "reorder {reorder}");
        assert_eq!(network.counters.reordered > 0, !in_order);
    }
}

#[test]
fn loss_and_duplication_follow_their_probability() {
    let mut network = network(LinkProfile { loss: 0.1, duplicate: 0.2, ..LinkProfile::default() });
    for at in 0..10_000 {
        network.send(ms(at), A, &packet(A, B, 50));
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
    let mut send = |at| network.send(ms(at), A, &packet(A, B, 972)).first;
    let burst: Vec<_> = (0..5).map(|_| send(0)).collect();
    assert_eq!(burst, [Some(ms(9)), Some(ms(17)), Some(ms(25)), None, None]);
    assert_eq!(send(8), Some(ms(33)));
    assert_eq!(send(100), Some(ms(109)));
    assert_eq!(network.counters.queue_full, 2);
}

#[test]
fn the_mtu_counts_the_headers() {
    let mut network = network(LinkProfile { mtu: 1280, ..LinkProfile::default() });
    assert!(network.send(ms(0), A, &packet(A, B, 1252)).first.is_some());
    assert!(network.send(ms(0), A, &packet(A, B, 1253)).first.is_none());
    assert_eq!(network.counters.too_large, 1);
}

#[test]
fn a_partition_separates_groups_until_it_heals() {
    let mut network = network(LinkProfile::default());
    let name = PartitionName(1);
    network.partition(name, &[vec![A]]);
    assert!(network.send(ms(0), A, &packet(A, B, 1)).first.is_none());
    assert!(network.send(ms(0), C, &packet(C, A, 1)).first.is_none());
    assert!(network.send(ms(0), B, &packet(B, C, 1)).first.is_some());
    network.heal(name);
    assert!(network.send(ms(0), A, &packet(A, B, 1)).first.is_some());
    assert_eq!(network.counters.partitioned, 2);
}

#[test]
fn of_two_partitions_each_heals_alone() {
    let mut network = network(LinkProfile::default());
    let [one, other] = [1, 2].map(PartitionName);
    network.partition(one, &[vec![A]]);
    network.partition(other, &[vec![A, B]]);
    let passes = |network: &mut Network, from, to| {
        network.send(ms(0), from, &packet(from, to, 1)).first.is_some()
    };
    assert!(!passes(&mut network, A, B));
    assert!(!passes(&mut network, B, C));
    network.heal(one);
    assert!(passes(&mut network, A, B));
    assert!(!passes(&mut network, B, C));
    network.heal(other);
    assert!(passes(&mut network, B, C));
}

#[test]
fn a_block_stops_one_direction() {
    let mut network = network(LinkProfile::default());
    network.set_blocked(A, B, true);
    assert!(network.send(ms(0), A, &packet(A, B, 1)).first.is_none());
    assert!(network.send(ms(0), B, &packet(B, A, 1)).first.is_some());
    network.set_blocked(A, B, false);
    assert!(network.send(ms(0), A, &packet(A, B, 1)).first.is_some());
}

#[test]
fn what_one_link_draws_changes_nothing_on_another() {
    let profile = LinkProfile { jitter: ms(9), loss: 0.2, ..LinkProfile::default() };
    let schedule = |with_others: bool| {
        let mut network = network(profile);
        let mut arrivals = Vec::new();
        for at in (0..100).map(ms) {
            if with_others {
                network.send(at, A, &packet(A, C, 9));
                network.send(at, B, &packet(B, A, 9));
            }
            arrivals.push(network.send(at, A, &packet(A, B, 9)));
        }
        arrivals
    };
    assert_eq!(schedule(false), schedule(true));
}

#[test]
fn links_that_are_not_used_take_no_memory() {
    let mut network = Network::new(random::from_number(7), 100_000, LinkProfile::default());
    for node in [A, B] {
        assert!(network.bind(address(node), node));
    }
    network.send(ms(0), A, &packet(A, B, 1));
    assert_eq!(network.links.iter().map(BTreeMap::len).sum::<usize>(), 1);
}

#[test]
fn an_override_changes_both_directions_of_one_link() {
    let mut network = network(LinkProfile::default());
    let slow = LinkProfile { latency: ms(300), ..LinkProfile::default() };
    network.set_link(Some((A, B)), slow);
    network.set_link(None, LinkProfile { latency: ms(1), ..LinkProfile::default() });
    assert_eq!(network.send(ms(0), A, &packet(A, B, 1)).first, Some(ms(300)));
    assert_eq!(network.send(ms(0), B, &packet(B, A, 1)).first, Some(ms(300)));
    assert_eq!(network.send(ms(0), A, &packet(A, C, 1)).first, Some(ms(1)));
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
        (0..500).map(|at| network.send(ms(at), A, &packet(A, B, 9))).collect::<Vec<_>>()
    };
    assert_eq!(schedule(), schedule());
}
