//! Topics between daemons.

mod support;

use std::net::TcpStream;

use serde_json::{Value, json};
use support::{Daemon, Home, PATIENCE};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<TcpStream>;

fn open(daemon: &Daemon) -> Socket {
    let mut request = format!("ws://{}/ws", daemon.api).into_client_request().expect("a URL");
    let bearer = format!("Bearer {}", daemon.token).parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    tungstenite::client(request, daemon.connect()).expect("it opens").0
}

/// The next frame that is no sign of life.
fn read(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.read().expect("the daemon writes") {
            let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
            if !["pong", "connected"].contains(&frame["type"].as_str().expect("a type")) {
                return frame;
            }
        }
    }
}

fn say(socket: &mut Socket, frame: &Value) {
    socket.send(Message::text(frame.to_string())).expect("the daemon reads");
}

fn join(daemon: &Daemon, topic: &str) -> Socket {
    let mut socket = open(daemon);
    say(&mut socket, &json!({"type": "subscribe", "topics": [topic]}));
    assert_eq!(read(&mut socket), json!({"type": "subscribed", "topics": [topic]}));
    socket
}

fn publish(daemon: &Daemon, topic: &str, payload: &str) {
    let body = json!({"topic": topic, "payload": payload}).to_string();
    assert_eq!(daemon.post("/publish", &body).status, 200);
}

/// Publishes until a reader gets something of the topic, and reads until that is all.
fn warm_up(publisher: &Daemon, topic: &str, readers: &mut [&mut Socket]) {
    let end = std::time::Instant::now() + PATIENCE;
    for reader in &mut *readers {
        reader.get_ref().set_nonblocking(true).expect("a socket");
        loop {
            assert!(std::time::Instant::now() < end, "nothing of {topic} arrives");
            publish(publisher, topic, "d2FybQ==");
            std::thread::sleep(std::time::Duration::from_millis(50));
            if matches!(reader.read(), Ok(Message::Text(text)) if text.contains("d2FybQ==")) {
                break;
            }
        }
        reader.get_ref().set_nonblocking(false).expect("a socket");
    }
    publish(publisher, topic, "ZW5k");
    for reader in readers {
        while read(reader)["payload"] != "ZW5k" {}
    }
}

/// Publishes so many messages over one session, which is returned.
fn burst(publisher: &Daemon, topic: &'static str, count: usize) -> std::thread::JoinHandle<Socket> {
    let mut socket = open(publisher);
    std::thread::spawn(move || {
        for number in 0..count {
            let frame = json!({"type": "publish", "topic": topic, "payload": payload(number)});
            socket.write(Message::text(frame.to_string())).expect("the daemon reads");
        }
        socket.flush().expect("the daemon reads");
        socket
    })
}

fn payload(number: usize) -> String {
    format!("{number:0>344}")
}

/// Reads a burst: all of it, in order, once.
fn assert_burst(reader: &mut Socket, topic: &str, author: &str, count: usize) {
    for number in 0..count {
        let expected = json!({
            "type": "message", "topic": topic, "payload": payload(number), "origin": author,
        });
        assert_eq!(read(reader), expected);
    }
}

fn assert_nothing_dropped(daemon: &Daemon) {
    let stats = &daemon.get("/diagnostics/gossip").json()["stats"];
    for name in ["decode_to_delivery_drops", "slow_subscriber_dropped", "missed", "publish_failed"]
    {
        assert_eq!(stats[name], 0, "{name}: {stats}");
    }
}

#[test]
fn a_burst_from_one_daemon_reaches_the_other_in_order() {
    const COUNT: usize = 5_000;
    let home = Home::new();
    let (alice, bob) = home.start_pair();
    let id = alice.post("/subscribe", r#"{"topic":"a"}"#).json()["subscription_id"].clone();
    let mut events = alice.events("/events");
    let mut reader = join(&alice, "a");
    warm_up(&bob, "a", &mut [&mut reader]);
    let writer = burst(&bob, "a", COUNT);
    assert_burst(&mut reader, "a", &bob.agent(), COUNT);
    while events.next("message")["data"]["payload"] != payload(0) {}
    for number in 1..COUNT {
        let data = json!({
            "subscription_id": id, "topic": "a", "payload": payload(number),
            "sender": bob.agent(), "verified": true, "trust_level": "unknown",
        });
        assert_eq!(events.next("message"), json!({"type": "message", "data": data}));
    }
    let mut publisher = writer.join().expect("the writer ended");
    say(&mut publisher, &json!({"type": "subscribe", "topics": ["a"]}));
    assert_eq!(read(&mut publisher)["type"], "subscribed", "no publish failed");
    // Who subscribed itself hears itself, and the other still hears it.
    publish(&bob, "a", "aGVsbG8=");
    for socket in [&mut publisher, &mut reader] {
        assert_eq!(read(socket)["payload"], "aGVsbG8=");
    }
    for daemon in [&alice, &bob] {
        assert_nothing_dropped(daemon);
    }
    // Nobody wants it any more: nothing comes.
    let before = alice.get("/diagnostics/gossip").json()["stats"]["incoming_total"].clone();
    drop((reader, events));
    let path = format!("/subscribe/{}", id.as_str().expect("an id"));
    assert_eq!(alice.request("DELETE", &path, &[&alice.bearer()], "").status, 200);
    alice.wait_for("the end of the topic", |alice| {
        // It may stay in the topic for a while, for what it published.
        alice.get("/diagnostics/gossip").json()["topics"][0]["is_subscribed"] != true
    });
    publish(&bob, "a", "aGVsbG8=");
    assert_eq!(read(&mut publisher)["payload"], "aGVsbG8=");
    assert_eq!(alice.get("/diagnostics/gossip").json()["stats"]["incoming_total"], before);
}

#[test]
fn a_burst_reaches_two_subscribers_that_know_only_the_publisher() {
    const COUNT: usize = 5_000;
    let home = Home::new();
    let (alice, bob) = home.start_pair();
    home.configure("carol", &format!("bootstrap_peers = ['127.0.0.1:{}']", alice.quic));
    let carol = home.start("carol");
    carol.wait_for("a link", |daemon| daemon.get("/health").json()["peers"] == 1);
    let (mut at_bob, mut at_carol) = (join(&bob, "a"), join(&carol, "a"));
    warm_up(&alice, "a", &mut [&mut at_bob, &mut at_carol]);
    let writer = burst(&alice, "a", COUNT);
    let author = alice.agent();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_burst(&mut at_bob, "a", &author, COUNT));
        scope.spawn(|| assert_burst(&mut at_carol, "a", &author, COUNT));
    });
    drop(writer.join().expect("the writer ended"));
    for daemon in [&alice, &bob, &carol] {
        assert_nothing_dropped(daemon);
    }
    // Alice, who does not subscribe, stands between the two.
    warm_up(&bob, "a", &mut [&mut at_carol]);
}
