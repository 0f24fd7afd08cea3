//! What connections to the API may take, and that nobody starves.

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;
use support::{Daemon, Home, PATIENCE, run};
use x0x_daemon::server::{BODY_TIME, HEADER_TIME, UNAUTHENTICATED_MAX, raise_open_files};

/// How long an answer may take while others do what they can against it.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Opens connections that hold half a header.
fn half_headers(daemon: &Daemon, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = daemon.connect();
        // The daemon may close it at any time.
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n");
        stream
    };
    (0..count).map(open).collect()
}

fn open_files(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).expect("it runs").count()
}

/// Asks over TCP and over the socket, with and without the token.
fn answers_at_once(home: &Home, daemon: &Daemon) {
    let started = Instant::now();
    assert_eq!(daemon.request("GET", "/health", &[], "").status, 200);
    assert_eq!(daemon.get("/status").status, 200);
    let (code, out, err) = run(&mut home.x0x("--name alice health"));
    assert_eq!(code, 0, "{out}{err}");
    let mut by_address = home.x0x(&format!("--api {} status", daemon.api));
    let (code, out, err) = run(by_address.env("X0X_API_TOKEN", &daemon.token));
    assert_eq!(code, 0, "{out}{err}");
    let elapsed = started.elapsed();
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
}

/// Reads until the daemon closes the connection. Returns what it said.
fn closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.set_read_timeout(Some(2 * BODY_TIME)).expect("a timeout can be set");
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn half_headers_keep_nobody_out() {
    raise_open_files();
    let home = Home::new();
    let daemon = home.start_with_files("alice", 1024);
    let before = open_files(&daemon);
    let mut events = daemon.events("/direct/events");
    let held = half_headers(&daemon, 1100);
    answers_at_once(&home, &daemon);
    let more = open_files(&daemon).saturating_sub(before);
    assert!(more <= UNAUTHENTICATED_MAX, "{more} files");
    // Whoever has shown the token stays.
    daemon.send(&daemon.agent(), "aGVsbG8=");
    assert_eq!(events.next("direct_message")["payload"], "aGVsbG8=");
    drop(held);
}

#[test]
fn large_headers_take_little_memory() {
    raise_open_files();
    let home = Home::new();
    let daemon = home.start("alice");
    let before = daemon.resident_kib();
    let header = format!("GET /health HTTP/1.1\r\nx: {}", "x".repeat(380_000));
    let open = |_| {
        let mut stream = daemon.connect();
        stream.set_write_timeout(Some(Duration::from_millis(100))).expect("it can be set");
        // It is refused on the way.
        let _ = stream.write_all(header.as_bytes());
        stream
    };
    let held: Vec<_> = (0..1000).map(open).collect();
    let grown = daemon.resident_kib().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB");
    answers_at_once(&home, &daemon);
    drop(held);
    let just_below = "y".repeat(15 << 10);
    assert_eq!(daemon.request("GET", "/health", &[&format!("x: {just_below}")], "").status, 200);
    let above = "y".repeat(17 << 10);
    assert_eq!(daemon.request("GET", "/health", &[&format!("x: {above}")], "").status, 431);
}

/// Asserts that a time is near another.
fn near(elapsed: Duration, expected: Duration) {
    let tolerance = Duration::from_secs(3);
    assert!(elapsed + tolerance > expected && elapsed < expected + tolerance, "{elapsed:?}");
}

