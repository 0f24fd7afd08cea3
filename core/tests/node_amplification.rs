//! What a stranger makes a node send to an address that has not proven itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use x0x_core::identity::{AgentKey, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::{
    Command, CommandId, Config, Connect, Node, Output, Restored, Target, Time, WriteId,
};
use x0x_core::transport::Datagram;

/// The size of the datagrams of a handshake.
const DATAGRAM_SIZE: usize = 1200;

fn address(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 5483).into()
}

fn time(now: Instant) -> Time {
    Time { now, unix_time: Duration::from_secs(1_750_000_000) }
}

fn node(number: u8, now: Instant) -> Node {
    let config = Config {
        machine_key: MachineKey::from_seed(&[number; 32]),
        agent_key: AgentKey::from_seed(&[number + 100; 32]),
        certificate: None,
        sockets: vec![address(number)],
        link: LinkConfig::default(),
        overlay: x0x_core::overlay::Config::default(),
        memory: x0x_core::support::MemoryBudget::DEFAULT,
    };
    Node::new(config, [number; 32], Restored::default(), time(now))
        .expect("the configuration is sound")
}

/// Takes the datagrams that a node sends, and its deadline.
fn drain(node: &mut Node, now: Instant) -> (Vec<Vec<u8>>, Option<Instant>) {
    let (mut datagrams, mut buf) = (Vec::new(), Vec::new());
    loop {
        match node.poll_output(&mut buf) {
            Output::Transmit(transmit) => {
                let size = transmit.segment_size.unwrap_or(transmit.size);
                datagrams.extend(buf.chunks(size).map(<[u8]>::to_vec));
            }
            Output::Store(batch) => node.handle_stored(time(now), WriteId(batch.id.0), Ok(())),
            Output::Load(_) | Output::Event(_) | Output::Settled => {}
            Output::Idle { deadline } => return (datagrams, deadline.map(|deadline| deadline.at)),
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an instant has no other constructor")]
fn what_comes_from_elsewhere_does_not_count_for_an_unproven_address() {
    let mut now = Instant::now();
    let (mut client, mut server) = (node(1, now), node(2, now));
    let target = Target::Address { address: address(2), machine: None };
    let connect = Connect { target, keep: false, timeout: Duration::from_secs(9) };
    client
        .handle_command(time(now), Command { id: CommandId(1), request: connect.into() })
        .unwrap();

    let give = |server: &mut Node, source, bytes: &[u8]| {
        let payload = BytesMut::from(bytes);
        let local = address(2);
        server.handle_datagram(time(now), Datagram { source, local, ecn: None, payload });
    };
    let mut came = 0;
    for datagram in drain(&mut client, now).0 {
        came += datagram.len();
        give(&mut server, address(1), &datagram);
    }
    let (first, mut deadline) = drain(&mut server, now);
    // A long header: version, target id, source id. The source id is the server's.
    let source_at = 6 + usize::from(first[0][5]);
    let source_len = usize::from(first[0][source_at]);
    let mut forged = vec![0xc0, 0, 0, 0, 1, 8];
    forged.extend_from_slice(&first[0][source_at + 1..=source_at + source_len]);
    forged.resize(DATAGRAM_SIZE, 0);
    for _ in 0..8 {
        give(&mut server, address(3), &forged);
    }

    let mut went: usize = first.iter().map(Vec::len).sum();
    for _ in 0..100 {
        went += drain(&mut server, now).0.iter().map(Vec::len).sum::<usize>();
        let Some(at) = deadline.filter(|&at| at < now + Duration::from_secs(60)) else { break };
        now = now.max(at);
        server.handle_timeout(time(now));
        let (datagrams, next) = drain(&mut server, now);
        went += datagrams.iter().map(Vec::len).sum::<usize>();
        deadline = next;
    }
    // QUIC's implementation sends a whole datagram if a single byte of the allowance is left.
    assert!(went <= 3 * came + DATAGRAM_SIZE, "{went} bytes for {came}");
}
