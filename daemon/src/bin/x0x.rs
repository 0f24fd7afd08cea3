//! The command line. See `x0x --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    x0x_daemon::cli::main()
}