#[test]
fn connections_that_stand_still_are_closed() {
    let home = Home::new();
    let daemon = home.start("alice");
    let started = Instant::now();
    let head = format!("host: localhost\r\n{}\r\n", daemon.bearer());
    let post = format!("POST /publish HTTP/1.1\r\n{head}content-type: application/json\r\n");
    let say = |text: &str| {
        let mut stream = daemon.connect();
        stream.write_all(text.as_bytes()).expect("the daemon reads");
        stream
    };
    let mut silent = daemon.connect();
    let mut kept = say(&format!("GET /status HTTP/1.1\r\n{head}\r\n"));
    let mut body = say(&format!("{post}content-length: 100\r\n\r\n{{"));
    let mut chunks = say(&format!("{post}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"));
    let mut dripping = say("GET /health HTTP/1.1\r\nx: ");
    let drip = dripping.try_clone().expect("a second handle");
    std::thread::spawn(move || {
        let mut drip = drip;
        while drip.write_all(b"x").is_ok() {
            sleep(Duration::from_millis(200));
        }
    });
    // Who has no token gets an answer before the body.
    let stranger = "POST /publish HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    let answer = closed(&mut say(stranger));
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(started.elapsed() < AT_ONCE);
    assert_eq!(closed(&mut silent), "");
    assert_eq!(closed(&mut dripping), "");
    let answer = closed(&mut kept);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    near(started.elapsed(), HEADER_TIME);
    for stream in [&mut body, &mut chunks] {
        let answer = closed(stream);
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("the body did not arrive within 20 s"), "{answer}");
    }
    near(started.elapsed(), BODY_TIME);
}

#[test]
fn streams_and_sessions_outlast_the_timeouts() {
    let home = Home::new();
    let daemon = home.start("alice");
    let mut events = daemon.events("/direct/events");
    let request = format!(
        "GET /ws/direct HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n\r\n",
        daemon.bearer()
    );
    let mut session = daemon.connect();
    session.write_all(request.as_bytes()).expect("the daemon reads");
    sleep(HEADER_TIME + Duration::from_secs(2));
    let sessions = || daemon.get("/ws/sessions").json()["sessions"].as_array().map(Vec::len);
    assert_eq!(sessions(), Some(1));
    daemon.send(&daemon.agent(), "aGVsbG8=");
    assert_eq!(events.next("direct_message")["payload"], "aGVsbG8=");
    drop(session);
    daemon.wait_for("the end of the session", |_| sessions() == Some(0));
}

/// With few open files there are few places, and a reserve for the daemon itself.
#[test]
fn a_daemon_with_few_files_keeps_some_for_itself() {
    let home = Home::new();
    let daemon = home.start_with_files("alice", 256);
    // 64 are reserved, and two listeners have 24 places each.
    let mut streams: Vec<_> = (0..144).map(|_| daemon.events("/direct/events")).collect();
    let refused = daemon.get("/status");
    assert_eq!(refused.status, 503);
    let error = refused.json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("too many connections") && error.contains("ulimit"), "{error}");
    assert_eq!(daemon.get("/health").status, 200, "what is public is answered");
    let held = half_headers(&daemon, 300);
    streams.pop();
    daemon.wait_for("a free place", |daemon| daemon.get("/status").status == 200);
    let recorded = daemon.post("/diagnostics/record", &json!({ "max_mib": 1 }).to_string());
    assert_eq!(recorded.status, 200, "{recorded:?}");
    answers_at_once(&home, &daemon);
    drop(held);
}

/// When the system gives no more files, the daemon neither ends nor spins, and goes on afterwards.
#[test]
fn a_daemon_without_files_waits_for_them() {
    let home = Home::new();
    let daemon = home.start("alice");
    let mut held = half_headers(&daemon, 8);
    daemon.wait_for("the connections", |daemon| open_files(daemon) > 8);
    let pid = i32::try_from(daemon.child.id()).ok().and_then(Pid::from_raw);
    let usual = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(open_files(&daemon) as u64), ..usual };
    prlimit(pid, Resource::Nofile, few).expect("it is our child");
    held.extend(half_headers(&daemon, 50));
    let before = processor_time(&daemon);
    sleep(Duration::from_secs(1));
    let spent = processor_time(&daemon) - before;
    assert!(spent < Duration::from_millis(300), "{spent:?}");
    prlimit(pid, Resource::Nofile, usual).expect("it is our child");
    let end = Instant::now() + PATIENCE;
    while daemon.try_post("/publish", "").is_none() {
        assert!(Instant::now() < end, "nothing is accepted any more");
    }
    answers_at_once(&home, &daemon);
    drop(held);
}

fn processor_time(daemon: &Daemon) -> Duration {
    let path = format!("/proc/{}/schedstat", daemon.child.id());
    let text = std::fs::read_to_string(path).expect("it runs");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number");
    Duration::from_nanos(nanos)
}
