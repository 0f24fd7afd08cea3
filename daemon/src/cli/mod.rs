//! The command line `x0x`.
//!
//! Text on standard output is for people; with `--json` it is the answer of the daemon and nothing
//! else. Hints and errors go to standard error. Exit codes: 0 is good; 2 means that the daemon does
//! not run, or wrong usage; 1 is anything else.

mod args;
mod ask;
mod bench;
mod ids;
mod offline;
mod routes;
mod show;
mod start;
mod stream;
pub(crate) mod text;

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::Value;

use args::{Arguments, Command, Format, Global};
use text::Paint;

use crate::client::{Client, ClientError, Endpoint, Locator, block_on};
use crate::memory;
use crate::paths::{Home, PathsError};

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Paths(#[from] PathsError),
    #[error("{0}")]
    Failed(String),
    /// Whoever reads the output has seen enough.
    #[error("the output was closed")]
    Closed,
}

impl CliError {
    fn system(error: io::Error) -> Self {
        Self::Failed(format!("the system does not let x0x work: {error}"))
    }

    fn code(&self) -> u8 {
        match self {
            Self::Client(error) if error.is_not_running() => 2,
            Self::Closed => 0,
            Self::Client(_) | Self::Paths(_) | Self::Failed(_) => 1,
        }
    }
}

/// What all commands share.
#[derive(Debug)]
struct Context {
    home: Home,
    locator: Locator,
    is_json: bool,
    paint: Paint,
}

impl Context {
    fn new(global: Global) -> Result<Self, CliError> {
        let token = std::env::var("X0X_API_TOKEN").ok().filter(|token| !token.is_empty());
        let is_json = global.json || global.format == Some(Format::Json);
        Ok(Self {
            home: Home::from_env()?,
            locator: Locator { name: global.name, api: global.api, token },
            is_json,
            paint: Paint(is_colourful(&io::stdout())),
        })
    }

    fn endpoint(&self) -> Result<Endpoint, ClientError> {
        Endpoint::find(&self.home, &self.locator)
    }

    /// A client for the daemon that is meant, which runs.
    async fn connect(&self) -> Result<Client, ClientError> {
        Client::connect(self.endpoint()?).await
    }

    /// Prints an answer in the form that is wished for.
    fn answer(&self, answer: &Value, text: impl FnOnce() -> String) -> Result<(), CliError> {
        if self.is_json { self.print(&format!("{answer:#}")) } else { self.print(&text()) }
    }

    /// Prints a line on standard output.
    #[expect(clippy::unused_self, reason = "who prints has a context")]
    fn print(&self, text: &str) -> Result<(), CliError> {
        let mut output = io::stdout().lock();
        let written = writeln!(output, "{text}").and_then(|()| output.flush());
        written.map_err(|error| {
            if error.kind() == ErrorKind::BrokenPipe {
                return CliError::Closed;
            }
            CliError::Failed(format!("cannot write the output: {error}"))
        })
    }

    /// Says something that is not part of the output.
    #[expect(clippy::unused_self, reason = "who prints has a context")]
    fn hint(&self, text: &str) {
        say(text);
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = memory::protect()
        .map_err(CliError::system)
        .and_then(|()| Context::new(arguments.global))
        .and_then(|context| run(&context, arguments.command));
    let Err(error) = done else { return ExitCode::SUCCESS };
    if error.code() != 0 {
        let paint = Paint(is_colourful(&io::stderr()));
        say(&format!("{} {error}", paint.red("error:")));
        if let Some(help) = help(&error) {
            say(&help);
        }
    }
    ExitCode::from(error.code())
}

fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Start(arguments) => start::start(context, &arguments),
        Command::Instances => {
            let list = crate::instances::list(&context.home);
            let text = || crate::instances::render(&list);
            context.answer(&start::instances(&list), text)
        }
        Command::Doctor => offline::doctor(context),
        Command::Constitution { raw } => offline::constitution(context, raw),
        Command::Routes => routes::print(context),
        Command::Tree => offline::tree(context),
        Command::Completions { shell } => offline::completions(context, shell),
        Command::Man { command } => offline::man(context, &command),
        online @ (Command::Stop
        | Command::Health
        | Command::Status
        | Command::Peers
        | Command::Agent { .. }
        | Command::Network(_)
        | Command::Peer(_)
        | Command::Machines(_)
        | Command::Direct(_)
        | Command::Publish { .. }
        | Command::Subscribe { .. }
        | Command::Unsubscribe { .. }
        | Command::Events
        | Command::Diagnostics(_)
        | Command::Ws(_)
        | Command::Bench(_)) => block_on(ask::run(context, online)).map_err(CliError::system)?,
    }
}

/// What may help, below an error.
fn help(error: &CliError) -> Option<String> {
    match error {
        CliError::Client(ClientError::NotRunning { base }) => {
            Some(format!("Nothing answers at {base}."))
        }
        CliError::Client(ClientError::Refused { code: 401, .. }) => Some(
            "The daemon has another token: set X0X_API_TOKEN to the text in its file api-token, \
             or use --name. With --api, x0x takes the token from X0X_API_TOKEN only."
                .into(),
        ),
        CliError::Client(_) | CliError::Paths(_) | CliError::Failed(_) | CliError::Closed => None,
    }
}

fn is_colourful(stream: &impl io::IsTerminal) -> bool {
    let is_forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !is_forbidden
}

/// Prints a line on standard error. If nobody reads that, nobody can be told.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}
