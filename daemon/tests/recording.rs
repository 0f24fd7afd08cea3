//! Real daemons that are recorded, and run again from their files.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Answer, Daemon, Home, read, run};
use x0x_core::direct;
use x0x_core::gossip;
use x0x_core::link;
use x0x_core::node::recording::{End, Moment, Replay, Tally};
use x0x_core::node::{Event, Output};

/// What came of a load.
#[derive(Default)]
struct Load {
    sent: AtomicU64,
    published: AtomicU64,
    refused: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    /// Posts the same again and again; counts what is accepted.
    fn post(&self, daemon: &Daemon, path: &str, body: &Value, accepted: &AtomicU64) {
        let body = body.to_string();
        while !self.is_over.load(Ordering::Relaxed) {
            let counter =
                if daemon.try_post(path, &body) == Some(200) { accepted } else { &self.refused };
            if counter.fetch_add(1, Ordering::Relaxed) % 50 == 49
                && std::ptr::eq(counter, &self.refused)
            {
                sleep(Duration::from_millis(5));
            }
        }
    }

    /// Waits until so much more was sent and published.
    fn wait(&self, more: u64) {
        let end = Instant::now() + 3 * support::PATIENCE;
        let counts = || [&self.sent, &self.published].map(|count| count.load(Ordering::Relaxed));
        let before = counts();
        while counts().iter().zip(before).any(|(now, before)| *now < before + more) {
            assert!(Instant::now() < end, "the load stands still: {:?}", counts());
            sleep(Duration::from_millis(20));
        }
    }
}

fn record(daemon: &Daemon, max_mib: u64) -> Answer {
    daemon.post("/diagnostics/record", &json!({ "max_mib": max_mib }).to_string())
}

fn stop(daemon: &Daemon) -> Answer {
    daemon.request("DELETE", "/diagnostics/record", &[&daemon.bearer()], "")
}

fn state(daemon: &Daemon) -> Value {
    daemon.get("/diagnostics/record").json()
}

fn path(answer: &Value) -> PathBuf {
    answer["path"].as_str().expect("a path").into()
}

fn is_linked(daemon: &Daemon) -> bool {
    daemon.get("/health").json()["peers"] == 1
}

fn subscribed(daemon: &Daemon) -> Vec<String> {
    let answer = daemon.get("/diagnostics/gossip").json();
    let topics = answer["topics"].as_array().cloned().unwrap_or_default();
    let own = topics.iter().filter(|topic| topic["is_subscribed"] == true);
    own.filter_map(|topic| topic["topic"].as_str().map(str::to_owned)).collect()
}

/// What a recording says, once it was seen to replay identically.
#[derive(Debug)]
struct Seen {
    tally: Tally,
    direct: usize,
    topics: usize,
    links: usize,
}

fn replay(path: &Path) -> Seen {
    let mode = |path: &Path| std::fs::metadata(path).expect("it exists").permissions().mode();
    assert_eq!(mode(path) & 0o777, 0o600, "{}", path.display());
    assert_eq!(mode(path.parent().expect("it is in a directory")) & 0o777, 0o700);
    let mut replay = Replay::open(read(path), Instant::now()).expect("it is a recording");
    let (mut direct, mut topics, mut links) = (0, 0, 0);
    let tally = replay.visit(|_, moment| {
        if let Moment::Output(Output::Event(event), _) = moment {
            direct += usize::from(matches!(event, Event::Direct(direct::Event::Received { .. })));
            topics += usize::from(matches!(event, Event::Gossip(gossip::Event::Received { .. })));
            links += usize::from(matches!(event, Event::Link(link::Event::PeerUp { .. })));
        }
    });
    let tally = tally.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Seen { tally, direct, topics, links }
}

/// The only recording of an instance.
fn only_file(home: &Home, name: &str) -> PathBuf {
    let entries = std::fs::read_dir(home.data(name).join("recordings")).expect("it exists");
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("it is read").path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    file.clone()
}

#[test]
fn two_daemons_under_load_run_again_from_their_recordings() {
    const ENOUGH: u64 = 150;
    let home = Home::new();
    home.configure("alice", "[record]\nenabled = true\nmax_mib = 32");
    let mut alice = home.start("alice");
    home.configure("bob", &format!("bootstrap_peers = ['127.0.0.1:{}']", alice.quic));
    let bob = home.start("bob");
    assert_eq!(state(&alice)["recording"], true);
    let nothing = json!({
        "ok": true, "recording": false, "path": null, "bytes": null, "max_bytes": null,
        "ended_because": null,
    });
    assert_eq!(state(&bob), nothing);
    assert_eq!(stop(&bob).status, 404);
    for daemon in [&alice, &bob] {
        daemon.wait_for("a link", is_linked);
        daemon.post("/subscribe", &json!({ "topic": "load" }).to_string());
    }

    let (load, agents) = (Load::default(), [alice.agent(), bob.agent()]);
    let message = |to: &str| json!({ "agent_id": to, "payload": "aGVsbG8=" });
    let publication = json!({ "topic": "load", "payload": "aGVsbG8=" });
    let begun = scope(|scope| {
        for (daemon, to) in [(&alice, &agents[1]), (&bob, &agents[0])] {
            let (load, message, publication) = (&load, message(to), &publication);
            scope.spawn(move || load.post(daemon, "/direct/send", &message, &load.sent));
            scope.spawn(move || load.post(daemon, "/publish", publication, &load.published));
        }
        load.wait(ENOUGH);
        let begun = record(&bob, 32);
        assert_eq!(begun.status, 200, "{begun:?}");
        // The link comes back, the subscription never went.
        bob.wait_for("a link", is_linked);
        assert_eq!(subscribed(&bob), ["load"]);
        load.wait(ENOUGH);
        load.is_over.store(true, Ordering::Relaxed);
        begun.json()
    });
    assert!(begun["warning"].as_str().is_some_and(|text| text.contains("secret keys")), "{begun}");
    assert_eq!(begun["max_bytes"], 32 << 20);
    assert_eq!((state(&bob)["recording"].clone(), path(&state(&bob))), (json!(true), path(&begun)));
    let again = record(&bob, 32);
    assert_eq!((again.status, &again.json()["error"]), (409, &json!("a recording is under way")));

    alice.signal("-KILL");
    alice.wait();
    let stopped = stop(&bob).json();
    assert_eq!(stopped["ended_because"], "it was stopped");
    assert_eq!(path(&stopped), path(&begun));
    assert_eq!(stopped["bytes"], std::fs::metadata(path(&begun)).expect("it exists").len());
    assert_eq!(state(&bob)["recording"], false);

    let killed = replay(&only_file(&home, "alice"));
    // Before and after the restart of the other; both may dial.
    assert!(killed.tally.end.is_none() && killed.links >= 2, "{killed:?}");
    let asked = replay(&path(&begun));
    assert!(asked.tally.end == Some(End::Stopped) && asked.links >= 1, "{asked:?}");
    for seen in [killed, asked] {
        assert!(seen.direct > 50 && seen.topics > 50 && seen.tally.inputs > 500, "{seen:?}");
    }
}

