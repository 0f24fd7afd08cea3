//! The API from outside: real processes, real HTTP.

mod support;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::json;
use support::Home;

#[test]
fn without_the_token_nothing_is_told_but_what_is_public() {
    let home = Home::new();
    let daemon = home.start("alice");
    let token = daemon.token.clone();
    let refused = json!({"error": "missing or invalid Authorization: Bearer token"});
    let wrong = [
        String::new(),
        "authorization: Bearer ".into(),
        format!("authorization: bearer {token}"),
        format!("authorization: Bearer  {token}"),
        format!("authorization: Bearer {}", &token[1..]),
        format!("authorization: Bearer {token}0"),
        format!("authorization: {token}"),
    ];
    for header in &wrong {
        let headers: Vec<&str> = Some(&header[..]).filter(|h| !h.is_empty()).into_iter().collect();
        for path in ["/status", "/agent", "/nothing", "/peers/events?token=", "/openapi.json"] {
            let answer = daemon.request("GET", path, &headers, "");
            assert_eq!((answer.status, answer.json()), (401, refused.clone()), "{header} {path}");
        }
    }
    for path in ["/health", "/constitution", "/constitution/json"] {
        assert_eq!(daemon.request("GET", path, &[], "").status, 200, "{path}");
    }
    let in_query = |path: &str| daemon.request("GET", &format!("{path}?token={token}"), &[], "");
    for path in ["/status", "/peers/events", "/agent"] {
        assert_eq!(in_query(path).status, 401, "{path} takes no token in its query");
    }
    assert_ne!(in_query("/ws").status, 401);
    assert_eq!(daemon.get("/nothing").status, 404);
    assert_eq!(daemon.get("/nothing").body, "");
    let wrong_method = daemon.request("DELETE", "/status", &[&daemon.bearer()], "");
    assert_eq!((wrong_method.status, &wrong_method.body[..]), (405, ""));
    assert!(wrong_method.header("allow").is_some_and(|allow| allow.contains("GET")));
}

#[test]
fn only_local_pages_and_hosts_are_answered() {
    let home = Home::new();
    let daemon = home.start("alice");
    for (origin, is_local) in [
        ("http://localhost:3000", true),
        ("http://127.0.0.1", true),
        ("http://[::1]:80", true),
        ("http://localhost.evil.example", false),
        ("http://127.0.0.1.evil.example", false),
        ("https://localhost", false),
        ("null", false),
    ] {
        let origin_header = format!("origin: {origin}");
        let headers = [&origin_header[..], "access-control-request-method: POST"];
        let answer = daemon.request("OPTIONS", "/direct/send", &headers, "");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed == Some(origin), is_local, "{origin}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let upgrade = [
            &origin_header[..],
            &daemon.bearer(),
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        let mut stream = daemon.connect();
        let request = format!(
            "GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\n{}\r\n\r\n",
            daemon.api,
            upgrade.join("\r\n")
        );
        stream.write_all(request.as_bytes()).expect("the daemon reads");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("the daemon answers");
        let expected = if is_local { "HTTP/1.1 101" } else { "HTTP/1.1 403" };
        assert_eq!(String::from_utf8_lossy(&status), expected, "{origin}");
    }
    for (host, expected) in [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:9", 200),
        ("evil.example", 403),
        ("localhost.evil.example:80", 403),
    ] {
        let answer = daemon.request("GET", "/health", &[&format!("host: {host}")], "");
        assert_eq!(answer.status, expected, "{host}");
    }
}

