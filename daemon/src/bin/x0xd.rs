//! The daemon. See `x0xd --help`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};
use x0x_daemon::config::{Config, LogFormat, Overrides};
use x0x_daemon::daemon::Daemon;
use x0x_daemon::memory::{self, WIPING, Wiping};
use x0x_daemon::paths::{Home, InstanceName};
use x0x_daemon::{API_LEVEL, doctor, instances};

#[global_allocator]
static ALLOCATOR: Wiping = WIPING;

/// Runs an x0x node with a local API.
#[derive(Debug, Parser)]
#[command(name = "x0xd", version = API_LEVEL)]
struct Arguments {
    /// The configuration file (TOML).
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The name of the instance, to run several on one machine.
    #[arg(long)]
    name: Option<InstanceName>,
    /// The port of the API.
    #[arg(long, value_name = "PORT")]
    api_port: Option<u16>,
    /// A peer to dial and to keep a link with, beside those of the configuration. May be repeated.
    #[arg(long, value_name = "IP:PORT")]
    peer: Vec<SocketAddr>,
    /// Do not dial the built-in seeds. There are none.
    #[arg(long)]
    no_hard_coded_bootstrap: bool,
    /// The old name of --no-hard-coded-bootstrap.
    #[arg(long)]
    no_bootstrap: bool,
    /// The rules for commands of others (TOML). Such commands are not available yet.
    #[arg(long, value_name = "PATH")]
    exec_acl: Option<PathBuf>,
    /// Check the configuration, print it and exit.
    #[arg(long)]
    check: bool,
    /// Say whether there is an update. Updates are disabled.
    #[arg(long)]
    check_updates: bool,
    /// Do not look for updates.
    #[arg(long)]
    skip_update_check: bool,
    /// Look for what is wrong, print it and exit.
    #[arg(long)]
    doctor: bool,
    /// List the instances and exit.
    #[arg(long)]
    list: bool,
    /// `doctor`, the same as --doctor; anything else is ignored.
    #[arg(allow_hyphen_values = true, trailing_var_arg = true, hide = true)]
    rest: Vec<String>,
}

fn main() -> ExitCode {
    match run(Arguments::parse_from(known(std::env::args()))) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Leaves out the options that this version does not know: scripts of others may have them.
fn known(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let command = <Arguments as clap::CommandFactory>::command();
    let options: Vec<String> = command
        .get_arguments()
        .filter_map(|a| a.get_long().map(|long| format!("--{long}")))
        .collect();
    let is_known = |argument: &String| {
        let name = argument.split('=').next().unwrap_or_default();
        let built_in = ["--help", "--version", "-h", "-V"].contains(&name);
        !argument.starts_with('-') || built_in || options.iter().any(|option| option == name)
    };
    arguments.filter(is_known).collect()
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    memory::protect().context("the memory of this program cannot be protected")?;
    let home = Home::from_env()?;
    if arguments.list {
        print(&instances::table(&home));
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.no_bootstrap {
        say("--no-bootstrap is now --no-hard-coded-bootstrap");
    }
    if let Some(path) = &arguments.exec_acl {
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let Arguments { config, name, api_port, peer: peers, .. } = arguments;
    let config = Config::read(&home, &Overrides { config, name, api_port, peers })?;
    if arguments.doctor || arguments.rest.first().is_some_and(|word| word == "doctor") {
        let report = doctor::examine(&config, None);
        print(&report.to_string());
        return Ok(if report.has_failure() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    if arguments.check {
        print(&format!("Configuration is valid\n{config:#?}"));
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check_updates {
        print(&format!("x0xd {API_LEVEL}: updates are disabled"));
        return Ok(ExitCode::SUCCESS);
    }
    log(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let daemon = Daemon::start(config).await?;
    let app = daemon.app();
    let quic: Vec<String> = app.node.sockets().iter().map(ToString::to_string).collect();
    let name = config.name.as_ref().map_or_else(String::new, |n| format!(" --name {}", n.as_str()));
    let keys = if daemon.is_new { "made" } else { "read" };
    print(&format!(
        "x0xd {API_LEVEL} runs\n\
         \x20 agent    {agent}\n\
         \x20 keys     {keys_dir} ({keys})\n\
         \x20 data     {data_dir}\n\
         \x20 QUIC     {quic}\n\
         \x20 API      http://{api}\n\
         Next: x0x{name} status",
        agent = app.identity.agent,
        keys_dir = config.keys_dir.display(),
        data_dir = config.data_dir.display(),
        quic = quic.join(", "),
        api = app.api_address,
    ));
    daemon.run().await?;
    Ok(())
}

/// Sets up the log, on standard error.
fn log(config: &Config) -> anyhow::Result<()> {
    let levels = match std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty()) {
        Some(wanted) => wanted.parse().with_context(|| format!("RUST_LOG is '{wanted}'"))?,
        None => {
            let wanted = &config.log_level;
            let level: LevelFilter = wanted.parse().with_context(|| {
                format!("log_level is '{wanted}': use trace, debug, info, warn or error")
            })?;
            Targets::new().with_default(level)
        }
    };
    let is_terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(levels)).init();
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program prints")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a program prints")]
fn say(text: &str) {
    eprintln!("{text}");
}
