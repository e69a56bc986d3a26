//! `windrose import`: a master file as zone TOML.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::control::explain::parse_name;
use crate::load::master::{Imported, import};
use crate::wire::name::Name;

/// What `import` takes.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The master file; what it includes is in its folder
    #[arg(value_name = "FILE.zone")]
    file: PathBuf,

    /// The name of the zone [default: the name of the file, without .zone]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    origin: Option<Name>,
}

/// Prints the TOML to `out`, and to `err` every fault and what is left out.
pub(super) fn run(args: &ImportArgs, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let imported = import(&args.file, args.origin.clone());
    // Who closes a pipe early does not want to know.
    let _ = print(&imported, out, err);
    match imported.zone {
        Some(_) if imported.refused.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn print(imported: &Imported, out: &mut dyn Write, err: &mut dyn Write) -> std::io::Result<()> {
    for fault in &imported.faults {
        writeln!(err, "{fault}")?;
    }
    let Some(zone) = &imported.zone else { return Ok(()) };
    for (name, rtype) in &zone.left_out {
        writeln!(err, "left out: {rtype} of {name}, which is never answered")?;
    }
    for fault in &imported.refused {
        writeln!(err, "{fault}")?;
    }
    if !imported.refused.is_empty() {
        writeln!(
            err,
            "`check` refuses this TOML; as a master file the zone can be served"
        )?;
    }
    out.write_all(zone.text.as_bytes())
}
