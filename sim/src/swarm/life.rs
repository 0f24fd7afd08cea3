//! What happens after the faults: the world is healed, and then it has to live.

use std::time::Duration;

use x0x_core::node::{Disconnect, Publish};
use x0x_core::support::Rng;

use super::workload::{self, command, message, payload, subscribers, topic, wishes};
use super::{AGREEMENT_MAX, HEARING_MAX, RECOVERY_MAX, Swarm};
use crate::step::Expectation;
use crate::{Failure, LinkProfile, Machine, NodeId, Step, World, random};

/// How many messages are published to each topic at the end.
const PUBLISHED_MAX: usize = 6;

/// How many links are ended, to see how fast they come up again.
const ENDED_MAX: usize = 6;

/// How long on calm links a link may take to come up, a message to be acknowledged and one of a topic
/// to be heard, beside [`ROUNDS_MAX`] round trips over the slowest link.
const LINK_TIME: Duration = Duration::from_secs(2);
const MESSAGE_TIME: Duration = Duration::from_secs(1);
const TOPIC_TIME: Duration = Duration::from_secs(5);

/// See [`LINK_TIME`].
const ROUNDS_MAX: u32 = 5;

/// How long a node may hold something after the last thing happened.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// The size of what is sent at the end.
const SIZE: usize = 200;

/// Ends all faults, and has every application ask for what it wants.
pub(super) fn heal<M: Machine>(
    swarm: &Swarm,
    world: &mut World<M>,
    opened: &[Step],
) -> Result<(), Failure> {
    let act = |world: &mut World<M>, step| {
        // What is refused shows in what is demanded.
        let _ = world.apply(step);
    };
    act(world, Step::Calm);
    let link = swarm.options.link;
    let good =
        LinkProfile { loss: 0.0, burst: None, reorder: 0.0, duplicate: 0.0, corrupt: 0.0, ..link };
    act(world, Step::SetEveryLink { profile: good });
    for node in world.nodes() {
        act(world, Step::SetDisk { node, profile: swarm.options.disk });
        act(world, Step::Wake { node });
        for socket in 0..2 {
            act(world, Step::SetInterface { node, socket, is_up: true });
        }
    }
    // A node that starts again forgets a command that it has not stored.
    let (commands, others): (Vec<_>, Vec<_>) =
        opened.iter().partition(|step| matches!(step, Step::Command { .. }));
    for step in others.into_iter().chain(commands) {
        act(world, step.clone());
    }
    world.check()?;
    for node in world.nodes() {
        for step in wishes(swarm, world, node) {
            act(world, step);
        }
    }
    world.check()
}

/// Demands every link. What nodes know is old until a link that is gone must have timed out.
pub(super) fn demand_links<M: Machine>(swarm: &Swarm, world: &mut World<M>) -> Result<(), Failure> {
    let settle = world.config().link_config.idle_timeout;
    world.run_for(settle)?;
    let edges = swarm.ground.edges.iter();
    let wanted = edges.map(|&(a, b)| Expectation::Linked { a, b }).collect();
    demand(world, wanted, RECOVERY_MAX)
}

/// Demands that a message over each link arrives, in both directions.
///
/// Two hosts behind one NAT may talk through its outer side, where it may have forgotten one way of a
/// link that nobody refreshes: what comes back from another port does not. The link stands still then
/// until it times out, and is dialled again; after that it has to work. All others have one try.
pub(super) fn demand_messages<M: Machine>(
    swarm: &Swarm,
    world: &mut World<M>,
) -> Result<(), Failure> {
    let mut rng = rng(swarm, "messages");
    let has_common_nat = |&(a, b): &(NodeId, NodeId)| swarm.ground.have_common_nat(a, b);
    let (inner, outer): (Vec<_>, Vec<_>) =
        swarm.ground.edges.iter().copied().partition(has_common_nat);
    let outer = send_over(world, &outer, &mut rng);
    let mut wanted = send_over(world, &inner, &mut rng);
    demand(world, outer, workload::SEND_TIME)?;
    if !wait_for(world, &wanted, workload::SEND_TIME)? {
        world.run_for(AGREEMENT_MAX)?;
        wanted = send_over(world, &inner, &mut rng);
    }
    demand(world, wanted, workload::SEND_TIME)
}

