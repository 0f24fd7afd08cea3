//! Histories of worlds of couriers.

use bytes::Bytes;
use x0x_core::gossip::MessageId;
use x0x_core::node::{Connect, Event, ListPeers, Publish, Reply, SendDirect, Subscribe, Target};
use x0x_core::overlay::ItemId;

use super::*;
use crate::courier::Courier;
use crate::report::markup;
use crate::{DiskProfile, LinkProfile, NetworkCounters, Step, World, WorldConfig};
use x0x_core::gossip;
use x0x_core::link;

type Couriers = World<Courier>;

const SECRET: &str = "~x0x secret~ and more";

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn about() -> About {
    About {
        title: "A <small> world".to_owned(),
        command: "again & again".to_owned(),
        numbers: vec![("seed".to_owned(), "1".to_owned())],
        ..About::default()
    }
}

fn draw(world: &Couriers, focus: &Focus) -> String {
    let failure = world.failure().map(ToString::to_string);
    let page = page(world, &About { failure, ..about() }, focus).expect("it keeps its history");
    markup::check(&page);
    for node in world.nodes() {
        let config = world.node_config(node);
        for key in [config.machine_key.id().short(), config.agent_key.id().short()] {
            assert!(!page.contains(&key), "the page names a key");
        }
    }
    assert!(!page.contains("secret"), "the page shows a message");
    page
}

fn connect(world: &mut Couriers, from: u32, to: u32) {
    let (from, to) = (NodeId(from), NodeId(to));
    let machine = Some(world.node_config(to).machine_key.id());
    let target = Target::Address { address: world.address(to), machine };
    world.command(from, Connect { target, keep: true, timeout: second(5) }).unwrap();
}

fn send(from: u32, to: u32, world: &Couriers) -> Step {
    let recipient = world.node_config(NodeId(to)).agent_key.id();
    let payload = Bytes::from_static(SECRET.as_bytes());
    let request = SendDirect { recipient, payload, timeout: second(5) }.into();
    Step::Command { node: NodeId(from), request }
}

/// Three nodes, a message that arrives, and one to a node that is down.
fn eventful(keep: bool) -> Couriers {
    let mut world = Couriers::with_machines(WorldConfig::new(1, 3));
    if keep {
        world.keep_history();
    }
    connect(&mut world, 0, 1);
    connect(&mut world, 1, 2);
    world.schedule(second(2), send(0, 1, &world));
    let groups = vec![vec![NodeId(2)]];
    world.schedule(second(3), Step::Partition { name: PartitionName(7), groups });
    world.schedule(second(4), Step::Heal { name: PartitionName(7) });
    let node = NodeId(1);
    let full = DiskProfile { writes_left: Some(3), ..DiskProfile::default() };
    // What is as it was is no change.
    world.schedule(second(5), Step::SetDisk { node, profile: DiskProfile::default() });
    world.schedule(second(6), Step::SetDisk { node, profile: full });
    world.schedule(second(7), Step::Sleep { node, stops_clock: false });
    world.schedule(second(8), Step::Wake { node });
    world.schedule(second(9), Step::Crash { node });
    world.schedule(second(10), send(0, 1, &world));
    world.schedule(second(20), Step::Restart { node });
    world.run_until(second(30)).unwrap();
    world
}

#[test]
fn a_world_is_the_same_with_a_history_and_without() {
    let (with, without) = (eventful(true), eventful(false));
    assert_eq!(with.trace_hash(), without.trace_hash());
    assert_eq!(with.tally(), without.tally());
    assert!(page(&without, &about(), &Focus::default()).is_none());
    let again = eventful(true);
    assert_eq!(draw(&with, &Focus::default()), draw(&again, &Focus::default()));
}

