//! Commands at the edges of what their fields can hold.

use std::time::{Duration, Instant};

use bytes::Bytes;
use x0x_core::identity::{AgentId, AgentKey, MachineKey};
use x0x_core::link::LinkConfig;
use x0x_core::node::{
    Command, CommandId, Config, Connect, Node, Request, Restored, SendDirect, StartError, Target,
};

const UNIX_TIME: Duration = Duration::from_secs(1_750_000_000);

fn config() -> Config {
    Config {
        machine_key: MachineKey::from_seed(&[1; 32]),
        agent_key: AgentKey::from_seed(&[2; 32]),
        certificate: None,
        sockets: vec![([192, 0, 2, 1], 5483).into()],
        link: LinkConfig::default(),
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant has no other constructor")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_timeout_that_no_clock_can_show_never_comes() {
    let now = now();
    let address = ([192, 0, 2, 2], 5483).into();
    let requests: [Request; 2] = [
        Connect {
            target: Target::Address { address, machine: None },
            keep: false,
            timeout: Duration::MAX,
        }
        .into(),
        SendDirect {
            recipient: AgentId([9; 32]),
            payload: Bytes::from("hello"),
            timeout: Duration::MAX,
        }
        .into(),
    ];
    for (id, request) in (0..).map(CommandId).zip(requests) {
        let restored = Restored::default();
        let mut node = Node::new(config(), [3; 32], restored, now, UNIX_TIME).unwrap();
        node.handle_command(now, Command { id, request }).unwrap();
    }
}

#[test]
fn a_setting_beyond_a_year_is_refused() {
    type Set = fn(&mut LinkConfig, Duration);
    let settings: [(&str, Set); 5] = [
        ("idle_timeout", |link, value| link.idle_timeout = value),
        ("keep_alive", |link, value| {
            link.keep_alive = value;
            link.idle_timeout = Duration::MAX;
        }),
        ("redial_pause_min", |link, value| link.redial_pause_min = value),
        ("redial_pause_max", |link, value| link.redial_pause_max = value),
        ("dial_timeout", |link, value| link.dial_timeout = value),
    ];
    for (name, set) in settings {
        let mut config = config();
        set(&mut config.link, Duration::MAX);
        let refused = Node::new(config, [3; 32], Restored::default(), now(), UNIX_TIME);
        assert!(matches!(refused, Err(StartError::InvalidConfig { .. })), "{name}");
    }
}
