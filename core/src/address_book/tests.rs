//! Who keeps a place in the book, and which addresses stay.

use super::*;

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], number))
}

/// The address of a host in a network of its own.
fn elsewhere(network: u16) -> SocketAddr {
    let [high, low] = network.to_be_bytes();
    SocketAddr::from(([10, high, low, 1], 4000))
}

fn machine(number: usize) -> MachineId {
    let mut id = [0xee; 32];
    id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
    MachineId(id)
}

fn agent(number: u8) -> KnownAgent {
    KnownAgent { agent: AgentId([number; 32]), sequence: number.into() }
}

/// A stranger has a session, which ends. Returns who lost a place.
fn visit(book: &mut AddressBook, number: usize, address: SocketAddr) -> Option<MachineId> {
    let up = book.session_began(machine(number), address, 5, &[]).forgotten;
    let down = book.session_ended(machine(number), address, 5).forgotten;
    assert!(up.is_none() || down.is_none(), "one loses a known at most");
    up.or(down)
}

/// A session ends where it began.
fn end(book: &mut AddressBook, number: usize) -> Option<MachineId> {
    let address = book.records[&machine(number)].last_worked()?.address;
    let changed = book.session_ended(machine(number), address, 5);
    assert!(!changed.is_changed);
    changed.forgotten
}

fn addresses(book: &AddressBook, machine: &MachineId) -> Vec<SocketAddr> {
    book.candidates(machine).iter().map(|candidate| candidate.address).collect()
}

#[test]
fn addresses_that_worked_last_come_first_and_the_list_is_bounded() {
    let (mut book, machine) = (AddressBook::new(), MachineId([1; 32]));
    for number in 1..=20 {
        book.name(machine, Some(address(number)));
    }
    let named: Vec<u16> = addresses(&book, &machine).iter().map(SocketAddr::port).collect();
    assert_eq!(named, (13..=20).rev().collect::<Vec<_>>(), "the latest that were named");
    book.session_began(machine, address(100), 5, &[]);
    book.session_began(machine, address(101), 9, &[]);
    book.dial_failed(machine, address(20));
    let order = addresses(&book, &machine);
    assert_eq!(order.len(), ADDRESSES_MAX);
    assert_eq!(order[..2], [address(101), address(100)]);
    assert!(!order[..order.len() - 1].contains(&address(20)));
}

#[test]
fn hearsay_takes_the_places_that_are_left_and_goes_when_it_fails() {
    let (mut book, machine) = (AddressBook::new(), MachineId([1; 32]));
    book.session_began(machine, address(1), 5, &[]);
    book.name(machine, Some(address(2)));
    book.dial_failed(machine, address(1));
    book.dial_failed(machine, address(2));
    for number in 10..30 {
        book.note_hearsay(machine, address(number));
    }
    let order = addresses(&book, &machine);
    assert_eq!(order[..3], [address(1), address(2), address(10)]);
    assert_eq!(order.len(), ADDRESSES_MAX);
    book.note_hearsay(machine, address(1));
    assert!(!book.candidates(&machine)[0].is_hearsay, "a peer's word changes no proven address");
    book.dial_failed(machine, address(10));
    assert!(!addresses(&book, &machine).contains(&address(10)));
    assert_eq!(book.record(&machine).unwrap().len(), {
        let mut other = AddressBook::new();
        other.session_began(machine, address(1), 5, &[]);
        other.name(machine, Some(address(2)));
        other.record(&machine).unwrap().len()
    });
}

#[test]
fn the_last_addresses_that_worked_stay_whatever_the_application_names_and_whatever_fails() {
    let (mut book, machine) = (AddressBook::new(), MachineId([1; 32]));
    for number in 1..=9 {
        book.session_began(machine, address(number), number.into(), &[]);
    }
    assert!(!addresses(&book, &machine).contains(&address(1)), "the oldest goes");
    for number in 10..30 {
        book.dial_failed(machine, address(9));
        book.dial_failed(machine, address(8));
        book.name(machine, Some(address(number)));
    }
    let order = addresses(&book, &machine);
    assert!(order.contains(&address(9)) && order.contains(&address(8)), "{order:?}");
    assert_eq!(order.len(), ADDRESSES_MAX);
}

#[test]
fn a_book_survives_a_restart() {
    let (mut book, machine) = (AddressBook::new(), MachineId([1; 32]));
    book.session_began(machine, address(1), 5, &[agent(2)]);
    book.name(machine, Some(address(2)));
    book.set_policy(machine, ConnectPolicy::Keep);
    book.note_hearsay(machine, address(3));
    let mut restored = AddressBook::new();
    assert_eq!(restored.restore(machine, &book.record(&machine).unwrap()), Ok(None));
    assert_eq!(addresses(&restored, &machine), [address(1), address(2)]);
    assert_eq!(restored.machine_of(&agent(2).agent), Some(machine));
    assert_eq!(restored.binding_sequence(&machine, &agent(2).agent), 2);
    assert_eq!(restored.kept(), [machine]);
    assert_eq!(restored.record(&machine), book.record(&machine));
}

