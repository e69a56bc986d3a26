//! The `windrose` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    windrose::cli::main()
}
