//! Worlds of couriers, step by step.

use bytes::Bytes;
use x0x_core::node::{Connect, DirectAcknowledged, ListPeers, Reply, SendDirect, Target};

use super::*;
use crate::courier::Courier;
use crate::network::Verdict;
use crate::recording::RecordingError;
use crate::{PartitionName, Recording};
use x0x_core::direct;
use x0x_core::link;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

type Couriers = World<Courier>;

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pair() -> Couriers {
    let mut world = Couriers::with_machines(WorldConfig::new(1, 2));
    connect(&mut world, A, B);
    world.run_for(second(1)).unwrap();
    assert!(world.is_linked(A, B));
    world
}

fn connect(world: &mut Couriers, from: NodeId, to: NodeId) {
    let machine = Some(world.node_config(to).machine_key.id());
    let target = Target::Address { address: world.address(to), machine };
    world.command(from, Connect { target, keep: true, timeout: second(5) }).unwrap();
}

fn send(world: &mut Couriers, text: &'static str) -> CommandId {
    let recipient = world.node_config(B).agent_key.id();
    let payload = Bytes::from_static(text.as_bytes());
    world.command(A, SendDirect { recipient, payload, timeout: second(5) }).unwrap()
}

#[test]
fn a_message_takes_the_latency_of_its_link() {
    let mut world = pair();
    let id = send(&mut world, "hello");
    world.run_for(second(1)).unwrap();
    let elapsed = Duration::from_millis(40);
    let expected = Reply::Direct(direct::Reply::SendDirect(Ok(DirectAcknowledged { elapsed })));
    assert_eq!(world.reply(id), Some(&expected));
    assert_eq!(world.outstanding(), 0);
}

#[test]
fn a_node_that_does_not_run_refuses_commands_until_it_restarts() {
    let mut world = pair();
    send(&mut world, "forgotten");
    world.apply(Step::Crash { node: A }).unwrap();
    assert!(world.machine(A).is_none());
    assert_eq!(world.outstanding(), 0);
    assert_eq!(world.command(A, ListPeers), Err(CommandError::Halted));
    world.apply(Step::Restart { node: A }).unwrap();
    // A courier greets only whom it does not know, so the other one has to begin.
    connect(&mut world, B, A);
    world.run_for(second(1)).unwrap();
    let id = send(&mut world, "again");
    world.run_for(second(1)).unwrap();
    assert!(matches!(world.reply(id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))));
    world.run_for(second(30)).unwrap();
    world.check().unwrap();
}

#[test]
fn a_socket_moves_with_and_without_the_node_knowing() {
    for announce in [true, false] {
        let mut world = pair();
        let address = "10.9.9.9:99".parse().unwrap();
        world.apply(Step::MoveSocket { node: A, address, announce }).unwrap();
        assert_eq!(world.address(A), address);
        let id = send(&mut world, "from elsewhere");
        world.run_for(second(1)).unwrap();
        assert!(
            matches!(world.reply(id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))),
            "{announce}"
        );
        let taken = Step::MoveSocket { node: B, address, announce };
        assert_eq!(
            world.apply(taken),
            Err(CommandError::Link(link::RequestError::InvalidAddress { address }))
        );
    }
}

#[test]
fn an_attacker_drops_changes_redirects_and_adds_datagrams() {
    let mut world = pair();
    let before = world.network().counters;
    world.set_interceptor(Some(Box::new(|_, packet, injected| {
        injected.push((second(1), packet.clone()));
        Verdict::Drop
    })));
    send(&mut world, "slow");
    world.run_for(Duration::from_millis(900)).unwrap();
    assert_eq!(world.network().counters.delivered, before.delivered);
    assert!(world.network().counters.intercepted > 0);
    world.run_for(second(3)).unwrap();
    assert_eq!(world.tally().delivered, 1);

    // A byte of the payload changed: the check knows that nobody sent this.
    world.set_interceptor(Some(Box::new(|_, packet, _| {
        if let Some(last) = packet.payload.last_mut() {
            *last ^= 1;
        }
        Verdict::Pass
    })));
    send(&mut world, "changed");
    let failure = world.run_for(second(1)).unwrap_err();
    assert!(failure.what.contains("never sent"), "{failure}");
}

