//! What a NAT does, as sentences over virtual time.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn nat(profile: NatProfile) -> Nat {
    Nat::new(profile, random::from_number(1))
}

/// The remote sockets of all tests: two ports of one address, and another address.
fn remotes() -> [SocketAddr; 3] {
    ["1.1.1.1:1", "1.1.1.1:2", "2.2.2.2:1"].map(address)
}

fn inner() -> SocketAddr {
    address("192.168.1.2:4000")
}

#[test]
fn a_mapping_serves_the_remote_sockets_that_its_kind_says() {
    let cases = [
        (Dependence::None, [true, true]),
        (Dependence::Address, [true, false]),
        (Dependence::AddressAndPort, [false, false]),
    ];
    for (mapping, shared) in cases {
        let mut nat =
            nat(NatProfile { mapping, ports: Ports::Sequential, ..NatProfile::default() });
        let [first, same_ip, other_ip] =
            remotes().map(|remote| nat.outbound(MINUTE, inner(), remote).unwrap());
        assert_eq!([first == same_ip, first == other_ip], shared, "{mapping:?}");
        let again = remotes().map(|remote| nat.outbound(MINUTE, inner(), remote).unwrap());
        assert_eq!(again, [first, same_ip, other_ip], "{mapping:?}: the same mapping each time");
        let other = address("192.168.1.3:4000");
        assert_ne!(nat.outbound(MINUTE, other, remotes()[0]).unwrap(), first);
    }
}

#[test]
fn filtering_lets_in_from_where_its_kind_says() {
    let cases = [
        (Dependence::None, [true, true, true]),
        (Dependence::Address, [true, true, false]),
        (Dependence::AddressAndPort, [true, false, false]),
    ];
    for (filtering, expected) in cases {
        let mut nat = nat(NatProfile { filtering, ..NatProfile::default() });
        let port = nat.outbound(MINUTE, inner(), remotes()[0]).unwrap();
        let passed = remotes().map(|remote| nat.inbound(MINUTE, remote, port) == Ok(inner()));
        assert_eq!(passed, expected, "{filtering:?}");
    }
}

#[test]
fn what_is_refused_says_why() {
    let mut nat = nat(NatProfile { mappings_max: 1, ..NatProfile::default() });
    assert_eq!(nat.inbound(MINUTE, remotes()[0], 4000), Err(Refusal::Unmapped));
    let port = nat.outbound(MINUTE, inner(), remotes()[0]).unwrap();
    assert_eq!(nat.inbound(MINUTE, remotes()[2], port), Err(Refusal::Filtered));
    let other = address("192.168.1.3:4000");
    assert_eq!(nat.outbound(MINUTE, other, remotes()[0]), Err(Refusal::Exhausted));
}

#[test]
fn ports_are_kept_counted_up_or_drawn() {
    let ports = |ports| {
        let mut nat = nat(NatProfile { ports, ..NatProfile::default() });
        let hosts = ["192.168.1.2:4000", "192.168.1.3:4000", "192.168.1.4:80"];
        hosts.map(|host| nat.outbound(MINUTE, address(host), remotes()[0]).unwrap())
    };
    assert_eq!(ports(Ports::Preserved), [4000, 4001, 1024], "taken and privileged ones move up");
    assert_eq!(ports(Ports::Sequential), [1024, 1025, 1026]);
    let drawn = ports(Ports::Random);
    assert!(drawn.iter().all(|port| !(1020..1040).contains(port)), "{drawn:?}");
    assert_eq!(ports(Ports::Random), drawn, "one seed, one draw");
}

#[test]
fn a_full_table_has_room_again_when_mappings_time_out() {
    for ports in [Ports::Preserved, Ports::Sequential, Ports::Random] {
        let profile = NatProfile { mappings_max: 3, ports, ..NatProfile::default() };
        let mut nat = nat(profile);
        let host = |n: u64| address(&format!("192.168.1.{}:4000", 2 + n));
        for n in 0..3 {
            assert!(nat.outbound(seconds(10 * n), host(n), remotes()[0]).is_ok());
        }
        let newcomer = |nat: &mut Nat, at| nat.outbound(seconds(at), host(9), remotes()[0]);
        assert_eq!(newcomer(&mut nat, 119), Err(Refusal::Exhausted));
        assert_eq!(nat.mappings(seconds(119)), 3);
        assert!(newcomer(&mut nat, 120).is_ok(), "the first has timed out");
        assert_eq!(nat.mappings(seconds(120)), 3);
    }
}

