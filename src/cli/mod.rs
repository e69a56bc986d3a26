//! The commands: what each takes, and one file for each.
//!
//! Results go to stdout, faults to stderr. Exit status: 0 done; 1 the answer is no; 2 wrong use; 3 the daemon cannot be
//! reached.

mod check;
mod client;
mod daemon;
mod demo;
mod explain;
mod export;
mod geo;
mod import;
mod log;
mod reload;
mod serve;
mod status;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An authoritative DNS server whose answers depend on who asks and on what is healthy.
#[derive(Debug, Parser)]
#[command(name = "windrose", version, disable_help_subcommand = true)]
struct Cli {
    /// Settings of the daemon [default: ./windrose.toml, then /etc/windrose/windrose.toml, then built-in defaults]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    ///
    /// SIGHUP reloads everything; any fault, and everything stays as it was. SIGTERM and SIGINT stop after answering what has
    /// arrived; a second one stops at once.
    Serve,

    /// Run a director to play with: a built-in zone and location table, and three live backends on loopback
    ///
    /// No file, no root. It asks itself as clients in several cities, says what to try, and tells every change.
    Demo,

    /// Say why a client gets the answer it gets, step by step, from the files or with --live from the daemon
    ///
    /// Ends with 1 if no zone here has the name or the name does not exist; with --live, with 3 if the daemon cannot be reached.
    Explain(explain::ExplainArgs),

    /// Check settings and zones, and print every fault with its place
    Check,

    /// Tell what the daemon knows of its pools and of what it probes
    ///
    /// Ends with 3 if the daemon cannot be reached.
    Status,

    /// Have the daemon read everything anew, as SIGHUP does; wait, and print what changed or every fault
    ///
    /// Ends with 1 if there is a fault: then everything stays as it was. Ends with 3 if the daemon cannot be reached.
    Reload,

    /// Print a master file as zone TOML that serves the same answers
    ///
    /// Ends with 1 if the file has an error, or if it holds what a zone in TOML cannot have.
    Import(import::ImportArgs),

    /// Print a zone as a master file, steered owners expanded to all that they may answer
    ///
    /// Ends with 1 if no such zone can be served.
    Export(export::ExportArgs),

    /// Ask the location databases
    Geo(geo::GeoArgs),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Cli { config, json, command } = Cli::parse();
    let (out, err) = (&mut io::stdout(), &mut io::stderr());
    match command {
        Command::Check => check::run(config.as_deref(), json, out, err),
        Command::Demo => demo::run(config.as_deref(), json, out, err),
        Command::Serve => serve::run(config, json, out, err),
        Command::Status => status::run(config.as_deref(), json, out, err),
        Command::Reload => reload::run(config.as_deref(), json, out, err),
        Command::Geo(args) => geo::run(config, json, &args, out, err),
        Command::Import(args) => import::run(&args, out, err),
        Command::Export(args) => export::run(config.as_deref(), &args, out, err),
        Command::Explain(args) => explain::run(config, json, args, out, err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn config_and_json_may_stand_on_either_side_of_the_command() {
        for line in [
            "windrose --config a.toml --json serve",
            "windrose serve --json --config a.toml",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((cli.config, cli.json), (Some("a.toml".into()), true));
        }
    }

    #[test]
    fn wrong_use_is_2() {
        for line in [
            "windrose",
            "windrose surf",
            "windrose serve --fast",
            "windrose serve --config",
        ] {
            assert_eq!(
                Cli::try_parse_from(line.split(' ')).unwrap_err().exit_code(),
                2,
                "{line}"
            );
        }
    }
}
