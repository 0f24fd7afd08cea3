//! The real programs, as a user runs them: from an empty home, with named instances beside each
//! other.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long something may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// The name of an instance whose data are in a place of their own.
const ELSEWHERE: &str = "elsewhere";

/// The home of a user. Instances that were started from it end with it.
struct User {
    root: PathBuf,
    /// Processes by the names of instances.
    started: BTreeMap<String, u64>,
}

/// What a program did.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Done {
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Checks that it failed, said why on standard error, and nothing else.
    fn failed(&self, code: i32, error: &str) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.err.contains(error), "'{error}' is not in {self:?}");
    }
}

impl User {
    fn new(test: &str) -> Self {
        let root = format!("x0x-cli-{test}-{}", std::process::id());
        let root = std::env::temp_dir().join(root);
        std::fs::create_dir_all(&root).unwrap();
        Self { root, started: BTreeMap::new() }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x0x"));
        command
            .args(line.split(' '))
            .env("HOME", &self.root)
            .env("XDG_DATA_HOME", self.root.join("data"))
            .env("XDG_CONFIG_HOME", self.root.join("config"))
            .stdin(Stdio::null());
        for name in ["X0X_API_TOKEN", "RUST_LOG", "PAGER"] {
            command.env_remove(name);
        }
        command
    }

    fn x0x(&self, line: &str) -> Done {
        finish(&mut self.command(line))
    }

    fn data(&self, name: &str) -> PathBuf {
        match name {
            ELSEWHERE => self.root.join(name),
            _ => self.root.join(format!("data/x0x-{name}")),
        }
    }

    fn configure(&self, name: &str, text: &str) {
        let directory = self.root.join(format!("config/x0x-{name}"));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("config.toml"), text).unwrap();
    }

    /// Starts an instance. Returns its process.
    fn start(&mut self, name: &str) -> u64 {
        self.start_with(name, "")
    }

    /// Starts an instance with more arguments, a space before each.
    fn start_with(&mut self, name: &str, more: &str) -> u64 {
        let started = self.x0x(&format!("start --name {name} --json{more}")).json();
        assert_eq!(started["status"], "started");
        let pid = started["pid"].as_u64().unwrap();
        self.started.insert(name.into(), pid);
        pid
    }

    /// Starts two instances that have a link.
    fn start_two(&mut self) {
        self.start("alice");
        let status = self.x0x("--name alice network status --json").json();
        let port = status["local_addr"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
        self.configure("bob", &format!("bootstrap_peers = ['127.0.0.1:{port}']"));
        self.start("bob");
        self.wait_for_link("bob");
    }

    fn wait_for_link(&self, name: &str) {
        wait("a link", || {
            let answer = self.x0x(&format!("--name {name} direct connections --json")).json();
            !answer["connections"].as_array().unwrap().is_empty()
        });
    }
}

impl Drop for User {
    fn drop(&mut self) {
        for (name, pid) in &self.started {
            // Whoever was stopped has no such file, and the process may be another's by now.
            if self.data(name).join("api.port").exists() {
                kill(*pid);
            }
        }
        drop(std::fs::remove_dir_all(&self.root));
    }
}

