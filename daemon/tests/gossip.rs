//! Topics from outside: one daemon, real HTTP, real WebSockets.

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Daemon, Home, PATIENCE};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<TcpStream>;

fn open(daemon: &Daemon) -> Socket {
    let mut request = format!("ws://{}/ws", daemon.api).into_client_request().expect("a URL");
    let bearer = format!("Bearer {}", daemon.token).parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = tungstenite::client(request, daemon.connect()).expect("it opens");
    assert_eq!(read(&mut socket)["type"], "connected");
    assert_eq!(read(&mut socket)["type"], "pong");
    socket
}

fn read(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.read().expect("the daemon writes") {
            return serde_json::from_str(&text).expect("frames are JSON");
        }
    }
}

fn say(socket: &mut Socket, frame: &Value) {
    socket.send(Message::text(frame.to_string())).expect("the daemon reads");
}

/// Puts a session into topics.
fn join(socket: &mut Socket, topics: &[&str]) {
    say(socket, &json!({"type": "subscribe", "topics": topics}));
    assert_eq!(read(socket), json!({"type": "subscribed", "topics": topics}));
}

/// Asserts that nothing is on its way to a session.
fn assert_quiet(socket: &mut Socket) {
    say(socket, &json!({"type": "ping"}));
    assert_eq!(read(socket), json!({"type": "pong"}));
}

fn publish(daemon: &Daemon, topic: &str, payload: &str) {
    let body = json!({"topic": topic, "payload": payload}).to_string();
    let answer = daemon.post("/publish", &body);
    assert_eq!((answer.status, answer.json()), (200, json!({"ok": true})));
}