#[test]
fn a_record_of_the_first_version_is_read_as_that_of_a_named_machine() {
    let machine = MachineId([1; 32]);
    let mut book = AddressBook::new();
    // Two addresses, one that worked at second 5 and one that failed once; one resident.
    let mut record = vec![1, 2, 0, 192, 0, 2, 1, 1, 5, 0, 0, 192, 0, 2, 1, 2, 0, 1, 1];
    record.extend([2; 32]);
    record.push(7);
    assert_eq!(book.restore(machine, &record), Ok(None));
    let candidates = book.candidates(&machine);
    assert_eq!(
        candidates,
        [
            Candidate { address: address(1), is_hearsay: false },
            Candidate { address: address(2), is_hearsay: true },
        ]
    );
    assert_eq!(book.binding_sequence(&machine, &AgentId([2; 32])), 7);
    assert_eq!(book.records[&machine].standing, Standing::Named);
    assert_eq!(book.record(&machine).unwrap()[0], 2, "it is written in the newest version");
    for bad in [&record[..record.len() - 1], &[&record[..], &[0]].concat(), &[3], &[]] {
        assert!(AddressBook::new().restore(machine, bad).is_err(), "{bad:?}");
    }
}

#[test]
fn strangers_of_one_network_push_out_nobody_but_each_other() {
    let mut book = AddressBook::new();
    book.name(machine(1), Some(address(1)));
    book.session_began(machine(2), elsewhere(2), 5, &[agent(2)]);
    book.session_began(machine(3), elsewhere(3), 5, &[]);
    book.raise(machine(3), Standing::Heard);
    for number in [2, 3] {
        assert_eq!(end(&mut book, number), None);
    }
    for number in 0..4 * STRANGERS_MAX {
        let host = u16::try_from(number % 250).unwrap();
        let source = SocketAddr::from(([203, 0, 113, 1], 4000 + host));
        let expected = number.checked_sub(PER_NETWORK_MAX).map(|lost| machine(10 + lost));
        assert_eq!(visit(&mut book, 10 + number, source), expected, "stranger {number}");
    }
    for number in 1..=3 {
        assert!(book.has_address(&machine(number)), "machine {number}");
    }
    assert_eq!(book.machine_of(&agent(2).agent), Some(machine(2)));
    assert_eq!(book.counts[Standing::Stranger as usize], PER_NETWORK_MAX + 1);
}

#[test]
fn strangers_of_many_networks_take_the_places_of_the_most_crowded_one() {
    let mut book = AddressBook::new();
    assert_eq!(visit(&mut book, 0, elsewhere(0)), None);
    let networks = STRANGERS_MAX / PER_NETWORK_MAX;
    for number in 1..STRANGERS_MAX {
        let network = u16::try_from(1 + number % networks).unwrap();
        assert_eq!(visit(&mut book, number, elsewhere(network)), None);
    }
    for number in 0..500 {
        let lost =
            visit(&mut book, 1_000_000 + number, elsewhere(1000 + u16::try_from(number).unwrap()));
        assert!(lost.is_some_and(|lost| lost != machine(0)), "{lost:?}");
    }
    assert!(book.has_address(&machine(0)), "it is alone in its network");
    assert_eq!(book.counts[Standing::Stranger as usize], STRANGERS_MAX);
}

#[test]
fn a_named_machine_gives_way_to_a_named_one_alone_and_a_kept_one_and_one_with_a_session_stay() {
    let mut book = AddressBook::new();
    for number in 0..NAMED_MAX {
        assert_eq!(book.name(machine(number), Some(address(1))).forgotten, None);
    }
    book.set_policy(machine(0), ConnectPolicy::Keep);
    book.session_began(machine(1), address(1), 5, &[]);
    for number in 0..10 {
        visit(&mut book, NAMED_MAX + number, address(1));
    }
    let lost =
        (0..3).map(|number| book.name(machine(100_000 + number), Some(address(1))).forgotten);
    assert_eq!(lost.collect::<Vec<_>>(), [2, 3, 4].map(|number| Some(machine(number))));
    assert_eq!(book.counts[Standing::Named as usize], NAMED_MAX);
    for number in [0, 1, NAMED_MAX] {
        assert!(book.has_address(&machine(number)), "machine {number}");
    }
}

