//! Makes the key of a human: `x0x-user-keygen <output-path>`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use x0x_daemon::files::make_user_key;
use x0x_daemon::memory::{self, WIPING, Wiping};

#[global_allocator]
static ALLOCATOR: Wiping = WIPING;

/// Makes a key file for a human, whose agents can then prove that they speak for them.
#[derive(Debug, Parser)]
#[command(name = "x0x-user-keygen", version = x0x_daemon::API_LEVEL)]
struct Arguments {
    /// The file to make. It must not exist.
    output_path: PathBuf,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]
fn main() -> ExitCode {
    let path = Arguments::parse().output_path;
    let made = memory::protect().map_err(anyhow::Error::from);
    match made.and_then(|()| Ok(make_user_key(&path)?)) {
        Ok(user) => {
            println!("{}", path.display());
            eprintln!("the key of user {}: keep a copy of it in a safe place", user.id());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