fn subscribe(daemon: &Daemon, topic: &str) -> String {
    let answer = daemon.post("/subscribe", &json!({"topic": topic}).to_string()).json();
    let id = answer["subscription_id"].as_str().expect("an id").to_owned();
    assert!(id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert_eq!(answer["ok"], true);
    id
}

fn unsubscribe(daemon: &Daemon, id: &str) -> (u16, Value) {
    let answer = daemon.request("DELETE", &format!("/subscribe/{id}"), &[&daemon.bearer()], "");
    (answer.status, answer.json())
}

fn stats(daemon: &Daemon) -> Value {
    daemon.get("/diagnostics/gossip").json()["stats"].clone()
}

/// How many topics the node is subscribed to. It may be in others, to publish.
fn subscribed(daemon: &Daemon) -> usize {
    let answer = daemon.get("/diagnostics/gossip").json();
    let topics = answer["topics"].as_array().expect("a list");
    topics.iter().filter(|topic| topic["is_subscribed"] == true).count()
}

#[test]
fn each_subscription_has_events_of_its_own_until_it_is_deleted() {
    let home = Home::new();
    let daemon = home.start("alice");
    let mut events = daemon.events("/events");
    let ids = [subscribe(&daemon, "a/b"), subscribe(&daemon, "a/b")];
    publish(&daemon, "a/b", "aGVsbG8=");
    let mut seen = BTreeSet::new();
    for _ in &ids {
        let event = events.next("message");
        let id = event["data"]["subscription_id"].as_str().expect("an id").to_owned();
        let data = json!({
            "subscription_id": id, "topic": "a/b", "payload": "aGVsbG8=",
            "sender": daemon.agent(), "verified": true, "trust_level": "unknown",
        });
        assert_eq!(event, json!({"type": "message", "data": data}));
        seen.insert(id);
    }
    assert_eq!(seen, BTreeSet::from(ids.clone()));
    assert_eq!(unsubscribe(&daemon, &ids[0]), (200, json!({"ok": true})));
    let gone = (404, json!({"ok": false, "error": "subscription not found"}));
    assert_eq!(unsubscribe(&daemon, &ids[0]), gone);
    publish(&daemon, "a/b", "b25l");
    publish(&daemon, "a/b", "dHdv");
    for payload in ["b25l", "dHdv"] {
        let data = &events.next("message")["data"];
        assert_eq!((&data["subscription_id"], &data["payload"]), (&json!(ids[1]), &json!(payload)));
    }
    assert_eq!(subscribed(&daemon), 1);
    assert_eq!(unsubscribe(&daemon, &ids[1].to_uppercase()).0, 200);
    assert_eq!(subscribed(&daemon), 0);
    publish(&daemon, "a/b", "bm9ib2R5");
    let expected = json!({
        "publish_total": 4, "publish_failed": 0, "incoming_total": 3, "incoming_decoded": 3,
        "incoming_decode_failed": 0, "delivered_to_subscriber": 3, "slow_subscriber_dropped": 0,
        "subscriber_channel_closed": 0, "in_flight_decode": 0, "decode_to_delivery_drops": 0,
        "missed": 0, "equivocations": 0,
    });
    assert_eq!(stats(&daemon), expected);
}

#[test]
fn wrong_bodies_are_told_what_is_wrong() {
    let home = Home::new();
    let daemon = home.start("alice");
    let too_long = json!({"topic": "x".repeat(65_536), "payload": ""}).to_string();
    let at_most = json!({"topic": "x".repeat(65_535), "payload": ""}).to_string();
    for (path, body, status, error) in [
        ("/publish", r#"{"topic":"","payload":"aGk="}"#, 400, "topic must not be empty"),
        ("/publish", r#"{"topic":"a","payload":"?"}"#, 400, "invalid base64 in payload field: "),
        ("/publish", r#"{"topic":"a","payload":"aGk"}"#, 400, "invalid base64 in payload field: "),
        ("/publish", &too_long, 400, "the name of the topic has 65536 bytes"),
        ("/subscribe", r#"{"topic":""}"#, 400, "topic must not be empty"),
        ("/subscribe", &too_long, 400, "the name of the topic has 65536 bytes"),
    ] {
        let answer = daemon.post(path, body);
        let json = answer.json();
        assert_eq!((answer.status, &json["ok"]), (status, &json!(false)), "{path} {json}");
        assert!(json["error"].as_str().is_some_and(|e| e.starts_with(error)), "{json}");
    }
    assert_eq!(daemon.post("/publish", &at_most).status, 200);
    for path in ["/publish", "/subscribe"] {
        assert_eq!(daemon.post(path, "{").status, 400);
        assert_eq!(daemon.post(path, "{}").status, 422);
        assert_eq!(daemon.post(path, r#"{"topic":1,"payload":""}"#).status, 422);
        assert_eq!(daemon.request("POST", path, &[&daemon.bearer()], "{}").status, 415);
        let large = format!(r#"{{"topic":"a","payload":"{}"}}"#, "A".repeat(1 << 20));
        assert_eq!(daemon.post(path, &large).status, 413);
        assert_eq!(daemon.request("POST", path, &[], "{}").status, 401);
    }
    let in_query = format!("/events?token={}", daemon.token);
    let mut stream = daemon.connect();
    write!(stream, "GET {in_query} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it reads");
    let mut head = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut head).expect("it answers");
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[test]
fn sessions_share_a_subscription_and_are_counted() {
    let home = Home::new();
    let daemon = home.start("alice");
    let (mut one, mut other) = (open(&daemon), open(&daemon));
    join(&mut one, &["a", "b"]);
    join(&mut other, &["a"]);
    // Twice is once.
    join(&mut one, &["a", "a"]);
    let sessions = daemon.get("/ws/sessions").json();
    assert_eq!(sessions["shared_subscriptions"], json!({"a": 2, "b": 1}), "{sessions}");
    let lists: BTreeSet<String> = sessions["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .map(|session| session["subscribed_topics"].to_string())
        .collect();
    assert_eq!(lists, BTreeSet::from([r#"["a"]"#.to_owned(), r#"["a","b"]"#.to_owned()]));
    say(&mut one, &json!({"type": "publish", "topic": "a", "payload": "aGVsbG8="}));
    let message = json!({
        "type": "message", "topic": "a", "payload": "aGVsbG8=", "origin": daemon.agent(),
    });
    for socket in [&mut one, &mut other] {
        assert_eq!(read(socket), message);
        assert_quiet(socket);
    }
    // A message that is on its way when the session gives up its topic does not come after that.
    for round in 0..50 {
        say(&mut other, &json!({"type": "publish", "topic": "a", "payload": "aGVsbG8="}));
        say(&mut one, &json!({"type": "unsubscribe", "topics": ["a", "never"]}));
        let told = json!({"type": "unsubscribed", "topics": ["a", "never"]});
        while read(&mut one) != told {}
        assert_quiet(&mut one);
        assert_eq!(read(&mut other), message, "{round}");
        join(&mut one, &["a"]);
    }
    drop(one);
    daemon.wait_for("the end of the session", |daemon| {
        daemon.get("/ws/sessions").json()["shared_subscriptions"] == json!({"a": 1})
    });
    daemon.wait_for("the end of the subscription", |daemon| subscribed(daemon) == 1);
    drop(other);
    daemon.wait_for("the end of all", |daemon| subscribed(daemon) == 0);
    assert_eq!(daemon.get("/ws/sessions").json()["sessions"], json!([]));
}

#[test]
fn a_session_is_told_what_is_wrong_and_goes_on() {
    let home = Home::new();
    let daemon = home.start("alice");
    let mut socket = open(&daemon);
    let many: Vec<String> = (0..=1024).map(|number| number.to_string()).collect();
    for (frame, error) in [
        (json!({"type": "subscribe", "topics": ["a", ""]}), "topic must not be empty"),
        (json!({"type": "unsubscribe", "topics": [""]}), "topic must not be empty"),
        (json!({"type": "subscribe", "topics": many}), "a session is in 1024 topics at most"),
        (json!({"type": "subscribe"}), "invalid command: "),
        (json!({"type": "subscribe", "topics": "a"}), "invalid command: "),
        (json!({"type": "publish", "topic": "", "payload": ""}), "topic must not be empty"),
        (json!({"type": "publish", "topic": "a", "payload": "?"}), "invalid base64 in payload"),
        (json!({"type": "publish", "payload": ""}), "invalid command: "),
    ] {
        say(&mut socket, &frame);
        let answer = read(&mut socket);
        assert_eq!(answer["type"], "error", "{answer}");
        assert!(answer["message"].as_str().is_some_and(|m| m.starts_with(error)), "{answer}");
    }
    assert_eq!(daemon.get("/ws/sessions").json()["shared_subscriptions"], json!({}));
    assert_eq!(subscribed(&daemon), 0, "nothing of what was refused is left");
    // The node's own limit: what does not fit is not subscribed to, and what was there stays.
    let mut first = open(&daemon);
    let names: Vec<&str> = many[..1000].iter().map(String::as_str).collect();
    join(&mut first, &names);
    let more: Vec<String> = (0..100).map(|number| format!("more {number}")).collect();
    say(&mut socket, &json!({"type": "subscribe", "topics": more}));
    let answer = read(&mut socket);
    assert!(answer["message"].as_str().is_some_and(|m| m.contains("too many topics")), "{answer}");
    assert_eq!(subscribed(&daemon), 1000);
    for number in 0..24 {
        subscribe(&daemon, &format!("rest {number}"));
    }
    let refused = daemon.post("/subscribe", r#"{"topic":"one more"}"#);
    assert_eq!((refused.status, &refused.json()["ok"]), (429, &json!(false)), "{refused:?}");
    publish(&daemon, "999", "aGVsbG8=");
    assert_eq!(read(&mut first)["topic"], "999");
}

#[test]
fn a_burst_loses_nothing_for_readers_that_keep_up() {
    const COUNT: usize = 20_000;
    let home = Home::new();
    let daemon = home.start("alice");
    let id = subscribe(&daemon, "a");
    let mut events = daemon.events("/events");
    let mut reader = open(&daemon);
    join(&mut reader, &["a"]);
    let mut publisher = open(&daemon);
    let payload = |number: usize| format!("{number:0>344}");
    let writer = std::thread::spawn(move || {
        for number in 0..COUNT {
            let frame = json!({"type": "publish", "topic": "a", "payload": payload(number)});
            publisher.write(Message::text(frame.to_string())).expect("the daemon reads");
        }
        publisher.flush().expect("the daemon reads");
        publisher
    });
    let listener = std::thread::spawn(move || {
        for number in 0..COUNT {
            let data = &events.next("message")["data"];
            assert_eq!(
                (&data["payload"], &data["subscription_id"]),
                (&json!(payload(number)), &json!(id))
            );
        }
    });
    for number in 0..COUNT {
        let frame = read(&mut reader);
        assert_eq!(
            (&frame["type"], &frame["payload"]),
            (&json!("message"), &json!(payload(number)))
        );
    }
    listener.join().expect("all events came in order");
    assert_quiet(&mut writer.join().expect("the writer ended"));
    let stats = stats(&daemon);
    let count = |name: &str| stats[name].as_u64();
    assert_eq!(count("publish_total"), Some(COUNT as u64), "{stats}");
    assert_eq!(count("delivered_to_subscriber"), Some(COUNT as u64), "{stats}");
    for name in ["publish_failed", "slow_subscriber_dropped", "decode_to_delivery_drops"] {
        assert_eq!(count(name), Some(0), "{name}: {stats}");
    }
}

#[test]
fn readers_that_are_too_slow_are_told_what_they_missed_and_harm_nobody() {
    let home = Home::new();
    let daemon = home.start("alice");
    subscribe(&daemon, "a");
    let mut events = daemon.events("/events");
    let mut sleeper = open(&daemon);
    join(&mut sleeper, &["a"]);
    let mut awake = open(&daemon);
    join(&mut awake, &["a"]);
    // More than queues and sockets hold.
    let payload = "A".repeat(700_000);
    let count = 120;
    for number in 0..count {
        publish(&daemon, "a", &payload);
        assert_eq!(read(&mut awake)["payload"], payload, "{number}");
    }
    publish(&daemon, "a", "ZW5k");
    let dropped = stats(&daemon)["slow_subscriber_dropped"].as_u64().expect("a number");
    assert!(dropped > 0);
    let (mut came, mut missed, mut told) = (0, 0, 0);
    loop {
        let frame = read(&mut sleeper);
        if frame["type"] == "lagged" {
            missed += frame["missed"].as_u64().expect("a number");
            told += 1;
        } else if frame["payload"] == "ZW5k" {
            break;
        } else {
            came += 1;
        }
    }
    assert_eq!((came + missed, told), (count, 1), "the session");
    let gap = events.next("lagged");
    let by_listener = gap["data"]["missed"].as_u64().expect("a number");
    assert_eq!(gap, json!({"type": "lagged", "data": {"missed": by_listener}}));
    assert_eq!(missed + by_listener, dropped, "each message that was dropped is told");
    let mut came_later = 0;
    while events.next("message")["data"]["payload"] != "ZW5k" {
        came_later += 1;
    }
    assert!(came_later > 0, "the newest are kept");
    assert_eq!(stats(&daemon)["decode_to_delivery_drops"], 0);
}

#[test]
fn a_thousand_idle_subscribers_harm_nobody() {
    let home = Home::new();
    let mut daemon = home.start("alice");
    let before = daemon.resident_kib();
    let id = subscribe(&daemon, "a");
    let mut listeners: Vec<_> = (0..1000).map(|_| daemon.events("/events")).collect();
    let mut sessions: Vec<Socket> = (0..1000).map(|_| open(&daemon)).collect();
    for socket in &mut sessions {
        join(socket, &["a"]);
    }
    assert_eq!(daemon.get("/diagnostics/gossip").json()["listener_count"], 1000);
    assert_eq!(daemon.get("/ws/sessions").json()["shared_subscriptions"], json!({"a": 1000}));
    publish(&daemon, "a", "aGVsbG8=");
    for listener in &mut listeners {
        assert_eq!(listener.next("message")["data"]["subscription_id"], id);
    }
    for socket in &mut sessions {
        assert_eq!(read(socket)["payload"], "aGVsbG8=");
    }
    let grown = daemon.resident_kib().saturating_sub(before);
    assert!(grown < 150 * 1024, "2,000 subscribers take {grown} KiB");
    drop(listeners.split_off(1));
    publish(&daemon, "a", "aGVsbG8=");
    daemon.wait_for("the end of the listeners", |daemon| {
        publish(daemon, "a", "");
        daemon.get("/diagnostics/gossip").json()["listener_count"] == 1
    });
    daemon.signal("-TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    while listeners[0].try_next("message").is_some() {}
}

#[test]
fn wishes_that_cross_never_lose_a_subscription() {
    let home = Home::new();
    let daemon = home.start("alice");
    let end = std::time::Instant::now() + Duration::from_secs(3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while std::time::Instant::now() < end {
                    let mut socket = open(&daemon);
                    join(&mut socket, &["a"]);
                    let id = subscribe(&daemon, "a");
                    publish(&daemon, "a", "aGVsbG8=");
                    assert_eq!(read(&mut socket)["type"], "message");
                    assert_eq!(unsubscribe(&daemon, &id).0, 200);
                }
            });
        }
    });
    assert!(end.elapsed() < PATIENCE);
    daemon.wait_for("the end of all", |daemon| subscribed(daemon) == 0);
}