#[test]
fn those_that_were_heard_have_a_limit_and_a_quota() {
    let hear = |book: &mut AddressBook, number: usize, address| {
        book.session_began(machine(number), address, 5, &[]);
        book.raise(machine(number), Standing::Heard);
        end(book, number);
    };
    let mut book = AddressBook::new();
    for number in 0..4 * PER_NETWORK_MAX {
        hear(&mut book, number, address(1));
    }
    assert_eq!(book.counts[Standing::Heard as usize], PER_NETWORK_MAX);
    for number in 0..4 * HEARD_MAX {
        hear(&mut book, 100_000 + number, elsewhere(u16::try_from(number % 100).unwrap()));
    }
    assert_eq!(book.counts[Standing::Heard as usize], HEARD_MAX);
    let left = book.of_network(Standing::Heard, Network::of(address(1).ip()));
    assert!((1..=HEARD_MAX / 100).contains(&left), "each network has its part: {left}");
}

#[test]
fn hearsay_beyond_its_limit_is_dropped() {
    let mut book = AddressBook::new();
    for number in 0..2 * HEARSAY_MAX {
        book.note_hearsay(machine(number), elsewhere(1));
    }
    assert_eq!(book.counts[Standing::Hearsay as usize], HEARSAY_MAX);
    assert!(book.has_address(&machine(0)) && !book.has_address(&machine(HEARSAY_MAX)));
    assert_eq!(book.record(&machine(0)), None, "it is not stored");
    book.forget_hearsay(&machine(0));
    book.note_hearsay(machine(HEARSAY_MAX), elsewhere(1));
    assert!(!book.has_address(&machine(0)) && book.has_address(&machine(HEARSAY_MAX)));
}

#[test]
fn the_newest_binding_of_a_machine_that_lost_its_place_stays_known() {
    let mut book = AddressBook::new();
    book.session_began(machine(0), address(1), 5, &[agent(9)]);
    end(&mut book, 0);
    for number in 1..=PER_NETWORK_MAX {
        visit(&mut book, number, address(1));
    }
    assert!(!book.has_address(&machine(0)));
    assert_eq!(book.machine_of(&agent(9).agent), None);
    assert_eq!(book.binding_sequence(&machine(0), &agent(9).agent), 9);
    // Hearsay about it neither uses up nor loses that.
    book.note_hearsay(machine(0), elsewhere(1));
    book.forget_hearsay(&machine(0));
    assert_eq!(book.binding_sequence(&machine(0), &agent(9).agent), 9);
    for number in 0..2 * RETIRED_MAX {
        let network = u16::try_from(100 + number % 1000).unwrap();
        book.session_began(machine(1000 + number), elsewhere(network), 5, &[agent(1)]);
        end(&mut book, 1000 + number);
    }
    assert_eq!(book.counts[Standing::Retired as usize], RETIRED_MAX);
    assert!(book.machines.len() <= book.records.len() * AGENTS_PER_MACHINE_MAX);
}

#[test]
fn the_address_at_which_a_session_ended_is_known() {
    let mut book = AddressBook::new();
    book.session_began(machine(0), address(1), 5, &[]);
    let changed = book.session_ended(machine(0), address(2), 9);
    assert_eq!(changed, Changed { is_changed: true, forgotten: None });
    assert_eq!(addresses(&book, &machine(0)), [address(2), address(1)]);
}

#[test]
fn agents_that_left_a_machine_leave_nothing_behind() {
    let mut book = AddressBook::new();
    for number in 1..=100 {
        book.session_began(machine(0), address(1), number.into(), &[agent(number)]);
        end(&mut book, 0);
    }
    assert_eq!(book.machines.len(), 1);
    assert_eq!(book.machine_of(&agent(100).agent), Some(machine(0)));
    // A control frame of a link: version 1, variant 2, token 1.
    assert!(book.restore(machine(1), &[1, 2, 1]).is_err(), "a record of another kind");
}

#[test]
fn the_most_valuable_machines_are_those_that_were_named_and_then_those_that_worked_last() {
    let mut book = AddressBook::new();
    book.session_began(machine(1), elsewhere(1), 9, &[]);
    book.session_began(machine(2), elsewhere(2), 10, &[]);
    book.session_began(machine(3), elsewhere(3), 5, &[]);
    book.session_began(machine(4), elsewhere(4), 1, &[]);
    book.name(machine(5), Some(elsewhere(5)));
    book.raise(machine(3), Standing::Heard);
    book.raise(machine(4), Standing::Named);
    assert_eq!(book.most_valuable(), [4, 3, 2, 1].map(machine));
    book.set_policy(machine(4), ConnectPolicy::Disconnected);
    book.set_policy(machine(2), ConnectPolicy::Keep);
    assert_eq!(book.most_valuable(), [3, 1].map(machine));
    assert!(book.requested(machine(4), false).is_changed, "it is asked for again");
    book.requested(machine(2), false);
    assert_eq!(book.most_valuable(), [4, 3, 1].map(machine));
    assert_eq!(book.kept(), [machine(2)], "to ask once does not end that");
}
