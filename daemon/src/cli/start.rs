//! Starts and stops a daemon.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::Start;
use super::{CliError, Context};
use crate::client::{Client, Endpoint, Locator, REQUEST_TIMEOUT, Target, block_on};
use crate::config::{Config, Overrides};
use crate::doctor::find_on_path;
use crate::files::{self, FileError};
use crate::instances;
use crate::paths::{InstanceName, api_token};

/// How long a daemon may take to start.
const START_TIME: Duration = Duration::from_secs(5);

/// How long a daemon may take to end once it said that it will.
const STOP_TIME: Duration = Duration::from_secs(5);

/// How often a start or a stop is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How much of the log is shown if a start fails, in bytes.
const LOG_BYTES_MAX: u64 = 16 * 1024;

/// Starts a daemon, unless it runs.
pub(super) fn start(context: &Context, arguments: &Start) -> Result<(), CliError> {
    let overrides = Overrides {
        config: arguments.config.clone(),
        name: context.locator.name.clone(),
        ..Overrides::default()
    };
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let config = Config::read(&context.home, &overrides).map_err(|error| failed(&error))?;
    if let Some(base) = running(&config)? {
        let answer = json!({ "ok": true, "status": "already_running", "api": base });
        return context.answer(&answer, || format!("Daemon already running at {base}"));
    }
    let program = find_daemon()?;
    let mut command = Command::new(&program);
    if let Some(path) = &arguments.config {
        command.arg("--config").arg(path);
    }
    if let Some(name) = &context.locator.name {
        command.arg("--name").arg(name.as_str());
    }
    for peer in &arguments.peer {
        let address = match peer.parse() {
            Ok(address) => address,
            Err(_) => block_on(quic_of(context, peer)).map_err(CliError::system)??,
        };
        command.arg("--peer").arg(address.to_string());
    }
    if arguments.foreground {
        return Err(replace(&mut command, &program));
    }
    let log = config.data_dir.join("x0xd.log");
    let (mut child, before) = spawn(&mut command, &program, &config.data_dir, &log)?;
    let base = wait(&mut child, &config, &log, before)?;
    let answer = json!({ "ok": true, "status": "started", "api": base, "pid": child.id() });
    context.answer(&answer, || format!("Daemon started at {base}"))?;
    context.hint(&format!(
        "Its log is {}\nNext: {} status",
        log.display(),
        next(context, &config, &base)
    ));
    Ok(())
}

/// Where another instance on this machine listens for QUIC.
async fn quic_of(context: &Context, name: &str) -> Result<SocketAddr, CliError> {
    let name = name.parse::<InstanceName>().map_err(|error| CliError::Failed(error.to_string()))?;
    let locator = Locator { name: Some(name), ..Locator::default() };
    let mut client = Client::connect(Endpoint::find(&context.home, &locator)?).await?;
    let status = client.get(&Target::new(&["network", "status"])).await?;
    let local = status["local_addr"].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
    let mut address = local.ok_or_else(|| CliError::Failed("it listens nowhere".into()))?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(address)
}

/// How the daemon of a configuration is asked: it is found by its name, unless its data are in a
/// place of their own.
fn next(context: &Context, config: &Config, base: &str) -> String {
    if config.data_dir != context.home.data(config.name.as_ref()) {
        let token = api_token(&config.data_dir);
        return format!("X0X_API_TOKEN=$(cat '{}') x0x --api {base}", token.display());
    }
    match &config.name {
        Some(name) => format!("x0x --name {}", name.as_str()),
        None => "x0x".into(),
    }
}

/// Stops a daemon, and waits until it is gone.
pub(super) async fn stop(context: &Context) -> Result<(), CliError> {
    let mut client = context.connect().await?;
    let answer = client.post(&Target::new(&["shutdown"]), None, REQUEST_TIMEOUT).await?;
    let deadline = Instant::now() + STOP_TIME;
    let data = context.home.data(context.locator.name.as_ref());
    let mut is_gone = false;
    while !is_gone && Instant::now() < deadline {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let mut probe = Client::new(client.endpoint().clone());
        // With `--api` the files may be another daemon's.
        is_gone =
            probe.health().await.is_err() && (context.locator.api.is_some() || !holds_store(&data));
    }
    if !is_gone {
        context.hint("The daemon is still about to stop.");
    }
    context.answer(&answer, || "Daemon stopped".into())
}

