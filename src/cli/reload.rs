//! `windrose reload`: as SIGHUP, but it waits, and tells what changed or every fault.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use hyper::Method;

use super::client;
use crate::control::reload::ReloadReport;

/// Reloads. Ends with 1 if that was refused; then everything stays as it was.
pub(super) fn run(config: Option<&Path>, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let answer = match client::ask(config, Method::POST, "/v1/reload") {
        Ok(answer) => answer,
        Err(unreachable) => return unreachable.tell(err),
    };
    let report: ReloadReport = match answer.document() {
        Ok(report) => report,
        Err(fault) => {
            let _ = writeln!(err, "error: {fault}");
            return ExitCode::FAILURE;
        }
    };
    // Who closes a pipe early does not want to know.
    let _ = match json {
        true => answer.write_json(out),
        false => write_text(&report, out, err),
    };
    match report.reloaded {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn write_text(report: &ReloadReport, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    for fault in &report.faults {
        writeln!(err, "{}", fault.shown)?;
    }
    if let Some(error) = &report.error {
        return writeln!(err, "reload refused, everything stays as it was: {error}");
    }
    for key in &report.later {
        writeln!(err, "warning: `{key}` has changed: that takes effect at the next start")?;
    }
    let changes = &report.changes;
    let told = [
        ("added", &changes.added),
        ("changed", &changes.changed),
        ("removed", &changes.removed),
    ];
    for (word, origins) in told {
        for origin in origins {
            writeln!(out, "{word} {origin}")?;
        }
    }
    let zones = report.zones.unwrap_or_default();
    writeln!(out, "reloaded: {zones} {}", if zones == 1 { "zone" } else { "zones" })
}