/// Sends a message over each link in both directions, and returns what is to come of it.
fn send_over<M: Machine>(
    world: &mut World<M>,
    links: &[(NodeId, NodeId)],
    rng: &mut Rng,
) -> Vec<Expectation> {
    let mut wanted = Vec::new();
    for &(a, b) in links {
        for (from, to) in [(a, b), (b, a)] {
            let payload = payload(rng, SIZE);
            let step = message(world, from, to, payload.clone());
            // What is refused is not delivered.
            let _ = world.apply(step);
            wanted.push(Expectation::Delivered { from, to, payload });
        }
    }
    wanted
}

/// Demands that what is published now is heard by all to whom links lead.
pub(super) fn demand_gossip<M: Machine>(
    swarm: &Swarm,
    world: &mut World<M>,
) -> Result<(), Failure> {
    publish(swarm, world, HEARING_MAX)?;
    // What everybody has heard of, links that were there before carry at once.
    publish(swarm, world, promptly(swarm, TOPIC_TIME))
}

/// Publishes in every topic, and demands that all to whom links lead hear it within a time.
fn publish<M: Machine>(
    swarm: &Swarm,
    world: &mut World<M>,
    limit: Duration,
) -> Result<(), Failure> {
    let mut rng = rng(swarm, &format!("gossip at {:?}", world.now()));
    let mut wanted = Vec::new();
    for number in 0..swarm.options.topics {
        let members = subscribers(swarm, number);
        for &author in members.iter().take(PUBLISHED_MAX) {
            let (topic, payload) = (topic(number), payload(&mut rng, SIZE));
            let publish = Publish { topic: topic.clone(), payload: payload.clone() };
            // What is refused is not heard.
            let _ = world.apply(command(author, publish));
            let by: Vec<NodeId> = swarm.ground.joined(author, &members).into_iter().collect();
            wanted.push(Expectation::Heard { topic, author, payload, by });
        }
    }
    demand(world, wanted, limit)
}

/// Ends some links, and demands that they come up again and carry messages at once.
pub(super) fn demand_promptness<M: Machine>(
    swarm: &Swarm,
    world: &mut World<M>,
) -> Result<(), Failure> {
    let mut rng = rng(swarm, "promptness");
    let has_no_common_nat = |&(a, b): &(NodeId, NodeId)| !swarm.ground.have_common_nat(a, b);
    let mut links: Vec<_> = swarm.ground.edges.iter().copied().filter(has_no_common_nat).collect();
    while links.len() > ENDED_MAX {
        links.swap_remove(random::index(&mut rng, links.len()));
    }
    for &(from, to) in &links {
        let machine = world.node_config(to).machine_key.id();
        // What is refused shows in what is demanded.
        let _ = world.apply(command(from, Disconnect { machine }));
    }
    world.run_for(swarm.options.latency_max * 2)?;
    for &(from, to) in &links {
        let connect = workload::connect(world, from, to);
        let _ = world.apply(connect);
    }
    let wanted = links.iter().map(|&(a, b)| Expectation::Linked { a, b }).collect();
    demand(world, wanted, promptly(swarm, LINK_TIME))?;
    let wanted = send_over(world, &links, &mut rng);
    demand(world, wanted, promptly(swarm, MESSAGE_TIME))
}

fn promptly(swarm: &Swarm, time: Duration) -> Duration {
    time + 2 * ROUNDS_MAX * swarm.options.latency_max
}

/// Demands that no node holds anything of what it holds only while something happens.
pub(super) fn demand_idleness<M: Machine>(world: &mut World<M>) -> Result<(), Failure> {
    let nodes: Vec<NodeId> = world.nodes().collect();
    demand(world, nodes.into_iter().map(|node| Expectation::Idle { node }).collect(), IDLE_TIME)
}

/// Waits until everything is met; what is not is a step that fails the world.
fn demand<M: Machine>(
    world: &mut World<M>,
    wanted: Vec<Expectation>,
    limit: Duration,
) -> Result<(), Failure> {
    if wait_for(world, &wanted, limit)? {
        return Ok(());
    }
    for expectation in wanted {
        if world.meets(&expectation).is_err() {
            // It is no command.
            let _ = world.apply(Step::Expect(expectation));
        }
    }
    world.check()
}

/// Waits until everything is met, and tells whether it is.
fn wait_for<M: Machine>(
    world: &mut World<M>,
    wanted: &[Expectation],
    limit: Duration,
) -> Result<bool, Failure> {
    world.run_until_true(limit, |world| wanted.iter().all(|wanted| world.meets(wanted).is_ok()))
}

fn rng(swarm: &Swarm, name: &str) -> Rng {
    random::from_number(swarm.options.seed).fork("swarm life").fork(name)
}
