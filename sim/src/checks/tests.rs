//! Tests of the checks with events made by hand: each rule is broken once.

use bytes::Bytes;
use x0x_core::node::{DirectAcknowledged, ListPeers, SendDirect};

use super::*;
use x0x_core::direct;
use x0x_core::link;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

struct Bench {
    checks: Checks,
    ids: Vec<(MachineId, AgentId)>,
}

impl Bench {
    fn new() -> Self {
        let mut checks = Checks::new(77);
        let ids: Vec<_> = (0..2_u8).map(|n| (MachineId([n; 32]), AgentId([n; 32]))).collect();
        for (node, (machine, agent)) in [A, B].into_iter().zip(&ids) {
            checks.add_node(node, *machine, *agent);
        }
        Self { checks, ids }
    }

    fn send(&mut self, id: u64, run: u32, text: &'static str) {
        let request = SendDirect {
            recipient: self.ids[1].1,
            payload: Bytes::from_static(text.as_bytes()),
            timeout: Duration::from_secs(1),
        };
        let noted = self.checks.note(&request.into());
        self.checks.accepted(Duration::ZERO, A, run, CommandId(id), noted);
    }

    fn deliver(&mut self, text: &'static str) {
        self.checks.links.insert((B, self.ids[0].0));
        let event = Event::Direct(direct::Event::Received {
            sender: self.ids[0].1,
            machine: self.ids[0].0,
            recipient: self.ids[1].1,
            payload: Bytes::from_static(text.as_bytes()),
            received_at: Duration::ZERO,
        });
        self.checks.event(Duration::from_secs(1), B, &event, false);
    }

    fn end(&mut self, id: u64, result: Result<(), DirectError>) {
        let elapsed = Duration::from_secs(1);
        let reply = Reply::Direct(direct::Reply::SendDirect(
            result.map(|()| DirectAcknowledged { elapsed }),
        ));
        let event = Event::Reply { command: CommandId(id), reply };
        self.checks.event(elapsed, A, &event, false);
    }

    fn link(&mut self, node: NodeId, peer: NodeId, is_up: bool) {
        let machine = self.ids[peer.index()].0;
        let event = if is_up {
            let address = "10.0.0.1:1".parse().unwrap();
            Event::Link(link::Event::PeerUp { machine, agents: Vec::new(), address })
        } else {
            Event::Link(link::Event::PeerDown {
                machine,
                reason: x0x_core::link::DownReason::TimedOut,
            })
        };
        self.checks.event(Duration::ZERO, node, &event, false);
    }

    fn failure(&self) -> Option<&str> {
        self.checks.failure().map(|failure| failure.what.as_str())
    }
}

#[test]
fn what_is_allowed_passes() {
    let mut bench = Bench::new();
    for (id, text) in [(1, "same"), (2, "same"), (3, "late"), (4, "gone")] {
        bench.send(id, 1, text);
    }
    bench.deliver("same");
    bench.end(1, Ok(()));
    bench.deliver("same");
    bench.end(2, Ok(()));
    bench.end(3, Err(DirectError::Timeout { sent: true }));
    bench.deliver("late");
    bench.end(4, Err(DirectError::Timeout { sent: false }));
    bench.checks.overdue(Duration::from_secs(100));
    assert_eq!(bench.failure(), None);
    assert_eq!(bench.checks.tally.delivered, 3);
}

#[test]
fn each_rule_about_messages_is_noticed() {
    type Story = fn(&mut Bench);
    let stories: [(&str, Story); 8] = [
        ("never sent", |bench| bench.deliver("x")),
        ("delivered twice", |bench| {
            bench.deliver("a");
            bench.deliver("a");
        }),
        ("out of order", |bench| {
            bench.deliver("b");
            bench.deliver("a");
        }),
        ("acknowledged, not delivered", |bench| bench.end(1, Ok(()))),
        ("refused or not sent", |bench| {
            bench.end(1, Err(DirectError::Timeout { sent: false }));
            bench.deliver("a");
        }),
        ("delivered, and ended", |bench| {
            bench.deliver("a");
            bench.end(1, Err(DirectError::UnknownRecipient));
        }),
        ("second reply", |bench| {
            bench.end(1, Err(DirectError::RecipientRestarted));
            bench.end(1, Err(DirectError::RecipientRestarted));
        }),
        ("no reply", |bench| bench.checks.overdue(Duration::from_secs(10))),
    ];
    for (expected, story) in stories {
        let mut bench = Bench::new();
        bench.send(1, 1, "a");
        bench.send(2, 1, "b");
        story(&mut bench);
        let failure = bench.failure().unwrap_or("nothing");
        assert!(failure.contains(expected), "{expected}: {failure}");
        assert_eq!(bench.checks.failure().unwrap().seed, 77);
    }
}

