//! WebSocket sessions from outside.

mod support;

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, Home, PATIENCE};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<TcpStream>;

fn open(daemon: &Daemon, path: &str) -> Socket {
    let mut request = format!("ws://{}{path}", daemon.api).into_client_request().expect("a URL");
    let bearer = format!("Bearer {}", daemon.token).parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = tungstenite::client(request, daemon.connect()).expect("it opens");
    let hello = read(&mut socket);
    assert_eq!((&hello["type"], &hello["agent_id"]), (&json!("connected"), &json!(daemon.agent())));
    assert_eq!(read(&mut socket), json!({"type": "pong"}));
    socket
}

fn read(socket: &mut Socket) -> Value {
    loop {
        match socket.read().expect("the daemon writes") {
            Message::Text(text) => return serde_json::from_str(&text).expect("frames are JSON"),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

fn say(socket: &mut Socket, frame: &Value) {
    socket.send(Message::text(frame.to_string())).expect("the daemon reads");
}

#[test]
fn a_session_answers_each_command_and_stays_open() {
    let home = Home::new();
    let daemon = home.start("alice");
    let refused = tungstenite::client(format!("ws://{}/ws", daemon.api), daemon.connect());
    assert!(refused.is_err(), "without the token");
    let in_query = format!("ws://{}/ws?token={}", daemon.api, daemon.token);
    assert!(tungstenite::client(in_query, daemon.connect()).is_ok());
    let mut socket = open(&daemon, "/ws");
    say(&mut socket, &json!({"type": "ping"}));
    assert_eq!(read(&mut socket), json!({"type": "pong"}));
    let stranger = "0".repeat(64);
    for (frame, error) in [
        (json!({"type": "dance"}), "invalid command: "),
        (json!(7), "invalid command: "),
        (json!({"type": "send_direct"}), "invalid command: "),
        (json!({"type": "send_direct", "agent_id": "zz", "payload": ""}), "invalid hex: "),
        (
            json!({"type": "send_direct", "agent_id": stranger, "payload": "?"}),
            "invalid base64 in payload",
        ),
        (json!({"type": "send_direct", "agent_id": stranger, "payload": "aGk="}), "send failed"),
        (json!({"type": "publish", "topic": "a", "payload": "?"}), "invalid base64 in payload"),
    ] {
        say(&mut socket, &frame);
        let answer = read(&mut socket);
        assert_eq!(answer["type"], "error", "{frame}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|m| m.starts_with(error)), "{answer}");
    }
    socket.send(Message::binary(vec![1, 2, 3])).expect("binary frames are ignored");
    socket.send(Message::text("{")).expect("the daemon reads");
    assert_eq!(read(&mut socket)["type"], "error");
    let sessions = daemon.get("/ws/sessions").json();
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
    assert_eq!(sessions["sessions"][0]["receives_direct"], false);
    drop(socket);
    daemon.wait_for("the end of the session", |daemon| {
        daemon.get("/ws/sessions").json()["sessions"] == json!([])
    });
    assert_eq!(daemon.get("/ws").status, 400, "no upgrade was asked for");
}

#[test]
fn messages_of_a_session_arrive_in_order_and_none_is_lost() {
    // As many as wait for a listener that is slower than the sender.
    const COUNT: u64 = 8_000;
    let home = Home::new();
    let (alice, bob) = home.start_pair();
    let mut receiver = open(&alice, "/ws/direct");
    let mut sender = open(&bob, "/ws");
    let (recipient, sender_id) = (alice.agent(), bob.agent());
    let writer = std::thread::spawn(move || {
        for number in 0..COUNT {
            let payload = format!("{number:016}");
            let frame = json!({"type": "send_direct", "agent_id": recipient, "payload": payload});
            sender.write(Message::text(frame.to_string())).expect("the daemon reads");
        }
        sender.flush().expect("the daemon reads");
        sender
    });
    for number in 0..COUNT {
        let frame = loop {
            let frame = read(&mut receiver);
            if frame["type"] == "direct_message" {
                break frame;
            }
        };
        assert_eq!(frame["payload"], format!("{number:016}"));
        assert_eq!((&frame["verified"], &frame["sender"]), (&json!(true), &json!(sender_id)));
    }
    let mut sender = writer.join().expect("the writer ended");
    say(&mut sender, &json!({"type": "ping"}));
    assert_eq!(read(&mut sender), json!({"type": "pong"}), "no send failed");
    bob.wait_for("all acknowledgements", |bob| {
        bob.get("/diagnostics/dm").json()["stats"]["outgoing_send_succeeded"] == COUNT
    });
}

#[test]
fn a_thousand_idle_sessions_harm_nobody_and_end_with_the_daemon() {
    let home = Home::new();
    let mut daemon = home.start("alice");
    let mut sockets: Vec<Socket> = (0..1000).map(|_| open(&daemon, "/ws/direct")).collect();
    let before = daemon.resident_kib();
    assert_eq!(daemon.send(&daemon.agent(), "aGVsbG8=").status, 200);
    for socket in &mut sockets {
        assert_eq!(read(socket)["payload"], "aGVsbG8=");
    }
    assert!(daemon.resident_kib() < before + 50 * 1024);
    daemon.signal("-TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    for socket in &mut sockets {
        let closed = socket.read();
        let is_going_away =
            matches!(&closed, Ok(Message::Close(Some(f))) if u16::from(f.code) == 1001);
        assert!(is_going_away, "{closed:?}");
    }
}

#[test]
fn a_frame_over_the_limit_ends_the_session_and_a_reader_who_sleeps_is_closed() {
    let home = Home::new();
    let daemon = home.start("alice");
    let mut socket = open(&daemon, "/ws");
    let large = Message::text("x".repeat((1 << 20) + 1));
    // The daemon may close while the frame is on its way.
    let _ = socket.send(large);
    let end = std::time::Instant::now() + PATIENCE;
    while socket.read().is_ok() {
        assert!(std::time::Instant::now() < end, "the session goes on");
    }
    let sleeper = open(&daemon, "/ws/direct");
    let (recipient, payload) = (daemon.agent(), "A".repeat(700_000));
    let sessions = || daemon.get("/ws/sessions").json()["sessions"].as_array().map(Vec::len);
    assert_eq!(sessions(), Some(1));
    let small = "A".repeat(4);
    for _ in 0..30 {
        daemon.send(&recipient, &payload);
    }
    let mut sends = 0;
    while sessions() == Some(1) {
        daemon.send(&recipient, &small);
        sends += 1;
        assert!(sends < 20_000, "the backlog has no limit");
    }
    drop(sleeper);
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(daemon.get("/health").status, 200);
}
