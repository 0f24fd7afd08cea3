//! The command line. See `x0x --help`.

use std::process::ExitCode;

use x0x_daemon::cli;
use x0x_daemon::memory::{WIPING, Wiping};

#[global_allocator]
static ALLOCATOR: Wiping = WIPING;

fn main() -> ExitCode {
    cli::main()
}