#[test]
fn a_message_needs_a_link() {
    let mut bench = Bench::new();
    bench.send(1, 1, "a");
    bench.deliver("a");
    assert_eq!(bench.failure(), None);
    bench.send(2, 1, "b");
    bench.checks.stopped(B);
    let event = Event::Direct(direct::Event::Received {
        sender: bench.ids[0].1,
        machine: bench.ids[0].0,
        recipient: bench.ids[1].1,
        payload: Bytes::from_static(b"b"),
        received_at: Duration::ZERO,
    });
    bench.checks.event(Duration::ZERO, B, &event, false);
    assert!(bench.failure().unwrap().contains("without a link"));
}

#[test]
fn a_host_that_sleeps_owes_its_replies_later() {
    let mut bench = Bench::new();
    bench.send(1, 1, "a");
    bench.checks.slept(A);
    bench.checks.overdue(Duration::from_secs(50));
    bench.checks.woke(A, Duration::from_secs(50));
    bench.checks.overdue(Duration::from_secs(53));
    assert_eq!(bench.failure(), None);
    bench.checks.overdue(Duration::from_secs(54));
    assert!(bench.failure().unwrap().contains("no reply"));
}

#[test]
fn a_datagram_that_shows_the_marker_is_noticed() {
    let mut datagram = vec![MARKER[0]; 40];
    assert!(!shows_marker(&datagram));
    datagram.extend(MARKER);
    assert!(shows_marker(&datagram));
    datagram.pop();
    assert!(!shows_marker(&datagram));
}

#[test]
fn a_crash_ends_commands_and_starts_a_new_order() {
    let mut bench = Bench::new();
    bench.send(1, 1, "old");
    bench.checks.stopped(A);
    bench.send(2, 3, "new");
    bench.deliver("new");
    bench.deliver("old");
    bench.end(2, Ok(()));
    bench.checks.overdue(Duration::from_secs(100));
    assert_eq!(bench.failure(), None);
    assert_eq!(bench.checks.tally.sends_forgotten, 1);
}

#[test]
fn a_reply_of_another_type_is_noticed() {
    let mut bench = Bench::new();
    let noted = bench.checks.note(&ListPeers.into());
    bench.checks.accepted(Duration::ZERO, A, 1, CommandId(1), noted);
    bench.end(1, Ok(()));
    assert!(bench.failure().unwrap().contains("the reply to Other(\"ListPeers\")"));
}

#[test]
fn links_go_up_and_down_in_turn_and_both_ends_agree() {
    type Story = fn(&mut Bench);
    let stories: [(&str, Story); 3] = [
        ("came up twice", |bench| {
            bench.link(A, B, true);
            bench.link(A, B, true);
        }),
        ("no link to n1 went down", |bench| {
            bench.link(A, B, true);
            bench.link(A, B, false);
            bench.link(A, B, false);
        }),
        ("at this end only", |bench| {
            bench.link(A, B, true);
            bench.checks.agreed(Duration::ZERO);
        }),
    ];
    for (expected, story) in stories {
        let mut bench = Bench::new();
        story(&mut bench);
        let failure = bench.failure().unwrap_or("nothing");
        assert!(failure.contains(expected), "{expected}: {failure}");
    }
    let mut bench = Bench::new();
    bench.link(A, B, true);
    bench.link(B, A, true);
    bench.checks.stopped(A);
    bench.link(B, A, false);
    bench.link(B, A, true);
    bench.link(A, B, true);
    bench.checks.agreed(Duration::ZERO);
    assert_eq!(bench.failure(), None);
}