#[test]
fn a_redirected_datagram_reaches_its_new_target() {
    let mut world = pair();
    let nobody = "10.8.8.8:8".parse().unwrap();
    world.set_interceptor(Some(Box::new(move |_, packet, _| {
        packet.target = nobody;
        Verdict::Duplicate
    })));
    send(&mut world, "astray");
    world.run_for(Duration::from_millis(100)).unwrap();
    assert_eq!(world.network().counters.unreachable, 2);
}

#[test]
fn the_steps_of_a_world_repeat_it() {
    let mut first = pair();
    let name = PartitionName(0);
    first.schedule(second(2), Step::Partition { name, groups: vec![vec![A]] });
    first.schedule(second(3), Step::Heal { name });
    send(&mut first, "one");
    first.run_until(Duration::from_millis(2100)).unwrap();
    send(&mut first, "two");
    first.run_until(second(9)).unwrap();

    assert_plays_again(&first);
}

/// Asserts that the recording of a world, written and read, makes the same world.
fn assert_plays_again(first: &Couriers) {
    let recording = Recording::from_bytes(&first.recording().to_bytes()).unwrap();
    let mut again: Couriers = recording.world();
    again.play(&recording).unwrap();
    assert_eq!(again.recording(), recording);
    assert_eq!(again.events(), first.events());
}

#[test]
fn a_planned_step_plays_at_its_place_among_events_of_its_time() {
    let mut first = pair();
    // Planned before the datagrams that arrive at the same time, so it comes before them.
    let at = first.now() + Duration::from_millis(40);
    first.schedule(at, Step::Crash { node: A });
    let id = send(&mut first, "the acknowledgement comes too late");
    first.run_for(second(1)).unwrap();
    assert_eq!(first.reply(id), None);

    let recording = first.recording();
    let mut again: Couriers = recording.world();
    again.play(&recording).unwrap();
    assert_eq!(again.recording(), recording);
}

#[test]
fn a_failure_plays_again() {
    let mut first = pair();
    let mut forged = vec![1];
    forged.extend(first.node_config(A).machine_key.id().0);
    forged.extend(first.node_config(A).agent_key.id().0);
    forged.extend([9; 16]);
    let (source, target, payload) = (first.address(A), first.address(B), Bytes::from(forged));
    first.apply(Step::Inject { source, target, ecn: None, payload }).unwrap();
    let failure = first.run_for(second(1)).unwrap_err();
    assert!(failure.what.contains("never sent"), "{failure}");

    let recording = Recording::from_bytes(&first.recording().to_bytes()).unwrap();
    let mut again: Couriers = recording.world();
    assert_eq!(again.play(&recording), Err(failure));
    assert_eq!(again.recording(), recording);
}

#[test]
fn what_is_no_recording_is_refused() {
    let bytes = pair().recording().to_bytes();
    let cases = [
        ("empty", &[][..], RecordingError::Format),
        ("other", b"x0x-sim steps 1\n", RecordingError::Format),
        ("cut", &bytes[..bytes.len() / 2], RecordingError::Content),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(Recording::from_bytes(bytes), Err(expected), "{name}");
    }
}

#[test]
fn nodes_that_share_a_host_have_ports_of_their_own() {
    let config = WorldConfig { nodes_per_host: 3, ..WorldConfig::new(2, 7) };
    let world = Couriers::with_machines(config);
    let addresses: Vec<String> = world.nodes().map(|n| world.address(n).to_string()).collect();
    assert_eq!(addresses[0], "10.0.0.1:4000");
    assert_eq!(addresses[2], "10.0.0.1:4002");
    assert_eq!(addresses[3], "10.0.0.2:4000");
    assert_eq!(addresses[6], "10.0.0.3:4000");
}

#[test]
fn a_host_that_sleeps_loses_what_arrives_and_is_late_with_its_timers() {
    for stops_clock in [false, true] {
        let mut world = pair();
        world.apply(Step::Sleep { node: B, stops_clock }).unwrap();
        assert!(!world.is_awake(B));
        let id = send(&mut world, "hello?");
        assert_eq!(world.command(B, ListPeers), Err(CommandError::Halted));
        world.run_for(second(3)).unwrap();
        assert_eq!(world.reply(id), None);
        assert!(world.network().counters.asleep > 10, "each repetition is lost");
        world.apply(Step::Wake { node: B }).unwrap();
        world.run_for(second(1)).unwrap();
        assert!(
            matches!(world.reply(id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))),
            "{stops_clock}"
        );
    }
}