#[test]
fn clients_keep_their_streams_while_the_node_restarts() {
    let home = Home::new();
    let (alice, bob) = home.start_pair();
    let [mut direct, mut topics] = ["/direct/events", "/events"].map(|path| alice.events(path));
    let topic = json!({ "topic": "weather" }).to_string();
    let subscribed = alice.post("/subscribe", &topic).json();
    let quic = alice.get("/network/status").json()["local_addr"].clone();
    let begun = record(&alice, 1);
    assert_eq!(begun.status, 200, "{begun:?}");
    assert_eq!(alice.get("/network/status").json()["local_addr"], quic, "it keeps its port");
    // Bob dials again by itself.
    alice.wait_for("a link", is_linked);
    assert_eq!(bob.send(&alice.agent(), "aGVsbG8=").status, 200);
    assert_eq!(direct.next("direct_message")["payload"], "aGVsbG8=");
    let publication = json!({ "topic": "weather", "payload": "cmFpbg==" }).to_string();
    assert_eq!(alice.post("/publish", &publication).status, 200);
    let heard = topics.next("message");
    assert_eq!(heard["data"]["payload"], "cmFpbg==", "{heard}");
    assert_eq!(heard["data"]["subscription_id"], subscribed["subscription_id"], "{heard}");
}

#[test]
fn a_recording_keeps_its_size_and_the_node_goes_on() {
    let home = Home::new();
    let (alice, bob) = home.start_pair();
    for (body, status) in [
        (r#"{"max_mib":0}"#, 400),
        (r#"{"max_mib":65537}"#, 400),
        (r#"{"max_mib":"a"}"#, 422),
        ("{", 400),
    ] {
        assert_eq!(alice.post("/diagnostics/record", body).status, status, "{body}");
    }
    let begun = record(&alice, 1);
    assert_eq!(begun.status, 200, "{begun:?}");
    alice.wait_for("a link", is_linked);
    bob.wait_for("a link", is_linked);
    let (recipient, payload) = (alice.agent(), "A".repeat(40_000));
    let end = Instant::now() + 3 * support::PATIENCE;
    while state(&alice)["recording"] == true {
        assert!(Instant::now() < end, "{}", state(&alice));
        bob.send(&recipient, &payload);
    }
    assert_eq!(bob.send(&recipient, "aGVsbG8=").status, 200);
    let ended = state(&alice);
    assert_eq!(ended["ended_because"], "it reached its size");
    let file = path(&begun.json());
    let size = std::fs::metadata(&file).expect("it exists").len();
    assert!((1_000_000..=1 << 20).contains(&size) && ended["bytes"] == size, "{size} {ended}");
    assert_eq!(replay(&file).tally.end, Some(End::Full));
    // Another one is another file; the first stays.
    let second = record(&alice, 1).json();
    assert_ne!(path(&second), file);
    assert_eq!(stop(&alice).json()["ended_because"], "it was stopped");
    assert!(file.exists() && path(&second).exists());
}

#[test]
fn the_command_line_records_and_warns() {
    let home = Home::new();
    let daemon = home.start("alice");
    let x0x = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_x0x"));
        command.args(["--name", "alice", "diagnostics", "record"]).args(arguments);
        run(command.env_clear().env("HOME", &home.0).env("PATH", "/usr/bin:/bin"))
    };
    assert_eq!(x0x(&["--status"]), (0, "Not recorded\n".into(), String::new()));
    let (code, out, err) = x0x(&["--max-mib", "2"]);
    assert!(
        code == 0 && out.starts_with("Recording to /") && out.ends_with("most 2.0 MiB\n"),
        "{out}"
    );
    assert!(err.contains("secret keys"), "{err}");
    let (code, out, _) = x0x(&["--status", "--json"]);
    let status: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &status["recording"]), (0, &json!(true)));
    assert_eq!(path(&status), path(&state(&daemon)));
    let (code, out, err) = x0x(&[]);
    assert!(code == 1 && out.is_empty() && err.contains("a recording is under way"), "{err}");
    let (code, out, _) = x0x(&["--stop"]);
    let replayed = format!("x0x-sim replay-node {}\n", path(&status).display());
    assert!(code == 0 && out.contains("it was stopped") && out.ends_with(&replayed), "{out}");
    assert_eq!(x0x(&["--stop", "--max-mib", "2"]).0, 2);
    replay(&path(&status));
}
