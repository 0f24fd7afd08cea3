//! Daemons that knew each other meet again.

mod support;

use std::net::UdpSocket;

use support::{Daemon, Home};

/// Waits until each of two daemons has the other as its peer.
fn meet(daemons: [&Daemon; 2]) {
    for daemon in daemons {
        daemon.wait_for("a link", |daemon| daemon.get("/health").json()["peers"] == 1);
    }
}

fn stop(daemons: [Daemon; 2]) {
    for mut daemon in daemons {
        daemon.signal("-TERM");
        assert!(daemon.wait().success());
    }
}

#[test]
fn two_daemons_that_were_both_restarted_meet_again_without_a_command() {
    let home = Home::new();
    let (alice, bob) = home.start_pair();
    let ports = [alice.quic, bob.quic];
    stop([alice, bob]);
    // Nothing but the store says that they knew each other.
    home.configure("bob", "");
    let (alice, bob) = (home.start("alice"), home.start("bob"));
    assert_eq!([alice.quic, bob.quic], ports, "an instance keeps its port");
    meet([&alice, &bob]);
    // One of them has to listen elsewhere.
    stop([alice, bob]);
    let taken = UdpSocket::bind(("::", ports[1])).expect("the daemon has stopped");
    let (alice, bob) = (home.start("alice"), home.start("bob"));
    assert_eq!(alice.quic, ports[0]);
    assert_ne!(bob.quic, ports[1]);
    meet([&alice, &bob]);
    drop(taken);
}
