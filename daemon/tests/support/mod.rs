//! Real daemons in directories of their own, and a client that can be as wrong as a test wants.

#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A home directory of its own.
pub(crate) struct Home(pub(crate) PathBuf);

impl Home {
    pub(crate) fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("x0x-test-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self(path)
    }

    /// The command of a daemon.
    pub(crate) fn x0xd(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x0xd"));
        command.args(arguments).env_clear().env("HOME", &self.0).env("PATH", "/usr/bin:/bin");
        command
    }

    /// The command line of a user, a space between arguments.
    pub(crate) fn x0x(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x0x"));
        command.args(line.split(' ')).env_clear().env("HOME", &self.0).env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.0.join(format!(".local/share/x0x-{name}"))
    }

    pub(crate) fn keys(&self, name: &str) -> PathBuf {
        self.0.join(format!(".x0x-{name}"))
    }

    /// Writes the configuration of an instance.
    pub(crate) fn configure(&self, name: &str, text: &str) {
        let directory = self.0.join(format!(".config/x0x-{name}"));
        fs::create_dir_all(&directory).expect("it can be made");
        fs::write(directory.join("config.toml"), text).expect("it can be written");
    }

    /// Starts an instance and waits until it answers.
    pub(crate) fn start(&self, name: &str) -> Daemon {
        self.start_with(name, Stdio::null())
    }

    /// The same, with a place for its standard error.
    pub(crate) fn start_with(&self, name: &str, stderr: Stdio) -> Daemon {
        let mut command = self.x0xd(&["--name", name]);
        command.stderr(stderr);
        self.start_command(name, &mut command)
    }

    /// The same, with at most so many open files.
    pub(crate) fn start_with_files(&self, name: &str, files: u64) -> Daemon {
        let script = format!("ulimit -n {files} && exec \"$0\" --name \"$1\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_x0xd"), name]);
        command.env_clear().env("HOME", &self.0).env("PATH", "/usr/bin:/bin").stderr(Stdio::null());
        self.start_command(name, &mut command)
    }

    /// Runs the command of an instance and waits until it answers.
    pub(crate) fn start_command(&self, name: &str, command: &mut Command) -> Daemon {
        let _ = fs::remove_file(self.data(name).join("api.port"));
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the daemon starts");
        let mut quic = None;
        let output = child.stdout.take().expect("its output is ours");
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(address) = line.trim().strip_prefix("QUIC") {
                quic = address.trim().rsplit(':').next().and_then(|port| port.parse().ok());
            }
            if line.starts_with("Next:") {
                break;
            }
        }
        let quic = quic.expect("the daemon says where QUIC listens");
        self.running(name, child, quic)
    }

    /// A daemon that has said that it runs, and on which port QUIC listens.
    pub(crate) fn running(&self, name: &str, child: Child, quic: u16) -> Daemon {
        let port = fs::read_to_string(self.data(name).join("api.port"));
        let api = port.expect("the daemon says where it listens").parse().expect("an address");
        let token = fs::read_to_string(self.data(name).join("api-token")).expect("a token");
        Daemon { child, api, token, quic }
    }

    /// Starts two instances with a link.
    pub(crate) fn start_pair(&self) -> (Daemon, Daemon) {
        let alice = self.start("alice");
        self.configure("bob", &format!("bootstrap_peers = ['127.0.0.1:{}']", alice.quic));
        let bob = self.start("bob");
        for daemon in [&alice, &bob] {
            daemon.wait_for("a link", |daemon| daemon.get("/health").json()["peers"] == 1);
        }
        (alice, bob)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A home directory on a small file system of its own, and the process whose mounts it is among. Both
/// end when its standard input is closed.
pub(crate) struct SmallDisk {
    pub(crate) home: Home,
    holder: Child,
}

impl SmallDisk {
    /// Mounts a file system of this many KiB; nothing if this user must not.
    pub(crate) fn new(kib: usize) -> Option<Self> {
        let script = format!("mount -t tmpfs -o size={kib}k none /mnt && echo mounted && cat");
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
        if line != "mounted\n" {
            let _ = holder.wait();
            return None;
        }
        let home = Home(format!("/proc/{}/root/mnt", holder.id()).into());
        Some(Self { home, holder })
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.home.0.join("filler")).expect("it can be made");
        let error = std::iter::repeat_with(|| file.write_all(&[0; 1024])).find_map(Result::err);
        assert_eq!(error.map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
    }

    /// Makes room again.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.home.0.join("filler")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// A daemon that runs.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) api: SocketAddr,
    pub(crate) token: String,
    pub(crate) quic: u16,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Daemon {
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.api).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }

    /// Sends bytes as they are and reads the answer to its end.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request).expect("the daemon reads");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the daemon answers and closes");
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { dechunk(body) } else { body.to_owned() };
        Answer { status, head: head.to_owned(), body }
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|header| header.to_lowercase().starts_with("host:")) {
            text += &format!("host: {}\r\n", self.api);
        }
        for header in headers {
            text += &format!("{header}\r\n");
        }
        text += &format!("content-length: {}\r\n\r\n{body}", body.len());
        self.raw(text.as_bytes())
    }

    pub(crate) fn bearer(&self) -> String {
        format!("authorization: Bearer {}", self.token)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[&self.bearer()], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let headers = [&self.bearer()[..], "content-type: application/json"];
        self.request("POST", path, &headers, body)
    }

    /// Posts to a daemon that may be dead; returns the status of its answer.
    pub(crate) fn try_post(&self, path: &str, body: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(self.api).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.api,
            self.bearer(),
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn agent(&self) -> String {
        self.get("/agent").json()["agent_id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn send(&self, recipient: &str, payload: &str) -> Answer {
        self.post("/direct/send", &format!(r#"{{"agent_id":"{recipient}","payload":"{payload}"}}"#))
    }

    pub(crate) fn wait_for(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "{what} did not come");
            sleep(Duration::from_millis(20));
        }
    }

    /// Opens a stream of server-sent events.
    pub(crate) fn events(&self, path: &str) -> Events {
        let mut stream = self.connect();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{}\r\n\r\n", self.api, self.bearer());
        stream.write_all(request.as_bytes()).expect("the daemon reads");
        let mut events = Events(BufReader::new(stream));
        while !events.line().is_empty() {}
        events
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the daemon runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("it has a size");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([name, &id]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < end, "the daemon does not end");
            sleep(Duration::from_millis(10));
        }
    }
}

/// A stream of server-sent events.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the daemon writes");
        line.trim_end().to_owned()
    }

    /// The data of the next event of this name; nothing if the daemon is gone.
    pub(crate) fn try_next(&mut self, name: &str) -> Option<Value> {
        let wanted = format!("event: {name}");
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim_end() == wanted {
                line.clear();
                self.0.read_line(&mut line).ok()?;
                return serde_json::from_str(line.trim_end().strip_prefix("data: ")?).ok();
            }
        }
    }

    /// The data of the next event of this name.
    pub(crate) fn next(&mut self, name: &str) -> Value {
        let wanted = format!("event: {name}");
        while self.line() != wanted {}
        let line = self.line();
        let data = line.strip_prefix("data: ").expect("data follows");
        serde_json::from_str(data).expect("data is JSON")
    }
}

fn dechunk(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        text += &rest[..size];
        body = rest[size..].trim_start_matches("\r\n");
    }
    text
}

/// Runs a command that must end by itself.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("it exists")
}

/// Whether root runs this.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[expect(clippy::print_stderr, reason = "a test that does not run must say so")]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
