//! Keys, tokens and directories: made once, and accessible to their user only.

mod support;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::{Daemon, Home, is_root, read, run, skipped};
use x0x_core::identity::{AgentKey, MachineKey, UserKey};

/// How often daemons start at once.
const ROUNDS: usize = 8;

/// Another user: nobody.
const OTHER: u32 = 65_534;

/// Starts daemons at once. Returns the one that runs and what the others said.
fn start_at_once(home: &Home, count: usize) -> (Daemon, Vec<String>) {
    let spawn = |_| {
        let mut command = home.x0xd(&["--name", "alice"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let children: Vec<Child> = (0..count).map(spawn).collect();
    let (mut running, mut errors) = (Vec::new(), Vec::new());
    for mut child in children {
        let output = BufReader::new(child.stdout.take().expect("its output is ours"));
        if output.lines().map_while(Result::ok).any(|line| line.starts_with("Next:")) {
            running.push(child);
        } else {
            let mut error = String::new();
            child.stderr.take().expect("it is ours").read_to_string(&mut error).expect("text");
            assert_eq!(child.wait().expect("it is our child").code(), Some(1), "{error}");
            errors.push(error);
        }
    }
    let count = running.len();
    let child = running.pop().filter(|_| count == 1);
    let child = child.unwrap_or_else(|| panic!("{count} daemons run: {errors:?}"));
    (home.running("alice", child, 0), errors)
}

#[test]
fn simultaneous_first_starts_leave_one_daemon_with_the_keys_in_the_files() {
    for count in [2, 4] {
        for round in 0..ROUNDS {
            let home = Home::new();
            let (daemon, errors) = start_at_once(&home, count);
            let name = format!("round {round} with {count}");
            assert_eq!(errors.len(), count - 1, "{name}");
            assert!(errors.iter().all(|error| error.contains("is in use")), "{name}: {errors:?}");
            let agent = daemon.get("/agent").json();
            let file = |name| read(&home.keys("alice").join(name));
            let key = AgentKey::from_key_file(&file("agent.key")).expect("a key");
            assert_eq!(agent["agent_id"], key.id().to_string(), "{name}");
            let key = MachineKey::from_key_file(&file("machine.key")).expect("a key");
            assert_eq!(agent["machine_id"], key.id().to_string(), "{name}");
            // The key for sealed messages has no form of its own outside the daemon.
            let sealed = agent["kem_public_key_b64"].clone();
            drop(daemon);
            let again = home.start("alice");
            assert_eq!(again.get("/agent").json()["kem_public_key_b64"], sealed, "{name}");
            assert_eq!(leftovers(&home.0), Vec::<PathBuf>::new(), "{name}");
        }
    }
}

/// Files that a write left behind.
fn leftovers(root: &Path) -> Vec<PathBuf> {
    walk(root).into_iter().filter(|path| path.extension().is_some_and(|end| end == "new")).collect()
}

/// Everything below a directory.
fn walk(root: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(root).expect("it is a directory").map(|entry| entry.expect("it is read"));
    let below = |path: PathBuf| {
        let more = if path.is_dir() { walk(&path) } else { Vec::new() };
        std::iter::once(path).chain(more)
    };
    entries.flat_map(|entry| below(entry.path())).collect()
}

#[test]
fn simultaneous_key_generators_write_one_key_and_replace_none() {
    for round in 0..ROUNDS {
        let home = Home::new();
        let path = home.0.join("user.key");
        let make = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_x0x-user-keygen"));
            command.arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("it starts")
        };
        let children: Vec<Child> = (0..4).map(|_| make()).collect();
        let done = children.into_iter().map(|child| child.wait_with_output().expect("it ends"));
        let (made, refused): (Vec<_>, Vec<_>) = done.partition(|done| done.status.success());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!((made.len(), refused.len()), (1, 3), "round {round}");
        let key = UserKey::from_key_file(&read(&path)).expect("a key");
        let says = text(&made[0].stderr);
        assert!(says.contains(&key.id().to_string()), "round {round}: {says}");
        for done in refused {
            let says = text(&done.stderr);
            assert!(says.contains("never replaced") && says.contains("another path"), "{says}");
        }
        assert_eq!(leftovers(&home.0), Vec::<PathBuf>::new(), "round {round}");
    }
}

/// The configuration of a daemon with the keys of `alice` and data of its own.
fn with_data(home: &Home, data: &Path) -> PathBuf {
    let path = home.0.join(format!("{}.toml", data.file_name().expect("a name").display()));
    let text = format!("instance_name = 'alice'\ndata_dir = '{}'", data.display());
    fs::write(&path, text).expect("it can be written");
    path
}

#[test]
fn a_second_daemon_with_other_data_does_not_share_keys() {
    let home = Home::new();
    let alice = home.start("alice");
    let other = home.0.join("other");
    let config = with_data(&home, &other);
    let arguments = ["--config", config.to_str().expect("text")];
    let (code, _, error) = run(&mut home.x0xd(&arguments));
    assert_eq!(code, 1, "{error}");
    let keys = home.keys("alice").display().to_string();
    for part in [&keys, "is in use", "--name NAME"] {
        assert!(error.contains(part), "{error}");
    }
    // It made neither a token nor a key.
    assert_eq!(walk(&other), [other.join(".lock")]);
    assert_eq!(alice.get("/health").status, 200);
    // A daemon that was killed leaves no lock behind.
    let agent = alice.agent();
    alice.signal("-KILL");
    drop(alice);
    let mut child = home.x0xd(&arguments).stdout(Stdio::piped()).spawn().expect("it starts");
    let output = child.stdout.take().expect("its output is ours");
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let says = lines.find(|line| line.trim().starts_with("agent "));
    child.kill().and_then(|()| child.wait()).expect("it is our child");
    assert!(says.as_ref().is_some_and(|line| line.contains(&agent)), "{says:?}");
}

#[test]
fn keys_and_data_may_share_a_directory() {
    let home = Home::new();
    let keys = home.keys("alice");
    home.configure("alice", &format!("data_dir = '{}'", keys.display()));
    let mut child =
        home.x0xd(&["--name", "alice"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let output = child.stdout.take().expect("its output is ours");
    let runs =
        BufReader::new(output).lines().map_while(Result::ok).any(|line| line.starts_with("Next:"));
    child.kill().and_then(|()| child.wait()).expect("it is our child");
    assert!(runs);
}

/// The same command under umask 000.
fn unmasked(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(command.get_program());
    shell.args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

fn assert_private(root: &Path) {
    for path in walk(root) {
        let right = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), right, "{}", path.display());
    }
}

/// A whole life under umask 000: a user's key, a start by `x0x`, a recording, a stop, a second start.
#[test]
fn no_file_is_accessible_to_others_under_umask_000() {
    let home = Home::new();
    let mut keygen = Command::new(env!("CARGO_BIN_EXE_x0x-user-keygen"));
    fs::create_dir(home.0.join(".x0x")).expect("it can be made");
    set_mode(&home.0.join(".x0x"), 0o700);
    keygen.arg(home.0.join(".x0x/user.key"));
    assert_eq!(run(&mut unmasked(&keygen)).0, 0);
    let x0x = |arguments: &[&str]| {
        let mut command = home.x0x(&arguments.join(" "));
        command.args(["--name", "alice"]);
        let (code, stdout, stderr) = run(&mut unmasked(&command));
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
    };
    for _ in 0..2 {
        x0x(&["start"]);
        x0x(&["diagnostics", "record", "--max-mib", "1"]);
        assert_private(&home.0);
        x0x(&["stop"]);
        assert_private(&home.0);
    }
    let made = walk(&home.0);
    let has = |name: &str| made.iter().any(|path| path.ends_with(name));
    for name in ["user.key", "machine.key", "agent.cert", "agent_kem.key", "x0x.redb", "x0xd.log"] {
        assert!(has(name), "{name} is not in {made:?}");
    }
}

#[test]
fn a_start_takes_read_permission_from_others() {
    let home = Home::new();
    drop(home.start("alice"));
    let (data, keys) = (home.data("alice"), home.keys("alice"));
    let files = [
        data.join("api-token"),
        data.join("x0x.redb"),
        data.join("agent_kem.key"),
        keys.join("machine.key"),
        keys.join("agent.key"),
    ];
    files.iter().for_each(|file| set_mode(file, 0o644));
    [&data, &keys].into_iter().for_each(|directory| set_mode(directory, 0o755));
    let doctor = run(&mut home.x0x("doctor --name alice"));
    assert_eq!(doctor.0, 0, "{doctor:?}");
    for path in files.iter().chain([&data, &keys]) {
        let line = format!("other users may read {} (mode ", path.display());
        assert!(doctor.1.contains(&format!("  {line}")), "{line} is not in {doctor:?}");
    }
    drop(home.start("alice"));
    assert_private(&data);
    assert_private(&keys);
}

/// Runs a daemon that must refuse, and the doctor, which must say the same.
fn refusal(home: &Home) -> String {
    let (code, _, error) = run(&mut home.x0xd(&["--name", "alice"]));
    assert_eq!(code, 1, "{error}");
    let error = error.lines().find_map(|line| line.strip_prefix("error: ")).expect("an error");
    let doctor = run(&mut home.x0x("doctor --name alice"));
    let says = doctor.1.lines().any(|line| line.starts_with("FAIL") && line.ends_with(error));
    assert!(says && doctor.0 == 1, "'{error}' is not in {doctor:?}");
    error.to_owned()
}

/// The paths of an instance that decide who it is or who may ask it.
fn vital(home: &Home) -> Vec<PathBuf> {
    let (data, keys) = (home.data("alice"), home.keys("alice"));
    let files = ["api-token", "x0x.redb", "agent_kem.key"].map(|name| data.join(name));
    let keyed = ["machine.key", "agent.key"].map(|name| keys.join(name));
    let user = home.0.join(".x0x/user.key");
    files.into_iter().chain(keyed).chain([data, keys, user]).collect()
}

/// Starts an instance with a user and ends it.
fn start_once(home: &Home) {
    fs::create_dir(home.0.join(".x0x")).expect("it can be made");
    let mut keygen = Command::new(env!("CARGO_BIN_EXE_x0x-user-keygen"));
    assert_eq!(run(keygen.arg(home.0.join(".x0x/user.key"))).0, 0);
    drop(home.start("alice"));
}

#[test]
fn a_path_that_others_may_write_is_refused_with_the_chmod_command() {
    let home = Home::new();
    start_once(&home);
    for path in vital(&home) {
        let before = mode(&path);
        for wrong in [before | 0o020, before | 0o002, 0o777] {
            set_mode(&path, wrong);
            let error = refusal(&home);
            let command = error.rsplit_once("run: ").expect("a command").1;
            let expected = format!("chmod {before:o} '{}'", path.display());
            assert_eq!(command, expected, "{error}");
            assert_eq!(mode(&path), wrong, "nothing is repaired");
            assert_eq!(run(Command::new("sh").args(["-c", command])).0, 0);
        }
        drop(home.start("alice"));
    }
}

#[test]
fn a_path_that_another_user_owns_is_refused_with_the_chown_command() {
    if !is_root() {
        skipped("only root can give files to another user");
        return;
    }
    let home = Home::new();
    start_once(&home);
    for path in vital(&home) {
        chown(&path, Some(OTHER), None).expect("root may");
        let error = refusal(&home);
        let command = error.rsplit_once("run: ").expect("a command").1;
        assert_eq!(command, format!("chown 0 '{}'", path.display()), "{error}");
        assert_eq!(run(Command::new("sh").args(["-c", command])).0, 0);
        drop(home.start("alice"));
    }
}

#[test]
fn a_link_by_another_user_or_to_a_file_of_another_user_is_refused() {
    if !is_root() {
        skipped("only root can give files to another user");
        return;
    }
    let home = Home::new();
    start_once(&home);
    for path in vital(&home) {
        let moved = home.0.join("moved");
        fs::rename(&path, &moved).expect("it is ours");
        symlink(&moved, &path).expect("it can be made");
        // A user may link to a file of their own.
        drop(home.start("alice"));
        chown(&moved, Some(OTHER), None).expect("root may");
        assert!(refusal(&home).contains(&format!("belongs to user {OTHER}")));
        chown(&moved, Some(0), None).expect("root may");
        std::os::unix::fs::lchown(&path, Some(OTHER), None).expect("root may");
        let error = refusal(&home);
        assert!(error.contains("symbolic link") && error.contains("remove it"), "{error}");
        fs::remove_file(&path).expect("it is ours");
        fs::rename(&moved, &path).expect("it is ours");
    }
}