#[test]
fn every_port_can_be_given_away() {
    let mut nat = nat(NatProfile {
        mapping: Dependence::AddressAndPort,
        ports: Ports::Sequential,
        ..NatProfile::default()
    });
    let mut ports = std::collections::BTreeSet::new();
    for n in 0..PORTS_MAX {
        let remote = SocketAddr::from((n.to_be_bytes(), 1));
        ports.insert(nat.outbound(MINUTE, inner(), remote).unwrap());
    }
    assert_eq!(ports.len(), PORTS_MAX as usize);
    let one_more = address("9.9.9.9:9");
    assert_eq!(nat.outbound(MINUTE, inner(), one_more), Err(Refusal::Exhausted));
}

#[test]
fn a_mapping_lives_as_long_as_it_is_refreshed() {
    for inbound_refreshes in [true, false] {
        let mut nat = nat(NatProfile { inbound_refreshes, ..NatProfile::default() });
        let remote = remotes()[0];
        let port = nat.outbound(seconds(0), inner(), remote).unwrap();
        assert_eq!(nat.inbound(seconds(100), remote, port), Ok(inner()));
        let later = nat.inbound(seconds(200), remote, port);
        let expected = if inbound_refreshes { Ok(inner()) } else { Err(Refusal::Unmapped) };
        assert_eq!(later, expected, "what comes in refreshes: {inbound_refreshes}");

        nat.outbound(seconds(250), inner(), remote).unwrap();
        nat.outbound(seconds(350), inner(), remote).unwrap();
        let port = nat.outbound(seconds(350), inner(), remote).unwrap();
        assert_eq!(nat.inbound(seconds(469), remote, port), Ok(inner()));
    }
}

#[test]
fn a_remote_that_was_not_sent_to_for_long_is_filtered_while_the_mapping_lives() {
    let mut nat = nat(NatProfile::default());
    let [first, second, _] = remotes();
    let port = nat.outbound(seconds(0), inner(), first).unwrap();
    nat.outbound(seconds(100), inner(), second).unwrap();
    assert_eq!(nat.inbound(seconds(150), first, port), Err(Refusal::Filtered));
    assert_eq!(nat.inbound(seconds(150), second, port), Ok(inner()));
}

#[test]
fn after_a_reset_everybody_gets_another_mapping() {
    let mut nat = nat(NatProfile { ports: Ports::Sequential, ..NatProfile::default() });
    let remote = remotes()[0];
    let before = nat.outbound(MINUTE, inner(), remote).unwrap();
    nat.reset();
    assert_eq!(nat.inbound(MINUTE, remote, before), Err(Refusal::Unmapped));
    assert_eq!(nat.peek(MINUTE, before), None);
    let after = nat.outbound(MINUTE, inner(), remote).unwrap();
    assert_ne!(before, after);
    assert_eq!(nat.peek(MINUTE, after), Some(inner()));
}

#[test]
fn a_firewall_lets_in_what_was_asked_for_and_for_how_long() {
    let profile = FirewallProfile { inbound_refreshes: false, ..FirewallProfile::default() };
    let mut firewall = Firewall::new(profile);
    let [asked, other, _] = remotes();
    assert!(!firewall.lets_in(seconds(0), inner(), asked));
    firewall.outbound(seconds(0), inner(), asked);
    assert!(firewall.lets_in(seconds(59), inner(), asked));
    assert!(!firewall.lets_in(seconds(59), inner(), other));
    assert!(!firewall.lets_in(seconds(60), inner(), asked));
    let elsewhere = address("192.168.1.2:5000");
    assert!(!firewall.lets_in(seconds(59), elsewhere, asked), "another socket of the host");
}