/// Tells whether a program has the store of a data directory open.
fn holds_store(data: &Path) -> bool {
    let Ok(store) = File::open(data.join("x0x.redb")) else { return false };
    matches!(store.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}

/// Where the daemon of a configuration answers, if it does.
fn running(config: &Config) -> Result<Option<String>, CliError> {
    let usual = Some(config.api_address).filter(|address| address.port() != 0);
    let usual = usual.map(|address| address.to_string());
    let running = instances::running(&config.data_dir, usual.as_deref());
    let endpoint = block_on(running).map_err(CliError::system)?;
    Ok(endpoint.map(|endpoint| endpoint.base()))
}

/// Finds `x0xd` beside this program, then in `PATH`.
fn find_daemon() -> Result<PathBuf, CliError> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("x0xd")));
    beside.filter(|path| path.is_file()).or_else(|| find_on_path("x0xd")).ok_or_else(|| {
        let text = "x0xd was not found beside x0x nor on PATH: install it there, or run it itself";
        CliError::Failed(text.into())
    })
}

/// Becomes the daemon. Returns only if that fails.
#[cfg(unix)]
fn replace(command: &mut Command, program: &Path) -> CliError {
    let error = std::os::unix::process::CommandExt::exec(command);
    CliError::Failed(format!("cannot run {}: {error}", program.display()))
}

/// Runs the daemon and ends with it.
#[cfg(not(unix))]
fn replace(command: &mut Command, program: &Path) -> CliError {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => CliError::Failed(format!("cannot run {}: {error}", program.display())),
    }
}

/// Runs the daemon in the background. Returns it with the length of its log before.
fn spawn(
    command: &mut Command,
    program: &Path,
    data: &Path,
    log: &Path,
) -> Result<(Child, u64), CliError> {
    let failed = |what: &Path| {
        let what = what.display().to_string();
        move |error| CliError::Failed(format!("cannot use {what}: {error}"))
    };
    // Ctrl-C in this terminal is not meant for it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let refused = |error: FileError| CliError::Failed(error.to_string());
    files::private_directory(data).map_err(refused)?;
    let output = files::open(log, OpenOptions::new().append(true).create(true)).map_err(refused)?;
    let before = output.metadata().map_err(failed(log))?.len();
    let errors = output.try_clone().map_err(failed(log))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let child = command.spawn().map_err(failed(program))?;
    Ok((child, before))
}

/// Waits until the daemon answers. Returns where.
fn wait(child: &mut Child, config: &Config, log: &Path, before: u64) -> Result<String, CliError> {
    let deadline = Instant::now() + START_TIME;
    loop {
        if let Some(base) = running(config)? {
            return Ok(base);
        }
        match child.try_wait().map_err(CliError::system)? {
            Some(status) => return Err(CliError::Failed(reason(log, before, &status))),
            None if Instant::now() >= deadline => {
                return Err(CliError::Failed(format!(
                    "x0xd (process {}) does not answer yet; its log is {}",
                    child.id(),
                    log.display()
                )));
            }
            None => std::thread::sleep(LOOK_INTERVAL),
        }
    }
}

/// What the daemon wrote before it ended.
fn reason(log: &Path, before: u64, status: &std::process::ExitStatus) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let start = before.max(file.metadata()?.len().saturating_sub(LOG_BYTES_MAX));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    let text = read().unwrap_or_default();
    // The error stands last, and may have several lines.
    match text.rfind("error: ").map(|at| &text[at + "error: ".len()..]) {
        Some(error) => error.to_owned(),
        None if text.is_empty() => format!("x0xd ended at once ({status}) without a word"),
        None => format!("x0xd ended at once ({status}):\n{text}"),
    }
}

/// The JSON form of instances.
pub(super) fn instances(list: &[instances::Instance]) -> Value {
    let row = |instance: &instances::Instance| {
        let name = instance.name.as_ref().map(|name| name.as_str());
        json!({ "name": name, "api": instance.api, "status": instance.status() })
    };
    json!({ "ok": true, "instances": list.iter().map(row).collect::<Vec<_>>() })
}
