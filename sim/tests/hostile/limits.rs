//! Limits that the node's own application can reach, or that the number of peers reaches.

use x0x_core::address_book::NAMED_MAX;
use x0x_core::identity::MachineId;
use x0x_core::link::ConnectError;
use x0x_core::link::{DIALS_MAX, WAITERS_MAX};
use x0x_core::node::{CommandError, Connect, Disconnect, Reply, Target};
use x0x_sim::{NodeId, Step, World, WorldConfig};

use super::arena::SECOND;
use x0x_core::link;

const NODE: NodeId = NodeId(0);

fn connect(number: u32, keep: bool) -> Connect {
    let address = (std::net::Ipv4Addr::from(0x5000_0000 + number), 4000).into();
    Connect { target: Target::Address { address, machine: None }, keep, timeout: SECOND }
}

#[test]
fn pursuits_have_a_limit_and_make_room_when_they_end() {
    let mut world: World = World::new(WorldConfig::new(1, 1));
    for number in 0..u32::try_from(DIALS_MAX).unwrap() {
        world.command(NODE, connect(number, false)).unwrap();
    }
    let more = world.command(NODE, connect(0xff_ffff, false));
    assert_eq!(more, Err(CommandError::Link(link::RequestError::TooManyConnects)));
    assert_eq!(world.machine(NODE).unwrap().link_usage().dials, DIALS_MAX);
    world.run_for(15 * SECOND).unwrap();
    world.check().unwrap();
    let usage = world.machine(NODE).unwrap().link_usage();
    assert_eq!((usage.dials, usage.connections), (0, 0));
    world.command(NODE, connect(0xff_ffff, false)).unwrap();
}

#[test]
fn callers_that_wait_have_a_limit_and_make_room_when_they_are_answered() {
    let mut world: World = World::new(WorldConfig::new(1, 1));
    for _ in 0..WAITERS_MAX {
        world.command(NODE, connect(1, true)).unwrap();
    }
    for number in [1, 2] {
        let more = world.command(NODE, connect(number, true));
        assert_eq!(
            more,
            Err(CommandError::Link(link::RequestError::TooManyConnects)),
            "address {number}"
        );
    }
    world.run_for(3 * SECOND).unwrap();
    world.check().unwrap();
    assert_eq!(world.outstanding(), 0);
    world.command(NODE, connect(1, true)).unwrap();
}

/// A record of a machine that the address book has no room for is deleted from the store, too.
#[test]
fn a_machine_that_had_to_be_forgotten_is_not_in_the_store_either() {
    let peer = NodeId(1);
    let mut world: World = World::new(WorldConfig::new(1, 2));
    let machine = world.node_config(peer).machine_key.id();
    let target = Target::Address { address: world.address(peer), machine: Some(machine) };
    world.command(NODE, Connect { target, keep: false, timeout: SECOND }).unwrap();
    world.run_for(SECOND).unwrap();
    assert!(world.is_linked(NODE, peer));
    let target = Target::Machine(machine);
    for (is_full, expected) in [(false, None), (true, Some(ConnectError::UnknownPeer))] {
        world.command(NODE, Disconnect { machine }).unwrap();
        let others = if is_full { NAMED_MAX } else { NAMED_MAX - 1 };
        for number in 0..u64::try_from(others).unwrap() {
            let mut id = [1; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let address = ([192, 0, 2, 1], 4000).into();
            let target = Target::Address { address, machine: Some(MachineId(id)) };
            let connect = Connect { target, keep: false, timeout: SECOND };
            world.command(NODE, connect).unwrap();
        }
        world.run_for(15 * SECOND).unwrap();
        world.apply(Step::Restart { node: NODE }).unwrap();
        let connect = Connect { target, keep: false, timeout: SECOND };
        let id = world.command(NODE, connect).unwrap();
        world.run_for(2 * SECOND).unwrap();
        let Some(Reply::Link(link::Reply::Connect(result))) = world.reply(id) else {
            panic!("no reply")
        };
        assert_eq!(result.clone().err(), expected, "full: {is_full}");
    }
    world.check().unwrap();
}