fn finish(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn kill(pid: u64) {
    finish(Command::new("kill").args(["-9", &pid.to_string()]));
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "there is no sign of {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A command that streams, and ends with the test.
struct Stream(Child, std::io::Lines<BufReader<std::process::ChildStdout>>);

impl Stream {
    /// Starts it and waits until it listens.
    fn open(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut hint = String::new();
        errors.read_line(&mut hint).unwrap();
        assert!(hint.starts_with("Listening for"), "{hint}");
        // The rest of its hints are read by nobody, but may be written.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, lines)
    }

    fn line(&mut self) -> String {
        self.1.next().unwrap().unwrap()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_daemon_that_does_not_run_is_code_2() {
    let user = User::new("none");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for command in ["health", "status --json", "direct send abcd1234 hi", "stop", "direct events"] {
        let done = user.x0x(&format!("--api {free} {command}"));
        done.failed(2, "error: Daemon is not running. Start it with: x0x start\n");
        assert!(done.err.contains(&free.to_string()), "{done:?}");
        let done = user.x0x(&format!("{command} --name nobody"));
        done.failed(2, "error: Named instance 'nobody' is not running");
    }
    for usage in ["--name no/name health", "what", "direct send abcd1234"] {
        user.x0x(usage).failed(2, "error: ");
    }
    user.x0x("peer").failed(2, "Usage: x0x peer [OPTIONS] <COMMAND>");
    user.x0x("--api nowhere health").failed(1, "use HOST:PORT");
    assert_eq!(user.x0x("instances").good(), "No running instances found.\n");
}

#[test]
fn an_instance_is_started_once_and_stopped() {
    let mut user = User::new("start");
    let first = user.start("alice");
    let again = user.x0x("--name alice start").good();
    assert!(again.starts_with("Daemon already running at http://127.0.0.1:"), "{again}");
    let list = user.x0x("instances").good();
    let expected = ["NAME", "API", "STATUS", "alice"];
    assert!(expected.iter().all(|word| list.contains(word)) && list.contains("running"), "{list}");
    let doctor = user.x0x("doctor --name alice").good();
    assert!(doctor.contains("PASS  GET /status") && doctor.contains("0 failed"), "{doctor}");

    assert_eq!(user.x0x("stop --name alice").good(), "Daemon stopped\n");
    user.x0x("stop --name alice").failed(2, "Named instance 'alice' is not running");
    assert_eq!(user.x0x("instances").good(), "No running instances found.\n");
    // Nothing of the first is in the way of the second.
    let second = user.start("alice");
    assert_ne!(first, second);

    kill(second);
    wait("the end", || user.x0x("instances").good().contains("stale"));
    user.x0x("health --name alice").failed(2, "Named instance 'alice' is not running");
    user.start("alice");
}

#[test]
fn a_start_that_fails_says_why() {
    let user = User::new("broken");
    let keys = user.root.join(".x0x-alice");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("agent.key"), "no key").unwrap();
    let done = user.x0x("--name alice start");
    done.failed(1, "agent.key");
    assert!(done.err.starts_with("error: ") && done.err.contains("restore it"), "{done:?}");
    let log = user.data("alice").join("x0xd.log");
    assert_eq!(mode(&log) & 0o777, 0o600);

    user.configure("bob", "bind_address = 7");
    user.x0x("start --name bob").failed(1, "is not a configuration");
    user.x0x("start --config /nowhere/x.toml --name bob").failed(1, "cannot read /nowhere/x.toml");
    let doctor = user.x0x("doctor --name alice");
    assert!(doctor.out.contains("FAIL  key file"), "{doctor:?}");
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
}

#[test]
fn an_instance_with_data_elsewhere_is_asked_by_its_address() {
    let mut user = User::new("elsewhere");
    let data = user.data(ELSEWHERE);
    let config = user.root.join("own.toml");
    let text = format!("instance_name = 'alice'\ndata_dir = '{}'", data.display());
    std::fs::write(&config, text).unwrap();
    let done = user.x0x(&format!("start --json --config {}", config.display()));
    user.started.insert(ELSEWHERE.into(), done.json()["pid"].as_u64().unwrap());
    let next = done.err.lines().last().unwrap().strip_prefix("Next: ").unwrap();
    // It is a line for a shell.
    let next = next.replace("x0x --api", &format!("{} --api", env!("CARGO_BIN_EXE_x0x")));
    let status = finish(Command::new("sh").args(["-c", &next])).good();
    assert!(status.contains("agent_id:"), "{status}");
    user.x0x("status --name alice").failed(2, "Named instance 'alice' is not running");
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions())
}

#[test]
fn two_instances_talk() {
    let mut user = User::new("talk");
    user.start_two();
    let bob = user.x0x("agent --name bob --json").json()["agent_id"].as_str().unwrap().to_owned();
    let mut text = Stream::open(user.command("--name bob direct events"));
    let mut json = Stream::open(user.command("--name bob direct events --json"));

    // Ids that are shown can be given.
    let shown = user.x0x("--name alice direct connections").good();
    let short = shown.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(short, bob[..8]);
    let sent = user.x0x(&format!("--name alice direct send {short} hello --require-ack-ms 5000"));
    let sent = sent.good();
    assert!(sent.starts_with(&format!("Delivered to {short} in ")), "{sent}");

    let alice =
        user.x0x("agent --name alice --json").json()["agent_id"].as_str().unwrap().to_owned();
    let line = text.line();
    assert!(line.ends_with(&format!("Z  {}  hello", &alice[..8])), "{line}");
    let message: Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!((&message["sender"], &message["payload"]), (&alice.into(), &"aGVsbG8=".into()));

    let peers = user.x0x("--name alice peers").good();
    let machine = peers.lines().nth(1).unwrap().to_owned();
    let probed = user.x0x(&format!("peer probe {machine} --timeout-ms 5000 --name alice")).good();
    assert!(probed.contains("answered in"), "{probed}");
    let health = user.x0x(&format!("peer health {machine} --name alice")).good();
    assert!(health.contains("Connected"), "{health}");
    let outcome = user.x0x(&format!("machines connect {machine} --name alice")).good();
    assert!(outcome.contains("AlreadyConnected"), "{outcome}");

    measures(&user, &bob);
}

/// The measurement finds no fault.
fn measures(user: &User, bob: &str) {
    for (options, latency) in [("", "answer"), (" --ws", "arrival")] {
        let line = format!("--name alice bench direct --count 300 --receiver-name bob{options}");
        let report = user.x0x(&format!("{line} --json")).json();
        assert_eq!(report["to"], bob);
        for (what, expected) in [("/ok", Value::from(true)), ("/acknowledged", 300.into())] {
            assert_eq!(report.pointer(what), Some(&expected), "{report}");
        }
        for (what, expected) in [("arrived", 300), ("lost", 0), ("duplicates", 0)] {
            assert_eq!(report["receiver"][what], expected, "{report}");
        }
        assert_eq!(report["latency"]["of"], latency, "{report}");
        let text = user.x0x(&line).good();
        assert!(text.contains("300 arrived, 0 lost, 0 duplicates"), "{text}");
    }
    let report = user.x0x("--name alice bench direct --count 50 --ws --json").json();
    assert_eq!((&report["acknowledged"], &report["receiver"]), (&50.into(), &Value::Null));
}

#[test]
fn an_instance_may_be_given_to_another_as_its_peer() {
    let mut user = User::new("peer");
    user.start("alice");
    user.start_with("bob", " --peer alice");
    user.wait_for_link("bob");
    user.x0x("--name carol start --peer nobody").failed(2, "'nobody' is not running");
    user.x0x("--name carol start --peer a/b").failed(1, "is no name of an instance");
}

#[test]
fn json_is_all_that_is_printed() {
    let mut user = User::new("json");
    user.start("alice");
    let own = user.x0x("agent --name alice --json").json()["agent_id"].as_str().unwrap().to_owned();
    let own = &own[..6];
    let nobody = "5a".repeat(32);
    for command in [
        "health".into(),
        "status".into(),
        "peers".into(),
        "agent".into(),
        "agent user-id".into(),
        "network status".into(),
        "direct connections".into(),
        "diagnostics dm".into(),
        "ws sessions".into(),
        "ws direct".into(),
        "instances".into(),
        "doctor".into(),
        "routes".into(),
        "tree".into(),
        "constitution".into(),
        format!("direct send {own} hello"),
        format!("peer health {nobody}"),
        "stop".into(),
    ] {
        let done = user.x0x(&format!("{command} --json --name alice"));
        let json = done.json();
        assert_eq!(done.err, "", "{command}");
        assert!(json.is_array() || json.is_object(), "{command}");
        assert!(done.out.lines().count() > 1, "{command}: {}", done.out);
    }
}

#[test]
fn errors_of_the_daemon_are_shown() {
    let mut user = User::new("errors");
    user.start("alice");
    let nobody = "5a".repeat(32);
    let send = user.x0x(&format!("--name alice direct send {nobody} hello --json"));
    send.failed(1, "(HTTP 404)");
    assert!(send.err.starts_with("error: recipient_key_unavailable"), "{send:?}");
    user.x0x(&format!("--name alice peer probe {nobody}")).failed(1, "(HTTP 503)");
    user.x0x("--name alice peer probe zz").failed(1, "'zz' is no id");
    user.x0x("--name alice direct connect 5a5a").failed(1, "no known agent begins with '5a5a'");
    let connect = user.x0x(&format!("--name alice direct connect {nobody}"));
    assert_eq!((connect.code, connect.out.contains("NotFound")), (Some(0), true), "{connect:?}");
    assert!(connect.err.contains("bootstrap_peers"), "{connect:?}");

    let token = "no-token-that-the-daemon-has-ever-seen";
    let done = finish(user.command("--name alice status").env("X0X_API_TOKEN", token));
    done.failed(1, "missing or invalid Authorization: Bearer token (HTTP 401)");
    let api = std::fs::read_to_string(user.data("alice").join("api.port")).unwrap();
    let token = std::fs::read_to_string(user.data("alice").join("api-token")).unwrap();
    let done =
        finish(user.command(&format!("--api http://{api} status")).env("X0X_API_TOKEN", token));
    assert!(done.good().contains("agent_id:"));
}

#[test]
fn what_needs_no_daemon_works_without_one() {
    let user = User::new("offline");
    let routes = user.x0x("routes --json").json();
    let keys = ["method", "path", "cli_name", "description", "category"];
    for route in routes.as_array().unwrap() {
        let own: Vec<&String> = route.as_object().unwrap().keys().collect();
        assert_eq!(own, keys);
    }
    let constitution = user.x0x("constitution").good();
    assert_eq!(constitution, user.x0x("constitution --raw").good());
    assert!(constitution.starts_with("# The constitution"));
    assert_eq!(user.x0x("constitution --json").json()["version"], "0.1");
    assert!(user.x0x("completions bash").good().contains("_x0x()"));
    assert!(user.x0x("man").good().contains(".TH x0x 1"));
    assert!(user.x0x("man direct send").good().contains("require\\-ack\\-ms"));
    user.x0x("man direct nothing").failed(1, "there is no command 'nothing'");
    assert!(user.x0x("tree").good().contains("─ direct"));
    assert!(user.x0x("--version").good().starts_with("x0x 0."));
}

#[test]
fn a_topic_is_shown_until_it_is_interrupted() {
    let mut user = User::new("topic");
    user.start("alice");
    let agent = user.x0x("--name alice agent --json").json()["agent_id"].clone();
    let short = &agent.as_str().unwrap()[..8];
    let mut all = Stream::open(user.command("--name alice events"));
    let mut text = Stream::open(user.command("--name alice subscribe a/b"));
    let mut json = Stream::open(user.command("--name alice subscribe c --json"));
    let published = user.x0x("--name alice publish a/b hello").good();
    assert_eq!(published, "Published to a/b\n");
    assert_eq!(user.x0x("--name alice publish c -5 --json").json()["ok"], true);
    assert_eq!(text.line(), format!("{short}  hello"));
    assert_eq!(all.line(), format!("a/b  {short}  hello"));
    let envelope: Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!((&envelope["type"], &envelope["data"]["topic"]), (&"message".into(), &"c".into()));
    assert_eq!(
        (&envelope["data"]["payload"], &envelope["data"]["sender"]),
        (&"LTU=".into(), &agent)
    );
    let count = || {
        let answer = user.x0x("--name alice diagnostics gossip --json").json();
        answer["subscription_count"].as_u64().unwrap()
    };
    assert_eq!(count(), 2);
    for (stream, signal) in [(&mut text, "-INT"), (&mut json, "-TERM")] {
        finish(Command::new("kill").args([signal, &stream.0.id().to_string()]));
        assert!(stream.0.wait().unwrap().success(), "{signal}");
    }
    assert_eq!(count(), 0, "the subscriptions end with those who made them");
    let unknown = user.x0x("--name alice unsubscribe 0123456789abcdef");
    unknown.failed(1, "subscription not found (HTTP 404)");
    let table = user.x0x("--name alice diagnostics gossip").good();
    assert!(table.contains("decode_to_delivery_drops:  0"), "{table}");
    let bench = user.x0x("--name alice bench gossip --count 500 --json").json();
    let receiver = &bench["receivers"][0];
    assert_eq!((&bench["ok"], &receiver["arrived"]), (&true.into(), &500.into()), "{bench}");
    assert!(bench["processor_us_per_delivery"].as_f64().unwrap() > 0.0, "{bench}");
    let bench = user.x0x("--name alice bench gossip --http --count 100 --rate 1000").good();
    assert!(bench.contains("100 arrived, 0 lost"), "{bench}");
    // With the daemon, the stream ends.
    let mut last = Stream::open(user.command("--name alice subscribe a/b"));
    user.x0x("--name alice stop").good();
    assert!(last.0.wait().unwrap().success());
}
