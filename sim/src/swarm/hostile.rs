//! Hosts that are hostile from the beginning to the end.

use std::time::Duration;

use bytes::Bytes;
use x0x_core::node::{Publish, Subscribe};

use super::workload::{command, connect, topic};
use super::{Plan, Swarm};
use crate::hostile::STRANGERS;
use crate::{Machine, NodeId, Step, World};

/// What a stranger says in a topic.
const GREETING: &[u8] = b"a stranger was here";

/// Has the hostile hosts do what strangers do, from the beginning on and again when the world is
/// healed. They go for those whom everybody can dial, and for a topic.
pub(super) fn plan<M: Machine>(swarm: &Swarm, world: &World<M>, plan: &mut Plan) {
    for hostile in swarm.hostile() {
        let mut steps = vec![Step::Upgrade { node: hostile, versions: STRANGERS }];
        let honest = (0..swarm.options.nodes).map(NodeId);
        let open = honest.filter(|&node| swarm.ground.can_dial(hostile, node));
        steps.extend(open.take(4).map(|node| connect(world, hostile, node)));
        if swarm.options.topics > 0 {
            let payload = Bytes::from_static(GREETING);
            steps.push(command(hostile, Subscribe { topic: topic(0) }));
            steps.push(command(hostile, Publish { topic: topic(0), payload }));
        }
        for step in steps {
            plan.add(Duration::ZERO, step.clone());
            plan.opened.push(step);
        }
    }
}
