//! What a daemon says when it cannot start, and what it leaves alone.

mod support;

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Daemon, Home, SmallDisk, run, skipped};

/// Runs a daemon that cannot start; returns what it says.
fn refusal(home: &Home, arguments: &[&str]) -> String {
    let started = Instant::now();
    let (code, stdout, stderr) = run(&mut home.x0xd(arguments));
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(stderr.starts_with("error: "), "{stderr}");
    stderr
}

#[test]
fn a_second_daemon_on_one_directory_refuses_and_harms_nothing() {
    let home = Home::new();
    let alice = home.start("alice");
    let error = refusal(&home, &["--name", "alice"]);
    assert!(error.contains("another daemon runs") && error.contains("x0x stop"), "{error}");
    assert_eq!(alice.get("/health").status, 200);
    let port = fs::read_to_string(home.data("alice").join("api.port")).expect("it is there");
    assert_eq!(port, alice.api.to_string());
}

#[test]
fn a_key_that_is_damaged_is_named_and_left_alone() {
    let home = Home::new();
    drop(home.start("alice"));
    let path = home.keys("alice").join("agent.key");
    let good = support::read(&path);
    for bad in [&good[..50], &[7; 104], &[]] {
        fs::write(&path, bad).expect("it is ours");
        let error = refusal(&home, &["--name", "alice"]);
        assert!(error.contains("agent.key") && error.contains("restore it"), "{error}");
        assert_eq!(support::read(&path), bad);
    }
    fs::remove_file(&path).expect("it is ours");
    fs::create_dir(&path).expect("it can be made");
    let error = refusal(&home, &["--name", "alice"]);
    assert!(error.contains("cannot read") && error.contains("agent.key"), "{error}");
}

#[test]
fn a_store_that_is_damaged_is_named_and_left_alone() {
    let home = Home::new();
    drop(home.start("alice"));
    let path = home.data("alice").join("x0x.redb");
    let good = support::read(&path);
    let bad = [&[7; 64][..], &good[64..]].concat();
    fs::write(&path, &bad).expect("it is ours");
    let error = refusal(&home, &["--name", "alice"]);
    assert!(error.contains("x0x.redb") && error.contains("move it away"), "{error}");
    assert_eq!(support::read(&path), bad);
}

#[test]
fn a_port_in_use_is_named_with_the_way_to_choose_another() {
    let home = Home::new();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = tcp.local_addr().expect("it is bound").port().to_string();
    let error = refusal(&home, &["--name", "alice", "--api-port", &port]);
    assert!(error.contains(&port) && error.contains("--api-port"), "{error}");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    let address = udp.local_addr().expect("it is bound").to_string();
    home.configure("alice", &format!("bind_address = '{address}'"));
    let error = refusal(&home, &["--name", "alice"]);
    assert!(error.contains(&address) && error.contains("bind_address"), "{error}");
}

#[test]
fn a_wrong_configuration_says_where_and_a_good_one_is_shown() {
    let home = Home::new();
    home.configure("alice", "api_address = 'nowhere'");
    let error = refusal(&home, &["--name", "alice"]);
    assert!(error.contains("config.toml") && error.contains("api_address"), "{error}");
    let error = refusal(&home, &["--config", "/nothing/here.toml"]);
    assert!(error.contains("/nothing/here.toml"), "{error}");
    home.configure("alice", "log_level = 'shouting'");
    let error = refusal(&home, &["--name", "alice"]);
    assert!(error.contains("shouting") && error.contains("trace"), "{error}");
    let error = refusal(&home, &["--exec-acl", "/nothing/acl.toml"]);
    assert!(error.contains("/nothing/acl.toml"), "{error}");
    home.configure("alice", "");
    let (code, stdout, _) = run(&mut home.x0xd(&["--name", "alice", "--check", "--unknown-flag"]));
    assert!(code == 0 && stdout.starts_with("Configuration is valid"), "{stdout}");
    for (arguments, says) in [
        (&["--version"][..], "x0xd 0.19.21"),
        (&["--list"], "No running instances found."),
        (&["--check-updates"], "updates are disabled"),
    ] {
        let (code, stdout, _) = run(&mut home.x0xd(arguments));
        assert!(code == 0 && stdout.contains(says), "{arguments:?}: {stdout}");
    }
    assert_ne!(run(&mut home.x0xd(&["--name", "a/b"])).0, 0);
    assert_ne!(run(&mut home.x0xd(&["--name"])).0, 0);
}

/// The file system of the data is full: the daemon says so, and leaves nothing half written. It
/// starts when there is room.
#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let home = Home::new();
    let data = home.data("alice");
    let script = format!(
        "mkdir -p {data} && mount -t tmpfs -o size=128k,mode=700 none {data} || exit 77\n\
         dd if=/dev/zero of={data}/filler bs=1k count=128 2> /dev/null\n\
         {x0xd} --name alice; test $? = 1 || exit 2\n\
         test \"$(ls {data})\" = filler || exit 3",
        data = data.display(),
        x0xd = env!("CARGO_BIN_EXE_x0xd"),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).env("HOME", &home.0);
    command.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
    let (code, stdout, stderr) = run(&mut command);
    if code == 77 {
        skipped("a small file system needs root to mount it");
        return;
    }
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stderr.contains("cannot write") && stderr.contains("No space left"), "{stderr}");
    assert_eq!(home.start("alice").get("/health").status, 200);
}

/// The disk becomes full under a daemon that has something to keep: it ends and says what to do. Its
/// keys and its store are whole, and it starts when there is room.
#[test]
fn a_disk_that_fills_up_ends_the_daemon_and_harms_nothing() {
    let Some(disk) = SmallDisk::new(8 << 10) else {
        skipped("a small file system needs root to mount it");
        return;
    };
    let mut alice = disk.home.start("alice");
    let (agent, token) = (alice.agent(), alice.token.clone());
    let first = Home::new();
    let bob = start_linked(&first, &alice);
    drop(bob);
    drop(alice);
    let keys = |home: &Home| {
        ["machine.key", "agent.key"].map(|name| support::read(&home.keys("alice").join(name)))
    };
    let before = keys(&disk.home);

    alice = disk.home.start_with("alice", Stdio::piped());
    disk.fill();
    // A machine that alice never met is something to remember.
    let second = Home::new();
    let _carol = start_linked(&second, &alice);
    assert_eq!(alice.wait().code(), Some(1));
    let mut says = String::new();
    let stderr = alice.child.stderr.as_mut().expect("it is ours");
    stderr.read_to_string(&mut says).expect("it is text");
    let error = says.lines().find(|line| line.starts_with("error: ")).expect("an error");
    assert!(error.contains("no space left") && error.contains("make room"), "{error}");
    assert!(!disk.home.data("alice").join("api.port").exists());
    assert_eq!(keys(&disk.home), before);
    // What the daemon had left behind was room for a start.
    disk.fill();
    let error = refusal(&disk.home, &["--name", "alice"]);
    assert!(error.contains("space left"), "{error}");
    assert_eq!(keys(&disk.home), before);

    disk.clear();
    let alice = disk.home.start("alice");
    assert_eq!((alice.agent(), alice.token.clone()), (agent, token));
    let _bob = start_linked(&first, &alice);
    assert_eq!(keys(&disk.home), before);
}

/// Starts an instance that keeps a link with another.
fn start_linked(home: &Home, other: &Daemon) -> Daemon {
    home.configure("other", &format!("bootstrap_peers = ['127.0.0.1:{}']", other.quic));
    let daemon = home.start("other");
    daemon.wait_for("a link", |daemon| daemon.get("/health").json()["peers"] == 1);
    daemon
}
