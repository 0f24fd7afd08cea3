//! Worlds of couriers, step by step.

use bytes::Bytes;
use x0x_core::node::{Connect, DirectAcknowledged, ListPeers, Reply, SendDirect, Target};

use super::*;
use crate::courier::Courier;
use crate::network::Verdict;
use crate::recording::RecordingError;
use crate::{PartitionName, Recording};

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
    let expected = Reply::SendDirect(Ok(DirectAcknowledged { elapsed }));
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
    assert!(matches!(world.reply(id), Some(Reply::SendDirect(Ok(_)))));
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
        assert!(matches!(world.reply(id), Some(Reply::SendDirect(Ok(_)))), "{announce}");
        let taken = Step::MoveSocket { node: B, address, announce };
        assert_eq!(world.apply(taken), Err(CommandError::InvalidAddress { address }));
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
        ("other", b"x0x-sim steps 2\n", RecordingError::Format),
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
