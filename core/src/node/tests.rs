//! The order in which a node tells what happened.

use std::time::Duration;

use bytes::Bytes;

use super::{Config, Event, Node, Output, Restored, Time};
use crate::direct;
use crate::identity::{AgentId, AgentKey, MachineId, MachineKey};
use crate::link;
use crate::link::{Class, DownReason, LinkConfig, Output as Link};
use crate::support::testing::start;

pub(super) fn config() -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[1; 32]),
        agent_key: AgentKey::from_seed(&[2; 32]),
        certificate: None,
        sockets: vec![([192, 0, 2, 1], 5483).into()],
        link: LinkConfig::default(),
        overlay: crate::overlay::Config::default(),
        memory: crate::support::MemoryBudget::DEFAULT,
    }
}

#[test]
fn a_message_is_told_before_the_end_of_its_session() {
    let config = config();
    let recipient = config.agent_key.id();
    let unix_time = Duration::from_secs(1_750_000_000);
    let mut node =
        Node::new(config, [3; 32], Restored::default(), Time { now: start(), unix_time }).unwrap();

    let (machine, agent) = (MachineId([7; 32]), AgentId([8; 32]));
    let address = ([192, 0, 2, 2], 5483).into();
    let open = [&[1, 0], &[9; 8][..], &[0], &recipient.0, &[1, 1, 1]].concat();
    let frame = |frame: Vec<u8>| Link::Frame { machine, class: Class::Direct, frame: frame.into() };
    let time = node.time();
    node.modules.link.run(time, |_, context| {
        context.emit(Link::PeerUp { machine, agents: vec![agent], incarnation: 1, address });
        context.emit(frame(open));
        context.emit(frame(b"\x03\x00\x01hello".to_vec()));
        context.emit(Link::PeerDown { machine, reason: DownReason::Protocol });
    });
    node.route();

    let mut told = Vec::new();
    while let Output::Event(event) = node.poll_output(&mut Vec::new()) {
        told.push(event);
    }
    let [
        Event::Link(link::Event::PeerUp { .. }),
        Event::Direct(direct::Event::Received { payload, .. }),
        Event::Link(link::Event::PeerDown { .. }),
    ] = told.as_slice()
    else {
        panic!("{told:?}");
    };
    assert_eq!(payload, &Bytes::from("hello"));
}
