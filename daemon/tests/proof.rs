//! Whom the command line shows the token to.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use rustix::process::Uid;
use rustix::thread::set_thread_uid;
use support::{Daemon, Home, PATIENCE, run};
use x0x_daemon::files::{hex, random};
use x0x_daemon::proof::ProofKey;

/// A user that is nobody here.
const NOBODY: u32 = 65_534;

/// A program that listens where a daemon was, and what it heard.
struct Impostor {
    address: SocketAddr,
    heard: Arc<Mutex<String>>,
}

impl Impostor {
    /// Listens, and answers each request with what `answer` makes of its header.
    fn listen(
        address: &str,
        answer: impl Fn(&str) -> String + Send + Sync + Clone + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let heard = Arc::new(Mutex::new(String::new()));
        let shared = heard.clone();
        spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (heard, answer) = (shared.clone(), answer.clone());
                spawn(move || converse(stream, &heard, &answer));
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> String {
        self.heard.lock().expect("nobody panicked").clone()
    }
}

fn converse(stream: TcpStream, heard: &Mutex<String>, answer: &impl Fn(&str) -> String) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut stream = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        heard.lock().expect("nobody panicked").push_str(&head);
        let body = answer(&head);
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// What an impostor would like to be believed.
fn forged(head: &str) -> String {
    if head.starts_with("GET /challenge") {
        return format!(r#"{{"ok":true,"proof":"{}"}}"#, "5a".repeat(32));
    }
    r#"{"ok":true,"status":"healthy","version":"0.19.21","peers":4,"uptime_secs":300}"#.into()
}

fn fails(command: &mut Command, code: i32, error: &str) {
    let (actual, out, err) = run(command);
    assert!(actual == code && err.contains(error), "{actual} {out}{err}");
    assert!(!out.contains("healthy"), "{out}");
}

const COMMANDS: [&str; 6] =
    ["health", "status", "stop", "direct events", "publish a b", "bench gossip --count 1"];

#[test]
fn a_program_in_the_place_of_a_dead_daemon_never_sees_the_token() {
    let home = Home::new();
    let daemon = home.start("alice");
    let (token, api) = (daemon.token.clone(), daemon.api);
    // Killed: the port and the socket stay in the directory.
    drop(daemon);
    let data = home.data("alice");
    fs::write(data.join("api.port"), api.to_string()).expect("it is ours");
    let impostor = Impostor::listen(&api.to_string(), forged);
    for command in COMMANDS {
        let mut command = home.x0x(&format!("--name alice {command}"));
        fails(&mut command, 2, "Named instance 'alice' is not running");
    }
    assert_eq!(impostor.heard(), "", "the socket says that nobody listens");
    fs::remove_file(data.join("api.sock")).expect("it is stale");
    for command in COMMANDS {
        let mut command = home.x0x(&format!("--name alice {command}"));
        fails(&mut command, 1, "did not prove that it knows your token");
    }
    assert!(run(&mut home.x0x("instances")).1.contains("stale"));
    let (code, out, _) = run(&mut home.x0x("--name alice doctor"));
    assert!(code == 1 && out.contains("FAIL  daemon") && out.contains("did not prove"), "{out}");
    let heard = impostor.heard();
    assert!(heard.contains("GET /challenge?nonce=") && !heard.contains(&token), "{heard}");
    assert!(!heard.to_lowercase().contains("authorization"), "{heard}");
}

#[test]
fn a_token_from_a_file_is_not_for_an_address_of_the_command_line() {
    let home = Home::new();
    let daemon = home.start("alice");
    let impostor = Impostor::listen("127.0.0.1:0", forged);
    let api = impostor.address;
    // Without a token nothing can be proved, and nothing is at stake.
    let (code, ..) = run(&mut home.x0x(&format!("--name alice --api {api} health")));
    assert_eq!(code, 0);
    for command in COMMANDS.into_iter().chain(["doctor"]) {
        run(&mut home.x0x(&format!("--name alice --api {api} {command}")));
    }
    let heard = impostor.heard();
    assert!(heard.contains("GET /status") && !heard.contains(&daemon.token), "{heard}");
    assert!(!heard.to_lowercase().contains("authorization"), "{heard}");
    let real = format!("--name alice --api {} status", daemon.api);
    fails(&mut home.x0x(&real), 1, "X0X_API_TOKEN");
    let (code, out, err) = run(home.x0x(&real).env("X0X_API_TOKEN", &daemon.token));
    assert!(code == 0 && out.contains("agent_id:"), "{out}{err}");
    for mode in ["", " --http"] {
        let bench = format!("--api {} bench gossip --count 20{mode}", daemon.api);
        let (code, out, err) = run(home.x0x(&bench).env("X0X_API_TOKEN", &daemon.token));
        assert!(code == 0 && out.contains("20 arrived, 0 lost"), "{out}{err}");
    }
}

/// The impostor asks the real daemon what to answer, which knows the token.
#[test]
fn a_challenge_that_is_passed_on_proves_nothing() {
    let home = Home::new();
    let daemon = Arc::new(home.start("alice"));
    let (token, real) = (daemon.token.clone(), daemon.clone());
    let relay = move |head: &str| {
        let path = head.split(' ').nth(1).expect("a path").to_owned();
        let answer = real.request("GET", &path, &[], "");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let port = daemon.api.port();
    // Another port, and another address with the same port.
    for address in ["127.0.0.1:0".to_owned(), format!("127.0.0.2:{port}")] {
        let impostor = Impostor::listen(&address, relay.clone());
        for command in ["status", "bench gossip --count 1"] {
            let mut command = home.x0x(&format!("--api {} {command}", impostor.address));
            fails(command.env("X0X_API_TOKEN", &token), 1, "did not prove");
        }
        let heard = impostor.heard();
        assert!(heard.contains("GET /challenge") && !heard.contains(&token), "{heard}");
    }
}

#[test]
fn the_socket_is_used_whatever_the_port_file_says() {
    let home = Home::new();
    let daemon = home.start("alice");
    let data = home.data("alice");
    let impostor = Impostor::listen("127.0.0.1:0", forged);
    fs::write(data.join("api.port"), impostor.address.to_string()).expect("it is ours");
    for command in ["health", "status", "agent", "publish a b", "bench gossip --count 20"] {
        let (code, out, err) = run(&mut home.x0x(&format!("--name alice {command}")));
        assert_eq!(code, 0, "{command}: {out}{err}");
    }
    assert_eq!(impostor.heard(), "");
    let socket = data.join("api.sock");
    let mode = |path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&data)), (0o600, 0o700));
    // The token is asked for here, too.
    let (code, _, err) = run(home.x0x("--name alice status").env("X0X_API_TOKEN", "f".repeat(64)));
    assert!(code == 1 && err.contains("(HTTP 401)"), "{err}");
    drop(daemon);
    let mut again = home.start("alice");
    let (code, out, err) = run(&mut home.x0x("--name alice status"));
    assert_eq!(code, 0, "a stale socket is replaced: {out}{err}");
    again.signal("-TERM");
    again.wait();
    assert!(!socket.exists(), "a daemon that stops takes its socket along");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_no_hindrance() {
    let home = Home::new();
    let deep = Home(home.0.join("deep".repeat(30)));
    fs::create_dir_all(&deep.0).expect("it can be made");
    let daemon = deep.start("alice");
    assert!(deep.data("alice").join("api.sock").as_os_str().len() > 108);
    fs::write(deep.data("alice").join("api.port"), "127.0.0.1:1").expect("it is ours");
    let (code, out, err) = run(&mut deep.x0x("--name alice status"));
    assert!(code == 0 && out.contains(&daemon.agent()), "{out}{err}");
}

/// A daemon of another user, whose socket was put into this user's directory.
/// A command with a copy of its program that any user may run: the build may be in a private directory.
fn of_anybody(home: &Home, command: &Command) -> Command {
    let program = Path::new(command.get_program());
    let copy = home.0.join(program.file_name().expect("a program has a name"));
    fs::copy(program, &copy).expect("it can be copied");
    let mut copied = Command::new(copy);
    copied.args(command.get_args()).env_clear();
    copied.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    copied
}

#[test]
fn a_socket_of_another_user_is_refused() {
    let home = Home::new();
    drop(home.start("alice"));
    let theirs = Home::new();
    if chown(&theirs.0, Some(NOBODY), Some(NOBODY)).is_err() {
        skipped("a daemon of another user needs root to start it");
        return;
    }
    let mut command = of_anybody(&theirs, &theirs.x0xd(&["--name", "mallory"]));
    command.uid(NOBODY).gid(NOBODY).current_dir("/").stderr(Stdio::null());
    let foreign = theirs.start_command("mallory", &mut command);
    let (from, to) = (theirs.data("mallory"), home.data("alice"));
    for file in ["api.sock", "api.port"] {
        fs::rename(from.join(file), to.join(file)).expect("root may");
    }
    for command in COMMANDS {
        let mut command = home.x0x(&format!("--name alice {command}"));
        fails(&mut command, 1, "runs as user 65534 and you are user 0");
    }
    let mut status = of_anybody(&theirs, &theirs.x0x("--name alice status"));
    status.uid(NOBODY).gid(NOBODY).current_dir("/");
    // Nor does a daemon answer another user who gets at its socket.
    let own = home.start("alice");
    let shared = theirs.data("alice");
    fs::create_dir_all(&shared).expect("root may");
    for file in ["api.sock", "api.port", "api-token"] {
        fs::rename(to.join(file), shared.join(file)).expect("root may");
        chown(shared.join(file), Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    fails(&mut status, 1, "runs as user 0 and you are user 65534");
    let heard = spawn(move || {
        set_thread_uid(Uid::from_raw(NOBODY)).expect("root may");
        let mut stream = UnixStream::connect(shared.join("api.sock")).expect("it listens");
        // It may be closed already.
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.read(&mut [0; 9]).unwrap_or(0)
    });
    assert_eq!(heard.join().expect("it did not panic"), 0);
    drop((own, foreign));
}

#[test]
fn a_challenge_is_answered_once_for_each_connection() {
    let home = Home::new();
    let daemon = home.start("alice");
    let key = ProofKey::of(&daemon.token);
    let nonce = random::<32>().expect("there is randomness");
    let path = format!("/challenge?nonce={}", hex(&nonce));
    let answer = daemon.request("GET", &path, &[], "").json();
    let proof = answer["proof"].as_str().expect("a proof");
    assert_eq!(proof, hex(&key.prove(&nonce, daemon.api)));
    for bad in ["", "?nonce=", "?nonce=zz", "?nonce=00", &format!("?nonce={}", "0".repeat(66))] {
        assert_eq!(
            daemon.request("GET", &format!("/challenge{bad}"), &[], "").status,
            400,
            "{bad}"
        );
    }
    // On one connection, the second is refused.
    let ask = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n");
    let both = format!("{ask}\r\n{ask}connection: close\r\n\r\n");
    let mut stream = daemon.connect();
    stream.write_all(both.as_bytes()).expect("the daemon reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the daemon answers");
    let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "429"], "{text}");
    assert_eq!(over_socket(&home, &daemon, &path), "400");
}

/// The status of an answer over the Unix socket.
fn over_socket(home: &Home, daemon: &Daemon, path: &str) -> String {
    let mut stream = UnixStream::connect(home.data("alice").join("api.sock")).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", daemon.api);
    stream.write_all(request.as_bytes()).expect("the daemon reads");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("the daemon answers");
    String::from_utf8_lossy(&status[9..]).into_owned()
}

#[expect(clippy::print_stderr, reason = "a test that does not run must say so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