#[test]
fn a_sender_that_slept_is_judged_by_when_it_was_awake() {
    for (stops_clock, is_late) in [(false, true), (true, false)] {
        let mut world = pair();
        world.apply(Step::Crash { node: B }).unwrap();
        let id = send(&mut world, "five seconds");
        world.run_for(second(2)).unwrap();
        world.apply(Step::Sleep { node: A, stops_clock }).unwrap();
        world.run_for(second(60)).unwrap();
        assert_eq!(world.reply(id), None);
        world.apply(Step::Wake { node: A }).unwrap();
        world.run_for(second(1)).unwrap();
        assert_eq!(world.reply(id).is_some(), is_late, "the clock stops: {stops_clock}");
        world.run_for(second(3)).unwrap();
        assert!(world.reply(id).is_some());
    }
}

#[test]
fn a_clock_that_runs_fast_ends_a_timeout_early() {
    let mut world = pair();
    world.apply(Step::Crash { node: B }).unwrap();
    let profile = ClockProfile { ahead_ms: 0, drift_ppm: 1_000_000 };
    world.apply(Step::SetClock { node: A, profile }).unwrap();
    let id = send(&mut world, "five seconds of its own");
    world.run_for(Duration::from_millis(2400)).unwrap();
    assert_eq!(world.reply(id), None);
    world.run_for(Duration::from_millis(200)).unwrap();
    assert!(world.reply(id).is_some());
}

/// A is at home, B in public.
fn at_home() -> Couriers {
    let nat = NatConfig { profile: crate::NatProfile::default(), behind: None };
    let place = Place { networks: vec![Some(NatId(0))], ..Place::default() };
    let config = WorldConfig { nats: vec![nat], places: vec![place], ..WorldConfig::new(1, 2) };
    let mut world = Couriers::with_machines(config);
    assert_eq!(world.address(A).to_string(), "192.168.0.1:4000");
    connect(&mut world, A, B);
    world.run_for(second(1)).unwrap();
    assert!(world.is_linked(A, B));
    world
}

#[test]
fn a_host_behind_a_nat_is_answered() {
    let mut world = at_home();
    let id = send(&mut world, "from home");
    world.run_for(second(1)).unwrap();
    assert!(matches!(world.reply(id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))));
}

#[test]
fn a_host_roams_to_another_network_and_a_nat_forgets() {
    let mut world = at_home();
    world.apply(Step::ResetNat { nat: NatId(0) }).unwrap();
    let id = send(&mut world, "seems to come from where it came from");
    world.run_for(second(1)).unwrap();
    assert!(matches!(world.reply(id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))));
    for (nat, expected) in [(None, "11.0.0.1:4000"), (Some(NatId(0)), "192.168.0.2:4000")] {
        world.apply(Step::Roam { node: A, socket: 0, nat, announce: true }).unwrap();
        assert_eq!(world.address(A).to_string(), expected);
        let id = send(&mut world, "from elsewhere");
        world.run_for(second(1)).unwrap();
        assert!(
            matches!(world.reply(id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))),
            "{expected}"
        );
    }
}

#[test]
fn an_interface_that_is_down_carries_nothing_and_the_last_one_stays_up() {
    let place = Place { networks: vec![None, None], ..Place::default() };
    let config = WorldConfig { places: vec![place], ..WorldConfig::new(1, 2) };
    let mut world = Couriers::with_machines(config);
    connect(&mut world, A, B);
    world.run_for(second(1)).unwrap();
    let down = |socket| Step::SetInterface { node: A, socket, is_up: false };
    // A courier sends from the first socket that it was told of.
    assert!(world.apply(down(0)).unwrap().is_some());
    let id = send(&mut world, "over the other");
    world.run_for(second(1)).unwrap();
    assert!(matches!(world.reply(id), Some(Reply::Direct(direct::Reply::SendDirect(Ok(_))))));
    assert_eq!(world.apply(down(1)), Ok(None), "one has to stay");
    assert_eq!(world.node_config(A).sockets, [world.addresses(A).nth(1).unwrap()]);
}

#[test]
fn worlds_with_nats_and_sleep_play_again() {
    let mut first = at_home();
    first.schedule(second(2), Step::Sleep { node: A, stops_clock: true });
    first.schedule(second(4), Step::Wake { node: A });
    first.schedule(second(5), Step::Roam { node: A, socket: 0, nat: None, announce: true });
    send(&mut first, "one");
    first.run_until(second(3)).unwrap();
    first.run_until(second(6)).unwrap();
    send(&mut first, "two");
    first.run_until(second(9)).unwrap();
    assert_plays_again(&first);
}
