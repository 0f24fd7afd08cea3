//! Secrets in the memory of the programs, and who can read it.

mod support;

use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use support::{Daemon, Home, is_root, read, run, skipped};

/// Another user: nobody.
const OTHER: u32 = 65_534;

/// How much of the memory of a process is read at a time, in bytes.
const PART: u64 = 1 << 20;

/// Counts how often bytes are in the memory of a process.
fn count(process: u32, wanted: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("root may read it");
    let memory = File::open(format!("/proc/{process}/mem")).expect("root may read it");
    let ranges = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ').expect("a range and more");
        let (start, end) = range.split_once('-').expect("a start and an end");
        let number = |text| u64::from_str_radix(text, 16).expect("a number");
        let is_ours = rest.starts_with('r') && !rest.contains("[v");
        is_ours.then(|| (number(start), number(end)))
    });
    ranges.map(|(start, end)| occurrences(&memory, start, end, wanted)).sum()
}

/// Counts bytes in a range of memory, which is read in parts that overlap by less than one match.
fn occurrences(memory: &File, start: u64, end: u64, wanted: &[u8]) -> usize {
    let overlap = wanted.len() as u64 - 1;
    let mut found = 0;
    let mut at = start;
    while at < end {
        let len = (PART + overlap).min(end - at);
        let mut part = vec![0; usize::try_from(len).expect("it is small")];
        // What was unmapped in the meantime holds nothing.
        if memory.read_exact_at(&mut part, at).is_ok() {
            found += part.windows(wanted.len()).filter(|window| window == &wanted).count();
        }
        at += PART;
    }
    found
}

/// Whether this test can read the memory of a process; prints why not.
fn may_look(process: u32) -> bool {
    let why = if !is_root() {
        "only root reads the memory of a daemon"
    } else if File::open(format!("/proc/{process}/mem")).is_err() {
        "this system does not let root read the memory of a daemon"
    } else {
        return true;
    };
    skipped(why);
    false
}

#[test]
fn requests_leave_no_copy_of_the_token_in_the_daemon() {
    let home = Home::new();
    let alice = home.start("alice");
    let process = alice.child.id();
    if !may_look(process) {
        return;
    }
    assert_eq!(count(process, alice.token.as_bytes()), 1, "after the start");
    for command in ["status", "agent", "peers"] {
        let (code, stdout, stderr) = run(&mut home.x0x(&format!("{command} --name alice")));
        assert_eq!(code, 0, "{stdout}{stderr}");
    }
    assert_settles(&alice, "after requests of x0x");
    // In the query, beside a header that takes more than one read, and with a body.
    let in_query = format!("GET /events?token={} HTTP/1.1\r\nhost: localhost\r\n\r\n", alice.token);
    let mut stream = alice.connect();
    std::io::Write::write_all(&mut stream, in_query.as_bytes()).expect("the daemon reads");
    let mut status = String::new();
    BufReader::new(&stream).read_line(&mut status).expect("the daemon answers");
    assert!(status.contains("200"), "{status}");
    drop(stream);
    let long = format!("x-long: {}", alice.token.repeat(100));
    assert_eq!(alice.request("GET", "/agent", &[&alice.bearer(), &long], "").status, 200);
    assert_eq!(alice.post("/publish", r#"{"topic":"t","payload":"aGk="}"#).status, 200);
    assert_settles(&alice, "after a stream, a long header and a body");
}

/// Waits until the daemon has closed its connections; then the token is in its memory once.
fn assert_settles(daemon: &Daemon, when: &str) {
    let process = daemon.child.id();
    let end = std::time::Instant::now() + support::PATIENCE;
    loop {
        let found = count(process, daemon.token.as_bytes());
        if found == 1 {
            return;
        }
        assert!(std::time::Instant::now() < end, "{when}: {found} copies");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn the_seed_of_a_key_is_in_memory_once() {
    let home = Home::new();
    let alice = home.start("alice");
    let process = alice.child.id();
    if !may_look(process) {
        return;
    }
    assert_eq!(alice.post("/publish", r#"{"topic":"t","payload":"aGk="}"#).status, 200);
    for name in ["agent.key", "machine.key"] {
        let file = read(&home.keys("alice").join(name));
        assert_eq!(count(process, &file[8..40]), 1, "{name}");
        assert_eq!(count(process, &file), 0, "{name} as a file");
    }
    let file = read(&home.data("alice").join("agent_kem.key"));
    assert_eq!(count(process, &file[7..71]), 0, "only the public half is kept");
}

/// Checks that no other process of a user may read the memory of a process, and that it leaves no
/// core.
fn assert_protected(process: u32, user: u32) {
    let path = |name| format!("/proc/{process}/{name}");
    assert_eq!(fs::metadata(path("status")).expect("it runs").uid(), 0, "a process of {user}");
    let status = fs::read_to_string(path("status")).expect("it runs");
    assert!(status.contains(&format!("\nUid:\t{user}\t{user}\t")), "{status}");
    assert_eq!(fs::metadata(path("mem")).expect("it runs").uid(), 0);
    let limits = fs::read_to_string(path("limits")).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    let numbers: Vec<&str> = core.split_whitespace().skip(4).collect();
    assert_eq!(numbers, ["0", "0", "bytes"], "{core}");
}

/// A program that another user runs if root runs this test.
fn as_other(home: &Home, program: &str, arguments: &[&str], user: u32) -> Command {
    // The user need not be able to reach the directory that the program was built in.
    let copy = home.0.join(program.rsplit('/').next().expect("a name"));
    fs::copy(program, &copy).expect("it can be copied");
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("it is ours");
    chown(&home.0, Some(user), Some(user)).expect("root may");
    let mut command = Command::new(copy);
    command.args(arguments).env_clear().env("HOME", &home.0).stdout(Stdio::piped());
    if is_root() {
        command.uid(user).gid(user);
    }
    command
}

/// Waits for a line of a program.
fn await_line(child: &mut Child, is_it: impl Fn(&str) -> bool) {
    let output = BufReader::new(child.stdout.take().expect("its output is ours"));
    assert!(output.lines().map_while(Result::ok).any(|line| is_it(&line)), "it ended");
}

#[test]
#[cfg(target_os = "linux")]
fn only_root_can_read_the_memory_of_the_programs() {
    let home = Home::new();
    let user = if is_root() { OTHER } else { rustix::process::geteuid().as_raw() };
    let (x0xd, x0x) = (env!("CARGO_BIN_EXE_x0xd"), env!("CARGO_BIN_EXE_x0x"));
    let mut child = as_other(&home, x0xd, &["--name", "alice"], user).spawn().expect("it starts");
    await_line(&mut child, |line| line.starts_with("Next:"));
    assert_protected(child.id(), user);
    // The daemon ends with this.
    let alice = home.running("alice", child, 0);
    let arguments = ["--name", "alice", "direct", "events", "--json"];
    let mut events = as_other(&home, x0x, &arguments, user).spawn().expect("it starts");
    alice.wait_for("the client", |_| {
        fs::read_to_string(format!("/proc/{}/comm", events.id())).is_ok_and(|name| name == "x0x\n")
            && fs::metadata(format!("/proc/{}/mem", events.id())).is_ok_and(|mem| mem.uid() == 0)
    });
    assert_protected(events.id(), user);
    events.kill().and_then(|()| events.wait()).expect("it is our child");
}
