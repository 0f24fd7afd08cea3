//! Worlds in which everything is drawn, and what hosts of real networks live through.

#![expect(clippy::unwrap_used, reason = "a world that cannot go on has failed its test")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::gossip::Topic;
use x0x_core::identity::MachineId;
use x0x_core::link;
use x0x_core::node::{CommandId, Connect, Event, Publish, Reply, SendDirect, Subscribe, Target};
use x0x_sim::hostile::{AnyNode, STRANGERS};
use x0x_sim::nat::{Dependence, Ports};
use x0x_sim::swarm::{Ground, Options, Swarm};
use x0x_sim::{
    ClockProfile, NatConfig, NatId, NatProfile, NodeId, Place, Recording, Step, World, WorldConfig,
};

const SECOND: Duration = Duration::from_secs(1);
const PUBLIC: NodeId = NodeId(0);
const HOME: NodeId = NodeId(1);

/// Seeds that run on each change.
const SEEDS: std::ops::Range<u64> = 1..11;

/// Seeds that found a fault, with a word on what they found.
const FOUND: [(u64, &str); 3] = [
    (3, "a peer that refused in two topics was dialled in turns, without a pause"),
    (39, "what an agent said in an earlier run was told to it after what it says now"),
    (42, "the same as 3"),
];

#[test]
fn drawn_worlds_keep_the_rules_and_heal() {
    for seed in SEEDS.chain(FOUND.map(|(seed, _)| seed)) {
        Swarm::new(seed).run().unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Plays worlds with the program, and returns the lines with the trace hashes.
fn traces(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x0x-sim"));
    let output = command.args(["swarm", "--options"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| line.contains("trace"));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn one_and_two_jobs_give_the_same_traces() {
    for more in [&[][..], &["--modelled"]] {
        let run =
            |jobs| traces(&[&["--seed", "20", "--seeds", "4", "--jobs", jobs], more].concat());
        let one = run("1");
        assert_eq!(one.len(), 4);
        assert_eq!(one, run("2"));
    }
}

/// A world with a public node and one behind NATs, linked.
fn at_home(nats: Vec<NatConfig>) -> World {
    let inner = NatId(u32::try_from(nats.len() - 1).unwrap());
    let home = Place { networks: vec![Some(inner)], ..Place::default() };
    let places = vec![Place::default(), home];
    let mut world = World::new(WorldConfig { nats, places, ..WorldConfig::new(3, 2) });
    let machine = Some(world.node_config(PUBLIC).machine_key.id());
    let target = Target::Address { address: world.address(PUBLIC), machine };
    world.command(HOME, Connect { target, keep: true, timeout: 20 * SECOND }).unwrap();
    assert!(world.run_until_true(5 * SECOND, |world| world.is_linked(PUBLIC, HOME)).unwrap());
    world
}

fn strict(ports: Ports) -> NatProfile {
    NatProfile {
        mapping: Dependence::AddressAndPort,
        ports,
        timeout: 30 * SECOND,
        inbound_refreshes: false,
        ..NatProfile::default()
    }
}

fn send(world: &mut World, from: NodeId, to: NodeId) -> CommandId {
    let recipient = world.node_config(to).agent_key.id();
    let payload = Bytes::copy_from_slice(&world.now().as_nanos().to_be_bytes());
    world.command(from, SendDirect { recipient, payload, timeout: 20 * SECOND }).unwrap()
}

fn assert_acknowledged(world: &mut World, id: CommandId) {
    world.run_for(10 * SECOND).unwrap();
    let reply = world.reply(id);
    assert!(matches!(reply, Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))), "{reply:?}");
}

#[test]
fn a_link_out_of_a_home_behind_a_carrier_lives_on_keep_alives() {
    let carrier = NatConfig { profile: strict(Ports::Random), behind: None };
    let home = NatConfig { profile: strict(Ports::Sequential), behind: Some(NatId(0)) };
    let mut world = at_home(vec![carrier, home]);
    world.run_for(600 * SECOND).unwrap();
    assert_eq!(world.tally().links_down, 0);
    let id = send(&mut world, PUBLIC, HOME);
    assert_acknowledged(&mut world, id);
}

#[test]
fn a_link_survives_a_nat_that_forgets_and_a_host_that_roams() {
    let nat = NatConfig { profile: strict(Ports::Random), behind: None };
    let mut world = at_home(vec![nat]);
    let roam = |nat, announce| Step::Roam { node: HOME, socket: 0, nat, announce };
    let home = NatId(0);
    let changes = [
        Step::ResetNat { nat: home },
        roam(None, true),
        roam(Some(home), true),
        roam(None, false),
        roam(Some(home), false),
    ];
    for change in changes {
        world.apply(change.clone()).unwrap();
        let id = send(&mut world, HOME, PUBLIC);
        assert_acknowledged(&mut world, id);
        let id = send(&mut world, PUBLIC, HOME);
        assert_acknowledged(&mut world, id);
        assert_eq!(world.tally().links_down, 0, "{change:?}");
    }
    assert!(world.tally().paths_changed >= 5, "{:?}", world.tally());
}

#[test]
fn a_host_that_starts_again_with_a_clock_that_went_back_is_let_in() {
    let nat = NatConfig { profile: NatProfile::default(), behind: None };
    let mut world = at_home(vec![nat]);
    let restart = |world: &mut World, ahead_ms| {
        let profile = ClockProfile { ahead_ms, drift_ppm: 0 };
        world.apply(Step::SetClock { node: HOME, profile }).unwrap();
        world.apply(Step::Restart { node: HOME }).unwrap();
        let machine = Some(world.node_config(PUBLIC).machine_key.id());
        let target = Target::Address { address: world.address(PUBLIC), machine };
        world.command(HOME, Connect { target, keep: true, timeout: 20 * SECOND }).unwrap();
        world.run_for(100 * SECOND).unwrap();
        world.is_linked(PUBLIC, HOME)
    };
    assert!(restart(&mut world, -60_000), "its clock shows a minute less");
    assert!(restart(&mut world, 0), "its clock is right again");
}

/// Publishes from each of the two nodes and returns whether the other heard it.
fn are_heard(world: &mut World) -> [bool; 2] {
    let topic = Topic::new("news").unwrap();
    [(PUBLIC, HOME), (HOME, PUBLIC)].map(|(from, to)| {
        let text = Bytes::copy_from_slice(&world.now().as_nanos().to_be_bytes());
        let publish = Publish { topic: topic.clone(), payload: text.clone() };
        world.command(from, publish).unwrap();
        world.run_for(40 * SECOND).unwrap();
        world.events().iter().any(|logged| {
            logged.node == to
                && matches!(&logged.event, Event::Gossip(gossip::Event::Received { payload, .. }) if *payload == text)
        })
    })
}

/// A world at home of which both nodes are in a topic.
fn talking() -> World {
    let nat = NatConfig { profile: strict(Ports::Random), behind: None };
    let mut world = at_home(vec![nat]);
    for node in [PUBLIC, HOME] {
        world.command(node, Subscribe { topic: Topic::new("news").unwrap() }).unwrap();
    }
    world.run_for(5 * SECOND).unwrap();
    assert_eq!(are_heard(&mut world), [true; 2]);
    world
}

#[test]
fn a_subscriber_at_home_hears_and_is_heard() {
    let world = talking();
    assert_eq!((world.tally().published, world.tally().heard), (2, 4));
}

#[test]
fn a_laptop_that_slept_with_its_clock_is_heard_and_hears() {
    let mut world = talking();
    world.apply(Step::Sleep { node: HOME, stops_clock: true }).unwrap();
    world.run_for(600 * SECOND).unwrap();
    world.apply(Step::Wake { node: HOME }).unwrap();
    world.run_for(90 * SECOND).unwrap();
    assert_eq!(are_heard(&mut world), [true; 2]);
}

#[test]
fn a_node_whose_clock_was_wrong_is_heard_when_it_is_set_right() {
    for ahead_ms in [3_600_000, -3_600_000] {
        let mut world = talking();
        for (ahead_ms, is_heard) in [(ahead_ms, false), (0, true)] {
            let profile = ClockProfile { ahead_ms, drift_ppm: 0 };
            world.apply(Step::SetClock { node: HOME, profile }).unwrap();
            world.run_for(30 * SECOND).unwrap();
            assert_eq!(are_heard(&mut world), [is_heard; 2], "{ahead_ms}");
        }
    }
}

/// A minute without a sign of life ends the link; it comes back by itself.
#[test]
fn a_laptop_that_slept_comes_back() {
    for stops_clock in [false, true] {
        let nat = NatConfig { profile: strict(Ports::Random), behind: None };
        let mut world = at_home(vec![nat]);
        world.apply(Step::Sleep { node: HOME, stops_clock }).unwrap();
        world.run_for(60 * SECOND).unwrap();
        world.apply(Step::Wake { node: HOME }).unwrap();
        world.run_for(90 * SECOND).unwrap();
        world.check_agreement().unwrap();
        assert!(world.is_linked(PUBLIC, HOME), "{stops_clock}");
        let id = send(&mut world, PUBLIC, HOME);
        assert_acknowledged(&mut world, id);
    }
}

/// Counts the sessions that a node had with each other machine.
fn sessions(world: &World<AnyNode>, node: NodeId) -> BTreeMap<MachineId, usize> {
    let mut sessions = BTreeMap::new();
    for logged in world.events().iter().filter(|logged| logged.node == node) {
        if let Event::Link(link::Event::PeerUp { machine, .. }) = logged.event {
            *sessions.entry(machine).or_default() += 1;
        }
    }
    sessions
}

#[test]
fn a_hostile_host_comes_under_ever_new_identities_and_plays_again() {
    let (victim, hostile) = (NodeId(0), NodeId(1));
    let mut world = World::<AnyNode>::with_machines(WorldConfig::new(5, 2));
    world.expect_strangers(hostile);
    let target = Target::Address { address: world.address(victim), machine: None };
    world.apply(Step::Upgrade { node: hostile, versions: STRANGERS }).unwrap();
    let connect = Connect { target, keep: true, timeout: 20 * SECOND };
    world.command(hostile, connect).unwrap_err();
    world.run_for(30 * SECOND).unwrap();
    let machines = sessions(&world, victim).len();
    assert!((15..100).contains(&machines), "{machines} machines");

    let recording = Recording::from_bytes(&world.recording().to_bytes()).unwrap();
    let mut again: World<AnyNode> = recording.world();
    again.play(&recording).unwrap();
    assert_eq!(again.trace_hash(), world.trace_hash());
}

#[test]
fn strangers_without_end_part_nobody_and_silence_nobody() {
    for seed in [3, 8] {
        let mut options = Options::draw(seed);
        (options.hostile, options.topics) = (2, options.topics.max(1));
        let ground = Ground::draw(&options);
        Swarm { options, ground }.run().unwrap_or_else(|failure| panic!("{failure}"));
    }
}