#[test]
fn a_page_tells_what_happened() {
    let page = draw(&eventful(true), &Focus::default());
    for part in [
        "<title>A &lt;small&gt; world</title>",
        "<code>again &amp; again</code>",
        "Every check passed.",
        "<title>n1: runs, 0.000 s to 7.000 s</title>",
        "<title>n1: sleeps, 7.000 s to 8.000 s</title>",
        "<title>n1: is down, 9.000 s to 20.000 s</title>",
        "<title>network: partition 7, 3.000 s to 4.000 s</title>",
        "<title>n1 at 6.000 s: its disk is full after 3 more writes</title>",
        "<title>n1 at 9.000 s: crashes</title>",
        "<title>n1 at 20.000 s: starts again</title>",
        "<title>n0 and n1: up at the end, times up: 1</title>",
        ">n1: the link to n0 is up</text>",
        ">n0 sends message 1 to n1, 21 bytes</text>",
        ">n1 gets message 1</text>",
        ">n0 knows that message 1 arrived</text>",
        ">message 2 of n0 to n1 ends: no acknowledgement in time</text>",
        ">network: partition 7: n2 | the others</text>",
        "from sent to acknowledged, 1 in all",
        "<b>Datagrams</b>",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert!(!page.contains("at 5.000 s"), "nothing changed");
}

#[test]
fn the_sequence_is_that_of_the_nodes_and_the_time_that_were_chosen() {
    let world = eventful(true);
    let focus =
        Focus { between: vec![NodeId(0), NodeId(2)], from: second(3), until: Some(second(9)) };
    let page = draw(&world, &focus);
    assert!(page.contains(">network: partition 7 ends</text>"));
    for other in ["n1 gets message 1", ">n1: crashes", "the link to n2 is up"] {
        assert!(!page.contains(other), "{other}");
    }
    let focus = Focus { between: vec![NodeId(0), NodeId(1)], from: second(9), until: None };
    let page = draw(&world, &focus);
    assert!(page.contains(">message 2 of n0 to n1 ends"));
    assert!(!page.contains("message 1"), "it was before");
}

#[test]
fn a_world_that_failed_says_so() {
    let mut world = Couriers::with_machines(WorldConfig::new(1, 3));
    world.keep_history();
    connect(&mut world, 0, 1);
    world.run_until(second(1)).unwrap();
    let expectation = crate::step::Expectation::Linked { a: NodeId(0), b: NodeId(2) };
    world.schedule(second(3), Step::Expect(expectation));
    world.run_until(second(9)).unwrap_err();
    let page = draw(&world, &Focus::default());
    let failure = "seed 1 at 3.000000 s, node n0: the link to n2 stays down";
    assert!(page.contains(&format!("<p class=\"failure\">{failure}</p>")), "{page}");
    assert!(page.contains(">FAILED: the link to n2 stays down</text>"));
    assert!(page.contains("<title>failed at 3.000 s</title>"));
    assert!(!page.contains("Every check passed"));
}

#[test]
fn topics_are_numbered_and_who_starts_again_hears_nothing_twice() {
    let mut world = Couriers::with_machines(WorldConfig::new(1, 2));
    world.keep_history();
    let topic = Topic::new(SECRET).expect("a name");
    let publish = Publish { topic: topic.clone(), payload: Bytes::from_static(b"secret") };
    let event = Event::Gossip(gossip::Event::Received {
        topic: topic.clone(),
        author: world.node_config(NodeId(0)).agent_key.id(),
        payload: publish.payload.clone(),
        published_at: Duration::ZERO,
        message: MessageId { batch: ItemId([0; 16]), index: 0 },
    });
    world.tell(|history, _| {
        let more = Publish { topic: topic.clone(), payload: Bytes::from_static(b"a secret, too") };
        let requests = [Subscribe { topic }.into(), publish.into(), more.into(), ListPeers.into()];
        for (request, id) in requests.into_iter().zip(1..) {
            let asked = history.note(&request);
            history.accepted(second(1), NodeId(0), CommandId(id), asked);
        }
        for at in 2..5 {
            history.event(second(at), NodeId(1), &event);
        }
        let heard = BTreeMap::from([(NodeId(1), second(2))]);
        assert_eq!(history.publications.len(), 2);
        assert_eq!((history.publications[0].heard.clone(), history.heard), (heard, 1));
        assert_eq!(history.lives[1].figures.heard, 3);
    });
    world.run_until(second(5)).unwrap();
    let page = draw(&world, &Focus::default());
    assert!(page.contains(">n0 publishes p1…p2 to topic 0, 19 bytes</text>"), "{page}");
    assert!(page.contains(">n1 hears p1 of n0</text>"));
    assert!(page.contains("by those who were away, too, 1 in all"));
}

#[test]
fn what_a_history_keeps_has_a_limit() {
    let mut world = Couriers::with_machines(WorldConfig::new(1, 40));
    world.keep_history();
    let ids: Vec<_> = world.nodes().map(|node| world.node_config(node).machine_key.id()).collect();
    let recipient = world.node_config(NodeId(1)).agent_key.id();
    let author = world.node_config(NodeId(0)).agent_key.id();
    let topic = Topic::new(SECRET).expect("a name");
    world.tell(|history, _| {
        let ms = |n: usize| Duration::from_millis(n as u64);
        let counters = NetworkCounters::default();
        for n in 0..MESSAGES_MAX + 10 {
            let payload = Bytes::copy_from_slice(&n.to_le_bytes());
            let send = SendDirect { recipient, payload: payload.clone(), timeout: second(5) };
            let asked = history.note(&send.into());
            history.accepted(ms(n), NodeId(0), CommandId(2 * n as u64), asked);
            let asked = history.note(&Publish { topic: topic.clone(), payload }.into());
            history.accepted(ms(n), NodeId(0), CommandId(2 * n as u64 + 1), asked);
            history.look(ms(n), &counters);
        }
        for n in 0..HEARD_MAX + 10 {
            let node = NodeId(1 + u32::try_from(n % 5).unwrap());
            let event = Event::Gossip(gossip::Event::Received {
                topic: topic.clone(),
                author,
                payload: Bytes::copy_from_slice(&(n / 5).to_le_bytes()),
                published_at: Duration::ZERO,
                message: MessageId { batch: ItemId([0; 16]), index: 0 },
            });
            history.event(ms(n), node, &event);
        }
        for n in 0..LINKS_MAX + 10 {
            let (node, machine) = (NodeId(u32::try_from(n % 40).unwrap()), ids[n / 40 % 40]);
            let address = ([10, 0, 0, 1], 1).into();
            history.event(
                ms(n),
                node,
                &Event::Link(link::Event::PeerUp { machine, agents: Vec::new(), address }),
            );
        }
        for n in 0..CHANGES_MAX + 10 {
            let profile = LinkProfile::default();
            history.step(ms(n + 1), &Step::SetEveryLink { profile });
            let state = if n % 2 == 0 { State::Asleep } else { State::Running };
            history.turn(ms(n), NodeId(0), state);
            history.step(ms(n), &Step::Partition { name: PartitionName(0), groups: Vec::new() });
        }
    });
    let history = world.history.as_ref().expect("it keeps one");
    assert_eq!(history.messages.len(), MESSAGES_MAX);
    assert_eq!((history.open.len(), history.under_way.len()), (MESSAGES_MAX, MESSAGES_MAX));
    assert_eq!(history.publications.len(), MESSAGES_MAX);
    assert_eq!(history.publications.iter().map(|p| p.heard.len()).sum::<usize>(), HEARD_MAX);
    assert_eq!(history.links.len(), LINKS_MAX);
    assert_eq!((history.changes.len(), history.states), (CHANGES_MAX, CHANGES_MAX));
    assert_eq!(history.splits.len(), CHANGES_MAX);
    let left_out = history.left_out;
    assert_eq!((left_out.messages, left_out.publications, left_out.heard), (10, 10, 10));
    assert_eq!((left_out.links, left_out.changes), (10, 10 + 10 + 10 + CHANGES_MAX as u64));
    let page = draw(&world, &Focus::default());
    assert!(page.contains("The page knows the first 50000 direct messages; 10 more are left out."));
    assert!(page.len() < 2_000_000, "the page has {} bytes", page.len());
}

#[test]
fn a_message_whose_sender_crashes_has_an_end() {
    let mut world = Couriers::with_machines(WorldConfig::new(1, 2));
    world.keep_history();
    world.apply(send(0, 1, &world)).unwrap();
    world.apply(Step::Crash { node: NodeId(0) }).unwrap();
    let page = draw(&world, &Focus::default());
    assert!(page.contains(">message 1 of n0 to n1 ends: its sender stopped</text>"), "{page}");
    world.tell(|history, _| {
        let reply = Reply::Link(link::Reply::ListPeers(Vec::new()));
        history.event(second(1), NodeId(1), &Event::Reply { command: CommandId(9), reply });
        assert!(history.open.is_empty());
    });
}