#[test]
fn a_wrong_body_is_told_what_is_wrong_with_it() {
    let home = Home::new();
    let daemon = home.start("alice");
    let bearer = daemon.bearer();
    let json = [&bearer[..], "content-type: application/json"];
    let send = |headers: &[&str], body: &str| daemon.request("POST", "/direct/send", headers, body);
    assert_eq!(send(&[&bearer], "{}").status, 415);
    assert_eq!(send(&[&bearer, "content-type: text/plain"], "{}").status, 415);
    assert_eq!(send(&json, "{").status, 400);
    assert_eq!(send(&json, "{}").status, 422);
    assert_eq!(send(&json, r#"{"agent_id":1,"payload":""}"#).status, 422);
    let large =
        format!(r#"{{"agent_id":"{}","payload":"{}"}}"#, "0".repeat(64), "A".repeat(1 << 20));
    assert_eq!(send(&json, &large).status, 413);
    let cases = [
        ("zz", "aGk=", 400, "invalid hex: "),
        ("abcd", "aGk=", 400, "expected 32 bytes (64 hex chars), got 2"),
        (&"0".repeat(64)[..], "?", 400, "invalid base64: "),
        (&"0".repeat(64)[..], "aGk", 400, "invalid base64: "),
        (&"0".repeat(64)[..], "aGk=", 404, "recipient_key_unavailable"),
    ];
    for (agent, payload, status, error) in cases {
        let answer = daemon.send(agent, payload);
        let json = answer.json();
        assert_eq!((answer.status, &json["ok"]), (status, &json!(false)), "{agent} {payload}");
        assert!(json["error"].as_str().is_some_and(|e| e.starts_with(error)), "{json}");
    }
    let connect = |id: &str| daemon.post("/agents/connect", &format!(r#"{{"agent_id":"{id}"}}"#));
    assert_eq!(connect("00").status, 400);
    assert_eq!(connect(&"0".repeat(64)).json(), json!({"ok": true, "outcome": "NotFound"}));
    for path in ["/peers/zz/health", "/peers/00/health"] {
        let error = daemon.get(path).json()["error"].as_str().map(ToOwned::to_owned);
        assert!(error.as_ref().is_some_and(|e| e.contains("peer_id")), "{path}: {error:?}");
    }
    let probe = |query: &str| daemon.post(&format!("/peers/{}/probe{query}", "0".repeat(64)), "");
    assert_eq!(probe("?timeout_ms=x").status, 400);
    let answer = probe("");
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (503, &json!("probe failed: not connected"))
    );
    // The daemon survives what is no HTTP at all.
    assert_eq!(daemon.raw(b"\x00\xff\xfe nonsense\r\n\r\n").status, 400);
    assert_eq!(daemon.get("/health").status, 200);
}

#[test]
fn a_message_goes_from_one_daemon_to_the_other_with_its_sender_proven() {
    let home = Home::new();
    let (alice, bob) = home.start_pair();
    let mut events = alice.events("/direct/events");
    let answer = bob.send(&alice.agent(), "aGVsbG8=");
    assert_eq!(answer.json()["path"], "raw_quic_acked", "{answer:?}");
    let event = events.next("direct_message");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now");
    let age =
        u64::try_from(now.as_millis()).expect("now") - event["received_at"].as_u64().unwrap_or(0);
    assert!(age < 60_000, "milliseconds: {event}");
    let expected = json!({
        "sender": bob.agent(),
        "machine_id": bob.get("/agent").json()["machine_id"],
        "payload": "aGVsbG8=",
        "received_at": event["received_at"],
        "verified": true,
        "trust_decision": "unknown",
    });
    assert_eq!(event, expected);
    let loopback = bob.send(&bob.agent(), "");
    assert_eq!(loopback.json()["path"], "loopback");
    let peer = bob.get("/peers").json()["peers"][0]["id"].as_str().expect("an id").to_owned();
    let probed = bob.post(&format!("/peers/{peer}/probe?timeout_ms=5"), "").json();
    assert_eq!((&probed["ok"], &probed["timeout_ms"]), (&json!(true), &json!(100)), "{probed}");
    assert!(probed["rtt_us"].as_u64().is_some_and(|rtt| rtt > 0), "{probed}");
    let health = bob.get(&format!("/peers/{peer}/health")).json();
    assert_eq!(health["snapshot"]["connected"], true, "{health}");
    let connections = bob.get("/direct/connections").json();
    assert_eq!(connections["connections"][0]["agent_id"], alice.agent());
    let stats = &bob.get("/diagnostics/dm").json()["stats"];
    assert_eq!(stats["outgoing_send_succeeded"], 2, "{stats}");
    let again = bob.post("/agents/connect", &json!({"agent_id": alice.agent()}).to_string()).json();
    assert_eq!(again["outcome"], "AlreadyConnected", "{again}");
    // The largest body that is taken, and a peer's coming and going.
    let payload = "A".repeat((1 << 20) - 200);
    assert_eq!(bob.send(&alice.agent(), &payload).status, 200);
    assert_eq!(events.next("direct_message")["payload"], payload);
    let mut peers = alice.events("/peers/events");
    bob.post("/shutdown", "");
    let change = peers.next("peer-lifecycle");
    assert!(change["event"].as_str().is_some_and(|event| event.starts_with("Closed")), "{change}");
}

#[test]
fn a_thousand_idle_listeners_and_half_closed_sockets_harm_nobody() {
    let home = Home::new();
    let (alice, bob) = home.start_pair();
    let before = alice.resident_kib();
    let mut listeners: Vec<_> = (0..1000).map(|_| alice.events("/direct/events")).collect();
    assert_eq!(alice.get("/diagnostics/dm").json()["subscriber_count"], 1000);
    let mut half: Vec<_> = (0..100).map(|_| alice.connect()).collect();
    for stream in &mut half {
        stream.write_all(b"POST /direct/send HTTP/1.1\r\nhost: localhost\r\n").expect("it reads");
        stream.shutdown(Shutdown::Write).expect("it is open");
    }
    let started = Instant::now();
    assert_eq!(bob.send(&alice.agent(), "aGVsbG8=").status, 200);
    assert!(started.elapsed() < Duration::from_secs(5));
    for listener in &mut listeners {
        assert_eq!(listener.next("direct_message")["payload"], "aGVsbG8=");
    }
    let grown = alice.resident_kib().saturating_sub(before);
    assert!(grown < 100 * 1024, "1,000 listeners take {grown} KiB");
    drop(listeners);
    alice.wait_for("the end of the listeners", |alice| {
        // The next message shows that nobody reads.
        bob.send(&alice.agent(), "");
        alice.get("/diagnostics/dm").json()["subscriber_count"] == 0
    });
}

#[test]
fn a_listener_that_reads_late_gets_what_its_queue_holds() {
    let home = Home::new();
    let (alice, bob) = home.start_pair();
    let mut slow = alice.events("/direct/events");
    let recipient = alice.agent();
    // More than the sockets hold.
    let payload = "A".repeat(700_000);
    let evicted = |alice: &support::Daemon| {
        alice.get("/diagnostics/dm").json()["stats"]["subscriber_events_evicted"].as_u64()
    };
    for _ in 0..20 {
        assert_eq!(bob.send(&recipient, &payload).status, 200);
    }
    assert_eq!(evicted(&alice), Some(0));
    for _ in 0..20 {
        assert_eq!(slow.next("direct_message")["payload"], payload);
    }
}

#[test]
fn a_daemon_stops_well_however_it_is_asked() {
    let home = Home::new();
    for how in ["shutdown", "-TERM", "-INT"] {
        let mut daemon = home.start("alice");
        let mut stream = daemon.events("/direct/events");
        let idle = daemon.connect();
        let agent = daemon.agent();
        let started = Instant::now();
        if how == "shutdown" {
            let answer = daemon.post("/shutdown", "ignored").json();
            assert_eq!(answer, json!({"ok": true, "message": "shutting down"}));
        } else {
            daemon.signal(how);
        }
        assert_eq!(daemon.wait().code(), Some(0), "{how}");
        assert!(started.elapsed() < Duration::from_secs(4), "{how}: {:?}", started.elapsed());
        assert!(!home.data("alice").join("api.port").exists(), "{how}");
        while !stream.line().is_empty() {}
        drop(idle);
        assert_eq!(home.start("alice").agent(), agent, "the identity stays");
    }
}
