//! `windrose geo lookup`: what is known of where an address is, and from which file.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::load::load_databases;
use crate::policy::client::Seen;

/// What `geo` takes.
#[derive(Debug, Args)]
pub(super) struct GeoArgs {
    #[command(subcommand)]
    command: GeoCommand,
}

#[derive(Debug, Subcommand)]
enum GeoCommand {
    /// Say what the location databases know of an address, each fact with its file and network
    ///
    /// Ends with 1 if they know nothing.
    Lookup {
        /// The address
        #[arg(value_name = "IP")]
        address: IpAddr,
    },
}

/// Looks an address up in the databases that windrose.toml names. Ends with 1 if nothing is known of it.
pub(super) fn run(
    config: Option<PathBuf>,
    json: bool,
    args: &GeoArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    let GeoCommand::Lookup { address } = args.command;
    let (databases, faults) = load_databases(config.as_deref());
    for fault in &faults {
        let _ = writeln!(err, "{fault}");
    }
    if faults.iter().any(|fault| fault.is_error()) {
        return ExitCode::FAILURE;
    }
    // As decisions see it: an address that carries an IPv4 one is where that is.
    let seen = Seen::new(address).address;
    let sighting = match databases.look_up(seen) {
        Ok(sighting) => sighting,
        Err(error) => {
            let _ = writeln!(err, "error: a location database: {error}");
            return ExitCode::FAILURE;
        }
    };
    let told = sighting.told();
    // Who closes a pipe early does not want to know.
    let _ = if json {
        let document = serde_json::to_value(&told).map(|mut document| {
            document["address"] = serde_json::Value::from(seen.to_string());
            document
        });
        writeln!(out, "{:#}", document.unwrap_or_default())
    } else {
        let mut lines = vec![seen.to_string()];
        lines.extend(
            told.lines()
                .into_iter()
                .map(|(word, what)| format!("  {word:<8} {what}")),
        );
        if sighting.is_unknown() {
            lines.push(match databases.is_empty() {
                true => "  unknown  no location database is loaded".to_owned(),
                false => "  unknown  no loaded database has it".to_owned(),
            });
        }
        writeln!(out, "{}", lines.join("\n"))
    };
    if sighting.is_unknown() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
